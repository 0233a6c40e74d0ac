//! How long a child that ended waits before it is started again.

use rand::RngExt as _;
use rand::rngs::SmallRng;
use std::time::Duration;

/// The first pause is drawn from up to this much.
const FIRST: Duration = Duration::from_millis(200);
/// No pause is longer.
const LONGEST: Duration = Duration::from_secs(5);
/// A child that ran this long was well; its next end counts as the first again.
pub(super) const WELL_AFTER: Duration = Duration::from_secs(30);

/// Exponential back-off with full jitter, so that children that ended together do not start,
/// and perhaps fail, together for ever.
pub(super) struct Backoff {
    failures: u32,
    entropy: SmallRng,
}

impl Backoff {
    pub(super) fn new(entropy: SmallRng) -> Backoff {
        Backoff { failures: 0, entropy }
    }

    /// The pause before the next start, given how long the child ran this time.
    pub(super) fn next(&mut self, ran: Duration) -> Duration {
        if ran >= WELL_AFTER {
            self.failures = 0;
        }
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.entropy.random_range(ceiling / 10..=ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn pauses_grow_to_a_bound_and_start_anew_after_a_good_run() {
        let mut backoff = Backoff::new(SmallRng::seed_from_u64(7));
        for failures in 0..100 {
            let ceiling = Duration::from_millis(200 << failures.min(10)).min(LONGEST);
            let pause = backoff.next(Duration::ZERO);
            assert!(pause <= ceiling && pause >= ceiling / 10, "{failures}: {pause:?}");
        }
        assert!(backoff.next(WELL_AFTER) <= FIRST);
    }
}
