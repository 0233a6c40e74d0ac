//! What a teller says of a hold.

use crate::ledger::{Account, HoldEnd};
use bank_proto::{AccountSerial, Money, Timestamp, TransactionKey};

/// A hold as it stands, and the account whose money it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldView {
    /// Its key.
    pub hold: TransactionKey,
    /// How it ended, and when; None while it is open.
    pub end: Option<(HoldEnd, Timestamp)>,
    /// The account's serial.
    pub serial: AccountSerial,
    /// The account as it is now.
    pub account: Account,
    /// What was held at first.
    pub amount: Money,
    /// What still is; nothing when it has ended.
    pub remaining: Money,
    /// What was paid out of it.
    pub captured: Money,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was placed.
    pub booked_at: Timestamp,
}
