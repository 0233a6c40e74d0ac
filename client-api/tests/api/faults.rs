//! Branch servers that hang, break off and come back.

use crate::scripted::{Act, Scripted, receipt};
use crate::support::{Api, answer, listener};
use bank_proto::wire::operation::Kind;
use bank_proto::wire::operation_result::Kind as Told;
use bank_proto::wire::{Audit, Branch, BranchState, Disk, Failure, ListBranchesResponse, StreamOperation};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use tonic::Status;

fn deposit() -> Value {
    json!({"customer_id": 1, "type": "deposit", "amount": 1})
}

fn id(asked: &StreamOperation) -> &str {
    match asked.operation.as_ref().and_then(|operation| operation.kind.as_ref()) {
        Some(Kind::Deposit(deposit)) => deposit.transaction_id.as_deref().expect("an id"),
        other => panic!("not a deposit: {other:?}"),
    }
}

#[tokio::test]
async fn what_was_unanswered_when_a_conversation_broke_is_sent_again_under_the_same_id() {
    let seen = AtomicU32::new(0);
    let branch = Scripted::start(
        move |operation| {
            if seen.fetch_add(1, Ordering::Relaxed) < 2 { Act::Hang } else { receipt(operation) }
        },
    )
    .await;
    let api = Api::start(&[branch.address], &[]).await;

    let answer = api.post("/transaction", deposit()).await;

    assert_eq!(answer.status, 200, "{}", answer.text);
    let asked = branch.asked(3).await;
    assert_eq!(id(&asked[0]), id(&asked[1]));
    assert_eq!(id(&asked[0]), id(&asked[2]));
    assert_eq!(answer.json()["transaction_id"], id(&asked[0]));
}

#[tokio::test]
async fn a_write_that_was_sent_and_not_answered_has_an_unknown_outcome() {
    let branch = Scripted::start(|_| Act::Ignore).await;
    let api = Api::start(&[branch.address], &["--request-timeout-ms", "200"]).await;

    let answer = api.post_as("order 17", "/transaction", deposit()).await;

    assert_eq!(answer.refusal(), "503 OUTCOME_UNKNOWN");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("idempotency-key"), Some("order 17"));
    let asked = branch.asked(1).await;
    assert!((1..=200).contains(&asked[0].timeout_ms), "the time left travels along: {}", asked[0].timeout_ms);
}

#[tokio::test]
async fn a_read_that_was_not_answered_is_merely_unavailable() {
    let branch = Scripted::start(|_| Act::Ignore).await;
    let api = Api::start(&[branch.address], &["--request-timeout-ms", "200"]).await;
    let answer = api.post("/transaction", json!({"customer_id": 1, "type": "query"})).await;
    assert_eq!(answer.refusal(), "503 BRANCH_UNAVAILABLE");
}

#[tokio::test]
async fn a_write_that_was_never_sent_is_merely_unavailable() {
    let nobody = listener().await.local_addr().expect("an address");
    let api = Api::start(&[nobody], &["--request-timeout-ms", "200"]).await;
    let answer = api.post("/transaction", deposit()).await;
    assert_eq!(answer.refusal(), "503 BRANCH_UNAVAILABLE");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(api.get("/readyz").await.refusal(), "503 BRANCH_UNAVAILABLE");
    assert_eq!(api.get("/livez").await.status, 200);
}

#[tokio::test]
async fn what_waits_for_a_server_to_come_travels_as_one_message() {
    let held = listener().await;
    let address = held.local_addr().expect("an address");
    drop(held);
    let api = Api::start(&[address], &["--request-timeout-ms", "60000"]).await;
    let operations: Vec<Value> = (0..100).map(|_| json!({"type": "deposit", "customer_id": 1, "amount": 1})).collect();
    let (answer, branch) = tokio::join!(api.post("/v1/batches", json!({"operations": operations})), async {
        // The request is in the queue before there is anybody to send it to.
        until_metric(&api, "florin_branch_server_operations_waiting{server=\"0\"} 100").await;
        let listener = tokio::net::TcpListener::bind(address).await.expect("the port is still free");
        let branch = Scripted::start_on(listener, receipt);
        branch.asked(100).await;
        branch
    });
    assert_eq!(answer.json()["results"].as_array().expect("a list").len(), 100);
    assert_eq!(branch.messages(), 1);
}

async fn until_metric(api: &Api, line: &str) {
    while !api.get("/metrics").await.text.lines().any(|written| written == line) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
    let branch = Scripted::start(|_| Act::Ignore).await;
    let api = Api::start(&[branch.address], &["--queue-operations", "1", "--request-timeout-ms", "60000"]).await;
    let first = api.request(Method::POST, "/transaction").json(&deposit()).send();
    let second = async {
        branch.asked(1).await;
        api.post("/transaction", deposit()).await
    };
    tokio::select! {
        _ = first => panic!("nobody answers the first"),
        second = second => {
            assert_eq!(second.refusal(), "503 OVERLOADED");
            assert_eq!(second.header("retry-after"), Some("1"));
            assert!(second.header("idempotency-key").is_some());
        }
    }
    // The first caller has gone away, and its place with it.
    until_metric(&api, "florin_branch_server_operations_unanswered{server=\"0\"} 0").await;
}

#[tokio::test]
async fn beyond_the_places_in_flight_requests_are_shed_but_probes_answered() {
    let branch = Scripted::start(|_| Act::Ignore).await;
    let api = Api::start(&[branch.address], &["--max-in-flight", "1", "--request-timeout-ms", "60000"]).await;
    let first = api.request(Method::POST, "/transaction").json(&deposit()).send();
    let others = async {
        branch.asked(1).await;
        assert_eq!(api.post("/transaction", deposit()).await.refusal(), "503 OVERLOADED");
        assert_eq!(api.get("/v1/branches").await.refusal(), "503 OVERLOADED");
        assert_eq!(api.get("/livez").await.status, 200);
        api.until_ready(200).await;
        assert!(api.get("/metrics").await.text.contains("florin_http_requests_shed_total 2"));
    };
    tokio::select! {
        _ = first => panic!("nobody answers the first"),
        () = others => {}
    }
}

#[tokio::test]
async fn a_refusal_brings_what_the_branch_told() {
    let branch = Scripted::start(|_| {
        let facts = [("balance", "10.00"), ("available", "10.00"), ("currency", "USD"), ("status", "999")];
        Act::Tell(Told::Failure(Failure {
            status: tonic::Code::FailedPrecondition.into(),
            code: "INSUFFICIENT_FUNDS".to_owned(),
            message: "only 10.00 USD is available".to_owned(),
            metadata: facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            transaction_id: "1-000000000000000000000000000000ff".to_owned(),
            replayed: true,
        }))
    })
    .await;
    let api = Api::start(&[branch.address], &[]).await;
    let answer = api.post("/transaction", json!({"customer_id": 1, "type": "withdraw", "amount": 50})).await;
    assert_eq!(answer.refusal(), "422 INSUFFICIENT_FUNDS");
    assert_eq!(answer.header("idempotent-replayed"), Some("true"));
    insta::assert_snapshot!(answer.summary(), @r#"
    422 {
      "available": "10.00",
      "balance": "10.00",
      "code": "INSUFFICIENT_FUNDS",
      "currency": "USD",
      "detail": "only 10.00 USD is available",
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
async fn what_florin_did_not_say_is_not_passed_on() {
    let branch = Scripted::start(|operation| {
        let failure = |code: &str, message: &str| {
            let (code, message) = (code.to_owned(), message.to_owned());
            Act::Tell(Told::Failure(Failure { code, message, metadata: BTreeMap::new(), ..Failure::default() }))
        };
        match &operation.kind {
            Some(Kind::Deposit(_)) => failure("INTERNAL", "secret: row 17 of journal.db"),
            Some(Kind::Withdraw(_)) => failure("A_NEW_CODE", "secret"),
            _ => Act::Tell(Told::Receipt(Default::default())),
        }
    })
    .await;
    let api = Api::start(&[branch.address], &[]).await;
    for kind in ["deposit", "withdraw"] {
        let answer = api.post("/transaction", json!({"customer_id": 1, "type": kind, "amount": 1})).await;
        assert_eq!(answer.refusal(), "500 INTERNAL");
        assert!(!answer.text.contains("secret"), "{}", answer.text);
    }
    for (status, refusal) in [
        (Status::unavailable("secret: connection refused by 10.0.0.7"), "503 BRANCH_UNAVAILABLE"),
        (Status::deadline_exceeded("secret"), "503 BRANCH_UNAVAILABLE"),
        (Status::internal("secret"), "500 INTERNAL"),
        (Status::permission_denied("secret"), "500 INTERNAL"),
        (Status::unimplemented("secret"), "500 INTERNAL"),
    ] {
        branch.refuse_calls(status);
        for path in ["/v1/branches/1/trial-balance", "/v1/accounts/0001000000000145/transactions"] {
            let answer = api.get(path).await;
            assert_eq!(answer.refusal(), refusal);
            assert!(!answer.text.contains("secret"), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn a_server_that_tells_no_branches_makes_them_unreachable() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &["--branches", "2"]).await;
    let health = api.get("/health").await;
    assert_eq!(health.status, 503);
    insta::assert_snapshot!(health.summary(), @r#"
    503 {
      "audit": {
        "last_agreed_at": null,
        "violations": []
      },
      "branches": [
        {
          "branch_id": 1,
          "detail": "its server does not answer",
          "server": 0,
          "state": "unreachable"
        },
        {
          "branch_id": 2,
          "detail": "its server does not answer",
          "server": 0,
          "state": "unreachable"
        }
      ],
      "servers": [
        {
          "reached": false,
          "server": 0
        }
      ],
      "status": "unhealthy"
    }
    "#);
    assert_eq!(api.get("/v1/branches").await.status, 200);
}

#[tokio::test]
async fn a_disk_without_room_for_orders_is_no_health_and_room_again_is() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &["--branches", "1"]).await;
    let mut said = ListBranchesResponse {
        branches: vec![Branch { branch_id: 1, state: BranchState::Open.into(), ..Branch::default() }],
        audit: None,
        disk: Some(Disk { free_bytes: 999, reserve_bytes: 1_000 }),
    };
    branch.tell_branches(said.clone());
    let health = api.get("/health").await;
    assert_eq!(health.status, 503);
    let server = serde_json::json!({"server": 0, "reached": true, "disk_free_bytes": 999, "takes_orders": false});
    assert_eq!(health.json()["servers"][0], server);

    said.disk = Some(Disk { free_bytes: 1_000, reserve_bytes: 1_000 });
    branch.tell_branches(said);
    assert_eq!(api.get("/health").await.status, 200);
}

#[tokio::test]
async fn books_that_do_not_agree_are_no_health_whoever_of_the_auditors_says_so() {
    let [well, ill] = [Scripted::start(receipt).await, Scripted::start(receipt).await];
    let api = Api::start(&[well.address, ill.address], &["--branches", "2"]).await;
    let said = |branch_id, seconds, violations: &[&str]| ListBranchesResponse {
        branches: vec![Branch { branch_id, state: BranchState::Open.into(), ..Branch::default() }],
        audit: Some(Audit {
            last_agreed_at: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            violations: violations.iter().map(ToString::to_string).collect(),
            incomplete: String::new(),
        }),
        disk: None,
    };
    well.tell_branches(said(1, 86_400, &[]));
    ill.tell_branches(said(2, 0, &[]));
    let health = api.get("/health").await;
    assert_eq!((health.status.as_u16(), &health.json()["status"]), (200, &Value::from("healthy")));
    assert_eq!(health.json()["audit"]["last_agreed_at"], "1970-01-02T00:00:00.000000Z");

    ill.tell_branches(said(2, 0, &["the books of branch 2 do not balance"]));

    let health = api.get("/health").await;
    assert_eq!((health.status.as_u16(), &health.json()["status"]), (503, &Value::from("unhealthy")));
    assert_eq!(health.json()["audit"]["violations"], json!(["the books of branch 2 do not balance"]));
    assert_eq!(api.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_request_id_travels_to_the_branch_and_back() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    let request = api.request(Method::POST, "/transaction").json(&deposit()).header("X-Request-Id", "order-17");
    assert_eq!(answer(request).await.header("x-request-id"), Some("order-17"));
    let asked = branch.asked(1).await;
    let Some(Kind::Deposit(deposit)) = &asked[0].operation.as_ref().expect("an operation").kind else {
        panic!("not a deposit")
    };
    let caller = deposit.caller.as_ref().expect("a caller");
    assert_eq!((caller.channel.as_str(), caller.request_id.as_str()), ("http", "order-17"));
}
