//! Transfers over HTTP, within a branch and between branches, against a real bank.

use crate::real::RealBank;
use crate::support::Answer;
use serde_json::{Value, json};

fn pay(from: u64, to: u64, amount: &str) -> Value {
    json!({"customer_id": from, "type": "transfer", "amount": amount, "to_customer_id": to, "wait_ms": 30_000})
}

async fn balance(bank: &RealBank, customer: u64) -> String {
    let answer = bank.api.post("/transaction", json!({"customer_id": customer, "type": "query"})).await.json();
    answer["balance"].as_str().expect("a balance").to_owned()
}

/// Asks until the transfer has ended.
async fn end_of(bank: &RealBank, id: &str) -> Value {
    loop {
        let found = bank.api.get(&format!("/v1/transfers/{id}")).await.json();
        if found["result"] != "pending" {
            return found;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_counter_moves_money_to_a_customer_of_another_branch() {
    let bank = RealBank::open(3).await;
    let paid = bank.api.post("/transaction", pay(1, 2, "25")).await;
    insta::assert_snapshot!(paid.summary(), @r#"
    200 {
      "account_number": "0001000000000145",
      "amount": "25.00",
      "balance": "975.00",
      "booked_at": "[booked_at]",
      "branch_id": 1,
      "currency": "USD",
      "customer_id": 1,
      "ended_at": "[ended_at]",
      "result": "success",
      "state": "COMPLETED",
      "to_account_number": "0002000000000192",
      "to_branch_id": 2,
      "to_customer_id": 2,
      "transaction_id": "[transaction_id]"
    }
    "#);
    let id = paid.json()["transaction_id"].as_str().expect("an id").to_owned();
    let found = bank.api.get(&format!("/v1/transfers/{id}")).await;
    assert_eq!((found.status.as_u16(), found.json()), (200, paid.json()));
    assert_eq!((balance(&bank, 1).await, balance(&bank, 2).await), ("975.00".into(), "1025.00".into()));

    let own = bank.api.get(&format!("/v1/accounts/{}/transactions?type=transfer", bank.account_of(2).await)).await;
    let entry = &own.json()["transactions"][0];
    assert_eq!(entry["transaction_id"], id.as_str());
    assert_eq!(
        (&entry["type"], &entry["amount"], &entry["balance"]),
        (&json!("transfer_received"), &json!("25.00"), &json!("1025.00"))
    );
    assert_eq!(
        (&entry["counterparty_customer_id"], &entry["counterparty_account_number"]),
        (&json!(1), &json!("0001000000000145"))
    );
}

#[tokio::test]
async fn a_transfer_that_fails_says_why_and_the_money_is_back() {
    let bank = RealBank::open(2).await;
    let account = bank.account_of(2).await;
    bank.api.post(&format!("/v1/accounts/{account}/freeze"), json!({})).await;
    let failed = bank.api.post_as("k", "/transaction", pay(1, 2, "25")).await;
    assert_eq!(failed.refusal(), "422 ACCOUNT_FROZEN");
    let body = failed.json();
    assert_eq!(
        (&body["state"], &body["reason"], &body["party"]),
        (&json!("FAILED"), &json!("ACCOUNT_FROZEN"), &json!("payee"))
    );
    assert_eq!(
        (&body["balance"], &body["detail"]),
        (&json!("1000.00"), &json!("the payee's account is frozen and takes no movements"))
    );
    let id = body["transaction_id"].as_str().expect("an id");
    let found = bank.api.get(&format!("/v1/transfers/{id}")).await;
    assert_eq!(found.status, 200);
    let found = found.json();
    assert_eq!(
        (&found["result"], &found["state"], &found["reason"]),
        (&json!("failure"), &json!("FAILED"), &json!("ACCOUNT_FROZEN"))
    );

    // A failed key stays failed; a new one tries anew.
    bank.api.post(&format!("/v1/accounts/{account}/unfreeze"), json!({})).await;
    let again = bank.api.post_as("k", "/transaction", pay(1, 2, "25")).await;
    assert_eq!((again.refusal().as_str(), again.header("idempotent-replayed")), ("422 ACCOUNT_FROZEN", Some("true")));
    assert_eq!(bank.api.post_as("l", "/transaction", pay(1, 2, "25")).await.status, 200);
    let same = bank.api.post_as("l", "/transaction", pay(1, 2, "25")).await;
    assert_eq!((same.status.as_u16(), same.header("idempotent-replayed")), (200, Some("true")));
    assert_eq!(bank.api.post_as("l", "/transaction", pay(1, 2, "26")).await.refusal(), "409 IDEMPOTENCY_KEY_REUSED");
    assert_eq!(balance(&bank, 1).await, "975.00");
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_name_and_moves_nothing() {
    let bank = RealBank::open(2).await;
    let mut refusals = String::new();
    for body in [
        pay(1, 1, "1"),
        pay(1, 2, "1000.01"),
        pay(1, 2, "0"),
        pay(1, 2, "-1"),
        pay(1, 2, "0.001"),
        pay(51, 2, "1"),
        pay(1, 52, "1"),
        pay(1, 11, "1"),
        json!({"customer_id": 1, "type": "transfer", "to_customer_id": 2}),
        json!({"customer_id": 1, "type": "transfer", "amount": 1}),
        json!({"customer_id": 1, "type": "transfer", "amount": 1, "to_customer_id": "2"}),
        json!({"customer_id": 1, "type": "transfer", "amount": 1, "to_account_number": "0002000000000143"}),
        json!({"customer_id": 1, "type": "transfer", "amount": 1, "to_customer_id": 2, "to_account_number": "0002000000000192"}),
        json!({"customer_id": 1, "type": "transfer", "amount": 1, "to_customer_id": 2, "currency": "EUR"}),
        json!({"customer_id": 1, "type": "transfer", "amount": 1, "to_customer_id": 2, "wait_ms": 30_001}),
        json!({"customer_id": 1, "type": "transfer", "amount": 1, "to_customer_id": 2, "wait_ms": -1}),
        json!({"customer_id": 1, "type": "transfer", "amount": 1, "to_customer_id": 2, "to": 3}),
        json!({"customer_id": 1, "type": "deposit", "amount": 1, "wait_ms": 3}),
    ] {
        refusals += &format!("{}\n", bank.api.post("/transaction", body).await.refusal());
    }
    insta::assert_snapshot!(refusals, @r"
    422 SAME_ACCOUNT
    422 INSUFFICIENT_FUNDS
    400 INVALID_AMOUNT amount
    400 INVALID_AMOUNT amount
    400 INVALID_AMOUNT amount
    404 CUSTOMER_NOT_FOUND
    422 CUSTOMER_NOT_FOUND
    422 CUSTOMER_NOT_FOUND
    400 INVALID_AMOUNT amount
    400 INVALID_CUSTOMER_ID to_customer_id
    400 INVALID_CUSTOMER_ID to_customer_id
    400 INVALID_ACCOUNT_NUMBER to_account_number
    400 INVALID_REQUEST to_account_number
    404 ACCOUNT_NOT_FOUND
    400 INVALID_REQUEST wait_ms
    400 INVALID_REQUEST wait_ms
    400 INVALID_REQUEST to
    400 INVALID_REQUEST wait_ms
    ");
    let poor = bank.api.post("/transaction", pay(1, 2, "1000.01")).await.json();
    assert_eq!((&poor["state"], &poor["reason"]), (&json!("FAILED"), &json!("INSUFFICIENT_FUNDS")));
    for (path, refusal) in [
        ("/v1/transfers/7", "400 INVALID_TRANSACTION_ID transaction_id"),
        ("/v1/transfers/1-000000000000000000000000000000ff", "404 TRANSFER_NOT_FOUND"),
        ("/v1/transfers/11-000000000000000000000000000000ff", "404 BRANCH_NOT_FOUND"),
    ] {
        assert_eq!(bank.api.get(path).await.refusal(), refusal, "{path}");
    }
    assert_eq!((balance(&bank, 1).await, balance(&bank, 2).await), ("1000.00".into(), "1000.00".into()));
}

#[tokio::test]
async fn a_transfer_under_way_is_accepted_and_can_be_asked_for() {
    let mut bank = RealBank::open(2).await;
    bank.stop_server(1).await;
    let order = json!({"from_customer_id": 1, "to_customer_id": 2, "amount": 25, "wait_ms": 0});
    let accepted = bank.api.post_as("k", "/v1/transfers", order.clone()).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let body = accepted.json();
    assert_eq!(
        (&body["result"], &body["state"], &body["balance"]),
        (&json!("pending"), &json!("PROCESSING"), &json!("975.00"))
    );
    let id = body["transaction_id"].as_str().expect("an id");
    let place = format!("/v1/transfers/{id}");
    assert_eq!(accepted.header("location"), Some(&*place));
    let found = bank.api.get(&place).await;
    assert_eq!((found.status.as_u16(), &found.json()["state"]), (200, &json!("PROCESSING")));
    bank.start_server(1).await;
    let end = end_of(&bank, id).await;
    assert_eq!((&end["state"], &end["to_account_number"]), (&json!("COMPLETED"), &json!("0002000000000192")));
    let again = bank.api.post_as("k", "/v1/transfers", order).await;
    assert_eq!((again.status.as_u16(), again.header("idempotent-replayed")), (200, Some("true")));
    bank.api.until_ready(200).await;
    assert_eq!(balance(&bank, 2).await, "1025.00");
}

#[tokio::test]
async fn a_named_account_pays_a_named_account_and_a_batch_pays_many() {
    let bank = RealBank::open(2).await;
    let (payer, payee) = (bank.account_of(1).await, bank.account_of(2).await);
    let order = json!({"from_account_number": payer, "to_account_number": payee, "amount": "0.50", "memo": "rent"});
    let paid = bank.api.post("/v1/transfers", order).await;
    assert_eq!((paid.status.as_u16(), &paid.json()["balance"]), (200, &json!("999.50")));
    let batch = json!({"operations": [
        {"type": "transfer", "customer_id": 1, "to_customer_id": 2, "amount": 1, "wait_ms": 30_000},
        {"type": "transfer", "account_number": payee, "to_account_number": payer, "amount": 2, "wait_ms": 30_000},
        {"type": "transfer", "customer_id": 3, "to_customer_id": 73, "amount": 2, "wait_ms": 30_000},
        {"type": "deposit", "customer_id": 3, "to_customer_id": 73, "amount": 2},
        {"type": "query", "customer_id": 3},
    ]});
    let answers = bank.api.post("/v1/batches", batch).await.json();
    let said = |place: usize, name: &str| answers["results"][place][name].clone();
    assert_eq!(
        [said(0, "state"), said(1, "state"), said(2, "state")],
        [json!("COMPLETED"), json!("COMPLETED"), json!("FAILED")]
    );
    assert_eq!((said(2, "status"), said(2, "code")), (json!(422), json!("CUSTOMER_NOT_FOUND")));
    assert_eq!((said(3, "code"), said(3, "field")), (json!("INVALID_REQUEST"), json!("to_customer_id")));
    assert_eq!((balance(&bank, 1).await, balance(&bank, 2).await), ("1000.50".into(), "999.50".into()));
}

#[tokio::test]
async fn within_a_branch_nobody_waits_and_both_statements_call_it_a_transfer() {
    let bank = RealBank::open(1).await;
    bank.api.post("/transaction", json!({"customer_id": 11, "type": "deposit", "amount": 5})).await;
    let order = json!({
        "customer_id": 1, "type": "transfer", "amount": 25, "to_customer_id": 11, "wait_ms": 0,
        "memo": "rent", "metadata": {"invoice": "7"}
    });
    let paid = bank.api.post("/transaction", order).await;
    assert_eq!((paid.status.as_u16(), &paid.json()["state"]), (200, &json!("COMPLETED")), "{}", paid.text);
    assert_eq!(paid.header("location"), None);
    for (customer, other, amount, invoice) in [(1, 11, "-25.00", json!("7")), (11, 1, "25.00", Value::Null)] {
        let place = format!("/v1/accounts/{}/transactions", bank.account_of(customer).await);
        let page = bank.api.get(&format!("{place}?type=transfer")).await.json();
        let entries = page["transactions"].as_array().expect("a page");
        assert_eq!(entries.len(), 1, "{page}");
        let entry = &entries[0];
        assert_eq!(
            (&entry["transaction_id"], &entry["type"], &entry["amount"]),
            (&paid.json()["transaction_id"], &json!("transfer"), &json!(amount))
        );
        assert_eq!(&entry["memo"], "rent", "{entry}");
        assert_eq!(entry["counterparty_account_number"], bank.account_of(other).await, "{entry}");
        // The memo is for both, the metadata the payer's own.
        assert_eq!(entry["metadata"]["invoice"], invoice, "{entry}");
        let page = bank.api.get(&format!("{place}?type=transfer_sent")).await.json();
        assert_eq!(page["transactions"], json!([]));
    }
    let place = format!("/v1/accounts/{}/transactions?type=transfer_lost", bank.account_of(1).await);
    assert_eq!(bank.api.get(&place).await.refusal(), "400 INVALID_REQUEST type");
}

#[tokio::test]
async fn money_that_came_back_stands_in_the_statement_twice() {
    let bank = RealBank::open(2).await;
    bank.api.post("/transaction", pay(1, 52, "25")).await;
    let place = format!("/v1/accounts/{}/transactions", bank.account_of(1).await);
    let shown = |page: Answer| {
        let page = page.json();
        let entries = page["transactions"].as_array().expect("a page").iter();
        entries.map(|entry| format!("{} {} {}", entry["type"], entry["amount"], entry["balance"])).collect::<Vec<_>>()
    };
    let (sent, returned) = (r#""transfer_sent" "-25.00" "975.00""#, r#""transfer_returned" "25.00" "1000.00""#);
    assert_eq!(shown(bank.api.get(&format!("{place}?type=transfer")).await), [returned, sent]);
    assert_eq!(shown(bank.api.get(&format!("{place}?type=transfer_sent")).await), [sent]);
    assert_eq!(shown(bank.api.get(&format!("{place}?type=transfer_returned")).await), [returned]);
}

#[tokio::test]
async fn a_repeated_batch_of_transfers_tells_how_they_stand_and_pays_once() {
    let bank = RealBank::open(2).await;
    let pay =
        |to: u64| json!({"type": "transfer", "customer_id": 1, "to_customer_id": to, "amount": 1, "wait_ms": 30_000});
    let batch = json!({"operations": [pay(2), pay(3), pay(52), pay(2)]});
    let first = bank.api.post_as("payday", "/v1/batches", batch.clone()).await;
    let again = bank.api.post_as("payday", "/v1/batches", batch).await;
    assert_eq!(first.text, again.text);
    let marks = [&first, &again].map(|answer| answer.header("idempotent-replayed").map(str::to_owned));
    assert_eq!(marks, [None, Some("true".to_owned())]);
    let states: Vec<Value> = (0..4).map(|place| first.json()["results"][place]["state"].clone()).collect();
    assert_eq!(states, ["COMPLETED", "COMPLETED", "FAILED", "COMPLETED"]);
    assert_eq!([balance(&bank, 1).await, balance(&bank, 2).await], ["997.00", "1002.00"]);
}
