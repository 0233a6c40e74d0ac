//! Customers, accounts, history, branches, against a real bank.

use crate::real::RealBank;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_customer_is_registered_once_and_told_with_its_accounts() {
    let bank = RealBank::open(1).await;
    let ada = json!({"customer_id": 17, "name": "Ada Lovelace"});
    insta::assert_snapshot!(bank.api.post("/v1/customers", ada.clone()).await.summary(), @r#"
    201 {
      "accounts": [],
      "branch_id": 7,
      "customer_id": 17,
      "name": "Ada Lovelace",
      "result": "success",
      "transaction_id": "[transaction_id]"
    }
    "#);
    assert_eq!(bank.api.post("/v1/customers", ada).await.refusal(), "409 CUSTOMER_EXISTS");
    assert_eq!(bank.api.get("/v1/customers/27").await.refusal(), "404 CUSTOMER_NOT_FOUND");
    let savings = json!({"customer_id": 17, "product": "savings", "currency": "EUR", "joint_holders": [18]});
    insta::assert_snapshot!(bank.api.post("/v1/accounts", savings).await.summary(), @r#"
    201 {
      "account_number": "0007000000000330",
      "available": "0.00",
      "balance": "0.00",
      "branch_id": 7,
      "currency": "EUR",
      "customer_id": 17,
      "joint_holders": [
        18
      ],
      "opened_at": "[opened_at]",
      "overdraft_limit": "0.00",
      "product": "savings",
      "result": "success",
      "state": "open",
      "transaction_id": "[transaction_id]"
    }
    "#);
    insta::assert_snapshot!(bank.api.get("/v1/customers/17").await.summary(), @r#"
    200 {
      "accounts": [
        {
          "account_number": "0007000000000330",
          "available": "0.00",
          "balance": "0.00",
          "branch_id": 7,
          "currency": "EUR",
          "customer_id": 17,
          "joint_holders": [
            18
          ],
          "opened_at": "[opened_at]",
          "overdraft_limit": "0.00",
          "product": "savings",
          "result": "success",
          "state": "open"
        }
      ],
      "branch_id": 7,
      "customer_id": 17,
      "name": "Ada Lovelace",
      "result": "success"
    }
    "#);
}

#[tokio::test]
async fn an_account_takes_deposits_and_withdrawals() {
    let bank = RealBank::open(3).await;
    let number = bank.account_of(5).await;
    let deposit = bank.api.post(&format!("/v1/accounts/{number}/deposits"), json!({"amount": "25.50"})).await;
    insta::assert_snapshot!(deposit.summary(), @r#"
    200 {
      "account_number": "0005000000000139",
      "amount": "25.50",
      "balance": "1025.50",
      "booked_at": "[booked_at]",
      "branch_id": 5,
      "currency": "USD",
      "customer_id": 5,
      "result": "success",
      "transaction_id": "[transaction_id]",
      "type": "deposit"
    }
    "#);
    let withdrawal = bank.api.post(&format!("/v1/accounts/{number}/withdrawals"), json!({"amount": 0.5})).await;
    insta::assert_snapshot!(withdrawal.summary(), @r#"
    200 {
      "account_number": "0005000000000139",
      "amount": "0.50",
      "balance": "1025.00",
      "booked_at": "[booked_at]",
      "branch_id": 5,
      "currency": "USD",
      "customer_id": 5,
      "result": "success",
      "transaction_id": "[transaction_id]",
      "type": "withdrawal"
    }
    "#);
    insta::assert_snapshot!(bank.api.get(&format!("/v1/accounts/{number}")).await.summary(), @r#"
    200 {
      "account_number": "0005000000000139",
      "available": "1025.00",
      "balance": "1025.00",
      "branch_id": 5,
      "currency": "USD",
      "customer_id": 5,
      "joint_holders": [],
      "opened_at": "[opened_at]",
      "overdraft_limit": "0.00",
      "product": "checking",
      "result": "success",
      "state": "open"
    }
    "#);
    let euros = json!({"amount": 1, "currency": "EUR"});
    let mismatch = bank.api.post(&format!("/v1/accounts/{number}/deposits"), euros).await;
    assert_eq!(mismatch.refusal(), "422 CURRENCY_MISMATCH");
    let queries =
        ["USD", "EUR"].map(|currency| json!({"type": "query", "account_number": number, "currency": currency}));
    let results = bank.api.post("/v1/batches", json!({"operations": queries})).await.json();
    assert_eq!(results["results"][0]["balance"], "1025.00");
    assert_eq!(
        (&results["results"][1]["status"], &results["results"][1]["code"]),
        (&json!(422), &json!("CURRENCY_MISMATCH"))
    );
    assert_eq!(bank.api.get("/v1/accounts/0001000000009942").await.refusal(), "404 ACCOUNT_NOT_FOUND");
    assert_eq!(bank.api.get("/v1/accounts/0011000000000130").await.refusal(), "404 BRANCH_NOT_FOUND");
}

#[tokio::test]
async fn an_account_of_three_decimals_counts_in_three() {
    let bank = RealBank::open(1).await;
    let dinars = bank.api.post("/v1/accounts", json!({"customer_id": 1, "currency": "KWD"})).await.json();
    let path = format!("/v1/accounts/{}/deposits", dinars["account_number"].as_str().expect("a number"));
    assert_eq!(bank.api.post(&path, json!({"amount": "1.234"})).await.json()["balance"], "1.234");
    let refused = bank.api.post(&path, json!({"amount": "1.2345"})).await;
    assert_eq!(refused.refusal(), "400 INVALID_AMOUNT amount");
}

#[tokio::test]
async fn an_overdraft_is_available_money() {
    let bank = RealBank::open(1).await;
    let account = bank.api.post("/v1/accounts", json!({"customer_id": 1, "overdraft_limit": 100})).await.json();
    assert_eq!((&account["balance"], &account["available"]), (&json!("0.00"), &json!("100.00")));
    let path = format!("/v1/accounts/{}/withdrawals", account["account_number"].as_str().expect("a number"));
    assert_eq!(bank.api.post(&path, json!({"amount": 100})).await.json()["balance"], "-100.00");
    assert_eq!(bank.api.post(&path, json!({"amount": 0.01})).await.refusal(), "422 INSUFFICIENT_FUNDS");
}

#[tokio::test]
async fn an_account_is_frozen_unfrozen_and_closed() {
    let bank = RealBank::open(1).await;
    let number = bank.account_of(1).await;
    let change =
        |verb: &str| crate::support::answer(bank.api.request(Method::POST, &format!("/v1/accounts/{number}/{verb}")));
    let deposit = || bank.api.post("/transaction", json!({"customer_id": 1, "type": "deposit", "amount": 1}));

    assert_eq!(change("unfreeze").await.refusal(), "422 ACCOUNT_NOT_FROZEN");
    assert_eq!(change("freeze").await.json()["state"], "frozen");
    assert_eq!(deposit().await.refusal(), "422 ACCOUNT_FROZEN");
    assert_eq!(change("unfreeze").await.json()["state"], "open");
    assert_eq!(deposit().await.status, 200);
    assert_eq!(change("close").await.refusal(), "422 ACCOUNT_NOT_EMPTY");
    let rest = json!({"customer_id": 1, "type": "withdraw", "amount": 1001});
    assert_eq!(bank.api.post("/transaction", rest).await.json()["balance"], "0.00");
    assert_eq!(bank.api.post(&format!("/v1/accounts/{number}/close"), json!({})).await.json()["state"], "closed");
    assert_eq!(deposit().await.refusal(), "422 ACCOUNT_CLOSED");
}

#[tokio::test]
async fn history_is_told_newest_first_page_by_page() {
    let bank = RealBank::open(3).await;
    let number = bank.account_of(3).await;
    for amount in 1..=7 {
        let body = json!({"amount": amount, "memo": format!("number {amount}"), "metadata": {"n": amount.to_string()}});
        assert_eq!(bank.api.post(&format!("/v1/accounts/{number}/deposits"), body).await.status, 200);
    }
    bank.api.post(&format!("/v1/accounts/{number}/withdrawals"), json!({"amount": 28})).await;

    let mut told: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/accounts/{number}/transactions?limit=3{cursor}");
        let page = bank.api.get(&path).await.json();
        told.extend(page["transactions"].as_array().expect("a list").iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let line = |entry: &Value| format!("{} {} {}", entry["type"], entry["amount"], entry["balance"]).replace('"', "");
    insta::assert_snapshot!(told.iter().map(line).collect::<Vec<_>>().join("\n"), @r"
    withdrawal -28.00 1000.00
    deposit 7.00 1028.00
    deposit 6.00 1021.00
    deposit 5.00 1015.00
    deposit 4.00 1010.00
    deposit 3.00 1006.00
    deposit 2.00 1003.00
    deposit 1.00 1001.00
    opening_balance 1000.00 1000.00
    ");
    assert_eq!((&told[1]["memo"], &told[1]["metadata"]), (&json!("number 7"), &json!({"n": "7"})));
    assert_eq!((&told[1]["channel"], &told[1]["currency"]), (&json!("http"), &json!("USD")));

    let only = bank.api.get(&format!("/v1/accounts/{number}/transactions?type=withdrawal")).await.json();
    assert_eq!(only["transactions"].as_array().expect("a list").len(), 1);
    let booked_at = told[4]["booked_at"].as_str().expect("a moment");
    let since = bank.api.get(&format!("/v1/accounts/{number}/transactions?from={booked_at}")).await.json();
    assert!(since["transactions"].as_array().expect("a list").len() >= 5);
    let before = bank.api.get(&format!("/v1/accounts/{number}/transactions?to={booked_at}")).await.json();
    assert!(before["transactions"].as_array().expect("a list").len() <= 4);
    for cursor in ["", "made-up", "0", "-1", "%2B1", "01", "9999", "99999999999999999999"] {
        let wrong = bank.api.get(&format!("/v1/accounts/{number}/transactions?cursor={cursor}")).await;
        assert_eq!(wrong.refusal(), "400 INVALID_REQUEST cursor", "{cursor}");
        assert!(!wrong.text.contains("page_token"), "{}", wrong.text);
    }
}

#[tokio::test]
async fn branches_are_listed_and_their_books_balance() {
    let bank = RealBank::start(3, &[]).await;
    let state = |branches: &Value, number: usize| branches["branches"][number - 1]["state"].clone();
    let before = bank.api.get("/v1/branches").await.json();
    assert_eq!(before["branches"].as_array().expect("a list").len(), 10);
    assert_eq!(state(&before, 2), "uninitialized");
    assert_eq!(bank.api.get("/health").await.status, 200, "a branch not yet initialized is healthy");
    bank.api.until_ready(200).await;
    assert_eq!(bank.api.get("/v1/branches/2/trial-balance").await.refusal(), "404 BRANCH_NOT_FOUND");

    bank.api.post("/initialize_branch", json!({"branch_id": 2})).await;
    bank.api.post("/transaction", json!({"customer_id": 2, "type": "deposit", "amount": "0.50"})).await;

    assert_eq!(state(&bank.api.get("/v1/branches").await.json(), 2), "open");
    insta::assert_snapshot!(bank.api.get("/v1/branches/2/trial-balance").await.summary(), @r#"
    200 {
      "as_of": "[as_of]",
      "balanced": true,
      "branch_id": 2,
      "lines": [
        {
          "account_kind": "checking",
          "accounts": 1,
          "credit": "1000.50",
          "currency": "USD",
          "debit": "0.00"
        },
        {
          "account_kind": "vault_cash",
          "accounts": 1,
          "credit": "0.00",
          "currency": "USD",
          "debit": "0.50"
        },
        {
          "account_kind": "capital",
          "accounts": 1,
          "credit": "0.00",
          "currency": "USD",
          "debit": "1000.00"
        }
      ],
      "sequence": 7
    }
    "#);
}
