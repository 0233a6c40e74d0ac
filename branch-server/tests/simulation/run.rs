//! One seed from beginning to end: bad weather, then good, then the reckoning.

use crate::clients::{CLIENTS, Client, History};
use crate::faults::Faults;
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
/// How long the weather is bad, in steps.
const BAD_STEPS: u64 = 4_000;
/// After so many steps of good weather nothing may be under way any more (I6: 10 seconds).
const LIVELY_STEPS: u64 = 5_000;
/// How long the reckoning may take.
const RECKONING_STEPS: u64 = 60_000;

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
    pub(crate) fn must_have_been_everywhere(&self) {
        for place in [
            "death between commits",
            "death before a commit",
            "death after a commit",
            "full disk",
            "stop",
            "death while stopping",
            // The windows of the protocol: the payer's branch dies around the debit and around the end, the
            // payee's around the outcome.
            "death before a commit with transfer_sent",
            "death after a commit with transfer_sent",
            "death before a commit with transfer_received",
            "death after a commit with transfer_received",
            "death before a commit with transfer_completed",
            "death after a commit with transfer_completed",
            "death before a commit with transfer_returned",
            "death after a commit with transfer_returned",
            "death after a commit with deposit",
            "death after a commit with reversal_sent",
            "death after a commit with reversal_accepted",
            "death after a commit with hold_captured",
            "partition",
            "one-way partition",
            "wrong clock",
            "move",
            "row transfer_sent",
            "row transfer_received",
            "row transfer_completed",
            "row transfer_returned",
            "row transfer_cancelled",
            "row turned away",
            "row reversal",
            "row reversal_sent",
            "row reversal_accepted",
            "row reversal_refused",
            "row hold_captured",
            "row hold_released",
            "row hold_expired",
            "told receipt",
            "told refusal",
            "told transfer",
            "told transfer that came back",
            "told reversal",
            "told door: done",
            "told door: hold",
            "told door: ended",
            "told door: came back",
            "told door: refused",
        ] {
            assert!(self.0.contains_key(place), "never: {place}");
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

/// Runs a seed, and panics when a promise is broken.
pub(crate) fn run(seed: u64) -> Outcome {
    let directory = tempfile::tempdir().expect("a directory");
    let (witness, history) = (Witness::default(), History::default());
    let servers = Servers::new(directory.path(), witness.clone(), seed);
    let mut faults = Faults::new(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(STEP)
        .simulation_duration(Duration::from_secs(3600))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .tcp_capacity(4096)
        .build();
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
    let mut now = 0;
    let mut step = |sim: &mut turmoil::Sim<'_>, faults: &mut Faults| {
        now += 1;
        sim.step().expect("no host fails");
        faults.bury(now, sim, &servers);
        witness.check();
        now
    };
    while !is_open.get() {
        step(&mut sim, &mut faults);
    }
    for _ in 0..BAD_STEPS {
        let now = step(&mut sim, &mut faults);
        faults.step(now, &mut sim, &servers, &witness, CLIENTS);
    }
    faults.heal(&mut sim, &servers, &witness);
    stop.store(true, Ordering::Relaxed);
    let mut steps = 0;
    while done.get() < CLIENTS || witness.outstanding() > 0 {
        step(&mut sim, &mut faults);
        steps += 1;
        assert!(
            steps <= LIVELY_STEPS,
            "I6: {} clients have no answer and {} transfers are under way 10 seconds after everything healed",
            CLIENTS - done.get(),
            witness.outstanding()
        );
    }
    let told = reckon(&mut sim, seed, &servers, &history, |sim| {
        step(sim, &mut faults);
    });
    drop(sim);
    let mut tally = Tally::default();
    tally.count("transfers verified", verify_all(&servers));
    tally.count("orders", history.entries().len() as u64);
    told.iter().for_each(|(what, count)| tally.count(&format!("told {what}"), *count));
    faults.fired.iter().for_each(|(what, count)| tally.count(what, *count));
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
