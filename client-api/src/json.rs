//! Reads JSON bodies: bounded in size and time, strict, and every refusal names the place.

mod fault;

use crate::app::App;
use crate::problem::Problem;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bank_proto::{ErrorCode, limits};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;

/// A body has to arrive within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a refused body is read and thrown away, so that a caller who writes it to the end before
/// reading sees the refusal instead of a broken connection.
const DISCARD_BYTES: usize = 64 * 1024 * 1024;

/// The body of a request that says it is application/json, whole and within the limit.
pub(crate) struct JsonBody(Bytes);

impl JsonBody {
    /// Reads the body as one JSON object.
    ///
    /// # Errors
    /// A 400 whose `field` names the place.
    pub(crate) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        parse(&self.0)
    }
}

impl FromRequest<Arc<App>> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<JsonBody, Problem> {
        is_plain(request.headers())?;
        if !says_json(request.headers()) {
            return Err(Problem::new(
                ErrorCode::UnsupportedMediaType,
                "send the header Content-Type: application/json, once; the body is read as UTF-8",
            ));
        }
        read(request, app).await.map(JsonBody)
    }
}

/// The body of a request all of whose fields may be left out: nothing stands for an empty JSON object.
pub(crate) struct OptionalJsonBody(Bytes);

impl OptionalJsonBody {
    /// Reads the body as one JSON object.
    ///
    /// # Errors
    /// A 400 whose `field` names the place.
    pub(crate) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        parse(&self.0)
    }
}

impl FromRequest<Arc<App>> for OptionalJsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<OptionalJsonBody, Problem> {
        is_plain(request.headers())?;
        let says_json = says_json(request.headers());
        let body = read(request, app).await?;
        if body.is_empty() {
            return Ok(OptionalJsonBody(Bytes::from_static(b"{}")));
        }
        if !says_json {
            return Err(Problem::new(ErrorCode::UnsupportedMediaType, "send no body, or application/json"));
        }
        Ok(OptionalJsonBody(body))
    }
}

/// The body of a request that needs none: nothing, or an empty JSON object.
pub(crate) struct EmptyBody;

impl FromRequest<Arc<App>> for EmptyBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<EmptyBody, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}

        let body = OptionalJsonBody::from_request(request, app).await?;
        body.parse::<Nothing>().map(|Nothing {}| EmptyBody)
    }
}

/// Refuses a compressed body: it would be read as what it is not.
fn is_plain(headers: &HeaderMap) -> Result<(), Problem> {
    if headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Ok(());
    }
    Err(Problem::new(ErrorCode::UnsupportedMediaType, "send the body as it is, without Content-Encoding"))
}

/// Whether there is one Content-Type, and it is JSON in the one character set that JSON has.
fn says_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else { return false };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    is_json
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

async fn read(request: Request, app: &App) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > limits::HTTP_BODY_BYTES) {
        // Who waits for 100 Continue has sent nothing yet and needs no reader.
        if !parts.headers.contains_key(header::EXPECT) {
            discard(body, app);
        }
        return Err(too_large());
    }
    let mut body = body;
    match tokio::time::timeout(BODY_TIMEOUT, read_within_limit(&mut body)).await {
        Ok(Ok(Some(whole))) => Ok(whole),
        Ok(Ok(None)) => {
            discard(body, app);
            Err(too_large())
        }
        Ok(Err(_broken)) => Err(Problem::new(ErrorCode::InvalidRequest, "the body did not arrive whole")),
        Err(_elapsed) => Err(Problem::new(
            ErrorCode::InvalidRequest,
            format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()),
        )),
    }
}

/// The whole body, or None when it goes on beyond the limit.
async fn read_within_limit(body: &mut Body) -> Result<Option<Bytes>, axum::Error> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(part) = frame?.into_data() {
            if whole.len() + part.len() > limits::HTTP_BODY_BYTES {
                return Ok(None);
            }
            whole.extend_from_slice(&part);
        }
    }
    Ok(Some(whole.freeze()))
}

fn too_large() -> Problem {
    Problem::new(
        ErrorCode::PayloadTooLarge,
        format!("a body may have up to {} bytes; send several smaller requests", limits::HTTP_BODY_BYTES),
    )
}

/// Reads the rest of a refused body beside the answer, for as many callers at once as there are permits.
fn discard(mut body: Body, app: &App) {
    let Ok(permit) = Arc::clone(&app.discards).try_acquire_owned() else { return };
    tokio::spawn(async move {
        let _permit = permit;
        let mut bytes = 0;
        let reading = async {
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > DISCARD_BYTES {
                    break;
                }
            }
        };
        // Too slow or too much: closing the connection is then all that is left.
        let _ = tokio::time::timeout(BODY_TIMEOUT, reading).await;
    });
}

/// Reads bytes as exactly one JSON object.
///
/// # Errors
/// A 400 whose `field` names the place.
pub(crate) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Problem> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_text(text),
        Err(wrong) => Err(Problem::new(
            ErrorCode::InvalidRequest,
            format!("the body is not UTF-8: byte {} is wrong", wrong.valid_up_to()),
        )),
    }
}

/// Reads text as exactly one JSON object.
///
/// # Errors
/// A 400 whose `field` names the place.
pub(crate) fn parse_text<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    // A list would be read as the fields in order: never what somebody meant.
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(Problem::new(ErrorCode::InvalidRequest, "send one JSON object, in braces"));
    }
    // The path costs time, so it is only looked for once something is wrong.
    serde_json::from_str(text).map_err(|wrong| fault::problem::<T>(text, &wrong))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample<'a> {
        #[serde(rename = "customer_id", deserialize_with = "fields::customer_id")]
        _customer: bank_proto::CustomerId,
        #[serde(rename = "amount", borrow, default)]
        _amount: Option<&'a serde_json::value::RawValue>,
    }

    fn refusal(body: &[u8]) -> (ErrorCode, serde_json::Value) {
        let problem = parse::<Sample<'_>>(body).expect_err("a refusal");
        let body = serde_json::to_value(problem.body(None)).expect("JSON");
        (problem.code(), body["field"].clone())
    }

    #[test]
    fn every_refusal_names_the_place() {
        for (body, code, field) in [
            (r#"{}"#, ErrorCode::InvalidCustomerId, "customer_id"),
            (r#"{"customer_id":null}"#, ErrorCode::InvalidCustomerId, "customer_id"),
            (r#"{"customer_id":"1"}"#, ErrorCode::InvalidCustomerId, "customer_id"),
            (r#"{"customer_id":1.0}"#, ErrorCode::InvalidCustomerId, "customer_id"),
            (r#"{"customer_id":1e0}"#, ErrorCode::InvalidCustomerId, "customer_id"),
            (r#"{"customer_id":0}"#, ErrorCode::InvalidCustomerId, "customer_id"),
            (r#"{"customer_id":-1}"#, ErrorCode::InvalidCustomerId, "customer_id"),
            (r#"{"customer_id":9007199254740992}"#, ErrorCode::InvalidCustomerId, "customer_id"),
            (r#"{"customer_id":99999999999999999999}"#, ErrorCode::InvalidCustomerId, "customer_id"),
            (r#"{"customer_id":1,"customer_id":2}"#, ErrorCode::InvalidCustomerId, "customer_id"),
            (r#"{"customer_id":1,"amuont":2}"#, ErrorCode::InvalidRequest, "amuont"),
            (r#"{"customer_id":1,"amount":NaN}"#, ErrorCode::InvalidAmount, "amount"),
            (r#"{"customer_id":1,"amount":01}"#, ErrorCode::InvalidAmount, "amount"),
            (r#"{"customer_id":1,"amount":}"#, ErrorCode::InvalidAmount, "amount"),
        ] {
            assert_eq!(refusal(body.as_bytes()), (code, field.into()), "{body}");
        }
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        let deep = "[".repeat(100_000);
        let deep_object = "{\"customer_id\":".repeat(10_000);
        for body in ["", " ", "null", "true", "1", "\"{}\"", "[]", "[1]", "[1,2]", "{", "{\"customer_id\":1", &deep] {
            assert_eq!(refusal(body.as_bytes()).0, ErrorCode::InvalidRequest, "{body:.40}");
        }
        for body in
            [r#"{"customer_id":1} {}"#, r#"{"customer_id":1}x"#, "{'customer_id':1}", "\u{feff}{\"customer_id\":1}"]
        {
            assert_eq!(refusal(body.as_bytes()).0, ErrorCode::InvalidRequest, "{body:.40}");
        }
        assert_eq!(refusal(deep_object.as_bytes()).0, ErrorCode::InvalidCustomerId);
        assert_eq!(refusal(b"{\"customer_id\":1,\"\xff\":1}").0, ErrorCode::InvalidRequest);
    }

    /// What only the parser or serde would say.
    const FOREIGN_WORDS: [&str; 10] = [
        "expected",
        "invalid type",
        "invalid value",
        "invalid number",
        "unknown field",
        "unknown variant",
        "missing field",
        "duplicate field",
        "line 1 column",
        "EOF",
    ];

    #[test]
    fn no_refusal_has_words_of_the_parser() {
        let whole = br#"{"customer_id": 1, "amount": "1.50"}"#;
        bolero::check!().with_type::<(Vec<(u8, u8)>, bool)>().for_each(|(patches, cut)| {
            let mut body = whole.to_vec();
            let mut last = 0;
            for (place, byte) in patches {
                last = usize::from(*place) % body.len();
                body[last] = *byte;
            }
            if *cut {
                body.truncate(last);
            }
            let Err(problem) = parse::<Sample<'_>>(&body) else { return };
            let told = serde_json::to_value(problem.body(None)).expect("JSON");
            let detail = told["detail"].as_str().expect("a sentence");
            for words in FOREIGN_WORDS {
                assert!(!detail.contains(words), "{:?}: {detail}", String::from_utf8_lossy(&body));
            }
        });
    }

    #[test]
    fn whitespace_and_order_do_not_matter() {
        assert!(parse::<Sample<'_>>(b" \r\n\t{ \"amount\" : 1.50 , \"customer_id\" : 7 } \n").is_ok());
    }
}
