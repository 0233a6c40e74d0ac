//! Idempotency-Key, against a real bank.

use crate::real::RealBank;
use crate::support::answer;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_repeated_write_gives_the_first_answer_again() {
    let bank = RealBank::open(3).await;
    let deposit =
        || bank.api.post_as("order 17", "/transaction", json!({"customer_id": 4, "type": "deposit", "amount": 5}));
    let first = deposit().await;
    bank.api.post("/transaction", json!({"customer_id": 4, "type": "deposit", "amount": 100})).await;
    let again = deposit().await;
    assert_eq!((first.status, &first.text), (again.status, &again.text));
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), (None, Some("true")));
    assert_eq!(
        (first.header("idempotency-key"), again.header("idempotency-key")),
        (Some("order 17"), Some("order 17"))
    );
}

#[tokio::test]
async fn a_refusal_is_kept_for_ever() {
    let bank = RealBank::open(3).await;
    let withdraw =
        || bank.api.post_as("rent", "/transaction", json!({"customer_id": 4, "type": "withdraw", "amount": 1001}));
    let first = withdraw().await;
    assert_eq!(first.refusal(), "422 INSUFFICIENT_FUNDS");
    bank.api.post("/transaction", json!({"customer_id": 4, "type": "deposit", "amount": 5000})).await;
    let again = withdraw().await;
    assert_eq!(again.refusal(), "422 INSUFFICIENT_FUNDS");
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(first.json()["transaction_id"], again.json()["transaction_id"]);
    assert_eq!(first.json()["balance"], again.json()["balance"]);
}

#[tokio::test]
async fn a_key_is_not_taken_for_something_else() {
    let bank = RealBank::open(3).await;
    let deposit =
        |amount| bank.api.post_as("k", "/transaction", json!({"customer_id": 4, "type": "deposit", "amount": amount}));
    assert_eq!(deposit(5).await.status, 200);
    assert_eq!(deposit(6).await.refusal(), "409 IDEMPOTENCY_KEY_REUSED");
    assert_eq!(deposit(5).await.header("idempotent-replayed"), Some("true"));
    // Keys are kept per owning branch.
    let elsewhere =
        bank.api.post_as("k", "/transaction", json!({"customer_id": 5, "type": "deposit", "amount": 6})).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.header("idempotent-replayed")), (200, None));
}

#[tokio::test]
async fn a_branch_that_is_open_already_keeps_the_key_that_asked() {
    let bank = RealBank::open(1).await;
    let open =
        |balance| bank.api.post_as("again", "/initialize_branch", json!({"branch_id": 1, "initial_balance": balance}));
    let first = open(1000).await;
    assert_eq!((first.status.as_u16(), first.header("idempotent-replayed")), (200, None));
    bank.api.post("/transaction", json!({"customer_id": 1, "type": "deposit", "amount": 5})).await;
    let again = open(1000).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(open(7).await.refusal(), "409 IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn the_key_that_was_made_for_a_write_repeats_it() {
    let bank = RealBank::open(1).await;
    for (path, body) in [
        ("/transaction", json!({"customer_id": 4, "type": "deposit", "amount": 5})),
        ("/transaction", json!({"customer_id": 4, "type": "withdraw", "amount": 50_000})),
        ("/v1/accounts", json!({"customer_id": 4, "product": "savings"})),
        ("/v1/customers", json!({"customer_id": 44, "name": "Grace"})),
    ] {
        let first = bank.api.post(path, body.clone()).await;
        let key = first.header("idempotency-key").expect("a key").to_owned();
        let again = bank.api.post_as(&key, path, body).await;
        let without_request_id = |text: &str| {
            let mut body: serde_json::Value = serde_json::from_str(text).expect("JSON");
            body.as_object_mut().expect("an object").remove("request_id");
            body
        };
        assert_eq!(again.status, first.status, "{path}");
        assert_eq!(without_request_id(&again.text), without_request_id(&first.text), "{path}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{path}");
    }
}

#[tokio::test]
async fn the_opening_of_a_branch_is_repeated_as_created_under_its_key_only() {
    let bank = RealBank::start(1, &[]).await;
    let open = |key| bank.api.post_as(key, "/initialize_branch", json!({"branch_id": 4}));
    let first = open("first").await;
    let again = open("first").await;
    assert_eq!((first.status.as_u16(), &first.text), (201, &again.text));
    assert_eq!((again.status.as_u16(), again.header("idempotent-replayed")), (201, Some("true")));
    assert_eq!(open("second").await.status, 200);
}

#[tokio::test]
async fn fifty_callers_with_one_key_deposit_once() {
    let bank = RealBank::open(3).await;
    let calls = (0..50).map(|_| {
        let body = json!({"customer_id": 1, "type": "deposit", "amount": 7});
        let request = bank.api.request(Method::POST, "/transaction").header("Idempotency-Key", "race").json(&body);
        tokio::spawn(answer(request))
    });
    let mut fresh = 0;
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.expect("no panic");
        assert_eq!((answer.status.as_u16(), &answer.json()["balance"]), (200, &json!("1007.00")));
        fresh += usize::from(answer.header("idempotent-replayed").is_none());
    }
    assert_eq!(fresh, 1);
    let balance = bank.api.post("/transaction", json!({"customer_id": 1, "type": "query"})).await;
    assert_eq!(balance.json()["balance"], "1007.00");
}

#[tokio::test]
async fn a_restart_of_the_branch_servers_loses_nothing() {
    let mut bank = RealBank::open(3).await;
    let deposit = json!({"customer_id": 2, "type": "deposit", "amount": 5});
    let first = bank.api.post_as("before", "/transaction", deposit.clone()).await;
    bank.stop_server(1).await;
    let health = bank.api.get("/health").await;
    assert_eq!(health.status, 503);
    assert_eq!(health.json()["branches"][1]["state"], "unreachable");
    // The other branches still serve.
    bank.api.until_ready(200).await;
    let others = json!({"customer_id": 1, "type": "deposit", "amount": 5});
    assert_eq!(bank.api.post("/transaction", others).await.status, 200);
    bank.start_server(1).await;
    let again = bank.api.post_as("before", "/transaction", deposit).await;
    assert_eq!(again.text, first.text);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(bank.api.get("/health").await.status, 200);
}

#[tokio::test]
async fn readiness_follows_the_branch_servers() {
    let mut bank = RealBank::start(1, &[]).await;
    bank.api.until_ready(200).await;
    bank.stop_server(0).await;
    bank.api.until_ready(503).await;
    bank.start_server(0).await;
    bank.api.until_ready(200).await;
}
