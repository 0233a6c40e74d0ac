//! Holds <-> rows of the journal.

use super::{Books, Order, RowError};
use crate::journal::{Row, RowKind};
use crate::ledger::{Command, Entry, HoldEnd};
use crate::teller::detail::{Detail, HoldDetail};
use bank_proto::{AccountSerial, TransactionKey};

/// Writes what a hold's entry says into its row. Memo and metadata belong to the hold where it is placed or
/// let go; those of a capture belong to the money.
pub(super) fn record(row: &mut Row, entry: &Entry, order: &Order, books: Books<'_>) {
    let (account, amount, detail) = match *entry {
        Entry::HoldPlaced { hold: _, account, amount, expires_at } => (account, amount, HoldDetail::until(expires_at)),
        Entry::HoldCaptured { hold, account, amount, released } => {
            (account, amount, HoldDetail { released, ..HoldDetail::of(books.branch, hold) })
        }
        Entry::HoldEnded { hold, account, end: _, released } => (account, released, HoldDetail::of(books.branch, hold)),
        _ => return,
    };
    let theirs = books.ledger.account(account);
    row.debit_account = Some(account);
    row.amount = amount;
    row.currency = theirs.map(|account| account.currency);
    row.customer = theirs.and_then(|account| account.customer);
    let memo = if matches!(order.command, Command::Capture { .. }) { None } else { order.detail.as_deref() };
    row.detail = Detail::of_hold(detail).json_behind(memo);
}

/// The entry that a hold's row records.
pub(super) fn entry(row: &Row, account: AccountSerial) -> Result<Entry, RowError> {
    if row.amount <= 0 || row.credit_account.is_some() {
        return Err(RowError::new(row, "a hold of nothing, or of two accounts"));
    }
    let detail = detail_of(row)?;
    let amount = row.amount;
    Ok(match row.kind {
        RowKind::HoldPlaced => {
            Entry::HoldPlaced { hold: row.transaction, account, amount, expires_at: detail.expires_at(row)? }
        }
        RowKind::HoldCaptured => {
            Entry::HoldCaptured { hold: detail.key(row)?, account, amount, released: detail.released }
        }
        RowKind::HoldReleased => {
            Entry::HoldEnded { hold: detail.key(row)?, account, end: HoldEnd::Released, released: amount }
        }
        _ => {
            let hold = detail.key(row)?;
            if row.transaction != hold.hold_ended() {
                return Err(RowError::new(row, "a hold's time is over under another id than its own"));
            }
            Entry::HoldEnded { hold, account, end: HoldEnd::Expired, released: amount }
        }
    })
}

/// The hold that a row is about; None for rows of other kinds.
pub(in crate::teller) fn hold_of(row: &Row) -> Result<Option<TransactionKey>, RowError> {
    match row.kind {
        RowKind::HoldPlaced => Ok(Some(row.transaction)),
        RowKind::HoldCaptured | RowKind::HoldReleased | RowKind::HoldExpired => detail_of(row)?.key(row).map(Some),
        _ => Ok(None),
    }
}

/// The derived key that leads to a row because it ends a hold.
pub(in crate::teller) fn hold_end_key(row: &Row) -> Result<Option<TransactionKey>, RowError> {
    match row.kind {
        RowKind::HoldCaptured if detail_of(row)?.released.is_none() => Ok(None),
        // One that ended because its time was over stands under that key already.
        RowKind::HoldCaptured | RowKind::HoldReleased => Ok(hold_of(row)?.map(TransactionKey::hold_ended)),
        _ => Ok(None),
    }
}

fn detail_of(row: &Row) -> Result<HoldDetail, RowError> {
    let detail = Detail::read(row)?.hold;
    detail.ok_or_else(|| RowError::new(row, format!("a row of kind {} without a hold", row.kind.as_str())))
}
