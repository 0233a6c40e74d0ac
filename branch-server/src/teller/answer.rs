//! What a teller says.

use crate::cut::{BranchCut, PeerRecord};
use crate::journal::Sequence;
use crate::ledger::{Account, HoldEnd, Movement, PayeeProblem, Refusal};
use bank_proto::{AccountSerial, BranchId, CustomerId, ErrorCode, Money, Timestamp, TransactionId, TransactionKey};
use std::collections::BTreeMap;
use std::sync::Arc;

mod hold;
mod transfer;

pub use hold::HoldView;
pub use transfer::{TransferEnd, TransferState, TransferView};

/// The answer to one request. An order's answer is durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The order's id; None for a question.
    pub key: Option<TransactionKey>,
    /// This is the first answer under that id given again.
    pub replayed: bool,
    /// The answer.
    pub answer: Answer,
}

/// What there is to say.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Money moved.
    Receipt(Receipt),
    /// Money moved back.
    Reversed(Box<Reversal>),
    /// A transfer as it stands.
    Transfer(Box<TransferView>),
    /// A hold as it stands.
    Hold(Box<HoldView>),
    /// A transfer from another branch has its outcome; one that is refused there is
    /// [`Answer::Refused`].
    Arrived(Arrived),
    /// A transfer to another branch has ended.
    Ended(TransferEnd),
    /// An account, as it is or as an order left it.
    Account(AccountView),
    /// A customer.
    Customer {
        /// Who.
        customer: CustomerId,
        /// Unless none was given or it was erased.
        name: Option<String>,
        /// Oldest first.
        accounts: Vec<AccountView>,
    },
    /// The branch's books are open.
    Initialized {
        /// By this very order.
        created: bool,
        /// The account that was opened with them.
        account: Option<AccountView>,
    },
    /// A balance, and whom it was asked for.
    Balance(AccountView),
    /// The sums of the books.
    TrialBalance(Arc<BranchCut>),
    /// The answers to orders that came linked, in their order.
    Linked(Vec<Answered>),
    /// What the books say of another branch.
    Peer(PeerRecord),
    /// The newest cut that was heard of.
    CutHeard(u64),
    /// How the branch is.
    Status {
        /// Whether its books are open.
        initialized: bool,
        /// How many accounts, the bank's own included.
        accounts: u64,
        /// The last row of the journal.
        sequence: Sequence,
        /// The epoch under which it writes.
        epoch: u64,
    },
    /// No.
    Refused(Declined),
}

/// What became of a transfer from another branch, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// The payee has the money.
    Credited {
        /// On this account.
        account: AccountSerial,
        /// Whose it is.
        customer: Option<CustomerId>,
    },
    /// It came too late.
    Cancelled,
}

/// What a posted movement says to the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// What moved.
    pub movement: Movement,
    /// The customer's account.
    pub account: AccountSerial,
    /// For whom the order was.
    pub customer: Option<CustomerId>,
    /// How much.
    pub amount: Money,
    /// The account's balance right after it.
    pub balance: Money,
    /// When it was booked.
    pub booked_at: Timestamp,
}

/// What a reversal says: the receipt of the one of its two accounts whose statement showed the original
/// as its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversal {
    /// Its key.
    pub reversal: TransactionKey,
    /// What was taken back.
    pub original: TransactionId,
    /// What moved back; `movement` is the original's.
    pub receipt: Receipt,
    /// The branch that must send the money back; None when it never left this one.
    pub peer: Option<BranchId>,
    /// How it stands.
    pub state: TransferState,
}

/// An account and all its holders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// Its place in the books.
    pub serial: AccountSerial,
    /// The account.
    pub account: Account,
    /// The holders after the first.
    pub joint_holders: Vec<CustomerId>,
}

/// A refusal as it is stored and told: a stable code and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declined {
    /// The code.
    pub code: ErrorCode,
    /// What the caller may want to know: "balance", "available", "currency", "field", "reason".
    pub metadata: BTreeMap<String, String>,
}

impl Declined {
    /// The name under which a refusal says whose account it is about, when it is not the caller's.
    pub const PARTY: &str = "party";
    /// It is the payee's.
    pub const PAYEE: &str = "payee";
    /// The name under which the refusal of a transfer says how the transfer stands.
    pub const STATE: &str = "state";
    /// The name under which a refusal says how a hold has ended. Not [`Declined::STATE`]: a capture is a transfer,
    /// and has failed.
    pub const HOLD_STATE: &str = "hold_state";
    /// The name under which a reversal that failed says what was in its way.
    pub const CAUSE: &str = "cause";
    /// The name under which an order that was linked to a failed one says that one's id.
    pub const FAILED_ID: &str = "failed_transaction_id";
    /// It has failed, for ever.
    pub const FAILED: &str = "FAILED";

    /// A refusal with nothing to add.
    #[must_use]
    pub fn new(code: ErrorCode) -> Declined {
        Declined { code, metadata: BTreeMap::new() }
    }

    /// With one thing more that the caller may want to know.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Declined {
        self.metadata.insert(name.to_owned(), value.to_string());
        self
    }
}

impl From<Refusal> for Declined {
    fn from(refusal: Refusal) -> Declined {
        match refusal {
            Refusal::CustomerNotFound => Declined::new(ErrorCode::CustomerNotFound),
            Refusal::AccountNotFound => Declined::new(ErrorCode::AccountNotFound),
            Refusal::CustomerExists => Declined::new(ErrorCode::CustomerExists),
            Refusal::InvalidAmount(problem) => {
                Declined::new(ErrorCode::InvalidAmount).with("field", "amount").with("reason", problem)
            }
            Refusal::CurrencyMismatch { account } => {
                Declined::new(ErrorCode::CurrencyMismatch).with("currency", account)
            }
            Refusal::AccountFrozen => Declined::new(ErrorCode::AccountFrozen),
            Refusal::AccountClosed => Declined::new(ErrorCode::AccountClosed),
            Refusal::AccountNotFrozen => Declined::new(ErrorCode::AccountNotFrozen),
            Refusal::AccountNotEmpty { balance } => {
                Declined::new(ErrorCode::AccountNotEmpty).with("balance", balance).with("currency", balance.currency())
            }
            Refusal::InsufficientFunds { balance, available } => Declined::new(ErrorCode::InsufficientFunds)
                .with("balance", balance)
                .with("available", available)
                .with("currency", balance.currency()),
            Refusal::SameAccount => Declined::new(ErrorCode::SameAccount),
            Refusal::Payee(problem) => problem.into(),
            Refusal::ClearingLimitExceeded => Declined::new(ErrorCode::ClearingLimitExceeded),
            Refusal::TransfersInFlight => Declined::new(ErrorCode::TransfersInFlight),
            Refusal::NotInFlight => Declined::new(ErrorCode::TransferNotFound),
            Refusal::HoldsOpen { held } => {
                Declined::new(ErrorCode::HoldsOpen).with("held", held).with("currency", held.currency())
            }
            Refusal::HoldNotFound => Declined::new(ErrorCode::HoldNotFound),
            Refusal::HoldEnded(HoldEnd::Expired) => Declined::new(ErrorCode::HoldExpired),
            Refusal::HoldEnded(end) => Declined::new(ErrorCode::HoldClosed).with(Declined::HOLD_STATE, end.as_str()),
            Refusal::HoldAmountExceeded { remaining } => Declined::new(ErrorCode::HoldAmountExceeded)
                .with("remaining", remaining)
                .with("currency", remaining.currency()),
            Refusal::HoldLimitExceeded => Declined::new(ErrorCode::HoldLimitExceeded),
            Refusal::TransactionNotFound => Declined::new(ErrorCode::TransactionNotFound),
            Refusal::NotReversible => Declined::new(ErrorCode::NotReversible),
            Refusal::AlreadyReversed { by } => Declined::new(ErrorCode::AlreadyReversed).with("reversal", by),
            Refusal::BalanceLimitExceeded => Declined::new(ErrorCode::BalanceLimitExceeded),
            Refusal::AccountLimitExceeded => Declined::new(ErrorCode::AccountLimitExceeded),
        }
    }
}

impl From<PayeeProblem> for Declined {
    /// The codes are those of the payer's own account; "party" says whose it is.
    fn from(problem: PayeeProblem) -> Declined {
        let declined = match problem {
            PayeeProblem::BranchNotFound => Declined::new(ErrorCode::BranchNotFound),
            PayeeProblem::CustomerNotFound => Declined::new(ErrorCode::CustomerNotFound),
            PayeeProblem::AccountNotFound => Declined::new(ErrorCode::AccountNotFound),
            PayeeProblem::AccountFrozen => Declined::new(ErrorCode::AccountFrozen),
            PayeeProblem::AccountClosed => Declined::new(ErrorCode::AccountClosed),
            PayeeProblem::CurrencyMismatch { account } => {
                Declined::new(ErrorCode::CurrencyMismatch).with("currency", account)
            }
            PayeeProblem::BalanceLimitExceeded => Declined::new(ErrorCode::BalanceLimitExceeded),
        };
        declined.with(Declined::PARTY, Declined::PAYEE)
    }
}
