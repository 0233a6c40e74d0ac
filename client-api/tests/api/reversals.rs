//! Reversals over HTTP, against a real bank.

use crate::real::RealBank;
use crate::support::answer;
use reqwest::Method;
use serde_json::{Value, json};

async fn pay_in(bank: &RealBank, customer: u64, amount: &str) -> String {
    let body = json!({"customer_id": customer, "type": "deposit", "amount": amount});
    let receipt = bank.api.post("/transaction", body).await.json();
    receipt["transaction_id"].as_str().expect("an id").to_owned()
}

fn path(original: &str) -> String {
    format!("/v1/transactions/{original}/reversal")
}

#[tokio::test]
async fn a_deposit_is_taken_back_once() {
    let bank = RealBank::open(2).await;
    let original = pay_in(&bank, 2, "10").await;
    let done = bank.api.post_as("k", &path(&original), json!({"memo": "paid in twice"})).await;
    insta::assert_snapshot!(done.summary().replace(&original, "[original]"), @r#"
    200 {
      "account_number": "0002000000000192",
      "amount": "10.00",
      "balance": "1000.00",
      "booked_at": "[booked_at]",
      "branch_id": 2,
      "currency": "USD",
      "customer_id": 2,
      "original_transaction_id": "[original]",
      "original_type": "deposit",
      "result": "success",
      "state": "COMPLETED",
      "transaction_id": "[transaction_id]",
      "type": "reversal"
    }
    "#);
    assert_eq!(done.json()["original_transaction_id"], original.as_str());
    let again = bank.api.post_as("k", &path(&original), json!({"memo": "paid in twice"})).await;
    assert_eq!((again.header("idempotent-replayed"), again.json()), (Some("true"), done.json()));
    assert_eq!(bank.api.post_as("k", &path(&original), json!({})).await.refusal(), "409 IDEMPOTENCY_KEY_REUSED");

    let twice = bank.api.post(&path(&original), json!({})).await;
    assert_eq!(
        (twice.refusal().as_str(), &twice.json()["reversal"]),
        ("422 ALREADY_REVERSED", &done.json()["transaction_id"])
    );
    let page = bank.api.get(&format!("/v1/accounts/{}/transactions?type=reversal", bank.account_of(2).await)).await;
    let page = page.json();
    let entry = &page["transactions"][0];
    assert_eq!(
        (&entry["type"], &entry["amount"], &entry["balance"], &entry["memo"], &entry["original_transaction_id"]),
        (&json!("reversal"), &json!("-10.00"), &json!("1000.00"), &json!("paid in twice"), &json!(original))
    );
}

#[tokio::test]
async fn a_reversal_needs_no_body() {
    let bank = RealBank::open(1).await;
    let original = pay_in(&bank, 1, "10").await;
    let done = answer(bank.api.request(Method::POST, &path(&original))).await;
    assert_eq!((done.status.as_u16(), &done.json()["balance"]), (200, &json!("1000.00")));
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_refused_by_name() {
    let bank = RealBank::open(2).await;
    let original = pay_in(&bank, 2, "10").await;
    let withdrawal = json!({"customer_id": 2, "type": "withdraw", "amount": 1009});
    bank.api.post("/transaction", withdrawal).await;
    let too_much = json!({"customer_id": 2, "type": "withdraw", "amount": 5000});
    let refused = bank.api.post("/transaction", too_much).await.json();
    let refused = refused["transaction_id"].as_str().expect("an id").to_owned();
    let mut refusals = String::new();
    for (original, body) in [
        ("2-0000000000000000000000000000000g", json!({})),
        ("2", json!({})),
        ("11-000000000000000000000000000000ff", json!({})),
        ("2-000000000000000000000000000000ff", json!({})),
        (&refused, json!({})),
        (&original, json!({})),
        (&original, json!({"memo": 1})),
        (&original, json!({"memo": "x".repeat(141)})),
        (&original, json!({"amount": 1})),
        (&original, json!([])),
    ] {
        let answer = bank.api.post(&path(original), body).await;
        refusals += &format!("{} {}\n", answer.refusal(), answer.json()["detail"].as_str().unwrap_or_default());
    }
    insta::assert_snapshot!(refusals, @r"
    400 INVALID_TRANSACTION_ID transaction_id `transaction_id` must be a transaction_id: `<branch>-<32 hex digits>`
    400 INVALID_TRANSACTION_ID transaction_id `transaction_id` must be a transaction_id: `<branch>-<32 hex digits>`
    404 BRANCH_NOT_FOUND the bank has no branch 11
    404 TRANSACTION_NOT_FOUND nothing was posted under this id
    422 NOT_REVERSIBLE it moved no money that could be moved back, or is a reversal itself
    422 INSUFFICIENT_FUNDS only 1.00 USD is available
    400 INVALID_REQUEST memo `memo` must be a text in quotes
    400 INVALID_REQUEST memo `memo` has 141 bytes, at most 140 are allowed
    400 INVALID_REQUEST amount `amount` is not known here; the fields are `memo`
    400 INVALID_REQUEST send one JSON object, in braces
    ");
}

#[tokio::test]
async fn a_batch_reverses_too() {
    let bank = RealBank::open(2).await;
    let original = pay_in(&bank, 2, "10").await;
    let reverse = |more: Value| {
        let mut item = json!({"type": "reverse", "original_transaction_id": original});
        item.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        item
    };
    let operations = [
        reverse(json!({"amount": 10})),
        reverse(json!({"customer_id": 2})),
        json!({"type": "reverse"}),
        json!({"type": "deposit", "customer_id": 2, "amount": 1, "original_transaction_id": original}),
        reverse(json!({"memo": "paid in twice"})),
        reverse(json!({})),
    ];
    let answers = bank.api.post("/v1/batches", json!({"operations": operations})).await.json();
    let lines: Vec<String> = answers["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|result| match result["code"].as_str() {
            Some(code) => format!("{code} {}", result["field"]),
            None => format!("{} {}", result["type"], result["balance"]),
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    INVALID_REQUEST "amount"
    INVALID_REQUEST "customer_id"
    INVALID_TRANSACTION_ID "original_transaction_id"
    INVALID_REQUEST "original_transaction_id"
    "reversal" "1000.00"
    ALREADY_REVERSED null
    "#);
}

#[tokio::test]
async fn a_transfer_to_another_branch_is_taken_back_when_that_branch_has_sent_the_money() {
    let bank = RealBank::open(2).await;
    let pay = json!({"customer_id": 1, "type": "transfer", "amount": 25, "to_customer_id": 2, "wait_ms": 30_000});
    let paid = bank.api.post("/transaction", pay).await.json();
    let original = paid["transaction_id"].as_str().expect("an id").to_owned();
    bank.api.post("/transaction", json!({"customer_id": 2, "type": "withdraw", "amount": 1025})).await;
    let ended = async |key: &str| loop {
        let told = bank.api.post_as(key, &path(&original), json!({})).await;
        if told.status != 202 {
            return told;
        }
        assert_eq!(
            (&told.json()["result"], &told.json()["state"]),
            (&json!("pending"), &json!("PROCESSING")),
            "{}",
            told.text
        );
        tokio::task::yield_now().await;
    };
    let gone = ended("first").await;
    assert_eq!(gone.refusal(), "422 REVERSAL_REFUSED");
    assert_eq!(
        (&gone.json()["cause"], &gone.json()["state"], &gone.json()["balance"]),
        (&json!("INSUFFICIENT_FUNDS"), &json!("FAILED"), &Value::Null)
    );
    pay_in(&bank, 2, "25").await;
    let done = ended("second").await;
    assert_eq!((done.status.as_u16(), &done.json()["balance"]), (200, &json!("1000.00")));
    assert_eq!(ended("third").await.refusal(), "422 ALREADY_REVERSED");
}
