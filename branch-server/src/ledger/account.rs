//! Accounts, their kinds and states.

use crate::planted::{Bug, is_planted};
use bank_proto::{BranchId, Currency, CustomerId, Money, Timestamp};

/// One account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// What it is for.
    pub kind: AccountKind,
    /// Whether it takes movements.
    pub state: AccountState,
    /// Its one currency.
    pub currency: Currency,
    /// The first holder; None for the bank's own accounts.
    pub customer: Option<CustomerId>,
    /// Credits minus debits, in minor units.
    pub balance: i64,
    /// How far below zero the balance may go, in minor units, not negative.
    pub overdraft_limit: i64,
    /// What open holds promise elsewhere, in minor units, not negative.
    pub held: i64,
    /// How many holds those are.
    pub open_holds: u32,
    /// The last journal row of its history.
    pub head: u64,
    /// When it was opened.
    pub opened_at: Timestamp,
}

impl Account {
    /// What a withdrawal can take now: the balance and the overdraft limit, less what is held.
    #[must_use]
    pub fn available(&self) -> Money {
        // All parts lie within i64, and the sum is only shown: the check itself counts in i128.
        let available = self.balance.saturating_add(self.overdraft_limit).saturating_sub(self.held);
        Money::from_minor(available, self.currency)
    }

    /// Whether the balance, less what is held, is not below the floor (invariant I7); before the amount is
    /// taken from it.
    #[must_use]
    pub fn covers(&self, amount: i64) -> bool {
        let held = if is_planted(Bug::HoldsUncounted) { 0 } else { self.held };
        let after = i128::from(self.balance) - i128::from(held) - i128::from(amount);
        self.floor().is_none_or(|floor| after >= i128::from(floor))
    }

    /// The balance as money.
    #[must_use]
    pub fn balance_money(&self) -> Money {
        Money::from_minor(self.balance, self.currency)
    }

    /// The lowest balance that the account may have; None for the bank's own, which have no floor.
    #[must_use]
    pub fn floor(&self) -> Option<i64> {
        self.kind.is_customer().then_some(-self.overdraft_limit)
    }
}

/// What an account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountKind {
    /// A customer's money.
    Customer(Product),
    /// Cash in the branch's vault.
    VaultCash,
    /// What the bank's owners put in: opening balances come from here.
    Capital,
    /// What this branch owes a peer, or the peer owes it.
    Clearing(BranchId),
    /// Fees earned.
    FeeIncome,
    /// Interest paid.
    InterestExpense,
    /// Money lent.
    Loans,
    /// Card payments on their way.
    CardSettlement,
}

/// What a customer's account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// Day-to-day money; what deposits without an account number go to.
    Checking,
    /// Savings.
    Savings,
    /// Money for a fixed term.
    FixedDeposit,
    /// Money for investments.
    Investment,
}

/// Whether an account takes movements. The order is the order in which a customer's accounts are
/// chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccountState {
    /// It does.
    Open,
    /// Not until it is unfrozen.
    Frozen,
    /// Never again.
    Closed,
}

impl AccountKind {
    /// Whether it holds a customer's money.
    #[must_use]
    pub const fn is_customer(self) -> bool {
        matches!(self, AccountKind::Customer(_))
    }

    /// As it stands in the journal and in reports; part of the file format. A clearing account
    /// carries its peer beside this.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            AccountKind::Customer(product) => product.as_str(),
            AccountKind::VaultCash => "vault_cash",
            AccountKind::Capital => "capital",
            AccountKind::Clearing(_) => "clearing",
            AccountKind::FeeIncome => "fee_income",
            AccountKind::InterestExpense => "interest_expense",
            AccountKind::Loans => "loans",
            AccountKind::CardSettlement => "card_settlement",
        }
    }

    /// The kind that a text, and for a clearing account its peer, stand for.
    #[must_use]
    pub fn from_text(text: &str, peer: Option<BranchId>) -> Option<AccountKind> {
        Some(match text {
            "vault_cash" => AccountKind::VaultCash,
            "capital" => AccountKind::Capital,
            "clearing" => AccountKind::Clearing(peer?),
            "fee_income" => AccountKind::FeeIncome,
            "interest_expense" => AccountKind::InterestExpense,
            "loans" => AccountKind::Loans,
            "card_settlement" => AccountKind::CardSettlement,
            product => AccountKind::Customer(Product::from_text(product)?),
        })
    }
}

impl Product {
    /// As it stands in the journal; part of the file format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Product::Checking => "checking",
            Product::Savings => "savings",
            Product::FixedDeposit => "fixed_deposit",
            Product::Investment => "investment",
        }
    }

    /// The product that a text stands for.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Product> {
        Some(match text {
            "checking" => Product::Checking,
            "savings" => Product::Savings,
            "fixed_deposit" => Product::FixedDeposit,
            "investment" => Product::Investment,
            _ => return None,
        })
    }
}

impl AccountState {
    /// As it stands in the journal and in reports; part of the file format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            AccountState::Open => "open",
            AccountState::Frozen => "frozen",
            AccountState::Closed => "closed",
        }
    }

    /// The state that a text stands for.
    #[must_use]
    pub fn from_text(text: &str) -> Option<AccountState> {
        Some(match text {
            "open" => AccountState::Open,
            "frozen" => AccountState::Frozen,
            "closed" => AccountState::Closed,
            _ => return None,
        })
    }
}
