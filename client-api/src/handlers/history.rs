//! An account's history.

mod parameters;

use crate::answer::{self, History};
use crate::app::{App, Caller};
use crate::handlers::path::AccountPath;
use crate::openapi::ReadProblems;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use parameters::{Parameters, question};
use std::sync::Arc;

/// An account's history, newest first
#[utoipa::path(
    get, path = "/v1/accounts/{number}/transactions", tag = "Accounts",
    params(("number" = String, Path, description = "The account"), Parameters),
    responses((status = 200, description = "One page; it may be short and still carry a cursor", body = History), ReadProblems)
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    AccountPath(account): AccountPath,
    uri: Uri,
) -> Result<Response, Problem> {
    let page = app.bank.history(question(account, &uri)?, &caller).await?;
    Ok(answer::json(StatusCode::OK, &page))
}
