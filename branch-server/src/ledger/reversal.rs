//! Reversals: what the books must know of a transaction that is to be taken back.
//!
//! Nothing is ever edited: a reversal is a transaction of its own that moves the money the other
//! way. The books do not remember past transactions; whoever asks them has looked the original up.

use super::Movement;
use bank_proto::{AccountSerial, BranchId, TransactionId};

/// What the journal says of a transaction that somebody wants reversed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Nothing was posted here under this id.
    Unknown,
    /// It moved no money that a reversal could move back: it was refused, opened or changed something,
    /// or is a reversal itself.
    Irreversible,
    /// It was reversed.
    Reversed {
        /// By this transaction, for ever.
        by: TransactionId,
    },
    /// It is a transfer to another branch that has not ended.
    UnderWay,
    /// It is a transfer that another branch credited, and nobody has taken it back.
    Crossed {
        /// That branch.
        peer: BranchId,
        /// The account here that paid, and now gets the money back.
        payer: AccountSerial,
        /// The account there that was paid.
        payee: AccountSerial,
        /// Minor units, more than zero.
        amount: i64,
        /// How many reversals of it that branch has refused.
        attempt: u32,
    },
    /// It moved money, and nobody has taken it back.
    Moved {
        /// Why.
        movement: Movement,
        /// The account that gave, and now gets it back.
        debit: AccountSerial,
        /// The account that received, and now gives.
        credit: AccountSerial,
        /// Minor units, more than zero.
        amount: i64,
    },
}
