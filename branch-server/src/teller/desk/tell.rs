//! What stored rows say to whoever ordered them: now or at any later time the same.

use super::{Desk, Fatal};
use crate::journal::{Channel, PersonalName, Row, RowKind};
use crate::ledger::{Entry, Movement};
use crate::teller::answer::{
    AccountView, Answer, Arrived, Receipt, Reversal, TransferEnd, TransferState, TransferView,
};
use crate::teller::rows;
use bank_proto::{AccountSerial, BranchId, Currency, Money, TransactionId, TransactionKey};

impl Desk {
    /// What a transaction's rows say to whoever ordered it: now or at any later time the same.
    pub(super) fn tell(&self, rows: &[Row], name: Option<&PersonalName>) -> Result<Answer, Fatal> {
        let damaged = |error: rows::RowError| Fatal(error.to_string());
        let Some(last) = rows.last() else { return Err(Fatal("a transaction without rows".to_owned())) };
        if last.kind == RowKind::Refused {
            return rows::declined_of(last).map(Answer::Refused).map_err(damaged);
        }
        if rows.first().is_some_and(|row| row.kind == RowKind::BranchInitialized) {
            let account = self.view_after(rows).map_err(damaged)?;
            return Ok(Answer::Initialized { created: true, account });
        }
        match rows::entry_of(last).map_err(damaged)? {
            Some(Entry::BranchFoundOpen { .. }) => {
                let account = self.view_after(rows).map_err(damaged)?;
                Ok(Answer::Initialized { created: false, account })
            }
            Some(Entry::HoldPlaced { .. } | Entry::HoldCaptured { .. } | Entry::HoldEnded { .. }) => {
                Err(Fatal(format!("row {} tells of a hold, and nothing follows", last.sequence)))
            }
            Some(Entry::Moved { movement: Movement::Transfer, debit, credit, amount }) => {
                let hold = captured_hold(rows).map_err(damaged)?;
                let view = self.transfer_view(last, self.branch, debit, amount, TransferState::Completed);
                let view = TransferView { hold, ..view };
                let payee_customer = self.ledger.account(credit).and_then(|account| account.customer);
                let ended_at = Some(last.booked_at);
                Ok(Answer::Transfer(Box::new(TransferView { payee: Some(credit), payee_customer, ended_at, ..view })))
            }
            Some(Entry::Moved { movement, debit, credit, amount }) => {
                let account = rows::customers_side(movement, debit, credit);
                Ok(Answer::Receipt(receipt(last, movement, account, amount)))
            }
            Some(Entry::Reversed { original, movement, debit, credit, amount }) => {
                let account = rows::customers_side(movement, credit, debit);
                let receipt = receipt(last, movement, account, amount);
                let original = TransactionId { branch: self.branch, key: original };
                let (reversal, peer, state) = (last.transaction, None, TransferState::Completed);
                Ok(Answer::Reversed(Box::new(Reversal { reversal, original, receipt, peer, state })))
            }
            Some(Entry::ReversalSent { reversal, original, peer, payer, amount, .. }) => {
                let receipt = receipt(last, Movement::Transfer, payer, amount);
                let original = TransactionId { branch: self.branch, key: original };
                let (peer, state) = (Some(peer), TransferState::Processing);
                Ok(Answer::Reversed(Box::new(Reversal { reversal, original, receipt, peer, state })))
            }
            Some(Entry::ReversalAccepted(_)) => Err(Fatal(format!("row {} is followed by no transfer", last.sequence))),
            Some(Entry::ReversalRefused { .. }) => Ok(Answer::Ended(TransferEnd::Refused {
                reason: rows::declined_of(last).map_err(damaged)?,
                at: last.booked_at,
            })),
            Some(Entry::Sent { peer, payee, debit, amount, .. }) => {
                let hold = captured_hold(rows).map_err(damaged)?;
                let view = self.transfer_view(last, peer, debit, amount, TransferState::Processing);
                Ok(Answer::Transfer(Box::new(TransferView { hold, ..view }.to(payee))))
            }
            Some(Entry::Received { credit, .. }) => {
                Ok(Answer::Arrived(Arrived::Credited { account: credit, customer: last.customer }))
            }
            Some(Entry::TurnedAway(_)) => Ok(Answer::Arrived(Arrived::Cancelled)),
            Some(Entry::Completed { account, customer, .. }) => {
                Ok(Answer::Ended(TransferEnd::Completed { payee: account, customer, at: last.booked_at }))
            }
            Some(Entry::Returned { .. }) => Ok(Answer::Ended(TransferEnd::Returned {
                reason: rows::declined_of(last).map_err(damaged)?,
                balance: Money::from_minor(last.credit_balance, last.currency.unwrap_or(Currency::USD)),
                at: last.booked_at,
            })),
            Some(Entry::CustomerRegistered(customer)) => {
                let name = name.map(|name| name.name.clone());
                Ok(Answer::Customer { customer, name, accounts: Vec::new() })
            }
            _ => match self.view_after(rows).map_err(damaged)? {
                Some(view) => Ok(Answer::Account(view)),
                None => Err(Fatal(format!("row {} tells of no account", last.sequence))),
            },
        }
    }

    /// The customer's account that rows are about, as they left it.
    fn view_after(&self, rows: &[Row]) -> Result<Option<AccountView>, rows::RowError> {
        let mut view: Option<AccountView> = None;
        for row in rows {
            match rows::entry_of(row)? {
                Some(Entry::AccountOpened { account, customer: Some(_), .. }) => {
                    view = self.view(account).map(|mut view| {
                        view.account.balance = 0;
                        view.account.state = crate::ledger::AccountState::Open;
                        view
                    });
                }
                Some(Entry::StateChanged { account, state } | Entry::BranchFoundOpen { account, state }) => {
                    view = self.view(account).map(|mut view| {
                        view.account.balance = row.debit_balance;
                        view.account.state = state;
                        view
                    });
                }
                Some(Entry::Moved { .. }) => {
                    if let Some(view) = &mut view {
                        view.account.balance = row.credit_balance;
                    }
                }
                _ => {}
            }
        }
        Ok(view)
    }

    pub(super) fn view(&self, serial: AccountSerial) -> Option<AccountView> {
        let account = *self.ledger.account(serial)?;
        Some(AccountView { serial, account, joint_holders: self.ledger.joint_holders(serial).to_vec() })
    }

    fn transfer_view(
        &self,
        row: &Row,
        payee_branch: BranchId,
        payer: AccountSerial,
        amount: i64,
        state: TransferState,
    ) -> TransferView {
        let currency = row.currency.unwrap_or(Currency::USD);
        TransferView {
            transfer: row.transaction,
            state,
            payer: Some(payer),
            payer_customer: row.customer,
            payee_branch,
            payee: None,
            payee_customer: None,
            amount: Some(Money::from_minor(amount, currency)),
            balance: Some(Money::from_minor(row.debit_balance, currency)),
            hold: None,
            booked_at: row.booked_at,
            ended_at: None,
        }
    }

    /// A transfer with its end, if it has ended since it was sent.
    pub(super) fn with_end(&mut self, answer: Answer) -> Result<Answer, Fatal> {
        let view = match answer {
            Answer::Transfer(view) => view,
            Answer::Reversed(reversal) => return Ok(Answer::Reversed(Box::new(self.as_it_stands(*reversal)?))),
            answer => return Ok(answer),
        };
        if view.state != TransferState::Processing {
            return Ok(Answer::Transfer(view));
        }
        let Some(rows) = self.stored_rows(view.transfer.outcome())? else { return Ok(Answer::Transfer(view)) };
        match self.tell(&rows, None)? {
            Answer::Ended(end) => Ok(Answer::Transfer(Box::new(view.ended(end)))),
            // Nobody can take the place of an end, but if somebody has, the transfer is still under way.
            _ => Ok(Answer::Transfer(view)),
        }
    }

    /// A transfer that was ordered here, by its key; None when the key is not one's.
    pub(super) fn transfer(&mut self, key: TransactionKey) -> Result<Option<TransferView>, Fatal> {
        let Some(rows) = self.stored_rows(key)? else { return Ok(None) };
        let Some(last) = rows.last() else { return Ok(None) };
        let damaged = |error: rows::RowError| Fatal(error.to_string());
        match last.kind {
            RowKind::Transfer | RowKind::TransferSent => {
                let told = self.tell(&rows, None)?;
                match self.with_end(told)? {
                    Answer::Transfer(view) => Ok(Some(*view)),
                    _ => Ok(None),
                }
            }
            RowKind::Refused if last.channel != Channel::Branch => {
                let Some((peer, payee, hold)) = rows::refused_transfer(last).map_err(damaged)? else { return Ok(None) };
                let declined = rows::declined_of(last).map_err(damaged)?;
                Ok(Some(
                    TransferView {
                        transfer: key,
                        state: TransferState::Failed(declined),
                        payer: last.debit_account,
                        payer_customer: last.customer,
                        payee_branch: peer,
                        payee: None,
                        payee_customer: None,
                        amount: last.currency.map(|currency| Money::from_minor(last.amount, currency)),
                        balance: None,
                        hold,
                        booked_at: last.booked_at,
                        ended_at: Some(last.booked_at),
                    }
                    .to(payee),
                ))
            }
            _ => Ok(None),
        }
    }
}

/// The hold that a transfer's money was paid out of.
fn captured_hold(rows: &[Row]) -> Result<Option<TransactionKey>, rows::RowError> {
    rows.iter().find(|row| row.kind == RowKind::HoldCaptured).map_or(Ok(None), rows::hold_of)
}

/// What a movement's row says to one of its accounts.
fn receipt(row: &Row, movement: Movement, account: AccountSerial, amount: i64) -> Receipt {
    let balance = if row.debit_account == Some(account) { row.debit_balance } else { row.credit_balance };
    let currency = row.currency.unwrap_or(Currency::USD);
    Receipt {
        movement,
        account,
        customer: row.customer,
        amount: Money::from_minor(amount, currency),
        balance: Money::from_minor(balance, currency),
        booked_at: row.booked_at,
    }
}
