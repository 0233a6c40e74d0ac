//! Holds, against a real bank.

use crate::real::RealBank;
use serde_json::{Value, json};

async fn placed(bank: &RealBank, body: Value) -> String {
    let answer = bank.api.post("/v1/holds", body).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let id = answer.json()["transaction_id"].as_str().expect("an id").to_owned();
    assert_eq!(answer.header("location"), Some(format!("/v1/holds/{id}").as_str()));
    id
}

async fn available(bank: &RealBank, customer: u32) -> Value {
    bank.api.post("/transaction", json!({"customer_id": customer, "type": "query"})).await.json()["available"].clone()
}

#[tokio::test]
async fn a_hold_is_placed_captured_and_told() {
    let bank = RealBank::open(2).await;
    let answer = bank.api.post("/v1/holds", json!({"customer_id": 1, "amount": "80", "memo": "hotel"})).await;
    let body = answer.json();
    assert_eq!(body["transaction_id"], body["hold_transaction_id"]);
    let said = ["result", "state", "amount", "remaining", "captured", "balance", "available", "currency"];
    let line = |body: &Value| said.map(|name| body[name].as_str().unwrap_or("-").to_owned()).join(" ");
    assert_eq!(
        (answer.status.as_u16(), line(&body)),
        (201, "success HELD 80.00 80.00 0.00 1000.00 920.00 USD".to_owned())
    );
    let id = body["transaction_id"].as_str().expect("an id");

    let path = format!("/v1/holds/{id}/capture");
    let part = json!({"to_customer_id": 2, "amount": 12.5, "keep_rest": true});
    let captured = bank.api.post(&path, part).await;
    assert_eq!((captured.status.as_u16(), &captured.json()["state"]), (200, &json!("COMPLETED")));
    assert_eq!(captured.json()["hold_transaction_id"], id);
    let transfer = captured.json()["transaction_id"].as_str().expect("an id").to_owned();
    assert_eq!(bank.api.get(&format!("/v1/transfers/{transfer}")).await.json()["amount"], "12.50");
    let now = bank.api.get(&format!("/v1/holds/{id}")).await.json();
    assert_eq!(line(&now), "success HELD 80.00 67.50 12.50 987.50 920.00 USD");

    // Nothing is said but whom to pay: all that is left.
    bank.api.post(&path, json!({"to_customer_id": 11})).await;
    let paid = json!({"to_customer_id": 2, "memo": "the rest"});
    let last = bank.api.post_as("last", &path, paid.clone()).await;
    assert_eq!((last.status.as_u16(), &last.json()["amount"]), (200, &json!("67.50")));
    let again = bank.api.post_as("last", &path, paid).await;
    assert_eq!((again.header("idempotent-replayed"), again.json()), (Some("true"), last.json()));
    let now = bank.api.get(&format!("/v1/holds/{id}")).await.json();
    assert_eq!(line(&now), "success CAPTURED 80.00 0.00 80.00 920.00 920.00 USD");
    assert!(now["ended_at"].is_string() && now["transaction_id"].is_null());
}

#[tokio::test]
async fn a_hold_is_released_with_or_without_a_body() {
    let bank = RealBank::open(1).await;
    for body in [None, Some(json!({"memo": "no show"}))] {
        let id = placed(&bank, json!({"customer_id": 1, "amount": 100, "expires_in_seconds": 60})).await;
        assert_eq!(available(&bank, 1).await, "900.00");
        let path = format!("/v1/holds/{id}/release");
        let released = match body {
            None => bank.api.post_bytes(&path, "").await,
            Some(body) => bank.api.post(&path, body).await,
        };
        assert_eq!(
            (released.status.as_u16(), &released.json()["state"]),
            (200, &json!("RELEASED")),
            "{}",
            released.text
        );
        assert_eq!(released.json()["hold_transaction_id"], id);
        assert_eq!(available(&bank, 1).await, "1000.00");
        assert_eq!(bank.api.post(&path, json!({})).await.refusal(), "422 HOLD_CLOSED");
        let late = bank.api.post(&format!("/v1/holds/{id}/capture"), json!({"to_customer_id": 2})).await;
        let told = late.json();
        assert_eq!(
            [&told["code"], &told["hold_state"], &told["state"]],
            [&json!("HOLD_CLOSED"), &json!("RELEASED"), &json!("FAILED")]
        );
        // The refused capture is a transfer that failed, and found as one.
        let transfer = told["transaction_id"].as_str().expect("an id");
        let found = bank.api.get(&format!("/v1/transfers/{transfer}")).await;
        assert_eq!(found.status.as_u16(), 200, "{}", found.text);
        let found = found.json();
        assert_eq!(
            [&found["state"], &found["reason"], &found["hold_transaction_id"]],
            [&json!("FAILED"), &json!("HOLD_CLOSED"), &json!(id)]
        );
    }
}

#[tokio::test]
async fn what_cannot_be_held_or_captured_is_refused_by_name() {
    let bank = RealBank::open(1).await;
    let id = placed(&bank, json!({"customer_id": 1, "amount": 100})).await;
    let mut said = Vec::new();
    for body in [
        json!({"customer_id": 1, "amount": 901}),
        json!({"customer_id": 1, "amount": 0}),
        json!({"customer_id": 1}),
        json!({"amount": 1}),
        json!({"customer_id": 21, "amount": 1}),
        json!({"customer_id": 1, "amount": 1, "expires_in_seconds": 0}),
        json!({"customer_id": 1, "amount": 1, "expires_in_seconds": 2_678_401}),
        json!({"customer_id": 1, "amount": 1, "until": "tomorrow"}),
    ] {
        said.push(bank.api.post("/v1/holds", body).await.refusal());
    }
    for body in [
        json!({"to_customer_id": 2, "amount": "100.01"}),
        json!({"to_customer_id": 2, "amount": -1}),
        json!({"to_customer_id": 2, "amount": "1.001"}),
        json!({"amount": 1}),
        json!({"to_customer_id": 1}),
        json!({"to_customer_id": 2, "wait_ms": -1}),
    ] {
        said.push(bank.api.post(&format!("/v1/holds/{id}/capture"), body).await.refusal());
    }
    let nowhere = "1-0123456789abcdef0123456789abcdef";
    said.push(bank.api.post(&format!("/v1/holds/{nowhere}/capture"), json!({"to_customer_id": 2})).await.refusal());
    said.push(bank.api.post(&format!("/v1/holds/{nowhere}/release"), json!({})).await.refusal());
    said.push(bank.api.get(&format!("/v1/holds/{nowhere}")).await.refusal());
    said.push(bank.api.get("/v1/holds/17").await.refusal());
    insta::assert_snapshot!(said.join("\n"), @"
    422 INSUFFICIENT_FUNDS
    400 INVALID_AMOUNT amount
    400 INVALID_AMOUNT amount
    400 INVALID_CUSTOMER_ID customer_id
    404 CUSTOMER_NOT_FOUND
    400 INVALID_REQUEST expires_in_seconds
    400 INVALID_REQUEST expires_in_seconds
    400 INVALID_REQUEST until
    422 HOLD_AMOUNT_EXCEEDED
    400 INVALID_AMOUNT amount
    400 INVALID_AMOUNT amount
    400 INVALID_CUSTOMER_ID to_customer_id
    422 SAME_ACCOUNT
    400 INVALID_REQUEST wait_ms
    404 HOLD_NOT_FOUND
    404 HOLD_NOT_FOUND
    404 HOLD_NOT_FOUND
    400 INVALID_TRANSACTION_ID hold_transaction_id
    ");
    assert_eq!(available(&bank, 1).await, "900.00");
}

#[tokio::test]
async fn batches_hold_capture_and_release() {
    let bank = RealBank::open(2).await;
    let one = placed(&bank, json!({"customer_id": 1, "amount": 10})).await;
    let two = placed(&bank, json!({"customer_id": 1, "amount": 20})).await;
    let body = json!({"operations": [
        {"type": "hold", "customer_id": 1, "amount": 5, "expires_in_seconds": 60},
        {"type": "capture", "hold_transaction_id": one, "to_customer_id": 2, "amount": 4, "keep_rest": true},
        {"type": "release", "hold_transaction_id": two},
        {"type": "release", "hold_transaction_id": two, "amount": 1},
        {"type": "capture", "to_customer_id": 2},
        {"type": "deposit", "customer_id": 1, "amount": 1, "keep_rest": true},
        {"type": "withdraw", "customer_id": 1, "amount": 989},
    ]});
    let answer = bank.api.post("/v1/batches", body).await.json();
    let line = |result: &Value| match result["code"].as_str() {
        Some(code) => {
            format!("{code} {}", result["field"].as_str().or(result["available"].as_str()).unwrap_or_default())
        }
        None => format!("{} {}", result["state"], result["amount"]).replace('"', ""),
    };
    let lines: Vec<String> = answer["results"].as_array().expect("a list").iter().map(line).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    HELD 5.00
    COMPLETED 4.00
    RELEASED 20.00
    INVALID_REQUEST amount
    INVALID_TRANSACTION_ID hold_transaction_id
    INVALID_REQUEST keep_rest
    INSUFFICIENT_FUNDS 985.00
    ");
}
