//! Journal -> books: the fold that opening, the scrub and `bankctl verify` share. Every row is
//! checked against the chain, against its neighbours, and against what it says it did.

use super::rows::{self, RowError};
use crate::journal::sqlite::MAXIMUM_GROUP_ROWS;
use crate::journal::{ChainHash, GroupCommit, Row, RowKind, Sequence};
use crate::ledger::{Entry, Ledger, Movement, Posted};
use bank_proto::{AccountSerial, BranchId, Timestamp, TransactionKey};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(test)]
mod tests;

/// Books in the making.
pub struct Fold {
    branch: BranchId,
    ledger: Ledger,
    sequence: Sequence,
    head: ChainHash,
    epoch: u64,
    booked_at: Timestamp,
    transaction: Option<TransactionKey>,
    /// What was taken out of a hold and is to leave its account in the same transaction.
    owed: Option<Owed>,
    /// The rows of the group commit that is not yet closed.
    group: Vec<Row>,
    buffer: Vec<u8>,
}

/// The row of a capture, the account whose money it is, and how much.
type Owed = (Sequence, AccountSerial, i64);

/// Books up to a row, and the chain up to there.
#[derive(Debug, Clone)]
pub struct Folded {
    /// The books.
    pub ledger: Ledger,
    /// The last row in them.
    pub sequence: Sequence,
    /// The hash of the group commit that it closes.
    pub head: ChainHash,
    /// When the last row was booked.
    pub booked_at: Timestamp,
}

impl Folded {
    /// The books of a branch that has none yet.
    #[must_use]
    pub fn empty() -> Folded {
        Folded { ledger: Ledger::default(), sequence: 0, head: ChainHash::default(), booked_at: Timestamp(i64::MIN) }
    }
}

impl Fold {
    /// Goes on from books up to a group commit's last row.
    #[must_use]
    pub fn from(branch: BranchId, begin: Folded) -> Fold {
        Fold {
            branch,
            ledger: begin.ledger,
            sequence: begin.sequence,
            head: begin.head,
            epoch: 0,
            booked_at: begin.booked_at,
            transaction: None,
            owed: None,
            group: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Takes the next row, with what closes its group commit if it is the last of one.
    ///
    /// # Errors
    /// The row, or the group that it closes, is not what the writer wrote; the error names the row.
    pub fn take(&mut self, row: Row, closing: Option<GroupCommit>) -> Result<(), RowError> {
        if row.sequence != self.sequence + 1 {
            return Err(RowError::new(&row, format!("it follows row {}: rows are missing", self.sequence)));
        }
        if row.booked_at < self.booked_at {
            return Err(RowError::new(&row, "it was booked before the row before it"));
        }
        let begins = self.transaction != Some(row.transaction);
        if begins != row.fingerprint.is_some() {
            return Err(RowError::new(&row, "its transaction has no beginning, or two"));
        }
        if self.group.len() >= MAXIMUM_GROUP_ROWS {
            return Err(RowError::new(&row, "its group commit has no end"));
        }
        self.sequence = row.sequence;
        self.booked_at = row.booked_at;
        self.transaction = Some(row.transaction);
        self.group.push(row);
        match closing {
            Some(closing) => self.close_group(closing),
            None => Ok(()),
        }
    }

    /// The chain is checked before the rows are believed.
    fn close_group(&mut self, closing: GroupCommit) -> Result<(), RowError> {
        let group = std::mem::take(&mut self.group);
        let Some(last) = group.last() else { return Ok(()) };
        let sealed = GroupCommit::seal(self.branch, closing.epoch, self.head, &group, &mut self.buffer);
        if sealed.hash != closing.hash {
            // The chain condemns the group; perhaps the books say which row of it.
            for row in &group {
                self.apply(row)?;
            }
            let first = group.first().map_or(0, |row| row.sequence);
            let what = format!(
                "the hash over rows {first} to {} is not the one stored: one of them was changed",
                last.sequence
            );
            return Err(RowError { sequence: first, what });
        }
        if closing.epoch < self.epoch {
            return Err(RowError::new(last, format!("epoch {} was over when it was written", closing.epoch)));
        }
        self.epoch = closing.epoch;
        self.head = closing.hash;
        for row in &group {
            self.apply(row)?;
        }
        self.all_is_paid()?;
        self.ledger.commit();
        self.group = group;
        self.group.clear();
        // A transaction never spans two groups.
        self.transaction = None;
        Ok(())
    }

    fn apply(&mut self, row: &Row) -> Result<(), RowError> {
        if begins_transaction(row) {
            self.all_is_paid()?;
        }
        let Some(entry) = rows::entry_of(row)? else { return Ok(()) };
        // The ledger's own asserts: a row that breaks them closes this branch, not the process.
        let ledger = &mut self.ledger;
        let posted = catch_unwind(AssertUnwindSafe(|| ledger.apply(row.sequence, row.booked_at, &entry)));
        let posted = posted.map_err(|_| RowError::new(row, "it does not follow from the rows before it"))?;
        let stored = Posted {
            debit_balance: row.debit_balance,
            credit_balance: row.credit_balance,
            debit_previous: row.debit_previous,
            credit_previous: row.credit_previous,
        };
        if posted != stored {
            return Err(RowError::new(
                row,
                "the balances or the history that it says do not follow from the rows before it",
            ));
        }
        match entry {
            Entry::HoldCaptured { account, amount, .. } => {
                self.all_is_paid()?;
                self.owed = Some((row.sequence, account, amount));
            }
            Entry::Moved { movement: Movement::Transfer, debit, amount, .. } | Entry::Sent { debit, amount, .. }
                if self.owed.is_some_and(|(_, account, owed)| (account, owed) == (debit, amount)) =>
            {
                self.owed = None;
            }
            _ => {}
        }
        Ok(())
    }

    /// A capture is a transfer: what it takes out of a hold leaves the account before its transaction ends.
    fn all_is_paid(&self) -> Result<(), RowError> {
        match self.owed {
            Some((sequence, ..)) => {
                let what = "what it takes out of the hold is not what is paid".to_owned();
                Err(RowError { sequence, what })
            }
            None => Ok(()),
        }
    }

    /// The books, when the journal has ended.
    ///
    /// # Errors
    /// The last group commit is not closed.
    pub fn finish(self) -> Result<Folded, RowError> {
        match self.group.first() {
            Some(row) => Err(RowError::new(row, "its group commit has no end")),
            None => {
                Ok(Folded { ledger: self.ledger, sequence: self.sequence, head: self.head, booked_at: self.booked_at })
            }
        }
    }

    /// The books up to the last group commit taken.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The last row taken.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }
}

/// Whether a row begins a transaction, so that its id leads there.
#[must_use]
pub fn begins_transaction(row: &Row) -> bool {
    row.fingerprint.is_some()
}

/// Every id that leads to a row: the transaction's own to its first, to a reversal one derived from the id of
/// what it reverses, so that nothing is reversed twice, and one derived from a hold's to the row that ends it.
/// No two rows may share one.
pub fn ids_of(row: &Row) -> impl Iterator<Item = TransactionKey> + use<> {
    let own = begins_transaction(row).then_some(row.transaction);
    // A row that is not understood is found out when it is folded.
    let reverses = matches!(row.kind, RowKind::Reversal | RowKind::ReversalSent);
    let derived = if reverses { rows::reversal_key(row).ok() } else { rows::hold_end_key(row).ok().flatten() };
    own.into_iter().chain(derived)
}
