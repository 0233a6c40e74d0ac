//! The books of the whole bank, and what its branches owe each other.

mod parameters;

use crate::answer::{self, BankTrialBalance, Positions};
use crate::app::{App, Caller};
use crate::openapi::ReadProblems;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use parameters::{Parameters, token};
use std::sync::Arc;

/// The books of the whole bank
///
/// The sums of all branches at moments that fit together, without stopping any of them: nothing has arrived in
/// them that has not left. The `token` tells the same books again, and what the branches owed each other then.
/// An old token is read from the journals, which takes long in a large bank.
#[utoipa::path(
    get, path = "/v1/trial-balance", tag = "Branches", params(Parameters),
    responses((status = 200, description = "Of every branch", body = BankTrialBalance), ReadProblems)
)]
pub(crate) async fn trial_balance(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    let books = app.bank.bank_trial_balance(token(&uri)?, &caller).await?;
    Ok(answer::json(StatusCode::OK, &books))
}

/// What every two branches owe each other
///
/// And what is under way between them, at moments that fit together; as in `/v1/trial-balance`.
#[utoipa::path(
    get, path = "/v1/positions", tag = "Branches", params(Parameters),
    responses((status = 200, description = "Of every two that ever exchanged money", body = Positions), ReadProblems)
)]
pub(crate) async fn positions(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Result<Response, Problem> {
    let positions = app.bank.positions(token(&uri)?, &caller).await?;
    Ok(answer::json(StatusCode::OK, &positions))
}
