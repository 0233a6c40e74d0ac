//! Branches: opening their books, listing them, and their trial balance.

use crate::answer::{self, Branches, InitializedBranch, Reply, TrialBalance};
use crate::app::{App, Caller};
use crate::bank::Operation;
use crate::fields;
use crate::handlers::path::BranchPath;
use crate::json::{self, JsonBody};
use crate::openapi::{ReadProblems, WriteHeaders, WriteProblems};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bank_proto::Currency;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

/// Which branch to open, and with how much.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InitializeBranchRequest, example = json!({"branch_id": 1, "initial_balance": 1000}))]
struct Body<'a> {
    /// 1 to the bank's number of branches.
    #[schema(minimum = 1)]
    #[serde(deserialize_with = "fields::branch_number")]
    branch_id: i64,
    /// In USD, a number or a decimal string; 1000 when absent, 0 is allowed.
    #[schema(value_type = Option<crate::openapi::Amount>)]
    #[serde(borrow, default)]
    initial_balance: Option<&'a RawValue>,
}

/// Opens a branch's books
///
/// And an account with the initial balance for the customer whose number is the branch's, funded from the
/// branch's capital. A repeat changes nothing.
#[utoipa::path(
    post, path = "/initialize_branch", tag = "The counter", params(WriteHeaders), request_body = Body,
    responses(
        (status = 201, description = "Opened", body = InitializedBranch),
        (status = 200, description = "It was open already; nothing changed", body = InitializedBranch,
         example = json!({"result": "Branch already exists", "branch_id": 1, "created": false})),
        WriteProblems
    )
)]
pub(crate) async fn initialize(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: JsonBody,
) -> Result<Response, Problem> {
    let operation = operation(body.parse()?)?;
    let replied = app.bank.execute(operation, &caller).await?;
    let status = match &replied.reply {
        Reply::Branch(branch) if !branch.created => StatusCode::OK,
        _ => StatusCode::CREATED,
    };
    Ok(answer::reply(status, &replied))
}

fn operation(body: Body<'_>) -> Result<Operation, Problem> {
    let initial_balance = fields::amount_or_zero("initial_balance", body.initial_balance, Currency::USD)?;
    Ok(Operation::InitializeBranch { branch: fields::branch(body.branch_id)?, initial_balance })
}

pub(super) fn accepts(body: &[u8]) -> bool {
    json::parse(body).and_then(operation).is_ok()
}

/// Every branch of the bank
#[utoipa::path(
    get, path = "/v1/branches", tag = "Branches",
    responses((status = 200, description = "In order; one whose server does not answer is unreachable", body = Branches), ReadProblems)
)]
pub(crate) async fn list(State(app): State<Arc<App>>, caller: Caller) -> Response {
    let branches = app.bank.whole(&caller).await.branches;
    answer::json(StatusCode::OK, &Branches { branches })
}

/// A branch's books
///
/// The sums of all accounts by kind and currency; debits equal credits in every currency.
#[utoipa::path(
    get, path = "/v1/branches/{id}/trial-balance", tag = "Branches", params(("id" = i64, Path, description = "The branch")),
    responses((status = 200, description = "As of one moment", body = TrialBalance), ReadProblems)
)]
pub(crate) async fn trial_balance(
    State(app): State<Arc<App>>,
    caller: Caller,
    BranchPath(branch): BranchPath,
) -> Result<Response, Problem> {
    let books = app.bank.trial_balance(branch, &caller).await?;
    Ok(answer::json(StatusCode::OK, &books))
}
