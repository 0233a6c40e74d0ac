//! Orders that are carried out together or not at all.

use super::{Desk, Fatal, declined};
use crate::teller::answer::{Answer, Answered, Declined};
use crate::teller::fold::ids_of;
use crate::teller::request::Order;
use bank_proto::{ErrorCode, TransactionId};

/// How far a batch had come.
#[derive(Clone, Copy)]
struct Mark {
    rows: usize,
    names: usize,
    ledger: usize,
}

impl Desk {
    /// Carries the orders out in their order, or takes all of them back at the first that is refused. Then
    /// that one's refusal is stored under its id, and under every other that none of them was done.
    pub(super) fn answer_linked(&mut self, orders: &[Order], accepts_orders: bool) -> Result<Answered, Fatal> {
        let begin =
            Mark { rows: self.group.rows.len(), names: self.group.names.len(), ledger: self.ledger.steps_to_commit() };
        let mut answers: Vec<Answered> = Vec::with_capacity(orders.len());
        for order in orders {
            let rows = self.group.rows.len();
            let answered = self.answer_order(order, accepts_orders)?;
            if let Answer::Refused(refusal) = &answered.answer {
                let is_stored = answered.replayed || self.group.rows.len() > rows;
                let (failed, refusal) = (answers.len(), refusal.clone());
                self.take_back(begin);
                return self.refuse_linked(orders, failed, &refusal, is_stored);
            }
            answers.push(answered);
        }
        Ok(together(answers))
    }

    /// The answers when the order at place `failed` was refused.
    fn refuse_linked(
        &mut self,
        orders: &[Order],
        failed: usize,
        refusal: &Declined,
        is_stored: bool,
    ) -> Result<Answered, Fatal> {
        let mut answers = Vec::with_capacity(orders.len());
        let id = orders.get(failed).map(|order| TransactionId { branch: self.branch, key: order.key.get() });
        for (place, order) in orders.iter().enumerate() {
            // Used before these orders came, or by one before it among them.
            if let Some(answered) = self.replay(order)? {
                answers.push(answered);
                continue;
            }
            let refusal = match refusal.code {
                _ if place == failed => refusal.clone(),
                // Said of no order in particular, and worth the same retry for all.
                ErrorCode::StorageFull | ErrorCode::BranchNotFound if !is_stored => refusal.clone(),
                _ => {
                    let other = Declined::new(ErrorCode::LinkedOperationFailed);
                    id.map_or_else(|| other.clone(), |id| other.clone().with(Declined::FAILED_ID, id))
                }
            };
            if is_stored {
                let first = self.group.rows.len();
                self.record_declined(order, refusal);
                answers.push(self.keep(order, first)?);
            } else {
                answers.push(Answered { answer: Answer::Refused(refusal), ..declined(order, ErrorCode::Internal) });
            }
        }
        Ok(together(answers))
    }

    /// Takes everything back that the batch did since a mark.
    fn take_back(&mut self, begin: Mark) {
        self.ledger.roll_back_to(begin.ledger);
        for row in self.group.rows.drain(begin.rows..) {
            for id in ids_of(&row) {
                self.group.firsts.remove(&id);
            }
        }
        self.group.names.truncate(begin.names);
    }
}

/// The answers to orders that came together.
pub(super) fn together(answers: Vec<Answered>) -> Answered {
    Answered { key: None, replayed: answers.iter().all(|answered| answered.replayed), answer: Answer::Linked(answers) }
}
