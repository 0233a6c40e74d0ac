//! What every request gets, whatever its handler: an id, a place in flight, sign-in, metrics, and its
//! problems written as JSON.

use crate::app::{App, Caller};
use crate::idempotency::{IDEMPOTENCY_KEY, IdempotencyKey};
use crate::problem::Problem;
use crate::request_id::{self, REQUEST_ID};
use crate::routes;
use crate::server::Crowded;
use crate::settings::Auth;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bank_proto::ErrorCode;
use bank_proto::traces::{Span, TRACEPARENT, TRACESTATE};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use tokio::time::Instant;

/// Wraps the handling of one request.
pub(crate) async fn wrap(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id::of(request.headers(), &app.entropy);
    let path = request.extensions().get::<MatchedPath>().cloned();
    let path = path.as_ref().map(MatchedPath::as_str);
    let route = app.metrics.route(path, request.method());

    // Every route that takes POST writes, or may.
    let key = match *request.method() {
        Method::POST => IdempotencyKey::of(request.headers(), &app.entropy).map(Some),
        _ => Ok(None),
    };
    let key_header = key.as_ref().ok().and_then(|key| key.as_ref().map(|key| key.header().clone()));

    let place = match request.extensions().get::<Crowded>() {
        Some(Crowded) => None,
        None => app.in_flight.enter(),
    };
    // Whoever is refused for want of a place costs no step.
    let traced = path.filter(|path| place.is_some() && !routes::is_operation(path));
    let mut span = traced.and_then(|path| enter(&app, path, &request));
    let refusal = match key {
        _ if !names_host(&request) => {
            Some(Problem::new(ErrorCode::InvalidRequest, "send the header Host once; HTTP/1.1 requires it"))
        }
        _ if path.is_some_and(|path| needs_sign_in(&app, path)) => {
            Some(Problem::new(ErrorCode::Unauthenticated, "say who you are; without that this bank tells nothing"))
        }
        Err(refusal) => Some(refusal),
        Ok(_) if place.is_none() && !path.is_some_and(routes::is_operation) => {
            app.metrics.shed.increment(1);
            let refusal =
                Problem::new(ErrorCode::Overloaded, "too many requests are in work; nothing was done; try again");
            Some(refusal.with_retry_after(app.refusals.one_more()))
        }
        Ok(key) => {
            let trace = span.as_ref().map(Span::trace);
            request.extensions_mut().insert(Caller { request_id: request_id::text(&request_id).into(), key, trace });
            None
        }
    };
    let mut answer = match refusal {
        Some(refusal) => refusal.into_response(),
        None => run(next, request, &request_id).await,
    };
    if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
        problem.write(&mut answer, request_id::text(&request_id));
    }
    if answer.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(request_id = request_id::text(&request_id), route = path, "answered with an internal error");
    }
    if let Some(span) = &mut span {
        span.set("http.response.status_code", i64::from(answer.status().as_u16()));
        span.set("florin.request_id", request_id::text(&request_id).to_owned());
        if answer.status().is_server_error() {
            span.fail("the bank could not answer");
        }
    }
    if let Some(key) = key_header {
        answer.headers_mut().insert(IDEMPOTENCY_KEY, key);
    }
    let headers = answer.headers_mut();
    headers.insert(REQUEST_ID, request_id);
    // Balances are nobody's to keep on the way.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    app.metrics.record(route, answer.status(), started.elapsed());
    answer
}

/// The step that a request is, when it is sampled.
fn enter(app: &App, path: &str, request: &Request) -> Option<Span> {
    let text = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let mut span = app.traces.enter("request", text(TRACEPARENT), text(TRACESTATE))?;
    span.rename(format!("{} {path}", request.method()));
    span.set("http.request.method", request.method().as_str().to_owned());
    span.set("http.route", path.to_owned());
    Some(span)
}

/// HTTP/1.1 requires exactly one Host (RFC 9112, 3.2); older callers may leave it out.
fn names_host(request: &Request) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => true,
        (None, _) => request.version() == Version::HTTP_10,
        (Some(_), Some(_)) => false,
    }
}

fn needs_sign_in(app: &App, path: &str) -> bool {
    app.auth == Auth::Required && !routes::is_operation(path)
}

/// Runs the handler; a panic in it becomes a problem, and only this request is lost.
async fn run(next: Next, request: Request, request_id: &HeaderValue) -> Response {
    let mut handling = pin!(next.run(request));
    let outcome =
        std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| handling.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        });
    match outcome.await {
        Ok(answer) => answer,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text");
            tracing::error!(request_id = request_id::text(request_id), panic = text, "a handler panicked");
            Problem::internal().into_response()
        }
    }
}
