//! Accounts: opening, reading, freezing, closing.

use crate::answer::{self, Account};
use crate::app::{App, Caller};
use crate::bank::{AccountChange, Operation, Product};
use crate::fields;
use crate::handlers::path::AccountPath;
use crate::json::{self, EmptyBody, JsonBody};
use crate::openapi::{ReadProblems, WriteHeaders, WriteProblems};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bank_proto::{AccountNumber, Currency, CustomerId, ErrorCode, limits};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use utoipa::ToSchema;

/// What account to open, for whom.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OpenAccountRequest, example = json!({"customer_id": 7, "product": "savings", "currency": "EUR"}))]
struct Body<'a> {
    /// The first holder; its home branch keeps the account.
    #[schema(value_type = i64, minimum = 1)]
    #[serde(deserialize_with = "fields::customer_id")]
    customer_id: CustomerId,
    /// `checking` when absent.
    #[serde(default, deserialize_with = "fields::optional_word")]
    product: Option<Product>,
    /// ISO 4217; USD when absent.
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    currency: Option<Cow<'a, str>>,
    /// Further holders with equal rights, of any branch; up to 15.
    #[schema(value_type = Option<Vec<i64>>)]
    #[serde(default)]
    joint_holders: Option<Vec<Holder>>,
    /// How far below zero the balance may go; 0 when absent.
    #[schema(value_type = Option<crate::openapi::Amount>)]
    #[serde(borrow, default)]
    overdraft_limit: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Holder(#[serde(deserialize_with = "fields::customer_id")] CustomerId);

/// Opens an account at zero
#[utoipa::path(
    post, path = "/v1/accounts", tag = "Accounts", params(WriteHeaders), request_body = Body,
    responses((status = 201, description = "Opened", body = Account), WriteProblems)
)]
pub(crate) async fn open(State(app): State<Arc<App>>, caller: Caller, body: JsonBody) -> Result<Response, Problem> {
    let operation = operation(body.parse()?)?;
    let replied = app.bank.execute(operation, &caller).await?;
    Ok(answer::reply(StatusCode::CREATED, &replied))
}

fn operation(body: Body<'_>) -> Result<Operation, Problem> {
    let product = body.product.unwrap_or(Product::Checking);
    let currency = fields::currency(body.currency.as_deref())?.unwrap_or(Currency::USD);
    let overdraft_limit = fields::amount_or_zero("overdraft_limit", body.overdraft_limit, currency)?;
    let joint_holders = joint_holders(body.customer_id, body.joint_holders.unwrap_or_default())?;
    Ok(Operation::OpenAccount { customer: body.customer_id, product, currency, joint_holders, overdraft_limit })
}

fn joint_holders(first: CustomerId, others: Vec<Holder>) -> Result<Vec<CustomerId>, Problem> {
    let others: Vec<CustomerId> = others.into_iter().map(|Holder(holder)| holder).collect();
    let wrong = |what: String| Err(Problem::field(ErrorCode::InvalidCustomerId, "joint_holders", what));
    if others.len() >= limits::ACCOUNT_HOLDERS {
        return wrong(format!("has {} names; an account may have {} holders", others.len(), limits::ACCOUNT_HOLDERS));
    }
    let mut all = others.clone();
    all.push(first);
    all.sort_unstable();
    match all.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => wrong(format!("names customer {} twice", pair[0])),
        None => Ok(others),
    }
}

pub(super) fn accepts(body: &[u8]) -> bool {
    json::parse(body).and_then(operation).is_ok()
}

/// An account as it is now
#[utoipa::path(
    get, path = "/v1/accounts/{number}", tag = "Accounts", params(("number" = String, Path, description = "The account")),
    responses((status = 200, description = "As it is now", body = Account), ReadProblems)
)]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    caller: Caller,
    AccountPath(account): AccountPath,
) -> Result<Response, Problem> {
    let replied = app.bank.execute(Operation::GetAccount { account }, &caller).await?;
    Ok(answer::reply(StatusCode::OK, &replied))
}

/// Refuses every later movement until the account is unfrozen
#[utoipa::path(
    post, path = "/v1/accounts/{number}/freeze", tag = "Accounts",
    params(("number" = String, Path, description = "The account"), WriteHeaders),
    responses((status = 200, description = "Frozen", body = Account), WriteProblems)
)]
pub(crate) async fn freeze(
    State(app): State<Arc<App>>,
    caller: Caller,
    AccountPath(account): AccountPath,
    _: EmptyBody,
) -> Result<Response, Problem> {
    change(&app, &caller, account, AccountChange::Freeze).await
}

/// Takes a freeze back
#[utoipa::path(
    post, path = "/v1/accounts/{number}/unfreeze", tag = "Accounts",
    params(("number" = String, Path, description = "The account"), WriteHeaders),
    responses((status = 200, description = "Open again", body = Account), WriteProblems)
)]
pub(crate) async fn unfreeze(
    State(app): State<Arc<App>>,
    caller: Caller,
    AccountPath(account): AccountPath,
    _: EmptyBody,
) -> Result<Response, Problem> {
    change(&app, &caller, account, AccountChange::Unfreeze).await
}

/// Closes an account whose balance is zero, for ever
#[utoipa::path(
    post, path = "/v1/accounts/{number}/close", tag = "Accounts",
    params(("number" = String, Path, description = "The account"), WriteHeaders),
    responses((status = 200, description = "Closed", body = Account), WriteProblems)
)]
pub(crate) async fn close(
    State(app): State<Arc<App>>,
    caller: Caller,
    AccountPath(account): AccountPath,
    _: EmptyBody,
) -> Result<Response, Problem> {
    change(&app, &caller, account, AccountChange::Close).await
}

async fn change(
    app: &App,
    caller: &Caller,
    account: AccountNumber,
    change: AccountChange,
) -> Result<Response, Problem> {
    let replied = app.bank.execute(Operation::ChangeAccount { account, change }, caller).await?;
    Ok(answer::reply(StatusCode::OK, &replied))
}
