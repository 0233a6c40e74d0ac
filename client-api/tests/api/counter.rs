//! The four lines of curl, against a real bank.

use crate::real::RealBank;
use serde_json::json;

#[tokio::test]
async fn a_branch_opens_once() {
    let bank = RealBank::start(1, &[]).await;
    let open = || bank.api.post("/initialize_branch", json!({"branch_id": 1, "initial_balance": 1000}));
    insta::assert_snapshot!(open().await.summary(), @r#"
    201 {
      "account_number": "0001000000000145",
      "balance": "1000.00",
      "branch_id": 1,
      "created": true,
      "currency": "USD",
      "customer_id": 1,
      "result": "Branch initialized successfully",
      "transaction_id": "[transaction_id]"
    }
    "#);
    insta::assert_snapshot!(open().await.summary(), @r#"
    200 {
      "account_number": "0001000000000145",
      "balance": "1000.00",
      "branch_id": 1,
      "created": false,
      "currency": "USD",
      "customer_id": 1,
      "result": "Branch already exists",
      "transaction_id": "[transaction_id]"
    }
    "#);
    let defaulted = bank.api.post("/initialize_branch", json!({"branch_id": 2})).await;
    assert_eq!((defaulted.status.as_u16(), &defaulted.json()["balance"]), (201, &json!("1000.00")));
    let empty = bank.api.post("/initialize_branch", json!({"branch_id": 3, "initial_balance": 0})).await;
    assert_eq!((empty.status.as_u16(), &empty.json()["balance"]), (201, &json!("0.00")));
    let exact = bank.api.post("/initialize_branch", json!({"branch_id": 4, "initial_balance": "0.01"})).await;
    assert_eq!((exact.status.as_u16(), &exact.json()["balance"]), (201, &json!("0.01")));
}

#[tokio::test]
async fn a_customer_deposits_withdraws_and_asks() {
    let bank = RealBank::open(3).await;
    let transact = |body| bank.api.post("/transaction", body);
    let deposit = transact(json!({"customer_id": 1, "type": "deposit", "amount": 100})).await;
    insta::assert_snapshot!(deposit.summary(), @r#"
    200 {
      "account_number": "0001000000000145",
      "amount": "100.00",
      "balance": "1100.00",
      "booked_at": "[booked_at]",
      "branch_id": 1,
      "currency": "USD",
      "customer_id": 1,
      "result": "success",
      "transaction_id": "[transaction_id]",
      "type": "deposit"
    }
    "#);
    let withdrawal = transact(json!({"customer_id": 1, "type": "withdraw", "amount": 50})).await;
    insta::assert_snapshot!(withdrawal.summary(), @r#"
    200 {
      "account_number": "0001000000000145",
      "amount": "50.00",
      "balance": "1050.00",
      "booked_at": "[booked_at]",
      "branch_id": 1,
      "currency": "USD",
      "customer_id": 1,
      "result": "success",
      "transaction_id": "[transaction_id]",
      "type": "withdrawal"
    }
    "#);
    let balance = transact(json!({"customer_id": 1, "type": "query"})).await;
    insta::assert_snapshot!(balance.summary(), @r#"
    200 {
      "account_number": "0001000000000145",
      "available": "1050.00",
      "balance": "1050.00",
      "branch_id": 1,
      "currency": "USD",
      "customer_id": 1,
      "result": "success",
      "state": "open"
    }
    "#);
    assert_eq!(balance.header("content-type"), Some("application/json"));
    assert_eq!(transact(json!({"customer_id": 1, "type": "query", "amount": 0})).await.status, 200);
    assert_eq!(transact(json!({"customer_id": 1, "type": "query", "amount": null})).await.status, 200);
}

#[tokio::test]
async fn every_branch_serves_its_customers() {
    let bank = RealBank::open(3).await;
    for customer in 1..=10 {
        let body = json!({"customer_id": customer, "type": "deposit", "amount": customer});
        let answer = bank.api.post("/transaction", body).await.json();
        assert_eq!(answer["branch_id"], customer);
        assert_eq!(answer["balance"], format!("{}.00", 1000 + customer));
        assert!(answer["transaction_id"].as_str().expect("an id").starts_with(&format!("{customer}-")));
    }
}

#[tokio::test]
async fn too_little_money_is_a_refusal_with_the_balance() {
    let bank = RealBank::open(1).await;
    let answer = bank.api.post("/transaction", json!({"customer_id": 1, "type": "withdraw", "amount": 1000.01})).await;
    assert_eq!(answer.refusal(), "422 INSUFFICIENT_FUNDS");
    insta::assert_snapshot!(answer.summary(), @r#"
    422 {
      "available": "1000.00",
      "balance": "1000.00",
      "code": "INSUFFICIENT_FUNDS",
      "currency": "USD",
      "detail": "only 1000.00 USD is available",
      "request_id": "[request_id]",
      "result": "failure",
      "status": 422,
      "success": false,
      "title": "Not enough money",
      "transaction_id": "[transaction_id]",
      "type": "urn:florin:problem:insufficient-funds"
    }
    "#);
}

#[tokio::test]
async fn amounts_are_exact_whether_numbers_or_strings() {
    let bank = RealBank::open(1).await;
    for amount in ["0.1", "\"0.2\"", "0.10", "9999999999999.99", "\"0.01\""] {
        let body = format!(r#"{{"customer_id":2,"type":"deposit","amount":{amount}}}"#);
        assert_eq!(bank.api.post_bytes("/transaction", body).await.status, 200, "{amount}");
    }
    let balance = bank.api.post("/transaction", json!({"customer_id": 2, "type": "query"})).await;
    assert_eq!(balance.json()["balance"], "10000000001000.40");
}

#[tokio::test]
async fn a_first_deposit_opens_an_account_but_nothing_else_does() {
    let bank = RealBank::open(1).await;
    let transact = |body| bank.api.post("/transaction", body);
    for kind in ["query", "withdraw"] {
        let body = json!({"customer_id": 11, "type": kind, "amount": if kind == "query" { 0 } else { 5 }});
        assert_eq!(transact(body).await.refusal(), "404 CUSTOMER_NOT_FOUND");
    }
    let deposit = transact(json!({"customer_id": 11, "type": "deposit", "amount": 5})).await.json();
    assert_eq!((&deposit["branch_id"], &deposit["balance"]), (&json!(1), &json!("5.00")));
    let euros = transact(json!({"customer_id": 11, "type": "deposit", "amount": 7, "currency": "EUR"})).await.json();
    assert_eq!((&euros["currency"], &euros["balance"]), (&json!("EUR"), &json!("7.00")));
    assert_ne!(euros["account_number"], deposit["account_number"]);
    let yen = transact(json!({"customer_id": 11, "type": "deposit", "amount": 7, "currency": "JPY"})).await.json();
    assert_eq!(yen["balance"], "7");
}

#[tokio::test]
async fn a_branch_that_is_not_open_is_not_found() {
    let bank = RealBank::start(1, &[]).await;
    for body in [
        json!({"customer_id": 1, "type": "deposit", "amount": 1}),
        json!({"customer_id": 1, "type": "withdraw", "amount": 1}),
        json!({"customer_id": 1, "type": "query"}),
    ] {
        assert_eq!(bank.api.post("/transaction", body).await.refusal(), "404 BRANCH_NOT_FOUND");
    }
    assert_eq!(bank.api.get("/v1/customers/1").await.refusal(), "404 BRANCH_NOT_FOUND");
}

#[tokio::test]
async fn no_order_takes_so_much_that_the_next_cannot_be_counted() {
    let bank = RealBank::open(1).await;
    let deposit = |amount: &str| json!({"customer_id": 1, "type": "deposit", "amount": amount});
    for amount in ["10000000000000.01", "92233720368547758.07"] {
        let refused = bank.api.post("/transaction", deposit(amount)).await;
        assert_eq!(refused.refusal(), "400 INVALID_AMOUNT amount");
        assert!(refused.json()["detail"].as_str().expect("a detail").contains("1000000000000000 minor units"));
    }
    let opened = json!({"branch_id": 2, "initial_balance": "10000000000000.01"});
    let refused = bank.api.post("/initialize_branch", opened).await.refusal();
    assert_eq!(refused, "400 INVALID_AMOUNT initial_balance");
    // The account is in USD, which only the branch knows.
    let number = bank.api.post("/transaction", json!({"customer_id": 1, "type": "query"})).await.json();
    let path = format!("/v1/accounts/{}/deposits", number["account_number"].as_str().expect("a number"));
    let refused = bank.api.post(&path, json!({"amount": "10000000000000.01"})).await.refusal();
    assert_eq!(refused, "400 INVALID_AMOUNT amount");
    for balance in ["10000000001000.00", "20000000001000.00"] {
        let answer = bank.api.post("/transaction", deposit("10000000000000")).await;
        assert_eq!(answer.json()["balance"], balance);
    }
}
