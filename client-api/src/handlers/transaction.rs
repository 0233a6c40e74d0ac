//! POST /transaction: what a customer does at the counter, in one request.

use crate::answer::{self, Balance, Receipt, Transfer};
use crate::app::{App, Caller};
use crate::bank::{self, Movement, Operation, Target};
use crate::fields::{self, Entries};
use crate::json::{self, JsonBody};
use crate::openapi::{TransferProblems, WriteHeaders};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bank_proto::{Currency, CustomerId, ErrorCode, limits};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use utoipa::ToSchema;

/// A deposit, a withdrawal, a transfer or a question for the balance.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TransactionRequest, examples(
    json!({"customer_id": 1, "type": "deposit", "amount": 100}),
    json!({"customer_id": 1, "type": "transfer", "amount": 25, "to_customer_id": 2})
))]
struct Body<'a> {
    /// 1 to 9007199254740991.
    #[schema(value_type = i64, minimum = 1)]
    #[serde(deserialize_with = "fields::customer_id")]
    customer_id: CustomerId,
    #[serde(rename = "type", deserialize_with = "fields::word")]
    kind: TransactionType,
    /// Greater than zero, a number or a decimal string; absent in a query.
    #[schema(value_type = Option<crate::openapi::Amount>)]
    #[serde(borrow, default)]
    amount: Option<&'a RawValue>,
    /// ISO 4217; USD when absent.
    #[schema(value_type = Option<String>, example = "USD")]
    #[serde(borrow, default)]
    currency: Option<Cow<'a, str>>,
    /// Free text for the statement, up to 140 bytes.
    #[serde(default)]
    memo: Option<String>,
    /// Free data, keys and values together up to 1024 bytes.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    #[serde(default)]
    metadata: Option<Entries>,
    /// In a transfer: who is paid. Give this or `to_account_number`.
    #[schema(value_type = Option<i64>, minimum = 1)]
    #[serde(default, deserialize_with = "fields::optional_customer_id")]
    to_customer_id: Option<CustomerId>,
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    to_account_number: Option<Cow<'a, str>>,
    /// In a transfer: how long to wait for its end, 0 to 30000 ms but no longer than a request may take; 2000 when
    /// absent.
    #[serde(default)]
    wait_ms: Option<i64>,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TransactionType {
    Deposit,
    Withdraw,
    Query,
    Transfer,
}

/// A receipt, a transfer, or a balance when the balance was asked for.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the answer; the branch's reply is written as it comes")]
enum TransactionAnswer {
    Receipt(Receipt),
    Balance(Balance),
    Transfer(Transfer),
}

/// Deposits, withdraws, transfers, or tells the balance
///
/// Uses the customer's oldest open checking account in the currency; a first deposit opens it. A transfer
/// answers when it has ended, or after `wait_ms` with how it stands.
#[utoipa::path(
    post, path = "/transaction", tag = "The counter", params(WriteHeaders), request_body = Body,
    responses(
        (status = 200, description = "Done, with the balance right after it", body = TransactionAnswer),
        (status = 202, description = "A transfer that is still under way", body = Transfer,
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
pub(crate) async fn transact(State(app): State<Arc<App>>, caller: Caller, body: JsonBody) -> Result<Response, Problem> {
    let operation = operation(body.parse()?)?;
    let replied = app.bank.execute(operation, &caller).await?;
    Ok(answer::reply(StatusCode::OK, &replied))
}

fn operation(body: Body<'_>) -> Result<Operation, Problem> {
    let of_transfers = [
        ("to_customer_id", body.to_customer_id.is_some()),
        ("to_account_number", body.to_account_number.is_some()),
        ("wait_ms", body.wait_ms.is_some()),
    ];
    let said = of_transfers.into_iter().find(|(_, is_said)| *is_said);
    if let (Some((field, _)), true) = (said, body.kind != TransactionType::Transfer) {
        let what = "has no meaning in a deposit, a withdrawal or a query";
        return Err(Problem::field(ErrorCode::InvalidRequest, field, what));
    }
    let target = Target::Customer(body.customer_id);
    let currency = fields::currency(body.currency.as_deref())?.unwrap_or(Currency::USD);
    let movement = |body: Body<'_>| {
        Ok(Movement {
            target,
            amount: fields::positive_amount(body.amount, Some(currency))?,
            currency: Some(currency),
            memo: fields::bounded("memo", body.memo, limits::MEMO_BYTES)?,
            metadata: fields::metadata(body.metadata)?,
        })
    };
    match body.kind {
        TransactionType::Deposit => movement(body).map(Operation::Deposit),
        TransactionType::Withdraw => movement(body).map(Operation::Withdraw),
        TransactionType::Transfer => {
            let names = ["to_customer_id", "to_account_number"];
            let payee = fields::target(names, body.to_customer_id, body.to_account_number.as_deref())?;
            let wait_ms = fields::wait_ms(body.wait_ms)?;
            Ok(Operation::Transfer(bank::Transfer { movement: movement(body)?, payee, wait_ms }))
        }
        TransactionType::Query => {
            fields::no_amount(body.amount)?;
            Ok(Operation::Query { target, currency: Some(currency) })
        }
    }
}

pub(super) fn accepts(body: &[u8]) -> bool {
    json::parse(body).and_then(operation).is_ok()
}
