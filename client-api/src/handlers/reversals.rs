//! Reversals: taking a posted transaction back.

use crate::answer::{self, Reversal};
use crate::app::{App, Caller};
use crate::bank::Operation;
use crate::fields;
use crate::handlers::path::TransactionPath;
use crate::json::{self, OptionalJsonBody};
use crate::openapi::{WriteHeaders, WriteProblems};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bank_proto::{TransactionId, limits};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What the statement says about it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReversalRequest, example = json!({"memo": "paid in twice"}))]
struct Body {
    /// Free text for the statement, up to 140 bytes.
    #[serde(default)]
    memo: Option<String>,
}

/// Takes a transaction back
///
/// A transaction of its own moves the same money the other way; nothing is edited. A deposit, a
/// withdrawal, an opening balance or a transfer can be reversed once, for ever; what was refused, moved no
/// money or is a reversal itself cannot. Refused when whoever must give the money back does not have it. A
/// transfer to another branch is sent back by that branch: until the money is here the answer is 202, and the
/// same Idempotency-Key asks again.
#[utoipa::path(
    post, path = "/v1/transactions/{id}/reversal", tag = "Transactions",
    params(("id" = String, Path, description = "The transaction_id of what is to be reversed"), WriteHeaders),
    request_body = Option<Body>,
    responses(
        (status = 200, description = "The money is back; with the balance right after it", body = Reversal),
        (status = 202, description = "Another branch is to send it back; ask again under the same key", body = Reversal),
        WriteProblems
    )
)]
pub(crate) async fn order(
    State(app): State<Arc<App>>,
    caller: Caller,
    TransactionPath(original): TransactionPath,
    body: OptionalJsonBody,
) -> Result<Response, Problem> {
    let operation = operation(original, body.parse()?)?;
    let replied = app.bank.execute(operation, &caller).await?;
    Ok(answer::reply(StatusCode::OK, &replied))
}

fn operation(original: TransactionId, body: Body) -> Result<Operation, Problem> {
    Ok(Operation::Reverse { original, memo: fields::bounded("memo", body.memo, limits::MEMO_BYTES)? })
}

pub(super) fn accepts(body: &[u8]) -> bool {
    let Ok(original) = "1-0123456789abcdef0123456789abcdef".parse() else { return false };
    json::parse(body).and_then(|body| operation(original, body)).is_ok()
}
