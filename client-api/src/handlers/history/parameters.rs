//! The query parameters of a page of history.

use crate::bank::HistoryQuestion;
use crate::problem::Problem;
use axum::extract::Query;
use axum::http::Uri;
use bank_proto::{AccountNumber, ErrorCode, Timestamp, limits};
use serde::Deserialize;
use utoipa::IntoParams;

/// What can be chosen.
const KINDS: [&str; 8] = [
    "deposit",
    "withdrawal",
    "opening_balance",
    "reversal",
    "transfer",
    "transfer_sent",
    "transfer_received",
    "transfer_returned",
];

/// Which part of the history.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Entries in one page, 1 to 100; 20 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
    /// Booked at or after this moment (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Booked before this moment (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// `deposit`, `withdrawal`, `opening_balance`, `reversal`, `transfer` or one of its parts `transfer_sent`,
    /// `transfer_received` and `transfer_returned`; all when absent.
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// What is asked for, from the address of the request.
///
/// # Errors
/// INVALID_REQUEST naming the parameter.
pub(super) fn question(account: AccountNumber, uri: &Uri) -> Result<HistoryQuestion, Problem> {
    let Query(parameters) = Query::<Parameters>::try_from_uri(uri).map_err(|wrong| {
        // All values are text, so only a name can be wrong: unknown, or there twice.
        let text = wrong.body_text();
        let field = text.split('`').nth(1).map(str::to_owned);
        Problem::new(
            ErrorCode::InvalidRequest,
            "a parameter is unknown or comes twice; there are `limit`, `cursor`, `from`, `to` and `type`",
        )
        .with_field(field)
    })?;
    let page_size = match parameters.limit {
        None => limits::DEFAULT_PAGE_SIZE,
        Some(text) => match text.parse() {
            Ok(limit @ 1..=limits::PAGE_SIZE) => limit,
            _ => {
                let what = format!("must be a number from 1 to {}", limits::PAGE_SIZE);
                return Err(Problem::field(ErrorCode::InvalidRequest, "limit", what));
            }
        },
    };
    Ok(HistoryQuestion {
        account,
        page_size,
        cursor: cursor(parameters.cursor)?,
        from: moment("from", parameters.from)?,
        to: moment("to", parameters.to)?,
        kind: kind(parameters.kind)?,
    })
}

fn cursor(text: Option<String>) -> Result<String, Problem> {
    match text {
        // Empty means the newest page on the way to the branch; who sends it would read that page for ever.
        Some(text) if text.is_empty() => {
            let what = "must be the `next_cursor` of a page, or absent for the newest";
            Err(Problem::field(ErrorCode::InvalidRequest, "cursor", what))
        }
        text => Ok(text.unwrap_or_default()),
    }
}

fn moment(field: &str, text: Option<String>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match Timestamp::parse(&text) {
        Some(moment) => Ok(Some(moment)),
        None => {
            let what = "must be a moment in RFC 3339, such as 2026-11-21T09:00:00Z";
            Err(Problem::field(ErrorCode::InvalidRequest, field, what))
        }
    }
}

fn kind(text: Option<String>) -> Result<String, Problem> {
    match text.as_deref() {
        None => Ok(String::new()),
        Some(kind) if KINDS.contains(&kind) => Ok(text.unwrap_or_default()),
        Some(_) => {
            let what = format!("must be one of {}", KINDS.join(", "));
            Err(Problem::field(ErrorCode::InvalidRequest, "type", what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_a_question_within_bounds_or_a_refusal_of_the_request() {
        let account: AccountNumber = "0001000000000145".parse().expect("a number");
        let words = ["limit", "cursor", "from", "to", "type", "=", "&", "7", "2026-11-21T09:00:00Z", "deposit", "%"];
        bolero::check!().with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(choices, bytes)| {
            // Words of the language in any order, so that more than names is reached, and then any bytes.
            let known: String = choices.iter().map(|choice| words[usize::from(*choice) % words.len()]).collect();
            for query in [known, String::from_utf8_lossy(bytes).into_owned()] {
                let Ok(uri) = format!("/?{query}").parse::<Uri>() else { continue };
                match question(account, &uri) {
                    Ok(question) => {
                        assert!((1..=limits::PAGE_SIZE).contains(&question.page_size), "{query}");
                        assert!(question.kind.is_empty() || KINDS.contains(&&*question.kind), "{query}");
                        assert!(!question.cursor.is_empty() || !query.contains("cursor"), "{query}");
                    }
                    Err(problem) => assert_eq!(problem.code(), ErrorCode::InvalidRequest, "{query}"),
                }
            }
        });
    }
}
