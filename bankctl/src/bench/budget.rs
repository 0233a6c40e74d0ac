//! How long a load runs: for a time, or for so many operations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// What the connections of one load share. Clones draw from the same store.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    began: Instant,
    ends: Option<Instant>,
    left: Arc<AtomicU64>,
}

impl Budget {
    /// As many operations as fit into the time.
    pub(super) fn time(length: Duration) -> Budget {
        let began = Instant::now();
        Budget { began, ends: Some(began + length), left: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// So many operations, however long they take.
    pub(super) fn operations(operations: u64) -> Budget {
        Budget { began: Instant::now(), ends: None, left: Arc::new(AtomicU64::new(operations)) }
    }

    /// When the load began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// When the load ends; None when it ends after so many operations.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// Draws up to so many operations; 0 when the load is over.
    pub(super) fn draw(&self, most: u64) -> u64 {
        if self.ends.is_some_and(|ends| Instant::now() >= ends) {
            return 0;
        }
        let before =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(most)));
        before.unwrap_or_default().min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_budget_is_drawn_to_its_end_and_no_further() {
        let budget = Budget::operations(2500);
        let drawn = std::iter::repeat_with(|| budget.clone().draw(1000)).take(4).collect::<Vec<_>>();
        assert_eq!(drawn, [1000, 1000, 500, 0]);
        assert_eq!(Budget::time(Duration::ZERO).draw(1), 0);
    }
}
