//! The branch's part in cuts through the whole bank.

use super::Desk;
use crate::cut::BranchCut;
use crate::teller::request::{Job, Read, Request};
use std::collections::VecDeque;
use std::sync::Arc;

/// Cuts that are remembered. A cut is over in milliseconds, and whoever wants an older one again reads it
/// from the journal.
const KEPT: usize = 64;

/// The cuts that this branch took part in since it was opened.
#[derive(Default)]
pub(super) struct Cuts {
    /// The number of the newest; 0 before the first.
    newest: u64,
    /// By rising numbers.
    kept: VecDeque<(u64, Arc<BranchCut>)>,
    /// The number of the newest that is not kept any more.
    forgotten: u64,
}

impl Cuts {
    /// The number of the newest cut that was heard of.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// The part in the first cut with this number or a higher one: that is where this branch stood when the
    /// cut with this number went through the bank. None when it may be forgotten.
    pub(super) fn first_from(&self, number: u64) -> Option<Arc<BranchCut>> {
        if number <= self.forgotten {
            return None;
        }
        self.kept.iter().find(|(kept, _)| *kept >= number).map(|(_, cut)| cut.clone())
    }

    fn take(&mut self, number: u64, cut: BranchCut) {
        self.newest = number;
        self.kept.push_back((number, Arc::new(cut)));
        if self.kept.len() > KEPT
            && let Some((forgotten, _)) = self.kept.pop_front()
        {
            self.forgotten = forgotten;
        }
    }
}

impl Desk {
    /// Takes part in the newest cut that a batch speaks of, before anything of the batch is booked: the
    /// books are as the last group commit left them, and durable.
    pub(super) fn take_cut_for(&mut self, jobs: &[Job]) {
        // Whoever speaks of a cut does so first.
        let numbers = jobs.iter().filter_map(|job| match job.requests.first()?.request {
            Request::Read(Read::Cut(number) | Read::CutHeard(number)) => Some(number),
            _ => None,
        });
        let number = numbers.max().unwrap_or_default();
        if number > self.cuts.newest() {
            let cut = BranchCut::of(&self.ledger, self.journal.last_sequence(), self.row_booked_at);
            self.cuts.take(number, cut);
        }
    }
}
