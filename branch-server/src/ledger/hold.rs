//! Holds: money that stays on its account and is promised elsewhere.
//!
//! What is held counts as gone for every check, and is still there for every sum. A hold is captured in one
//! part or several, released, or ends by itself when its time has come; the books know the open ones only.

use super::Ledger;
use bank_proto::{AccountSerial, Timestamp, TransactionKey};

/// A hold that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenHold {
    /// The account whose money it is.
    pub account: AccountSerial,
    /// What was held at first, in minor units of the account's currency.
    pub amount: i64,
    /// What still is: more than zero.
    pub remaining: i64,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// How a hold ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldEnd {
    /// By a capture, which took all that was left or let the rest go.
    Captured,
    /// It was let go.
    Released,
    /// Its time was over.
    Expired,
}

impl HoldEnd {
    /// As it stands in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            HoldEnd::Captured => "CAPTURED",
            HoldEnd::Released => "RELEASED",
            HoldEnd::Expired => "EXPIRED",
        }
    }
}

impl Ledger {
    /// The open hold with this key.
    #[must_use]
    pub fn open_hold(&self, hold: TransactionKey) -> Option<&OpenHold> {
        self.holds.get(&hold)
    }

    /// Every open hold, the one that ends first before the others.
    pub fn open_holds(&self) -> impl Iterator<Item = (TransactionKey, &OpenHold)> {
        self.expiries.iter().filter_map(|(_, hold)| Some((*hold, self.holds.get(hold)?)))
    }

    /// How many holds are open.
    #[must_use]
    pub fn open_hold_count(&self) -> usize {
        self.holds.len()
    }

    /// When the next hold ends by itself.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(expires_at, _)| *expires_at)
    }

    /// Up to so many holds whose time is over.
    #[must_use]
    pub fn overdue_holds(&self, now: Timestamp, most: usize) -> Vec<TransactionKey> {
        let overdue = self.expiries.iter().take_while(|(expires_at, _)| *expires_at <= now);
        overdue.take(most).map(|(_, hold)| *hold).collect()
    }

    /// Puts an open hold in the place of what was under this key, or nothing. What the account holds is not
    /// touched.
    pub(super) fn set_hold(&mut self, key: TransactionKey, hold: Option<OpenHold>) -> Option<OpenHold> {
        let before = match hold {
            Some(hold) => {
                self.expiries.insert((hold.expires_at, key));
                self.holds.insert(key, hold)
            }
            None => self.holds.remove(&key),
        };
        if let Some(before) = before
            && hold.is_none_or(|hold| hold.expires_at != before.expires_at)
        {
            self.expiries.remove(&(before.expires_at, key));
        }
        before
    }
}
