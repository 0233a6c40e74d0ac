//! Event files and what they print.

use super::support::{Bank, complaint, run};
use std::fs;
use std::path::PathBuf;

fn example(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).to_string_lossy().into_owned()
}

fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn events_run_in_the_order_of_their_ids_and_refusals_are_told() {
    insta::assert_snapshot!(printed(&["replay", &example("deposits.json")]), @r#"
    [
      {"id":1,"recv":[{"interface":"deposit","result":"success"},{"interface":"query","balance":1100.25}]},
      {"id":2,"recv":[{"interface":"withdraw","result":"success"},{"interface":"withdraw","result":"failure"},{"interface":"query","balance":1949.5}]}
    ]
    "#);
}

#[test]
fn three_customers_share_a_joint_account() {
    insta::assert_snapshot!(printed(&["replay", &example("joint.json"), "--joint"]), @r#"
    [
      {"id":1,"recv":[{"interface":"query","balance":400}]},
      {"id":2,"recv":[{"interface":"deposit","result":"success"},{"interface":"query","balance":570}]},
      {"id":3,"recv":[{"interface":"withdraw","result":"success"},{"interface":"query","balance":500}]}
    ]
    "#);
}

#[test]
fn without_joint_every_customer_has_an_account_of_their_own() {
    insta::assert_snapshot!(printed(&["replay", &example("joint.json")]), @r#"
    [
      {"id":1,"recv":[{"interface":"query","balance":400}]},
      {"id":2,"recv":[{"interface":"deposit","result":"success"},{"interface":"query","balance":570}]},
      {"id":3,"recv":[{"interface":"withdraw","result":"success"},{"interface":"query","balance":330}]}
    ]
    "#);
}

#[tokio::test]
async fn a_second_run_in_the_same_bank_changes_nothing() {
    let data = tempfile::tempdir().expect("a directory");
    let bank = Bank::up(data.path());
    let file = example("deposits.json");
    let first = printed(&["replay", &file, "--api", &bank.http]);
    assert_eq!(first, printed(&["replay", &file]), "as in a bank of its own");
    assert_eq!(printed(&["replay", &file, "--api", &bank.http]), first);
    assert_eq!(bank.balance(1).await, "1100.25");

    let joint = example("joint.json");
    let first = printed(&["replay", &joint, "--joint", "--api", &bank.http]);
    assert!(first.contains(r#"{"interface":"query","balance":500}"#), "{first}");
    let again = printed(&["replay", &joint, "--joint", "--api", &bank.http]);
    assert!(
        again.contains(r#"{"id":1,"recv":[{"interface":"query","balance":500}]}"#),
        "one account, at its end: {again}"
    );
}

#[test]
fn a_file_that_makes_no_sense_is_refused_before_anything_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("events.json");
    let path = file.to_string_lossy();
    for (text, expected) in [
        ("", "not an event file"),
        (r#"[{"id":1,"type":"customer","events":[]}]"#, "the file lists no branches"),
        (
            r#"[{"id":1,"type":"branch","balance":1},{"id":1,"type":"customer","events":[{"id":1,"interface":"rob"}]}]"#,
            r#"event 1 has the interface "rob"; it must be deposit, withdraw or query"#,
        ),
    ] {
        fs::write(&file, text).expect("a file");
        let refused = run(&["replay", &path]);
        assert_eq!(refused.status.code(), Some(65), "{text}");
        assert!(complaint(&refused).contains(expected), "{}", complaint(&refused));
        assert!(refused.stdout.is_empty());
    }
    let unequal = run(&["replay", &example("deposits.json"), "--joint"]);
    assert_eq!(unequal.status.code(), Some(65));
    assert!(complaint(&unequal).contains("all branches must have the same balance"));
    let missing = run(&["replay", &directory.path().join("nothing").to_string_lossy()]);
    assert_eq!(missing.status.code(), Some(69));
}

#[test]
fn a_bank_that_does_not_answer_is_named() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = format!("http://{}", holder.local_addr().expect("an address"));
    drop(holder);
    let refused = run(&["replay", &example("deposits.json"), "--api", &address]);
    assert_eq!(refused.status.code(), Some(69));
    assert!(complaint(&refused).contains(&format!("the bank at {address} cannot be reached")));
}
