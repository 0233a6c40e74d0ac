//! Transfers that cannot be: each a refusal by name that moves nothing, against a real bank.

use crate::bad_input::expect;
use crate::real::RealBank;
use crate::support::Answer;
use bank_proto::{AccountNumber, AccountSerial, BranchId};
use serde_json::{Value, json};

/// An account at zero, and then what became of it.
async fn account(bank: &RealBank, customer: u64, currency: &str, change: Option<&str>) -> String {
    let opened = bank.api.post("/v1/accounts", json!({"customer_id": customer, "currency": currency})).await.json();
    let number = opened["account_number"].as_str().expect("an account").to_owned();
    if let Some(change) = change {
        assert_eq!(bank.api.post(&format!("/v1/accounts/{number}/{change}"), json!({})).await.status, 200);
    }
    number
}

fn nobodys(branch: i64) -> String {
    AccountNumber::new(BranchId::new(branch).expect("a branch"), AccountSerial(999_999)).to_string()
}

/// Status, code and party, after a look at what every transfer that failed says.
fn failed(answer: &Answer) -> String {
    let (body, refusal) = (answer.json(), answer.refusal());
    assert_eq!((&body["state"], &body["reason"]), (&json!("FAILED"), &body["code"]), "{body}");
    assert!(body["transaction_id"].is_string(), "{body}");
    format!("{refusal} {}", body["party"].as_str().unwrap_or("payer"))
}

/// Gives the order three times, twice under one key, and looks the transfer up. The refusal must be the
/// same each time.
async fn refused(bank: &RealBank, key: &str, order: Value) -> String {
    let first = bank.api.post_as(key, "/v1/transfers", order.clone()).await;
    let again = bank.api.post_as(key, "/v1/transfers", order.clone()).await;
    let without_request_id = |answer: &Answer| {
        let mut body = answer.json();
        body.as_object_mut().expect("an object").remove("request_id");
        body
    };
    assert_eq!((first.status, without_request_id(&first)), (again.status, without_request_id(&again)));
    let marks = [&first, &again].map(|answer| answer.header("idempotent-replayed").map(str::to_owned));
    assert_eq!(marks, [None, Some("true".to_owned())], "{order}");
    let id = first.json()["transaction_id"].as_str().expect("an id").to_owned();
    let found = bank.api.get(&format!("/v1/transfers/{id}")).await;
    let (found, told) = (found.json(), first.json());
    assert_eq!((&found["state"], &found["result"]), (&json!("FAILED"), &json!("failure")), "{found}");
    assert_eq!((&found["reason"], &found["detail"]), (&told["code"], &told["detail"]), "{found}");
    failed(&first)
}

#[tokio::test]
async fn a_payee_who_cannot_be_paid_is_told_from_a_payer_who_cannot_pay() {
    let bank = RealBank::open(2).await;
    let mut told = String::new();
    let mut note = async |what: &str, order: Value| {
        let refusal = refused(&bank, what, order).await;
        told += &format!("{what}: {refusal}\n");
    };
    // Branch 1 is the payer's own.
    for (branch, customer) in [("own", 11), ("other", 2)] {
        let closed = account(&bank, customer, "USD", Some("close")).await;
        let frozen = account(&bank, customer, "USD", Some("freeze")).await;
        let euro = account(&bank, customer, "EUR", None).await;
        let unknown = nobodys(if branch == "own" { 1 } else { 2 });
        for (what, number) in [("closed", closed), ("frozen", frozen), ("euro", euro), ("unknown", unknown)] {
            let order = json!({"from_customer_id": 1, "to_account_number": number, "amount": 1, "wait_ms": 30_000});
            note(&format!("to {what} of {branch} branch"), order).await;
        }
        let order = json!({"from_customer_id": 1, "to_customer_id": customer + 500, "amount": 1, "wait_ms": 30_000});
        note(&format!("to nobody of {branch} branch"), order).await;
    }
    let closed = account(&bank, 1, "USD", Some("close")).await;
    let frozen = account(&bank, 1, "USD", Some("freeze")).await;
    let euro = account(&bank, 1, "EUR", None).await;
    for (what, number) in [("closed", closed), ("frozen", frozen), ("poor", euro.clone()), ("unknown", nobodys(1))] {
        note(&format!("from {what}"), json!({"from_account_number": number, "to_customer_id": 2, "amount": 1})).await;
    }
    let dollars = json!({"from_account_number": euro, "to_customer_id": 2, "amount": 1, "currency": "USD"});
    note("from euro in dollars", dollars).await;
    note("to itself", json!({"from_account_number": euro, "to_account_number": euro, "amount": 1})).await;
    note("from nobody", json!({"from_customer_id": 501, "to_customer_id": 2, "amount": 1})).await;
    note("in a currency not kept", json!({"from_customer_id": 1, "to_customer_id": 2, "amount": 1, "currency": "JPY"}))
        .await;
    note("above all there is", json!({"from_customer_id": 1, "to_customer_id": 2, "amount": "1000.01"})).await;
    insta::assert_snapshot!(told, @r"
    to closed of own branch: 422 ACCOUNT_CLOSED payee
    to frozen of own branch: 422 ACCOUNT_FROZEN payee
    to euro of own branch: 422 CURRENCY_MISMATCH payee
    to unknown of own branch: 422 ACCOUNT_NOT_FOUND payee
    to nobody of own branch: 422 CUSTOMER_NOT_FOUND payee
    to closed of other branch: 422 ACCOUNT_CLOSED payee
    to frozen of other branch: 422 ACCOUNT_FROZEN payee
    to euro of other branch: 422 CURRENCY_MISMATCH payee
    to unknown of other branch: 422 ACCOUNT_NOT_FOUND payee
    to nobody of other branch: 422 CUSTOMER_NOT_FOUND payee
    from closed: 422 ACCOUNT_CLOSED payer
    from frozen: 422 ACCOUNT_FROZEN payer
    from poor: 422 INSUFFICIENT_FUNDS payer
    from unknown: 404 ACCOUNT_NOT_FOUND payer
    from euro in dollars: 422 CURRENCY_MISMATCH payer
    to itself: 422 SAME_ACCOUNT payer
    from nobody: 404 CUSTOMER_NOT_FOUND payer
    in a currency not kept: 404 ACCOUNT_NOT_FOUND payer
    above all there is: 422 INSUFFICIENT_FUNDS payer
    ");
    for customer in [1, 2] {
        let query = json!({"customer_id": customer, "type": "query"});
        assert_eq!(bank.api.post("/transaction", query).await.json()["balance"], "1000.00");
    }
}

#[tokio::test]
async fn an_amount_that_only_the_branch_can_judge_is_a_transfer_that_failed_too() {
    let bank = RealBank::open(1).await;
    let yen = account(&bank, 1, "JPY", None).await;
    let order = json!({"from_account_number": yen, "to_customer_id": 2, "amount": "1.5"});
    assert_eq!(refused(&bank, "k", order.clone()).await, "400 INVALID_AMOUNT amount payer");
    let item = json!({"type": "transfer", "account_number": yen, "to_customer_id": 2, "amount": "1.5"});
    let batch = bank.api.post("/v1/batches", json!({"operations": [item]})).await.json();
    let answer = &batch["results"][0];
    assert_eq!((&answer["state"], &answer["reason"]), (&json!("FAILED"), &json!("INVALID_AMOUNT")));
    // Nothing but transfers has a state to tell.
    let deposit = bank.api.post(&format!("/v1/accounts/{yen}/deposits"), json!({"amount": "1.5"})).await;
    assert_eq!(deposit.refusal(), "400 INVALID_AMOUNT amount");
    assert_eq!((&deposit.json()["state"], &deposit.json()["reason"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_payees_currency_is_not_taken_for_the_payers() {
    let bank = RealBank::open(2).await;
    let euro = account(&bank, 2, "EUR", None).await;
    let order = json!({"from_customer_id": 1, "to_account_number": euro, "amount": 1, "wait_ms": 30_000});
    let body = bank.api.post("/v1/transfers", order).await.json();
    assert_eq!((&body["balance"], &body["currency"]), (&json!("1000.00"), &json!("USD")), "{body}");
    assert_eq!(body["payee_currency"], "EUR", "{body}");
    assert_eq!(body["detail"], "the payee's account is kept in EUR");
}

#[tokio::test]
async fn a_branch_that_is_not_open_neither_pays_nor_is_paid() {
    let bank = RealBank::start(2, &["--request-timeout-ms", "60000"]).await;
    bank.api.post("/initialize_branch", json!({"branch_id": 1})).await;
    let to =
        |from: u64, to: u64| json!({"from_customer_id": from, "to_customer_id": to, "amount": 1, "wait_ms": 30_000});
    assert_eq!(failed(&bank.api.post("/v1/transfers", to(1, 2)).await), "422 BRANCH_NOT_FOUND payee");
    assert_eq!(bank.api.post("/v1/transfers", to(2, 1)).await.refusal(), "404 BRANCH_NOT_FOUND");
    let beyond = json!({"from_customer_id": 1, "to_account_number": nobodys(11), "amount": 1, "wait_ms": 30_000});
    let refused = bank.api.post("/v1/transfers", beyond).await;
    assert_eq!((refused.refusal().as_str(), &refused.json()["party"]), ("422 ACCOUNT_NOT_FOUND", &json!("payee")));
    let beyond = json!({"from_account_number": nobodys(11), "to_customer_id": 1, "amount": 1});
    assert_eq!(bank.api.post("/v1/transfers", beyond).await.refusal(), "404 BRANCH_NOT_FOUND");
    let place = "/v1/transfers/2-000000000000000000000000000000ff";
    assert_eq!(bank.api.get(place).await.refusal(), "404 BRANCH_NOT_FOUND");
}

#[tokio::test]
async fn what_is_no_order_is_refused_before_any_branch_is_asked() {
    expect(
        "/v1/transfers",
        &[
            ("{}", "400 INVALID_CUSTOMER_ID from_customer_id"),
            (r#"{"from_customer_id":1,"amount":1}"#, "400 INVALID_CUSTOMER_ID to_customer_id"),
            (r#"{"to_customer_id":1,"amount":1}"#, "400 INVALID_CUSTOMER_ID from_customer_id"),
            (r#"{"from_customer_id":1,"to_customer_id":2}"#, "400 INVALID_AMOUNT amount"),
            (r#"{"from_customer_id":1,"to_customer_id":2,"amount":0}"#, "400 INVALID_AMOUNT amount"),
            (r#"{"from_customer_id":1,"to_customer_id":2,"amount":-1}"#, "400 INVALID_AMOUNT amount"),
            (r#"{"from_customer_id":1,"to_customer_id":2,"amount":1.001}"#, "400 INVALID_AMOUNT amount"),
            (r#"{"from_customer_id":1,"to_customer_id":2,"amount":1e2}"#, "400 INVALID_AMOUNT amount"),
            (r#"{"from_customer_id":"1","to_customer_id":2,"amount":1}"#, "400 INVALID_CUSTOMER_ID from_customer_id"),
            (r#"{"from_customer_id":1,"to_customer_id":0,"amount":1}"#, "400 INVALID_CUSTOMER_ID to_customer_id"),
            (
                r#"{"from_customer_id":1,"to_account_number":7,"amount":1}"#,
                "400 INVALID_ACCOUNT_NUMBER to_account_number",
            ),
            (
                r#"{"from_account_number":"7","to_customer_id":2,"amount":1}"#,
                "400 INVALID_ACCOUNT_NUMBER from_account_number",
            ),
            (
                r#"{"from_customer_id":1,"from_account_number":"0001000000000145","to_customer_id":2,"amount":1}"#,
                "400 INVALID_REQUEST from_account_number",
            ),
            (
                r#"{"from_customer_id":1,"to_customer_id":2,"to_account_number":"0002000000000192","amount":1}"#,
                "400 INVALID_REQUEST to_account_number",
            ),
            (
                r#"{"from_customer_id":1,"to_customer_id":2,"amount":1,"currency":"usd"}"#,
                "400 INVALID_CURRENCY currency",
            ),
            (r#"{"from_customer_id":1,"to_customer_id":2,"amount":1,"wait_ms":-1}"#, "400 INVALID_REQUEST wait_ms"),
            (r#"{"from_customer_id":1,"to_customer_id":2,"amount":1,"wait_ms":30001}"#, "400 INVALID_REQUEST wait_ms"),
            (r#"{"from_customer_id":1,"to_customer_id":2,"amount":1,"wait_ms":1.5}"#, "400 INVALID_REQUEST wait_ms"),
            (r#"{"from_customer_id":1,"to_customer_id":2,"amount":1,"wait_ms":"7"}"#, "400 INVALID_REQUEST wait_ms"),
            (
                r#"{"from_customer_id":1,"to_customer_id":2,"amount":1,"customer_id":3}"#,
                "400 INVALID_REQUEST customer_id",
            ),
            (r#"{"from_customer_id":1,"to_customer_id":2,"amount":1,"memo":7}"#, "400 INVALID_REQUEST memo"),
        ],
    )
    .await;
}
