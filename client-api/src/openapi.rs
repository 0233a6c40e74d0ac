//! What /openapi.json says beside the routes themselves, and the page at /docs that shows it.

use crate::app::App;
use crate::problem::{Problem, ProblemBody};
use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bank_proto::ErrorCode;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::response::{Response as Described, ResponseBuilder};
use utoipa::openapi::{ContactBuilder, OpenApi as Description, Ref, RefOr};
use utoipa::{IntoParams, IntoResponses, OpenApi};
use utoipa_swagger_ui::Config;

/// The title page.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Florin",
        description = "A distributed branch bank. Amounts go in as JSON numbers or decimal strings and are always \
                       exact; they come out as decimal strings. Every write can be repeated safely under its \
                       Idempotency-Key. Errors are problem details (RFC 9457) with a stable `code`."
    ),
    components(schemas(ProblemBody))
)]
struct Introduction;

/// The description before any route is added to it.
pub(crate) fn introduction() -> Description {
    let mut description = Introduction::openapi();
    description.info.version = env!("CARGO_PKG_VERSION").to_owned();
    description.info.contact = Some(ContactBuilder::new().name(Some("Florin")).build());
    description
}

/// What every write takes beside its body.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct WriteHeaders {
    /// Any text up to 255 bytes that names this write for ever: repeating the request with it does nothing
    /// twice and gives the first answer again. Absent: one is made and comes back in the answer.
    #[param(rename = "Idempotency-Key", required = false)]
    _idempotency_key: String,
    /// Names the request in logs; made when absent.
    #[param(rename = "X-Request-Id", required = false)]
    _request_id: String,
}

/// How a read may fail.
pub(crate) struct ReadProblems;

/// How a write may fail.
pub(crate) struct WriteProblems;

/// How a write may fail that may be a transfer.
pub(crate) struct TransferProblems;

impl IntoResponses for ReadProblems {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        problems(&[400, 401, 404, 500, 503])
    }
}

impl IntoResponses for WriteProblems {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        problems(&[400, 401, 404, 409, 413, 415, 422, 500, 503])
    }
}

impl IntoResponses for TransferProblems {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let failed = format!(
            "{}; a transfer that has failed has `state` FAILED and the code once more as `reason`, and where the \
             payee is at fault `party` is payee, and the code may be BRANCH_NOT_FOUND, CUSTOMER_NOT_FOUND or \
             ACCOUNT_NOT_FOUND as well",
            codes_of(422)
        );
        let example = json!({
            "type": "urn:florin:problem:account-frozen", "title": "The account is frozen", "status": 422,
            "detail": "the payee's account is frozen and takes no movements", "code": "ACCOUNT_FROZEN",
            "success": false, "result": "failure",
            "transaction_id": "1-0123456789abcdef0123456789abcdef", "request_id": "7f3c",
            "balance": "1050.00", "currency": "USD", "party": "payee", "reason": "ACCOUNT_FROZEN", "state": "FAILED"
        });
        let mut described = WriteProblems::responses();
        described.insert("422".to_owned(), problem(failed, Some(example)));
        described
    }
}

/// One described answer per status, listing the codes that go with it.
fn problems(statuses: &[u16]) -> BTreeMap<String, RefOr<Described>> {
    statuses.iter().map(|status| (status.to_string(), problem(codes_of(*status), None))).collect()
}

fn codes_of(status: u16) -> String {
    let codes: Vec<&str> =
        ErrorCode::ALL.iter().filter(|code| code.http_status() == status).map(|code| code.as_str()).collect();
    codes.join(", ")
}

fn problem(description: String, example: Option<serde_json::Value>) -> RefOr<Described> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).example(example).build();
    RefOr::T(ResponseBuilder::new().description(description).content("application/problem+json", content).build())
}

/// Where the Swagger UI is.
pub(crate) const DOCS_PATHS: [&str; 3] = ["/docs", "/docs/", "/docs/{*file}"];

/// The Swagger UI, compiled in.
pub(crate) fn docs() -> Router<Arc<App>> {
    let [page, page_with_slash, file] = DOCS_PATHS;
    Router::new().route(page, get(front_page)).route(page_with_slash, get(front_page)).route(file, get(asset))
}

/// The page names its parts relative to itself, so at /docs it has to be told that they are below /docs/.
async fn front_page() -> Response {
    match utoipa_swagger_ui::serve("index.html", swagger_config()) {
        Ok(Some(page)) => {
            let page = String::from_utf8_lossy(&page.bytes).replacen("<head>", "<head><base href=\"/docs/\">", 1);
            Html(page).into_response()
        }
        _ => Problem::internal().into_response(),
    }
}

async fn asset(file: Result<Path<String>, PathRejection>) -> Response {
    let Ok(Path(file)) = file else { return no_file().into_response() };
    match utoipa_swagger_ui::serve(&file, swagger_config()) {
        Ok(Some(file)) => ([(header::CONTENT_TYPE, file.content_type)], file.bytes.into_owned()).into_response(),
        Ok(None) => no_file().into_response(),
        Err(failure) => {
            tracing::error!(error = %failure, file, "a file of the documentation cannot be served");
            Problem::internal().into_response()
        }
    }
}

fn no_file() -> Problem {
    Problem::new(ErrorCode::NotFound, "the documentation has no such file")
}

fn swagger_config() -> Arc<Config<'static>> {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/openapi.json")));
    Arc::clone(&CONFIG)
}

/// An exact amount in major units: a JSON number or a decimal string, without exponent.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(examples(json!("100.50"), json!(100)))]
#[expect(dead_code, reason = "describes both spellings; amounts are read from the JSON text itself")]
pub(crate) enum Amount {
    /// As in 100.5
    Number(f64),
    /// As in "100.50"
    Text(String),
}
