//! Cash in and out of a named account.

use crate::answer::{self, Receipt};
use crate::app::{App, Caller};
use crate::bank::{Movement, Operation, Target};
use crate::fields::{self, Entries};
use crate::handlers::path::AccountPath;
use crate::json::{self, JsonBody};
use crate::openapi::{WriteHeaders, WriteProblems};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bank_proto::{AccountNumber, limits};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use utoipa::ToSchema;

/// How much, and what the statement says about it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MovementRequest, example = json!({"amount": "25.50", "memo": "pocket money"}))]
struct Body<'a> {
    /// Greater than zero, a number or a decimal string.
    #[schema(value_type = crate::openapi::Amount)]
    #[serde(borrow, default)]
    amount: Option<&'a RawValue>,
    /// ISO 4217; the account's when absent. Another one is refused.
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    currency: Option<Cow<'a, str>>,
    /// Free text for the statement, up to 140 bytes.
    #[serde(default)]
    memo: Option<String>,
    /// Free data, keys and values together up to 1024 bytes.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    #[serde(default)]
    metadata: Option<Entries>,
}

/// Pays cash in
#[utoipa::path(
    post, path = "/v1/accounts/{number}/deposits", tag = "Accounts",
    params(("number" = String, Path, description = "The account"), WriteHeaders), request_body = Body,
    responses((status = 200, description = "Booked, with the balance right after it", body = Receipt), WriteProblems)
)]
pub(crate) async fn deposit(
    State(app): State<Arc<App>>,
    caller: Caller,
    AccountPath(account): AccountPath,
    body: JsonBody,
) -> Result<Response, Problem> {
    let operation = Operation::Deposit(movement(account, body.parse()?)?);
    let replied = app.bank.execute(operation, &caller).await?;
    Ok(answer::reply(StatusCode::OK, &replied))
}

/// Pays cash out
#[utoipa::path(
    post, path = "/v1/accounts/{number}/withdrawals", tag = "Accounts",
    params(("number" = String, Path, description = "The account"), WriteHeaders), request_body = Body,
    responses((status = 200, description = "Booked, with the balance right after it", body = Receipt), WriteProblems)
)]
pub(crate) async fn withdraw(
    State(app): State<Arc<App>>,
    caller: Caller,
    AccountPath(account): AccountPath,
    body: JsonBody,
) -> Result<Response, Problem> {
    let operation = Operation::Withdraw(movement(account, body.parse()?)?);
    let replied = app.bank.execute(operation, &caller).await?;
    Ok(answer::reply(StatusCode::OK, &replied))
}

fn movement(account: AccountNumber, body: Body<'_>) -> Result<Movement, Problem> {
    let currency = fields::currency(body.currency.as_deref())?;
    Ok(Movement {
        target: Target::Account(account),
        amount: fields::positive_amount(body.amount, currency)?,
        currency,
        memo: fields::bounded("memo", body.memo, limits::MEMO_BYTES)?,
        metadata: fields::metadata(body.metadata)?,
    })
}

pub(super) fn accepts(body: &[u8]) -> bool {
    let Ok(account) = "0001000000000145".parse() else { return false };
    json::parse(body).and_then(|body| movement(account, body)).is_ok()
}
