//! How long an order of a transfer waits for its end, and what it is told when that does not come.

use crate::real::RealBank;
use crate::scripted::{Scripted, receipt};
use crate::support::Api;
use bank_proto::wire::operation::Kind;
use serde_json::{Value, json};

/// The names of an object's members.
fn names(object: &Value) -> Vec<&String> {
    object.as_object().expect("an object").keys().collect()
}

#[tokio::test]
async fn a_wait_longer_than_a_request_may_take_is_answered_before_the_request_ends() {
    let mut bank = RealBank::open(2).await;
    bank.stop_server(1).await;
    let impatient = Api::start(&bank.addresses, &["--request-timeout-ms", "2000"]).await;
    // The time of an order is not spent on the connection.
    impatient.get("/v1/customers/1").await;
    let order = json!({"from_customer_id": 1, "to_customer_id": 2, "amount": 25, "wait_ms": 30_000});
    let first = impatient.post_as("k", "/v1/transfers", order.clone()).await;
    assert_eq!((first.status.as_u16(), &first.json()["state"]), (202, &json!("PROCESSING")), "{}", first.text);
    // The same again waits again, or not at all, and moves nothing.
    let at_once = json!({"from_customer_id": 1, "to_customer_id": 2, "amount": 25, "wait_ms": 0});
    for order in [order.clone(), at_once] {
        let again = impatient.post_as("k", "/v1/transfers", order).await;
        assert_eq!((again.status, &again.text), (first.status, &first.text));
        assert_eq!(
            (again.header("idempotent-replayed"), again.header("location")),
            (Some("true"), first.header("location"))
        );
    }
    let item = json!({"type": "transfer", "customer_id": 1, "to_customer_id": 2, "amount": 25, "wait_ms": 30_000});
    let at_home = json!({"type": "query", "customer_id": 1});
    let batch = impatient.post("/v1/batches", json!({"operations": [item, at_home]})).await.json();
    assert_eq!(
        (&batch["results"][0]["result"], &batch["results"][0]["state"]),
        (&json!("pending"), &json!("PROCESSING"))
    );
    assert_eq!(batch["results"][1]["balance"], "950.00");

    let metrics = impatient.get("/metrics").await.text;
    let counted = r#"florin_http_requests_total{route="/v1/transfers",method="POST",status="202"} 3"#;
    assert!(metrics.contains(counted), "{metrics}");
    let description = impatient.get("/openapi.json").await.json();
    let described = &description["paths"]["/v1/transfers"]["post"]["responses"]["202"];
    assert!(described["headers"]["Location"].is_object(), "{described}");
    assert_eq!(names(&described["content"]["application/json"]["example"]), names(&first.json()));
}

#[tokio::test]
async fn what_was_ordered_is_what_the_payers_branch_is_asked() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    let (payer, payee) = ("0001000000000145", "0002000000000192");
    let item = json!({"type": "transfer", "account_number": payer, "to_customer_id": 2, "amount": 3, "wait_ms": 0});
    for (path, body) in [
        ("/transaction", json!({"customer_id": 1, "type": "transfer", "to_customer_id": 2, "amount": 1})),
        (
            "/transaction",
            json!({"customer_id": 1, "type": "transfer", "to_account_number": payee, "amount": 1, "wait_ms": 30_000}),
        ),
        (
            "/v1/transfers",
            json!({"from_customer_id": 1, "to_account_number": payee, "amount": "2.50", "currency": "EUR", "wait_ms": 7}),
        ),
        ("/v1/transfers", json!({"from_account_number": payer, "to_customer_id": 2, "amount": 2, "memo": "rent"})),
        ("/v1/batches", json!({"operations": [item]})),
    ] {
        api.post(path, body).await;
    }
    let asked = branch.asked(5).await.into_iter().map(|asked| match asked.operation.and_then(|asked| asked.kind) {
        Some(Kind::Transfer(order)) => format!(
            "{} {:?} -> {} {:?}: {} {:?} {:?} wait {:?}",
            order.customer_id,
            order.account_number,
            order.to_customer_id,
            order.to_account_number,
            order.amount,
            order.currency,
            order.memo,
            order.wait_ms
        ),
        other => panic!("no transfer: {other:?}"),
    });
    insta::assert_snapshot!(asked.collect::<Vec<_>>().join("\n"), @r#"
    1 "" -> 2 "": 1 "USD" "" wait None
    1 "" -> 0 "0002000000000192": 1 "USD" "" wait Some(30000)
    1 "" -> 0 "0002000000000192": 2.50 "EUR" "" wait Some(7)
    0 "0001000000000145" -> 2 "": 2 "" "rent" wait None
    0 "0001000000000145" -> 2 "": 3 "" "" wait Some(0)
    "#);
}
