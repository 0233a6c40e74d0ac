//! Reversals of transfers between branches: the payee's branch sends the money back, once, or says no.

use crate::bank::{TestBank, TestBooks, code, deposit, withdraw};
use crate::reversals::{newest, refused, reverse};
use crate::transfers::{Client, account_of, balance, check_books, end_of, open_bank, transfer, without_waiting};
use bank_proto::{BranchId, ErrorCode, wire};
use branch_server::verify;
use tokio::net::TcpListener;
use wire::TransferState;

async fn pay(client: &mut Client, from: i64, to: i64) -> String {
    client.transfer(transfer(from, to, "10")).await.expect("a transfer").into_inner().transaction_id
}

fn reverse_as(original: &str, number: u32) -> wire::ReverseRequest {
    wire::ReverseRequest { transaction_id: Some(format!("1-{number:032x}")), ..reverse(original) }
}

/// Asks under the same id until the reversal has ended.
async fn ended(client: &mut Client, order: &wire::ReverseRequest) -> Result<wire::Reversal, tonic::Status> {
    loop {
        let told = client.reverse(order.clone()).await?.into_inner();
        if told.state() == TransferState::Completed {
            return Ok(told);
        }
        assert_eq!(told.state(), TransferState::Processing);
        tokio::task::yield_now().await;
    }
}

fn cause(status: &tonic::Status) -> (Option<ErrorCode>, String) {
    use tonic_types::StatusExt as _;
    let told = status.get_details_error_info().expect("details").metadata;
    assert_eq!(told.get("state").map(String::as_str), Some("FAILED"));
    assert_eq!(told.get("balance"), None, "the payee's balance is not the payer's to know");
    (code(status), told.get("cause").cloned().unwrap_or_default())
}

/// Every branch's story, and that all of them fit together with nothing under way.
fn prove(books: &TestBooks) {
    let stories = (1..=10).map(|number| {
        let branch = BranchId::new(number).expect("a branch");
        books.verify(branch).expect("sound").crossings
    });
    let agreement = verify::agree(&stories.collect::<Vec<_>>()).expect("one story");
    assert_eq!(agreement.in_flight, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payees_branch_sends_the_money_back_once() {
    // Branches 1 and 3 share a server, 1 and 2 do not.
    let (bank, mut client) = open_bank(2).await;
    for (number, payee) in [(1, 2), (2, 3)] {
        let original = pay(&mut client, 1, payee).await;
        let order = wire::ReverseRequest { memo: "paid twice".to_owned(), ..reverse_as(&original, number) };
        let done = ended(&mut client, &order).await.expect("reversed");
        assert_eq!(
            (done.original_transaction_id.as_str(), done.original_type.as_str()),
            (original.as_str(), "transfer")
        );
        assert_eq!(
            (done.customer_id, done.amount.as_str(), done.balance.as_str(), done.replayed),
            (1, "10.00", "1000.00", true)
        );
        assert_eq!(balance(&mut client, payee).await, "1000.00");
        // The payee's statement says what was taken back, and of which transfer.
        let account = account_of(&mut client, payee).await;
        let back = newest(&mut client, &account, "transfer_sent").await;
        assert_eq!(
            (back.amount.as_str(), back.memo.as_str(), back.original_transaction_id.as_str()),
            ("-10.00", "paid twice", original.as_str())
        );
        for twice in [reverse(&original), reverse(&back.transaction_id), reverse(&done.transaction_id)] {
            let expected = if twice.original_transaction_id == original {
                ErrorCode::AlreadyReversed
            } else {
                ErrorCode::NotReversible
            };
            assert_eq!(code(&refused(&mut client, twice).await), Some(expected));
        }
    }
    check_books(&mut client, "0").await;
    let bank = bank.restart().await;
    prove(&bank.books());
    let mut client = bank.client(0).await;
    check_books(&mut client, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_is_gone_is_not_given_back_and_a_new_id_may_try_again() {
    let (bank, mut client) = open_bank(2).await;
    let original = pay(&mut client, 1, 2).await;
    client.withdraw(withdraw(2, "1000.01")).await.expect("a receipt");
    let first = reverse_as(&original, 1);
    let gone = ended(&mut client, &first).await.expect_err("gone");
    assert_eq!(cause(&gone), (Some(ErrorCode::ReversalRefused), "INSUFFICIENT_FUNDS".to_owned()));
    let account = account_of(&mut client, 2).await;
    let change = wire::ChangeAccountRequest { account_number: account, ..wire::ChangeAccountRequest::default() };
    client.freeze_account(change.clone()).await.expect("frozen");
    let frozen = ended(&mut client, &reverse_as(&original, 2)).await.expect_err("frozen");
    assert_eq!(cause(&frozen), (Some(ErrorCode::ReversalRefused), "ACCOUNT_FROZEN".to_owned()));
    client.unfreeze_account(change).await.expect("open");
    client.deposit(deposit(2, "1")).await.expect("a receipt");
    ended(&mut client, &reverse_as(&original, 3)).await.expect("reversed");
    // What was refused stays refused.
    assert_eq!(cause(&refused(&mut client, first).await).0, Some(ErrorCode::ReversalRefused));
    assert_eq!(code(&refused(&mut client, reverse(&original)).await), Some(ErrorCode::AlreadyReversed));
    assert_eq!((balance(&mut client, 1).await, balance(&mut client, 2).await), ("1000.00".into(), "0.99".into()));
    check_books(&mut client, "0").await;
    prove(&bank.books());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_payee_has_is_asked_back() {
    let (mut bank, mut client) = open_bank(2).await;
    let failed = client
        .transfer(wire::TransferRequest { transaction_id: Some(format!("1-{:032x}", 9)), ..transfer(1, 52, "10") });
    assert_eq!(code(&failed.await.expect_err("nobody")), Some(ErrorCode::CustomerNotFound));
    let failed = reverse(&format!("1-{:032x}", 9));
    assert_eq!(code(&refused(&mut client, failed).await), Some(ErrorCode::NotReversible));
    let gone = bank.servers.remove(1);
    gone.stop().await;
    let sent = client.transfer(without_waiting(1, 2, "10")).await.expect("accepted").into_inner();
    let early = refused(&mut client, reverse(&sent.transaction_id)).await;
    assert_eq!(code(&early), Some(ErrorCode::TransfersInFlight));
}

async fn start_again(bank: &mut TestBank, ordinal: u32, address: std::net::SocketAddr) {
    let listener = TcpListener::bind(address).await.expect("the port again");
    let server = bank.start_server(ordinal, listener).await;
    bank.servers.push(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_under_way_survives_both_ends_and_lets_no_other_begin() {
    let (mut bank, mut client) = open_bank(2).await;
    let (to_give, to_refuse) = (pay(&mut client, 1, 2).await, pay(&mut client, 3, 2).await);
    let gone = pay(&mut client, 5, 4).await;
    client.withdraw(withdraw(4, "1010")).await.expect("a receipt");
    let there = bank.servers.remove(1);
    let address = there.address();
    there.stop().await;
    let orders = [reverse_as(&to_give, 1), reverse_as(&to_refuse, 2), reverse_as(&gone, 3)];
    let orders = orders.map(|order| {
        // Each is its payer's branch's.
        let id = order.transaction_id.map(|id| format!("{}{}", &order.original_transaction_id[..1], &id[1..]));
        wire::ReverseRequest { transaction_id: id, ..order }
    });
    for order in &orders {
        let told = client.reverse(order.clone()).await.expect("accepted").into_inner();
        assert_eq!((told.state(), told.balance.as_str()), (TransferState::Processing, "990.00"));
        let other = refused(&mut client, reverse(&order.original_transaction_id)).await;
        assert_eq!(code(&other), Some(ErrorCode::AlreadyReversed));
    }
    // Meanwhile the second payer's account is frozen: it can take nothing back.
    let account = account_of(&mut client, 3).await;
    let change = wire::ChangeAccountRequest { account_number: account, ..wire::ChangeAccountRequest::default() };
    client.freeze_account(change.clone()).await.expect("frozen");
    let here = bank.servers.remove(0);
    let own = here.address();
    here.stop().await;
    start_again(&mut bank, 0, own).await;
    start_again(&mut bank, 1, address).await;
    let mut client = bank.client(0).await;
    ended(&mut client, &orders[0]).await.expect("reversed");
    let failed = ended(&mut client, &orders[1]).await.expect_err("frozen");
    assert_eq!(cause(&failed), (Some(ErrorCode::ReversalRefused), "ACCOUNT_FROZEN".to_owned()));
    let failed = ended(&mut client, &orders[2]).await.expect_err("gone");
    assert_eq!(cause(&failed), (Some(ErrorCode::ReversalRefused), "INSUFFICIENT_FUNDS".to_owned()));
    client.unfreeze_account(change).await.expect("open");
    // The money is the payee's again before another reversal is tried.
    let payee = account_of(&mut client, 2).await;
    let returned = newest(&mut client, &payee, "transfer_sent").await.transaction_id;
    end_of(&mut client, &returned).await;
    let another = wire::ReverseRequest { transaction_id: Some(format!("3-{:032x}", 5)), ..reverse(&to_refuse) };
    ended(&mut client, &another).await.expect("reversed");
    for customer in 1..=3 {
        assert_eq!(balance(&mut client, customer).await, "1000.00", "customer {customer}");
    }
    assert_eq!((balance(&mut client, 4).await, balance(&mut client, 5).await), ("0.00".into(), "990.00".into()));
    check_books(&mut client, "0").await;
    prove(&bank.books());
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_get_the_money_back_once() {
    let (bank, mut client) = open_bank(2).await;
    let original = pay(&mut client, 1, 2).await;
    let callers = (0..50).map(|_| {
        let (mut client, order) = (client.clone(), reverse(&original));
        tokio::spawn(async move { client.reverse(order).await.map(tonic::Response::into_inner) })
    });
    let mut accepted = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        match caller.await.expect("an answer") {
            Ok(told) => accepted.push(told.transaction_id),
            Err(status) => assert_eq!(code(&status), Some(ErrorCode::AlreadyReversed)),
        }
    }
    assert_eq!(accepted.len(), 1);
    let order = wire::ReverseRequest { transaction_id: accepted.pop(), ..reverse(&original) };
    ended(&mut client, &order).await.expect("reversed");
    assert_eq!((balance(&mut client, 1).await, balance(&mut client, 2).await), ("1000.00".into(), "1000.00".into()));
    check_books(&mut client, "0").await;
    prove(&bank.books());
}
