//! For those who run the bank: is it alive, ready, healthy, and how busy.

use crate::answer::{self, Audit, Branch, Server, WholeBank};
use crate::app::{App, Caller};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bank_proto::ErrorCode;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// How the program is.
#[derive(Serialize, ToSchema)]
struct Status {
    status: &'static str,
}

/// Whether the process works; depends on nothing else
#[utoipa::path(get, path = "/livez", tag = "Operations", responses((status = 200, description = "It does", body = Status)))]
pub(crate) async fn livez() -> Response {
    answer::json(StatusCode::OK, &Status { status: "alive" })
}

/// Whether requests may be sent here
///
/// Ready while at least one branch server is reached: a bank with one branch down still serves all the
/// others. A server that is stopping takes no connections at all.
#[utoipa::path(
    get, path = "/readyz", tag = "Operations",
    responses((status = 200, description = "Send requests", body = Status),
              (status = 503, description = "BRANCH_UNAVAILABLE", body = crate::problem::ProblemBody,
               content_type = "application/problem+json"))
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    if !app.bank.lines().iter().any(|line| line.connected) {
        return Err(Problem::new(ErrorCode::BranchUnavailable, "no branch server is reached yet"));
    }
    Ok(answer::json(StatusCode::OK, &Status { status: "ready" }))
}

/// How every branch is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `healthy`, or `unhealthy` when a branch refuses to serve or is not reached, a server's disk is full, or the
    /// books do not agree.
    status: &'static str,
    branches: Vec<Branch>,
    servers: Vec<Server>,
    audit: Audit,
}

/// How every branch is
///
/// A branch not yet initialized is healthy; one that refuses to serve, or whose server does not answer,
/// makes this 503 (but not /readyz), and so do a disk on which no branch takes orders and books of the whole
/// bank that do not agree.
#[utoipa::path(
    get, path = "/health", tag = "Operations",
    responses((status = 200, description = "All serve", body = Health),
              (status = 503, description = "Some do not", body = Health))
)]
pub(crate) async fn health(State(app): State<Arc<App>>, caller: Caller) -> Response {
    let bank = app.bank.whole(&caller).await;
    let (code, status) =
        if bank.is_healthy() { (StatusCode::OK, "healthy") } else { (StatusCode::SERVICE_UNAVAILABLE, "unhealthy") };
    let WholeBank { branches, servers, audit } = bank;
    answer::json(code, &Health { status, branches, servers, audit })
}

/// Numbers for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "Operations",
    responses((status = 200, description = "Text format 0.0.4", body = String, content_type = "text/plain"))
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.render(&app);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// This description
#[utoipa::path(
    get, path = "/openapi.json", tag = "Operations",
    responses((status = 200, description = "OpenAPI 3.1", body = Object))
)]
pub(crate) async fn openapi(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.openapi.clone()).into_response()
}
