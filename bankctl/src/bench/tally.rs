//! What a load counted.

use hdrhistogram::Histogram;
use std::time::Duration;
use tokio::time::Instant;

/// The longest latency that is told apart.
const LONGEST_NS: u64 = 120_000_000_000;

/// Latencies and counts of one connection, or of all of them together.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    latencies_ns: Histogram<u64>,
    /// Operations that the server confirmed.
    pub(super) operations: u64,
    /// Operations that failed.
    pub(super) errors: u64,
    /// What the first failure said.
    pub(super) first_error: Option<String>,
}

impl Tally {
    #[expect(clippy::expect_used, reason = "the bounds are constants that fit")]
    pub(super) fn new() -> Tally {
        // Three digits of every latency from 1 µs on.
        let latencies_ns = Histogram::new_with_bounds(1000, LONGEST_NS, 3).expect("bounds that fit");
        Tally { latencies_ns, operations: 0, errors: 0, first_error: None }
    }

    /// One request that took from `began` until now and did so many operations.
    pub(super) fn done(&mut self, began: Instant, operations: u64) {
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.latencies_ns.saturating_record(took);
        self.operations += operations;
    }

    /// So many operations that failed.
    pub(super) fn failed(&mut self, operations: u64, why: impl FnOnce() -> String) {
        self.errors += operations;
        self.first_error.get_or_insert_with(why);
    }

    /// Adds what another connection counted.
    pub(super) fn add(&mut self, other: &Tally) {
        // Both have the same bounds, so nothing can be out of range.
        let _ = self.latencies_ns.add(&other.latencies_ns);
        self.operations += other.operations;
        self.errors += other.errors;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }

    /// The latency that this part of all requests (0.5, 0.99) stays within.
    pub(super) fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.latencies_ns.value_at_quantile(part))
    }
}
