//! Sound books, and a row that somebody changed.

use super::support::{Bank, complaint, run};
use rustix::process::Signal;
use serde_json::{Value, json};

#[tokio::test]
async fn sound_books_agree_while_the_bank_runs_and_after_and_a_changed_row_is_named() {
    let data = tempfile::tempdir().expect("a directory");
    let directory = data.path().to_string_lossy().into_owned();
    let bank = Bank::up(data.path());
    bank.post("/initialize_branch", "", json!({"branch_id": 3})).await.expect("an answer");
    for _ in 0..5 {
        let deposit = json!({"customer_id": 3, "type": "deposit", "amount": 7});
        bank.post("/transaction", "", deposit).await.expect("an answer");
    }
    let while_running = run(&["verify", "--data", &directory]);
    assert_eq!(while_running.status.code(), Some(0), "{}", String::from_utf8_lossy(&while_running.stderr));
    bank.signal(Signal::TERM);
    bank.wait();

    let sound = run(&["verify", "--data", &directory, "--json"]);
    assert_eq!(sound.status.code(), Some(0), "{}", String::from_utf8_lossy(&sound.stderr));
    let sound: Value = serde_json::from_slice(&sound.stdout).expect("JSON");
    assert_eq!(sound["agree"], json!(true));
    assert_eq!(sound["transfers"]["branches_left_out"], json!([]));
    assert_eq!(sound["branches"].as_array().map(Vec::len), Some(10));
    assert_eq!(sound["branches"][2]["transactions"], json!(6), "{sound}");

    let journal = rusqlite::Connection::open(data.path().join("branch-0003/journal.db")).expect("the journal");
    let changed = journal.execute_batch(
        "DROP TRIGGER journal_is_never_updated;
         UPDATE journal SET amount = amount + 1 WHERE sequence = (SELECT max(sequence) - 1 FROM journal);",
    );
    changed.expect("a change that nobody should make");
    let row: i64 = journal.query_row("SELECT max(sequence) - 1 FROM journal", [], |row| row.get(0)).expect("a row");
    drop(journal);
    let damaged = run(&["verify", "--data", &directory]);
    assert_eq!(damaged.status.code(), Some(1));
    let complaint = complaint(&damaged);
    assert!(complaint.contains("branch 3") && complaint.contains(&format!("row {row}")), "{complaint}");
    let said = String::from_utf8_lossy(&damaged.stdout).into_owned();
    assert!(said.contains("not compared with any other: the transfers of branches 3\n"), "{said}");
}

#[test]
fn a_directory_without_a_bank_is_no_sound_bank() {
    let data = tempfile::tempdir().expect("a directory");
    let refused = run(&["verify", "--data", &data.path().to_string_lossy()]);
    assert_eq!(refused.status.code(), Some(69));
    assert!(complaint(&refused).contains("there is no bank in"));
}
