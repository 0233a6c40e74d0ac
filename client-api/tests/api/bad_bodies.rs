//! Bodies that are not what a route reads: each a clear refusal that says what to send instead.

use crate::bad_input::{api, expect};
use crate::support::answer;
use reqwest::Method;

#[tokio::test]
async fn bodies_that_are_not_one_json_object() {
    let deep = "[".repeat(500_000);
    let deep_object = format!("{}1", r#"{"amount":"#.repeat(50_000));
    for path in ["/transaction", "/initialize_branch", "/v1/customers", "/v1/accounts", "/v1/batches"] {
        expect(
            path,
            &[
                ("", "400 INVALID_REQUEST"),
                ("null", "400 INVALID_REQUEST"),
                ("true", "400 INVALID_REQUEST"),
                ("1", "400 INVALID_REQUEST"),
                ("\"deposit\"", "400 INVALID_REQUEST"),
                ("[]", "400 INVALID_REQUEST"),
                ("[1,\"deposit\",100]", "400 INVALID_REQUEST"),
                ("{", "400 INVALID_REQUEST"),
                ("}", "400 INVALID_REQUEST"),
                ("customer_id=1&type=query", "400 INVALID_REQUEST"),
                ("\u{feff}{}", "400 INVALID_REQUEST"),
                (&deep, "400 INVALID_REQUEST"),
            ],
        )
        .await;
    }
    expect(
        "/transaction",
        &[
            (r#"{"customer_id":1,"type":"query"}{}"#, "400 INVALID_REQUEST"),
            (r#"{"customer_id":1,"type":"query"} x"#, "400 INVALID_REQUEST"),
            (r#"{"customer_id":1,"type":"query",}"#, "400 INVALID_REQUEST"),
            (r#"{"customer_id":1,"type":"deposit","amount":1_000}"#, "400 INVALID_REQUEST"),
            (r#"{"customer_id""#, "400 INVALID_REQUEST"),
            (r#"{'customer_id':1,'type':'query'}"#, "400 INVALID_REQUEST"),
            (r#"{"customer_id":1,"type":"\ud800"}"#, "400 INVALID_REQUEST type"),
            (&deep_object, "400 INVALID_AMOUNT amount"),
        ],
    )
    .await;
    let (api, _branch) = api().await;
    let answer = api.post_bytes("/transaction", b"{\"customer_id\":1,\"type\":\"\xff\"}".to_vec()).await;
    assert_eq!(answer.refusal(), "400 INVALID_REQUEST");
    assert!(answer.json()["detail"].as_str().expect("a detail").contains("byte 25"), "{}", answer.text);
}

#[tokio::test]
async fn each_refusal_says_what_to_send_instead() {
    let (api, _branch) = api().await;
    let mut told = String::new();
    for (path, body) in [
        ("/transaction", r#"[]"#),
        ("/transaction", r#"{"customer_id":1,"#),
        ("/transaction", r#"{"customer_id":1,"type":"query"} x"#),
        ("/transaction", r#"{'customer_id':1}"#),
        ("/transaction", r#"{"customer_id":"1","type":"query"}"#),
        ("/transaction", r#"{"customer_id":0,"type":"query"}"#),
        ("/transaction", r#"{"type":"query"}"#),
        ("/transaction", r#"{"customer_id":1,"customer_id":1,"type":"query"}"#),
        ("/transaction", r#"{"customer_id":1,"type":"steal"}"#),
        ("/transaction", r#"{"customer_id":1,"type":7}"#),
        ("/transaction", r#"{"customer_id":1,"type":steal}"#),
        ("/transaction", r#"{"customer_id":1}"#),
        ("/transaction", r#"{"customer_id":1,"type":"deposit","amount":NaN}"#),
        ("/transaction", r#"{"customer_id":1,"type":"deposit","amount":1e2}"#),
        ("/transaction", r#"{"customer_id":1,"type":"deposit","amount":1,"currency":1}"#),
        ("/transaction", r#"{"customer_id":1,"type":"deposit","amount":1,"memo":1}"#),
        ("/transaction", r#"{"customer_id":1,"type":"deposit","amount":1,"metadata":{"amount":1}}"#),
        ("/transaction", r#"{"customer_id":1,"type":"deposit","a, expected b":1}"#),
        ("/v1/accounts", r#"{"customer_id":1,"joint_holders":7}"#),
        ("/v1/accounts", r#"{"customer_id":1,"joint_holders":[2,"3"]}"#),
        ("/v1/accounts", r#"{"customer_id":1,"product":"gold"}"#),
        ("/v1/accounts/0001000000000145/freeze", r#"{"reason":"x"}"#),
        ("/initialize_branch", r#"{"branch_id":"1"}"#),
        ("/v1/batches", r#"{"operations":{}}"#),
    ] {
        let answer = api.post_bytes(path, body).await;
        assert!(answer.refusal().starts_with("400 "), "{body}: {}", answer.text);
        told += &format!("{body}\n  {}\n", answer.json()["detail"].as_str().expect("a sentence"));
    }
    insta::assert_snapshot!(told, @r#"
    []
      send one JSON object, in braces
    {"customer_id":1,
      the JSON object is cut off at line 1, column 17; send it whole
    {"customer_id":1,"type":"query"} x
      the JSON object ends before line 1, column 34; send nothing after it
    {'customer_id':1}
      the body stops being JSON at line 1, column 2; send one JSON object
    {"customer_id":"1","type":"query"}
      `customer_id` must be a customer number: an integer from 1 to 9007199254740991, without quotes
    {"customer_id":0,"type":"query"}
      `customer_id` must be a customer number: an integer from 1 to 9007199254740991, without quotes
    {"type":"query"}
      `customer_id` is missing; it must be a customer number: an integer from 1 to 9007199254740991, without quotes
    {"customer_id":1,"customer_id":1,"type":"query"}
      `customer_id` is there twice; send it once
    {"customer_id":1,"type":"steal"}
      `type` must be one of `deposit`, `withdraw`, `query`, `transfer`
    {"customer_id":1,"type":7}
      `type` must be one of `deposit`, `withdraw`, `query`, `transfer`
    {"customer_id":1,"type":steal}
      `type` must be one of `deposit`, `withdraw`, `query`, `transfer`
    {"customer_id":1}
      `type` is missing; it must be a word in quotes; /docs lists them
    {"customer_id":1,"type":"deposit","amount":NaN}
      `amount` is not written as JSON at line 1, column 44; it must be a plain decimal number such as 100 or "100.50"
    {"customer_id":1,"type":"deposit","amount":1e2}
      `amount` must be a plain decimal number such as 100 or "100.50", without exponent or separators
    {"customer_id":1,"type":"deposit","amount":1,"currency":1}
      `currency` must be an ISO 4217 code in quotes, such as "USD"
    {"customer_id":1,"type":"deposit","amount":1,"memo":1}
      `memo` must be a text in quotes
    {"customer_id":1,"type":"deposit","amount":1,"metadata":{"amount":1}}
      `metadata.amount` must be a text in quotes
    {"customer_id":1,"type":"deposit","a, expected b":1}
      `a, expected b` is not known here; the fields are `customer_id`, `type`, `amount`, `currency`, `memo`, `metadata`, `to_customer_id`, `to_account_number`, `wait_ms`
    {"customer_id":1,"joint_holders":7}
      `joint_holders` must be a list of customer numbers, such as [2, 3]
    {"customer_id":1,"joint_holders":[2,"3"]}
      `joint_holders[1]` must be a customer number: an integer from 1 to 9007199254740991, without quotes
    {"customer_id":1,"product":"gold"}
      `product` must be one of `checking`, `savings`, `fixed_deposit`, `investment`
    {"reason":"x"}
      `reason` is not known here; no field is
    {"branch_id":"1"}
      `branch_id` must be a branch number: an integer such as 1, without quotes
    {"operations":{}}
      `operations` must be a list of operations
    "#);
}

#[tokio::test]
async fn a_name_that_the_caller_made_up_is_told_in_short() {
    let (api, _branch) = api().await;
    let long = "n".repeat(500_000);
    for body in [format!(r#"{{"{long}":1}}"#), format!(r#"{{"customer_id":1,"metadata":{{"{long}":1}}}}"#)] {
        let answer = api.post_bytes("/transaction", body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text.len() < 2000, "{} bytes", answer.text.len());
    }
}

#[tokio::test]
async fn the_wrong_content_type() {
    let (api, _branch) = api().await;
    let body = r#"{"customer_id":1,"type":"steal"}"#;
    for content_type in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "text/json",
        "application/json; charset=latin1",
        "application/json;Charset=\"utf-16\"",
    ] {
        let request = api.request(Method::POST, "/transaction").header("Content-Type", content_type).body(body);
        assert_eq!(answer(request).await.refusal(), "415 UNSUPPORTED_MEDIA_TYPE", "{content_type}");
    }
    let request = api.request(Method::POST, "/transaction").body(body);
    assert_eq!(answer(request).await.refusal(), "415 UNSUPPORTED_MEDIA_TYPE");
    let json = || api.request(Method::POST, "/transaction").header("Content-Type", "application/json");
    let twice = json().header("Content-Type", "text/plain").body(body);
    assert_eq!(answer(twice).await.refusal(), "415 UNSUPPORTED_MEDIA_TYPE");
    for (coding, refusal) in [
        ("gzip", "415 UNSUPPORTED_MEDIA_TYPE"),
        ("br", "415 UNSUPPORTED_MEDIA_TYPE"),
        ("identity", "400 INVALID_REQUEST type"),
    ] {
        assert_eq!(answer(json().header("Content-Encoding", coding).body(body)).await.refusal(), refusal, "{coding}");
    }
    for content_type in ["application/json", "application/json; charset=utf-8", "Application/JSON ; Charset=\"UTF-8\""]
    {
        let request = api.request(Method::POST, "/transaction").header("Content-Type", content_type).body(body);
        assert_eq!(answer(request).await.refusal(), "400 INVALID_REQUEST type", "{content_type}");
    }
}

#[test]
fn any_bytes_are_accepted_or_refused_without_panic() {
    bolero::check!().for_each(|body| {
        let _either = client_api::untrusted::body_is_accepted(body);
    });
}
