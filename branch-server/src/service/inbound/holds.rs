//! Holds: placing, capturing, releasing.

use super::{Content, Draft, check_patience, hold_id, invalid, memo_and_metadata, movement, payee};
use crate::ledger::{Command, Payee};
use crate::teller::Declined;
use bank_proto::{
    Assignment, BranchId, DecimalAmount, ErrorCode, InvalidAmount, Timestamp, TransactionKey, limits, wire,
};
use std::collections::BTreeMap;

pub(super) fn place(order: wire::HoldRequest, key: TransactionKey, bank: &Assignment) -> Result<Draft, Declined> {
    let (target, amount) = movement(order.customer_id, &order.account_number, &order.amount, &order.currency, bank)?;
    let life_seconds = order.expires_in_seconds.unwrap_or(limits::DEFAULT_HOLD_SECONDS);
    if !(1..=limits::HOLD_SECONDS).contains(&life_seconds) {
        let reason = format!("must be from 1 to {} (31 days)", limits::HOLD_SECONDS);
        return Err(invalid(ErrorCode::InvalidRequest, "expires_in_seconds", reason));
    }
    let mut content = Content::movement("hold", target, amount, &order.memo, &order.metadata);
    content.number(i128::from(life_seconds));
    let detail = memo_and_metadata(order.memo, order.metadata)?;
    // The teller says when it ends.
    let command = Command::Hold { hold: key, target, amount, life_seconds, expires_at: Timestamp(0) };
    Ok(Draft { command, content, caller: order.caller.map(|caller| caller.channel), detail, name: None })
}

pub(super) fn capture(
    order: wire::CaptureRequest,
    owner: BranchId,
    key: TransactionKey,
    bank: &Assignment,
) -> Result<Draft, Declined> {
    let hold = hold_id(&order.hold_transaction_id)?.key;
    let (branch, target) = payee(order.to_customer_id, &order.to_account_number, bank)?;
    check_patience(order.wait_ms)?;
    let bad_amount = |error| invalid(ErrorCode::InvalidAmount, "amount", error);
    let amount = match order.amount.as_str() {
        "" => None,
        text => match DecimalAmount::parse(text).map_err(bad_amount)? {
            amount if amount.is_positive() => Some(amount),
            _ => return Err(bad_amount(InvalidAmount::NotPositive)),
        },
    };
    let mut content = Content::new("capture");
    content.number(hold.0.cast_signed()).number(i128::from(branch.get())).target(target);
    let (digits, decimals) = amount.map_or((0, 0), DecimalAmount::normalized);
    content.number(i128::from(digits)).number(i128::from(decimals)).number(i128::from(order.keep_rest));
    content.text(&order.memo);
    for (key, value) in &order.metadata {
        content.text(key).text(value);
    }
    let payee = if branch == owner { Payee::Here(target) } else { Payee::At { branch, target, transfer: key } };
    let detail = memo_and_metadata(order.memo, order.metadata)?;
    // The teller looks up how the hold stands.
    let command = Command::Capture { hold, payee, amount, is_last: !order.keep_rest, ended: None };
    Ok(Draft { command, content, caller: order.caller.map(|caller| caller.channel), detail, name: None })
}

pub(super) fn release(order: wire::ReleaseRequest) -> Result<Draft, Declined> {
    let hold = hold_id(&order.hold_transaction_id)?.key;
    let mut content = Content::new("release");
    content.number(hold.0.cast_signed()).text(&order.memo);
    let detail = memo_and_metadata(order.memo, BTreeMap::new())?;
    let command = Command::Release { hold, ended: None };
    Ok(Draft { command, content, caller: order.caller.map(|caller| caller.channel), detail, name: None })
}
