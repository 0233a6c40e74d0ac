//! Why the bank says no: named values, in the order in which they are checked.

use bank_proto::{Currency, InvalidAmount, Money};

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
        /// What could be taken: the balance and the overdraft limit.
        available: Money,
    },
    /// A balance would leave what 64 bits of minor units count.
    BalanceLimitExceeded,
    /// The customer holds as many accounts as one may, or the branch has given out all its numbers.
    AccountLimitExceeded,
}
