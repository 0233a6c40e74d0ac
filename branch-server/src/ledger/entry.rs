//! What happens: one entry per journal row.

use super::{AccountKind, AccountState, Arrival, HoldEnd, Target};
use bank_proto::{AccountSerial, BranchId, Currency, CustomerId, Timestamp, TransactionKey};

/// The consequences of one accepted command, in order. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entries(pub Vec<Entry>);

/// One consequence. A fold over these in the order of the journal is the whole state of the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// The books are open.
    BranchInitialized,
    /// The books were found open by an order to open them. Changes nothing; what it saw of the account
    /// that is told of is kept, so that the answer can be told again.
    BranchFoundOpen {
        /// The account.
        account: AccountSerial,
        /// Its state then.
        state: AccountState,
    },
    /// A customer is known.
    CustomerRegistered(CustomerId),
    /// An account exists, at zero.
    AccountOpened {
        /// Its serial: always the next one.
        account: AccountSerial,
        /// What for.
        kind: AccountKind,
        /// In which currency.
        currency: Currency,
        /// The first holder; None for the bank's own.
        customer: Option<CustomerId>,
        /// In minor units, not negative.
        overdraft_limit: i64,
    },
    /// An account has one more holder.
    HolderAdded {
        /// Which account.
        account: AccountSerial,
        /// Who.
        customer: CustomerId,
    },
    /// An account was frozen, unfrozen or closed.
    StateChanged {
        /// Which account.
        account: AccountSerial,
        /// Its state from now on.
        state: AccountState,
    },
    /// Money moved from one account to another.
    Moved {
        /// Why.
        movement: Movement,
        /// The account that gives.
        debit: AccountSerial,
        /// The account that receives.
        credit: AccountSerial,
        /// Minor units, more than zero.
        amount: i64,
    },
    /// Money of an account is promised.
    HoldPlaced {
        /// The hold's key.
        hold: TransactionKey,
        /// The account.
        account: AccountSerial,
        /// Minor units, more than zero.
        amount: i64,
        /// When the hold ends by itself.
        expires_at: Timestamp,
    },
    /// Part of a hold is not held any more, because it is paid out in the same transaction.
    HoldCaptured {
        /// The hold's key.
        hold: TransactionKey,
        /// Its account.
        account: AccountSerial,
        /// Minor units, more than zero.
        amount: i64,
        /// When this ends the hold: the minor units that are let go besides.
        released: Option<i64>,
    },
    /// A hold was let go, or its time was over.
    HoldEnded {
        /// The hold's key.
        hold: TransactionKey,
        /// Its account.
        account: AccountSerial,
        /// Which of the two.
        end: HoldEnd,
        /// The minor units that were still held.
        released: i64,
    },
    /// Money moved back that another transaction had moved.
    Reversed {
        /// That transaction's key.
        original: TransactionKey,
        /// Why the money had moved.
        movement: Movement,
        /// The account that gives: it had received.
        debit: AccountSerial,
        /// The account that receives: it had given.
        credit: AccountSerial,
        /// Minor units, more than zero.
        amount: i64,
    },
    /// Another branch is asked to send the money of a transfer back. Nothing moves here before it comes.
    ReversalSent {
        /// The reversal's key.
        reversal: TransactionKey,
        /// The transfer's.
        original: TransactionKey,
        /// How many reversals of it were refused before.
        attempt: u32,
        /// The branch that is asked.
        peer: BranchId,
        /// The account there that was paid.
        payee: AccountSerial,
        /// The message's number among the transfers from here to there: always the next one.
        pair_sequence: u64,
        /// The account here that paid.
        payer: AccountSerial,
        /// Minor units, more than zero.
        amount: i64,
    },
    /// A reversal that another branch asked for is granted: an ordinary transfer back follows.
    ReversalAccepted(Arrival),
    /// A reversal that was asked of another branch was refused there, or not delivered in time.
    ReversalRefused {
        /// The reversal's key.
        reversal: TransactionKey,
        /// The branch that was asked.
        peer: BranchId,
        /// The epoch under which it said so.
        peer_epoch: u64,
    },
    /// Money left for another branch: it stands on the clearing account until that branch has answered.
    Sent {
        /// The transfer's key.
        transfer: TransactionKey,
        /// The payee's branch.
        peer: BranchId,
        /// The payee there.
        payee: Target,
        /// The transfer's number among those from here to there: always the next one.
        pair_sequence: u64,
        /// The payer's account.
        debit: AccountSerial,
        /// The clearing account.
        credit: AccountSerial,
        /// Minor units, more than zero.
        amount: i64,
    },
    /// Money came from another branch.
    Received {
        /// What the message said of itself.
        arrival: Arrival,
        /// The clearing account.
        debit: AccountSerial,
        /// The payee's account.
        credit: AccountSerial,
        /// Minor units, more than zero.
        amount: i64,
    },
    /// A transfer from another branch was refused or cancelled, for ever.
    TurnedAway(Arrival),
    /// A transfer to another branch has reached the payee.
    Completed {
        /// The transfer's key.
        transfer: TransactionKey,
        /// The payee's branch.
        peer: BranchId,
        /// The epoch of the branch that said so.
        peer_epoch: u64,
        /// The payee's account there.
        account: AccountSerial,
        /// Whose it is.
        customer: Option<CustomerId>,
    },
    /// A transfer to another branch came back.
    Returned {
        /// The transfer's key.
        transfer: TransactionKey,
        /// The payee's branch.
        peer: BranchId,
        /// The epoch of the branch that said so.
        peer_epoch: u64,
        /// The clearing account.
        debit: AccountSerial,
        /// The payer's account.
        credit: AccountSerial,
        /// Minor units, more than zero.
        amount: i64,
    },
}

/// Why money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Movement {
    /// Capital became an opening balance.
    OpeningBalance,
    /// Cash came in.
    Deposit,
    /// Cash went out.
    Withdrawal,
    /// One account paid another of the same branch.
    Transfer,
}

impl Movement {
    /// As it stands in the journal and in answers; part of the file format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Movement::OpeningBalance => "opening_balance",
            Movement::Deposit => "deposit",
            Movement::Withdrawal => "withdrawal",
            Movement::Transfer => "transfer",
        }
    }

    /// The movement that a text stands for.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Movement> {
        Some(match text {
            "opening_balance" => Movement::OpeningBalance,
            "deposit" => Movement::Deposit,
            "withdrawal" => Movement::Withdrawal,
            "transfer" => Movement::Transfer,
            _ => return None,
        })
    }
}
