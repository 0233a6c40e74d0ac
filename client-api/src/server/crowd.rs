//! What is done about more callers than can be served, so that those who are served do not feel it: who was refused is
//! not listened to before the time that it was told to wait is over, and who comes when all connections are taken is
//! told so.
//!
//! A refusal costs nearly as much as a deposit. Callers who ask again at once, some thousands of them, would leave no
//! time for anything else.

use crate::environment::Entropy;
use crate::problem::ToldToWait;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A request on a connection beyond the limit. It may ask how the program is; anything else is refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowded;

/// How many connections beyond the limit are taken, each for one request: probes among them must be answered.
pub(super) const EXTRA_CONNECTIONS: usize = 256;

/// Between two such connections: a thousand a second are cheap.
pub(super) const EXTRA_PAUSE: Duration = Duration::from_millis(1);

/// How long such a connection may take to send its head.
pub(super) const EXTRA_HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// So many refusals a second cost a twentieth of two cores. With more, callers are asked to wait longer.
const CHEAP_REFUSALS: u64 = 1_000;

/// Nobody is told to wait longer.
const LONGEST_WAIT_SECONDS: u64 = 10;

/// Counts refusals, so that those who are refused are told to come when there is time to hear them: with ever so many
/// callers, no more than about [`CHEAP_REFUSALS`] come back in a second.
#[derive(Debug)]
pub(crate) struct Refusals {
    began: Instant,
    /// Which second it is since then.
    second: AtomicU64,
    in_this_second: AtomicU64,
    in_the_last_second: AtomicU64,
}

impl Refusals {
    pub(crate) fn new() -> Refusals {
        let zero = AtomicU64::default;
        Refusals { began: Instant::now(), second: zero(), in_this_second: zero(), in_the_last_second: zero() }
    }

    /// One more; for how many seconds its caller should wait.
    pub(crate) fn one_more(&self) -> u64 {
        let second = self.began.elapsed().as_secs();
        // Two that come in the same moment may both see the new second; then one of them counts for little.
        let before = self.second.swap(second, Ordering::Relaxed);
        if before != second {
            let count = self.in_this_second.swap(0, Ordering::Relaxed);
            self.in_the_last_second.store(if before + 1 == second { count } else { 0 }, Ordering::Relaxed);
        }
        let now = self.in_this_second.fetch_add(1, Ordering::Relaxed);
        let recent = self.in_the_last_second.load(Ordering::Relaxed).max(now);
        (1 + recent / CHEAP_REFUSALS).min(LONGEST_WAIT_SECONDS)
    }
}

/// When the next request of one connection is listened to.
#[derive(Debug, Default)]
pub(super) struct Patience(Mutex<Option<Instant>>);

impl Patience {
    /// An answer was given. After OVERLOADED nothing more is heard for half to the whole of the time that it said; a
    /// part of it is drawn, so that those who were refused together do not come back together.
    pub(super) fn answered(&self, told: Option<&ToldToWait>, entropy: &Entropy) {
        let Some(ToldToWait { seconds }) = told else { return };
        let half_ms = u128::from(*seconds) * 500;
        let wait_ms = half_ms + entropy.draw() % (half_ms + 1);
        *self.until() = Some(Instant::now() + Duration::from_millis(u64::try_from(wait_ms).unwrap_or(u64::MAX)));
    }

    /// Waits for it.
    pub(super) async fn over(&self) {
        let until = self.until().take();
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    fn until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        // A moment is whole whoever panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_more_are_refused_the_longer_they_are_asked_to_wait() {
        let refusals = Refusals::new();
        let many = |count: u64| (0..count).map(|_| refusals.one_more()).last();
        assert_eq!((many(1), many(998), many(2), many(1_000)), (Some(1), Some(1), Some(2), Some(3)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(refusals.one_more(), 3, "as many as in the second before");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(refusals.one_more(), 1, "that is over");
        assert_eq!(many(1_000_000), Some(LONGEST_WAIT_SECONDS));
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_refused_is_heard_when_the_time_is_over() {
        let (patience, begin) = (Patience::default(), Instant::now());
        patience.over().await;
        patience.answered(None, &Entropy::always(0));
        patience.over().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        for (drawn, waits_ms) in [(0, 1_000), (500, 1_500), (1_001, 1_000)] {
            let begin = Instant::now();
            patience.answered(Some(&ToldToWait { seconds: 2 }), &Entropy::always(drawn));
            patience.over().await;
            // The timer counts whole milliseconds.
            assert!((waits_ms..waits_ms + 2).contains(&begin.elapsed().as_millis()), "{drawn}: {:?}", begin.elapsed());
            patience.over().await;
        }
    }
}
