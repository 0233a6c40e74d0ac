//! Reversals: the same money the other way, once.

use super::{Draft, covers, takes_movements};
use crate::ledger::{Arrival, Entries, Entry, Ledger, Movement, Past, PayeeProblem, Refusal, Target};
use bank_proto::{BranchId, Money, TransactionKey};

impl Ledger {
    /// Checks, in this order: that there is an original, that it can be reversed, that it was not, that
    /// whoever must give takes movements, and whoever gets it back, and that the money is there. Of a
    /// transfer to another branch the giver and the money are that branch's to check.
    pub(super) fn decide_reverse(
        &self,
        original: TransactionKey,
        reversal: TransactionKey,
        past: Past,
    ) -> Result<Entries, Refusal> {
        let (movement, debit, credit, amount) = match past {
            Past::Unknown => return Err(Refusal::TransactionNotFound),
            Past::Irreversible => return Err(Refusal::NotReversible),
            Past::Reversed { by } => return Err(Refusal::AlreadyReversed { by }),
            Past::UnderWay => return Err(Refusal::TransfersInFlight),
            Past::Crossed { peer, payer, payee, amount, attempt } => {
                takes_movements(self.expect_account(payer))
                    .map_err(|refusal| of_receiver(Movement::Transfer, refusal))?;
                let pair_sequence = self.next_to(peer)?;
                let entry =
                    Entry::ReversalSent { reversal, original, attempt, peer, payee, pair_sequence, payer, amount };
                return Ok(Entries(vec![entry]));
            }
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

    /// At the payee's branch: checks that the transfer was credited here, as it is said to have been, that
    /// the payee's account takes movements and has the money, and that one more transfer may leave.
    pub(super) fn decide_return(&self, arrival: Arrival, money: Money, past: Past) -> Result<Entries, Refusal> {
        let Past::Moved { credit: payee, debit: clearing, amount, .. } = past else {
            return Err(Refusal::TransactionNotFound);
        };
        let account = self.expect_account(payee);
        if Money::from_minor(amount, account.currency) != money {
            return Err(Refusal::NotReversible);
        }
        takes_movements(account)?;
        covers(account, money)?;
        let mut draft = Draft::new(self);
        draft.fits(payee, clearing, amount)?;
        draft.entries.push(Entry::ReversalAccepted(arrival));
        draft.entries.push(Entry::Sent {
            transfer: arrival.transfer.arrival(arrival.source),
            peer: arrival.source,
            payee: Target::Account(arrival.payer),
            pair_sequence: self.next_to(arrival.source)?,
            debit: payee,
            credit: clearing,
            amount,
        });
        Ok(Entries(draft.entries))
    }

    /// Whether so much more may be under way to a peer.
    pub(super) fn may_be_under_way(&self, peer: BranchId, money: Money) -> Result<(), Refusal> {
        let limit = self.clearing_limit;
        let exposure = self.pairs.get(&peer).map_or(i128::from(money.minor()), |pair| pair.exposure_with(money));
        if limit > 0 && exposure > i128::from(limit) { Err(Refusal::ClearingLimitExceeded) } else { Ok(()) }
    }

    /// The number of the next transfer to a peer, if one more may leave.
    pub(super) fn next_to(&self, peer: BranchId) -> Result<u64, Refusal> {
        match self.pairs.get(&peer) {
            Some(pair) if !pair.has_room() => Err(Refusal::ClearingLimitExceeded),
            pair => Ok(pair.map_or(0, |pair| pair.sent) + 1),
        }
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
