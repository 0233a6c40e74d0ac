//! Holds: how they stand, and the end of those whose time is over.

use super::{Desk, Fatal};
use crate::journal::{Channel, Row, RowKind};
use crate::ledger::{Command, Entry, HoldEnd};
use crate::teller::answer::{Answer, HoldView};
use crate::teller::request::{Caller, Key, Order};
use crate::teller::rows::{self, RowError};
use bank_proto::{Money, Timestamp, TransactionKey};
use std::time::Duration;

/// Holds that one batch ends because their time is over; more wait for the next. An order that needs one of
/// those finds it over all the same.
const EXPIRIES_PER_BATCH: usize = bank_proto::limits::BATCH_OPERATIONS;

/// The principal of what the bank does by itself.
const BANK: &str = "bank";

impl Desk {
    /// How many holds are open.
    #[must_use]
    pub fn open_holds(&self) -> usize {
        self.ledger.open_hold_count()
    }

    /// How long it is until a hold's time is over; None without one.
    #[must_use]
    pub fn until_expiry(&self) -> Option<Duration> {
        self.ledger.next_expiry().map(|expires_at| expires_at.since(self.clock.now()))
    }

    /// Ends the holds whose time is over, each by a row of its own, before anything else of a batch is decided.
    pub(super) fn expire_holds(&mut self) {
        let first = self.group.rows.len();
        for hold in self.ledger.overdue_holds(self.booked_at, EXPIRIES_PER_BATCH) {
            let order = Order {
                key: Key::Given(hold.hold_ended()),
                fingerprint: [0; 16],
                command: Command::Expire { hold },
                caller: Caller { principal: BANK.into(), channel: Channel::Bank },
                detail: None,
                name: None,
            };
            if let Ok(entries) = self.ledger.decide(&order.command) {
                self.book(&order, &entries);
            }
        }
        self.remember(first);
    }

    /// How a hold has ended; None when it is open or there is none.
    pub(super) fn end_of_hold(&mut self, hold: TransactionKey) -> Result<Option<HoldEnd>, Fatal> {
        if let Some(open) = self.ledger.open_hold(hold) {
            return Ok((open.expires_at <= self.booked_at).then_some(HoldEnd::Expired));
        }
        Ok(self.hold_view(hold)?.and_then(|view| view.end).map(|(end, _)| end))
    }

    /// What is said to whoever placed a hold or let it go: how it stands.
    pub(super) fn hold_answer(&mut self, hold: TransactionKey) -> Result<Answer, Fatal> {
        match self.hold_view(hold)? {
            Some(view) => Ok(Answer::Hold(Box::new(view))),
            None => Err(Fatal(format!("a row speaks of hold {hold}, which was never placed"))),
        }
    }

    /// A hold as it stands; None when there is none under this key.
    pub(super) fn hold_view(&mut self, hold: TransactionKey) -> Result<Option<HoldView>, Fatal> {
        let Some(rows) = self.stored_rows(hold)? else { return Ok(None) };
        let Some(placed) = rows.last().filter(|row| row.kind == RowKind::HoldPlaced) else { return Ok(None) };
        let Some(Entry::HoldPlaced { account: serial, amount, expires_at, .. }) =
            rows::entry_of(placed).map_err(damaged)?
        else {
            return Ok(None);
        };
        let Some(account) = self.ledger.account(serial).copied() else {
            return Err(Fatal(format!("row {} holds money of no account", placed.sequence)));
        };
        let (end, remaining, captured) = match self.ledger.open_hold(hold) {
            Some(open) => (None, open.remaining, amount - open.remaining),
            None => {
                let (end, at, released) = self.stored_end(hold)?;
                (Some((end, at)), 0, amount - released)
            }
        };
        let money = |minor| Money::from_minor(minor, account.currency);
        Ok(Some(HoldView {
            hold,
            end,
            serial,
            account,
            amount: money(amount),
            remaining: money(remaining),
            captured: money(captured),
            expires_at,
            booked_at: placed.booked_at,
        }))
    }

    /// How a hold ended that is not open any more, when, and what was let go then.
    fn stored_end(&mut self, hold: TransactionKey) -> Result<(HoldEnd, Timestamp, i64), Fatal> {
        let rows = self.stored_rows(hold.hold_ended())?.unwrap_or_default();
        let last: Option<&Row> = rows.first();
        let entry = last.map(rows::entry_of).transpose().map_err(damaged)?.flatten();
        match (entry, last) {
            (Some(Entry::HoldCaptured { released: Some(released), .. }), Some(row)) => {
                Ok((HoldEnd::Captured, row.booked_at, released))
            }
            (Some(Entry::HoldEnded { end, released, .. }), Some(row)) => Ok((end, row.booked_at, released)),
            _ => Err(Fatal(format!("hold {hold} is not open and has no end"))),
        }
    }
}

fn damaged(error: RowError) -> Fatal {
    Fatal(error.to_string())
}
