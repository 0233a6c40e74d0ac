//! The auditor: agrees with a bank that is well, and names what is wrong with one that is not.

use crate::bank::TestBank;
use crate::restored::bank_with_an_old_copy_of;
use crate::transfers::{Client, transfer};
use bank_proto::wire;
use tempfile::TempDir;

async fn audited(directory: TempDir) -> (TestBank, Client) {
    let bank = TestBank::start_with(directory, 2, |settings| settings.audit_interval_ms = 50).await;
    let client = bank.client(0).await;
    (bank, client)
}

/// What the auditor says once it satisfies.
async fn word(client: &mut Client, satisfies: impl Fn(&wire::Audit) -> bool) -> wire::Audit {
    loop {
        let answer = client.list_branches(wire::ListBranchesRequest { local_only: true }).await.expect("branches");
        match answer.into_inner().audit {
            Some(audit) if satisfies(&audit) => return audit,
            _ => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_is_well_agrees_again_and_again() {
    let (bank, mut client) = audited(tempfile::tempdir().expect("a directory")).await;
    for branch in [1, 2] {
        client.initialize_branch(crate::bank::initialize(branch)).await.expect("opened");
    }
    let first = word(&mut client, |audit| audit.last_agreed_at.is_some()).await;

    client.transfer(transfer(1, 2, "10")).await.expect("a transfer");

    let later = word(&mut client, |audit| audit.last_agreed_at != first.last_agreed_at).await;
    assert_eq!((later.violations, later.incomplete), (Vec::<String>::new(), String::new()));
    for server in bank.servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_was_put_back_is_named_with_the_first_transfer_that_is_missing() {
    for (branch, missing) in [
        (1, "number 2 from branch 1 to branch 2 has arrived and was never sent: branch 1 has lost rows"),
        (2, "number 2 from branch 1 to branch 2 has ended and has no outcome there: branch 2 has lost rows"),
    ] {
        let (_bank, mut client) = audited(bank_with_an_old_copy_of(branch).await).await;

        let audit = word(&mut client, |audit| !audit.violations.is_empty()).await;

        assert_eq!(audit.violations.first(), Some(&format!("branch 1 and branch 2: {missing}")));
        assert_eq!(audit.last_agreed_at, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_does_not_answer_is_no_violation() {
    let (mut bank, mut client) = audited(tempfile::tempdir().expect("a directory")).await;
    word(&mut client, |audit| audit.last_agreed_at.is_some()).await;

    bank.servers.remove(1).stop().await;

    let audit = word(&mut client, |audit| !audit.incomplete.is_empty()).await;
    assert_eq!((audit.incomplete.as_str(), audit.violations.len()), ("BRANCH_UNAVAILABLE (branch 2)", 0));
}
