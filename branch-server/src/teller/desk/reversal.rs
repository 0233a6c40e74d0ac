//! What the journal says of a transaction that somebody wants reversed, and of its reversal.

use super::{Desk, Fatal};
use crate::journal::{Row, RowKind};
use crate::ledger::{Command, Entry, Movement, Past};
use crate::teller::answer::{Answer, Declined, Reversal, TransferEnd, TransferState};
use crate::teller::rows::{self, RowError};
use bank_proto::{BranchId, ErrorCode, Timestamp, TransactionId, TransactionKey, limits};
use std::borrow::Cow;

/// How the return of money from another branch stands.
enum Return {
    UnderWay,
    /// It is here, by this row.
    Arrived(Row),
    /// The payee has it still, or again.
    Failed(Declined),
}

impl Desk {
    /// The command with what the books cannot know by themselves.
    pub(super) fn informed<'a>(&mut self, command: &'a Command) -> Result<Cow<'a, Command>, Fatal> {
        match *command {
            Command::Reverse { original, reversal, .. } => {
                Ok(Cow::Owned(Command::Reverse { original, reversal, past: self.past_of(original)? }))
            }
            Command::Return { arrival, original, amount, .. } => {
                let past = self.credited(original.arrival(arrival.source))?;
                Ok(Cow::Owned(Command::Return { arrival, original, amount, past }))
            }
            Command::Hold { hold, target, amount, life_seconds, .. } => {
                let expires_at = Timestamp(self.booked_at.0.saturating_add(i64::from(life_seconds) * 1_000_000));
                Ok(Cow::Owned(Command::Hold { hold, target, amount, life_seconds, expires_at }))
            }
            Command::Capture { hold, payee, amount, is_last, .. } => {
                let ended = self.end_of_hold(hold)?;
                Ok(Cow::Owned(Command::Capture { hold, payee, amount, is_last, ended }))
            }
            Command::Release { hold, .. } => Ok(Cow::Owned(Command::Release { hold, ended: self.end_of_hold(hold)? })),
            _ => Ok(Cow::Borrowed(command)),
        }
    }

    fn past_of(&mut self, original: TransactionKey) -> Result<Past, Fatal> {
        let Some(rows) = self.stored_rows(original)? else { return Ok(Past::Unknown) };
        // The money moves in the last row; before it stand what had to be opened first.
        let Some(last) = rows.last().filter(|row| row.transaction == original) else { return Ok(Past::Unknown) };
        match rows::entry_of(last).map_err(damaged)? {
            Some(Entry::Moved { movement, debit, credit, amount }) => Ok(match self.last_attempt(original)? {
                Attempt::None(_) => Past::Moved { movement, debit, credit, amount },
                Attempt::By(by) => Past::Reversed { by },
                Attempt::Blocked => Past::Irreversible,
            }),
            // What another branch asked back is a reversal itself.
            Some(Entry::Sent { .. }) if rows.iter().any(|row| row.kind == RowKind::ReversalAccepted) => {
                Ok(Past::Irreversible)
            }
            Some(Entry::Sent { peer, debit: payer, amount, .. }) => {
                let end = match self.stored_rows(original.outcome())? {
                    Some(rows) => self.tell(&rows, None)?,
                    None => return Ok(Past::UnderWay),
                };
                let Answer::Ended(TransferEnd::Completed { payee, .. }) = end else { return Ok(Past::Irreversible) };
                Ok(match self.last_attempt(original)? {
                    Attempt::None(attempt) => Past::Crossed { peer, payer, payee, amount, attempt },
                    Attempt::By(by) => Past::Reversed { by },
                    Attempt::Blocked => Past::Irreversible,
                })
            }
            _ => Ok(Past::Irreversible),
        }
    }

    /// The one reversal that is done or under way, or how many were refused by another branch.
    fn last_attempt(&mut self, original: TransactionKey) -> Result<Attempt, Fatal> {
        for attempt in 0..limits::REVERSAL_ATTEMPTS {
            let Some(rows) = self.stored_rows(original.reversed(attempt))? else { return Ok(Attempt::None(attempt)) };
            // No caller can choose a derived key; whatever else stands there, nothing is reversed on its word.
            let Some(row) = rows.first() else { return Ok(Attempt::Blocked) };
            let by = TransactionId { branch: self.branch, key: row.transaction };
            match rows::entry_of(row).map_err(damaged)? {
                Some(Entry::Reversed { original: reversed, .. }) if reversed == original => return Ok(Attempt::By(by)),
                Some(Entry::ReversalSent { original: reversed, peer, .. }) if reversed == original => {
                    match self.how_returned(by.key, peer)? {
                        Return::Failed(_) => {}
                        Return::UnderWay | Return::Arrived(_) => return Ok(Attempt::By(by)),
                    }
                }
                _ => return Ok(Attempt::Blocked),
            }
        }
        Ok(Attempt::Blocked)
    }

    /// What arrived here under a key, if it was credited.
    fn credited(&mut self, arrival: TransactionKey) -> Result<Past, Fatal> {
        let Some(rows) = self.stored_rows(arrival)? else { return Ok(Past::Unknown) };
        match rows.last().map(rows::entry_of).transpose().map_err(damaged)?.flatten() {
            Some(Entry::Received { debit, credit, amount, .. }) => {
                Ok(Past::Moved { movement: Movement::Transfer, debit, credit, amount })
            }
            _ => Ok(Past::Unknown),
        }
    }

    /// How the money comes back that a reversal asked of another branch. That branch sends it under the
    /// key of the reversal's arrival there.
    fn how_returned(&mut self, reversal: TransactionKey, peer: BranchId) -> Result<Return, Fatal> {
        let Some(end) = self.stored_rows(reversal.outcome())? else { return Ok(Return::UnderWay) };
        let Some(last) = end.last() else { return Ok(Return::UnderWay) };
        if last.kind == RowKind::ReversalRefused {
            return rows::declined_of(last).map(Return::Failed).map_err(damaged);
        }
        let arrival = reversal.arrival(self.branch).arrival(peer);
        let Some(rows) = self.stored_rows(arrival)? else { return Ok(Return::UnderWay) };
        let Some(last) = rows.last() else { return Ok(Return::UnderWay) };
        match last.kind {
            RowKind::TransferReceived => Ok(Return::Arrived(last.clone())),
            RowKind::Refused => rows::declined_of(last).map(Return::Failed).map_err(damaged),
            _ => Ok(Return::Failed(Declined::new(ErrorCode::TransferExpired))),
        }
    }

    /// A reversal as it stands now.
    pub(super) fn as_it_stands(&mut self, mut reversal: Reversal) -> Result<Reversal, Fatal> {
        let (Some(peer), TransferState::Processing) = (reversal.peer, &reversal.state) else { return Ok(reversal) };
        match self.how_returned(reversal.reversal, peer)? {
            Return::UnderWay => {}
            Return::Arrived(row) => {
                reversal.state = TransferState::Completed;
                let currency = reversal.receipt.amount.currency();
                reversal.receipt.balance = bank_proto::Money::from_minor(row.credit_balance, currency);
            }
            // What the other branch says of the payee's money is not the payer's to know.
            Return::Failed(cause) => {
                let declined = Declined::new(ErrorCode::ReversalRefused).with(Declined::CAUSE, cause.code);
                reversal.state = TransferState::Failed(declined.with(Declined::STATE, Declined::FAILED));
            }
        }
        Ok(reversal)
    }
}

/// The reversals of a transaction that were tried.
enum Attempt {
    /// None that is done or under way; so many failed.
    None(u32),
    /// This one is done or under way.
    By(TransactionId),
    /// There is no room for one.
    Blocked,
}

fn damaged(error: RowError) -> Fatal {
    Fatal(error.to_string())
}
