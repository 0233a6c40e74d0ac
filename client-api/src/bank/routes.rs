//! Which line leads to which branch. Where every branch has a server of its own the assignment says it; where any server
//! may serve any branch the servers say it themselves, and orders follow a branch that has moved.

use super::queue::Queue;
use bank_proto::BranchId;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};

/// What all lines of a bank know together.
pub(super) struct Routes {
    /// How many branches the bank has.
    branches: u32,
    /// Correlation ids: no two orders have the same, whichever line they are on.
    pub(super) ids: AtomicU64,
    /// Any server may serve any branch.
    any_server: AtomicBool,
    ways: OnceLock<Vec<Way>>,
    /// Which line's server said last that it serves the branch.
    said: RwLock<BTreeMap<BranchId, usize>>,
}

/// One line, as the others see it.
pub(super) struct Way {
    pub(super) queue: Weak<Queue>,
    pub(super) is_connected: Arc<AtomicBool>,
}

impl Routes {
    pub(super) fn new(branches: u32) -> Arc<Routes> {
        Arc::new(Routes {
            branches,
            ids: AtomicU64::new(0),
            any_server: AtomicBool::new(false),
            ways: OnceLock::new(),
            said: RwLock::default(),
        })
    }

    /// Makes the lines known, in the order of their servers' ordinals. Once.
    pub(super) fn set_ways(&self, ways: Vec<Way>) {
        assert!(self.ways.set(ways).is_ok(), "a bank's lines are opened once");
    }

    /// Whether any server may serve any branch.
    pub(super) fn any_server(&self) -> bool {
        self.any_server.load(Ordering::Relaxed)
    }

    /// Which line leads to a branch whose server is `home` when nothing else is known.
    pub(super) fn line_of(&self, branch: BranchId, home: usize) -> usize {
        if !self.any_server() {
            return home;
        }
        let said = self.said.read().unwrap_or_else(PoisonError::into_inner).get(&branch).copied();
        let known = said.unwrap_or(home);
        let is_connected = |line: usize| self.ways().get(line).is_some_and(Way::is_connected);
        // A server that is reached sends on what is another's.
        if is_connected(known) { known } else { self.connected_but(known).unwrap_or(known) }
    }

    /// A line's server serves these branches: what waits for them elsewhere comes here.
    pub(super) fn claim(&self, line: usize, any_server: bool, branches: &[i64]) {
        self.any_server.store(any_server, Ordering::Relaxed);
        if !any_server {
            return;
        }
        let mut claimed = Vec::new();
        {
            let mut said = self.said.write().unwrap_or_else(PoisonError::into_inner);
            for branch in branches.iter().filter_map(|number| BranchId::new(*number).ok()) {
                if said.insert(branch, line) != Some(line) {
                    claimed.push(branch);
                }
            }
        }
        if claimed.is_empty() {
            return;
        }
        for (other, way) in self.ways().iter().enumerate() {
            if other != line {
                self.bring(way, other, line, |branch| claimed.contains(&branch));
            }
        }
    }

    /// A line is broken: whatever waits on it goes by another.
    pub(super) fn leave(&self, line: usize) {
        if !self.any_server() {
            return;
        }
        if let (Some(way), Some(other)) = (self.ways().get(line), self.connected_but(line)) {
            self.bring(way, line, other, |_| true);
        }
    }

    /// The queues beside one, for whoever looks for an order that has moved.
    pub(super) fn queues(&self) -> impl Iterator<Item = Arc<Queue>> + '_ {
        self.ways().iter().filter_map(|way| way.queue.upgrade())
    }

    fn bring(&self, from: &Way, place: usize, line: usize, which: impl Fn(BranchId) -> bool) {
        let to = self.ways().get(line).and_then(|way| way.queue.upgrade());
        if let (Some(from), Some(to)) = (from.queue.upgrade(), to) {
            let moved = from.give(&to, place < line, self.branches, which);
            if moved > 0 {
                tracing::info!(orders = moved, from = place, to = line, "orders follow their branches");
            }
        }
    }

    fn connected_but(&self, line: usize) -> Option<usize> {
        let ways = self.ways();
        // The next one, so that the load of a server that is gone does not all go to the first.
        (1..ways.len()).map(|step| (line + step) % ways.len()).find(|other| ways[*other].is_connected())
    }

    fn ways(&self) -> &[Way] {
        self.ways.get().map_or(&[], Vec::as_slice)
    }
}

impl Way {
    fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }
}
