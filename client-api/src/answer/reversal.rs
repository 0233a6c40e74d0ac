//! What a reversal is answered.

use super::{TransferResult, TransferState, rfc3339};
use bank_proto::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// What a posted reversal says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "result": "success", "transaction_id": "1-fedcba9876543210fedcba9876543210", "type": "reversal", "state": "COMPLETED",
    "original_transaction_id": "1-0123456789abcdef0123456789abcdef", "original_type": "deposit", "customer_id": 1,
    "branch_id": 1, "account_number": "0001000000000145", "amount": "100.00", "currency": "USD",
    "balance": "1000.00", "booked_at": "2026-11-21T09:00:00.000000Z"
}))]
pub(crate) struct Reversal {
    pub(crate) result: TransferResult,
    /// Of a transfer to another branch `PROCESSING` until that branch has sent the money back; ask again under
    /// the same Idempotency-Key. Anything else is `COMPLETED` at once.
    pub(crate) state: TransferState,
    pub(crate) transaction_id: String,
    /// `reversal`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) original_transaction_id: String,
    /// What was taken back: `deposit`, `withdrawal`, `opening_balance` or `transfer`.
    pub(crate) original_type: String,
    /// Whose account it was: the depositor's, the payer's.
    pub(crate) customer_id: i64,
    pub(crate) branch_id: u32,
    pub(crate) account_number: String,
    pub(crate) amount: String,
    pub(crate) currency: String,
    /// That account's, right after.
    pub(crate) balance: String,
    /// RFC 3339 in UTC.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "rfc3339")]
    pub(crate) booked_at: Option<Timestamp>,
}
