//! Holds over real ports: placed, captured towards any branch, released, told for ever.

use crate::bank::{TestBank, code, deposit, withdraw};
use crate::transfers::{Client, account_of, balance, check_books, end_of, look_up, open_bank, transfer};
use bank_proto::{BranchId, ErrorCode, wire};
use branch_server::verify;
use tonic_types::StatusExt as _;
use wire::{HoldState, TransferState};

fn hold(customer: i64, amount: &str) -> wire::HoldRequest {
    wire::HoldRequest { customer_id: customer, amount: amount.to_owned(), ..wire::HoldRequest::default() }
}

fn capture(hold: &str, to: i64, amount: &str) -> wire::CaptureRequest {
    wire::CaptureRequest {
        hold_transaction_id: hold.to_owned(),
        to_customer_id: to,
        amount: amount.to_owned(),
        wait_ms: Some(30_000),
        ..wire::CaptureRequest::default()
    }
}

fn part(hold: &str, to: i64, amount: &str) -> wire::CaptureRequest {
    wire::CaptureRequest { keep_rest: true, ..capture(hold, to, amount) }
}

fn release(hold: &str) -> wire::ReleaseRequest {
    wire::ReleaseRequest { hold_transaction_id: hold.to_owned(), ..wire::ReleaseRequest::default() }
}

async fn placed(client: &mut Client, customer: i64, amount: &str) -> String {
    client.hold(hold(customer, amount)).await.expect("a hold").into_inner().hold_transaction_id
}

/// A hold as it stands, in a line.
async fn shown(client: &mut Client, hold: &str) -> String {
    let question = wire::GetHoldRequest { hold_transaction_id: hold.to_owned() };
    let hold = client.get_hold(question).await.expect("a hold").into_inner();
    let wire::Hold { amount, remaining, captured, available, .. } = &hold;
    let over = if hold.ended_at.is_some() { " over" } else { "" };
    format!("{:?} {amount}: {remaining} left, {captured} captured, {available} available{over}", hold.state())
}

async fn refused<T: std::fmt::Debug>(
    answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Option<ErrorCode> {
    code(&answer.await.expect_err("a refusal"))
}

/// Every branch proves itself from its journal, and all tell one story.
pub(crate) async fn stop_and_verify(bank: TestBank) {
    let books = bank.books();
    for server in bank.servers {
        server.stop().await;
    }
    let branches = (1..=10).map(|number| BranchId::new(number).expect("a branch"));
    let reports = branches.map(|branch| books.verify(branch).expect("the branch is whole").crossings);
    verify::agree(&reports.collect::<Vec<_>>()).expect("one story");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_captured_in_parts_towards_accounts_of_any_branch() {
    // Branches 1 and 4 share a server, 1 and 2 do not.
    let (bank, mut client) = open_bank(3).await;
    client.deposit(deposit(11, "5")).await.expect("a receipt");
    let id = placed(&mut client, 1, "100").await;
    assert_eq!(shown(&mut client, &id).await, "Held 100.00: 100.00 left, 0.00 captured, 900.00 available");

    for (to, left) in [(11, "90.00"), (4, "80.00"), (2, "70.00")] {
        let done = client.capture(part(&id, to, "10")).await.expect("captured").into_inner();
        assert_eq!((done.state(), done.amount.as_str()), (TransferState::Completed, "10.00"), "to {to}");
        assert_eq!((&done.hold_transaction_id, done.customer_id, done.to_customer_id), (&id, 1, to));
        assert_eq!(look_up(&mut client, &done.transaction_id).await, done);
        let shown = shown(&mut client, &id).await;
        assert!(shown.starts_with(&format!("Held 100.00: {left} left")), "{shown}");
    }
    // Through another server, and with nothing said all that is left.
    let mut other = bank.client(2).await;
    let last = other.capture(capture(&id, 2, "")).await.expect("captured").into_inner();
    assert_eq!(last.amount, "70.00");

    assert_eq!(shown(&mut client, &id).await, "Captured 100.00: 0.00 left, 100.00 captured, 900.00 available over");
    assert_eq!(balance(&mut client, 1).await, "900.00");
    assert_eq!(balance(&mut client, 2).await, "1080.00");
    check_books(&mut client, "0").await;
    stop_and_verify(bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_hold_is_told_for_ever() {
    let (bank, mut client) = open_bank(2).await;
    let open = placed(&mut client, 2, "10").await;
    let partly = placed(&mut client, 2, "20").await;
    let captured = placed(&mut client, 2, "30").await;
    let released = placed(&mut client, 2, "40").await;
    client.capture(part(&partly, 1, "5")).await.expect("captured");
    client.capture(capture(&captured, 1, "25")).await.expect("captured");
    client.capture(part(&released, 1, "1")).await.expect("captured");
    let gone = client.release(release(&released)).await.expect("released").into_inner();
    assert_eq!((gone.state(), gone.available.as_str()), (HoldState::Released, "944.00"));
    assert_ne!(gone.transaction_id, gone.hold_transaction_id);
    let before = [
        "Held 10.00: 10.00 left, 0.00 captured, 944.00 available",
        "Held 20.00: 15.00 left, 5.00 captured, 944.00 available",
        "Captured 30.00: 0.00 left, 25.00 captured, 944.00 available over",
        "Released 40.00: 0.00 left, 1.00 captured, 944.00 available over",
    ];

    // From a snapshot first, then from the journal alone.
    let mut bank = bank;
    for round in 0..3 {
        let mut client = bank.client(0).await;
        for (id, before) in [&open, &partly, &captured, &released].into_iter().zip(before) {
            assert_eq!(shown(&mut client, id).await, before, "round {round}");
        }
        for server in bank.servers.drain(..) {
            server.stop().await;
        }
        if round == 1 {
            bank.forget_derived(2);
        }
        bank = TestBank::start_in(bank.directory, 2).await;
    }
    let mut client = bank.client(1).await;
    assert_eq!(refused(client.capture(capture(&captured, 1, "1"))).await, Some(ErrorCode::HoldClosed));
    assert_eq!(refused(client.release(release(&released))).await, Some(ErrorCode::HoldClosed));
    // How the hold ended and how the transfer stands are two things.
    let told = |refusal: tonic::Status| {
        let told = refusal.get_details_error_info().expect("an info").metadata;
        let what = |name: &str| told.get(name).cloned().unwrap_or_default();
        format!("{} {}: {}", what("hold_state"), what("state"), refusal.message())
    };
    let refusal = client.capture(capture(&released, 1, "1")).await.expect_err("a refusal");
    assert_eq!(told(refusal), "RELEASED FAILED: the hold has ended: RELEASED");
    let refusal = client.release(release(&captured)).await.expect_err("a refusal");
    assert_eq!(told(refusal), "CAPTURED : the hold has ended: CAPTURED");
    client.capture(capture(&partly, 1, "15")).await.expect("captured");
    stop_and_verify(bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_does_nothing_twice() {
    let (_bank, mut client) = open_bank(2).await;
    let id = |text: &str| Some(format!("{text:0>32}"));
    let order = wire::HoldRequest { transaction_id: id("a1"), ..hold(1, "100") };
    let first = client.hold(order.clone()).await.expect("a hold").into_inner();
    let again = client.hold(order.clone()).await.expect("a hold").into_inner();
    assert_eq!(again, wire::Hold { replayed: true, ..first.clone() });
    let other = wire::HoldRequest { amount: "101".to_owned(), ..order.clone() };
    assert_eq!(refused(client.hold(other)).await, Some(ErrorCode::IdempotencyKeyReused));
    let longer = wire::HoldRequest { expires_in_seconds: Some(60), ..order.clone() };
    assert_eq!(refused(client.hold(longer)).await, Some(ErrorCode::IdempotencyKeyReused));

    let hold = first.hold_transaction_id;
    let order = wire::CaptureRequest { transaction_id: id("a2"), ..part(&hold, 2, "30") };
    let first = client.capture(order.clone()).await.expect("captured").into_inner();
    let again = client.capture(order.clone()).await.expect("captured").into_inner();
    assert_eq!(again, wire::Transfer { replayed: true, ..first });
    let whole = wire::CaptureRequest { keep_rest: false, ..order };
    assert_eq!(refused(client.capture(whole)).await, Some(ErrorCode::IdempotencyKeyReused));

    let order = wire::ReleaseRequest { transaction_id: id("a3"), ..release(&hold) };
    let first = client.release(order.clone()).await.expect("released").into_inner();
    let again = client.release(order).await.expect("released").into_inner();
    assert_eq!(again, wire::Hold { replayed: true, ..first });
    assert_eq!(shown(&mut client, &hold).await, "Released 100.00: 0.00 left, 30.00 captured, 970.00 available over");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_held_or_captured_is_refused_by_name_and_changes_nothing() {
    let (bank, mut client) = open_bank(2).await;
    let id = placed(&mut client, 1, "100").await;
    let nowhere = format!("1-{:032x}", 77);
    let account = account_of(&mut client, 1).await;
    for (order, expected) in [
        (hold(1, "900.01"), ErrorCode::InsufficientFunds),
        (hold(1, "0"), ErrorCode::InvalidAmount),
        (hold(1, "-1"), ErrorCode::InvalidAmount),
        (hold(1, "1.001"), ErrorCode::InvalidAmount),
        (hold(21, "1"), ErrorCode::CustomerNotFound),
        (wire::HoldRequest { currency: "EUR".to_owned(), ..hold(1, "1") }, ErrorCode::AccountNotFound),
        (wire::HoldRequest { expires_in_seconds: Some(0), ..hold(1, "1") }, ErrorCode::InvalidRequest),
        (wire::HoldRequest { expires_in_seconds: Some(2_678_401), ..hold(1, "1") }, ErrorCode::InvalidRequest),
        (wire::HoldRequest { account_number: account.clone(), ..hold(1, "1") }, ErrorCode::InvalidRequest),
    ] {
        assert_eq!(refused(client.hold(order.clone())).await, Some(expected), "{order:?}");
    }
    for (order, expected) in [
        (capture(&id, 2, "100.01"), ErrorCode::HoldAmountExceeded),
        (capture(&id, 2, "0"), ErrorCode::InvalidAmount),
        (capture(&id, 2, "-5"), ErrorCode::InvalidAmount),
        (capture(&id, 1, "5"), ErrorCode::SameAccount),
        (capture(&id, 21, "5"), ErrorCode::CustomerNotFound),
        (capture(&id, 0, "5"), ErrorCode::InvalidCustomerId),
        (capture(&nowhere, 2, "5"), ErrorCode::HoldNotFound),
        (capture("1", 2, "5"), ErrorCode::InvalidTransactionId),
        (wire::CaptureRequest { wait_ms: Some(30_001), ..capture(&id, 2, "5") }, ErrorCode::InvalidRequest),
    ] {
        assert_eq!(refused(client.capture(order.clone())).await, Some(expected), "{order:?}");
    }
    // A capture that was refused is found like any other transfer that was, and a release is none.
    let order = wire::CaptureRequest { transaction_id: Some(format!("{:032x}", 88)), ..capture(&id, 2, "100.01") };
    assert_eq!(refused(client.capture(order.clone())).await, Some(ErrorCode::HoldAmountExceeded));
    assert_eq!(refused(client.capture(order)).await, Some(ErrorCode::HoldAmountExceeded));
    let failed = look_up(&mut client, &format!("1-{:032x}", 88)).await;
    assert_eq!(
        (failed.state(), failed.reason.as_str(), &failed.hold_transaction_id, failed.to_customer_id),
        (TransferState::Failed, "HOLD_AMOUNT_EXCEEDED", &id, 2)
    );
    let order = wire::ReleaseRequest { transaction_id: Some(format!("{:032x}", 89)), ..release(&nowhere) };
    assert_eq!(refused(client.release(order)).await, Some(ErrorCode::HoldNotFound));
    let question = wire::GetTransferRequest { transaction_id: format!("1-{:032x}", 89) };
    assert_eq!(refused(client.get_transfer(question)).await, Some(ErrorCode::TransferNotFound));
    let paid = client.transfer(transfer(1, 2, "1")).await.expect("a transfer").into_inner().transaction_id;
    assert_eq!(refused(client.release(release(&paid))).await, Some(ErrorCode::HoldNotFound));
    assert_eq!(shown(&mut client, &id).await, "Held 100.00: 100.00 left, 0.00 captured, 899.00 available");
    // What is held cannot be taken by anybody else.
    let refusal = client.withdraw(withdraw(1, "899.01")).await.expect_err("held");
    let told = refusal.get_details_error_info().expect("an info").metadata;
    assert_eq!((told["balance"].as_str(), told["available"].as_str()), ("999.00", "899.00"));
    assert_eq!(refused(client.transfer(transfer(1, 2, "899.01"))).await, Some(ErrorCode::InsufficientFunds));
    stop_and_verify(bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_comes_back_is_free_again_and_one_that_arrived_can_be_reversed() {
    let (bank, mut client) = open_bank(2).await;
    let id = placed(&mut client, 1, "100").await;

    // There is no customer 22 at branch 2: the money comes back, and is not held.
    let order = wire::CaptureRequest { wait_ms: Some(0), ..part(&id, 22, "60") };
    let sent = client.capture(order).await.expect("under way").into_inner();
    let end = end_of(&mut client, &sent.transaction_id).await;
    assert_eq!(
        (end.state(), end.reason.as_str(), &end.hold_transaction_id),
        (TransferState::Failed, "CUSTOMER_NOT_FOUND", &id)
    );
    assert_eq!(shown(&mut client, &id).await, "Held 100.00: 40.00 left, 60.00 captured, 960.00 available");

    for to in [2, 11] {
        client.deposit(deposit(11, "1")).await.expect("a receipt");
        let done = client.capture(part(&id, to, "10")).await.expect("captured").into_inner();
        let order =
            wire::ReverseRequest { original_transaction_id: done.transaction_id, ..wire::ReverseRequest::default() };
        client.reverse(order).await.expect("reversed");
    }
    while balance(&mut client, 1).await != "1000.00" {
        tokio::task::yield_now().await;
    }
    assert_eq!(shown(&mut client, &id).await, "Held 100.00: 20.00 left, 80.00 captured, 980.00 available");
    check_books(&mut client, "0").await;
    stop_and_verify(bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_time_is_over_ends_by_itself() {
    let (bank, mut client) = open_bank(2).await;
    let order = wire::HoldRequest { expires_in_seconds: Some(1), ..hold(2, "100") };
    let id = client.hold(order).await.expect("a hold").into_inner().hold_transaction_id;
    let follow = wire::FollowJournalRequest { branch_id: 2, ..wire::FollowJournalRequest::default() };
    let mut rows = client.follow_journal(follow).await.expect("rows").into_inner();

    // Nobody asks anything of the branch meanwhile: the row comes all the same.
    let row = loop {
        let row = rows.message().await.expect("the stream goes on").expect("a row");
        if row.r#type == "hold_expired" {
            break row;
        }
    };

    assert_eq!((row.amount.as_str(), row.channel.as_str(), row.principal.as_str()), ("100.00", "bank", "bank"));
    assert_eq!(shown(&mut client, &id).await, "Expired 100.00: 0.00 left, 0.00 captured, 1000.00 available over");
    assert_eq!(refused(client.capture(capture(&id, 1, "1"))).await, Some(ErrorCode::HoldExpired));
    assert_eq!(refused(client.release(release(&id))).await, Some(ErrorCode::HoldExpired));
    stop_and_verify(bank).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_holds_is_frozen_but_not_closed() {
    let (_bank, mut client) = open_bank(1).await;
    let open = wire::OpenAccountRequest {
        customer_id: 1,
        overdraft_limit: "50".to_owned(),
        product: wire::Product::Savings.into(),
        ..wire::OpenAccountRequest::default()
    };
    let account = client.open_account(open).await.expect("an account").into_inner().account_number;
    let order = wire::HoldRequest { customer_id: 0, account_number: account.clone(), ..hold(0, "50") };
    let id = client.hold(order).await.expect("a hold").into_inner().hold_transaction_id;
    let change =
        || wire::ChangeAccountRequest { account_number: account.clone(), ..wire::ChangeAccountRequest::default() };

    assert_eq!(refused(client.close_account(change())).await, Some(ErrorCode::HoldsOpen));
    client.freeze_account(change()).await.expect("frozen");
    assert_eq!(refused(client.capture(capture(&id, 2, "1"))).await, Some(ErrorCode::AccountFrozen));
    client.release(release(&id)).await.expect("released");
    client.unfreeze_account(change()).await.expect("unfrozen");
    client.close_account(change()).await.expect("closed");
}
