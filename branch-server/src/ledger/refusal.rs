//! Why the bank says no: named values, in the order in which they are checked.

use super::HoldEnd;
use bank_proto::{Currency, InvalidAmount, Money, TransactionId};

/// A refusal by the books. It is an answer, not a failure: it is stored under the order's id and
/// given again for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The customer is not known here.
    CustomerNotFound,
    /// No such account, or the customer has none that fits.
    AccountNotFound,
    /// The customer is registered already.
    CustomerExists,
    /// The amount cannot be counted in the account's currency, or is more than one order may name.
    InvalidAmount(InvalidAmount),
    /// The amount is in another currency than the account.
    CurrencyMismatch {
        /// The account's.
        account: Currency,
    },
    /// The account is frozen.
    AccountFrozen,
    /// The account is closed.
    AccountClosed,
    /// The account is not frozen.
    AccountNotFrozen,
    /// Only an account at zero can be closed.
    AccountNotEmpty {
        /// What is on it.
        balance: Money,
    },
    /// Less is available than asked for.
    InsufficientFunds {
        /// What is on the account.
        balance: Money,
        /// What could be taken: the balance and the overdraft limit, less what is held.
        available: Money,
    },
    /// Payer and payee are the same account.
    SameAccount,
    /// The payee cannot be paid.
    Payee(PayeeProblem),
    /// Too many transfers to the payee's branch are under way.
    ClearingLimitExceeded,
    /// Transfers from the account are still under way, and may come back to it.
    TransfersInFlight,
    /// The transfer is not under way: it has ended, or was never sent from here.
    NotInFlight,
    /// Holds on the account are open.
    HoldsOpen {
        /// What they hold.
        held: Money,
    },
    /// No hold was placed here under this id.
    HoldNotFound,
    /// The hold has ended.
    HoldEnded(HoldEnd),
    /// More is to be captured than is left of the hold.
    HoldAmountExceeded {
        /// What is left.
        remaining: Money,
    },
    /// As many holds are open on the account, or at the branch, as may be.
    HoldLimitExceeded,
    /// Nothing was posted here under the id of what is to be reversed.
    TransactionNotFound,
    /// It moved no money that could be moved back, or is a reversal itself.
    NotReversible,
    /// It was reversed before; once is all there is.
    AlreadyReversed {
        /// By this transaction.
        by: TransactionId,
    },
    /// A balance would leave what 64 bits of minor units count.
    BalanceLimitExceeded,
    /// The customer holds as many accounts as one may, or the branch has given out all its numbers.
    AccountLimitExceeded,
}

/// Why a payee cannot be paid. The payer's account is not concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayeeProblem {
    /// The payee's branch has not opened its books.
    BranchNotFound,
    /// The customer is not known there.
    CustomerNotFound,
    /// No such account, or the customer has none that fits.
    AccountNotFound,
    /// The payee's account is frozen.
    AccountFrozen,
    /// The payee's account is closed.
    AccountClosed,
    /// The payee's account has another currency.
    CurrencyMismatch {
        /// The payee's.
        account: Currency,
    },
    /// The payee's balance, or the clearing account's, would leave 64 bits.
    BalanceLimitExceeded,
}
