//! What was measured, as tables for people and as JSON.

use super::floors::Floor;
use super::tally::Tally;
use crate::output::{self, grouped};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// One load, or the median of its rounds.
#[derive(Debug, Clone)]
pub(super) struct Measurement {
    pub(super) name: String,
    pub(super) operations: u64,
    pub(super) errors: u64,
    pub(super) took: Duration,
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) p999: Duration,
    /// Group commits of the bank meanwhile, each with one fsync; None for what is not the bank.
    pub(super) fsyncs: Option<u64>,
    /// What the first error said.
    pub(super) first_error: Option<String>,
}

impl Measurement {
    pub(super) fn new(name: &str, tally: &Tally, took: Duration, fsyncs: Option<u64>) -> Measurement {
        Measurement {
            name: name.to_owned(),
            operations: tally.operations,
            errors: tally.errors,
            took,
            p50: tally.quantile(0.5),
            p99: tally.quantile(0.99),
            p999: tally.quantile(0.999),
            fsyncs,
            first_error: tally.first_error.clone(),
        }
    }

    /// Confirmed operations a second.
    pub(super) fn per_second(&self) -> u64 {
        let per_second = u128::from(self.operations) * 1_000_000_000 / self.took.as_nanos().max(1);
        u64::try_from(per_second).unwrap_or(u64::MAX)
    }

    /// The round in the middle when they are ordered by what matters most.
    pub(super) fn median(mut rounds: Vec<Measurement>, by: fn(&Measurement) -> u64) -> Option<Measurement> {
        rounds.sort_by_key(by);
        let middle = rounds.len() / 2;
        rounds.into_iter().nth(middle)
    }
}

/// The machine before the run, as far as it bears on the figures.
#[derive(Debug, Default)]
pub(super) struct Machine {
    cores: usize,
    /// The load average of the last minute, as the system writes it; empty when it does not.
    load: String,
}

impl Machine {
    pub(super) fn now() -> Machine {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Machine {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) measurements: Vec<Measurement>,
    pub(super) floors: Vec<Floor>,
    /// What happened to servers, and the slowest answer each time.
    pub(super) takeovers: Vec<(&'static str, Vec<Duration>)>,
    /// What the verification of the books said; None when the bank is not ours to stop.
    pub(super) books: Option<Result<String, String>>,
}

impl Report {
    /// Whether the books agree and, when it is asked for, every floor was reached.
    pub(super) fn passes(&self, strict: bool) -> bool {
        let books = !matches!(self.books, Some(Err(_)));
        books && (!strict || self.floors.iter().all(|floor| floor.met))
    }

    pub(super) fn text(&self) -> String {
        let rows = self.measurements.iter().map(|one| {
            let fsyncs = one.fsyncs.map_or_else(|| "-".to_owned(), grouped);
            // pgbench tells no quantiles.
            let told = |quantile: Duration| if quantile.is_zero() { "-".to_owned() } else { time(quantile) };
            let times = [one.p50, one.p99, one.p999].map(told);
            let counts = [grouped(one.per_second()), grouped(one.operations), grouped(one.errors)];
            [vec![one.name.clone()], counts.to_vec(), times.to_vec(), vec![fsyncs]].concat()
        });
        let head = ["measured", "per second", "operations", "errors", "p50", "p99", "p99.9", "fsyncs"];
        let Machine { cores, load } = &self.machine;
        let mut text = format!("{cores} cores, load average {load} before the run\n");
        text.push_str(&output::table(&head, &rows.collect::<Vec<_>>()));
        for one in self.measurements.iter().filter(|one| one.errors > 0) {
            let why = one.first_error.as_deref().unwrap_or("unknown");
            text.push_str(&format!("\n{}: the first error said: {why}", one.name));
        }
        if !self.floors.is_empty() {
            let rows = self.floors.iter().map(Floor::row).collect::<Vec<_>>();
            text.push('\n');
            text.push_str(&output::table(&["floor", "measured", "needed", ""], &rows));
        }
        for (what, slowest) in &self.takeovers {
            text.push_str(&histogram(what, slowest));
        }
        match &self.books {
            Some(Ok(said)) => text.push_str(&format!("\nThe books agree: {said}")),
            Some(Err(said)) => text.push_str(&format!("\nTHE BOOKS DO NOT AGREE: {said}")),
            None => text.push_str("\nThe bank runs on; `bankctl verify` says whether its books agree."),
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let measurements = self.measurements.iter().map(|one| {
            json!({
                "name": one.name,
                "operations": one.operations,
                "errors": one.errors,
                "per_second": one.per_second(),
                "took_ns": nanoseconds(one.took),
                "p50_ns": nanoseconds(one.p50),
                "p99_ns": nanoseconds(one.p99),
                "p999_ns": nanoseconds(one.p999),
                "fsyncs": one.fsyncs,
                "first_error": one.first_error,
            })
        });
        let takeovers = self.takeovers.iter().map(|(what, slowest)| {
            let slowest: Vec<u64> = slowest.iter().copied().map(nanoseconds).collect();
            json!({"server": what, "slowest_answers_ns": slowest})
        });
        let (agree, said) = match &self.books {
            Some(Ok(said)) => (Some(true), Some(said)),
            Some(Err(said)) => (Some(false), Some(said)),
            None => (None, None),
        };
        json!({
            "machine": {"cores": self.machine.cores, "load_average": self.machine.load},
            "measurements": measurements.collect::<Vec<_>>(),
            "takeovers": takeovers.collect::<Vec<_>>(),
            "floors": self.floors.iter().map(Floor::json).collect::<Vec<_>>(),
            "books": {"agree": agree, "detail": said},
        })
    }
}

/// Width of a histogram's classes.
const CLASS: Duration = Duration::from_millis(250);

/// How often the slowest answer took how long: a line for each quarter of a second.
fn histogram(what: &str, slowest: &[Duration]) -> String {
    let class = |took: &Duration| u32::try_from(took.as_nanos() / CLASS.as_nanos()).unwrap_or(u32::MAX);
    let mut classes = BTreeMap::new();
    slowest.iter().for_each(|took| *classes.entry(class(took)).or_insert(0_usize) += 1);
    let (Some(first), Some(last)) = (classes.keys().next().copied(), classes.keys().last().copied()) else {
        return String::new();
    };
    let mut text = format!("\nthe slowest answer each time, server {what}");
    for class in first..=last {
        let count = classes.get(&class).copied().unwrap_or(0);
        let line = format!("\n{:>8} and more  {count:>3}  {}", time(CLASS * class), "#".repeat(count));
        text.push_str(line.trim_end());
    }
    text
}

/// Three digits that count, in the unit that fits.
pub(super) fn time(time: Duration) -> String {
    let ns = time.as_nanos();
    let (unit, name) = match ns {
        0..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let (whole, rest) = (ns / unit, ns % unit);
    match whole {
        0..10 => format!("{whole}.{:02} {name}", rest * 100 / unit),
        10..100 => format!("{whole}.{} {name}", rest * 10 / unit),
        _ => format!("{whole} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takeovers_are_told_by_the_quarter_of_a_second() {
        let takeovers = [3_240, 3_499, 650, 3_250, 4_000].map(Duration::from_millis);
        let expected =
            ["", "the slowest answer each time, server killed", "  500 ms and more    1  #", "  750 ms and more    0"];
        let text = histogram("killed", &takeovers);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..4], expected);
        assert_eq!(lines[12..14], ["  3.00 s and more    1  #", "  3.25 s and more    2  ##"]);
        assert_eq!(lines.last(), Some(&"  4.00 s and more    1  #"));
        assert_eq!(histogram("killed", &[]), "");
    }

    #[test]
    fn numbers_are_written_for_people() {
        let times = [900, 15_400, 123_456, 1_230_000, 45_600_000, 2_500_000_000].map(Duration::from_nanos).map(time);
        assert_eq!(times, ["0.90 µs", "15.4 µs", "123 µs", "1.23 ms", "45.6 ms", "2.50 s"]);
    }

    #[test]
    fn the_median_round_counts() {
        let round = |operations| {
            let mut tally = Tally::new();
            tally.operations = operations;
            Measurement::new("x", &tally, Duration::from_secs(2), None)
        };
        let rounds = [30, 10, 1000].map(round).to_vec();
        let median = Measurement::median(rounds, Measurement::per_second).expect("a median");
        assert_eq!((median.operations, median.per_second()), (30, 15));
    }

    #[test]
    fn damaged_books_fail_and_missed_floors_only_when_asked() {
        let missed = Floor::least("x", 1, 2, "a second");
        let mut report = Report { floors: vec![missed], books: Some(Ok(String::new())), ..Report::default() };
        assert_eq!((report.passes(false), report.passes(true)), (true, false));
        report.books = Some(Err(String::new()));
        assert!(!report.passes(false));
    }
}
