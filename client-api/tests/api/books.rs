//! The books of the whole bank, and what its branches owe each other.

use crate::real::RealBank;
use serde_json::{Value, json};

/// Customers 1 and 2, at branches 1 and 2, have 1000.00; customer 1 has paid customer 2 25.00 of it.
async fn bank_with_a_transfer() -> RealBank {
    let bank = RealBank::open(2).await;
    bank.api.post("/initialize_branch", json!({"branch_id": 2})).await;
    let paid = json!({"customer_id": 1, "type": "transfer", "amount": 25, "to_customer_id": 2});
    assert_eq!(bank.api.post("/transaction", paid).await.json()["state"], "COMPLETED");
    bank
}

/// The lines of some books, one a line.
fn lines(books: &Value) -> String {
    let lines = books["lines"].as_array().expect("lines").iter().map(|line| {
        let text = |name: &str| line[name].as_str().expect("a text").to_owned();
        let [kind, currency, debit, credit] = ["account_kind", "currency", "debit", "credit"].map(text);
        let peer = line["peer_branch_id"].as_u64().map(|peer| format!(", with branch {peer}")).unwrap_or_default();
        format!("{} {kind} {currency}: {debit} debit, {credit} credit{peer}", line["accounts"])
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_bank_has_one_trial_balance_and_its_token_tells_it_again() {
    let bank = bank_with_a_transfer().await;

    let now = bank.api.get("/v1/trial-balance").await.json();

    let branches = now["branches"].as_array().expect("the branches' parts");
    assert_eq!(branches.len(), 10);
    assert_eq!((&now["balanced"], &now["violations"]), (&Value::from(true), &json!([])));
    assert_eq!(now["in_flight"], json!([{"amount": "0.00", "currency": "USD"}]));
    insta::assert_snapshot!(lines(&now), @"
    10 capital USD: 10000.00 debit, 0.00 credit
    10 checking USD: 0.00 debit, 10000.00 credit
    2 clearing USD: 25.00 debit, 25.00 credit
    ");
    insta::assert_snapshot!(lines(&branches[1]), @"
    1 checking USD: 0.00 debit, 1025.00 credit
    1 capital USD: 1000.00 debit, 0.00 credit
    1 clearing USD: 25.00 debit, 0.00 credit, with branch 1
    ");
    // Money moves on, and these books do not.
    bank.api.post("/transaction", json!({"customer_id": 1, "type": "deposit", "amount": 1})).await;
    let token = now["token"].as_str().expect("a token");
    assert_eq!(bank.api.get(&format!("/v1/trial-balance?token={token}")).await.json(), now);
    assert_ne!(bank.api.get("/v1/trial-balance").await.json()["token"], now["token"]);
    let positions = bank.api.get(&format!("/v1/positions?token={token}")).await.json();
    assert_eq!(positions["token"], now["token"]);
}

#[tokio::test]
async fn two_branches_show_what_they_owe_each_other() {
    let bank = bank_with_a_transfer().await;

    let positions = bank.api.get("/v1/positions").await.json();

    let line = json!({"currency": "USD", "owes": "25.00", "owed": "-25.00", "in_flight": "0.00"});
    let pair = json!({
        "branch_id": 1, "peer_branch_id": 2, "lines": [line], "outgoing": 0, "incoming": 0, "differences": []
    });
    assert_eq!(positions["positions"], json!([pair]));
}

#[tokio::test]
async fn books_that_there_are_not_are_refused_by_name() {
    let bank = RealBank::open(1).await;

    let mut said = Vec::new();
    for query in ["?token=", "?token=x", "?token=1.2", "?token=9.9.9.9.9.9.9.9.9.9", "?when=now", "?token=1&token=1"] {
        for path in ["/v1/trial-balance", "/v1/positions"] {
            said.push(format!("{path}{query}: {}", bank.api.get(&format!("{path}{query}")).await.refusal()));
        }
    }

    insta::assert_snapshot!(said.join("\n"), @"
    /v1/trial-balance?token=: 400 INVALID_REQUEST token
    /v1/positions?token=: 400 INVALID_REQUEST token
    /v1/trial-balance?token=x: 400 INVALID_REQUEST token
    /v1/positions?token=x: 400 INVALID_REQUEST token
    /v1/trial-balance?token=1.2: 400 INVALID_REQUEST token
    /v1/positions?token=1.2: 400 INVALID_REQUEST token
    /v1/trial-balance?token=9.9.9.9.9.9.9.9.9.9: 400 INVALID_REQUEST token
    /v1/positions?token=9.9.9.9.9.9.9.9.9.9: 400 INVALID_REQUEST token
    /v1/trial-balance?when=now: 400 INVALID_REQUEST when
    /v1/positions?when=now: 400 INVALID_REQUEST when
    /v1/trial-balance?token=1&token=1: 400 INVALID_REQUEST token
    /v1/positions?token=1&token=1: 400 INVALID_REQUEST token
    ");
    let told = bank.api.get("/v1/trial-balance?token=9.9.9.9.9.9.9.9.9.9").await.json();
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("token")), "{told}");
    assert_eq!(bank.api.get("/v1/positions").await.json()["positions"], Value::from(Vec::<Value>::new()));
}
