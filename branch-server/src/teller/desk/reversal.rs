//! What the journal says of a transaction that somebody wants reversed.

use super::{Desk, Fatal};
use crate::ledger::{Command, Entry, Past};
use crate::teller::rows::{self, RowError};
use bank_proto::{TransactionId, TransactionKey};
use std::borrow::Cow;

impl Desk {
    /// The command with what the books cannot know by themselves.
    pub(super) fn informed<'a>(&mut self, command: &'a Command) -> Result<Cow<'a, Command>, Fatal> {
        match *command {
            Command::Reverse { original, .. } => {
                Ok(Cow::Owned(Command::Reverse { original, past: self.past_of(original)? }))
            }
            _ => Ok(Cow::Borrowed(command)),
        }
    }

    fn past_of(&mut self, original: TransactionKey) -> Result<Past, Fatal> {
        let damaged = |error: RowError| Fatal(error.to_string());
        let Some(rows) = self.stored_rows(original)? else { return Ok(Past::Unknown) };
        // The money moves in the last row; before it stand what had to be opened first.
        let Some(last) = rows.last().filter(|row| row.transaction == original) else { return Ok(Past::Unknown) };
        let Some(Entry::Moved { movement, debit, credit, amount }) = rows::entry_of(last).map_err(damaged)? else {
            return Ok(Past::Irreversible);
        };
        let Some(rows) = self.stored_rows(original.reversed())? else {
            return Ok(Past::Moved { movement, debit, credit, amount });
        };
        for row in &rows {
            match rows::entry_of(row).map_err(damaged)? {
                Some(Entry::Reversed { original: reversed, .. }) if reversed == original => {
                    return Ok(Past::Reversed { by: TransactionId { branch: self.branch, key: row.transaction } });
                }
                _ => {}
            }
        }
        // Somebody used the derived key as the id of an order: it cannot lead to a reversal any more.
        Ok(Past::Irreversible)
    }
}
