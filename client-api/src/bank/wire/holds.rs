//! The messages that tell of holds.

use super::{deposit, moment, present, target_to_wire};
use crate::answer::{self, HoldState, Success};
use crate::bank::operation::{Capture, Movement};
use bank_proto::wire as proto;

pub(super) fn place(
    movement: &Movement,
    expires_in_seconds: Option<u32>,
    transaction_id: Option<String>,
    caller: Option<proto::Caller>,
) -> proto::HoldRequest {
    let like = deposit(movement, transaction_id, caller);
    proto::HoldRequest {
        customer_id: like.customer_id,
        account_number: like.account_number,
        amount: like.amount,
        currency: like.currency,
        expires_in_seconds,
        transaction_id: like.transaction_id,
        memo: like.memo,
        metadata: like.metadata,
        caller: like.caller,
    }
}

pub(super) fn capture(
    capture: &Capture,
    transaction_id: Option<String>,
    caller: Option<proto::Caller>,
) -> proto::CaptureRequest {
    let (to_customer_id, to_account_number) = target_to_wire(capture.payee);
    proto::CaptureRequest {
        hold_transaction_id: capture.hold.to_string(),
        to_customer_id,
        to_account_number,
        amount: capture.amount.clone(),
        keep_rest: capture.keep_rest,
        transaction_id,
        memo: capture.memo.clone(),
        metadata: capture.metadata.clone(),
        wait_ms: capture.wait_ms,
        caller,
    }
}

pub(super) fn hold(wire: proto::Hold) -> answer::Hold {
    let state = match wire.state() {
        proto::HoldState::Captured => HoldState::Captured,
        proto::HoldState::Released => HoldState::Released,
        proto::HoldState::Expired => HoldState::Expired,
        proto::HoldState::Held | proto::HoldState::Unspecified => HoldState::Held,
    };
    answer::Hold {
        result: Success::Success,
        transaction_id: present(wire.transaction_id),
        hold_transaction_id: wire.hold_transaction_id,
        state,
        customer_id: wire.customer_id,
        branch_id: wire.branch_id,
        account_number: wire.account_number,
        amount: wire.amount,
        remaining: wire.remaining,
        captured: wire.captured,
        currency: wire.currency,
        balance: wire.balance,
        available: wire.available,
        expires_at: moment(wire.expires_at),
        booked_at: moment(wire.booked_at),
        ended_at: moment(wire.ended_at),
    }
}
