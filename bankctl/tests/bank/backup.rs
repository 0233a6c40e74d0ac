//! Backups of a bank that goes on meanwhile, and banks out of them.

use super::payers::{CUSTOMERS, OPENING_CENTS, open_bank, pay_while};
use super::support::{Bank, complaint, run, until};
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn back_up(backups: &Path, data: &Path, api: &str) -> Value {
    let output = run(&["backup", text(backups), "--data", text(data), "--api", api, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn restore(backups: &Path, data: &Path, more: &[&str]) -> Output {
    run(&[&["restore", text(backups), "--data", text(data)], more].concat())
}

/// What all customers have together, when nothing is under way any more.
async fn all_money(bank: &Bank) -> i64 {
    until("nothing is under way", async || {
        let books = bank.client().get(format!("{}/v1/trial-balance", bank.http)).send().await;
        let books: Value = books.expect("an answer").json().await.expect("JSON");
        let in_flight = books["in_flight"].as_array();
        in_flight.is_some_and(|lines| lines.iter().all(|line| line["amount"] == "0.00"))
    })
    .await;
    let mut sum = 0;
    for customer in 1..=CUSTOMERS {
        sum += bank.balance(customer).await.replace('.', "").parse::<i64>().expect("a balance");
    }
    sum
}

#[tokio::test]
async fn a_bank_comes_back_as_of_any_backup_that_was_taken_while_it_ran() {
    let place = tempfile::tempdir().expect("a directory");
    let [data, backups, new, older] = ["data", "backups", "new", "older"].map(|name| place.path().join(name));
    let mut bank = Bank::up(&data);
    open_bank(&bank.door()).await;
    let (mut orders, api) = (Vec::new(), bank.http.clone());
    let mut taken = Vec::new();
    pay_while(&bank.door(), &mut orders, 0, async |answered| {
        for _ in 0..3 {
            answered.more(200).await;
            let (backups, data, api) = (backups.clone(), data.clone(), api.clone());
            // Beside the payers, not instead of them.
            let backup = tokio::task::spawn_blocking(move || back_up(&backups, &data, &api));
            taken.push(backup.await.expect("a backup"));
        }
    })
    .await;
    bank.kill_everything();

    // Each added only what was new, and something was.
    let number = |backup: &Value, name: &str| backup[name].as_u64().expect("a number");
    let added: u64 = taken.iter().map(|backup| number(backup, "added")).sum();
    assert_eq!(added, number(&taken[2], "rows"));
    assert!(taken.iter().all(|backup| number(backup, "added") > 0), "{taken:?}");

    for (data, more) in [(&new, vec![]), (&older, vec!["--token", taken[0]["token"].as_str().expect("a token")])] {
        let restored = restore(&backups, data, &more);
        assert_eq!(restored.status.code(), Some(0), "{}", String::from_utf8_lossy(&restored.stderr));
        let bank = Bank::up(data);
        assert_eq!(all_money(&bank).await, OPENING_CENTS * i64::try_from(CUSTOMERS).expect("small"));
        drop(bank);
        let verified = run(&["verify", "--data", text(data)]);
        assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    }
    // The killed bank is backed up by its journals alone, and what it had said is in there.
    let last = back_up(&backups, &data, "http://127.0.0.1:9");
    assert!(number(&last, "rows") > number(&taken[2], "rows"));
}

#[tokio::test]
async fn what_does_not_fit_is_not_restored() {
    let place = tempfile::tempdir().expect("a directory");
    let [data, backups, new] = ["data", "backups", "new"].map(|name| place.path().join(name));
    let bank = Bank::up(&data);
    open_bank(&bank.door()).await;

    let unreachable = run(&["backup", text(&backups), "--data", text(&data), "--api", "http://127.0.0.1:9"]);
    assert_eq!(unreachable.status.code(), Some(69));
    assert!(complaint(&unreachable).contains("name its client API with --api, or stop the bank"));
    let nothing = restore(&backups, &new, &[]);
    assert_eq!(nothing.status.code(), Some(69));
    assert!(complaint(&nothing).contains("there are no backups"));

    let token = back_up(&backups, &data, &bank.http)["token"].as_str().expect("a token").to_owned();
    drop(bank);
    for (more, code, says) in [
        (vec!["--token", "1.2"], 64, format!("there are: {token} (20")),
        (vec![], 64, "is not empty; restore into a new directory".to_owned()),
        (vec!["--branch", "11"], 64, "this bank has no branch 11".to_owned()),
        (vec!["--branch", "3"], 64, "move it away first".to_owned()),
    ] {
        let refused = restore(&backups, &data, &more);
        assert_eq!(refused.status.code(), Some(code), "{more:?}");
        assert!(complaint(&refused).contains(&says), "{more:?}: {}", complaint(&refused));
    }

    // One branch that was lost comes back alone.
    std::fs::remove_dir_all(data.join("branch-0003")).expect("lost");
    assert_eq!(restore(&backups, &data, &["--branch", "3"]).status.code(), Some(0));
    assert_eq!(run(&["verify", "--data", text(&data)]).status.code(), Some(0));

    // Backups of another bank do not mix with these.
    let other = place.path().join("other");
    let bank = Bank::up(&other);
    open_bank(&bank.door()).await;
    let mixed = run(&["backup", text(&backups), "--data", text(&other), "--api", &bank.http]);
    assert_eq!(mixed.status.code(), Some(69));
    assert!(complaint(&mixed).contains("is the copy of another journal"), "{}", complaint(&mixed));

    // A copy in which somebody changed an amount proves nothing, and leaves nothing behind.
    let journal = rusqlite::Connection::open(backups.join("journals/branch-0003/journal.db")).expect("the copy");
    let change = "DROP TRIGGER journal_is_never_updated; UPDATE journal SET amount = amount + 1 WHERE sequence = 2";
    journal.execute_batch(change).expect("changed");
    let damaged = restore(&backups, &new, &[]);
    assert_eq!(damaged.status.code(), Some(1));
    assert!(complaint(&damaged).contains("nothing was restored: branch 3"), "{}", complaint(&damaged));
    assert!(!new.exists() && !place.path().join("new.restoring").exists());
}
