//! What two branches say to each other, in the bank's own words.

use crate::teller::{Declined, Delivery};
use bank_proto::{AccountSerial, BranchId, CustomerId};

/// Transfers from one branch to another.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The payers' branch.
    pub(crate) source: BranchId,
    /// The payees' branch.
    pub(crate) destination: BranchId,
    /// The epoch under which the source writes.
    pub(crate) epoch: u64,
    /// Every transfer between the two with a smaller number has ended at the source.
    pub(crate) lowest_outstanding: u64,
    /// The newest cut through the bank that the source has heard of.
    pub(crate) cut: u64,
    /// The transfers; those marked are to be cancelled.
    pub(crate) items: Vec<(Delivery, bool)>,
}

/// The answer to a [`Message`]; every verdict in it is durable.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    /// The epoch under which the destination writes.
    pub(crate) epoch: u64,
    /// The newest cut through the bank that the destination has heard of.
    pub(crate) cut: u64,
    /// In the order of the items.
    pub(crate) verdicts: Vec<Verdict>,
}

/// What the payee's branch says of one transfer.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// The payee has the money, for ever.
    Credited {
        /// On this account there.
        account: AccountSerial,
        /// Whose it is.
        customer: Option<CustomerId>,
    },
    /// It is refused, for ever.
    Rejected(Declined),
    /// It is cancelled, for ever.
    Cancelled,
    /// Nothing is decided: ask again.
    Undecided(Declined),
}
