//! The interleaved run: yardstick, bank, yardstick, bank, so that a machine that slows down slows
//! both.

mod overload;
mod shared;
mod takeover;
mod transfers;

use super::BenchError;
use super::appenders;
use super::arguments::{Arguments, Scenario};
use super::budget::Budget;
use super::floors::{self, Floor};
use super::grpc_load::{self, Members};
use super::http_load;
use super::orders::{Orders, Spread};
use super::report::{Machine, Measurement, Report};
use super::tally::Tally;
use super::target::Target;
use super::yardstick::TwoHop;
use crate::interrupts::Interrupts;
use crate::output;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::time::Duration;

/// What the suite's batch scenario runs without --full.
const QUICK_OPERATIONS: u64 = 1_000_000;
/// What the floors about one branch ask for.
const FULL_OPERATIONS: u64 = 5_000_000;
/// Accounts of the memory floor.
const MANY_ACCOUNTS: u64 = 1_000_000;
/// Connections of the floor for HTTP, whatever --connections says.
const HTTP_CONNECTIONS: u32 = 64;

/// Runs what was asked for, then stops the bank and verifies its books.
pub(super) async fn run(arguments: &Arguments, interrupts: &mut Interrupts) -> Result<Report, BenchError> {
    let has_others = arguments.store.is_named() && arguments.api.is_none() && arguments.servers > 1;
    if arguments.scenario == Scenario::Takeover && !has_others {
        return Err(BenchError::NeedsServers);
    }
    let report = Report { machine: Machine::now(), ..Report::default() };
    let target = Target::open(arguments, interrupts).await?;
    let directory = target.directory().map_or_else(|| arguments.dir.clone(), ToOwned::to_owned);
    let two_hop = TwoHop::start(&directory).await?;
    let mut run = Run { arguments, target, two_hop, directory, bar: bar(), report };
    match arguments.scenario {
        Scenario::Suite => match run.target.store_url() {
            Some(url) => run.shared_suite(url).await?,
            None => run.suite().await?,
        },
        Scenario::Overload => run.overload().await?,
        Scenario::Takeover => run.takeovers().await?,
        scenario => {
            let measured = run.one(scenario).await?;
            run.report.measurements.push(measured);
        }
    }
    let Run { target, two_hop, mut report, bar, .. } = if arguments.full { run.full(interrupts).await? } else { run };
    two_hop.stop().await;
    bar.set_message("verifying the books");
    if let Some(remains) = target.close(interrupts).await {
        report.books = Some(remains.verify().await);
    }
    bar.finish_and_clear();
    Ok(report)
}

struct Run<'a> {
    arguments: &'a Arguments,
    target: Target,
    two_hop: TwoHop,
    directory: PathBuf,
    bar: ProgressBar,
    report: Report,
}

impl Run<'_> {
    async fn suite(&mut self) -> Result<(), BenchError> {
        let rounds = self.arguments.rounds;
        let (mut echo, mut http, mut echo_lone, mut http_lone, mut sync, mut syncs) = Default::default();
        let mut sync_lone = Vec::new();
        let (mut throughputs, mut latencies) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            self.bar.set_prefix(format!("round {round} of {rounds}: "));
            push(&mut echo, self.two_hop(HTTP_CONNECTIONS).await?);
            push(&mut http, self.http(HTTP_CONNECTIONS).await?);
            // By now the disk has come to rest, and the lone figures meet the same conditions.
            push(&mut echo_lone, self.two_hop(1).await?);
            push(&mut sync, self.appenders(1).await?);
            let pause = echo_lone.last().map_or(Duration::ZERO, |echo: &Measurement| echo.p50);
            push(&mut sync_lone, self.one_at_a_time(pause).await?);
            push(&mut http_lone, self.http(1).await?);
            push(&mut syncs, self.appenders(self.arguments.branches).await?);
            // Each round is held against its own yardsticks: a machine whose speed changes from round to
            // round changes both sides of a ratio, and then the ratios vary less than what they are made of.
            if let (Some(http), Some(echo)) = (http.last(), echo.last()) {
                throughputs.push(throughput_floor(http, echo));
            }
            if let (Some(http), Some(echo), Some(sync)) = (http_lone.last(), echo_lone.last(), sync_lone.last()) {
                latencies.push(latency_floor(http, echo, sync));
            }
        }
        self.bar.set_prefix("");
        self.report.floors.extend([throughputs, latencies].into_iter().filter_map(Floor::median));
        let by_speed = |rounds| Measurement::median(rounds, Measurement::per_second);
        let by_p50 = |rounds| Measurement::median(rounds, |one| u64::try_from(one.p50.as_nanos()).unwrap_or(u64::MAX));
        self.report.measurements.extend(by_p50(sync_lone));
        let medians =
            (by_speed(echo), by_speed(http), by_p50(echo_lone), by_p50(http_lone), by_p50(sync), by_speed(syncs));
        let (Some(echo), Some(http), Some(echo_lone), Some(http_lone), Some(sync), Some(syncs)) = medians else {
            return Ok(());
        };
        // Half of what the closed loop reached: busy, but not overloaded.
        let rate = (http.per_second() / 2).max(1);
        self.report.measurements.extend([echo, http, echo_lone, http_lone, sync, syncs]);
        let drawn = Members::Drawn { customers: self.arguments.customers };
        for measured in [
            self.http_open(rate).await?,
            self.http_hot().await?,
            self.grpc().await?,
            self.run_batches("gRPC batches, ten branches", drawn, QUICK_OPERATIONS).await?,
        ] {
            self.report.measurements.push(measured);
        }
        self.transfers_suite().await?;
        let one_branch = Members::OneBranch { branch: 1, customers: self.arguments.customers };
        let batches = self.batches("gRPC batches, one branch", one_branch).await?;
        let name = "durable transactions in gRPC batches on one branch";
        let speed = batches.per_second();
        self.report.floors.push(Floor::least(name, speed, floors::BATCH_PER_SECOND, "a second"));
        self.report.measurements.push(batches);
        Ok(())
    }

    /// What takes long: the branch of 5 million transactions opened again, and many accounts.
    async fn full(mut self, interrupts: &mut Interrupts) -> Result<Self, BenchError> {
        self.bar.set_message("killing the bank and opening it again");
        let (target, took) = self.target.kill_and_reopen(self.arguments, interrupts).await?;
        self.target = target;
        let name = "opening the branch of 5 million transactions after a kill";
        self.report.floors.push(Floor::within(name, took, floors::OPEN_WITHIN));

        let name = "first deposits that open 1 million accounts";
        // Branch 2 has a server of its own as soon as there are two.
        let (branch, server) = if self.arguments.servers > 1 { (2, 1) } else { (1, 0) };
        let measured = self.run_batches(name, Members::Each { branch }, MANY_ACCOUNTS).await?;
        self.report.measurements.push(measured);
        if let Some(bytes) = self.target.resident_bytes(server) {
            let name = "memory of the branch server with 1 million accounts";
            self.report.floors.push(Floor::memory(name, bytes, floors::MEMORY_BYTES));
        }
        Ok(self)
    }

    async fn one(&mut self, scenario: Scenario) -> Result<Measurement, BenchError> {
        let (connections, customers) = (self.arguments.connections, self.arguments.customers);
        match scenario {
            Scenario::Suite | Scenario::Overload | Scenario::Takeover | Scenario::Http => self.http(connections).await,
            Scenario::HttpOpen => self.http_open(self.arguments.rate).await,
            Scenario::Grpc => self.grpc().await,
            Scenario::GrpcBatch => {
                let members = match Spread::new(self.arguments.spread, customers, self.arguments.branches) {
                    Spread::Uniform(customers) => Members::Drawn { customers },
                    Spread::Branch { branch, customers, .. } => Members::OneBranch { branch, customers },
                    Spread::Hot => Members::OneBranch { branch: 1, customers: 1 },
                };
                self.batches("gRPC batches", members).await
            }
            Scenario::Transfers => {
                self.fund().await?;
                self.transfers(connections, self.arguments.cross_permille).await
            }
            Scenario::TwoHop => self.two_hop(connections).await,
            Scenario::Appenders => self.appenders(self.arguments.branches).await,
        }
    }

    async fn two_hop(&mut self, connections: u32) -> Result<Measurement, BenchError> {
        let name = format!("bare two-hop echo, {}", plural(connections));
        let budget = self.begin(&name);
        let tally = http_load::closed(&self.two_hop.http, connections, &budget, || self.deposits()).await;
        end(&name, &tally, &budget, None)
    }

    async fn http(&mut self, connections: u32) -> Result<Measurement, BenchError> {
        let name = format!("HTTP deposits, {}", plural(connections));
        let before = self.target.group_commits().await;
        let budget = self.begin(&name);
        let tally = http_load::closed(&self.target.http, connections, &budget, || self.deposits()).await;
        end(&name, &tally, &budget, self.since(before).await)
    }

    async fn http_hot(&mut self) -> Result<Measurement, BenchError> {
        let name = format!("HTTP deposits into one account, {}", plural(HTTP_CONNECTIONS));
        let before = self.target.group_commits().await;
        let budget = self.begin(&name);
        let draw = || Orders::new(Spread::Hot, self.arguments.ids);
        let tally = http_load::closed(&self.target.http, HTTP_CONNECTIONS, &budget, draw).await;
        end(&name, &tally, &budget, self.since(before).await)
    }

    async fn http_open(&mut self, rate: u64) -> Result<Measurement, BenchError> {
        let name = format!("HTTP deposits, {} a second due", output::grouped(rate));
        let before = self.target.group_commits().await;
        let budget = self.begin(&name);
        // Enough connections that waiting for one is the exception.
        let connections = self.arguments.connections.max(256);
        let tally = http_load::open(&self.target.http, connections, rate, self.length(), || self.deposits()).await;
        end(&name, &tally, &budget, self.since(before).await)
    }

    async fn grpc(&mut self) -> Result<Measurement, BenchError> {
        let connections = self.arguments.connections;
        let name = format!("gRPC deposits, {connections} callers");
        let before = self.target.group_commits().await;
        let budget = self.begin(&name);
        let tally = grpc_load::single(&self.target.servers, connections, &budget, || self.deposits()).await;
        end(&name, &tally, &budget, self.since(before).await)
    }

    async fn batches(&mut self, name: &str, members: Members) -> Result<Measurement, BenchError> {
        let default = if self.arguments.full { FULL_OPERATIONS } else { QUICK_OPERATIONS };
        self.run_batches(name, members, self.arguments.operations.unwrap_or(default)).await
    }

    async fn run_batches(&mut self, name: &str, members: Members, operations: u64) -> Result<Measurement, BenchError> {
        let name = format!("{name}, {} each", self.arguments.batch);
        let before = self.target.group_commits().await;
        self.bar.set_message(name.clone());
        let budget = Budget::operations(operations);
        let (in_flight, size, ids) = (self.arguments.in_flight, self.arguments.batch, self.arguments.ids);
        let draw = |spread| Orders::new(spread, ids);
        let tally = grpc_load::batches(&self.target.servers, in_flight, size, members, &budget, draw).await;
        end(&name, &tally, &budget, self.since(before).await)
    }

    async fn appenders(&mut self, appenders: u32) -> Result<Measurement, BenchError> {
        let name = format!("appends with fdatasync, {appenders} file{}", if appenders == 1 { "" } else { "s" });
        self.bar.set_message(name.clone());
        let (tally, took) = appenders::run(&self.directory, appenders, self.length()).await?;
        Ok(Measurement::new(&name, &tally, took, None))
    }

    async fn one_at_a_time(&mut self, pause: Duration) -> Result<Measurement, BenchError> {
        let files = self.arguments.branches;
        let name = format!("appends with fdatasync, one at a time into {files} files");
        self.bar.set_message(name.clone());
        let (tally, took) = appenders::one_at_a_time(&self.directory, files, pause, self.length()).await?;
        Ok(Measurement::new(&name, &tally, took, None))
    }

    fn begin(&self, name: &str) -> Budget {
        self.bar.set_message(name.to_owned());
        Budget::time(self.length())
    }

    fn length(&self) -> Duration {
        Duration::from_secs(self.arguments.seconds)
    }

    fn deposits(&self) -> Orders {
        let spread = Spread::new(self.arguments.spread, self.arguments.customers, self.arguments.branches);
        Orders::new(spread, self.arguments.ids)
    }

    async fn since(&self, before: Option<u64>) -> Option<u64> {
        Some(self.target.group_commits().await?.saturating_sub(before?))
    }
}

fn end(name: &str, tally: &Tally, budget: &Budget, fsyncs: Option<u64>) -> Result<Measurement, BenchError> {
    match &tally.first_error {
        Some(error) if tally.operations == 0 => Err(BenchError::AllFailed(error.clone())),
        _ => Ok(Measurement::new(name, tally, budget.began().elapsed(), fsyncs)),
    }
}

fn throughput_floor(http: &Measurement, echo: &Measurement) -> Floor {
    let name = "durable HTTP deposits at 64 connections, of the bare two-hop echo";
    Floor::throughput(name, http.per_second(), echo.per_second(), floors::HTTP_PERMILLE)
}

fn latency_floor(http: &Measurement, echo: &Measurement, sync: &Measurement) -> Floor {
    let name = "p50 of one lone HTTP deposit, of two-hop + lone fdatasync";
    Floor::latency(name, http.p50, echo.p50 + sync.p50, floors::LONE_PERMILLE)
}

fn push(rounds: &mut Vec<Measurement>, round: Measurement) {
    rounds.push(round);
}

fn plural(connections: u32) -> String {
    if connections == 1 { "1 connection".to_owned() } else { format!("{connections} connections") }
}

fn bar() -> ProgressBar {
    if !output::is_watched() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    // A template that is wrong would only look plainer.
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {prefix}{msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
