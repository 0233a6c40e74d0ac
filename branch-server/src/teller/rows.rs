//! Entries of the ledger <-> rows of the journal.

mod hold;
mod reversal;

use super::answer::Declined;
use super::detail::{Detail, HoldDetail, ReversalDetail, TransferDetail};
use super::request::Order;
use crate::journal::{Channel, Row, RowKind, Sequence};
use crate::ledger::{AccountKind, AccountState, Arrival, AskedAmount, Command, Entry, Ledger, Movement, Payee, Posted};
use crate::ledger::{HoldEnd, Target};
use bank_proto::{AccountSerial, BranchId, CustomerId, Timestamp, TransactionId, TransactionKey};
pub(super) use hold::{hold_end_key, hold_of};
pub(super) use reversal::reversal_key;

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

/// Whose books an entry was applied to.
#[derive(Clone, Copy)]
pub(super) struct Books<'a> {
    pub(super) branch: BranchId,
    pub(super) ledger: &'a Ledger,
}

/// The row that records an applied entry.
pub(super) fn entry_row(
    order: &Order,
    sequence: Sequence,
    booked_at: Timestamp,
    is_first: bool,
    entry: &Entry,
    posted: Posted,
    books: Books<'_>,
) -> Row {
    let Books { branch, ledger } = books;
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
            row.detail = Detail::of_state(state).json();
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
            row.detail = Detail::of_account(kind).json();
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
        Entry::HoldPlaced { .. } | Entry::HoldCaptured { .. } | Entry::HoldEnded { .. } => {
            hold::record(&mut row, entry, order, books);
        }
        Entry::Moved { movement, debit, credit, amount } => {
            moved(&mut row, order, ledger, (debit, credit, amount), customers_side(movement, debit, credit));
            row.detail = order.detail.clone();
        }
        Entry::Reversed { original, movement, debit, credit, amount } => {
            // Of the two, the one whose statement showed what is reversed.
            moved(&mut row, order, ledger, (debit, credit, amount), customers_side(movement, credit, debit));
            row.detail = reversal::of(branch, original, movement).json_behind(order.detail.as_deref());
        }
        Entry::ReversalSent { .. } => reversal::sent(&mut row, entry, order, books),
        Entry::ReversalAccepted(arrival) => {
            row.detail = arrived(&arrival).json();
        }
        Entry::ReversalRefused { reversal, peer, peer_epoch } => {
            let ended = ended(branch, reversal, peer, peer_epoch);
            row.detail = Detail::of_transfer(ended).json_behind(order.detail.as_deref());
        }
        Entry::Sent { transfer: _, peer, payee, pair_sequence, debit, credit, amount } => {
            moved(&mut row, order, ledger, (debit, credit, amount), debit);
            let transfer = TransferDetail { number: pair_sequence, ..TransferDetail::payee(peer, payee) };
            let reversal = reversal::returned(&order.command);
            row.detail = Detail { reversal, ..Detail::of_transfer(transfer) }.json_behind(order.detail.as_deref());
        }
        Entry::Received { arrival, debit, credit, amount } => {
            moved(&mut row, order, ledger, (debit, credit, amount), credit);
            row.detail = arrived(&arrival).json_behind(order.detail.as_deref());
        }
        Entry::TurnedAway(arrival) => {
            row.detail = arrived(&arrival).json_behind(order.detail.as_deref());
        }
        Entry::Completed { transfer, peer, peer_epoch, account, customer } => {
            let ended = ended(branch, transfer, peer, peer_epoch);
            let (account, customer) = (Some(account.0), customer.map(CustomerId::get));
            row.detail = Detail::of_transfer(TransferDetail { account, customer, ..ended }).json();
        }
        Entry::Returned { transfer, peer, peer_epoch, debit, credit, amount } => {
            moved(&mut row, order, ledger, (debit, credit, amount), credit);
            let ended = ended(branch, transfer, peer, peer_epoch);
            row.detail = Detail::of_transfer(ended).json_behind(order.detail.as_deref());
        }
    }
    row
}

fn moved(
    row: &mut Row,
    order: &Order,
    ledger: &Ledger,
    (debit, credit, amount): (AccountSerial, AccountSerial, i64),
    customers: AccountSerial,
) {
    row.debit_account = Some(debit);
    row.credit_account = Some(credit);
    row.amount = amount;
    let theirs = ledger.account(customers);
    row.currency = theirs.map(|account| account.currency);
    row.customer = target_customer(&order.command).or(theirs.and_then(|account| account.customer));
}

fn arrived(arrival: &Arrival) -> Detail {
    Detail::of_transfer(TransferDetail::arrival(arrival))
}

fn ended(branch: BranchId, transfer: TransactionKey, peer: BranchId, epoch: u64) -> TransferDetail {
    let id = Some(TransactionId { branch, key: transfer }.to_string());
    TransferDetail { id, peer: peer.get(), epoch, ..TransferDetail::default() }
}

/// The row that records a refusal: it moves nothing and stands in no account's history.
pub(super) fn refusal_row(
    order: &Order,
    sequence: Sequence,
    booked_at: Timestamp,
    declined: &Declined,
    branch: BranchId,
) -> Row {
    let mut row = blank(order, sequence, booked_at, RowKind::Refused, true);
    row.customer = target_customer(&order.command);
    let mut detail = Detail::of_refusal(declined);
    match &order.command {
        Command::Deposit { target, amount } | Command::Withdraw { target, amount } => asked(&mut row, *target, *amount),
        Command::Transfer { payer, payee, amount } => {
            asked(&mut row, *payer, *amount);
            detail.transfer = Some(payee_of(branch, *payee));
        }
        Command::Receive { arrival, payee, amount } => {
            asked(&mut row, *payee, AskedAmount::Money(*amount));
            detail.transfer = Some(TransferDetail::arrival(arrival));
        }
        Command::Return { arrival, amount, .. } => {
            row.amount = amount.minor();
            row.currency = Some(amount.currency());
            detail.transfer = Some(TransferDetail::arrival(arrival));
            detail.reversal = reversal::returned(&order.command);
        }
        Command::Hold { target, amount, .. } => asked(&mut row, *target, *amount),
        Command::Capture { hold, payee, .. } => {
            detail.hold = Some(HoldDetail::of(branch, *hold));
            detail.transfer = Some(payee_of(branch, *payee));
        }
        Command::Release { hold, .. } => detail.hold = Some(HoldDetail::of(branch, *hold)),
        Command::Reverse { original, .. } => {
            let original = TransactionId { branch, key: *original };
            detail.reversal = Some(ReversalDetail::new(original, None));
        }
        _ => {}
    }
    row.detail = detail.json();
    row
}

fn payee_of(branch: BranchId, payee: Payee) -> TransferDetail {
    match payee {
        Payee::Here(target) => TransferDetail::payee(branch, target),
        Payee::At { branch, target, .. } => TransferDetail::payee(branch, target),
    }
}

fn asked(row: &mut Row, target: Target, amount: AskedAmount) {
    if let AskedAmount::Money(money) = amount {
        row.amount = money.minor();
        row.currency = Some(money.currency());
    }
    if let Target::Account(serial) = target {
        row.debit_account = Some(serial);
    }
}

/// The refusal that a row records.
pub(super) fn declined_of(row: &Row) -> Result<Declined, RowError> {
    Detail::read(row)?.declined(row)
}

/// The payee of a refused transfer, and the hold that was to pay; None when the order was another. A refused
/// capture whose row does not say whom it was to pay was written before such rows did, and tells as little.
pub(super) fn refused_transfer(row: &Row) -> Result<Option<(BranchId, Target, Option<TransactionKey>)>, RowError> {
    let Detail { transfer, hold, .. } = Detail::read(row)?;
    let Some(transfer) = transfer else { return Ok(None) };
    let hold = hold.map(|hold| hold.key(row)).transpose()?;
    Ok(Some((transfer.peer(row)?, transfer.target(row)?, hold)))
}

/// The entry that a row records; None for a refusal that changes nothing.
///
/// # Errors
/// The row is not one that a teller writes.
pub fn entry_of(row: &Row) -> Result<Option<Entry>, RowError> {
    let lacks = |what: &str| RowError::new(row, format!("a row of kind {} without {what}", row.kind.as_str()));
    let account = || row.debit_account.ok_or_else(|| lacks("an account"));
    let customer = || row.customer.ok_or_else(|| lacks("a customer"));
    let state = |state| Ok(Some(Entry::StateChanged { account: account()?, state }));
    let both = || {
        if row.amount <= 0 || row.debit_account == row.credit_account {
            return Err(RowError::new(row, "a movement that moves nothing"));
        }
        Ok((account()?, row.credit_account.ok_or_else(|| lacks("a credited account"))?, row.amount))
    };
    let moved = |movement| {
        let (debit, credit, amount) = both()?;
        Ok(Some(Entry::Moved { movement, debit, credit, amount }))
    };
    match row.kind {
        // Most refusals say nothing of a transfer, and reading them would slow the opening down.
        RowKind::Refused if row.channel != Channel::Branch => Ok(None),
        RowKind::Refused | RowKind::TransferCancelled => {
            Ok(Some(Entry::TurnedAway(transfer_of(row)?.to_arrival(row)?)))
        }
        RowKind::BranchInitialized => Ok(Some(Entry::BranchInitialized)),
        RowKind::BranchFoundOpen => {
            let state = Detail::read(row)?.state.as_deref().and_then(AccountState::from_text);
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
            let detail = Detail::read(row)?;
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
        RowKind::HoldPlaced | RowKind::HoldCaptured | RowKind::HoldReleased | RowKind::HoldExpired => {
            hold::entry(row, account()?).map(Some)
        }
        RowKind::OpeningBalance => moved(Movement::OpeningBalance),
        RowKind::Deposit => moved(Movement::Deposit),
        RowKind::Withdrawal => moved(Movement::Withdrawal),
        RowKind::Transfer => moved(Movement::Transfer),
        RowKind::Reversal => reversal::entry_reversed(row, both()?).map(Some),
        RowKind::ReversalSent => reversal::entry_sent(row, account()?).map(Some),
        RowKind::ReversalAccepted => Ok(Some(Entry::ReversalAccepted(transfer_of(row)?.to_arrival(row)?))),
        RowKind::ReversalRefused => {
            let detail = transfer_of(row)?;
            let (reversal, peer, peer_epoch) = (detail.id(row)?.key, detail.peer(row)?, detail.epoch);
            Ok(Some(Entry::ReversalRefused { reversal, peer, peer_epoch }))
        }
        RowKind::TransferSent => {
            let (debit, credit, amount) = both()?;
            let detail = transfer_of(row)?;
            let (peer, payee) = (detail.peer(row)?, detail.target(row)?);
            let (transfer, pair_sequence) = (row.transaction, detail.number);
            Ok(Some(Entry::Sent { transfer, peer, payee, pair_sequence, debit, credit, amount }))
        }
        RowKind::TransferReceived => {
            let (debit, credit, amount) = both()?;
            Ok(Some(Entry::Received { arrival: transfer_of(row)?.to_arrival(row)?, debit, credit, amount }))
        }
        RowKind::TransferCompleted => {
            let detail = transfer_of(row)?;
            Ok(Some(Entry::Completed {
                transfer: detail.id(row)?.key,
                peer: detail.peer(row)?,
                peer_epoch: detail.epoch,
                account: detail.account().ok_or_else(|| lacks("the payee's account"))?,
                customer: detail.customer(),
            }))
        }
        RowKind::TransferReturned => {
            let (debit, credit, amount) = both()?;
            let detail = transfer_of(row)?;
            let (transfer, peer, peer_epoch) = (detail.id(row)?.key, detail.peer(row)?, detail.epoch);
            Ok(Some(Entry::Returned { transfer, peer, peer_epoch, debit, credit, amount }))
        }
    }
}

/// What a row of a transfer says of the other side.
pub(super) fn transfer_of(row: &Row) -> Result<TransferDetail, RowError> {
    let detail = Detail::read(row)?.transfer;
    detail.ok_or_else(|| RowError::new(row, format!("a row of kind {} without a transfer", row.kind.as_str())))
}

/// Which side of a movement is the customer's.
pub(super) fn customers_side(movement: Movement, debit: AccountSerial, credit: AccountSerial) -> AccountSerial {
    match movement {
        Movement::OpeningBalance | Movement::Deposit => credit,
        Movement::Withdrawal | Movement::Transfer => debit,
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
        Entry::Moved { movement: Movement::Transfer, .. } => RowKind::Transfer,
        Entry::HoldPlaced { .. } => RowKind::HoldPlaced,
        Entry::HoldCaptured { .. } => RowKind::HoldCaptured,
        Entry::HoldEnded { end: HoldEnd::Expired, .. } => RowKind::HoldExpired,
        Entry::HoldEnded { .. } => RowKind::HoldReleased,
        Entry::Reversed { .. } => RowKind::Reversal,
        Entry::ReversalSent { .. } => RowKind::ReversalSent,
        Entry::ReversalAccepted(_) => RowKind::ReversalAccepted,
        Entry::ReversalRefused { .. } => RowKind::ReversalRefused,
        Entry::Sent { .. } => RowKind::TransferSent,
        Entry::Received { .. } => RowKind::TransferReceived,
        Entry::TurnedAway(_) => RowKind::TransferCancelled,
        Entry::Completed { .. } => RowKind::TransferCompleted,
        Entry::Returned { .. } => RowKind::TransferReturned,
    }
}

fn target_customer(command: &Command) -> Option<CustomerId> {
    match command {
        Command::InitializeBranch { customer, .. }
        | Command::RegisterCustomer { customer }
        | Command::OpenAccount { customer, .. }
        | Command::Deposit { target: Target::Customer(customer), .. }
        | Command::Withdraw { target: Target::Customer(customer), .. }
        | Command::Transfer { payer: Target::Customer(customer), .. }
        | Command::Hold { target: Target::Customer(customer), .. }
        | Command::Receive { payee: Target::Customer(customer), .. } => Some(*customer),
        Command::Deposit { target: Target::Account(_), .. }
        | Command::Withdraw { target: Target::Account(_), .. }
        | Command::Transfer { payer: Target::Account(_), .. }
        | Command::Hold { target: Target::Account(_), .. }
        | Command::Capture { .. }
        | Command::Release { .. }
        | Command::Expire { .. }
        | Command::Receive { payee: Target::Account(_), .. }
        | Command::Cancel(_)
        | Command::Settle { .. }
        | Command::Reverse { .. }
        | Command::Return { .. }
        | Command::Freeze(_)
        | Command::Unfreeze(_)
        | Command::Close(_) => None,
    }
}
