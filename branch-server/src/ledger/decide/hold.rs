//! Holds: what is promised, what becomes of the promise.

use super::{Draft, covers, takes_movements};
use crate::ledger::{AccountKind, AskedAmount, Entries, Entry, HoldEnd, Ledger, OpenHold, Payee, Refusal, Target};
use bank_proto::{DecimalAmount, Money, Timestamp, TransactionKey, limits};

impl Ledger {
    pub(super) fn decide_hold(
        &self,
        hold: TransactionKey,
        target: Target,
        amount: AskedAmount,
        expires_at: Timestamp,
    ) -> Result<Entries, Refusal> {
        let (account, money) = self.movable(target, amount)?;
        let theirs = self.expect_account(account);
        covers(theirs, money)?;
        if theirs.open_holds >= limits::OPEN_HOLDS_PER_ACCOUNT || self.holds.len() >= limits::OPEN_HOLDS {
            return Err(Refusal::HoldLimitExceeded);
        }
        Ok(Entries(vec![Entry::HoldPlaced { hold, account, amount: money.minor(), expires_at }]))
    }

    /// Checks, in this order: the hold, its account, the amount, the payee. The money is there: it is held.
    pub(super) fn decide_capture(
        &self,
        hold: TransactionKey,
        payee: Payee,
        amount: Option<DecimalAmount>,
        is_last: bool,
        ended: Option<HoldEnd>,
    ) -> Result<Entries, Refusal> {
        let OpenHold { account, remaining, .. } = *self.hold_to_end(hold, ended)?;
        let debited = self.expect_account(account);
        takes_movements(debited)?;
        let held = Money::from_minor(remaining, debited.currency);
        let money = match amount {
            Some(amount) => amount.count_in(debited.currency).map_err(Refusal::InvalidAmount)?,
            None => held,
        };
        if money.minor() > remaining {
            return Err(Refusal::HoldAmountExceeded { remaining: held });
        }
        let rest = remaining - money.minor();
        let released = (is_last || rest == 0).then_some(rest);
        let mut draft = Draft::new(self);
        draft.entries.push(Entry::HoldCaptured { hold, account, amount: money.minor(), released });
        match payee {
            Payee::Here(target) => {
                let credit = self.payee(target, money)?;
                if account == credit {
                    return Err(Refusal::SameAccount);
                }
                draft.pay(account, credit, money.minor())?;
            }
            Payee::At { branch, target, transfer } => {
                let credit = draft.house_account(AccountKind::Clearing(branch), money.currency())?;
                draft.send(account, credit, money, branch, target, transfer)?;
            }
        }
        Ok(Entries(draft.entries))
    }

    pub(super) fn decide_release(&self, hold: TransactionKey, ended: Option<HoldEnd>) -> Result<Entries, Refusal> {
        let OpenHold { account, remaining, .. } = *self.hold_to_end(hold, ended)?;
        Ok(Entries(vec![Entry::HoldEnded { hold, account, end: HoldEnd::Released, released: remaining }]))
    }

    pub(super) fn decide_expire(&self, hold: TransactionKey) -> Result<Entries, Refusal> {
        let OpenHold { account, remaining, .. } = *self.hold_to_end(hold, None)?;
        Ok(Entries(vec![Entry::HoldEnded { hold, account, end: HoldEnd::Expired, released: remaining }]))
    }

    /// A hold that is open. `ended` is how it ended, or will before anything else happens.
    fn hold_to_end(&self, hold: TransactionKey, ended: Option<HoldEnd>) -> Result<&OpenHold, Refusal> {
        match ended {
            Some(end) => Err(Refusal::HoldEnded(end)),
            None => self.holds.get(&hold).ok_or(Refusal::HoldNotFound),
        }
    }
}
