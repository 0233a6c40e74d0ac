//! Reversals: the same money the other way, once.

use super::{Draft, covers, takes_movements};
use crate::ledger::{Entries, Entry, Ledger, Movement, Past, PayeeProblem, Refusal};
use bank_proto::{Money, TransactionKey};

impl Ledger {
    /// Checks, in this order: that there is an original, that it can be reversed, that it was not, that
    /// whoever must give takes movements, and whoever gets it back, and that the money is there.
    pub(super) fn decide_reverse(&self, original: TransactionKey, past: Past) -> Result<Entries, Refusal> {
        let (movement, debit, credit, amount) = match past {
            Past::Unknown => return Err(Refusal::TransactionNotFound),
            Past::Irreversible => return Err(Refusal::NotReversible),
            Past::Reversed { by } => return Err(Refusal::AlreadyReversed { by }),
            // What was received is given back.
            Past::Moved { movement, debit, credit, amount } => (movement, credit, debit, amount),
        };
        let (gives, receives) = (self.expect_account(debit), self.expect_account(credit));
        takes_movements(gives)?;
        takes_movements(receives).map_err(|refusal| of_receiver(movement, refusal))?;
        covers(gives, Money::from_minor(amount, gives.currency))?;
        let mut draft = Draft::new(self);
        draft.fits(debit, credit, amount)?;
        draft.entries.push(Entry::Reversed { original, movement, debit, credit, amount });
        Ok(Entries(draft.entries))
    }
}

/// Of a transfer, two accounts are customers', and a refusal says which of them is meant.
fn of_receiver(movement: Movement, refusal: Refusal) -> Refusal {
    match (movement, refusal) {
        (Movement::Transfer, Refusal::AccountFrozen) => Refusal::Payee(PayeeProblem::AccountFrozen),
        (Movement::Transfer, Refusal::AccountClosed) => Refusal::Payee(PayeeProblem::AccountClosed),
        (_, refusal) => refusal,
    }
}
