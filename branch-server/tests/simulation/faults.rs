//! What goes wrong, drawn from the seed.

use crate::run::Kind;
use crate::servers::{BRANCHES, SERVERS, Servers, name};
use crate::witness::{Trap, Witness};
use bank_proto::BranchId;
use branch_server::journal::RowKind;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use turmoil::Sim;

const HOUR_MICROS: i64 = 3_600_000_000;

/// Group commits around which servers die more often than chance has it: the windows of the protocol.
const WINDOWS: [RowKind; 9] = [
    RowKind::TransferSent,
    RowKind::TransferReceived,
    RowKind::TransferCompleted,
    RowKind::TransferReturned,
    RowKind::ReversalSent,
    RowKind::ReversalAccepted,
    RowKind::ReversalRefused,
    RowKind::HoldCaptured,
    RowKind::Deposit,
];

/// How likely each thing is in one step, in millionths: every seed has its own weather.
struct Weather {
    kill: u32,
    stop: u32,
    trap: u32,
    cut: u32,
    one_way: u32,
    clock: u32,
}

/// What goes wrong in one run.
pub(crate) struct Faults {
    random: StdRng,
    weather: Weather,
    /// Servers that are down, and the step at which they come back.
    down: BTreeMap<u32, u64>,
    /// The longest that a dead server is down, in steps.
    longest_down: u64,
    /// Pairs of hosts that do not hear each other, and the step at which they do again.
    apart: BTreeMap<(String, String), u64>,
    pub(crate) fired: BTreeMap<&'static str, u64>,
    /// In every fourth seed branches move between the servers. A draw of its own, so that the others keep theirs.
    moving: Option<StdRng>,
    /// Servers that must be started again so that they hear of a move, and the step at which they are stopped.
    restarts: BTreeSet<(u64, u32)>,
}

impl Faults {
    pub(crate) fn new(seed: u64, kind: Kind) -> Faults {
        let mut random = StdRng::seed_from_u64(seed ^ 0xFA17);
        let mut part = |most| random.random_range(0..=most);
        let weather = Weather {
            kill: part(800),
            stop: part(300),
            trap: part(4_000),
            cut: part(1_500),
            one_way: part(1_500),
            clock: part(4_000),
        };
        Faults {
            random,
            weather,
            down: BTreeMap::new(),
            // Others take over where they can, if that is longer than a lease.
            longest_down: if kind == Kind::Shared { 3_000 } else { 1_000 },
            apart: BTreeMap::new(),
            fired: BTreeMap::new(),
            moving: (kind == Kind::Own && seed % 4 == 1).then(|| StdRng::seed_from_u64(seed ^ 0x30FE)),
            restarts: BTreeSet::new(),
        }
    }

    fn happens(&mut self, millionths: u32) -> bool {
        self.random.random_range(0..1_000_000) < millionths
    }

    fn server(&mut self) -> u32 {
        self.random.random_range(0..SERVERS)
    }

    fn count(&mut self, what: &'static str) {
        *self.fired.entry(what).or_default() += 1;
    }

    /// One step of bad weather.
    pub(crate) fn step(&mut self, now: u64, sim: &mut Sim<'_>, servers: &Servers, witness: &Witness, clients: u32) {
        self.mend(now, sim, servers);
        self.relocate(now, servers);
        if self.happens(self.weather.kill) {
            let server = self.server();
            self.strike(now, sim, servers, server);
        }
        if self.happens(self.weather.stop) {
            let server = self.server();
            if !self.down.contains_key(&server) {
                self.count("stop");
                servers.stop(server);
                self.down.insert(server, now + self.random.random_range(1..1_500));
            }
        }
        if self.happens(self.weather.trap) {
            let branch = BranchId::new(i64::from(self.random.random_range(1..=BRANCHES))).expect("a branch");
            let trap = [Trap::Before, Trap::After, Trap::Full][self.random.random_range(0..3)];
            let kind = self.random.random_range(0..WINDOWS.len() + 3);
            // One that waits for its kind of row goes on waiting.
            witness.seen().traps.entry(branch).or_insert((trap, WINDOWS.get(kind).copied()));
        }
        if self.happens(self.weather.cut) {
            let (one, other) = self.two_hosts(clients);
            if one != other && !self.is_apart(&one, &other) {
                self.count("partition");
                sim.partition(one.as_str(), other.as_str());
                self.part(now, one, other);
            }
        }
        if self.happens(self.weather.one_way) {
            let (one, other) = self.two_hosts(clients);
            if one != other && !self.is_apart(&one, &other) {
                self.count("one-way partition");
                sim.partition_oneway(one.as_str(), other.as_str());
                self.part(now, one, other);
            }
        }
        if self.happens(self.weather.clock) {
            self.count("wrong clock");
            let server = self.server() as usize;
            servers.clocks[server].store(self.random.random_range(-HOUR_MICROS..=HOUR_MICROS), Ordering::Relaxed);
        }
    }

    /// Now and then a branch whose last move has ended gets another server, and both are started again some time later,
    /// in whatever order.
    fn relocate(&mut self, now: u64, servers: &Servers) {
        let Some(random) = &mut self.moving else { return };
        if random.random_range(0..1_000) < 3 {
            let branch = BranchId::new(i64::from(random.random_range(1..=BRANCHES))).expect("a branch");
            let from = servers.assignment().server_of(branch).expect("a server");
            let to = (from + random.random_range(1..SERVERS)) % SERVERS;
            if servers.in_office(branch) == [from] {
                servers.move_branch(branch, to);
                *self.fired.entry("move").or_default() += 1;
                self.restarts.extend([from, to].map(|server| (now + random.random_range(0..400), server)));
            }
        }
        while let Some((due, server)) = self.restarts.first().copied().filter(|(due, _)| *due <= now) {
            self.restarts.remove(&(due, server));
            if !self.down.contains_key(&server) && servers.is_behind(server) {
                servers.stop(server);
                self.down.insert(server, now + random.random_range(1..300));
            }
        }
    }

    /// Servers whose journal failed die as well.
    pub(crate) fn bury(&mut self, now: u64, sim: &mut Sim<'_>, servers: &Servers) {
        for server in servers.doomed() {
            if !self.down.contains_key(&server) {
                self.kill(now, sim, servers, server);
            } else if sim.is_host_running(name(server)) {
                // While it was stopping.
                servers.kill(sim, server);
            }
        }
    }

    /// A server dies, if it is there.
    pub(crate) fn strike(&mut self, now: u64, sim: &mut Sim<'_>, servers: &Servers, server: u32) {
        if !self.down.contains_key(&server) {
            self.count("death between commits");
            self.kill(now, sim, servers, server);
        }
    }

    /// The servers that are up and not told to stop.
    pub(crate) fn up(&self) -> Vec<u32> {
        (0..SERVERS).filter(|server| !self.down.contains_key(server)).collect()
    }

    /// A server that is down comes back now.
    pub(crate) fn raise(&mut self, sim: &mut Sim<'_>, servers: &Servers, server: u32) {
        self.down.insert(server, 0);
        self.mend(0, sim, servers);
    }

    /// Nobody hears a server, and it hears nobody, until a step.
    pub(crate) fn isolate(&mut self, sim: &mut Sim<'_>, server: u32, clients: u32, until: u64) {
        let one = name(server);
        let others = (0..SERVERS).filter(|other| *other != server).map(name);
        for other in others.chain((0..clients).map(|client| format!("client-{client}"))) {
            if !self.is_apart(&one, &other) {
                sim.partition(one.as_str(), other.as_str());
                self.apart.insert((one.clone(), other), until);
            }
        }
    }

    /// The end of all bad weather.
    pub(crate) fn heal(&mut self, sim: &mut Sim<'_>, servers: &Servers, witness: &Witness) {
        self.mend(u64::MAX, sim, servers);
        for server in (0..SERVERS).filter(|server| servers.is_behind(*server)) {
            servers.kill(sim, server);
            sim.bounce(name(server));
        }
        witness.seen().traps.clear();
        servers.clocks.iter().for_each(|clock| clock.store(0, Ordering::Relaxed));
    }

    fn kill(&mut self, now: u64, sim: &mut Sim<'_>, servers: &Servers, server: u32) {
        servers.kill(sim, server);
        self.down.insert(server, now + self.random.random_range(1..self.longest_down));
    }

    fn two_hosts(&mut self, clients: u32) -> (String, String) {
        let one = name(self.server());
        let other = self.random.random_range(0..SERVERS + clients);
        let other = if other < SERVERS { name(other) } else { format!("client-{}", other - SERVERS) };
        (one, other)
    }

    fn is_apart(&self, one: &str, other: &str) -> bool {
        let is = |one: &str, other: &str| self.apart.contains_key(&(one.to_owned(), other.to_owned()));
        is(one, other) || is(other, one)
    }

    fn part(&mut self, now: u64, one: String, other: String) {
        let until = now + self.random.random_range(10..1_500);
        self.apart.insert((one, other), until);
    }

    fn mend(&mut self, now: u64, sim: &mut Sim<'_>, servers: &Servers) {
        for server in self.down.extract_if(.., |_, until| *until <= now).map(|(server, _)| server).collect::<Vec<_>>() {
            // Told to stop, and not done yet: nobody waits for ever.
            if sim.is_host_running(name(server)) {
                self.count("death while stopping");
                servers.kill(sim, server);
            }
            sim.bounce(name(server));
        }
        self.apart.retain(|(one, other), until| {
            let is_over = *until <= now;
            if is_over {
                sim.repair(one.as_str(), other.as_str());
                servers.wires.reset(one, other);
            }
            !is_over
        });
    }
}
