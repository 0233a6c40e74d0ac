//! What goes wrong between the servers and the database that they share, drawn from the seed; and calms, in which
//! nothing more goes wrong and all must be well within six seconds.

use crate::clients::CLIENTS;
use crate::database::Database;
use crate::faults::Faults;
use crate::servers::{BRANCHES, SERVERS, Servers};
use crate::witness::Witness;
use bank_proto::BranchId;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use turmoil::Sim;

/// So long a server may be silent, in steps: three seconds.
const LEASE_STEPS: u64 = 1_500;

/// After so many steps of a calm every branch is served: six seconds.
const CALM_STEPS: u64 = 3_000;

/// Steps of bad weather before a calm, at least and at most.
const STORM_STEPS: std::ops::Range<u64> = 1_500..4_000;

/// How likely each thing is in one step, in millionths; the losses, in one statement.
struct Weather {
    loss: u32,
    first_loss: u32,
    breaks: u32,
    cut: u32,
    cut_all: u32,
    sleep: u32,
    failover: u32,
}

/// What goes wrong in one run.
pub(crate) struct Outages {
    random: StdRng,
    weather: Weather,
    database: Database,
    /// The step at which the weather changes next.
    change: u64,
    is_calm: bool,
    pub(crate) fired: BTreeMap<&'static str, u64>,
}

impl Outages {
    pub(crate) fn new(seed: u64, database: Database) -> Outages {
        let mut random = StdRng::seed_from_u64(seed ^ 0x0A7A6E);
        let mut part = |most| random.random_range(0..=most);
        let weather = Weather {
            loss: part(30_000),
            first_loss: part(200_000),
            breaks: part(1_000),
            cut: part(800),
            cut_all: part(200),
            sleep: part(500),
            failover: part(400),
        };
        let (change, is_calm, fired) = (0, false, BTreeMap::new());
        Outages { random, weather, database, change, is_calm, fired }
    }

    fn count(&mut self, what: &'static str) {
        *self.fired.entry(what).or_default() += 1;
    }

    fn happens(&mut self, millionths: u32) -> bool {
        self.random.random_range(0..1_000_000) < millionths
    }

    fn server(&mut self) -> u32 {
        self.random.random_range(0..SERVERS)
    }

    /// One step of whatever weather it is: whether it is calm.
    pub(crate) fn step(
        &mut self,
        now: u64,
        sim: &mut Sim<'_>,
        servers: &Servers,
        witness: &Witness,
        faults: &mut Faults,
    ) -> bool {
        if self.change == 0 {
            self.storm(now);
        } else if now >= self.change && self.is_calm {
            self.must_be_served(faults);
            self.storm(now);
        } else if now >= self.change {
            self.calm(now, sim, servers, witness, faults);
        }
        if !self.is_calm {
            self.strike(now, sim, faults);
        } else if self.database.tables().waits(&faults.up()) {
            // One that has not found the database since its start is not there yet.
            self.change = now + CALM_STEPS;
        }
        self.is_calm
    }

    fn storm(&mut self, now: u64) {
        self.is_calm = false;
        self.change = now + self.random.random_range(STORM_STEPS);
        let trouble = &mut self.database.tables().trouble;
        (trouble.loss, trouble.first_loss) = (self.weather.loss, self.weather.first_loss);
    }

    /// Nothing more happens, but for a last death, and who is down stays so: whoever is left must serve everything.
    fn calm(&mut self, now: u64, sim: &mut Sim<'_>, servers: &Servers, witness: &Witness, faults: &mut Faults) {
        self.is_calm = true;
        self.change = now + CALM_STEPS;
        self.database.tables().trouble.heal();
        witness.seen().traps.clear();
        let up = faults.up();
        if up.is_empty() {
            let server = self.server();
            faults.raise(sim, servers, server);
        }
        let victim = self.random.random_range(0..SERVERS) as usize;
        match up.get(victim).filter(|_| up.len() > 1) {
            Some(server) => {
                self.count("calm after a death");
                faults.strike(now, sim, servers, *server);
            }
            None => self.count("calm without a death"),
        }
    }

    fn must_be_served(&self, faults: &Faults) {
        let (served, up) = (self.database.served(), faults.up());
        let is_served = served.len() == BRANCHES as usize && served.values().all(|server| up.contains(server));
        assert!(is_served, "after 6 seconds of calm, servers {up:?} are up, and branches are served so: {served:?}");
    }

    fn strike(&mut self, now: u64, sim: &mut Sim<'_>, faults: &mut Faults) {
        if self.happens(self.weather.breaks) {
            self.count("connections broken");
            let server = self.server();
            self.database.tables().trouble.break_connections(server);
        }
        if self.happens(self.weather.cut) {
            let (server, steps) = (self.server(), self.random.random_range(50..2 * LEASE_STEPS));
            self.count(if steps < LEASE_STEPS {
                "server away for less than a lease"
            } else {
                "server away for more than a lease"
            });
            self.database.tables().trouble.cut_off(server, now + steps);
        }
        if self.happens(self.weather.cut_all) {
            self.count("database away");
            let until = now + self.random.random_range(50..2 * LEASE_STEPS);
            (0..SERVERS).for_each(|server| self.database.tables().trouble.cut_off(server, until));
        }
        if self.happens(self.weather.sleep) {
            self.count("sleep");
            let (server, steps) = (self.server(), self.random.random_range(LEASE_STEPS..2 * LEASE_STEPS));
            self.database.tables().trouble.put_to_sleep(server, now + steps);
            faults.isolate(sim, server, CLIENTS, now + steps);
        }
        if self.happens(self.weather.failover) {
            let branch = BranchId::new(i64::from(self.random.random_range(1..=BRANCHES))).expect("a branch");
            self.database.tables().trouble.fail_over_at(branch);
        }
    }
}
