//! What the bodies of requests about holds say.

use crate::bank::{self, Movement, Operation};
use crate::fields::{self, Entries};
use crate::problem::Problem;
use bank_proto::{Currency, CustomerId, ErrorCode, TransactionId, limits};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use utoipa::ToSchema;

/// Whose money, how much, for how long.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = HoldRequest, example = json!({"customer_id": 1, "amount": "80", "expires_in_seconds": 86400, "memo": "hotel"}))]
pub(super) struct Place<'a> {
    /// The customer's oldest open checking account in the currency. Give this or `account_number`.
    #[schema(value_type = Option<i64>, minimum = 1)]
    #[serde(default, deserialize_with = "fields::optional_customer_id")]
    customer_id: Option<CustomerId>,
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    account_number: Option<Cow<'a, str>>,
    /// Greater than zero, a number or a decimal string.
    #[schema(value_type = crate::openapi::Amount)]
    #[serde(borrow, default)]
    amount: Option<&'a RawValue>,
    /// ISO 4217; the account's when `account_number` is given, else USD when absent.
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    currency: Option<Cow<'a, str>>,
    /// For how long, 1 to 2678400 (31 days); 604800 (7 days) when absent.
    #[schema(minimum = 1, maximum = 2_678_400)]
    #[serde(default)]
    expires_in_seconds: Option<i64>,
    /// Free text, up to 140 bytes.
    #[serde(default)]
    memo: Option<String>,
    /// Free data, keys and values together up to 1024 bytes.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    #[serde(default)]
    metadata: Option<Entries>,
}

/// Whom to pay how much.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CaptureRequest, example = json!({"to_customer_id": 2, "amount": "62.50"}))]
pub(super) struct Capture<'a> {
    /// The payee. Give this or `to_account_number`. A capture never opens an account.
    #[schema(value_type = Option<i64>, minimum = 1)]
    #[serde(default, deserialize_with = "fields::optional_customer_id")]
    to_customer_id: Option<CustomerId>,
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    to_account_number: Option<Cow<'a, str>>,
    /// In the hold's currency, greater than zero, a number or a decimal string; all that is left when absent.
    #[schema(value_type = Option<crate::openapi::Amount>)]
    #[serde(borrow, default)]
    amount: Option<&'a RawValue>,
    /// Keeps the rest for further captures; it is let go when this is absent.
    #[serde(default)]
    keep_rest: bool,
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

/// What the journal says about it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReleaseRequest, example = json!({"memo": "the guest did not come"}))]
pub(super) struct Release {
    /// Free text, up to 140 bytes.
    #[serde(default)]
    memo: Option<String>,
}

pub(super) fn place(body: Place<'_>) -> Result<Operation, Problem> {
    let names = ["customer_id", "account_number"];
    let target = fields::target(names, body.customer_id, body.account_number.as_deref())?;
    let said = fields::currency(body.currency.as_deref())?;
    let currency = if body.customer_id.is_some() { said.or(Some(Currency::USD)) } else { said };
    let movement = Movement {
        target,
        amount: fields::positive_amount(body.amount, currency)?,
        currency,
        memo: fields::bounded("memo", body.memo, limits::MEMO_BYTES)?,
        metadata: fields::metadata(body.metadata)?,
    };
    Ok(Operation::Hold { movement, expires_in_seconds: expires_in_seconds(body.expires_in_seconds)? })
}

pub(super) fn capture(hold: TransactionId, body: Capture<'_>) -> Result<Operation, Problem> {
    let names = ["to_customer_id", "to_account_number"];
    let payee = fields::target(names, body.to_customer_id, body.to_account_number.as_deref())?;
    let amount = match body.amount {
        // The branch knows the hold's currency, and how many decimals it has.
        Some(amount) => fields::positive_amount(Some(amount), None)?,
        None => String::new(),
    };
    Ok(Operation::Capture(bank::Capture {
        hold,
        payee,
        amount,
        keep_rest: body.keep_rest,
        memo: fields::bounded("memo", body.memo, limits::MEMO_BYTES)?,
        metadata: fields::metadata(body.metadata)?,
        wait_ms: fields::wait_ms(body.wait_ms)?,
    }))
}

pub(super) fn release(hold: TransactionId, body: Release) -> Result<Operation, Problem> {
    Ok(Operation::Release { hold, memo: fields::bounded("memo", body.memo, limits::MEMO_BYTES)? })
}

/// How long a hold is to last.
///
/// # Errors
/// INVALID_REQUEST naming the field.
pub(in crate::handlers) fn expires_in_seconds(number: Option<i64>) -> Result<Option<u32>, Problem> {
    let Some(number) = number else { return Ok(None) };
    match u32::try_from(number) {
        Ok(seconds @ 1..=limits::HOLD_SECONDS) => Ok(Some(seconds)),
        _ => {
            let what = format!("must be from 1 to {} (31 days)", limits::HOLD_SECONDS);
            Err(Problem::field(ErrorCode::InvalidRequest, "expires_in_seconds", what))
        }
    }
}
