//! POST /v1/batches, against a real bank.

use crate::real::RealBank;
use crate::support::answer;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn every_operation_of_a_batch_has_its_own_answer_in_its_own_place() {
    let bank = RealBank::open(3).await;
    let number = bank.account_of(4).await;
    let answer = bank
        .api
        .post(
            "/v1/batches",
            json!({"operations": [
                {"type": "deposit", "customer_id": 1, "amount": 1},
                {"type": "withdraw", "customer_id": 2, "amount": 5000},
                {"type": "deposit", "customer_id": 3, "amount": -1},
                {"type": "query", "customer_id": 1},
                {"type": "freeze", "account_number": number},
                {"type": "deposit", "account_number": number, "amount": 1},
                {"type": "query", "customer_id": 12},
            ]}),
        )
        .await;
    assert_eq!(answer.status, 200);
    let results = answer.json()["results"].clone();
    let line = |result: &Value| match result["code"].as_str() {
        Some(code) => format!("{} {code}", result["status"]),
        None => format!("{} {} {}", result["result"], result["balance"], result["state"]).replace('"', ""),
    };
    let lines: Vec<String> = results.as_array().expect("a list").iter().map(line).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    success 1001.00 null
    422 INSUFFICIENT_FUNDS
    400 INVALID_AMOUNT
    success 1001.00 open
    success 1000.00 frozen
    422 ACCOUNT_FROZEN
    404 CUSTOMER_NOT_FOUND
    ");
}

#[tokio::test]
async fn a_repeated_batch_does_nothing_twice() {
    let bank = RealBank::open(3).await;
    let operations: Vec<Value> =
        (0..500).map(|n| json!({"type": "deposit", "customer_id": n % 10 + 1, "amount": 1})).collect();
    let body = json!({"operations": operations});
    let first = bank.api.post_as("payday", "/v1/batches", body.clone()).await;
    let again = bank.api.post_as("payday", "/v1/batches", body).await;
    assert_eq!((first.status.as_u16(), &first.text), (200, &again.text));
    let marks = [&first, &again].map(|answer| answer.header("idempotent-replayed").map(str::to_owned));
    assert_eq!(marks, [None, Some("true".to_owned())]);
    for customer in 1..=10 {
        let balance = bank.api.post("/transaction", json!({"customer_id": customer, "type": "query"})).await;
        assert_eq!(balance.json()["balance"], "1050.00");
    }
}

#[tokio::test]
async fn an_operation_with_a_key_of_its_own_is_the_same_when_sent_alone() {
    let bank = RealBank::open(1).await;
    let body = json!({"operations": [{"type": "deposit", "customer_id": 1, "amount": 1, "idempotency_key": "once"}]});
    let batched = bank.api.post("/v1/batches", body).await.json();
    let alone = json!({"customer_id": 1, "type": "deposit", "amount": 1});
    let alone = bank.api.post_as("once", "/transaction", alone).await;
    assert_eq!(alone.header("idempotent-replayed"), Some("true"));
    assert_eq!(alone.json(), batched["results"][0]);
}

#[tokio::test]
async fn the_largest_batch_is_answered_whole() {
    let bank = RealBank::open(3).await;
    let operations: Vec<Value> =
        (0..8192).map(|n| json!({"type": "deposit", "customer_id": n % 1000 + 1, "amount": "0.01"})).collect();
    let answer = bank.api.post("/v1/batches", json!({"operations": operations})).await.json();
    let results = answer["results"].as_array().expect("a list");
    assert_eq!(results.len(), 8192);
    assert!(
        results.iter().all(|result| result["result"] == "success"),
        "{:?}",
        results.iter().find(|r| r["result"] != "success")
    );
    assert_eq!(bank.api.post("/v1/batches", json!({"operations": []})).await.json(), json!({"results": []}));
}

#[tokio::test]
async fn many_of_the_largest_batches_at_once_are_each_answered_whole() {
    let bank = RealBank::open(1).await;
    let metadata = json!({"purpose": "p".repeat(20)});
    let operations: Vec<Value> = (0..8192)
        .map(|n| json!({"type": "deposit", "customer_id": n % 100 + 1, "amount": "0.01", "metadata": metadata}))
        .collect();
    let batch = json!({"operations": operations});
    let calls: Vec<_> =
        (0..3).map(|_| tokio::spawn(answer(bank.api.request(Method::POST, "/v1/batches").json(&batch)))).collect();
    let mut booked = 0;
    for call in calls {
        let answer = call.await.expect("no panic").json();
        let results = answer["results"].as_array().expect("a list").clone();
        assert_eq!(results.len(), 8192);
        for result in results {
            let code = result["code"].as_str();
            assert!(code.is_none() || code == Some("OVERLOADED"), "{result}");
            booked += u32::from(code.is_none());
        }
    }
    assert!(booked >= 8192, "{booked}");
}

fn codes_or_balances(answer: &Value) -> String {
    let line = |result: &Value| result["code"].as_str().or(result["balance"].as_str()).unwrap_or("?").to_owned();
    answer["results"].as_array().expect("a list").iter().map(line).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn linked_operations_of_a_branch_are_all_done_or_none() {
    let bank = RealBank::open(2).await;
    let of = |customer: u32, kind: &str, amount: u32| json!({"type": kind, "customer_id": customer, "amount": amount});
    // Branch 1 cannot, branch 2 can: each branch answers for itself.
    let body = json!({"linked": true, "operations": [
        of(1, "deposit", 1), of(2, "deposit", 2), of(1, "withdraw", 5000), of(2, "withdraw", 1), of(11, "deposit", 1),
    ]});

    let first = bank.api.post_as("month end", "/v1/batches", body.clone()).await;

    let failed = "LINKED_OPERATION_FAILED";
    assert_eq!(codes_or_balances(&first.json()), format!("{failed}, 1002.00, INSUFFICIENT_FUNDS, 1001.00, {failed}"));
    insta::assert_snapshot!(first.json()["results"][0]["detail"].as_str().expect("a detail").split_once(' ').expect("words").1,
        @"failed, which it is linked to; nothing of both was done");
    assert_eq!(first.json()["results"][0]["failed_transaction_id"], first.json()["results"][2]["transaction_id"]);
    let again = bank.api.post_as("month end", "/v1/batches", body).await;
    assert_eq!((again.header("idempotent-replayed"), again.json()), (Some("true"), first.json()));
    let query = json!({"customer_id": 1, "type": "query"});
    assert_eq!(bank.api.post("/transaction", query).await.json()["balance"], "1000.00");
}

#[tokio::test]
async fn a_linked_batch_with_anything_malformed_does_nothing() {
    let bank = RealBank::open(1).await;
    let well = json!({"type": "deposit", "customer_id": 1, "amount": 1});
    for (ill, refusal) in [
        (json!({"type": "deposit", "customer_id": 1, "amount": -1}), "400 INVALID_AMOUNT operations[1].amount"),
        (json!({"type": "query", "customer_id": 1}), "400 INVALID_REQUEST operations[1].type"),
        (json!({"type": "dance", "customer_id": 1}), "400 INVALID_REQUEST operations[1].type"),
        (json!(17), "400 INVALID_REQUEST operations[1]"),
    ] {
        let body = json!({"linked": true, "operations": [well, ill]});
        assert_eq!(bank.api.post("/v1/batches", body).await.refusal(), refusal);
    }
    let many = json!({"linked": true, "operations": vec![well; 257]});
    let answers = bank.api.post("/v1/batches", many).await.json();
    assert_eq!(
        (&answers["results"][0]["code"], &answers["results"][256]["code"]),
        (&json!("INVALID_REQUEST"), &json!("INVALID_REQUEST"))
    );
    let query = json!({"customer_id": 1, "type": "query"});
    assert_eq!(bank.api.post("/transaction", query).await.json()["balance"], "1000.00");
    assert_eq!(
        bank.api.post("/v1/batches", json!({"linked": true, "operations": []})).await.json(),
        json!({"results": []})
    );
}
