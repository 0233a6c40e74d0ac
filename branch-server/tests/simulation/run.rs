//! One seed from beginning to end: bad weather, then good, then the reckoning.

use crate::clients::{CLIENTS, Client, History};
use crate::database::Database;
use crate::faults::Faults;
use crate::onlooker::Onlooker;
use crate::outages::Outages;
use crate::places::EVERYWHERE;
use crate::servers::{BRANCHES, SERVERS, Servers};
use crate::witness::Witness;
use branch_server::verify;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One step of the simulated world.
const STEP: Duration = Duration::from_millis(2);
/// After so many steps of good weather nothing may be under way any more (I6: 10 seconds).
const LIVELY_STEPS: u64 = 5_000;
/// How long the reckoning may take.
const RECKONING_STEPS: u64 = 60_000;

/// Where the books of a bank are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On disks of the servers' own.
    Own,
    /// In a database that the servers share.
    Shared,
}

impl Kind {
    /// The test that runs one seed of it.
    pub(crate) fn test(self) -> &'static str {
        match self {
            Kind::Own => "one_seed",
            Kind::Shared => "one_shared_seed",
        }
    }

    /// How long the weather is bad, in steps.
    fn bad_steps(self) -> u64 {
        match self {
            Kind::Own => 4_000,
            // Leases are long, and calms are in it.
            Kind::Shared => 12_000,
        }
    }
}

/// What one run went through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    fn count(&mut self, what: &str, count: u64) {
        *self.0.entry(what.to_owned()).or_default() += count;
    }

    /// A simulation that never got to where it hurts proves nothing.
    pub(crate) fn must_have_been_everywhere(&self, kind: Kind) {
        for place in EVERYWHERE.iter().chain(kind.places()) {
            assert!(self.0.contains_key(*place), "never: {place}");
        }
    }
}

/// What came of a seed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// A digest of every group commit.
    pub(crate) trace: String,
}

/// What stands before an outcome on its line.
const OUTCOME: &str = "outcome: ";

impl Outcome {
    /// For the process that asked for it.
    pub(crate) fn print(&self) {
        println!("\n{OUTCOME}{}", serde_json::to_string(self).expect("words and numbers"));
    }

    /// What a line says, if it is that line.
    pub(crate) fn read(line: &str) -> Option<Outcome> {
        serde_json::from_str(line.strip_prefix(OUTCOME)?).ok()
    }
}

/// A network whose messages take 1 to 20 ms.
pub(crate) fn network(seed: u64) -> turmoil::Sim<'static> {
    turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(STEP)
        .simulation_duration(Duration::from_secs(3600))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .tcp_capacity(4096)
        .build()
}

/// The simulated time before a server's words.
struct Simulated;

impl tracing_subscriber::fmt::time::FormatTime for Simulated {
    fn format_time(&self, to: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(to, "{:>6} ms ", turmoil::sim_elapsed().unwrap_or_default().as_millis())
    }
}

/// Runs a seed, and panics when a promise is broken.
pub(crate) fn run(kind: Kind, seed: u64) -> Outcome {
    if crate::tells_its_history() {
        // What the servers say, between the rows and the clients' complaints.
        let words =
            tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_timer(Simulated).with_target(false);
        words.with_ansi(false).with_writer(std::io::stdout).init();
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (witness, history) = (Witness::default(), History::default());
    let database = (kind == Kind::Shared).then(|| Database::new(seed, witness.clone()));
    let servers = Servers::new(directory.path(), witness.clone(), database.clone(), seed);
    let mut faults = Faults::new(seed, kind);
    let mut outages = database.clone().map(|database| Outages::new(seed, database));
    let mut sim = network(seed);
    servers.start(&mut sim);
    let stop = Arc::new(AtomicBool::new(false));
    let (is_open, done) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    for number in 0..CLIENTS {
        let mut client = Client::new_later(seed, number, &servers.wires, &history);
        let (stop, is_open, done) = (stop.clone(), is_open.clone(), done.clone());
        sim.client(format!("client-{number}"), async move {
            let mut client = client();
            if number == 0 {
                client.open_bank().await;
                is_open.set(true);
            }
            client.order_until(&stop).await;
            done.set(done.get() + 1);
            Ok(())
        });
    }
    let looked = Arc::new(Mutex::new(BTreeMap::new()));
    if kind == Kind::Shared {
        let (wires, witness) = (servers.wires.clone(), witness.clone());
        let (stop, is_open, looked) = (stop.clone(), is_open.clone(), looked.clone());
        sim.client("onlooker", async move {
            while !is_open.get() {
                tokio::time::sleep(STEP).await;
            }
            Onlooker::new(seed, &wires, witness).look_until(&stop, &looked).await;
            Ok(())
        });
    }
    let mut now = 0;
    let mut step = |sim: &mut turmoil::Sim<'_>, faults: &mut Faults| {
        now += 1;
        if let Some(database) = &database {
            database.tables().tick(now);
        }
        sim.step().expect("no host fails");
        faults.bury(now, sim, &servers);
        witness.check();
        now
    };
    while !is_open.get() {
        step(&mut sim, &mut faults);
    }
    for _ in 0..kind.bad_steps() {
        let now = step(&mut sim, &mut faults);
        let is_calm =
            outages.as_mut().is_some_and(|outages| outages.step(now, &mut sim, &servers, &witness, &mut faults));
        if !is_calm {
            faults.step(now, &mut sim, &servers, &witness, CLIENTS);
        }
    }
    faults.heal(&mut sim, &servers, &witness);
    let is_settled = || database.as_ref().is_none_or(|database| database.is_settled(SERVERS));
    if let Some(database) = &database {
        database.tables().trouble.heal();
    }
    stop.store(true, Ordering::Relaxed);
    let mut steps = 0;
    while done.get() < CLIENTS || witness.outstanding() > 0 || !is_settled() {
        step(&mut sim, &mut faults);
        steps += 1;
        assert!(
            steps <= LIVELY_STEPS,
            "I6: 10 seconds after everything healed {} clients have no answer, {} transfers are under way, and branches \
             are served {}",
            CLIENTS - done.get(),
            witness.outstanding(),
            if is_settled() { "as they should" } else { "by nobody, twice, or unevenly" }
        );
    }
    let told = reckon(&mut sim, seed, &servers, &history, |sim| {
        step(sim, &mut faults);
    });
    assert!(is_settled(), "branches moved although nothing happened");
    drop(sim);
    let mut tally = Tally::default();
    let verified = database.as_ref().map_or_else(|| verify_all(&servers), Database::verify);
    tally.count("transfers verified", verified);
    tally.count("orders", history.entries().len() as u64);
    told.iter().for_each(|(what, count)| tally.count(&format!("told {what}"), *count));
    faults.fired.iter().for_each(|(what, count)| tally.count(what, *count));
    looked.lock().expect("nobody panicked").iter().for_each(|(what, count)| tally.count(what, *count));
    outages.iter().flat_map(|outages| &outages.fired).for_each(|(what, count)| tally.count(what, *count));
    if let Some(database) = &database {
        database.tables().tally.iter().for_each(|(what, count)| tally.count(what, *count));
    }
    let seen = witness.seen();
    seen.rows.iter().for_each(|(kind, count)| tally.count(&format!("row {kind}"), *count));
    seen.sprung.iter().for_each(|(what, count)| tally.count(what, *count));
    Outcome { tally, trace: seen.trace.finalize().to_hex().to_string() }
}

/// Everything that anybody was told is asked for again.
fn reckon(
    sim: &mut turmoil::Sim<'_>,
    seed: u64,
    servers: &Servers,
    history: &History,
    mut step: impl FnMut(&mut turmoil::Sim<'_>),
) -> BTreeMap<&'static str, u64> {
    let (counts, is_done) = (Arc::new(Mutex::new(BTreeMap::new())), Rc::new(Cell::new(false)));
    let mut auditor = Client::new_later(seed, CLIENTS, &servers.wires, history);
    let (told, done) = (counts.clone(), is_done.clone());
    sim.client("auditor", async move {
        auditor().compare(&told).await;
        done.set(true);
        Ok(())
    });
    for _ in 0..RECKONING_STEPS {
        if is_done.get() {
            return std::mem::take(&mut counts.lock().expect("nobody panicked"));
        }
        step(sim);
    }
    panic!("the bank does not answer in good weather");
}

/// Proves every branch from its journal, and that all tell one story (I1 to I4, I8, I10).
fn verify_all(servers: &Servers) -> u64 {
    let assignment = servers.assignment();
    let mut stories = Vec::new();
    for server in 0..SERVERS {
        for branch in assignment.branches_of(server) {
            assert_eq!(servers.in_office(branch), [server], "branch {branch} is at one server");
            let report = verify::branch(&servers.disk(server), branch, BRANCHES, |_, _| {});
            stories.push(report.unwrap_or_else(|error| panic!("branch {branch}: {error}")).crossings);
        }
    }
    verify::agree(&stories).unwrap_or_else(|error| panic!("{error}")).ended
}
