//! What those who run the bank look at.

use crate::real::RealBank;
use crate::scripted::{Scripted, receipt};
use crate::support::{Api, answer};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn every_described_route_answers_and_every_answering_route_is_described() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    let description = api.get("/openapi.json").await.json();
    let mut routes = Vec::new();
    for (path, item) in description["paths"].as_object().expect("paths") {
        for method in ["get", "put", "post", "delete", "patch"] {
            let template = path.replace("{id}", "1").replace("{number}", "0001000000000145");
            let request = api.request(method.to_uppercase().parse().expect("a method"), &template);
            let status = answer(request).await.status;
            if item[method].is_object() {
                routes.push(format!("{} {path}", method.to_uppercase()));
                assert_ne!(status, 405, "{method} {path}");
                assert_ne!(status, 404, "{method} {path}");
            } else {
                assert_eq!(status, 405, "{method} {path}");
            }
        }
    }
    routes.sort();
    insta::assert_snapshot!(routes.join("\n"), @r"
    GET /health
    GET /livez
    GET /metrics
    GET /openapi.json
    GET /readyz
    GET /v1/accounts/{number}
    GET /v1/accounts/{number}/transactions
    GET /v1/branches
    GET /v1/branches/{id}/trial-balance
    GET /v1/customers/{id}
    GET /v1/holds/{id}
    GET /v1/positions
    GET /v1/transfers/{id}
    GET /v1/trial-balance
    POST /initialize_branch
    POST /transaction
    POST /v1/accounts
    POST /v1/accounts/{number}/close
    POST /v1/accounts/{number}/deposits
    POST /v1/accounts/{number}/freeze
    POST /v1/accounts/{number}/unfreeze
    POST /v1/accounts/{number}/withdrawals
    POST /v1/batches
    POST /v1/customers
    POST /v1/holds
    POST /v1/holds/{id}/capture
    POST /v1/holds/{id}/release
    POST /v1/transactions/{id}/reversal
    POST /v1/transfers
    ");
}

#[tokio::test]
async fn every_request_body_and_answer_is_described_with_what_may_go_wrong() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    let description = api.get("/openapi.json").await.json();
    let transact = &description["paths"]["/transaction"]["post"];
    assert_eq!(
        transact["requestBody"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/TransactionRequest"
    );
    assert_eq!(
        transact["responses"]["422"]["content"]["application/problem+json"]["schema"]["$ref"],
        "#/components/schemas/Problem"
    );
    assert_eq!(
        description["components"]["schemas"]["TransactionType"]["enum"],
        json!(["deposit", "withdraw", "query", "transfer"])
    );
    for reference in references(&description) {
        let name = reference.strip_prefix("#/components/schemas/").expect("a schema");
        assert!(description["components"]["schemas"][name].is_object(), "{reference} leads nowhere");
    }
}

#[tokio::test]
async fn the_examples_of_the_description_are_taken() {
    let bank = RealBank::open(2).await;
    let description = bank.api.get("/openapi.json").await.json();
    for (path, schema) in
        [("/transaction", "TransactionRequest"), ("/v1/transfers", "TransferRequest"), ("/v1/batches", "BatchRequest")]
    {
        let schema = &description["components"]["schemas"][schema];
        let examples = match schema["examples"].as_array() {
            Some(examples) => examples.clone(),
            None => vec![schema["example"].clone()],
        };
        for example in examples {
            let answer = bank.api.post(path, example.clone()).await;
            assert_eq!(answer.status, 200, "{path} {example}: {}", answer.text);
            let results = answer.json()["results"].as_array().cloned().unwrap_or_default();
            assert!(results.iter().all(|result| result["result"] == "success"), "{results:?}");
        }
    }
}

fn references(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(reference) if name == "$ref" => vec![reference.to_owned()],
                _ => references(value),
            })
            .collect(),
        serde_json::Value::Array(values) => values.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn the_documentation_is_a_page_with_its_parts() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    for path in ["/docs", "/docs/"] {
        let page = api.get(path).await;
        assert_eq!((page.status.as_u16(), page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(page.text.contains("<base href=\"/docs/\">"), "{}", page.text);
    }
    let script = api.get("/docs/swagger-initializer.js").await;
    assert!(script.text.contains("/openapi.json"), "{}", script.text);
    assert_eq!(api.get("/docs/swagger-ui.css").await.header("content-type"), Some("text/css"));
}

#[tokio::test]
async fn metrics_count_requests_by_route_template_and_status() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    api.post("/transaction", json!({"customer_id": 1, "type": "deposit", "amount": 1})).await;
    api.post("/transaction", json!({"customer_id": 1, "type": "deposit", "amount": 2})).await;
    api.post("/transaction", json!({})).await;
    api.get("/v1/customers/0").await;
    api.get("/v1/customers/x").await;
    api.get("/nowhere").await;
    answer(api.request(Method::DELETE, "/transaction")).await;
    let metrics = api.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut counts: Vec<&str> =
        metrics.text.lines().filter(|line| line.starts_with("florin_http_requests_total{")).collect();
    counts.sort_unstable();
    insta::assert_snapshot!(counts.join("\n"), @r#"
    florin_http_requests_total{route="/transaction",method="POST",status="200"} 2
    florin_http_requests_total{route="/transaction",method="POST",status="400"} 1
    florin_http_requests_total{route="/transaction",method="other",status="405"} 1
    florin_http_requests_total{route="/v1/customers/{id}",method="GET",status="400"} 2
    florin_http_requests_total{route="unmatched",method="other",status="404"} 1
    "#);
    for name in [
        "florin_http_request_duration_seconds_bucket{route=\"/transaction\",method=\"POST\",le=\"0.001\"}",
        "florin_http_request_duration_seconds_count{route=\"/transaction\",method=\"POST\"} 3",
        "florin_http_requests_in_flight 1",
        "florin_branch_server_operations_waiting{server=\"0\"} 0",
        "florin_branch_server_operations_unanswered{server=\"0\"} 0",
        "florin_branch_server_connected{server=\"0\"} 1",
        "florin_build_info{version=",
    ] {
        assert!(metrics.text.contains(name), "{name} is missing in\n{}", metrics.text);
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    for path in ["/livez", "/nowhere", "/v1/customers/x", "/openapi.json", "/docs"] {
        let made = api.get(path).await;
        assert!(made.header("x-request-id").is_some_and(|id| id.len() == 32), "{path}");
        let kept = answer(api.request(Method::GET, path).header("X-Request-Id", "mine")).await;
        assert_eq!(kept.header("x-request-id"), Some("mine"), "{path}");
    }
}
