//! What can be asked of the books.

use super::Product;
use bank_proto::{AccountSerial, Currency, CustomerId, DecimalAmount, Money};

/// One order. It names what is wanted; [`super::Ledger::decide`] says what then happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Open the books, and an account for one customer with money from the branch's capital.
    InitializeBranch {
        /// Whose account.
        customer: CustomerId,
        /// Zero or more.
        initial_balance: Money,
    },
    /// Make a customer known.
    RegisterCustomer {
        /// Whom.
        customer: CustomerId,
    },
    /// Open an account at zero.
    OpenAccount {
        /// The first holder.
        customer: CustomerId,
        /// What for.
        product: Product,
        /// In which currency.
        currency: Currency,
        /// The other holders, each once and none of them the first.
        joint_holders: Vec<CustomerId>,
        /// How far below zero it may go, in minor units of the currency, not negative.
        overdraft_limit: i64,
    },
    /// Pay cash in.
    Deposit {
        /// Where to. A customer's first deposit in a currency opens a checking account.
        target: Target,
        /// How much, more than zero.
        amount: AskedAmount,
    },
    /// Pay cash out.
    Withdraw {
        /// Where from.
        target: Target,
        /// How much, more than zero.
        amount: AskedAmount,
    },
    /// Refuse every later movement on an account.
    Freeze(AccountSerial),
    /// Take a freeze back.
    Unfreeze(AccountSerial),
    /// Close an account at zero, for ever.
    Close(AccountSerial),
}

/// How an order names an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// The customer's oldest open checking account.
    Customer(CustomerId),
    /// The one with this number.
    Account(AccountSerial),
}

/// An amount as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedAmount {
    /// In a currency that the caller said.
    Money(Money),
    /// In whatever currency the account has.
    InAccountCurrency(DecimalAmount),
}
