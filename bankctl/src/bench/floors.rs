//! What the bank must reach, as ratios to the yardsticks of the same run.

use super::report::time;
use crate::output::grouped;
use serde_json::{Value, json};
use std::time::Duration;

/// Durable HTTP deposits at 64 connections, of the bare two-hop echo: 0.6.
pub(super) const HTTP_PERMILLE: u64 = 600;
/// The p50 of one lone HTTP deposit, of the two-hop echo's and that of an fdatasync that comes at the
/// same pace, together: 1.6.
pub(super) const LONE_PERMILLE: u64 = 1600;
/// Transfers within a branch, of deposits: a transfer is two deposits' worth, so 0.5.
pub(super) const OWN_BRANCH_PERMILLE: u64 = 500;
/// Transfers of which a tenth crosses branches, of those within: at most a quarter is lost.
pub(super) const TENTH_CROSSING_PERMILLE: u64 = 750;
/// Transfers that all cross branches, of those within: 0.3.
pub(super) const ALL_CROSSING_PERMILLE: u64 = 300;
/// The p50 of one lone transfer across branches, of a lone deposit's: 3.
pub(super) const LONE_CROSSING_PERMILLE: u64 = 3000;
/// Durable transactions a second in gRPC batches on one branch.
pub(super) const BATCH_PER_SECOND: u64 = 300_000;
/// Of a bank in PostgreSQL, durable HTTP deposits at 64 connections: of pgbench's deposit that is one statement, 0.8; of
/// the same into one account, 6; of its TPC-B at its best client count, 3.
pub(super) const SHARED_OF_DEPOSIT_PERMILLE: u64 = 800;
pub(super) const SHARED_OF_HOT_PERMILLE: u64 = 6_000;
pub(super) const SHARED_OF_TPC_B_PERMILLE: u64 = 3_000;
/// Durable transactions a second in gRPC batches over all branches of a bank in PostgreSQL.
pub(super) const SHARED_BATCH_PER_SECOND: u64 = 150_000;
/// How long a caller may wait whose branch's server was killed, or stands still.
pub(super) const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(5);
/// Deposits under more load than the bank can serve, of the most that it serves: 0.9.
pub(super) const OVERLOAD_PERMILLE: u64 = 900;
/// How long a refusal may take.
pub(super) const REFUSED_WITHIN: Duration = Duration::from_millis(5);
/// How long a health check may take: the readiness probe's timeout.
pub(super) const PROBED_WITHIN: Duration = Duration::from_secs(2);
/// Resident memory of a client API under whatever load: its limit in production.
pub(super) const API_MEMORY_BYTES: u64 = 512 * 1024 * 1024;
/// How long a branch with 5 million transactions may take to open.
pub(super) const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// Resident memory of a branch server with 1 million accounts.
pub(super) const MEMORY_BYTES: u64 = 400_000_000;

/// One floor and whether it was reached.
#[derive(Debug, Clone)]
pub(super) struct Floor {
    name: &'static str,
    measured: String,
    needed: String,
    ratio_permille: u64,
    /// Whether it was reached.
    pub(super) met: bool,
}

impl Floor {
    /// At least this part of the yardstick.
    pub(super) fn throughput(name: &'static str, value: u64, yardstick: u64, least_permille: u64) -> Floor {
        let ratio = permille(u128::from(value), u128::from(yardstick));
        Floor {
            name,
            measured: format!("{} = {} of {}", grouped(value), decimal(ratio), grouped(yardstick)),
            needed: format!("at least {}", decimal(least_permille)),
            ratio_permille: ratio,
            met: ratio >= least_permille,
        }
    }

    /// At most so many times the yardstick.
    pub(super) fn latency(name: &'static str, value: Duration, yardstick: Duration, most_permille: u64) -> Floor {
        let ratio = permille(value.as_nanos(), yardstick.as_nanos());
        Floor {
            name,
            measured: format!("{} = {} times {}", time(value), decimal(ratio), time(yardstick)),
            needed: format!("at most {}", decimal(most_permille)),
            ratio_permille: ratio,
            met: ratio <= most_permille,
        }
    }

    /// At least this much.
    pub(super) fn least(name: &'static str, value: u64, least: u64, unit: &str) -> Floor {
        Floor {
            name,
            measured: format!("{} {unit}", grouped(value)),
            needed: format!("at least {}", grouped(least)),
            ratio_permille: permille(u128::from(value), u128::from(least)),
            met: value >= least,
        }
    }

    /// At most this long.
    pub(super) fn within(name: &'static str, value: Duration, most: Duration) -> Floor {
        Floor {
            name,
            measured: time(value),
            needed: format!("at most {}", time(most)),
            ratio_permille: permille(value.as_nanos(), most.as_nanos()),
            met: value <= most,
        }
    }

    /// At most so many bytes.
    pub(super) fn memory(name: &'static str, bytes: u64, most: u64) -> Floor {
        Floor {
            name,
            measured: format!("{} MB", grouped(bytes / 1_000_000)),
            needed: format!("below {} MB", grouped(most / 1_000_000)),
            ratio_permille: permille(u128::from(bytes), u128::from(most)),
            met: bytes < most,
        }
    }

    /// The round in the middle when they are ordered by their ratios; None without rounds.
    pub(super) fn median(mut rounds: Vec<Floor>) -> Option<Floor> {
        rounds.sort_by_key(|round| round.ratio_permille);
        let middle = rounds.len() / 2;
        rounds.into_iter().nth(middle)
    }

    /// As a row of the table.
    pub(super) fn row(&self) -> Vec<String> {
        let verdict = if self.met { "ok" } else { "MISSED" };
        vec![self.name.to_owned(), self.measured.clone(), self.needed.clone(), verdict.to_owned()]
    }

    /// As JSON; the ratio is to the yardstick, or to the bound where there is none.
    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "measured": self.measured,
            "needed": self.needed,
            "ratio_permille": self.ratio_permille,
            "met": self.met,
        })
    }
}

fn permille(value: u128, of: u128) -> u64 {
    u64::try_from(value * 1000 / of.max(1)).unwrap_or(u64::MAX)
}

/// 623 as 0.623.
fn decimal(permille: u64) -> String {
    format!("{}.{:03}", permille / 1000, permille % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_with_the_median_ratio_counts() {
        // The fastest round of the bank met the fastest round of the yardstick.
        let rounds = [(650, 1000), (900, 2000), (500, 800)];
        let rounds = rounds.map(|(value, yardstick)| Floor::throughput("x", value, yardstick, HTTP_PERMILLE));
        let median = Floor::median(rounds.to_vec()).expect("a median");
        assert_eq!((median.ratio_permille, median.met), (625, true));
        assert!(Floor::median(Vec::new()).is_none());
    }

    #[test]
    fn a_floor_is_met_at_its_bound_and_missed_just_beyond() {
        let ms = Duration::from_millis;
        assert!(Floor::throughput("x", 600, 1000, HTTP_PERMILLE).met);
        assert!(!Floor::throughput("x", 599, 1000, HTTP_PERMILLE).met);
        assert!(Floor::latency("x", ms(16), ms(10), LONE_PERMILLE).met);
        assert!(!Floor::latency("x", ms(1602), ms(1000), LONE_PERMILLE).met);
        assert!(Floor::within("x", OPEN_WITHIN, OPEN_WITHIN).met);
        assert!(!Floor::memory("x", MEMORY_BYTES, MEMORY_BYTES).met);
        assert_eq!(Floor::throughput("x", 21_000, 35_000, HTTP_PERMILLE).measured, "21,000 = 0.600 of 35,000");
    }
}
