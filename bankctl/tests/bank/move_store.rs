//! A bank that outgrows its files: its books go into a database, and nobody starts on the files any more.

use super::payers::{check, open_bank, pay_while};
use super::postgres::Postgres;
use super::support::{Bank, complaint, run};
use rustix::process::Signal;
use serde_json::{Value, json};

fn json_of(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_move_into_a_database_once_and_go_on_there() {
    let postgres = tokio::task::block_in_place(Postgres::start);
    let store = tokio::task::block_in_place(|| postgres.database("bank"));
    let data = tempfile::tempdir().expect("a directory");
    let directory = data.path().to_string_lossy().into_owned();
    let bank = Bank::up(data.path());
    open_bank(&bank.door()).await;
    let customer = json!({"customer_id": 21, "name": "Ada Lovelace"});
    bank.post("/v1/customers", "ada", customer.clone()).await.expect("an answer");
    let mut orders = Vec::new();
    let next = pay_while(&bank.door(), &mut orders, 0, async |answered| answered.more(300).await).await;
    let move_store = ["move-store", "--json", "--data", &directory, "--store", &store];
    let running = run(&move_store);
    assert_eq!(running.status.code(), Some(69));
    assert!(complaint(&running).contains("is in use by another bank"), "{}", complaint(&running));
    bank.signal(Signal::TERM);
    bank.wait();

    let before = json_of(&["verify", "--json", "--data", &directory]);
    let moved = json_of(&move_store);
    let after = json_of(&["verify", "--json", "--store", &store]);
    assert_eq!(before["transfers"], after["transfers"]);
    for (from, to) in
        before["branches"].as_array().expect("branches").iter().zip(after["branches"].as_array().expect("branches"))
    {
        for what in ["verdict", "rows", "transactions", "group_commits", "accounts", "head"] {
            assert_eq!(from[what], to[what], "{what} of branch {}", from["branch_id"]);
        }
    }
    let rows: u64 =
        after["branches"].as_array().expect("branches").iter().filter_map(|branch| branch["rows"].as_u64()).sum();
    assert_eq!(moved["rows"], rows);

    let again = run(&["up", "--data", &directory, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]);
    assert_eq!(again.status.code(), Some(64));
    assert!(complaint(&again).contains("are in PostgreSQL at"), "{}", complaint(&again));
    let server = run(&["branch-server", "--listen", "127.0.0.1:0", "--store", &format!("sqlite:{directory}")]);
    assert_eq!(server.status.code(), Some(64));
    let twice = run(&move_store);
    assert_eq!(twice.status.code(), Some(64));
    assert!(complaint(&twice).contains("holds books already"), "{}", complaint(&twice));

    let bank = Bank::up_with(data.path(), &[("STORE", &store)]);
    check(&bank.door(), &orders).await;
    pay_while(&bank.door(), &mut orders, next, async |answered| answered.more(100).await).await;
    check(&bank.door(), &orders).await;
    let (status, replayed, _) = bank.post("/v1/customers", "ada", customer).await.expect("an answer");
    assert_eq!((status, replayed), (201, true), "the name moved too");
}

#[test]
fn a_directory_without_a_bank_or_a_store_without_a_name_moves_nothing() {
    let data = tempfile::tempdir().expect("a directory");
    let directory = data.path().to_string_lossy().into_owned();
    let nowhere = run(&["move-store", "--data", &directory]);
    assert_eq!(nowhere.status.code(), Some(64));
    assert!(complaint(&nowhere).contains("say in --store where the books go"));
    let nothing = run(&["move-store", "--data", &directory, "--store", "postgres://bank@127.0.0.1:1/bank"]);
    assert_eq!(nothing.status.code(), Some(69));
    assert!(complaint(&nothing).contains("there is no bank in"));
}

#[test]
fn no_help_shows_the_password_that_a_variable_holds() {
    for command in [&["up"][..], &["verify"], &["move-store"], &["bench"], &["branch-server"]] {
        let store = "postgres://bank:secret@127.0.0.1:1/bank";
        let help =
            super::support::bankctl().args(command).arg("--help").env("STORE", store).output().expect("bankctl runs");
        let help = String::from_utf8(help.stdout).expect("text");
        assert!(help.contains("STORE") && !help.contains("secret"), "{command:?}: {help}");
    }
}
