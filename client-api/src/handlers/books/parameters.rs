//! The query parameters of reports about the whole bank.

use crate::problem::Problem;
use axum::extract::Query;
use axum::http::Uri;
use bank_proto::ErrorCode;
use serde::Deserialize;
use utoipa::IntoParams;

/// Which books.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// The `token` of an earlier answer: the same books again; now when absent.
    token: Option<String>,
}

/// The token in the address; empty for now.
///
/// # Errors
/// INVALID_REQUEST naming the parameter.
pub(super) fn token(uri: &Uri) -> Result<String, Problem> {
    let parameters = Query::<Parameters>::try_from_uri(uri);
    let Query(parameters) = parameters.map_err(|wrong| {
        // The one value is text, so only a name can be wrong: unknown, or there twice.
        let field = wrong.body_text().split('`').nth(1).map(str::to_owned);
        Problem::new(ErrorCode::InvalidRequest, "a parameter is unknown or comes twice; there is `token`")
            .with_field(field)
    })?;
    match parameters.token {
        Some(text) if text.is_empty() => {
            let what = "must be the `token` of an earlier answer, or absent for now";
            Err(Problem::field(ErrorCode::InvalidRequest, "token", what))
        }
        text => Ok(text.unwrap_or_default()),
    }
}
