//! Entries of the ledger <-> rows of the journal.

use super::answer::Declined;
use super::request::Order;
use crate::journal::{Row, RowKind, Sequence};
use crate::ledger::{AccountKind, AccountState, AskedAmount, Command, Entry, Ledger, Movement, Posted, Target};
use bank_proto::{AccountSerial, BranchId, CustomerId, ErrorCode, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a row's `detail` holds, as compact JSON. Part of the file format: fields may be added.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Detail {
    /// The account's kind, on the row that opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// The peer of a clearing account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<u32>,
    /// The account's state, on a row that only looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// The code of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// What a refusal told besides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    told: BTreeMap<String, String>,
}

/// Why a row does not fit the books.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {sequence}: {what}")]
pub struct RowError {
    /// Which row.
    pub sequence: Sequence,
    /// What is wrong.
    pub what: String,
}

impl RowError {
    pub(super) fn new(row: &Row, what: impl Into<String>) -> RowError {
        RowError { sequence: row.sequence, what: what.into() }
    }
}

/// A row of an order, still without what happened.
fn blank(order: &Order, sequence: Sequence, booked_at: Timestamp, kind: RowKind, is_first: bool) -> Row {
    Row {
        sequence,
        booked_at,
        transaction: order.key.get(),
        fingerprint: is_first.then_some(order.fingerprint),
        kind,
        debit_account: None,
        credit_account: None,
        amount: 0,
        currency: None,
        debit_balance: 0,
        credit_balance: 0,
        debit_previous: 0,
        credit_previous: 0,
        customer: None,
        principal: order.caller.principal.clone(),
        channel: order.caller.channel,
        detail: None,
    }
}

/// The row that records an applied entry.
pub(super) fn entry_row(
    order: &Order,
    sequence: Sequence,
    booked_at: Timestamp,
    is_first: bool,
    entry: &Entry,
    posted: Posted,
    ledger: &Ledger,
) -> Row {
    let mut row = blank(order, sequence, booked_at, row_kind(entry), is_first);
    row.debit_balance = posted.debit_balance;
    row.credit_balance = posted.credit_balance;
    row.debit_previous = posted.debit_previous;
    row.credit_previous = posted.credit_previous;
    match *entry {
        Entry::BranchInitialized => {}
        Entry::BranchFoundOpen { account, state } => {
            row.debit_account = Some(account);
            row.currency = ledger.account(account).map(|account| account.currency);
            row.customer = target_customer(&order.command);
            row.detail = json(&Detail { state: Some(state.as_str().to_owned()), ..Detail::default() });
        }
        Entry::CustomerRegistered(customer) => {
            row.customer = Some(customer);
            // A deposit registers its customer too, but its memo belongs to the money.
            if matches!(order.command, Command::RegisterCustomer { .. }) {
                row.detail = order.detail.clone();
            }
        }
        Entry::AccountOpened { account, kind, currency, customer, overdraft_limit } => {
            row.debit_account = Some(account);
            row.currency = Some(currency);
            row.amount = overdraft_limit;
            row.customer = customer;
            let peer = if let AccountKind::Clearing(peer) = kind { Some(peer.get()) } else { None };
            row.detail = json(&Detail { kind: Some(kind.as_str().to_owned()), peer, ..Detail::default() });
        }
        Entry::HolderAdded { account, customer } => {
            row.debit_account = Some(account);
            row.currency = ledger.account(account).map(|account| account.currency);
            row.customer = Some(customer);
        }
        Entry::StateChanged { account, .. } => {
            row.debit_account = Some(account);
            row.currency = ledger.account(account).map(|account| account.currency);
            row.customer = ledger.account(account).and_then(|account| account.customer);
        }
        Entry::Moved { movement, debit, credit, amount } => {
            row.debit_account = Some(debit);
            row.credit_account = Some(credit);
            row.amount = amount;
            let theirs = ledger.account(customers_side(movement, debit, credit));
            row.currency = theirs.map(|account| account.currency);
            row.customer = target_customer(&order.command).or(theirs.and_then(|account| account.customer));
            row.detail = order.detail.clone();
        }
    }
    row
}

/// The row that records a refusal: it moves nothing and stands in no account's history.
pub(super) fn refusal_row(order: &Order, sequence: Sequence, booked_at: Timestamp, declined: &Declined) -> Row {
    let mut row = blank(order, sequence, booked_at, RowKind::Refused, true);
    row.customer = target_customer(&order.command);
    if let Command::Deposit { target, amount } | Command::Withdraw { target, amount } = &order.command {
        if let AskedAmount::Money(money) = amount {
            row.amount = money.minor();
            row.currency = Some(money.currency());
        }
        if let Target::Account(serial) = target {
            row.debit_account = Some(*serial);
        }
    }
    row.detail = json(&Detail {
        code: Some(declined.code.as_str().to_owned()),
        told: declined.metadata.clone(),
        ..Detail::default()
    });
    row
}

/// The refusal that a row records.
pub(super) fn declined_of(row: &Row) -> Result<Declined, RowError> {
    let detail = detail_of(row)?;
    let code = detail.code.as_deref().and_then(ErrorCode::from_text);
    let code = code.ok_or_else(|| RowError::new(row, "a refusal without a known code"))?;
    Ok(Declined { code, metadata: detail.told })
}

/// The entry that a row records; None for a refusal, which changes nothing.
pub(super) fn entry_of(row: &Row) -> Result<Option<Entry>, RowError> {
    let lacks = |what: &str| RowError::new(row, format!("a row of kind {} without {what}", row.kind.as_str()));
    let account = || row.debit_account.ok_or_else(|| lacks("an account"));
    let customer = || row.customer.ok_or_else(|| lacks("a customer"));
    let state = |state| Ok(Some(Entry::StateChanged { account: account()?, state }));
    let moved = |movement| {
        if row.amount <= 0 || row.debit_account == row.credit_account {
            return Err(RowError::new(row, "a movement that moves nothing"));
        }
        Ok(Some(Entry::Moved {
            movement,
            debit: account()?,
            credit: row.credit_account.ok_or_else(|| lacks("a credited account"))?,
            amount: row.amount,
        }))
    };
    match row.kind {
        RowKind::Refused => Ok(None),
        RowKind::BranchInitialized => Ok(Some(Entry::BranchInitialized)),
        RowKind::BranchFoundOpen => {
            let state = detail_of(row)?.state.as_deref().and_then(AccountState::from_text);
            Ok(Some(Entry::BranchFoundOpen {
                account: account()?,
                state: state.ok_or_else(|| lacks("a known state"))?,
            }))
        }
        RowKind::CustomerRegistered => Ok(Some(Entry::CustomerRegistered(customer()?))),
        RowKind::AccountOpened => {
            if row.amount < 0 {
                return Err(RowError::new(row, "a negative overdraft limit"));
            }
            let detail = detail_of(row)?;
            let peer = detail.peer.and_then(|peer| BranchId::new(i64::from(peer)).ok());
            let kind = detail.kind.as_deref().and_then(|kind| AccountKind::from_text(kind, peer));
            Ok(Some(Entry::AccountOpened {
                account: account()?,
                kind: kind.ok_or_else(|| lacks("a known kind of account"))?,
                currency: row.currency.ok_or_else(|| lacks("a currency"))?,
                customer: row.customer,
                overdraft_limit: row.amount,
            }))
        }
        RowKind::HolderAdded => Ok(Some(Entry::HolderAdded { account: account()?, customer: customer()? })),
        RowKind::AccountFrozen => state(AccountState::Frozen),
        RowKind::AccountUnfrozen => state(AccountState::Open),
        RowKind::AccountClosed => state(AccountState::Closed),
        RowKind::OpeningBalance => moved(Movement::OpeningBalance),
        RowKind::Deposit => moved(Movement::Deposit),
        RowKind::Withdrawal => moved(Movement::Withdrawal),
    }
}

/// Which side of a movement is the customer's.
pub(super) fn customers_side(movement: Movement, debit: AccountSerial, credit: AccountSerial) -> AccountSerial {
    match movement {
        Movement::OpeningBalance | Movement::Deposit => credit,
        Movement::Withdrawal => debit,
    }
}

fn row_kind(entry: &Entry) -> RowKind {
    match entry {
        Entry::BranchInitialized => RowKind::BranchInitialized,
        Entry::BranchFoundOpen { .. } => RowKind::BranchFoundOpen,
        Entry::CustomerRegistered(_) => RowKind::CustomerRegistered,
        Entry::AccountOpened { .. } => RowKind::AccountOpened,
        Entry::HolderAdded { .. } => RowKind::HolderAdded,
        Entry::StateChanged { state: AccountState::Frozen, .. } => RowKind::AccountFrozen,
        Entry::StateChanged { state: AccountState::Open, .. } => RowKind::AccountUnfrozen,
        Entry::StateChanged { state: AccountState::Closed, .. } => RowKind::AccountClosed,
        Entry::Moved { movement: Movement::OpeningBalance, .. } => RowKind::OpeningBalance,
        Entry::Moved { movement: Movement::Deposit, .. } => RowKind::Deposit,
        Entry::Moved { movement: Movement::Withdrawal, .. } => RowKind::Withdrawal,
    }
}

fn target_customer(command: &Command) -> Option<CustomerId> {
    match command {
        Command::InitializeBranch { customer, .. }
        | Command::RegisterCustomer { customer }
        | Command::OpenAccount { customer, .. }
        | Command::Deposit { target: Target::Customer(customer), .. }
        | Command::Withdraw { target: Target::Customer(customer), .. } => Some(*customer),
        Command::Deposit { target: Target::Account(_), .. }
        | Command::Withdraw { target: Target::Account(_), .. }
        | Command::Freeze(_)
        | Command::Unfreeze(_)
        | Command::Close(_) => None,
    }
}

fn detail_of(row: &Row) -> Result<Detail, RowError> {
    let text = row.detail.as_deref().unwrap_or("{}");
    serde_json::from_str(text).map_err(|_| RowError::new(row, "its detail is not understood"))
}

fn json(detail: &Detail) -> Option<Box<str>> {
    // Only texts, numbers and a map of texts: there is nothing in it that JSON cannot say.
    serde_json::to_string(detail).ok().map(String::into_boxed_str)
}
