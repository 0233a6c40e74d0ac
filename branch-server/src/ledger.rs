//! The books of one branch: pure, deterministic, single-threaded.
//!
//! - [`account`]: accounts, their kinds and states
//! - [`command`]: what can be asked
//! - [`entry`]: what then happens, one entry per journal row
//! - [`refusal`]: why not
//! - [`hold`]: money that is promised and still there
//! - [`reversal`]: what must be known of a transaction that is to be taken back
//! - [`transfer`]: money to and from other branches, and what the books know of each
//! - [`decide`]: command -> entries or refusal, changing nothing
//! - [`apply`]: entries -> balances, and the way back when they could not be stored
//! - [`trial_balance`]: the sums that must be zero
//!
//! The ledger knows no clock, file, network, async or randomness. Balances are credits minus
//! debits for every account, in minor units: a customer's money is positive, the vault's cash
//! and paid-out capital negative, and all of them sum to zero per currency.

mod account;
mod apply;
mod command;
mod decide;
mod entry;
mod hold;
mod refusal;
mod restore;
mod reversal;
#[cfg(test)]
mod tests;
mod transfer;
mod trial_balance;

pub use account::{Account, AccountKind, AccountState, Product};
pub use apply::Posted;
pub use command::{AskedAmount, Command, Target};
pub use entry::{Entries, Entry, Movement};
pub use hold::{HoldEnd, OpenHold};
pub use refusal::{PayeeProblem, Refusal};
pub use reversal::Past;
pub use transfer::{Arrival, Outcome, Outgoing, PairFault, Payee, PeerView};
pub use trial_balance::TrialBalanceLine;

use bank_proto::{AccountSerial, BranchId, Currency, CustomerId, Timestamp, TransactionKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};

/// Hash maps with fixed keys: the same books behave the same in every run.
type FixedMap<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// The books of one branch.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    initialized: bool,
    /// By serial, beginning with 1.
    accounts: Vec<Account>,
    /// Every known customer with the accounts held here, oldest first.
    customers: FixedMap<CustomerId, Held>,
    /// The holders after the first.
    joint_holders: FixedMap<AccountSerial, Vec<CustomerId>>,
    /// The bank's own accounts, opened when first needed.
    house: BTreeMap<(AccountKind, Currency), AccountSerial>,
    /// What was exchanged with each other branch.
    pairs: BTreeMap<BranchId, transfer::Pair>,
    /// Where in the pairs' outboxes a transfer stands that has not ended.
    in_flight: FixedMap<TransactionKey, (BranchId, u64)>,
    /// How much may be under way to one other branch, in minor units; 0 for any amount.
    clearing_limit: i64,
    /// Every hold that has not ended.
    holds: FixedMap<TransactionKey, OpenHold>,
    /// When each of them ends by itself.
    expiries: BTreeSet<(Timestamp, TransactionKey)>,
    /// The way back to the last durable state.
    undo: Vec<apply::Undo>,
}

/// The accounts that one customer holds: nearly always one, so that one needs no allocation.
#[derive(Debug, Clone)]
enum Held {
    None,
    One(AccountSerial),
    Many(Vec<AccountSerial>),
}

impl PartialEq for Held {
    /// By what is held, not by how.
    fn eq(&self, other: &Held) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Held {
    fn as_slice(&self) -> &[AccountSerial] {
        match self {
            Held::None => &[],
            Held::One(serial) => std::slice::from_ref(serial),
            Held::Many(serials) => serials,
        }
    }

    fn push(&mut self, serial: AccountSerial) {
        match self {
            Held::None => *self = Held::One(serial),
            Held::One(first) => *self = Held::Many(vec![*first, serial]),
            Held::Many(serials) => serials.push(serial),
        }
    }

    fn pop(&mut self) {
        match self {
            Held::None => {}
            Held::One(_) => *self = Held::None,
            Held::Many(serials) => {
                serials.pop();
            }
        }
    }
}

impl Ledger {
    /// Whether the branch's books are open.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        self.initialized
    }

    /// The account with this serial.
    #[must_use]
    pub fn account(&self, serial: AccountSerial) -> Option<&Account> {
        self.accounts.get((serial.0 as usize).checked_sub(1)?)
    }

    /// All accounts with their serials, in order of opening.
    pub fn accounts(&self) -> impl Iterator<Item = (AccountSerial, &Account)> {
        (1..).map(AccountSerial).zip(&self.accounts)
    }

    /// How many accounts were ever opened here, the bank's own included.
    #[must_use]
    pub fn account_count(&self) -> usize {
        self.accounts.len()
    }

    /// Whether the customer is known here.
    #[must_use]
    pub fn knows(&self, customer: CustomerId) -> bool {
        self.customers.contains_key(&customer)
    }

    /// Every customer known here.
    pub fn customers(&self) -> impl Iterator<Item = CustomerId> {
        self.customers.keys().copied()
    }

    /// The accounts that a customer holds here, oldest first.
    #[must_use]
    pub fn accounts_of(&self, customer: CustomerId) -> &[AccountSerial] {
        self.customers.get(&customer).map_or(&[], Held::as_slice)
    }

    /// The holders of an account after the first.
    #[must_use]
    pub fn joint_holders(&self, serial: AccountSerial) -> &[CustomerId] {
        self.joint_holders.get(&serial).map_or(&[], Vec::as_slice)
    }

    /// The account whose balance is asked for. Without a currency USD chooses among a customer's accounts,
    /// and an account by number has its own.
    ///
    /// # Errors
    /// As [`Ledger::find`], and that the account is not in the currency.
    pub fn find_queried(&self, target: Target, asked: Option<Currency>) -> Result<AccountSerial, Refusal> {
        let serial = self.find(target, asked.unwrap_or(Currency::USD))?;
        let currency = self.expect_account(serial).currency;
        match asked {
            Some(asked) if asked != currency => Err(Refusal::CurrencyMismatch { account: currency }),
            Some(_) | None => Ok(serial),
        }
    }

    /// The account that an order means.
    ///
    /// For a customer it is the oldest open checking account in the currency.
    ///
    /// # Errors
    /// Which of customer and account is unknown, or that only a frozen or closed one is there.
    pub fn find(&self, target: Target, currency: Currency) -> Result<AccountSerial, Refusal> {
        match target {
            Target::Account(serial) => match self.account(serial) {
                Some(account) if account.kind.is_customer() => Ok(serial),
                _ => Err(Refusal::AccountNotFound),
            },
            Target::Customer(customer) => match self.find_checking(customer, currency) {
                Some(serial) => Ok(serial),
                None if self.knows(customer) => Err(Refusal::AccountNotFound),
                None => Err(Refusal::CustomerNotFound),
            },
        }
    }

    /// A customer's oldest open checking account in a currency; without an open one, the oldest
    /// frozen, and then the oldest closed.
    fn find_checking(&self, customer: CustomerId, currency: Currency) -> Option<AccountSerial> {
        let checking = self.accounts_of(customer).iter().copied().filter_map(|serial| {
            let account = self.account(serial)?;
            let fits = account.kind == AccountKind::Customer(Product::Checking) && account.currency == currency;
            fits.then_some((account.state, serial))
        });
        // `min` takes the first of equals, and states are ordered open, frozen, closed.
        checking.min().map(|(_, serial)| serial)
    }

    /// The account with a serial that the ledger itself gave out.
    ///
    /// # Panics
    /// The serial was never given out: a broken invariant of the program, not of the bank.
    fn expect_account(&self, serial: AccountSerial) -> &Account {
        match self.account(serial) {
            Some(account) => account,
            None => panic!("account {} was never opened", serial.0),
        }
    }
}
