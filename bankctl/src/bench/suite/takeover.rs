//! Branch servers of a bank in PostgreSQL that die or stand still while money is paid in: how long callers wait whose
//! branches they had.

use super::Run;
use crate::bench::BenchError;
use crate::bench::budget::Budget;
use crate::bench::floors::{self, Floor};
use crate::bench::http_load;
use crate::bench::report::Measurement;
use crate::bench::tally::Tally;
use rustix::process::Signal;
use std::time::Duration;

/// Callers, each with one deposit under way.
const CALLERS: u32 = 20;

/// It happens so long after the load began, and the load goes on so long after it: longer than any takeover takes.
const LOAD: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(7));

/// How long a server that was started again may take to have branches again.
const RETURN: Duration = Duration::from_secs(60);

/// How often it is asked whether it has.
const LOOK: Duration = Duration::from_millis(200);

/// What happens to a server.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is killed, and started again at once.
    Killed,
    /// It stands still, and keeps its connections, until the others have taken what it had.
    Still,
}

impl Fate {
    fn words(self) -> &'static str {
        match self {
            Fate::Killed => "killed",
            Fate::Still => "standing still",
        }
    }
}

impl Run<'_> {
    /// Every branch server once in every round, killed and then stopped in its tracks. Of the load around each the
    /// slowest answer counts.
    pub(super) async fn takeovers(&mut self) -> Result<(), BenchError> {
        for (fate, name) in [
            (Fate::Killed, "the slowest answer after a kill"),
            (Fate::Still, "the slowest answer after a server stands still"),
        ] {
            let slowest = self.takeovers_from(fate).await?;
            let longest = slowest.iter().max().copied().unwrap_or_default();
            self.report.floors.push(Floor::within(name, longest, floors::TAKEN_OVER_WITHIN));
            self.report.takeovers.push((fate.words(), slowest));
        }
        Ok(())
    }

    async fn takeovers_from(&mut self, fate: Fate) -> Result<Vec<Duration>, BenchError> {
        let (servers, count) = (self.arguments.servers, self.arguments.rounds * self.arguments.servers);
        let (mut all, mut slowest, mut took) = (Tally::new(), Vec::new(), Duration::ZERO);
        let before = self.target.group_commits().await;
        for number in 0..count {
            self.bar.set_message(format!("server {}, {} of {count}", fate.words(), number + 1));
            let ordinal = number % servers;
            self.has_branches(ordinal).await?;
            let budget = Budget::time(LOAD.0 + LOAD.1);
            let load = http_load::closed(&self.target.http, CALLERS, &budget, || self.deposits());
            let signal = match fate {
                Fate::Killed => Signal::KILL,
                Fate::Still => Signal::STOP,
            };
            let ending = async {
                tokio::time::sleep(LOAD.0).await;
                self.target.signal_server(ordinal as usize, signal)
            };
            let (tally, reached) = tokio::join!(load, ending);
            if matches!(fate, Fate::Still) {
                self.target.signal_server(ordinal as usize, Signal::KILL);
            }
            if !reached {
                return Err(BenchError::NotServed(ordinal));
            }
            took += budget.began().elapsed();
            slowest.push(tally.quantile(1.0));
            all.add(&tally);
        }
        let name = format!("HTTP deposits, {CALLERS} connections, with servers {}", fate.words());
        self.report.measurements.push(Measurement::new(&name, &all, took, self.since(before).await));
        Ok(slowest)
    }

    /// Waits until a server serves branches, and no branch is away.
    async fn has_branches(&self, ordinal: u32) -> Result<(), BenchError> {
        let until = Budget::time(RETURN);
        while until.draw(1) > 0 {
            let owners = self.target.owners().await?;
            if owners.contains(&Some(ordinal)) && owners.iter().all(Option::is_some) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(BenchError::NotServed(ordinal))
    }
}
