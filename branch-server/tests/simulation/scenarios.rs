//! Stories of servers that share a database which seeds meet too rarely, told on purpose.

use crate::clients::{Client, History};
use crate::database::Database;
use crate::run::network;
use crate::servers::{BRANCHES, SERVERS, Servers, name};
use crate::witness::Witness;
use std::cell::Cell;
use std::rc::Rc;
use turmoil::Sim;

/// A bank whose branches are open and spread, with a hold of one second on an account of branch 1.
struct World {
    sim: Sim<'static>,
    database: Database,
    servers: Servers,
    now: u64,
    /// Keeps the servers' files.
    _directory: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let witness = Witness::default();
        let database = Database::new(0, witness.clone());
        let servers = Servers::new(directory.path(), witness, Some(database.clone()), 0);
        let mut sim = network(0);
        servers.start(&mut sim);
        let is_open = Rc::new(Cell::new(false));
        let (mut client, done) = (Client::new_later(0, 0, &servers.wires, &History::default()), is_open.clone());
        sim.client("client-0", async move {
            let mut client = client();
            client.open_bank().await;
            client.hold_for_a_second().await;
            done.set(true);
            Ok(())
        });
        let mut world = World { sim, database, servers, now: 0, _directory: directory };
        world.within(10_000, "the bank is open", |world| is_open.get() && world.database.is_settled(SERVERS));
        world
    }

    /// One step of 2 ms.
    fn step(&mut self) {
        self.now += 1;
        self.database.tables().tick(self.now);
        self.sim.step().expect("no host fails");
    }

    fn within(&mut self, milliseconds: u64, what: &str, is_so: impl Fn(&World) -> bool) {
        let until = self.now + milliseconds / 2;
        while !is_so(self) {
            assert!(self.now < until, "not within {milliseconds} ms: {what}");
            self.step();
        }
    }

    fn is_all_served(&self) -> bool {
        self.database.served().len() == BRANCHES as usize
    }
}

#[test]
fn a_branch_whose_teller_fails_while_it_is_opened_is_opened_again() {
    let mut world = World::new();
    let cut_off = |world: &World| world.database.tables().tally.contains_key("cut off at the first commit");
    // Whoever takes the branch finds a hold that is overdue, and loses the database when it writes that down.
    world.database.tables().trouble.first_loss = 1_000_000;
    world.servers.kill(&mut world.sim, 0);
    world.within(5_000, "somebody takes the branch and is cut off", cut_off);
    world.database.tables().trouble.heal();
    world.within(3_000, "all branches are served", World::is_all_served);
}

#[test]
fn a_server_that_leaves_as_soon_as_it_has_come_takes_no_branch_from_anybody() {
    let mut world = World::new();
    world.servers.kill(&mut world.sim, 0);
    world.within(5_000, "the others take its branches", World::is_all_served);
    // It comes back, and is told to stop before it has found the database.
    world.database.tables().trouble.cut_off(0, world.now + 50);
    world.sim.bounce(name(0));
    world.step();
    world.servers.stop(0);
    for _ in 0..1_000 {
        world.step();
        assert!(world.is_all_served(), "served by whom: {:?}", world.database.served());
    }
    assert!(!world.sim.is_host_running(name(0)), "it has stopped");
}
