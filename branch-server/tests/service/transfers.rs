//! Transfers over real ports: within a branch, between branches of one server and of two.

use crate::bank::{TestBank, code, deposit, initialize, query};
use bank_proto::wire::bank_service_client::BankServiceClient;
use bank_proto::{BranchId, ErrorCode, TransactionKey, limits, wire};
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use wire::TransferState;

pub(crate) type Client = BankServiceClient<Channel>;

/// A bank with every branch open: customer n, at branch n, has 1000.00.
pub(crate) async fn open_bank(servers: u32) -> (TestBank, Client) {
    let bank = TestBank::start(servers).await;
    let mut client = bank.client(0).await;
    for branch in 1..=10 {
        client.initialize_branch(initialize(branch)).await.expect("opened");
    }
    (bank, client)
}

pub(crate) fn transfer(from: i64, to: i64, amount: &str) -> wire::TransferRequest {
    wire::TransferRequest {
        customer_id: from,
        to_customer_id: to,
        amount: amount.to_owned(),
        wait_ms: Some(30_000),
        ..wire::TransferRequest::default()
    }
}

pub(crate) fn without_waiting(from: i64, to: i64, amount: &str) -> wire::TransferRequest {
    wire::TransferRequest { wait_ms: Some(0), ..transfer(from, to, amount) }
}

pub(crate) async fn balance(client: &mut Client, customer: i64) -> String {
    client.query(query(customer)).await.expect("a balance").into_inner().balance
}

pub(crate) async fn look_up(client: &mut Client, id: &str) -> wire::Transfer {
    let question = wire::GetTransferRequest { transaction_id: id.to_owned() };
    client.get_transfer(question).await.expect("a transfer").into_inner()
}

/// Asks until the transfer has ended.
pub(crate) async fn end_of(client: &mut Client, id: &str) -> wire::Transfer {
    loop {
        let found = look_up(client, id).await;
        if !matches!(found.state(), TransferState::Pending | TransferState::Processing) {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn account_of(client: &mut Client, customer: i64) -> String {
    client.query(query(customer)).await.expect("a balance").into_inner().account_number
}

/// Invariants I1 and I2, over the trial balances of all branches: what the clearing accounts of each
/// pair say, and the sum of the customers' money.
pub(crate) async fn check_books(client: &mut Client, in_flight: &str) {
    let mut clearing = 0;
    for branch_id in 1..=10 {
        let books = client.get_trial_balance(wire::GetTrialBalanceRequest { branch_id }).await.expect("books");
        let books = books.into_inner();
        assert!(books.balanced, "branch {branch_id}: {books:?}");
        let minor = |text: &str| text.replace('.', "").parse::<i64>().expect("an amount");
        let lines = books.lines.iter().filter(|line| line.account_kind == "clearing");
        clearing += lines.map(|line| minor(&line.credit) - minor(&line.debit)).sum::<i64>();
    }
    assert_eq!(clearing, in_flight.replace('.', "").parse::<i64>().expect("an amount"), "in flight");
}

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_to_any_account_of_the_bank() {
    // Customers 1 and 11 share branch 1; branches 1 and 4 share a server, 1 and 2 do not.
    let (bank, mut client) = open_bank(3).await;
    client.deposit(deposit(11, "5")).await.expect("a receipt");
    for (to, left) in [(11, "990.00"), (4, "980.00"), (2, "970.00")] {
        let order = wire::TransferRequest { memo: "rent".to_owned(), ..transfer(1, to, "10") };
        let done = client.transfer(order).await.expect("a transfer").into_inner();
        assert_eq!(done.state(), TransferState::Completed, "to {to}");
        assert_eq!((done.balance.as_str(), done.amount.as_str(), done.currency.as_str()), (left, "10.00", "USD"));
        assert_eq!((done.customer_id, done.to_customer_id, done.branch_id), (1, to, 1));
        assert_eq!(done.to_account_number, account_of(&mut client, to).await, "to {to}");
        assert!(done.transaction_id.starts_with("1-") && done.ended_at.is_some(), "{done:?}");
        // Through any server, the same.
        let mut other = bank.client(1).await;
        assert_eq!(look_up(&mut other, &done.transaction_id).await, done);
    }
    assert_eq!(balance(&mut client, 11).await, "15.00");
    assert_eq!(balance(&mut client, 4).await, "1010.00");
    assert_eq!(balance(&mut client, 2).await, "1010.00");
    check_books(&mut client, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_statements_show_a_transfer_under_one_id_with_its_other_side() {
    let (_bank, mut client) = open_bank(2).await;
    let order = wire::TransferRequest {
        memo: "rent".to_owned(),
        metadata: [("invoice".to_owned(), "7".to_owned())].into(),
        ..transfer(1, 2, "10")
    };
    let done = client.transfer(order).await.expect("a transfer").into_inner();
    let (payer, payee) = (account_of(&mut client, 1).await, account_of(&mut client, 2).await);
    let mut newest = async |account: &str| {
        let question = wire::ListTransactionsRequest {
            account_number: account.to_owned(),
            r#type: "transfer".to_owned(),
            ..wire::ListTransactionsRequest::default()
        };
        let mut page = client.list_transactions(question).await.expect("a page").into_inner();
        assert_eq!(page.entries.len(), 1, "{page:?}");
        page.entries.remove(0)
    };
    let sent = newest(&payer).await;
    assert_eq!(
        (sent.r#type.as_str(), sent.amount.as_str(), sent.balance.as_str()),
        ("transfer_sent", "-10.00", "990.00")
    );
    assert_eq!((sent.counterparty_customer_id, sent.memo.as_str()), (2, "rent"));
    assert_eq!(sent.metadata.get("invoice").map(String::as_str), Some("7"));
    let received = newest(&payee).await;
    assert_eq!(
        (received.r#type.as_str(), received.amount.as_str(), received.balance.as_str()),
        ("transfer_received", "10.00", "1010.00")
    );
    assert_eq!((received.counterparty_customer_id, received.counterparty_account_number.as_str()), (1, payer.as_str()));
    assert_eq!((received.memo.as_str(), received.channel.as_str()), ("rent", "branch"));
    assert_eq!([sent.transaction_id, received.transaction_id], [done.transaction_id.clone(), done.transaction_id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_payees_branch_refuses_is_back_at_once_with_the_reason() {
    let (_bank, mut client) = open_bank(3).await;
    let number = account_of(&mut client, 2).await;
    let change = wire::ChangeAccountRequest { account_number: number, ..wire::ChangeAccountRequest::default() };
    client.freeze_account(change.clone()).await.expect("frozen");
    let id = format!("1-{:032x}", 77);
    let order = wire::TransferRequest { transaction_id: Some(id.clone()), ..transfer(1, 2, "10") };
    let refused = client.transfer(order.clone()).await.expect_err("frozen");
    assert_eq!(code(&refused), Some(ErrorCode::AccountFrozen));
    assert_eq!(refused.message(), "the payee's account is frozen and takes no movements");
    let failed = look_up(&mut client, &id).await;
    assert_eq!(
        (failed.state(), failed.reason.as_str(), failed.balance.as_str()),
        (TransferState::Failed, "ACCOUNT_FROZEN", "1000.00")
    );

    // What failed stays failed, whatever became of the reason; a new id tries anew.
    client.unfreeze_account(change).await.expect("open");
    let again = client.transfer(order).await.expect_err("failed for ever");
    assert_eq!(code(&again), Some(ErrorCode::AccountFrozen));
    assert_eq!(balance(&mut client, 1).await, "1000.00");
    client.transfer(transfer(1, 2, "10")).await.expect("a transfer");

    let in_euro = wire::TransferRequest { currency: "EUR".to_owned(), ..transfer(1, 2, "10") };
    let unknown = client.transfer(transfer(1, 52, "10")).await.expect_err("nobody");
    assert_eq!(code(&unknown), Some(ErrorCode::CustomerNotFound));
    // The payer has no account in euro.
    assert_eq!(code(&client.transfer(in_euro).await.expect_err("no euro")), Some(ErrorCode::AccountNotFound));
    assert_eq!((balance(&mut client, 1).await, balance(&mut client, 2).await), ("990.00".into(), "1010.00".into()));
    check_books(&mut client, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payee_in_another_currency_is_not_taken_for_the_payers_balance() {
    let (_bank, mut client) = open_bank(2).await;
    // Customer 11 is at the payer's branch, customer 2 at another one.
    for (customer_id, balance) in [(11, None), (2, Some("1000.00"))] {
        let euro = wire::OpenAccountRequest { customer_id, currency: "EUR".to_owned(), ..Default::default() };
        let payee = client.open_account(euro).await.expect("an account").into_inner().account_number;
        let id = format!("1-{customer_id:032x}");
        let order = wire::TransferRequest {
            to_customer_id: 0,
            to_account_number: payee,
            transaction_id: Some(id.clone()),
            ..transfer(1, 0, "10")
        };
        // The second time it is read from the journal.
        for _ in 0..2 {
            let refused = client.transfer(order.clone()).await.expect_err("another currency");
            assert_eq!(refused.message(), "the payee's account is kept in EUR");
            let told = refused.get_details_error_info().expect("details").metadata;
            let told = |name: &str| told.get(name).map(String::as_str);
            assert_eq!(
                (told("payee_currency"), told("party"), told("state")),
                (Some("EUR"), Some("payee"), Some("FAILED"))
            );
            assert_eq!((told("balance"), told("currency")), (balance, balance.map(|_| "USD")));
        }
        assert_eq!(look_up(&mut client, &id).await.reason_detail, "the payee's account is kept in EUR");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_cannot_be_is_refused_by_name_and_moves_nothing() {
    let (_bank, mut client) = open_bank(1).await;
    let account = account_of(&mut client, 1).await;
    let to_itself = wire::TransferRequest { to_customer_id: 0, to_account_number: account, ..transfer(1, 0, "1") };
    let both = wire::TransferRequest { to_account_number: "0002000000000146".to_owned(), ..transfer(1, 2, "1") };
    let patient = wire::TransferRequest { wait_ms: Some(30_001), ..transfer(1, 2, "1") };
    for (order, expected) in [
        (transfer(1, 1, "1"), ErrorCode::SameAccount),
        (to_itself, ErrorCode::SameAccount),
        (transfer(1, 2, "0"), ErrorCode::InvalidAmount),
        (transfer(1, 2, "-1"), ErrorCode::InvalidAmount),
        (transfer(1, 2, "0.001"), ErrorCode::InvalidAmount),
        (transfer(1, 2, ""), ErrorCode::InvalidAmount),
        (transfer(1, 0, "1"), ErrorCode::InvalidCustomerId),
        (transfer(0, 1, "1"), ErrorCode::InvalidCustomerId),
        (transfer(1, -2, "1"), ErrorCode::InvalidCustomerId),
        (transfer(51, 2, "1"), ErrorCode::CustomerNotFound),
        (transfer(1, 11, "1"), ErrorCode::CustomerNotFound),
        (transfer(1, 2, "1000.01"), ErrorCode::InsufficientFunds),
        (both, ErrorCode::InvalidRequest),
        (patient, ErrorCode::InvalidRequest),
    ] {
        let refused = client.transfer(order.clone()).await.expect_err("refused");
        assert_eq!(code(&refused), Some(expected), "{order:?}");
    }
    for (id, expected) in [
        ("", ErrorCode::InvalidTransactionId),
        ("1-", ErrorCode::InvalidTransactionId),
        ("1-000000000000000000000000000000ff", ErrorCode::TransferNotFound),
        ("11-000000000000000000000000000000ff", ErrorCode::BranchNotFound),
    ] {
        let question = wire::GetTransferRequest { transaction_id: id.to_owned() };
        assert_eq!(code(&client.get_transfer(question).await.expect_err("none")), Some(expected), "{id}");
    }
    let moved = client.deposit(deposit(1, "1")).await.expect("a receipt").into_inner();
    let question = wire::GetTransferRequest { transaction_id: moved.transaction_id };
    let none = client.get_transfer(question).await.expect_err("a deposit is no transfer");
    assert_eq!(code(&none), Some(ErrorCode::TransferNotFound));
    assert_eq!(balance(&mut client, 1).await, "1001.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_with_one_id_move_the_money_once() {
    let (_bank, client) = open_bank(3).await;
    let id = format!("1-{:032x}", 5);
    let order = wire::TransferRequest { transaction_id: Some(id), ..transfer(1, 2, "10") };
    let callers = (0..50).map(|_| {
        let (mut client, order) = (client.clone(), order.clone());
        tokio::spawn(async move { client.transfer(order).await.expect("a transfer").into_inner() })
    });
    let mut first = 0;
    for caller in callers.collect::<Vec<_>>() {
        let told = caller.await.expect("an answer");
        assert_eq!((told.state(), told.balance.as_str()), (TransferState::Completed, "990.00"));
        first += u32::from(!told.replayed);
    }
    assert_eq!(first, 1);
    let mut client = client;
    let other = wire::TransferRequest { amount: "11".to_owned(), ..order };
    assert_eq!(code(&client.transfer(other).await.expect_err("another")), Some(ErrorCode::IdempotencyKeyReused));
    assert_eq!(balance(&mut client, 2).await, "1010.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_survives_both_ends_and_arrives_when_the_other_end_is_back() {
    let (mut bank, mut client) = open_bank(2).await;
    // Server 1 has the even branches.
    let gone = bank.servers.remove(1);
    let address = gone.address();
    gone.stop().await;
    let impatient = wire::TransferRequest { wait_ms: Some(20), ..transfer(1, 2, "10") };
    let first = client.transfer(impatient).await.expect("accepted").into_inner();
    assert_eq!((first.state(), first.balance.as_str()), (TransferState::Processing, "990.00"));
    let second = client.transfer(without_waiting(1, 4, "10")).await.expect("accepted").into_inner();
    assert_eq!(second.state(), TransferState::Processing);
    assert_eq!(look_up(&mut client, &second.transaction_id).await.state(), TransferState::Processing);
    // The payer's branch goes on for its own customers, and an account that may get money back stays.
    client.deposit(deposit(1, "1")).await.expect("a receipt");
    let server = bank.servers.remove(0);
    let first_address = server.address();
    server.stop().await;
    let listener = TcpListener::bind(first_address).await.expect("the port again");
    let restarted = bank.start_server(0, listener).await;
    bank.servers.push(restarted);
    let mut client = bank.client(0).await;
    assert_eq!(look_up(&mut client, &first.transaction_id).await.state(), TransferState::Processing);

    let listener = TcpListener::bind(address).await.expect("the port again");
    let back = bank.start_server(1, listener).await;
    bank.servers.push(back);
    for id in [&first.transaction_id, &second.transaction_id] {
        assert_eq!(end_of(&mut client, id).await.state(), TransferState::Completed);
    }
    assert_eq!(balance(&mut client, 1).await, "981.00");
    assert_eq!(balance(&mut client, 2).await, "1010.00");
    assert_eq!(balance(&mut client, 4).await, "1010.00");
    check_books(&mut client, "0").await;
    // Once more from the journals alone.
    let bank = bank.restart().await;
    let mut client = bank.client(1).await;
    assert_eq!(look_up(&mut client, &first.transaction_id).await.state(), TransferState::Completed);
    check_books(&mut client, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_transfers_in_every_direction_lose_and_make_nothing() {
    let (_bank, mut client) = open_bank(3).await;
    let mut operations = Vec::new();
    for round in 0..40 {
        for from in 1..=10 {
            let to = (from + round % 9) % 10 + 1;
            let kind = wire::operation::Kind::Transfer(transfer(from, to, "0.25"));
            operations.push(wire::Operation { kind: Some(kind) });
        }
    }
    let answers =
        client.batch(wire::BatchRequest { operations, traces: vec![] }).await.expect("answers").into_inner().results;
    assert_eq!(answers.len(), 400);
    for answer in answers {
        match answer.kind {
            Some(wire::operation_result::Kind::Transfer(done)) => assert_eq!(done.state(), TransferState::Completed),
            other => panic!("{other:?}"),
        }
    }
    let mut sum = 0;
    for customer in 1..=10 {
        sum += balance(&mut client, customer).await.replace('.', "").parse::<i64>().expect("an amount");
    }
    assert_eq!(sum, 10 * 100_000);
    check_books(&mut client, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unopened_branch_turns_money_away_for_ever() {
    let bank = TestBank::start(2).await;
    let mut client = bank.client(0).await;
    client.initialize_branch(initialize(1)).await.expect("opened");
    let id = format!("1-{:032x}", 9);
    let order = wire::TransferRequest { transaction_id: Some(id.clone()), ..transfer(1, 2, "10") };
    let refused = client.transfer(order.clone()).await.expect_err("not open");
    assert_eq!(code(&refused), Some(ErrorCode::BranchNotFound));
    client.initialize_branch(initialize(2)).await.expect("opened");
    assert_eq!(code(&client.transfer(order).await.expect_err("failed for ever")), Some(ErrorCode::BranchNotFound));
    client.transfer(transfer(1, 2, "10")).await.expect("a transfer");
    let bank = bank.restart().await;
    let mut client = bank.client(0).await;
    assert_eq!(look_up(&mut client, &id).await.reason, "BRANCH_NOT_FOUND");
    assert_eq!(balance(&mut client, 2).await, "1010.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_the_place_of_an_outcome_that_is_not_there_yet() {
    let (bank, mut client) = open_bank(2).await;
    let key = TransactionKey(5);
    let branch = BranchId::new(1).expect("a branch");
    for (customer, derived) in [(1, key.outcome()), (2, key.arrival(branch))] {
        let order = wire::DepositRequest { transaction_id: Some(derived.to_string()), ..deposit(customer, "1") };
        let refused = client.deposit(order).await.expect_err("the bank's own");
        assert_eq!(code(&refused), Some(ErrorCode::InvalidTransactionId), "{derived}");
    }
    let order = wire::TransferRequest { transaction_id: Some(key.to_string()), ..transfer(1, 2, "10") };
    let done = client.transfer(order).await.expect("a transfer").into_inner();
    assert_eq!(done.state(), TransferState::Completed);
    assert_eq!(look_up(&mut client, &done.transaction_id).await.state(), TransferState::Completed);
    drop(bank);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_transfer_is_told_as_it_stands_before_its_caller_gives_up() {
    let (mut bank, _) = open_bank(3).await;
    // Branch 1 is on server 0, branch 2 on server 1; the caller speaks to server 2.
    let mut client = bank.client(2).await;
    bank.servers.remove(1).stop().await;
    let mut order = tonic::Request::new(transfer(1, 2, "10"));
    order.set_timeout(std::time::Duration::from_secs(3));
    let told = client.transfer(order).await.expect("where it stands").into_inner();
    assert_eq!((told.state(), told.balance.as_str()), (TransferState::Processing, "990.00"));
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_that_cannot_end_yet_keep_nobody_else_waiting() {
    // As much as one order may name; 9223 times that, and one more leaves 64 bits.
    let most = "1000000000000000";
    let (mut bank, mut client) = open_bank(2).await;
    let many = |kind: wire::operation::Kind, count: usize| wire::BatchRequest {
        operations: vec![wire::Operation { kind: Some(kind) }; count],
        traces: vec![],
    };
    let deposits = |customer, count| {
        let order = wire::DepositRequest { currency: "JPY".to_owned(), ..deposit(customer, most) };
        many(wire::operation::Kind::Deposit(order), count)
    };
    let transfers = |order: wire::TransferRequest| {
        let order = wire::TransferRequest { currency: "JPY".to_owned(), ..order };
        many(wire::operation::Kind::Transfer(order), limits::DELIVERIES)
    };
    for (customer, count) in [(1, 8_192), (1, 9_223 - 8_192), (3, limits::DELIVERIES)] {
        client.batch(deposits(customer, count)).await.expect("answers");
    }
    // As many as one message between branches holds, to a branch whose server is away. Meanwhile their
    // room is taken, and what is turned away there does not fit any more.
    let gone = bank.servers.remove(1);
    let address = gone.address();
    gone.stop().await;
    let sent = client.batch(transfers(without_waiting(1, 52, most))).await.expect("answers").into_inner();
    let Some(wire::operation_result::Kind::Transfer(first)) = sent.results[0].kind.clone() else {
        panic!("a transfer is accepted");
    };
    let filled = client.batch(transfers(transfer(3, 1, most))).await.expect("answers").into_inner();
    for result in filled.results {
        let Some(wire::operation_result::Kind::Transfer(done)) = result.kind else { panic!("a transfer is accepted") };
        assert_eq!(done.state(), TransferState::Completed);
    }
    let listener = TcpListener::bind(address).await.expect("the port again");
    let back = bank.start_server(1, listener).await;
    bank.servers.push(back);

    let honest = client.transfer(without_waiting(1, 2, "10")).await.expect("accepted").into_inner();
    assert_eq!(end_of(&mut client, &honest.transaction_id).await.state(), TransferState::Completed);
    assert_eq!(look_up(&mut client, &first.transaction_id).await.state(), TransferState::Processing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_is_not_reached_is_owed_no_more_than_the_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut bank = TestBank::start_with(directory, 2, |settings| settings.clearing_limit_minor_units = 1_000).await;
    let mut client = bank.client(0).await;
    for branch in 1..=3 {
        client.initialize_branch(initialize(branch)).await.expect("opened");
    }
    bank.servers.remove(1).stop().await;

    for amount in ["6", "4"] {
        let sent = client.transfer(without_waiting(1, 2, amount)).await.expect("accepted").into_inner();
        assert_eq!(sent.state(), TransferState::Processing);
    }
    let refusal = client.transfer(without_waiting(1, 2, "0.01")).await.expect_err("the limit");

    assert_eq!(code(&refusal), Some(ErrorCode::ClearingLimitExceeded));
    // The branch goes on with all else.
    client.transfer(transfer(1, 3, "5")).await.expect("a transfer");
    assert_eq!(balance(&mut client, 1).await, "985.00");
}
