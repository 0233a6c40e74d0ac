//! The rows of reversals.

use super::{Books, RowError, transfer_of};
use crate::journal::Row;
use crate::ledger::{Command, Entry, Movement, Target};
use crate::teller::detail::{Detail, ReversalDetail, TransferDetail};
use crate::teller::request::Order;
use bank_proto::{AccountSerial, BranchId, TransactionId, TransactionKey};

/// What a row says that takes a transaction of the branch back.
pub(super) fn of(branch: BranchId, original: TransactionKey, movement: Movement) -> Detail {
    Detail::of_reversal(ReversalDetail::new(TransactionId { branch, key: original }, Some(movement)))
}

/// What the payee's branch says of the transfer that it sends, or refuses to send, back.
pub(super) fn returned(command: &Command) -> Option<ReversalDetail> {
    let Command::Return { original, arrival, .. } = *command else { return None };
    let original = TransactionId { branch: arrival.source, key: original };
    Some(ReversalDetail::new(original, Some(Movement::Transfer)))
}

/// Fills in the row that asks another branch for the money of a transfer: it is about the payer's account.
pub(super) fn sent(row: &mut Row, entry: &Entry, order: &Order, Books { branch, ledger }: Books<'_>) {
    let Entry::ReversalSent { original, attempt, peer, payee, pair_sequence, payer, amount, .. } = *entry else {
        return;
    };
    row.debit_account = Some(payer);
    row.amount = amount;
    let account = ledger.account(payer);
    row.currency = account.map(|account| account.currency);
    row.customer = account.and_then(|account| account.customer);
    let payee = TransferDetail::payee(peer, Target::Account(payee));
    let original = ReversalDetail::new(TransactionId { branch, key: original }, Some(Movement::Transfer));
    row.detail = Detail {
        transfer: Some(TransferDetail { number: pair_sequence, ..payee }),
        reversal: Some(original.after(attempt)),
        ..Detail::default()
    }
    .json_behind(order.detail.as_deref());
}

pub(super) fn entry_reversed(
    row: &Row,
    (debit, credit, amount): (AccountSerial, AccountSerial, i64),
) -> Result<Entry, RowError> {
    let detail = reversal_of(row)?;
    let (original, movement) = (detail.original(row)?.key, detail.movement(row)?);
    Ok(Entry::Reversed { original, movement, debit, credit, amount })
}

pub(super) fn entry_sent(row: &Row, payer: AccountSerial) -> Result<Entry, RowError> {
    if row.amount <= 0 {
        return Err(RowError::new(row, "a reversal of nothing"));
    }
    let (transfer, detail) = (transfer_of(row)?, reversal_of(row)?);
    Ok(Entry::ReversalSent {
        reversal: row.transaction,
        original: detail.original(row)?.key,
        attempt: detail.attempt,
        peer: transfer.peer(row)?,
        payee: transfer.account().ok_or_else(|| RowError::new(row, "a reversal without the payee's account"))?,
        pair_sequence: transfer.number,
        payer,
        amount: row.amount,
    })
}

/// The key, derived of the original's, that leads to a reversal's row.
pub(in crate::teller) fn reversal_key(row: &Row) -> Result<TransactionKey, RowError> {
    let detail = reversal_of(row)?;
    Ok(detail.original(row)?.key.reversed(detail.attempt))
}

fn reversal_of(row: &Row) -> Result<ReversalDetail, RowError> {
    let detail = Detail::read(row)?.reversal;
    detail.ok_or_else(|| RowError::new(row, "a reversal without what it reverses"))
}
