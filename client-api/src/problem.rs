//! Refusals as RFC 9457 problem details, made from the bank's one table of codes.
//!
//! A handler returns a [`Problem`]; the envelope around every request writes it as JSON, because only
//! there the request id is known.

use crate::idempotency::IDEMPOTENT_REPLAYED;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bank_proto::ErrorCode;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Longer details are cut: they may quote what the caller sent.
const DETAIL_BYTES: usize = 400;

/// Longer names of fields are cut: the caller may have made them up.
const FIELD_BYTES: usize = 100;

/// Beside an answer that says OVERLOADED: when to come again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToldToWait {
    pub(crate) seconds: u64,
}

/// Why a request was refused and what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem(Box<Content>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    code: ErrorCode,
    detail: Cow<'static, str>,
    field: Option<String>,
    transaction_id: Option<String>,
    replayed: bool,
    retry_after_seconds: Option<u64>,
    facts: BTreeMap<String, String>,
}

impl Problem {
    /// A refusal with a sentence for people.
    pub(crate) fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Problem {
        let detail = cut(detail.into(), DETAIL_BYTES);
        Problem(Box::new(Content {
            code,
            detail,
            field: None,
            transaction_id: None,
            replayed: false,
            retry_after_seconds: code.retry_after_seconds(),
            facts: BTreeMap::new(),
        }))
    }

    /// A refusal of one field; `what` goes on where the field's name stops: "must be ...".
    pub(crate) fn field(code: ErrorCode, field: &str, what: impl std::fmt::Display) -> Problem {
        let field = cut(Cow::Borrowed(field), FIELD_BYTES).into_owned();
        let mut problem = Problem::new(code, format!("`{field}` {what}"));
        problem.0.field = Some(field);
        problem
    }

    /// A fault of Florin's own. The cause belongs into the log, never here.
    pub(crate) fn internal() -> Problem {
        Problem::new(ErrorCode::Internal, "something went wrong inside the bank; tell the operator the request id")
    }

    /// Says where the field at fault is.
    pub(crate) fn within(self, place: &str) -> Problem {
        let field = match &self.0.field {
            Some(field) => format!("{place}.{field}"),
            None => place.to_owned(),
        };
        self.with_field(Some(field))
    }

    /// Names the field at fault, when it is known from elsewhere.
    pub(crate) fn with_field(mut self, field: Option<String>) -> Problem {
        self.0.field = field.map(|field| cut(Cow::Owned(field), FIELD_BYTES).into_owned());
        self
    }

    /// Names the refused write, so that the caller can look it up or repeat it.
    pub(crate) fn with_transaction_id(mut self, id: Option<String>) -> Problem {
        self.0.transaction_id = id;
        self
    }

    /// Asks for more patience than the code does by itself.
    pub(crate) fn with_retry_after(mut self, seconds: u64) -> Problem {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// Whether this refusal was given before.
    pub(crate) fn is_replayed(&self) -> bool {
        self.0.replayed
    }

    /// Marks a refusal that was given before.
    pub(crate) fn with_replayed(mut self, replayed: bool) -> Problem {
        self.0.replayed = replayed;
        self
    }

    /// Adds what the branch told: "balance", "available", "currency" and the like.
    pub(crate) fn with_facts(mut self, facts: BTreeMap<String, String>) -> Problem {
        self.0.facts = facts;
        self
    }

    /// The stable code.
    pub(crate) fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// As the JSON that callers see.
    pub(crate) fn body<'a>(&'a self, request_id: Option<&'a str>) -> ProblemBody<'a> {
        let content = &*self.0;
        ProblemBody {
            kind: format!("urn:florin:problem:{}", content.code.as_str().to_ascii_lowercase().replace('_', "-")),
            title: content.code.title(),
            status: self.status_number(),
            detail: &content.detail,
            code: content.code.as_str(),
            success: false,
            result: "failure",
            field: content.field.as_deref(),
            transaction_id: content.transaction_id.as_deref(),
            request_id,
            facts: &content.facts,
        }
    }

    /// The whole answer, problem and headers, for a request with this id. Headers that were set beside the
    /// problem, such as Allow, are kept.
    pub(crate) fn write(self, answer: &mut Response, request_id: &str) {
        let body = serde_json::to_vec(&self.body(Some(request_id))).unwrap_or_default();
        *answer.status_mut() = self.status();
        *answer.body_mut() = Body::from(body);
        let headers = answer.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.0.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code() == ErrorCode::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"florin\""));
        }
        if self.0.replayed {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        if self.code() == ErrorCode::Overloaded
            && let Some(seconds) = self.0.retry_after_seconds
        {
            answer.extensions_mut().insert(ToldToWait { seconds });
        }
    }

    /// The code's own, unless it is about somebody else's account: that the caller's payee is not known is
    /// no 404 of what the caller asked for.
    fn status_number(&self) -> u16 {
        let is_about_payee = self.0.facts.get("party").is_some_and(|party| party == "payee");
        if is_about_payee { 422 } else { self.code().http_status() }
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status_number()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// Cuts at a character's boundary.
fn cut(text: Cow<'_, str>, bytes: usize) -> Cow<'_, str> {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    Cow::Owned(format!("{}...", &text[..end]))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = self.status();
        answer.extensions_mut().insert(self);
        answer
    }
}

/// A refusal (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "urn:florin:problem:insufficient-funds", "title": "Not enough money", "status": 422,
    "detail": "only 10.00 USD is available", "code": "INSUFFICIENT_FUNDS",
    "success": false, "result": "failure", "balance": "10.00", "available": "10.00", "currency": "USD",
    "transaction_id": "1-0123456789abcdef0123456789abcdef", "request_id": "7f3c"
}))]
pub(crate) struct ProblemBody<'a> {
    /// A URN of the code.
    #[serde(rename = "type")]
    kind: String,
    /// The same for every occurrence.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What happened this time.
    detail: &'a str,
    /// Stable; decide by this.
    code: &'a str,
    success: bool,
    result: &'a str,
    /// The place in the request that is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// The refused write.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// Where known: `balance`, `available`, `currency` and the like.
    #[serde(flatten)]
    facts: &'a BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_detail_is_cut_at_a_character() {
        let problem = Problem::new(ErrorCode::InvalidRequest, "\u{20ac}".repeat(1000));
        assert!(problem.body(None).detail.len() <= DETAIL_BYTES + 3);
        let problem = Problem::field(ErrorCode::InvalidRequest, &"\u{20ac}".repeat(1000), "is not known here");
        let body = problem.body(None);
        assert!(body.field.is_some_and(|field| field.len() <= FIELD_BYTES + 3), "{:?}", body.field);
        assert!(body.detail.ends_with("` is not known here"), "{}", body.detail);
    }

    #[test]
    fn a_problem_names_code_and_place() {
        let problem = Problem::field(ErrorCode::InvalidAmount, "amount", "must be greater than zero");
        insta::assert_snapshot!(serde_json::to_string_pretty(&problem.body(Some("r1"))).expect("JSON"), @r#"
        {
          "type": "urn:florin:problem:invalid-amount",
          "title": "The amount is not acceptable",
          "status": 400,
          "detail": "`amount` must be greater than zero",
          "code": "INVALID_AMOUNT",
          "success": false,
          "result": "failure",
          "field": "amount",
          "request_id": "r1"
        }
        "#);
    }
}
