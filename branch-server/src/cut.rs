//! A cut through the whole bank: what the books of all branches said at moments that fit together.
//!
//! - [`branch`]: one branch's part of it
//! - [`position`]: what two branches owe each other, what is under way between them, and where they differ
//!
//! The branches are asked one by one and none of them stops, so their parts are of different moments. They
//! fit together because every message between two branches says of which cut its sender has heard: whoever
//! has not looked at its own books for that cut does so before it books anything of the message. So no part
//! of a cut has money that arrived and, in another part, has not left (docs/TRANSFERS.md, Cuts).

mod branch;
mod position;
#[cfg(test)]
mod tests;

pub use branch::{BranchCut, PeerRecord};
pub use position::{Difference, Position, PositionLine};

use crate::journal::Sequence;
use crate::ledger::AccountKind;
use bank_proto::{BranchId, Currency};
use std::collections::BTreeMap;

/// What the books of all branches said at moments that fit together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BankCut(pub BTreeMap<BranchId, BranchCut>);

/// All accounts of the bank of one kind and currency together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// The sum of the balances on the debit side, in minor units, not negative.
    pub debit: i128,
    /// The sum of the balances on the credit side, in minor units, not negative.
    pub credit: i128,
    /// How many accounts.
    pub accounts: u64,
}

/// Something in a cut that must not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Invariant I1.
    #[error("the books of branch {0} do not balance")]
    Unbalanced(BranchId),
    /// Invariant I2: in flight is never below zero. I3 and I4: what arrived was sent, what ended has an outcome.
    #[error("branch {first} and branch {second}: {difference}")]
    Pair {
        /// The lower of the two.
        first: BranchId,
        /// The other.
        second: BranchId,
        /// What does not fit.
        difference: Difference,
    },
}

impl BankCut {
    /// Names the cut: the rows, in the order of the branches. With it the same cut can be asked for again.
    #[must_use]
    pub fn token(&self) -> String {
        let rows: Vec<String> = self.0.values().map(|part| part.sequence.to_string()).collect();
        rows.join(".")
    }

    /// The rows that a token names, one for each of so many branches; None when it is no token.
    #[must_use]
    pub fn rows_of(token: &str, branches: u32) -> Option<Vec<Sequence>> {
        let rows: Vec<Sequence> = token.split('.').map(|row| row.parse().ok()).collect::<Option<_>>()?;
        // A number that is written in another way is not one that was given out.
        let same = rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(".") == token;
        (same && rows.len() == branches as usize).then_some(rows)
    }

    /// The sums of the whole bank, by currency and kind of account.
    #[must_use]
    pub fn sums(&self) -> BTreeMap<(Currency, &'static str), Sum> {
        let mut sums: BTreeMap<(Currency, &'static str), Sum> = BTreeMap::new();
        for line in self.0.values().flat_map(|part| &part.lines) {
            let sum = sums.entry((line.currency, line.kind.as_str())).or_default();
            sum.debit += line.debit;
            sum.credit += line.credit;
            sum.accounts += line.accounts;
        }
        sums
    }

    /// What has left for another branch and not arrived there, in minor units of each currency that ever left.
    #[must_use]
    pub fn in_flight(&self) -> BTreeMap<Currency, i128> {
        let mut in_flight = BTreeMap::new();
        let lines = self.0.values().flat_map(|part| &part.lines);
        for line in lines.filter(|line| matches!(line.kind, AccountKind::Clearing(_))) {
            *in_flight.entry(line.currency).or_default() += line.credit - line.debit;
        }
        in_flight
    }

    /// Whether debits equal credits at every branch, and so in the whole bank (invariant I1).
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.0.values().all(BranchCut::is_balanced)
    }

    /// Every pair of branches that ever exchanged money, the lower number first.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        let pairs = self.0.iter().flat_map(|(first, part)| {
            self.0.range(*first..).skip(1).filter_map(|(second, other)| Position::of((*first, part), (*second, other)))
        });
        pairs.collect()
    }

    /// All that must not be.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        let unbalanced = self.0.iter().filter(|(_, part)| !part.is_balanced());
        let unbalanced = unbalanced.map(|(branch, _)| Violation::Unbalanced(*branch));
        let pairs = self.positions().into_iter().flat_map(|position| {
            let Position { first, second, differences, .. } = position;
            differences.into_iter().map(move |difference| Violation::Pair { first, second, difference })
        });
        unbalanced.chain(pairs).collect()
    }
}
