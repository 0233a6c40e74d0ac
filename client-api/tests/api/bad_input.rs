//! What callers get wrong: each a clear refusal that names the place, and no branch is even asked.

use crate::scripted::{Act, Scripted};
use crate::support::{Api, answer};
use reqwest::Method;

/// An API before a branch that must not be asked.
pub(crate) async fn api() -> (Api, Scripted) {
    let branch = Scripted::start(|operation| -> Act { panic!("a branch was asked: {operation:?}") }).await;
    (Api::start(&[branch.address], &[]).await, branch)
}

/// Posts each body and compares status, code and field.
pub(crate) async fn expect(path: &str, cases: &[(&str, &str)]) {
    let (api, _branch) = api().await;
    for (body, refusal) in cases {
        let answer = api.post_bytes(path, (*body).to_owned()).await;
        assert_eq!(answer.refusal(), *refusal, "{path} {body:.200}: {}", answer.text);
        assert!(answer.header("idempotency-key").is_some_and(|key| key.len() == 32), "{body:.200}");
    }
}

#[tokio::test]
async fn amounts() {
    let body = |amount: &str| format!(r#"{{"customer_id":1,"type":"deposit","amount":{amount}}}"#);
    let amounts = [
        "0",
        "-0",
        "-1",
        "-0.01",
        "0.00",
        "1.001",
        "1.000",
        "1e2",
        "1E2",
        "1e-2",
        "1e400",
        "9e999",
        "NaN",
        "Infinity",
        "\"\"",
        "\" \"",
        "\"abc\"",
        "\"NaN\"",
        "\"1e2\"",
        "\"1,000.00\"",
        "\"$1\"",
        "\"+1\"",
        "\"0x10\"",
        "\"1.\"",
        "\".5\"",
        "\"\\u0000\"",
        "\"١\"",
        "null",
        "true",
        "[]",
        "[1]",
        "{}",
        "92233720368547758.08",
        "10000000000000.01",
        "99999999999999999999999999999999999999",
        "\"-5\"",
        "00",
        "01",
        "\"1_000\"",
        "\"100\u{a0}\"",
    ];
    let bodies: Vec<String> = amounts.iter().map(|amount| body(amount)).collect();
    let cases: Vec<(&str, &str)> = bodies.iter().map(|body| (body.as_str(), "400 INVALID_AMOUNT amount")).collect();
    expect("/transaction", &cases).await;
    expect(
        "/transaction",
        &[
            (r#"{"customer_id":1,"type":"deposit"}"#, "400 INVALID_AMOUNT amount"),
            (r#"{"customer_id":1,"type":"withdraw"}"#, "400 INVALID_AMOUNT amount"),
            (r#"{"customer_id":1,"type":"withdraw","amount":0}"#, "400 INVALID_AMOUNT amount"),
            (r#"{"customer_id":1,"type":"query","amount":1}"#, "400 INVALID_AMOUNT amount"),
            (r#"{"customer_id":1,"type":"query","amount":"x"}"#, "400 INVALID_AMOUNT amount"),
            (r#"{"customer_id":1,"type":"deposit","amount":1.5,"currency":"JPY"}"#, "400 INVALID_AMOUNT amount"),
            (r#"{"customer_id":1,"type":"deposit","amount":1.2345,"currency":"KWD"}"#, "400 INVALID_AMOUNT amount"),
        ],
    )
    .await;
}

#[tokio::test]
async fn customers_types_and_currencies() {
    expect(
        "/transaction",
        &[
            (r#"{}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"type":"query"}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":null,"type":"query"}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":"1","type":"query"}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":1.0,"type":"query"}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":1.5,"type":"query"}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":[1],"type":"query"}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":true,"type":"query"}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":0,"type":"query"}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":-1,"type":"query"}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":9007199254740992,"type":"query"}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":18446744073709551616,"type":"query"}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":1}"#, "400 INVALID_REQUEST type"),
            (r#"{"customer_id":1,"type":null}"#, "400 INVALID_REQUEST type"),
            (r#"{"customer_id":1,"type":1}"#, "400 INVALID_REQUEST type"),
            (r#"{"customer_id":1,"type":{"query":null}}"#, "400 INVALID_REQUEST type"),
            (r#"{"customer_id":1,"type":""}"#, "400 INVALID_REQUEST type"),
            (r#"{"customer_id":1,"type":"Deposit","amount":1}"#, "400 INVALID_REQUEST type"),
            (r#"{"customer_id":1,"type":"steal","amount":1}"#, "400 INVALID_REQUEST type"),
            (r#"{"customer_id":1,"type":"transfers","amount":1,"to_customer_id":2}"#, "400 INVALID_REQUEST type"),
            (r#"{"customer_id":1,"type":"deposit","amount":1,"currency":"usd"}"#, "400 INVALID_CURRENCY currency"),
            (r#"{"customer_id":1,"type":"deposit","amount":1,"currency":"XXX"}"#, "400 INVALID_CURRENCY currency"),
            (r#"{"customer_id":1,"type":"deposit","amount":1,"currency":""}"#, "400 INVALID_CURRENCY currency"),
            (r#"{"customer_id":1,"type":"deposit","amount":1,"currency":1}"#, "400 INVALID_CURRENCY currency"),
            (r#"{"customer_id":1,"type":"query","currency":"BTC"}"#, "400 INVALID_CURRENCY currency"),
        ],
    )
    .await;
}

#[tokio::test]
async fn fields_that_could_hide_a_mistake() {
    let long = |bytes| format!(r#"{{"customer_id":1,"type":"deposit","amount":1,"memo":"{}"}}"#, "m".repeat(bytes));
    let big = |bytes| {
        format!(r#"{{"customer_id":1,"type":"deposit","amount":1,"metadata":{{"k":"{}"}}}}"#, "v".repeat(bytes))
    };
    expect(
        "/transaction",
        &[
            (r#"{"customer_id":1,"type":"deposit","amuont":1}"#, "400 INVALID_REQUEST amuont"),
            (r#"{"customer_id":1,"type":"deposit","amount":1,"Currency":"EUR"}"#, "400 INVALID_REQUEST Currency"),
            (
                r#"{"customer_id":1,"type":"deposit","amount":1,"to_customer_id":2}"#,
                "400 INVALID_REQUEST to_customer_id",
            ),
            (r#"{"customer_id":1,"customer_id":2,"type":"query"}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":1,"type":"deposit","amount":1,"amount":2}"#, "400 INVALID_AMOUNT amount"),
            (&long(141), "400 INVALID_REQUEST memo"),
            (r#"{"customer_id":1,"type":"deposit","amount":1,"memo":7}"#, "400 INVALID_REQUEST memo"),
            (r#"{"customer_id":1,"type":"deposit","amount":1,"memo":"a\u0000b"}"#, "400 INVALID_REQUEST memo"),
            (&big(1024), "400 INVALID_REQUEST metadata"),
            (r#"{"customer_id":1,"type":"deposit","amount":1,"metadata":[]}"#, "400 INVALID_REQUEST metadata"),
            (r#"{"customer_id":1,"type":"deposit","amount":1,"metadata":{"a":1}}"#, "400 INVALID_REQUEST metadata.a"),
            (
                r#"{"customer_id":1,"type":"deposit","amount":1,"metadata":{"a":"1","a":"2"}}"#,
                "400 INVALID_REQUEST metadata",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn branches() {
    expect(
        "/initialize_branch",
        &[
            (r#"{}"#, "400 INVALID_BRANCH_ID branch_id"),
            (r#"{"branch_id":0}"#, "400 INVALID_BRANCH_ID branch_id"),
            (r#"{"branch_id":-1}"#, "400 INVALID_BRANCH_ID branch_id"),
            (r#"{"branch_id":"1"}"#, "400 INVALID_BRANCH_ID branch_id"),
            (r#"{"branch_id":1.0}"#, "400 INVALID_BRANCH_ID branch_id"),
            (r#"{"branch_id":null}"#, "400 INVALID_BRANCH_ID branch_id"),
            (r#"{"branch_id":99999999999999999999}"#, "400 INVALID_BRANCH_ID branch_id"),
            (r#"{"branch_id":11}"#, "404 BRANCH_NOT_FOUND"),
            (r#"{"branch_id":10000}"#, "404 BRANCH_NOT_FOUND"),
            (r#"{"branch_id":1,"initial_balance":-1}"#, "400 INVALID_AMOUNT initial_balance"),
            (r#"{"branch_id":1,"initial_balance":"-0.01"}"#, "400 INVALID_AMOUNT initial_balance"),
            (r#"{"branch_id":1,"initial_balance":1.001}"#, "400 INVALID_AMOUNT initial_balance"),
            (r#"{"branch_id":1,"initial_balance":1e3}"#, "400 INVALID_AMOUNT initial_balance"),
            (r#"{"branch_id":1,"initial_balance":"lots"}"#, "400 INVALID_AMOUNT initial_balance"),
            (r#"{"branch_id":1,"inital_balance":1}"#, "400 INVALID_REQUEST inital_balance"),
        ],
    )
    .await;
}

#[tokio::test]
async fn customers_and_accounts() {
    let name = format!(r#"{{"customer_id":1,"name":"{}"}}"#, "n".repeat(141));
    expect(
        "/v1/customers",
        &[
            (r#"{}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":0,"name":"Ada"}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":1,"name":7}"#, "400 INVALID_REQUEST name"),
            (&name, "400 INVALID_REQUEST name"),
            (r#"{"customer_id":1,"nmae":"Ada"}"#, "400 INVALID_REQUEST nmae"),
        ],
    )
    .await;
    let holders: Vec<String> = (2..=17).map(|holder| holder.to_string()).collect();
    let holders = format!(r#"{{"customer_id":1,"joint_holders":[{}]}}"#, holders.join(","));
    expect(
        "/v1/accounts",
        &[
            (r#"{}"#, "400 INVALID_CUSTOMER_ID customer_id"),
            (r#"{"customer_id":1,"product":"gold"}"#, "400 INVALID_REQUEST product"),
            (r#"{"customer_id":1,"currency":"XAU"}"#, "400 INVALID_CURRENCY currency"),
            (r#"{"customer_id":1,"overdraft_limit":-1}"#, "400 INVALID_AMOUNT overdraft_limit"),
            (r#"{"customer_id":1,"currency":"JPY","overdraft_limit":"0.5"}"#, "400 INVALID_AMOUNT overdraft_limit"),
            (r#"{"customer_id":1,"joint_holders":[2,"3"]}"#, "400 INVALID_CUSTOMER_ID joint_holders[1]"),
            (r#"{"customer_id":1,"joint_holders":[2,2]}"#, "400 INVALID_CUSTOMER_ID joint_holders"),
            (r#"{"customer_id":1,"joint_holders":[1]}"#, "400 INVALID_CUSTOMER_ID joint_holders"),
            (&holders, "400 INVALID_CUSTOMER_ID joint_holders"),
        ],
    )
    .await;
    expect(
        "/v1/accounts/0001000000000145/deposits",
        &[
            (r#"{}"#, "400 INVALID_AMOUNT amount"),
            (r#"{"amount":-1}"#, "400 INVALID_AMOUNT amount"),
            (r#"{"amount":1,"currency":"EU"}"#, "400 INVALID_CURRENCY currency"),
            (r#"{"amount":1,"customer_id":1}"#, "400 INVALID_REQUEST customer_id"),
        ],
    )
    .await;
    expect("/v1/accounts/0001000000000145/freeze", &[(r#"{"reason":"x"}"#, "400 INVALID_REQUEST reason")]).await;
}

#[tokio::test]
async fn addresses_and_parameters() {
    let (api, _branch) = api().await;
    for (path, refusal) in [
        ("/v1/customers/0", "400 INVALID_CUSTOMER_ID customer_id"),
        ("/v1/customers/one", "400 INVALID_CUSTOMER_ID customer_id"),
        ("/v1/customers/+1", "400 INVALID_CUSTOMER_ID customer_id"),
        ("/v1/customers/1.0", "400 INVALID_CUSTOMER_ID customer_id"),
        ("/v1/customers/%ff", "400 INVALID_REQUEST id"),
        ("/v1/accounts/1", "400 INVALID_ACCOUNT_NUMBER account_number"),
        ("/v1/accounts/0001000000000127", "400 INVALID_ACCOUNT_NUMBER account_number"),
        ("/v1/accounts/0001000000000127/transactions", "400 INVALID_ACCOUNT_NUMBER account_number"),
        ("/v1/branches/0/trial-balance", "400 INVALID_BRANCH_ID branch_id"),
        ("/v1/branches/x/trial-balance", "400 INVALID_BRANCH_ID branch_id"),
        ("/v1/branches/11/trial-balance", "404 BRANCH_NOT_FOUND"),
        ("/v1/branches/99999/trial-balance", "404 BRANCH_NOT_FOUND"),
        ("/v1/accounts/0001000000000145/transactions?limit=0", "400 INVALID_REQUEST limit"),
        ("/v1/accounts/0001000000000145/transactions?limit=101", "400 INVALID_REQUEST limit"),
        ("/v1/accounts/0001000000000145/transactions?limit=-1", "400 INVALID_REQUEST limit"),
        ("/v1/accounts/0001000000000145/transactions?limit=ten", "400 INVALID_REQUEST limit"),
        ("/v1/accounts/0001000000000145/transactions?limit=1&limit=2", "400 INVALID_REQUEST limit"),
        ("/v1/accounts/0001000000000145/transactions?from=yesterday", "400 INVALID_REQUEST from"),
        ("/v1/accounts/0001000000000145/transactions?to=2026-13-01T00:00:00Z", "400 INVALID_REQUEST to"),
        ("/v1/accounts/0001000000000145/transactions?type=theft", "400 INVALID_REQUEST type"),
        ("/v1/accounts/0001000000000145/transactions?page=2", "400 INVALID_REQUEST page"),
        ("/", "404 NOT_FOUND"),
        ("/v1", "404 NOT_FOUND"),
        ("/transaction/", "404 NOT_FOUND"),
        ("/v2/branches", "404 NOT_FOUND"),
        ("/docs/nothing.js", "404 NOT_FOUND"),
        ("/docs/%ff", "404 NOT_FOUND"),
        ("//transaction", "404 NOT_FOUND"),
        ("/%74ransaction", "404 NOT_FOUND"),
        ("/v1/customers/1%2f2", "400 INVALID_CUSTOMER_ID customer_id"),
        ("/v1/customers/%D9%A1", "400 INVALID_CUSTOMER_ID customer_id"),
    ] {
        let answer = api.get(path).await;
        assert_eq!(answer.refusal(), refusal, "{path}");
        assert_eq!(answer.header("idempotency-key"), None, "{path}");
    }
}

#[tokio::test]
async fn the_wrong_method() {
    let (api, _branch) = api().await;
    for (method, path, allow) in [
        (Method::GET, "/transaction", "POST"),
        (Method::DELETE, "/transaction", "POST"),
        (Method::PUT, "/initialize_branch", "POST"),
        (Method::POST, "/v1/branches", "GET,HEAD"),
        (Method::POST, "/health", "GET,HEAD"),
        (Method::PATCH, "/v1/accounts/0001000000000145", "GET,HEAD"),
        (Method::OPTIONS, "/v1/customers", "POST"),
    ] {
        let answer = answer(api.request(method.clone(), path)).await;
        assert_eq!(answer.refusal(), "405 METHOD_NOT_ALLOWED", "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}

#[tokio::test]
async fn idempotency_keys() {
    let (api, _branch) = api().await;
    let refused = |key: &[u8]| {
        let key = reqwest::header::HeaderValue::from_bytes(key).expect("a header value");
        let request = api.request(Method::POST, "/transaction").header("Idempotency-Key", key);
        answer(request.header("Content-Type", "application/json").body("{}"))
    };
    for key in [b"".as_slice(), &[b'k'; 256], b"a\tb", b"\xff\xfe"] {
        assert_eq!(refused(key).await.refusal(), "400 INVALID_IDEMPOTENCY_KEY", "{key:?}");
    }
    for key in [b"k".as_slice(), &[b'k'; 255], b"order 17/b"] {
        let answer = refused(key).await;
        assert_eq!(answer.refusal(), "400 INVALID_CUSTOMER_ID customer_id");
        assert_eq!(answer.header("idempotency-key").map(str::as_bytes), Some(key));
    }
}

#[tokio::test]
async fn operations_of_a_batch_answer_for_themselves() {
    let (api, _branch) = api().await;
    let operations = [
        r#"{"type":"deposit","customer_id":1,"amount":0}"#,
        r#"{"type":"deposit","amount":1}"#,
        r#"{"type":"deposit","customer_id":1,"account_number":"0001000000000145","amount":1}"#,
        r#"{"type":"deposit","account_number":"1","amount":1}"#,
        r#"{"type":"deposit","account_number":"0011000000000130","amount":1}"#,
        r#"{"type":"close","customer_id":1}"#,
        r#"{"type":"close","account_number":"0001000000000145","memo":"moved away"}"#,
        r#"{"type":"freeze","account_number":"0001000000000145","currency":"EUR"}"#,
        r#"{"type":"freeze","account_number":"0001000000000145","amount":1}"#,
        r#"{"type":"steal","customer_id":1}"#,
        r#"{"type":"query","customer_id":1,"idempotency_key":""}"#,
        r#"{"type":"query","customer":1}"#,
        r#"[]"#,
        r#"null"#,
    ];
    let answer = api.post_bytes("/v1/batches", format!(r#"{{"operations":[{}]}}"#, operations.join(","))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let refusals: Vec<String> = answer.json()["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|result| format!("{} {} {}", result["status"], result["code"], result["field"]).replace('"', ""))
        .collect();
    insta::assert_snapshot!(refusals.join("\n"), @r"
    400 INVALID_AMOUNT amount
    400 INVALID_CUSTOMER_ID customer_id
    400 INVALID_REQUEST account_number
    400 INVALID_ACCOUNT_NUMBER account_number
    404 BRANCH_NOT_FOUND null
    400 INVALID_ACCOUNT_NUMBER account_number
    400 INVALID_REQUEST memo
    400 INVALID_REQUEST currency
    400 INVALID_AMOUNT amount
    400 INVALID_REQUEST type
    400 INVALID_IDEMPOTENCY_KEY idempotency_key
    400 INVALID_REQUEST customer
    400 INVALID_REQUEST null
    400 INVALID_REQUEST null
    ");
    let many = vec!["{}"; 8193].join(",");
    let answer = api.post_bytes("/v1/batches", format!(r#"{{"operations":[{many}]}}"#)).await;
    assert_eq!(answer.refusal(), "400 INVALID_REQUEST operations");
    for body in [r#"{}"#, r#"{"operations":null}"#, r#"{"operations":{}}"#, r#"{"operations":"x"}"#] {
        assert_eq!(api.post_bytes("/v1/batches", body).await.refusal(), "400 INVALID_REQUEST operations", "{body}");
    }
}
