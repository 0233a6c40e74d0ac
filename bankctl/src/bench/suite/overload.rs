//! More callers than the bank serves: what is left for those who are served, and what the others hear.

use super::{Run, plural};
use crate::bench::BenchError;
use crate::bench::budget::Budget;
use crate::bench::floors::{self, Floor};
use crate::bench::http_load::{self, Manners, Pressed};
use crate::bench::report::Measurement;
use std::time::Duration;

/// The client API serves so many requests at once when nothing else is said (`--max-in-flight`).
const SERVED_AT_ONCE: u32 = 512;

/// How long the callers may take to connect and to hear their first answers before anything is counted.
const CONNECTING: Duration = Duration::from_secs(4);

impl Run<'_> {
    /// Twice and ten times as many callers as are served at once, who wait as they are told and who do not, next to
    /// as many, who are all served.
    pub(super) async fn overload(&mut self) -> Result<(), BenchError> {
        let peak = self.http(SERVED_AT_ONCE).await?;
        let peak_per_second = peak.per_second();
        self.report.measurements.push(peak);
        for (manners, factor, name) in [
            (Manners::WaitAsTold, 2, "deposits of twice as many callers as are served at once, of the peak"),
            (Manners::WaitAsTold, 10, "deposits of ten times as many callers, of the peak"),
            (Manners::AskAgainAtOnce, 2, "deposits of twice as many callers who ask again at once, of the peak"),
            (Manners::AskAgainAtOnce, 10, "deposits of ten times as many who ask again at once, of the peak"),
        ] {
            let pressed = self.pressed(factor * SERVED_AT_ONCE, manners).await?;
            let served = pressed.per_second();
            self.report.measurements.push(pressed);
            self.report.floors.push(Floor::throughput(name, served, peak_per_second, floors::OVERLOAD_PERMILLE));
        }
        if let Some(bytes) = self.target.api_resident_bytes() {
            let name = "memory of the client API after that";
            self.report.floors.push(Floor::memory(name, bytes, floors::API_MEMORY_BYTES));
        }
        Ok(())
    }

    /// One load of so many callers; what was refused and the health checks meanwhile go into the report.
    async fn pressed(&mut self, callers: u32, manners: Manners) -> Result<Measurement, BenchError> {
        let name = format!("HTTP deposits, {} {}", plural(callers), manners.words());
        let before = self.target.group_commits().await;
        self.bar.set_message(name.clone());
        let budget = Budget::time(CONNECTING + self.length());
        let begin = budget.began() + CONNECTING;
        let Pressed { served, refused, probes } =
            http_load::pressing(&self.target.http, callers, manners, (begin, &budget), || self.deposits()).await;
        let took = self.length();
        for (what, tally) in [("refusals", &refused), ("health checks", &probes)] {
            self.report.measurements.push(Measurement::new(&format!("  {what} meanwhile"), tally, took, None));
        }
        if manners == Manners::WaitAsTold && refused.operations > 0 {
            let name = "half of the refusals";
            self.report.floors.push(Floor::within(name, refused.quantile(0.5), floors::REFUSED_WITHIN));
        }
        self.report.floors.push(Floor::within("99 of 100 health checks", probes.quantile(0.99), floors::PROBED_WITHIN));
        if served.operations == 0 {
            let why = served.first_error.unwrap_or_else(|| "nobody was served".to_owned());
            return Err(BenchError::AllFailed(why));
        }
        Ok(Measurement::new(&name, &served, took, self.since(before).await))
    }
}
