//! The gRPC service over a real port: every RPC, and what a caller is told when the bank says no.

use crate::bank::{TestBank, code, deposit, initialize, query, withdraw};
use bank_proto::{ErrorCode, wire};

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_opened_once_and_money_goes_in_and_out() {
    let bank = TestBank::start(1).await;
    let mut client = bank.client(0).await;
    let refused = client.deposit(deposit(1, "100")).await.expect_err("no branch yet");
    assert_eq!(code(&refused), Some(ErrorCode::BranchNotFound));

    let opened = client.initialize_branch(initialize(1)).await.expect("opened").into_inner();
    assert!(opened.created);
    assert_eq!(opened.account.expect("an account").balance, "1000.00");
    let again = client.initialize_branch(initialize(1)).await.expect("there").into_inner();
    assert!(!again.created);

    let receipt = client.deposit(deposit(1, "100")).await.expect("a receipt").into_inner();
    assert_eq!((receipt.balance.as_str(), receipt.currency.as_str()), ("1100.00", "USD"));
    let receipt = client.withdraw(withdraw(1, "50")).await.expect("a receipt").into_inner();
    assert_eq!(receipt.balance, "1050.00");
    let refused = client.withdraw(withdraw(1, "2000")).await.expect_err("too much");
    assert_eq!(code(&refused), Some(ErrorCode::InsufficientFunds));
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert_eq!(refused.message(), "only 1050.00 USD is available");
    let balance = client.query(query(1)).await.expect("a balance").into_inner();
    assert_eq!((balance.balance.as_str(), balance.available.as_str()), ("1050.00", "1050.00"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_an_order_to_open_an_open_branch_is_kept_like_every_other() {
    use tokio_stream::StreamExt as _;
    let bank = TestBank::start(1).await;
    let mut client = bank.client(0).await;
    client.initialize_branch(initialize(1)).await.expect("opened");
    let order = wire::InitializeBranchRequest {
        transaction_id: Some("1-000000000000000000000000000000aa".to_owned()),
        ..initialize(1)
    };
    let found = client.initialize_branch(order.clone()).await.expect("found open").into_inner();
    assert!(!found.created && !found.replayed);
    let account = found.account.clone().expect("an account");
    assert_eq!((account.balance.as_str(), account.state()), ("1000.00", wire::AccountState::Open));
    client.deposit(deposit(1, "5")).await.expect("a receipt");
    let frozen = wire::ChangeAccountRequest { account_number: account.account_number.clone(), ..Default::default() };
    client.freeze_account(frozen).await.expect("frozen");
    let other = wire::InitializeBranchRequest { initial_balance: Some("7".to_owned()), ..order.clone() };
    let spent = wire::DepositRequest { transaction_id: order.transaction_id.clone(), ..deposit(1, "5") };

    // At once, and after a restart.
    let mut bank = bank;
    for _ in 0..2 {
        let mut client = bank.client(0).await;
        let again = client.initialize_branch(order.clone()).await.expect("told again").into_inner();
        assert_eq!(again, wire::InitializeBranchResponse { replayed: true, ..found.clone() });
        let reused = client.initialize_branch(other.clone()).await.expect_err("another content");
        assert_eq!(code(&reused), Some(ErrorCode::IdempotencyKeyReused));
        let reused = client.deposit(spent.clone()).await.expect_err("another order");
        assert_eq!(code(&reused), Some(ErrorCode::IdempotencyKeyReused));
        bank = bank.restart().await;
    }
    let rows = wire::FollowJournalRequest { branch_id: 1, from_sequence: 0, until_now: true };
    let mut rows = bank.client(0).await.follow_journal(rows).await.expect("a stream").into_inner();
    let row = loop {
        let row = rows.next().await.expect("the row").expect("a row");
        if row.r#type == "branch_found_open" {
            break row;
        }
    };
    assert_eq!((&row.debit_account_number, row.debit_balance.as_str()), (&account.account_number, "1000.00"));
    assert_eq!((row.credit_account_number.as_str(), row.amount.as_str()), ("", "0.00"));
    let branch = bank_proto::BranchId::new(1).expect("a branch");
    bank.books().verify(branch).expect("sound");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_server_answers_for_any_customer() {
    let bank = TestBank::start(3).await;
    let mut first = bank.client(0).await;
    let mut second = bank.client(1).await;
    for branch in 1..=10 {
        first.initialize_branch(initialize(branch)).await.expect("opened");
    }
    for customer in 1..=10 {
        let receipt = second.deposit(deposit(customer, "0.25")).await.expect("a receipt").into_inner();
        assert_eq!((receipt.branch_id, receipt.balance.as_str()), (customer as u32, "1000.25"));
    }
    let branches = second.list_branches(wire::ListBranchesRequest::default()).await.expect("a list").into_inner();
    assert_eq!(
        branches.branches.iter().map(|branch| branch.branch_id).collect::<Vec<_>>(),
        (1..=10).collect::<Vec<_>>()
    );
    assert!(branches.branches.iter().all(|branch| branch.state() == wire::BranchState::Open));
    for branch_id in 1..=10 {
        let sums =
            first.get_trial_balance(wire::GetTrialBalanceRequest { branch_id }).await.expect("sums").into_inner();
        assert!(sums.balanced && sums.lines.len() == 3, "{sums:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_gets_the_first_answer_for_ever() {
    let bank = TestBank::start(1).await;
    let mut client = bank.client(0).await;
    client.initialize_branch(initialize(1)).await.expect("opened");
    let id = Some("1-000102030405060708090a0b0c0d0e0f".to_owned());
    let order = wire::DepositRequest { transaction_id: id.clone(), ..deposit(1, "100") };
    let first = client.deposit(order.clone()).await.expect("a receipt").into_inner();
    assert!(!first.replayed);
    let overdrawn = wire::WithdrawRequest {
        transaction_id: Some("1-ffffffffffffffffffffffffffffffff".to_owned()),
        ..withdraw(1, "5000")
    };
    let refused = client.withdraw(overdrawn.clone()).await.expect_err("too much");
    client.deposit(deposit(1, "9000")).await.expect("a receipt");

    let bank = bank.restart().await;
    let mut client = bank.client(0).await;
    let again = client.deposit(order).await.expect("the receipt").into_inner();
    assert_eq!(again, wire::Receipt { replayed: true, ..first });
    // A failed id stays failed, though there would be money now.
    let still = client.withdraw(overdrawn).await.expect_err("still refused");
    assert_eq!((still.message(), code(&still)), (refused.message(), Some(ErrorCode::InsufficientFunds)));
    let other = wire::DepositRequest { transaction_id: id, ..deposit(1, "101") };
    let reused = client.deposit(other).await.expect_err("another content");
    assert_eq!(code(&reused), Some(ErrorCode::IdempotencyKeyReused));
    let balance = client.query(query(1)).await.expect("a balance").into_inner();
    assert_eq!(balance.balance, "10100.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_with_one_id_move_the_money_once() {
    let bank = TestBank::start(2).await;
    let mut clients = [bank.client(0).await, bank.client(1).await];
    clients[0].initialize_branch(initialize(1)).await.expect("opened");
    let order = wire::DepositRequest {
        transaction_id: Some("1-0000000000000000000000000000cafe".to_owned()),
        ..deposit(1, "5")
    };
    let callers = (0..50).map(|caller| {
        let (mut client, order) = (clients[caller % 2].clone(), order.clone());
        tokio::spawn(async move { client.deposit(order).await.expect("a receipt").into_inner() })
    });
    let mut first_answers = 0;
    let mut receipts = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        let receipt = caller.await.expect("an answer");
        first_answers += u32::from(!receipt.replayed);
        receipts.push(wire::Receipt { replayed: false, ..receipt });
    }
    assert_eq!(first_answers, 1);
    assert!(receipts.iter().all(|receipt| *receipt == receipts[0]));
    let balance = clients[0].query(query(1)).await.expect("a balance").into_inner();
    assert_eq!(balance.balance, "1005.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_opened_frozen_unfrozen_and_closed() {
    let bank = TestBank::start(1).await;
    let mut client = bank.client(0).await;
    client.initialize_branch(initialize(2)).await.expect("opened");
    let order = wire::OpenAccountRequest {
        customer_id: 12,
        product: wire::Product::Savings.into(),
        currency: "JPY".to_owned(),
        joint_holders: vec![2, 7],
        overdraft_limit: "500".to_owned(),
        transaction_id: Some("00000000000000000000000000000001".to_owned()),
        ..wire::OpenAccountRequest::default()
    };
    let opened = client.open_account(order.clone()).await.expect("opened").into_inner();
    assert_eq!(
        (opened.product(), opened.currency.as_str(), opened.available.as_str()),
        (wire::Product::Savings, "JPY", "500")
    );
    assert_eq!((opened.customer_id, &opened.joint_holders[..]), (12, &[2, 7][..]));
    let number = opened.account_number.clone();
    let into = |amount: &str| wire::DepositRequest { account_number: number.clone(), ..deposit(0, amount) };
    let change = || wire::ChangeAccountRequest { account_number: number.clone(), ..Default::default() };

    let receipt = client.deposit(into("40")).await.expect("a receipt").into_inner();
    assert_eq!((receipt.balance.as_str(), receipt.currency.as_str()), ("40", "JPY"));
    let refused = client.deposit(into("0.5")).await.expect_err("yen have no decimals");
    assert_eq!(code(&refused), Some(ErrorCode::InvalidAmount));
    let frozen = client.freeze_account(change()).await.expect("frozen").into_inner();
    assert_eq!((frozen.state(), frozen.balance.as_str()), (wire::AccountState::Frozen, "40"));
    let refused = client.deposit(into("1")).await.expect_err("frozen");
    assert_eq!(code(&refused), Some(ErrorCode::AccountFrozen));
    client.unfreeze_account(change()).await.expect("unfrozen");
    let refused = client.close_account(change()).await.expect_err("not empty");
    assert_eq!(
        (code(&refused), refused.message()),
        (Some(ErrorCode::AccountNotEmpty), "the balance is 40 JPY; only an account at zero can be closed")
    );
    client.withdraw(wire::WithdrawRequest { account_number: number.clone(), ..withdraw(0, "40") }).await.expect("paid");
    let closed = client.close_account(change()).await.expect("closed").into_inner();
    assert_eq!(closed.state(), wire::AccountState::Closed);

    // The first answer is given again as it was, whatever became of the account.
    let again = client.open_account(order).await.expect("the first answer").into_inner();
    assert_eq!(again, wire::Account { replayed: true, ..opened });
    let customer = client.get_customer(wire::GetCustomerRequest { customer_id: 12 }).await.expect("known").into_inner();
    assert_eq!(customer.accounts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_kept_beside_the_journal_and_may_not_be_changed_under_one_id() {
    let bank = TestBank::start(1).await;
    let mut client = bank.client(0).await;
    client.initialize_branch(initialize(1)).await.expect("opened");
    let order = wire::CreateCustomerRequest {
        customer_id: 21,
        name: "Ada Lovelace".to_owned(),
        transaction_id: Some("00000000000000000000000000000002".to_owned()),
        ..wire::CreateCustomerRequest::default()
    };
    let created = client.create_customer(order.clone()).await.expect("created").into_inner();
    assert_eq!((created.name.as_str(), created.branch_id), ("Ada Lovelace", 1));
    assert!(client.create_customer(order.clone()).await.expect("again").into_inner().replayed);
    let other = wire::CreateCustomerRequest { name: "Charles Babbage".to_owned(), ..order };
    let reused = client.create_customer(other.clone()).await.expect_err("another name");
    assert_eq!(code(&reused), Some(ErrorCode::IdempotencyKeyReused));
    let refused = client.create_customer(wire::CreateCustomerRequest { transaction_id: None, ..other }).await;
    assert_eq!(code(&refused.expect_err("registered")), Some(ErrorCode::CustomerExists));
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_newest_first_in_pages_and_filters() {
    let bank = TestBank::start(3).await;
    let mut client = bank.client(2).await;
    client.initialize_branch(initialize(1)).await.expect("opened");
    for number in 1..=7 {
        let order = wire::DepositRequest { memo: format!("number {number}"), ..deposit(1, &number.to_string()) };
        client.deposit(order).await.expect("a receipt");
    }
    let account = client.query(query(1)).await.expect("a balance").into_inner().account_number;
    client.withdraw(withdraw(1, "28")).await.expect("paid");
    let ask = |page_token: String, kind: &str| wire::ListTransactionsRequest {
        account_number: account.clone(),
        page_size: 4,
        page_token,
        r#type: kind.to_owned(),
        ..wire::ListTransactionsRequest::default()
    };
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page = client.list_transactions(ask(token, "")).await.expect("a page").into_inner();
        seen.extend(page.entries.into_iter().map(|entry| (entry.r#type, entry.amount, entry.balance, entry.memo)));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let text = |parts: (&str, &str, &str, &str)| (parts.0.into(), parts.1.into(), parts.2.into(), parts.3.into());
    assert_eq!(seen.len(), 9);
    assert_eq!(seen[0], text(("withdrawal", "-28.00", "1000.00", "")));
    assert_eq!(seen[1], text(("deposit", "7.00", "1028.00", "number 7")));
    assert_eq!(seen[8], text(("opening_balance", "1000.00", "1000.00", "")));
    let page = client.list_transactions(ask(String::new(), "withdrawal")).await.expect("a page").into_inner();
    assert_eq!(page.entries.len(), 1);
    for (token, kind) in [("0", ""), ("x", ""), ("99999", ""), ("", "theft")] {
        let refused = client.list_transactions(ask(token.to_owned(), kind)).await.expect_err("refused");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{token} {kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_refused_by_field_and_change_nothing() {
    let bank = TestBank::start(2).await;
    let mut client = bank.client(1).await;
    client.initialize_branch(initialize(1)).await.expect("opened");
    let id = |text: &str| Some(text.to_owned());
    let cases = [
        (deposit(0, "1"), ErrorCode::InvalidCustomerId, "customer_id"),
        (deposit(-1, "1"), ErrorCode::InvalidCustomerId, "customer_id"),
        (deposit(i64::MAX, "1"), ErrorCode::InvalidCustomerId, "customer_id"),
        (deposit(1, ""), ErrorCode::InvalidAmount, "amount"),
        (deposit(1, "0"), ErrorCode::InvalidAmount, "amount"),
        (deposit(1, "-5"), ErrorCode::InvalidAmount, "amount"),
        (deposit(1, "1e3"), ErrorCode::InvalidAmount, "amount"),
        (deposit(1, "NaN"), ErrorCode::InvalidAmount, "amount"),
        (deposit(1, "0.001"), ErrorCode::InvalidAmount, "amount"),
        (deposit(1, "92233720368547758.08"), ErrorCode::InvalidAmount, "amount"),
        (deposit(1, "10000000000000.01"), ErrorCode::InvalidAmount, "amount"),
        (wire::DepositRequest { currency: "usd".into(), ..deposit(1, "1") }, ErrorCode::InvalidCurrency, "currency"),
        (wire::DepositRequest { currency: "XAU".into(), ..deposit(1, "1") }, ErrorCode::InvalidCurrency, "currency"),
        (
            wire::DepositRequest { transaction_id: id(""), ..deposit(1, "1") },
            ErrorCode::InvalidTransactionId,
            "transaction_id",
        ),
        (
            wire::DepositRequest { transaction_id: id("7"), ..deposit(1, "1") },
            ErrorCode::InvalidTransactionId,
            "transaction_id",
        ),
        (
            wire::DepositRequest { transaction_id: id("2-00000000000000000000000000000001"), ..deposit(1, "1") },
            ErrorCode::InvalidTransactionId,
            "transaction_id",
        ),
        (
            wire::DepositRequest { account_number: "12".into(), ..deposit(0, "1") },
            ErrorCode::InvalidAccountNumber,
            "account_number",
        ),
        (
            wire::DepositRequest { account_number: "0001000000000151".into(), ..deposit(1, "1") },
            ErrorCode::InvalidRequest,
            "account_number",
        ),
        (wire::DepositRequest { memo: "x".repeat(141), ..deposit(1, "1") }, ErrorCode::InvalidRequest, "memo"),
        (
            wire::DepositRequest { metadata: [("k".into(), "v".repeat(1024))].into(), ..deposit(1, "1") },
            ErrorCode::InvalidRequest,
            "metadata",
        ),
        (
            wire::DepositRequest {
                caller: Some(wire::Caller { channel: "pigeon".into(), ..Default::default() }),
                ..deposit(1, "1")
            },
            ErrorCode::InvalidRequest,
            "caller.channel",
        ),
    ];
    for (request, expected, field) in cases {
        let refused = client.deposit(request.clone()).await.expect_err("refused");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{request:?}");
        assert_eq!(code(&refused), Some(expected), "{request:?}");
        assert!(refused.message().starts_with(&format!("`{field}` ")), "{}", refused.message());
    }
    let account_number = client.query(query(1)).await.expect("a balance").into_inner().account_number;
    let in_currency = |currency: &str| wire::QueryRequest {
        currency: currency.to_owned(),
        account_number: account_number.clone(),
        ..Default::default()
    };
    for fitting in ["", "USD"] {
        assert_eq!(client.query(in_currency(fitting)).await.expect("a balance").into_inner().currency, "USD");
    }
    let mismatch = client.query(in_currency("EUR")).await.expect_err("refused");
    assert_eq!(code(&mismatch), Some(ErrorCode::CurrencyMismatch));
    let unknown = client.query(in_currency("XAU")).await.expect_err("refused");
    assert_eq!(code(&unknown), Some(ErrorCode::InvalidCurrency));
    let nobody = client.withdraw(withdraw(11, "1")).await.expect_err("unknown");
    assert_eq!(code(&nobody), Some(ErrorCode::CustomerNotFound));
    for branch in [0, -3, i64::MAX] {
        let refused = client.initialize_branch(initialize(branch)).await.expect_err("refused");
        assert!(matches!(code(&refused), Some(ErrorCode::InvalidBranchId | ErrorCode::BranchNotFound)), "{branch}");
    }
    let above = client.initialize_branch(initialize(11)).await.expect_err("refused");
    assert_eq!(code(&above), Some(ErrorCode::BranchNotFound));
    let negative = wire::InitializeBranchRequest { initial_balance: Some("-1".into()), ..initialize(2) };
    assert_eq!(code(&client.initialize_branch(negative).await.expect_err("refused")), Some(ErrorCode::InvalidAmount));
    let huge = wire::InitializeBranchRequest { initial_balance: Some("10000000000000.01".into()), ..initialize(2) };
    assert_eq!(code(&client.initialize_branch(huge).await.expect_err("refused")), Some(ErrorCode::InvalidAmount));
    let limit =
        wire::OpenAccountRequest { customer_id: 1, overdraft_limit: "10000000000000.01".into(), ..Default::default() };
    assert_eq!(code(&client.open_account(limit).await.expect_err("refused")), Some(ErrorCode::InvalidAmount));
    let product = wire::OpenAccountRequest { customer_id: 1, product: 99, ..Default::default() };
    assert_eq!(code(&client.open_account(product).await.expect_err("refused")), Some(ErrorCode::InvalidRequest));
    let twice = wire::OpenAccountRequest { customer_id: 1, joint_holders: vec![2, 2], ..Default::default() };
    assert_eq!(code(&client.open_account(twice).await.expect_err("refused")), Some(ErrorCode::InvalidRequest));
    let balance = client.query(query(1)).await.expect("a balance").into_inner();
    assert_eq!(balance.balance, "1000.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_each_operation_in_order() {
    use wire::operation::Kind;
    use wire::operation_result::Kind as Said;
    let bank = TestBank::start(3).await;
    let mut client = bank.client(0).await;
    for branch in [1, 2] {
        client.initialize_branch(initialize(branch)).await.expect("opened");
    }
    let operation = |kind| wire::Operation { kind: Some(kind) };
    let operations = vec![
        operation(Kind::Deposit(deposit(1, "1"))),
        operation(Kind::Deposit(deposit(2, "2"))),
        operation(Kind::Withdraw(withdraw(1, "5000"))),
        operation(Kind::Query(query(1))),
        operation(Kind::Deposit(deposit(3, "1"))),
        wire::Operation { kind: None },
        operation(Kind::Query(query(2))),
    ];
    let results =
        client.batch(wire::BatchRequest { operations, traces: vec![] }).await.expect("results").into_inner().results;
    let said: Vec<String> = results
        .into_iter()
        .map(|result| match result.kind.expect("an answer") {
            Said::Receipt(receipt) => receipt.balance,
            Said::Balance(balance) => balance.balance,
            Said::Failure(failure) => failure.code,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        said,
        ["1001.00", "1002.00", "INSUFFICIENT_FUNDS", "1001.00", "BRANCH_NOT_FOUND", "INVALID_REQUEST", "1002.00"]
    );
    let many = vec![wire::Operation { kind: None }; 8193];
    let refused = client.batch(wire::BatchRequest { operations: many, traces: vec![] }).await.expect_err("too many");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_by_correlation_id_and_ends_when_the_server_stops() {
    use tokio_stream::StreamExt as _;
    use wire::operation::Kind;
    let bank = TestBank::start(2).await;
    let mut client = bank.client(0).await;
    for branch in [1, 2] {
        client.initialize_branch(initialize(branch)).await.expect("opened");
    }
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = client.batch_stream(outgoing).await.expect("a stream").into_inner();
    let operations = (1..=100).map(|number| wire::StreamOperation {
        correlation_id: number,
        operation: Some(wire::Operation { kind: Some(Kind::Deposit(deposit(1 + number as i64 % 2, "1"))) }),
        timeout_ms: 5000,
    });
    sender.send(wire::BatchStreamRequest { operations: operations.collect(), traces: vec![] }).await.expect("sent");
    let mut answered = std::collections::BTreeSet::new();
    while answered.len() < 100 {
        let message = answers.next().await.expect("more").expect("a message");
        for result in message.results {
            assert!(matches!(
                result.result.and_then(|result| result.kind),
                Some(wire::operation_result::Kind::Receipt(_))
            ));
            assert!(answered.insert(result.correlation_id), "twice");
        }
    }
    for server in bank.servers {
        server.stop().await;
    }
    assert!(answers.next().await.is_none(), "the stream ends cleanly");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_not_forward_again_names_the_owner() {
    let bank = TestBank::start(3).await;
    let mut client = bank.client(0).await;
    let mut request = tonic::Request::new(query(2));
    request.metadata_mut().insert(bank_proto::metadata::HOPS, "2".parse().expect("a number"));
    let refused = client.query(request).await.expect_err("refused");
    assert_eq!((refused.code(), code(&refused)), (tonic::Code::FailedPrecondition, Some(ErrorCode::WrongBranch)));
    use tonic_types::StatusExt as _;
    let info = refused.get_details_error_info().expect("details");
    assert_eq!(info.metadata.get("owner").map(String::as_str), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services_in_both_versions_and_health_answers_for_each() {
    use tokio_stream::StreamExt as _;
    let bank = TestBank::start(1).await;
    let url = format!("http://{}", bank.servers[0].address());
    let channel =
        tonic::transport::Endpoint::from_shared(url.clone()).expect("a url").connect().await.expect("connected");

    macro_rules! listed {
        ($version:ident) => {{
            use tonic_reflection::pb::$version as pb;
            let mut client = pb::server_reflection_client::ServerReflectionClient::new(channel.clone());
            let list = pb::server_reflection_request::MessageRequest::ListServices(String::new());
            let request = pb::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
            let answers = client.server_reflection_info(tokio_stream::once(request)).await.expect("a stream");
            let answer = answers.into_inner().next().await.expect("an answer").expect("no error");
            match answer.message_response.expect("a response") {
                pb::server_reflection_response::MessageResponse::ListServicesResponse(list) => {
                    list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
                }
                other => panic!("{other:?}"),
            }
        }};
    }
    for mut services in [listed!(v1), listed!(v1alpha)] {
        services.retain(|name| !name.starts_with("grpc.reflection"));
        services.sort();
        assert_eq!(services, ["bank.v1.BankService", "bank.v1.InterBranchService", "grpc.health.v1.Health"]);
    }

    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    for service in ["", "bank.v1.BankService", "liveness"] {
        let question = tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(question).await.expect("known").into_inner();
        assert_eq!(answer.status(), tonic_health::pb::health_check_response::ServingStatus::Serving, "{service}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_refuses_to_found_a_branch_whose_books_are_elsewhere() {
    let settings = |directory: &tempfile::TempDir, servers: usize| branch_server::Settings {
        store: branch_server::Store::Sqlite(directory.path().to_owned()),
        peers: vec!["http://127.0.0.1:9".to_owned(); servers],
        ..crate::bank::settings()
    };
    let start = async |settings| {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        branch_server::start(settings, listener).await
    };
    // Server 0 of three, with a directory of its own, holds branches 1, 4, 7 and 10.
    let own = tempfile::tempdir().expect("a directory");
    start(settings(&own, 3)).await.expect("founded").stop().await;
    let refused = start(settings(&own, 4)).await.err().expect("branch 5 is not here").to_string();
    assert!(refused.contains("does not hold branch 5"), "{refused}");
    start(settings(&own, 3)).await.expect("as before").stop().await;
    // A directory that all servers share holds every branch, however many servers there are.
    let bank = TestBank::start(3).await;
    for server in bank.servers {
        server.stop().await;
    }
    TestBank::start_in(bank.directory, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_gets_every_row_in_order_those_to_come_too() {
    use tokio_stream::StreamExt as _;
    let bank = TestBank::start(3).await;
    let mut owner = bank.client(0).await;
    let mut other = bank.client(2).await;
    owner.initialize_branch(initialize(1)).await.expect("opened");
    owner.deposit(deposit(1, "1")).await.expect("a receipt");
    let ask = |from_sequence, until_now| wire::FollowJournalRequest { branch_id: 1, from_sequence, until_now };

    let there = other.follow_journal(ask(0, true)).await.expect("a stream").into_inner();
    let there: Vec<wire::JournalRow> = there.map(|row| row.expect("a row")).collect().await;
    assert_eq!(there.iter().map(|row| row.sequence).collect::<Vec<_>>(), (1..=7).collect::<Vec<_>>());
    let last = there.last().expect("a row");
    assert_eq!(
        (last.r#type.as_str(), last.amount.as_str(), last.credit_balance.as_str()),
        ("deposit", "1.00", "1001.00")
    );
    assert_eq!(last.hash.len(), 64, "the row closes a group commit");

    let mut follower = other.follow_journal(ask(7, false)).await.expect("a stream").into_inner();
    assert_eq!(follower.next().await.expect("more").expect("a row").sequence, 7);
    owner.withdraw(withdraw(1, "99999")).await.expect_err("too much");
    let refused = follower.next().await.expect("more").expect("a row");
    assert_eq!((refused.sequence, refused.r#type.as_str()), (8, "refused"));
    assert!(refused.detail.contains("INSUFFICIENT_FUNDS"), "{}", refused.detail);

    let negative = other.follow_journal(ask(-1, true)).await.expect_err("refused");
    assert_eq!(negative.code(), tonic::Code::InvalidArgument);
    for server in bank.servers {
        server.stop().await;
    }
    assert!(follower.next().await.is_none_or(|row| row.is_err()), "the stream ends with its server");
}

/// One GET over HTTP/1.1 on the port that gRPC has.
pub(crate) async fn get(bank: &TestBank, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut connection = tokio::net::TcpStream::connect(bank.servers[0].address()).await.expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_ask_the_same_port_over_http() {
    let bank = TestBank::start(1).await;
    let mut client = bank.client(0).await;
    client.initialize_branch(initialize(1)).await.expect("opened");
    client.query(query(11)).await.expect_err("nobody");
    assert!(get(&bank, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get(&bank, "/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = get(&bank, "/metrics").await;
    for name in [
        "florin_group_commits_total{branch=\"1\"}",
        "florin_journal_rows_total{branch=\"1\"}",
        "florin_batch_seconds_bucket{branch=\"1\"",
        "florin_journal_wal_bytes{branch=\"1\"}",
        "florin_teller_queue_requests{branch=\"1\"} 0",
        "florin_branch_state{branch=\"1\",state=\"open\"} 1",
        "florin_group_commit_seconds_count{branch=\"1\"}",
        "florin_group_commit_rows_bucket{branch=\"1\",le=\"1\"}",
        "florin_snapshot_sequence{branch=\"1\"} 0",
        "florin_journal_bytes{branch=\"1\"}",
        "florin_disk_free_bytes ",
        "florin_disk_reserve_bytes 67108864",
        "florin_grpc_requests_total{method=\"bank.v1.BankService/InitializeBranch\",code=\"OK\"} 1",
        "florin_grpc_requests_total{method=\"bank.v1.BankService/Query\",code=\"NOT_FOUND\"} 1",
        "florin_grpc_request_seconds_count{method=\"bank.v1.BankService/Query\"} 1",
    ] {
        // The disks of a database are none of the server's.
        if crate::bank::is_shared() && name.starts_with("florin_disk") {
            assert!(!metrics.contains(name), "{name} is in {metrics}");
            continue;
        }
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
}

/// Customer 1 with so many accounts, and so many holders on each, that answers about it are large.
async fn large_customer(bank: &TestBank) -> wire::GetCustomerRequest {
    use wire::operation::Kind;
    let mut client = bank.client(0).await;
    client.initialize_branch(initialize(1)).await.expect("opened");
    let order = wire::OpenAccountRequest { customer_id: 1, joint_holders: (2..17).collect(), ..Default::default() };
    let operations = vec![wire::Operation { kind: Some(Kind::OpenAccount(order)) }; 990];
    client.batch(wire::BatchRequest { operations, traces: vec![] }).await.expect("results");
    wire::GetCustomerRequest { customer_id: 1 }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_travel_in_messages_that_fit() {
    use tokio_stream::StreamExt as _;
    use wire::operation::Kind;
    use wire::operation_result::Kind as Said;
    let bank = TestBank::start(1).await;
    let question = large_customer(&bank).await;
    let mut client = bank.client(0).await;
    let ask = || wire::Operation { kind: Some(Kind::GetCustomer(question)) };

    let operations =
        (0..100).map(|number| wire::StreamOperation { correlation_id: number, operation: Some(ask()), timeout_ms: 0 });
    let message = wire::BatchStreamRequest { operations: operations.collect(), traces: vec![] };
    let answers = client.batch_stream(tokio_stream::once(message)).await.expect("a stream").into_inner();
    let messages: Vec<wire::BatchStreamResponse> = answers.map(|message| message.expect("a message")).collect().await;
    assert!(messages.len() > 1);
    assert_eq!(messages.iter().map(|message| message.results.len()).sum::<usize>(), 100);

    // In a batch the answers of orders always arrive; questions that do not fit are refused by themselves.
    let deposit = wire::Operation { kind: Some(Kind::Deposit(deposit(1, "1"))) };
    let operations = std::iter::repeat_n(ask(), 60).chain([deposit]).collect();
    let results =
        client.batch(wire::BatchRequest { operations, traces: vec![] }).await.expect("results").into_inner().results;
    assert!(matches!(&results[60].kind, Some(Said::Receipt(_))), "{:?}", results[60]);
    assert!(matches!(&results[0].kind, Some(Said::Customer(_))));
    assert!(matches!(&results[59].kind, Some(Said::Failure(failure)) if failure.code == "PAYLOAD_TOO_LARGE"));
}
