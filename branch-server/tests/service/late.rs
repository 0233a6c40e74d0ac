//! A branch that cannot be opened at the start, for a reason that passes, opens later by itself, and the
//! others serve meanwhile.

use crate::bank::{TestBank, code, deposit, initialize, query};
use crate::calls::get;
use crate::small_disk::SmallDisk;
use bank_proto::wire::{self, BranchState};
use bank_proto::{ErrorCode, wire::bank_service_client::BankServiceClient};
use rusqlite::Connection;
use std::io::Write as _;
use std::path::Path;
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

/// A stopped bank on one server, in which these branches are open with a customer at 1010.00.
async fn stopped_bank(directory: TempDir, branches: &[i64]) -> TempDir {
    let bank = TestBank::start_in(directory, 1).await;
    let mut client = bank.client(0).await;
    for branch in branches {
        client.initialize_branch(initialize(*branch)).await.expect("opened");
        client.deposit(deposit(*branch, "10")).await.expect("a receipt");
    }
    stop(bank).await
}

async fn stop(bank: TestBank) -> TempDir {
    for server in bank.servers {
        server.stop().await;
    }
    bank.directory
}

async fn branches(client: &mut BankServiceClient<Channel>) -> Vec<wire::Branch> {
    let question = wire::ListBranchesRequest { local_only: true };
    client.list_branches(question).await.expect("a list").into_inner().branches
}

/// Waits until a branch is in a state. The test's own runner ends it if this never happens.
async fn becomes(client: &mut BankServiceClient<Channel>, branch: usize, state: BranchState) -> wire::Branch {
    loop {
        let branch = branches(client).await.swap_remove(branch - 1);
        if branch.state() == state {
            return branch;
        }
        tokio::task::yield_now().await;
    }
}

/// Writes until there is no room left.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).expect("a file");
    for bytes in [1 << 20, 1 << 12, 1] {
        let piece = vec![7; bytes];
        while file.write_all(&piece).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_whose_disk_is_full_at_the_start_open_when_there_is_room() {
    // More than the bank keeps in reserve.
    let Some(disk) = SmallDisk::mount(96) else { return };
    let data = stopped_bank(tempfile::tempdir_in(disk.path()).expect("a directory"), &[1]).await;
    let snapshot = data.path().join("branch-0001/derived.snapshot");
    std::fs::remove_file(&snapshot).expect("removed");
    let ballast = disk.path().join("ballast");
    fill(&ballast);

    let bank = TestBank::start_in(data, 1).await;
    let mut client = bank.client(0).await;
    let listed = branches(&mut client).await;
    assert!(listed.iter().all(|branch| branch.state() == BranchState::Unavailable), "{listed:?}");
    let refused = client.deposit(deposit(1, "1")).await.expect_err("closed");
    assert_eq!(code(&refused), Some(ErrorCode::BranchUnavailable));
    assert!(refused.get_details_retry_info().is_some(), "a retry is worth it");
    assert!(get(&bank, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get(&bank, "/metrics").await.contains("florin_branch_state{branch=\"1\",state=\"unavailable\"} 1"));

    let disk = client.list_branches(wire::ListBranchesRequest { local_only: true }).await.expect("a list").into_inner();
    let disk = disk.disk.expect("it says");
    assert!(disk.free_bytes < disk.reserve_bytes, "{disk:?}");

    std::fs::remove_file(ballast).expect("to make room");
    becomes(&mut client, 1, BranchState::Open).await;
    for branch in 2..=10 {
        becomes(&mut client, branch, BranchState::Uninitialized).await;
    }
    let receipt = client.deposit(deposit(1, "1")).await.expect("a receipt").into_inner();
    assert_eq!(receipt.balance, "1011.00");
    // What opened late is stopped like the others: with a snapshot.
    let _data = stop(bank).await;
    assert!(snapshot.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_another_program_holds_at_the_start_opens_when_it_lets_go() {
    let data = stopped_bank(tempfile::tempdir().expect("a directory"), &[1, 2, 3, 4]).await;
    let hold = |branch: u32, sql: &str| {
        let path = data.path().join(format!("branch-{branch:04}/journal.db"));
        let connection = Connection::open(path).expect("a journal");
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {sql}")).expect("a write lock");
        connection
    };
    let shell = hold(1, "");
    let forger = hold(3, "UPDATE branch SET epoch = 0;");
    let lock_of_4 = hold(4, "");
    let gone = data.path().join("branch-0004");

    let bank = TestBank::start_in(data, 1).await;
    let mut client = bank.client(0).await;
    let states: Vec<_> = branches(&mut client).await.iter().take(4).map(wire::Branch::state).collect();
    let (open, unavailable) = (BranchState::Open, BranchState::Unavailable);
    assert_eq!(states, [unavailable, open, unavailable, unavailable]);
    let refused = client.query(query(1)).await.expect_err("closed");
    assert_eq!(code(&refused), Some(ErrorCode::BranchUnavailable));
    client.deposit(deposit(2, "1")).await.expect("the others go on");
    assert!(get(&bank, "/readyz").await.starts_with("HTTP/1.1 200"));

    // A branch whose directory goes meanwhile is not founded anew, and one that is damaged meanwhile
    // is not opened.
    std::fs::rename(&gone, gone.with_extension("moved")).expect("moved away");
    becomes(&mut client, 4, BranchState::Damaged).await;
    assert!(!gone.exists());
    drop(lock_of_4);
    forger.execute_batch("COMMIT").expect("forged");
    becomes(&mut client, 3, BranchState::Damaged).await;

    shell.execute_batch("ROLLBACK").expect("released");
    becomes(&mut client, 1, BranchState::Open).await;
    assert_eq!(client.query(query(1)).await.expect("a balance").into_inner().balance, "1010.00");
    client.deposit(deposit(1, "1")).await.expect("a receipt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_stops_while_a_branch_is_late() {
    let data = stopped_bank(tempfile::tempdir().expect("a directory"), &[1]).await;
    let shell = Connection::open(data.path().join("branch-0001/journal.db")).expect("a journal");
    shell.execute_batch("BEGIN IMMEDIATE").expect("a write lock");
    let data = stop(TestBank::start_in(data, 1).await).await;
    shell.execute_batch("ROLLBACK").expect("released");
    let bank = TestBank::start_in(data, 1).await;
    assert_eq!(branches(&mut bank.client(0).await).await[0].state(), BranchState::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founding_is_complete_when_every_branch_has_opened() {
    let directory = tempfile::tempdir().expect("a directory");
    let obstacle = directory.path().join("branch-0002/branch.lock");
    std::fs::create_dir_all(&obstacle).expect("something in the way");
    let marker = directory.path().join("server-0.founded");
    let bank = TestBank::start_in(directory, 1).await;
    let mut client = bank.client(0).await;
    assert_eq!(branches(&mut client).await[1].state(), BranchState::Unavailable);
    assert!(!marker.exists());
    std::fs::remove_dir(&obstacle).expect("removed");
    becomes(&mut client, 2, BranchState::Uninitialized).await;
    while !marker.exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_whose_directory_cannot_be_looked_at_is_not_taken_for_lost() {
    let data = stopped_bank(tempfile::tempdir().expect("a directory"), &[1]).await;
    let place = data.path().join("branch-0001");
    let aside = data.path().join("aside");
    std::fs::rename(&place, &aside).expect("renamed");
    // Looking for it fails, as it does on a disk that does not answer.
    std::os::unix::fs::symlink(&place, &place).expect("a link to itself");

    let bank = TestBank::start_in(data, 1).await;
    let mut client = bank.client(0).await;
    let branch = becomes(&mut client, 1, BranchState::Unavailable).await;
    assert_eq!(branch.detail, "its directory cannot be read");
    std::fs::remove_file(&place).and_then(|()| std::fs::rename(&aside, &place)).expect("the disk answers again");
    becomes(&mut client, 1, BranchState::Open).await;
    stop(bank).await;
}
