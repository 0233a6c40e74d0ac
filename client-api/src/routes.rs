//! The one route table, grouped by who calls.

use crate::app::App;
use crate::envelope;
use crate::handlers::{
    accounts, batches, books, branches, customers, history, holds, movements, operations, reversals,
};
use crate::handlers::{transaction, transfers};
use crate::openapi;
use crate::problem::Problem;
use axum::Router;
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use bank_proto::ErrorCode;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How long a browser remembers that only HTTPS is spoken here.
const ONE_YEAR: &str = "max-age=31536000";

/// Every route that is described in /openapi.json.
fn described() -> OpenApiRouter<Arc<App>> {
    let four_lines_of_curl =
        OpenApiRouter::new().routes(routes!(branches::initialize)).routes(routes!(transaction::transact));

    let customers_and_tellers = OpenApiRouter::new()
        .routes(routes!(customers::create))
        .routes(routes!(customers::get))
        .routes(routes!(accounts::open))
        .routes(routes!(accounts::get))
        .routes(routes!(history::list))
        .routes(routes!(movements::deposit))
        .routes(routes!(movements::withdraw))
        .routes(routes!(accounts::freeze))
        .routes(routes!(accounts::unfreeze))
        .routes(routes!(accounts::close))
        .routes(routes!(transfers::order))
        .routes(routes!(transfers::get))
        .routes(routes!(reversals::order))
        .routes(routes!(holds::place))
        .routes(routes!(holds::get))
        .routes(routes!(holds::capture))
        .routes(routes!(holds::release))
        .routes(routes!(batches::run));

    let bank_staff = OpenApiRouter::new()
        .routes(routes!(branches::list))
        .routes(routes!(branches::trial_balance))
        .routes(routes!(books::trial_balance))
        .routes(routes!(books::positions));

    OpenApiRouter::with_openapi(openapi::introduction())
        .merge(four_lines_of_curl)
        .merge(customers_and_tellers)
        .merge(bank_staff)
        .merge(operators())
        .routes(routes!(operations::openapi))
}

/// What tells of the program to those who run it.
fn operators() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(operations::livez))
        .routes(routes!(operations::readyz))
        .routes(routes!(operations::health))
        .routes(routes!(operations::metrics))
}

/// Whether a path of the table tells of the program rather than of the bank: open to all, and answered
/// however busy the program is.
pub(crate) fn is_operation(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/health" | "/metrics" | "/openapi.json") || path.starts_with("/docs")
}

/// The table's paths and methods, and its description.
pub(crate) fn description() -> (Vec<(String, Method)>, utoipa::openapi::OpenApi) {
    let (_, description) = described().split_for_parts();
    let mut routes = Vec::new();
    for (path, item) in &description.paths.paths {
        let methods = [(Method::GET, &item.get), (Method::POST, &item.post)];
        routes.extend(
            methods.into_iter().filter(|(_, declared)| declared.is_some()).map(|(method, _)| (path.clone(), method)),
        );
    }
    routes.extend(openapi::DOCS_PATHS.map(|path| (path.to_owned(), Method::GET)));
    (routes, description)
}

/// The table, ready to serve.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (router, _) = described().split_for_parts();
    router
        .merge(openapi::docs())
        .fallback(async || Problem::new(ErrorCode::NotFound, "no such page or route; /docs lists them"))
        .method_not_allowed_fallback(async || {
            Problem::new(ErrorCode::MethodNotAllowed, "this route answers to another method; see the Allow header")
        })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), envelope::wrap))
        .with_state(app)
}

/// The same behind HTTPS: browsers are told never to come by plain HTTP again.
pub(crate) fn https_from_now_on(router: Router) -> Router {
    router.layer(axum::middleware::map_response(async |mut answer: Response| {
        answer.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(ONE_YEAR));
        answer
    }))
}

/// The table of the operations door, ready to serve.
pub(crate) fn operations_router(app: Arc<App>) -> Router {
    let (router, _) = operators().split_for_parts();
    let elsewhere = "this door has /livez, /readyz, /health and /metrics; the bank is behind the other";
    refusing_else(router, app, ErrorCode::NotFound, elsewhere)
}

/// What those are answered who speak plain HTTP where HTTPS is spoken.
pub(crate) fn https_only(app: Arc<App>) -> Router {
    refusing_else(Router::new(), app, ErrorCode::InvalidRequest, "this door speaks HTTPS; ask again at https://")
}

fn refusing_else(router: Router<Arc<App>>, app: Arc<App>, code: ErrorCode, sentence: &'static str) -> Router {
    router
        .fallback(async move || Problem::new(code, sentence))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), envelope::wrap))
        .with_state(app)
}
