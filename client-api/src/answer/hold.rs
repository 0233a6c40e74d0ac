//! What a hold is answered.

use super::{Success, rfc3339};
use bank_proto::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// How a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum HoldState {
    /// What remains of it is held.
    Held,
    /// It was captured, in the last part; what that left was let go.
    Captured,
    /// What was left of it was let go.
    Released,
    /// Its time was over before that.
    Expired,
}

/// A hold as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "result": "success", "transaction_id": "1-0123456789abcdef0123456789abcdef",
    "hold_transaction_id": "1-0123456789abcdef0123456789abcdef", "state": "HELD", "customer_id": 1, "branch_id": 1,
    "account_number": "0001000000000145", "amount": "80.00", "remaining": "80.00", "captured": "0.00",
    "currency": "USD", "balance": "1000.00", "available": "920.00", "expires_at": "2026-11-28T09:00:00.000000Z",
    "booked_at": "2026-11-21T09:00:00.000000Z"
}))]
pub(crate) struct Hold {
    pub(crate) result: Success,
    /// Of the order that is answered: of a hold the same as `hold_transaction_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transaction_id: Option<String>,
    pub(crate) hold_transaction_id: String,
    pub(crate) state: HoldState,
    pub(crate) customer_id: i64,
    pub(crate) branch_id: u32,
    pub(crate) account_number: String,
    /// What was held at first.
    pub(crate) amount: String,
    /// What still is.
    pub(crate) remaining: String,
    /// What was paid out of it.
    pub(crate) captured: String,
    pub(crate) currency: String,
    /// The account's, now.
    pub(crate) balance: String,
    /// What can be taken from the account now: less by all that is held.
    pub(crate) available: String,
    /// When it ends by itself. RFC 3339 in UTC.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "rfc3339")]
    pub(crate) expires_at: Option<Timestamp>,
    /// RFC 3339 in UTC.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "rfc3339")]
    pub(crate) booked_at: Option<Timestamp>,
    /// When it was captured, released or expired.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<Timestamp>,
}
