//! One operation of a batch.

use crate::bank::{AccountChange, Capture, Movement, Operation, Target, Transfer};
use crate::fields::{self, Entries};
use crate::handlers::{holds, path};
use crate::idempotency::IdempotencyKey;
use crate::json;
use crate::problem::Problem;
use bank_proto::{Currency, CustomerId, ErrorCode, limits};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use utoipa::ToSchema;

/// One operation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchOperation)]
pub(super) struct Item<'a> {
    #[serde(rename = "type", deserialize_with = "fields::word")]
    kind: BatchOperationType,
    /// The customer whose checking account is meant. Give this or `account_number`.
    #[schema(value_type = Option<i64>, minimum = 1)]
    #[serde(default, deserialize_with = "fields::optional_customer_id")]
    customer_id: Option<CustomerId>,
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    account_number: Option<Cow<'a, str>>,
    /// Greater than zero, a number or a decimal string; absent unless money moves.
    #[schema(value_type = Option<crate::openapi::Amount>)]
    #[serde(borrow, default)]
    amount: Option<&'a RawValue>,
    /// ISO 4217; USD when absent, or the account's.
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    currency: Option<Cow<'a, str>>,
    #[serde(default)]
    memo: Option<String>,
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
    /// In a reversal: the transaction that is to be taken back. Nothing but `memo` goes with it.
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    original_transaction_id: Option<Cow<'a, str>>,
    /// In a capture or release: the hold.
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    hold_transaction_id: Option<Cow<'a, str>>,
    /// In a hold: for how long, 1 to 2678400 (31 days); 604800 (7 days) when absent.
    #[serde(default)]
    expires_in_seconds: Option<i64>,
    /// In a capture: keeps the rest for further captures; it is let go when this is absent.
    #[serde(default)]
    keep_rest: Option<bool>,
    /// As the header of a single request.
    #[schema(value_type = Option<String>)]
    #[serde(borrow, default)]
    idempotency_key: Option<Cow<'a, str>>,
}

/// What to do.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum BatchOperationType {
    Deposit,
    Withdraw,
    Query,
    Freeze,
    Unfreeze,
    Close,
    Transfer,
    Reverse,
    Hold,
    Capture,
    Release,
}

/// Reads one operation and the key it brings.
///
/// # Errors
/// What is wrong with it, naming the field.
pub(super) fn read(text: &str) -> Result<(Operation, Option<IdempotencyKey>), Problem> {
    let item: Item<'_> = json::parse_text(text)?;
    let key = item.idempotency_key.as_deref().map(IdempotencyKey::parse).transpose();
    let key = key.map_err(|problem| problem.with_field(Some("idempotency_key".to_owned())))?;
    operation(item).map(|operation| (operation, key))
}

fn operation(item: Item<'_>) -> Result<Operation, Problem> {
    if matches!(item.kind, BatchOperationType::Reverse) {
        return reversal(item);
    }
    if matches!(item.kind, BatchOperationType::Capture | BatchOperationType::Release) {
        return of_hold(item);
    }
    let of_holds = [
        ("hold_transaction_id", item.hold_transaction_id.is_some()),
        ("keep_rest", item.keep_rest.is_some()),
        ("expires_in_seconds", item.expires_in_seconds.is_some() && !matches!(item.kind, BatchOperationType::Hold)),
    ];
    if let Some((field, _)) = of_holds.into_iter().find(|(_, is_said)| *is_said) {
        return Err(Problem::field(ErrorCode::InvalidRequest, field, "has a meaning with holds only; leave it out"));
    }
    if item.original_transaction_id.is_some() {
        let what = "has a meaning in reversals only; leave it out";
        return Err(Problem::field(ErrorCode::InvalidRequest, "original_transaction_id", what));
    }
    let target = fields::target(["customer_id", "account_number"], item.customer_id, item.account_number.as_deref())?;
    let is_transfer = matches!(item.kind, BatchOperationType::Transfer);
    let of_transfers = [
        ("to_customer_id", item.to_customer_id.is_some()),
        ("to_account_number", item.to_account_number.is_some()),
        ("wait_ms", item.wait_ms.is_some()),
    ];
    if let (Some((field, _)), false) = (of_transfers.into_iter().find(|(_, is_said)| *is_said), is_transfer) {
        return Err(Problem::field(ErrorCode::InvalidRequest, field, "has a meaning in transfers only; leave it out"));
    }
    match item.kind {
        BatchOperationType::Transfer => {
            let names = ["to_customer_id", "to_account_number"];
            let payee = fields::target(names, item.to_customer_id, item.to_account_number.as_deref())?;
            let wait_ms = fields::wait_ms(item.wait_ms)?;
            Ok(Operation::Transfer(Transfer { movement: movement(item, target)?, payee, wait_ms }))
        }
        BatchOperationType::Hold => {
            let expires_in_seconds = holds::expires_in_seconds(item.expires_in_seconds)?;
            Ok(Operation::Hold { movement: movement(item, target)?, expires_in_seconds })
        }
        BatchOperationType::Capture | BatchOperationType::Release => of_hold(item),
        BatchOperationType::Reverse => reversal(item),
        BatchOperationType::Deposit => movement(item, target).map(Operation::Deposit),
        BatchOperationType::Withdraw => movement(item, target).map(Operation::Withdraw),
        BatchOperationType::Query => {
            fields::no_amount(item.amount)?;
            let currency = currency(&item, target)?;
            Ok(Operation::Query { target, currency })
        }
        BatchOperationType::Freeze => change(&item, target, AccountChange::Freeze),
        BatchOperationType::Unfreeze => change(&item, target, AccountChange::Unfreeze),
        BatchOperationType::Close => change(&item, target, AccountChange::Close),
    }
}

fn reversal(item: Item<'_>) -> Result<Operation, Problem> {
    let said = [
        ("customer_id", item.customer_id.is_some()),
        ("account_number", item.account_number.is_some()),
        ("amount", item.amount.is_some()),
        ("currency", item.currency.is_some()),
        ("metadata", item.metadata.is_some()),
        ("to_customer_id", item.to_customer_id.is_some()),
        ("to_account_number", item.to_account_number.is_some()),
        ("wait_ms", item.wait_ms.is_some()),
    ];
    if let Some((field, _)) = said.into_iter().find(|(_, is_said)| *is_said) {
        let what = "has no meaning in a reversal, which takes the original back whole; leave it out";
        return Err(Problem::field(ErrorCode::InvalidRequest, field, what));
    }
    let original = item.original_transaction_id.as_deref().unwrap_or_default();
    let original = path::transaction_id("original_transaction_id", original)?;
    Ok(Operation::Reverse { original, memo: fields::bounded("memo", item.memo, limits::MEMO_BYTES)? })
}

/// A capture, or a release.
fn of_hold(item: Item<'_>) -> Result<Operation, Problem> {
    let is_capture = matches!(item.kind, BatchOperationType::Capture);
    let said = [
        ("customer_id", item.customer_id.is_some()),
        ("account_number", item.account_number.is_some()),
        ("currency", item.currency.is_some()),
        ("original_transaction_id", item.original_transaction_id.is_some()),
        ("expires_in_seconds", item.expires_in_seconds.is_some()),
        ("amount", item.amount.is_some() && !is_capture),
        ("metadata", item.metadata.is_some() && !is_capture),
        ("to_customer_id", item.to_customer_id.is_some() && !is_capture),
        ("to_account_number", item.to_account_number.is_some() && !is_capture),
        ("keep_rest", item.keep_rest.is_some() && !is_capture),
        ("wait_ms", item.wait_ms.is_some() && !is_capture),
    ];
    if let Some((field, _)) = said.into_iter().find(|(_, is_said)| *is_said) {
        let what = "has no meaning in what becomes of a hold; leave it out";
        return Err(Problem::field(ErrorCode::InvalidRequest, field, what));
    }
    let hold = item.hold_transaction_id.as_deref().unwrap_or_default();
    let hold = path::transaction_id("hold_transaction_id", hold)?;
    let memo = fields::bounded("memo", item.memo, limits::MEMO_BYTES)?;
    if !is_capture {
        return Ok(Operation::Release { hold, memo });
    }
    let names = ["to_customer_id", "to_account_number"];
    Ok(Operation::Capture(Capture {
        hold,
        payee: fields::target(names, item.to_customer_id, item.to_account_number.as_deref())?,
        amount: item.amount.map_or(Ok(String::new()), |amount| fields::positive_amount(Some(amount), None))?,
        keep_rest: item.keep_rest.unwrap_or_default(),
        memo,
        metadata: fields::metadata(item.metadata)?,
        wait_ms: fields::wait_ms(item.wait_ms)?,
    }))
}

/// A customer's account is found by its currency; a named account has one.
fn currency(item: &Item<'_>, target: Target) -> Result<Option<Currency>, Problem> {
    let said = fields::currency(item.currency.as_deref())?;
    match target {
        Target::Customer(_) => Ok(said.or(Some(Currency::USD))),
        Target::Account(_) => Ok(said),
    }
}

fn movement(item: Item<'_>, target: Target) -> Result<Movement, Problem> {
    let currency = currency(&item, target)?;
    Ok(Movement {
        target,
        amount: fields::positive_amount(item.amount, currency)?,
        currency,
        memo: fields::bounded("memo", item.memo, limits::MEMO_BYTES)?,
        metadata: fields::metadata(item.metadata)?,
    })
}

fn change(item: &Item<'_>, target: Target, change: AccountChange) -> Result<Operation, Problem> {
    fields::no_amount(item.amount)?;
    let said =
        [("currency", item.currency.is_some()), ("memo", item.memo.is_some()), ("metadata", item.metadata.is_some())];
    if let Some((field, _)) = said.into_iter().find(|(_, is_said)| *is_said) {
        // It would be lost without a word.
        return Err(Problem::field(
            ErrorCode::InvalidRequest,
            field,
            "has no meaning when an account is frozen, unfrozen or closed; leave it out",
        ));
    }
    match target {
        Target::Account(account) => Ok(Operation::ChangeAccount { account, change }),
        Target::Customer(_) => {
            Err(Problem::field(ErrorCode::InvalidAccountNumber, "account_number", "is missing; name the account"))
        }
    }
}
