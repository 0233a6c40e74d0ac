//! Reversals over real ports: the same money the other way, once per transaction, for ever.

use crate::bank::{TestBooks, code, deposit, initialize, withdraw};
use crate::transfers::{Client, balance, open_bank, transfer};
use bank_proto::{BranchId, ErrorCode, TransactionId, wire};
use branch_server::verify;

pub(crate) fn reverse(original: &str) -> wire::ReverseRequest {
    wire::ReverseRequest { original_transaction_id: original.to_owned(), ..wire::ReverseRequest::default() }
}

async fn pay_in(client: &mut Client, customer: i64, amount: &str) -> String {
    client.deposit(deposit(customer, amount)).await.expect("a receipt").into_inner().transaction_id
}

pub(crate) async fn refused(client: &mut Client, order: wire::ReverseRequest) -> tonic::Status {
    client.reverse(order).await.expect_err("refused")
}

pub(crate) async fn newest(client: &mut Client, account: &str, kind: &str) -> wire::StatementEntry {
    let question = wire::ListTransactionsRequest {
        account_number: account.to_owned(),
        r#type: kind.to_owned(),
        ..wire::ListTransactionsRequest::default()
    };
    client.list_transactions(question).await.expect("a page").into_inner().entries.remove(0)
}

fn proved(books: &TestBooks) -> verify::Report {
    let branch = BranchId::new(1).expect("a branch");
    books.verify(branch).expect("sound")
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_moved_money_within_a_branch_is_taken_back_whole() {
    // Branch 4 is another server's than the one that is asked.
    let (_bank, mut client) = open_bank(2).await;
    client.deposit(deposit(14, "5")).await.expect("a receipt");
    let opening = client.initialize_branch(initialize(4)).await.expect("found").into_inner();
    let account = opening.account.expect("an account").account_number;
    let opening = newest(&mut client, &account, "opening_balance").await.transaction_id;
    let paid_in = pay_in(&mut client, 4, "7.50").await;
    let paid_out = client.withdraw(withdraw(4, "2.50")).await.expect("a receipt").into_inner().transaction_id;
    let moved = client.transfer(transfer(4, 14, "100")).await.expect("a transfer").into_inner().transaction_id;
    for (original, kind, amount, left, raised) in [
        (&paid_in, "deposit", "7.50", "897.50", false),
        (&paid_out, "withdrawal", "2.50", "900.00", true),
        (&moved, "transfer", "100.00", "1000.00", true),
        (&opening, "opening_balance", "1000.00", "0.00", false),
    ] {
        let order = wire::ReverseRequest { memo: "a mistake".to_owned(), ..reverse(original) };
        let done = client.reverse(order).await.expect("reversed").into_inner();
        assert_eq!(
            (done.original_transaction_id.as_str(), done.original_type.as_str(), done.amount.as_str()),
            (original.as_str(), kind, amount)
        );
        assert_eq!((done.customer_id, done.branch_id, done.account_number.as_str()), (4, 4, account.as_str()));
        assert_eq!((done.balance.as_str(), done.currency.as_str(), done.replayed), (left, "USD", false), "{kind}");
        assert!(done.booked_at.is_some() && done.transaction_id != *original);
        let entry = newest(&mut client, &account, "reversal").await;
        assert_eq!(
            (&entry.transaction_id, &entry.original_transaction_id, entry.memo.as_str()),
            (&done.transaction_id, original, "a mistake")
        );
        assert_eq!(entry.amount, if raised { amount.to_owned() } else { format!("-{amount}") });
        assert_eq!((entry.r#type.as_str(), entry.balance.as_str()), ("reversal", left));
    }
    assert_eq!(balance(&mut client, 14).await, "5.00");
    let books = client.get_trial_balance(wire::GetTrialBalanceRequest { branch_id: 4 }).await.expect("books");
    assert!(books.into_inner().balanced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reversal_that_cannot_be_is_refused_by_name_and_moves_nothing() {
    let (_bank, mut client) = open_bank(2).await;
    let paid_in = pay_in(&mut client, 11, "10").await;
    let refusal = format!("1-{:032x}", 3);
    let too_much = wire::WithdrawRequest { transaction_id: Some(refusal.clone()), ..withdraw(11, "99") };
    client.withdraw(too_much).await.expect_err("too much");
    let opened = wire::OpenAccountRequest { customer_id: 11, ..wire::OpenAccountRequest::default() };
    let opened = client.open_account(opened).await.expect("opened").into_inner();
    let other = pay_in(&mut client, 1, "1").await;
    let reversal = client.reverse(reverse(&other)).await.expect("reversed").into_inner().transaction_id;
    let derived = {
        let key = other.parse::<TransactionId>().expect("an id").key.reversed(0);
        TransactionId { branch: BranchId::new(1).expect("a branch"), key }.to_string()
    };
    let wordy = wire::ReverseRequest { memo: "x".repeat(141), ..reverse(&paid_in) };
    let elsewhere = wire::ReverseRequest { transaction_id: Some(format!("2-{:032x}", 1)), ..reverse(&paid_in) };
    for (order, expected) in [
        (reverse(""), ErrorCode::InvalidTransactionId),
        (reverse("1-ff"), ErrorCode::InvalidTransactionId),
        (reverse(&format!("11-{:032x}", 1)), ErrorCode::BranchNotFound),
        (reverse(&format!("1-{:032x}", 77)), ErrorCode::TransactionNotFound),
        (reverse(&format!("2-{}", &paid_in[2..])), ErrorCode::TransactionNotFound),
        (reverse(&derived), ErrorCode::TransactionNotFound),
        (reverse(&refusal), ErrorCode::NotReversible),
        (reverse(&opened.transaction_id), ErrorCode::NotReversible),
        (reverse(&reversal), ErrorCode::NotReversible),
        (reverse(&other), ErrorCode::AlreadyReversed),
        (wordy, ErrorCode::InvalidRequest),
        (elsewhere, ErrorCode::InvalidTransactionId),
    ] {
        assert_eq!(code(&refused(&mut client, order.clone()).await), Some(expected), "{order:?}");
    }
    let again = refused(&mut client, reverse(&other)).await;
    assert_eq!(again.message(), format!("it was reversed before, by {reversal}"));
    // The money is gone: refused for ever under that id, and later done under another.
    client.withdraw(withdraw(11, "9.99")).await.expect("a receipt");
    let id = format!("1-{:032x}", 5);
    let order = wire::ReverseRequest { transaction_id: Some(id), ..reverse(&paid_in) };
    let gone = refused(&mut client, order.clone()).await;
    assert_eq!(code(&gone), Some(ErrorCode::InsufficientFunds));
    assert_eq!(gone.message(), "only 0.01 USD is available");
    pay_in(&mut client, 11, "20").await;
    assert_eq!(code(&refused(&mut client, order.clone()).await), Some(ErrorCode::InsufficientFunds));
    let frozen = client.query(crate::bank::query(11)).await.expect("a balance").into_inner().account_number;
    let change = wire::ChangeAccountRequest { account_number: frozen, ..wire::ChangeAccountRequest::default() };
    client.freeze_account(change.clone()).await.expect("frozen");
    assert_eq!(code(&refused(&mut client, reverse(&paid_in)).await), Some(ErrorCode::AccountFrozen));
    client.unfreeze_account(change).await.expect("open");
    client.reverse(reverse(&paid_in)).await.expect("reversed");
    assert_eq!(balance(&mut client, 11).await, "10.01");
    // What was refused stays refused, and the same id is no other order's.
    assert_eq!(code(&refused(&mut client, order.clone()).await), Some(ErrorCode::InsufficientFunds));
    let another = wire::ReverseRequest { memo: "another".to_owned(), ..order };
    assert_eq!(code(&refused(&mut client, another).await), Some(ErrorCode::IdempotencyKeyReused));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_reverse_one_transaction_once_and_a_restart_remembers_it() {
    let (bank, mut client) = open_bank(1).await;
    let original = pay_in(&mut client, 1, "10").await;
    let callers = (0..50).map(|_| {
        let (mut client, order) = (client.clone(), reverse(&original));
        tokio::spawn(async move { client.reverse(order).await.map(tonic::Response::into_inner) })
    });
    let mut done = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        match caller.await.expect("an answer") {
            Ok(reversal) => done.push(reversal),
            Err(status) => assert_eq!(code(&status), Some(ErrorCode::AlreadyReversed)),
        }
    }
    assert_eq!(done.len(), 1);
    let first = done.remove(0);
    assert_eq!(balance(&mut client, 1).await, "1000.00");
    // The same id gets the first answer again.
    let order = wire::ReverseRequest { transaction_id: Some(first.transaction_id.clone()), ..reverse(&original) };
    let again = client.reverse(order.clone()).await.expect("a replay").into_inner();
    assert_eq!(again, wire::Reversal { replayed: true, ..first.clone() });

    let running = proved(&bank.books());
    let mut bank = bank.restart().await;
    for derived_goes in [true, false] {
        let mut client = bank.client(0).await;
        assert_eq!(code(&refused(&mut client, reverse(&original)).await), Some(ErrorCode::AlreadyReversed));
        assert_eq!(client.reverse(order.clone()).await.expect("a replay").into_inner(), again);
        assert_eq!(balance(&mut client, 1).await, "1000.00");
        for server in bank.servers.drain(..) {
            server.stop().await;
        }
        if derived_goes {
            bank.forget_derived(1);
        }
        assert!(proved(&bank.books()).transactions > running.transactions);
        bank = crate::bank::TestBank::start_in(bank.directory, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_batch_only_the_first_of_two_reversals_is_done() {
    let (_bank, mut client) = open_bank(1).await;
    let original = format!("1-{:032x}", 8);
    let paid_in = wire::DepositRequest { transaction_id: Some(original.clone()), ..deposit(1, "10") };
    let kinds = [
        wire::operation::Kind::Deposit(paid_in),
        wire::operation::Kind::Reverse(reverse(&original)),
        wire::operation::Kind::Reverse(reverse(&original)),
    ];
    let operations = kinds.map(|kind| wire::Operation { kind: Some(kind) }).to_vec();
    let results =
        client.batch(wire::BatchRequest { operations, traces: vec![] }).await.expect("answers").into_inner().results;
    let told: Vec<String> = results
        .into_iter()
        .map(|result| match result.kind {
            Some(wire::operation_result::Kind::Receipt(receipt)) => receipt.balance,
            Some(wire::operation_result::Kind::Reversal(reversal)) => reversal.balance,
            Some(wire::operation_result::Kind::Failure(failure)) => failure.code,
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(told, ["1010.00", "1000.00", "ALREADY_REVERSED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_the_bank_derives_cannot_be_chosen() {
    let (_bank, mut client) = open_bank(1).await;
    let original = pay_in(&mut client, 1, "10").await;
    let id = original.parse::<TransactionId>().expect("an id");
    let derived = TransactionId { key: id.key.reversed(0), ..id }.to_string();
    let squatter = wire::DepositRequest { transaction_id: Some(derived), ..deposit(1, "1") };
    let refused = client.deposit(squatter).await.expect_err("the bank's own");
    assert_eq!(code(&refused), Some(ErrorCode::InvalidTransactionId));
    client.reverse(reverse(&original)).await.expect("reversed");
    assert_eq!(balance(&mut client, 1).await, "1000.00");
}
