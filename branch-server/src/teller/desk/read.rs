//! Questions about the books as they are now.

use super::{Desk, Fatal};
use crate::cut::BranchCut;
use crate::teller::answer::{Answer, Answered, Declined};
use crate::teller::request::Read;
use bank_proto::ErrorCode;
use std::sync::Arc;

impl Desk {
    pub(super) fn answer_read(&mut self, read: Read) -> Result<Answered, Fatal> {
        let answer = match read {
            Read::Status => Answer::Status {
                initialized: self.ledger.is_initialized(),
                accounts: self.ledger.account_count() as u64,
                sequence: self.journal.last_sequence() + self.group.rows.len() as u64,
                epoch: self.journal.epoch(),
            },
            Read::Greeting { peer, epoch } => self.answer_greeting(peer, epoch),
            Read::CutHeard(_) => Answer::CutHeard(self.cuts.newest()),
            Read::Cut(number) => match self.cuts.first_from(number) {
                Some(cut) => Answer::TrialBalance(cut),
                // So many were taken since that it is forgotten; the next one will do.
                None => Answer::Refused(Declined::new(ErrorCode::Overloaded)),
            },
            _ if !self.ledger.is_initialized() => Answer::Refused(Declined::new(ErrorCode::BranchNotFound)),
            Read::Balance { target, currency } => match self.ledger.find_queried(target, currency) {
                Ok(serial) => self.view(serial).map_or_else(no_account, Answer::Balance),
                Err(refusal) => Answer::Refused(refusal.into()),
            },
            Read::Account(serial) => match self.view(serial) {
                Some(view) if view.account.kind.is_customer() => Answer::Account(view),
                _ => no_account(),
            },
            Read::Customer(customer) if !self.ledger.knows(customer) => {
                Answer::Refused(Declined::new(ErrorCode::CustomerNotFound))
            }
            Read::Customer(customer) => {
                let accounts = self.ledger.accounts_of(customer).iter();
                let accounts = accounts.filter_map(|serial| self.view(*serial)).collect();
                let name = self.stored_name(customer)?.map(|name| name.name);
                Answer::Customer { customer, name, accounts }
            }
            Read::Transfer(key) => match self.transfer(key)? {
                Some(view) => Answer::Transfer(Box::new(view)),
                None => Answer::Refused(Declined::new(ErrorCode::TransferNotFound)),
            },
            Read::Hold(key) => match self.hold_view(key)? {
                Some(view) => Answer::Hold(Box::new(view)),
                None => Answer::Refused(Declined::new(ErrorCode::HoldNotFound)),
            },
            Read::TrialBalance => {
                let sequence = self.journal.last_sequence() + self.group.rows.len() as u64;
                Answer::TrialBalance(Arc::new(BranchCut::of(&self.ledger, sequence, self.booked_at)))
            }
        };
        Ok(Answered { key: None, replayed: false, answer })
    }
}

fn no_account() -> Answer {
    Answer::Refused(Declined::new(ErrorCode::AccountNotFound))
}
