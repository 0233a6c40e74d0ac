//! Transfers, at either end: what the payer's branch and the payee's decide.

use super::{Draft, covers, takes_movements};
use crate::ledger::{
    AccountKind, Arrival, AskedAmount, Entries, Entry, Ledger, Movement, Outcome, Payee, PayeeProblem,
};
use crate::ledger::{Refusal, Target};
use bank_proto::{AccountSerial, BranchId, Money, TransactionKey};

impl Ledger {
    pub(super) fn decide_transfer(&self, payer: Target, payee: Payee, amount: AskedAmount) -> Result<Entries, Refusal> {
        let (debit, money) = self.movable(payer, amount)?;
        match payee {
            Payee::Here(target) => {
                let credit = self.payee(target, money)?;
                if debit == credit {
                    return Err(Refusal::SameAccount);
                }
                covers(self.expect_account(debit), money)?;
                let mut draft = Draft::new(self);
                draft.pay(debit, credit, money.minor())?;
                Ok(Entries(draft.entries))
            }
            Payee::At { branch, target, transfer } => {
                covers(self.expect_account(debit), money)?;
                let mut draft = Draft::new(self);
                let credit = draft.house_account(AccountKind::Clearing(branch), money.currency())?;
                draft.send(debit, credit, money, branch, target, transfer)?;
                Ok(Entries(draft.entries))
            }
        }
    }

    pub(super) fn decide_receive(&self, arrival: Arrival, payee: Target, money: Money) -> Result<Entries, Refusal> {
        if !self.initialized {
            return Err(Refusal::Payee(PayeeProblem::BranchNotFound));
        }
        let credit = self.payee(payee, money)?;
        let mut draft = Draft::new(self);
        let debit = draft.house_account(AccountKind::Clearing(arrival.source), money.currency())?;
        draft.fits(debit, credit, money.minor()).map_err(|_| payee_is_full())?;
        draft.entries.push(Entry::Received { arrival, debit, credit, amount: money.minor() });
        Ok(Entries(draft.entries))
    }

    pub(super) fn decide_settle(
        &self,
        transfer: TransactionKey,
        outcome: Outcome,
        peer_epoch: u64,
    ) -> Result<Entries, Refusal> {
        let (peer, _, outgoing) = self.outgoing(transfer).ok_or(Refusal::NotInFlight)?;
        let entry = match outcome {
            Outcome::Credited { account, customer } => {
                Entry::Completed { transfer, peer, peer_epoch, account, customer }
            }
            // Nothing was sent but a question.
            Outcome::Returned if outgoing.original.is_some() => {
                Entry::ReversalRefused { reversal: transfer, peer, peer_epoch }
            }
            Outcome::Returned => {
                let mut draft = Draft::new(self);
                let debit = draft.house_account(AccountKind::Clearing(peer), outgoing.amount.currency())?;
                let (credit, amount) = (outgoing.debited, outgoing.amount.minor());
                // A frozen payer gets the money back as well: it never was the payee's.
                draft.fits(debit, credit, amount)?;
                Entry::Returned { transfer, peer, peer_epoch, debit, credit, amount }
            }
        };
        Ok(Entries(vec![entry]))
    }

    /// The account that is paid. What is wrong with it is not the payer's doing.
    pub(super) fn payee(&self, target: Target, money: Money) -> Result<AccountSerial, Refusal> {
        let found = self.find(target, money.currency()).and_then(|serial| {
            let account = self.expect_account(serial);
            if account.currency != money.currency() {
                return Err(Refusal::CurrencyMismatch { account: account.currency });
            }
            takes_movements(account)?;
            Ok(serial)
        });
        found.map_err(|refusal| match refusal {
            Refusal::CustomerNotFound => Refusal::Payee(PayeeProblem::CustomerNotFound),
            Refusal::AccountNotFound => Refusal::Payee(PayeeProblem::AccountNotFound),
            Refusal::AccountFrozen => Refusal::Payee(PayeeProblem::AccountFrozen),
            Refusal::AccountClosed => Refusal::Payee(PayeeProblem::AccountClosed),
            Refusal::CurrencyMismatch { account } => Refusal::Payee(PayeeProblem::CurrencyMismatch { account }),
            other => other,
        })
    }
}

impl Draft<'_> {
    /// One account of this branch pays another.
    pub(super) fn pay(&mut self, debit: AccountSerial, credit: AccountSerial, amount: i64) -> Result<(), Refusal> {
        self.fits(debit, credit, amount).map_err(|_| payee_is_full())?;
        self.move_money(Movement::Transfer, debit, credit, amount)
    }

    /// Money leaves for another branch, by way of its clearing account.
    pub(super) fn send(
        &mut self,
        debit: AccountSerial,
        credit: AccountSerial,
        money: Money,
        peer: BranchId,
        payee: Target,
        transfer: TransactionKey,
    ) -> Result<(), Refusal> {
        let pair_sequence = self.ledger.next_to(peer)?;
        self.ledger.may_be_under_way(peer, money)?;
        let amount = money.minor();
        self.fits(debit, credit, amount)?;
        self.entries.push(Entry::Sent { transfer, peer, payee, pair_sequence, debit, credit, amount });
        Ok(())
    }
}

fn payee_is_full() -> Refusal {
    Refusal::Payee(PayeeProblem::BalanceLimitExceeded)
}
