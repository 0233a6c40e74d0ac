//! A branch that comes back from an old copy of itself: its peers recognise it, nothing of it is
//! believed, and verification names the transfer on which the two differ.

use crate::bank::TestBank;
use crate::transfers::{Client, balance, look_up, open_bank, transfer};
use bank_proto::{BranchId, wire};
use branch_server::verify;
use std::path::Path;
use tempfile::TempDir;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

/// A stopped bank in which customer 1 has paid customer 2 twice, 10.00 each; and what is left of the
/// second payment at one branch is taken back to before it.
pub(crate) async fn bank_with_an_old_copy_of(branch: u32) -> TempDir {
    let (bank, mut client) = open_bank(2).await;
    client.transfer(transfer(1, 2, "10")).await.expect("a transfer");
    let directory = bank.directory;
    for server in bank.servers {
        server.stop().await;
    }
    let original = directory.path().join(format!("branch-{branch:04}"));
    let kept = directory.path().join("kept");
    copy(&original, &kept);
    let bank = TestBank::start_in(directory, 2).await;
    let mut client = bank.client(0).await;
    client.transfer(transfer(1, 2, "10")).await.expect("a transfer");
    let directory = bank.directory;
    for server in bank.servers {
        server.stop().await;
    }
    std::fs::remove_dir_all(&original).expect("removed");
    std::fs::rename(kept, original).expect("put back");
    directory
}

fn stories(data: &Path) -> Result<verify::Agreement, String> {
    let branches = [1, 2].map(|number| BranchId::new(number).expect("a branch"));
    let reports = branches.map(|branch| verify::branch(data, branch, 10, |_, _| {}).expect("each is whole by itself"));
    verify::agree(&reports.map(|report| report.crossings)).map_err(|found| found.to_string())
}

/// A transfer that is not believed stays under way: the money waits where it can be found.
async fn pay_in_vain(client: &mut Client) {
    pay_in_vain_from(client, 1, 2).await;
}

async fn pay_in_vain_from(client: &mut Client, from: i64, to: i64) {
    let order = wire::TransferRequest { wait_ms: Some(500), ..transfer(from, to, "10") };
    let sent = client.transfer(order).await.expect("accepted").into_inner();
    assert_eq!(sent.state(), wire::TransferState::Processing);
    assert_eq!(look_up(client, &sent.transaction_id).await.state(), wire::TransferState::Processing);
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_that_were_never_restored_tell_one_story() {
    let (bank, mut client) = open_bank(2).await;
    client.transfer(transfer(1, 2, "10")).await.expect("a transfer");
    client.transfer(transfer(1, 52, "10")).await.expect_err("nobody");
    client.transfer(transfer(2, 1, "10")).await.expect("a transfer");
    assert_eq!(stories(bank.directory.path()), Ok(verify::Agreement { ended: 3, in_flight: 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payees_branch_that_lost_outcomes_is_recognised_and_credits_nothing() {
    let data = bank_with_an_old_copy_of(2).await;
    let found = stories(data.path()).expect_err("two stories");
    assert!(found.contains("number 2 from branch 1 to branch 2"), "{found}");
    assert!(found.contains("the payee's has no outcome of it"), "{found}");
    let bank = TestBank::start_in(data, 2).await;
    let mut client = bank.client(0).await;
    pay_in_vain(&mut client).await;
    // Its own customers are served, with the books that it has.
    assert_eq!(balance(&mut client, 2).await, "1010.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payers_branch_that_lost_what_it_sent_is_recognised_and_not_believed() {
    let data = bank_with_an_old_copy_of(1).await;
    let found = stories(data.path()).expect_err("two stories");
    assert!(found.contains("it arrived") && found.contains("but was never sent"), "{found}");
    let bank = TestBank::start_in(data, 2).await;
    let mut client = bank.client(0).await;
    // It has the 10.00 again, but its next transfer has a number that was used.
    assert_eq!(balance(&mut client, 1).await, "990.00");
    pay_in_vain(&mut client).await;
    assert_eq!(balance(&mut client, 2).await, "1020.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_is_recognised_whoever_sends_first_and_only_its_pair_stands_still() {
    for lost in [1, 2] {
        let bank = TestBank::start_in(bank_with_an_old_copy_of(lost).await, 2).await;
        let mut client = bank.client(0).await;
        let before = balance(&mut client, 1).await;

        // The numbers from branch 2 to branch 1 are sound: it is the past the other way that is not.
        pay_in_vain_from(&mut client, 2, 1).await;

        assert_eq!(balance(&mut client, 1).await, before, "branch {lost} lost rows");
        // With every other branch both go on.
        for (from, to) in [(1, 3), (2, 3), (3, 1), (3, 2)] {
            let done = client.transfer(transfer(from, to, "1")).await.expect("a transfer").into_inner();
            assert_eq!(done.state(), wire::TransferState::Completed, "from {from} to {to}");
        }
    }
}
