//! Command -> entries or refusal. Checks come in one written order, and the first failure wins.

mod hold;
mod reversal;
mod transfer;

use super::{Account, AccountKind, AccountState, AskedAmount, Command, Entries, Entry, Ledger, Movement};
use super::{Product, Refusal, Target};
use crate::planted::{Bug, is_planted};
use bank_proto::{AccountSerial, Currency, CustomerId, Money, limits};

impl Ledger {
    /// What an order would do. Changes nothing: [`Ledger::apply`] does, entry by entry.
    ///
    /// An initialized branch that is asked to initialize again only says so.
    ///
    /// # Errors
    /// The refusal, to be stored under the order's id.
    pub fn decide(&self, command: &Command) -> Result<Entries, Refusal> {
        match command {
            Command::InitializeBranch { customer, initial_balance } => {
                self.decide_initialize(*customer, *initial_balance)
            }
            Command::RegisterCustomer { customer } if self.knows(*customer) => Err(Refusal::CustomerExists),
            Command::RegisterCustomer { customer } => Ok(Entries(vec![Entry::CustomerRegistered(*customer)])),
            Command::OpenAccount { customer, product, currency, joint_holders, overdraft_limit } => {
                self.decide_open(*customer, *product, *currency, joint_holders, *overdraft_limit)
            }
            Command::Deposit { target, amount } => self.decide_deposit(*target, *amount),
            Command::Withdraw { target, amount } => self.decide_withdraw(*target, *amount),
            Command::Transfer { payer, payee, amount } => self.decide_transfer(*payer, *payee, *amount),
            Command::Hold { hold, target, amount, life_seconds: _, expires_at } => {
                self.decide_hold(*hold, *target, *amount, *expires_at)
            }
            Command::Capture { hold, payee, amount, is_last, ended } => {
                self.decide_capture(*hold, *payee, *amount, *is_last, *ended)
            }
            Command::Release { hold, ended } => self.decide_release(*hold, *ended),
            Command::Expire { hold } => self.decide_expire(*hold),
            Command::Receive { arrival, payee, amount } => self.decide_receive(*arrival, *payee, *amount),
            Command::Cancel(arrival) => Ok(Entries(vec![Entry::TurnedAway(*arrival)])),
            Command::Settle { transfer, outcome, peer: _, peer_epoch } => {
                self.decide_settle(*transfer, *outcome, *peer_epoch)
            }
            Command::Reverse { original, reversal, past } => self.decide_reverse(*original, *reversal, *past),
            Command::Return { arrival, original: _, amount, past } => self.decide_return(*arrival, *amount, *past),
            Command::Freeze(serial) => self.decide_freeze(*serial),
            Command::Unfreeze(serial) => self.decide_unfreeze(*serial),
            Command::Close(serial) => self.decide_close(*serial),
        }
    }

    fn decide_initialize(&self, customer: CustomerId, initial_balance: Money) -> Result<Entries, Refusal> {
        let initial_balance = initial_balance.within_order_limit().map_err(Refusal::InvalidAmount)?;
        if self.initialized {
            let account = self.find(Target::Customer(customer), initial_balance.currency())?;
            let state = self.expect_account(account).state;
            return Ok(Entries(vec![Entry::BranchFoundOpen { account, state }]));
        }
        let currency = initial_balance.currency();
        let mut draft = Draft::new(self);
        draft.entries.push(Entry::BranchInitialized);
        draft.register(customer);
        let account = draft.open(AccountKind::Customer(Product::Checking), currency, Some(customer), 0)?;
        if initial_balance.minor() > 0 {
            let capital = draft.house_account(AccountKind::Capital, currency)?;
            draft.move_money(Movement::OpeningBalance, capital, account, initial_balance.minor())?;
        }
        Ok(Entries(draft.entries))
    }

    fn decide_open(
        &self,
        customer: CustomerId,
        product: Product,
        currency: Currency,
        joint_holders: &[CustomerId],
        overdraft_limit: i64,
    ) -> Result<Entries, Refusal> {
        let limit = Money::from_minor(overdraft_limit, currency).within_order_limit();
        let overdraft_limit = limit.map_err(Refusal::InvalidAmount)?.minor();
        let mut draft = Draft::new(self);
        draft.register(customer);
        let account = draft.open(AccountKind::Customer(product), currency, Some(customer), overdraft_limit)?;
        for holder in joint_holders {
            draft.register(*holder);
            self.may_hold_another(*holder)?;
            draft.entries.push(Entry::HolderAdded { account, customer: *holder });
        }
        Ok(Entries(draft.entries))
    }

    fn decide_deposit(&self, target: Target, amount: AskedAmount) -> Result<Entries, Refusal> {
        let mut draft = Draft::new(self);
        let (account, money) = match (target, amount) {
            (Target::Customer(customer), AskedAmount::Money(money)) => {
                let money = money.within_order_limit().map_err(Refusal::InvalidAmount)?;
                let account = match self.find_checking(customer, money.currency()) {
                    Some(serial) => {
                        takes_movements(self.expect_account(serial))?;
                        serial
                    }
                    None => {
                        draft.register(customer);
                        draft.open(AccountKind::Customer(Product::Checking), money.currency(), Some(customer), 0)?
                    }
                };
                (account, money)
            }
            (target, amount) => self.movable(target, amount)?,
        };
        let vault = draft.house_account(AccountKind::VaultCash, money.currency())?;
        draft.move_money(Movement::Deposit, vault, account, money.minor())?;
        Ok(Entries(draft.entries))
    }

    fn decide_withdraw(&self, target: Target, amount: AskedAmount) -> Result<Entries, Refusal> {
        let (serial, money) = self.movable(target, amount)?;
        if !is_planted(Bug::CheckOutsideCommit) {
            covers(self.expect_account(serial), money)?;
        }
        let mut draft = Draft::new(self);
        let vault = draft.house_account(AccountKind::VaultCash, money.currency())?;
        draft.move_money(Movement::Withdrawal, serial, vault, money.minor())?;
        Ok(Entries(draft.entries))
    }

    fn decide_freeze(&self, serial: AccountSerial) -> Result<Entries, Refusal> {
        takes_movements(self.customer_account(serial)?)?;
        Ok(state_change(serial, AccountState::Frozen))
    }

    fn decide_unfreeze(&self, serial: AccountSerial) -> Result<Entries, Refusal> {
        match self.customer_account(serial)?.state {
            AccountState::Frozen => Ok(state_change(serial, AccountState::Open)),
            AccountState::Closed => Err(Refusal::AccountClosed),
            AccountState::Open => Err(Refusal::AccountNotFrozen),
        }
    }

    fn decide_close(&self, serial: AccountSerial) -> Result<Entries, Refusal> {
        let account = self.customer_account(serial)?;
        takes_movements(account)?;
        if account.balance != 0 {
            return Err(Refusal::AccountNotEmpty { balance: account.balance_money() });
        }
        if account.held != 0 {
            return Err(Refusal::HoldsOpen { held: Money::from_minor(account.held, account.currency) });
        }
        if self.outbox().any(|(_, _, outgoing)| outgoing.debited == serial) {
            return Err(Refusal::TransfersInFlight);
        }
        Ok(state_change(serial, AccountState::Closed))
    }

    /// An existing account that takes movements, and the amount in its currency.
    pub(super) fn movable(&self, target: Target, amount: AskedAmount) -> Result<(AccountSerial, Money), Refusal> {
        let wanted = match amount {
            AskedAmount::Money(money) => money.currency(),
            // Only said for an account by number, whose own currency then counts.
            AskedAmount::InAccountCurrency(_) => Currency::USD,
        };
        let serial = self.find(target, wanted)?;
        let account = self.expect_account(serial);
        let money = match amount {
            AskedAmount::Money(money) if money.currency() == account.currency => money,
            AskedAmount::Money(_) => return Err(Refusal::CurrencyMismatch { account: account.currency }),
            AskedAmount::InAccountCurrency(amount) => {
                amount.count_in(account.currency).map_err(Refusal::InvalidAmount)?
            }
        };
        let money = money.within_order_limit().map_err(Refusal::InvalidAmount)?;
        takes_movements(account)?;
        Ok((serial, money))
    }

    fn may_hold_another(&self, customer: CustomerId) -> Result<(), Refusal> {
        let held = self.accounts_of(customer).len();
        if held < limits::ACCOUNTS_PER_CUSTOMER { Ok(()) } else { Err(Refusal::AccountLimitExceeded) }
    }

    fn customer_account(&self, serial: AccountSerial) -> Result<&Account, Refusal> {
        self.account(serial).filter(|account| account.kind.is_customer()).ok_or(Refusal::AccountNotFound)
    }
}

pub(super) fn takes_movements(account: &Account) -> Result<(), Refusal> {
    match account.state {
        AccountState::Open => Ok(()),
        AccountState::Frozen => Err(Refusal::AccountFrozen),
        AccountState::Closed => Err(Refusal::AccountClosed),
    }
}

/// Whether an account has the money.
pub(super) fn covers(account: &Account, money: Money) -> Result<(), Refusal> {
    if account.covers(money.minor()) {
        return Ok(());
    }
    Err(Refusal::InsufficientFunds { balance: account.balance_money(), available: account.available() })
}

fn state_change(account: AccountSerial, state: AccountState) -> Entries {
    Entries(vec![Entry::StateChanged { account, state }])
}

/// Entries in the making, on top of books that do not change meanwhile.
pub(super) struct Draft<'a> {
    ledger: &'a Ledger,
    pub(super) entries: Vec<Entry>,
    opened: u32,
}

impl<'a> Draft<'a> {
    pub(super) fn new(ledger: &'a Ledger) -> Draft<'a> {
        Draft { ledger, entries: Vec::with_capacity(1), opened: 0 }
    }

    fn register(&mut self, customer: CustomerId) {
        if !self.ledger.knows(customer) && !self.entries.contains(&Entry::CustomerRegistered(customer)) {
            self.entries.push(Entry::CustomerRegistered(customer));
        }
    }

    fn open(
        &mut self,
        kind: AccountKind,
        currency: Currency,
        customer: Option<CustomerId>,
        overdraft_limit: i64,
    ) -> Result<AccountSerial, Refusal> {
        if let Some(customer) = customer {
            self.ledger.may_hold_another(customer)?;
        }
        let next = u32::try_from(self.ledger.accounts.len()).ok().and_then(|count| count.checked_add(self.opened + 1));
        let account = AccountSerial(next.ok_or(Refusal::AccountLimitExceeded)?);
        self.opened += 1;
        self.entries.push(Entry::AccountOpened { account, kind, currency, customer, overdraft_limit });
        Ok(account)
    }

    /// One of the bank's own accounts, opened when first needed.
    pub(super) fn house_account(&mut self, kind: AccountKind, currency: Currency) -> Result<AccountSerial, Refusal> {
        match self.ledger.house.get(&(kind, currency)) {
            Some(serial) => Ok(*serial),
            None => self.open(kind, currency, None, 0),
        }
    }

    pub(super) fn move_money(
        &mut self,
        movement: Movement,
        debit: AccountSerial,
        credit: AccountSerial,
        amount: i64,
    ) -> Result<(), Refusal> {
        self.fits(debit, credit, amount)?;
        self.entries.push(Entry::Moved { movement, debit, credit, amount });
        Ok(())
    }

    /// Whether both balances stay within 64 bits.
    pub(super) fn fits(&self, debit: AccountSerial, credit: AccountSerial, amount: i64) -> Result<(), Refusal> {
        // An account opened by this very draft is at zero.
        let balance = |serial| self.ledger.account(serial).map_or(0, |account| account.balance);
        let fits = balance(debit).checked_sub(amount).is_some() && balance(credit).checked_add(amount).is_some();
        if fits { Ok(()) } else { Err(Refusal::BalanceLimitExceeded) }
    }
}
