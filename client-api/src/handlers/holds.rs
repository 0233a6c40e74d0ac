//! Holds: money that is promised and still there.

mod body;

use crate::answer::{self, Hold, Transfer};
use crate::app::{App, Caller};
use crate::bank::Operation;
use crate::handlers::path::HoldPath;
use crate::json::{self, JsonBody, OptionalJsonBody};
use crate::openapi::{ReadProblems, TransferProblems, WriteHeaders, WriteProblems};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use body::{Capture, Place, Release};
use std::sync::Arc;

pub(super) use body::expires_in_seconds;

/// Holds money of an account
///
/// It stays on the account, and nothing else can take it, until the hold is captured, released, or its time is
/// over. Every limit counts it.
#[utoipa::path(
    post, path = "/v1/holds", tag = "Holds", params(WriteHeaders), request_body = Place,
    responses(
        (status = 201, description = "Held", body = Hold,
         headers(("Location" = String, description = "/v1/holds/ and the id: where to ask"))),
        WriteProblems
    )
)]
pub(crate) async fn place(State(app): State<Arc<App>>, caller: Caller, body: JsonBody) -> Result<Response, Problem> {
    let operation = body::place(body.parse()?)?;
    let replied = app.bank.execute(operation, &caller).await?;
    Ok(answer::reply(StatusCode::CREATED, &replied))
}

/// How a hold stands
#[utoipa::path(
    get, path = "/v1/holds/{id}", tag = "Holds", params(("id" = String, Path, description = "Its transaction_id")),
    responses((status = 200, description = "As it stands now; one that has ended never changes again", body = Hold), ReadProblems)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    HoldPath(hold): HoldPath,
) -> Result<Response, Problem> {
    let replied = app.bank.execute(Operation::GetHold { hold }, &caller).await?;
    Ok(answer::json(StatusCode::OK, &replied.reply))
}

/// Pays another account out of a hold
///
/// Whatever branch keeps it: a capture is a transfer in every way, and answers as one. Without an amount it takes
/// all that is left; with less, the rest is let go, unless `keep_rest` keeps it for further captures. Money that
/// comes back from another branch is on the account again, and not held.
#[utoipa::path(
    post, path = "/v1/holds/{id}/capture", tag = "Holds",
    params(("id" = String, Path, description = "The hold's transaction_id"), WriteHeaders), request_body = Capture,
    responses(
        (status = 200, description = "The payee has the money", body = Transfer),
        (status = 202, description = "Still under way", body = Transfer,
         headers(("Location" = String, description = "/v1/transfers/ and the transaction_id: where to ask"))),
        TransferProblems
    )
)]
pub(crate) async fn capture(
    State(app): State<Arc<App>>,
    caller: Caller,
    HoldPath(hold): HoldPath,
    body: JsonBody,
) -> Result<Response, Problem> {
    let operation = body::capture(hold, body.parse()?)?;
    let replied = app.bank.execute(operation, &caller).await?;
    Ok(answer::reply(StatusCode::OK, &replied))
}

/// Lets a hold go
#[utoipa::path(
    post, path = "/v1/holds/{id}/release", tag = "Holds",
    params(("id" = String, Path, description = "The hold's transaction_id"), WriteHeaders), request_body = Option<Release>,
    responses((status = 200, description = "What was left of it can be taken again", body = Hold), WriteProblems)
)]
pub(crate) async fn release(
    State(app): State<Arc<App>>,
    caller: Caller,
    HoldPath(hold): HoldPath,
    body: OptionalJsonBody,
) -> Result<Response, Problem> {
    let operation = body::release(hold, body.parse()?)?;
    let replied = app.bank.execute(operation, &caller).await?;
    Ok(answer::reply(StatusCode::OK, &replied))
}

pub(super) fn accepts(bytes: &[u8]) -> bool {
    let Ok(hold) = "1-0123456789abcdef0123456789abcdef".parse() else { return false };
    json::parse(bytes).and_then(body::place).is_ok()
        || json::parse(bytes).and_then(|body| body::capture(hold, body)).is_ok()
        || json::parse(bytes).and_then(|body| body::release(hold, body)).is_ok()
}
