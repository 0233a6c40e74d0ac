//! Customers.

use crate::answer::{self, Customer};
use crate::app::{App, Caller};
use crate::bank::Operation;
use crate::fields;
use crate::handlers::path::CustomerPath;
use crate::json::{self, JsonBody};
use crate::openapi::{ReadProblems, WriteHeaders, WriteProblems};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bank_proto::{CustomerId, limits};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Who becomes a customer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateCustomerRequest, example = json!({"customer_id": 7, "name": "Ada Lovelace"}))]
struct Body {
    /// Chosen by the caller: 1 to 9007199254740991. It decides the home branch.
    #[schema(value_type = i64, minimum = 1)]
    #[serde(deserialize_with = "fields::customer_id")]
    customer_id: CustomerId,
    /// Up to 140 bytes. Kept apart from the books, so that it can be erased.
    #[serde(default)]
    name: Option<String>,
}

/// Registers a customer
///
/// At its home branch, without an account. A first deposit does so by itself; this adds a name.
#[utoipa::path(
    post, path = "/v1/customers", tag = "Customers", params(WriteHeaders), request_body = Body,
    responses((status = 201, description = "Registered", body = Customer), WriteProblems)
)]
pub(crate) async fn create(State(app): State<Arc<App>>, caller: Caller, body: JsonBody) -> Result<Response, Problem> {
    let operation = operation(body.parse()?)?;
    let replied = app.bank.execute(operation, &caller).await?;
    Ok(answer::reply(StatusCode::CREATED, &replied))
}

fn operation(body: Body) -> Result<Operation, Problem> {
    let name = fields::bounded("name", body.name, limits::NAME_BYTES)?;
    Ok(Operation::CreateCustomer { customer: body.customer_id, name })
}

pub(super) fn accepts(body: &[u8]) -> bool {
    json::parse(body).and_then(operation).is_ok()
}

/// A customer with its accounts
#[utoipa::path(
    get, path = "/v1/customers/{id}", tag = "Customers", params(("id" = i64, Path, description = "The customer")),
    responses((status = 200, description = "As it is now", body = Customer), ReadProblems)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    CustomerPath(customer): CustomerPath,
) -> Result<Response, Problem> {
    let replied = app.bank.execute(Operation::GetCustomer { customer }, &caller).await?;
    Ok(answer::reply(StatusCode::OK, &replied))
}
