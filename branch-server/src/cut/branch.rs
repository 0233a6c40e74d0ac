//! One branch's part of a cut.

use crate::journal::Sequence;
use crate::ledger::{AccountKind, Ledger, PeerView, TrialBalanceLine};
use bank_proto::{BranchId, Currency, Timestamp};
use std::collections::BTreeMap;

/// A branch's books up to one row of its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchCut {
    /// The row, the last of a group commit; 0 before the first.
    pub sequence: Sequence,
    /// When the row was booked, or the books were looked at.
    pub as_of: Timestamp,
    /// The sums of all accounts, by kind and currency.
    pub lines: Vec<TrialBalanceLine>,
    /// What was exchanged with each other branch.
    pub peers: BTreeMap<BranchId, PeerRecord>,
}

/// What a branch's books say of one other branch, in numbers of transfers and of reversals asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRecord {
    /// The last number that left for there.
    pub sent: u64,
    /// Every smaller number has ended.
    pub lowest_outstanding: u64,
    /// How many have not ended.
    pub outstanding: u64,
    /// Every number from there up to this one has its outcome here.
    pub received_up_to: u64,
    /// The highest number from there that has its outcome here.
    pub received_last: u64,
}

impl PeerRecord {
    /// Of a branch that nothing was exchanged with.
    pub const NOTHING: PeerRecord =
        PeerRecord { sent: 0, lowest_outstanding: 1, outstanding: 0, received_up_to: 0, received_last: 0 };
}

impl BranchCut {
    /// What the books say as they are.
    #[must_use]
    pub fn of(ledger: &Ledger, sequence: Sequence, as_of: Timestamp) -> BranchCut {
        let peers = ledger.peers().map(|view| (view.peer, PeerRecord::from(view))).collect();
        BranchCut { sequence, as_of, lines: ledger.trial_balance(), peers }
    }

    /// Whether debits equal credits in every currency (invariant I1).
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
        for line in &self.lines {
            *sums.entry(line.currency).or_default() += line.credit - line.debit;
        }
        sums.values().all(|sum| *sum == 0)
    }

    /// What these books say of another branch.
    pub(super) fn peer(&self, peer: BranchId) -> PeerRecord {
        self.peers.get(&peer).copied().unwrap_or(PeerRecord::NOTHING)
    }

    /// The clearing balances with another branch: credits minus debits, in minor units of each currency.
    pub(super) fn clearing(&self, peer: BranchId) -> BTreeMap<Currency, i128> {
        let lines = self.lines.iter().filter(|line| line.kind == AccountKind::Clearing(peer));
        lines.map(|line| (line.currency, line.credit - line.debit)).collect()
    }
}

impl From<PeerView> for PeerRecord {
    fn from(view: PeerView) -> PeerRecord {
        PeerRecord {
            sent: view.sent,
            lowest_outstanding: view.lowest_outstanding,
            outstanding: view.in_flight as u64,
            received_up_to: view.received_up_to,
            received_last: view.received_beyond.last().copied().unwrap_or(view.received_up_to),
        }
    }
}
