//! Transfers: money from any account of the bank to any other.

use crate::answer::{self, Transfer};
use crate::app::{App, Caller};
use crate::bank::{self, Movement, Operation};
use crate::fields::{self, Entries};
use crate::handlers::path::TransferPath;
use crate::json::{self, JsonBody};
use crate::openapi::{ReadProblems, TransferProblems, WriteHeaders};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bank_proto::{Currency, CustomerId, limits};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use utoipa::ToSchema;

/// Who pays whom how much.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TransferRequest, example = json!({"from_customer_id": 1, "to_customer_id": 2, "amount": "25", "memo": "rent"}))]
struct Body<'a> {
    /// The payer's oldest open checking account in the currency. Give this or `from_account_number`.
    #[schema(value_type = Option<i64>, minimum = 1)]
    #[serde(default, deserialize_with = "fields::optional_customer_id")]
    from_customer_id: Option<CustomerId>,
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    from_account_number: Option<Cow<'a, str>>,
    /// The payee's. Give this or `to_account_number`. A transfer never opens an account.
    #[schema(value_type = Option<i64>, minimum = 1)]
    #[serde(default, deserialize_with = "fields::optional_customer_id")]
    to_customer_id: Option<CustomerId>,
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    to_account_number: Option<Cow<'a, str>>,
    /// Greater than zero, a number or a decimal string.
    #[schema(value_type = crate::openapi::Amount)]
    #[serde(borrow, default)]
    amount: Option<&'a RawValue>,
    /// ISO 4217; the account's when `from_account_number` is given, else USD when absent.
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    currency: Option<Cow<'a, str>>,
    /// Free text for both statements, up to 140 bytes.
    #[serde(default)]
    memo: Option<String>,
    /// Free data for the payer's statement, keys and values together up to 1024 bytes.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    #[serde(default)]
    metadata: Option<Entries>,
    /// How long to wait for the end, 0 to 30000 ms but no longer than a request may take; 2000 when absent.
    #[serde(default)]
    wait_ms: Option<i64>,
}

/// Moves money to another account
///
/// Whatever branches keep the two. Answers when the transfer has ended, or after `wait_ms` with how it
/// stands. What cannot be paid out is back at once, and the answer says why. The same again under its
/// Idempotency-Key, with any `wait_ms`, is answered with how the transfer stands by then.
#[utoipa::path(
    post, path = "/v1/transfers", tag = "Transfers", params(WriteHeaders), request_body = Body,
    responses(
        (status = 200, description = "The payee has the money", body = Transfer),
        (status = 202, description = "Still under way", body = Transfer,
         headers(("Location" = String, description = "/v1/transfers/ and the transaction_id: where to ask")),
         example = json!({
            "result": "pending", "transaction_id": "1-0123456789abcdef0123456789abcdef", "state": "PROCESSING",
            "customer_id": 1, "branch_id": 1, "account_number": "0001000000000145",
            "to_customer_id": 2, "to_branch_id": 2, "amount": "25.00", "currency": "USD", "balance": "1025.00",
            "booked_at": "2026-11-21T09:00:00.000000Z"
         })),
        TransferProblems
    )
)]
pub(crate) async fn order(State(app): State<Arc<App>>, caller: Caller, body: JsonBody) -> Result<Response, Problem> {
    let operation = operation(body.parse()?)?;
    let replied = app.bank.execute(operation, &caller).await?;
    Ok(answer::reply(StatusCode::OK, &replied))
}

/// How a transfer stands
#[utoipa::path(
    get, path = "/v1/transfers/{id}", tag = "Transfers",
    params(("id" = String, Path, description = "The transaction_id of the order")),
    responses(
        (status = 200, description = "As it stands now; one that has ended never changes again", body = Transfer,
         example = json!({
            "result": "failure", "transaction_id": "1-0123456789abcdef0123456789abcdef", "state": "FAILED",
            "reason": "ACCOUNT_FROZEN", "detail": "the payee's account is frozen and takes no movements",
            "customer_id": 1, "branch_id": 1, "account_number": "0001000000000145",
            "to_customer_id": 2, "to_branch_id": 2, "amount": "25.00", "currency": "USD", "balance": "1050.00",
            "booked_at": "2026-11-21T09:00:00.000000Z", "ended_at": "2026-11-21T09:00:00.002000Z"
         })),
        ReadProblems
    )
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    TransferPath(transfer): TransferPath,
) -> Result<Response, Problem> {
    let replied = app.bank.execute(Operation::GetTransfer { transfer }, &caller).await?;
    Ok(answer::json(StatusCode::OK, &replied.reply))
}

fn operation(body: Body<'_>) -> Result<Operation, Problem> {
    let from = ["from_customer_id", "from_account_number"];
    let target = fields::target(from, body.from_customer_id, body.from_account_number.as_deref())?;
    let to = ["to_customer_id", "to_account_number"];
    let payee = fields::target(to, body.to_customer_id, body.to_account_number.as_deref())?;
    let said = fields::currency(body.currency.as_deref())?;
    let currency = if body.from_customer_id.is_some() { said.or(Some(Currency::USD)) } else { said };
    let movement = Movement {
        target,
        amount: fields::positive_amount(body.amount, currency)?,
        currency,
        memo: fields::bounded("memo", body.memo, limits::MEMO_BYTES)?,
        metadata: fields::metadata(body.metadata)?,
    };
    Ok(Operation::Transfer(bank::Transfer { movement, payee, wait_ms: fields::wait_ms(body.wait_ms)? }))
}

pub(super) fn accepts(body: &[u8]) -> bool {
    json::parse(body).and_then(operation).is_ok()
}
