//! Verification names the first thing that is wrong, whatever it is.

use crate::bank::{TestBank, deposit, initialize, withdraw};
use bank_proto::BranchId;
use branch_server::verify;
use rusqlite::Connection;
use std::path::{Path, PathBuf};

fn branch() -> BranchId {
    BranchId::new(1).expect("a branch")
}

/// A stopped bank whose branch 1 has seen some movements.
async fn stopped_bank() -> tempfile::TempDir {
    let bank = TestBank::start(1).await;
    let mut client = bank.client(0).await;
    client.initialize_branch(initialize(1)).await.expect("opened");
    for _ in 0..5 {
        client.deposit(deposit(1, "10")).await.expect("a receipt");
        client.withdraw(withdraw(1, "99999")).await.expect_err("too much");
    }
    for server in bank.servers {
        server.stop().await;
    }
    bank.directory
}

fn journal(data: &Path) -> PathBuf {
    data.join("branch-0001/journal.db")
}

/// Changes the stored journal as a forger would, past whatever stands in the way.
fn forge(data: &Path, sql: &str) {
    let connection = Connection::open(journal(data)).expect("a journal");
    let triggers: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .expect("triggers");
    for trigger in triggers {
        connection.execute_batch(&format!("DROP TRIGGER {trigger}")).expect("dropped");
    }
    connection.execute_batch(sql).expect("forged");
}

fn verify(data: &Path) -> Result<verify::Report, String> {
    verify::branch(data, branch(), 10, |_, _| {}).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_branch_is_proved_while_it_runs_and_when_it_is_stopped() {
    let bank = TestBank::start(1).await;
    let mut client = bank.client(0).await;
    client.initialize_branch(initialize(1)).await.expect("opened");
    client.deposit(deposit(1, "10")).await.expect("a receipt");
    let running = verify(bank.directory.path()).expect("sound");
    assert_eq!((running.transactions, running.accounts, running.snapshot), (2, 3, 0));
    assert_eq!(running.tide, running.rows);
    for server in bank.servers {
        server.stop().await;
    }
    let stopped = verify(bank.directory.path()).expect("sound");
    assert_eq!((stopped.rows, stopped.snapshot, stopped.tide), (running.rows, running.rows, running.rows));
    assert_eq!(stopped.head, running.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_forgery_is_found_at_its_row() {
    let forgeries = [
        ("UPDATE journal SET amount = amount + 1 WHERE sequence = 9", "row 9"),
        ("UPDATE journal SET credit_balance = credit_balance + 1 WHERE sequence = 9", "row 9"),
        ("UPDATE journal SET customer_id = 11 WHERE sequence = 9", "row 9"),
        ("UPDATE journal SET detail = replace(detail, 'INSUFFICIENT', 'SUFFICIENT') WHERE sequence = 8", "row 8"),
        ("DELETE FROM journal WHERE sequence = 9", "row 10"),
        ("DELETE FROM journal WHERE sequence = (SELECT max(sequence) FROM journal)", "durable once"),
        ("UPDATE journal SET hash = zeroblob(32) WHERE sequence = 9", "row 9"),
        ("UPDATE journal SET epoch = 7 WHERE sequence = 9", "row 9"),
        ("UPDATE journal SET kind = 'gift' WHERE sequence = 9", "row 9"),
    ];
    for (sql, place) in forgeries {
        let data = stopped_bank().await;
        verify(data.path()).expect("sound before");
        forge(data.path(), sql);
        let found = verify(data.path()).expect_err(sql);
        assert!(found.contains(place), "{sql}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_branch_row_is_found() {
    let forgeries = [
        ("UPDATE branch SET format = 2", "newer version (format 2"),
        ("UPDATE branch SET format = 0", "its format is 0"),
        ("PRAGMA user_version = 0", "its format is 0"),
        ("UPDATE branch SET epoch = 0", "the table branch says 0, but the last group commit is of epoch 1"),
        ("UPDATE branch SET epoch = 1", "the table branch says 1, but journal.tide remembers epoch 2"),
        ("UPDATE branch SET branch = 2", "the journal of branch 2, not of branch 1"),
        ("UPDATE branch SET branches = 11", "a bank of 11 branches, not of 10"),
        ("DELETE FROM branch", "the table branch is empty"),
    ];
    for (sql, told) in forgeries {
        let bank = TestBank::start_in(stopped_bank().await, 1).await;
        for server in bank.servers {
            server.stop().await;
        }
        let data = bank.directory;
        verify(data.path()).expect("sound before");
        forge(data.path(), sql);
        let found = verify(data.path()).expect_err(sql);
        assert!(found.contains(told), "{sql}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_lost_at_the_end_are_found_though_nothing_derived_tells() {
    let data = stopped_bank().await;
    std::fs::remove_file(data.path().join("branch-0001/derived.snapshot")).expect("removed");
    let tide = data.path().join("branch-0001/journal.tide");
    let marked = std::fs::read(&tide).expect("a mark");
    forge(data.path(), "DELETE FROM journal WHERE sequence = (SELECT max(sequence) FROM journal)");
    let rows = verify(data.path()).expect_err("a row is lost");
    assert!(rows.contains("was durable once, but the journal ends at row"), "{rows}");
    std::fs::remove_file(&tide).expect("removed");
    let shorter = verify(data.path()).expect("without the mark the shorter journal is sound");
    assert_eq!(shorter.tide, 0);

    // As long as the mark says, but another history.
    let bank = TestBank::start_in(data, 1).await;
    bank.client(0).await.withdraw(withdraw(1, "88888")).await.expect_err("too much");
    for server in bank.servers {
        server.stop().await;
    }
    let data = bank.directory;
    std::fs::write(data.path().join("branch-0001/journal.tide"), marked).expect("written");
    let other = verify(data.path()).expect_err("another history");
    assert!(other.contains("not as journal.tide remembers it"), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn derived_data_that_disagrees_is_found_and_may_be_deleted() {
    let data = stopped_bank().await;
    let snapshot = data.path().join("branch-0001/derived.snapshot");
    let older = std::fs::read(&snapshot).expect("a snapshot");
    std::fs::write(&snapshot, &older[..older.len() - 1]).expect("written");
    let report = verify(data.path()).expect("a damaged snapshot is as good as none");
    assert_eq!(report.snapshot, 0);
    std::fs::remove_file(&snapshot).expect("removed");
    let bank = TestBank::start_in(data, 1).await;
    let balance = bank.client(0).await.query(crate::bank::query(1)).await.expect("a balance").into_inner();
    assert_eq!(balance.balance, "1050.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_branch_refuses_to_serve_and_the_others_go_on() {
    let data = stopped_bank().await;
    std::fs::remove_file(data.path().join("branch-0001/derived.snapshot")).expect("removed");
    forge(data.path(), "UPDATE journal SET amount = 100001 WHERE sequence = 9");
    let bank = TestBank::start_in(data, 1).await;
    let mut client = bank.client(0).await;
    let refused = client.query(crate::bank::query(1)).await.expect_err("refused");
    assert_eq!(crate::bank::code(&refused), Some(bank_proto::ErrorCode::BranchUnavailable));
    assert!(!refused.message().contains("row 9"), "no internal text: {}", refused.message());
    client.initialize_branch(initialize(2)).await.expect("the others go on");
    let branches = client
        .list_branches(bank_proto::wire::ListBranchesRequest::default())
        .await
        .expect("a list")
        .into_inner()
        .branches;
    assert_eq!(branches[0].state(), bank_proto::wire::BranchState::Damaged);
    assert_eq!(branches[0].detail, "row 9 of its journal is not what was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scrub_finds_what_opening_from_a_snapshot_did_not_read() {
    let data = stopped_bank().await;
    forge(data.path(), "UPDATE journal SET amount = 100001 WHERE sequence = 5");
    let bank = TestBank::start_in(data, 1).await;
    let mut client = bank.client(0).await;
    // The test's own runner ends it if this never happens.
    let detail = loop {
        let question = bank_proto::wire::ListBranchesRequest { local_only: true };
        let branches = client.list_branches(question).await.expect("a list").into_inner().branches;
        if branches[0].state() == bank_proto::wire::BranchState::Damaged {
            break branches[0].detail.clone();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(detail, "row 5 of its journal is not what was written");
    let refused = client.deposit(deposit(1, "1")).await.expect_err("refused");
    assert_eq!(crate::bank::code(&refused), Some(bank_proto::ErrorCode::BranchUnavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_whose_directory_is_gone_is_not_founded_again() {
    let data = stopped_bank().await;
    std::fs::remove_dir_all(data.path().join("branch-0001")).expect("removed");
    let bank = TestBank::start_in(data, 1).await;
    let mut client = bank.client(0).await;
    let refused = client.initialize_branch(initialize(1)).await.expect_err("refused");
    assert_eq!(crate::bank::code(&refused), Some(bank_proto::ErrorCode::BranchUnavailable));
    client.initialize_branch(initialize(2)).await.expect("the others go on");
}
