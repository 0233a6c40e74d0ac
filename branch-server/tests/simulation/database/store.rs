//! The database as one server uses it.

use super::link::Link;
use super::tables::Statement;
use super::{Database, Reader};
use bank_proto::BranchId;
use branch_server::journal::JournalReader;
use branch_server::journal::postgres::SharedFiles;
use branch_server::journal::shared::{Founding, OwnerLink, SharedStore, StoreError};
use branch_server::leases::{LeaseError, LeaseTable, Seen};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// So long anybody waits within one step, as if: then waiting is in vain.
const PATIENCE: Duration = Duration::from_secs(30);

/// For one process of one server.
pub(crate) struct SimulatedStore {
    database: Database,
    server: u32,
    has_given_up: AtomicBool,
    /// How long was waited, as if, in the last step in which anybody did.
    waited: Mutex<(u64, Duration)>,
}

impl SimulatedStore {
    pub(crate) fn new(database: Database, server: u32) -> SimulatedStore {
        SimulatedStore { database, server, has_given_up: AtomicBool::new(false), waited: Mutex::default() }
    }
}

fn away() -> StoreError {
    StoreError::Unavailable("the database is away".to_owned())
}

impl SharedStore for SimulatedStore {
    fn found(&self, branches: u32) -> Result<(), Founding> {
        let is_there = self.database.tables().found(self.server, branches);
        if is_there { Ok(()) } else { Err(away().into()) }
    }

    fn connect(&self, branch: BranchId) -> Result<Box<dyn OwnerLink>, StoreError> {
        if !self.database.tables().trouble.admits(self.server) {
            self.database.tables().count("connection refused");
            return Err(away());
        }
        Ok(Box::new(Link::new(self.database.clone(), self.server, branch)))
    }

    fn reader(&self, branch: BranchId) -> Box<dyn JournalReader> {
        Box::new(Reader::new(self.database.clone(), self.server, branch))
    }

    fn renew(&self) {}

    fn leases(&self, server: u32, instance: u64) -> Box<dyn LeaseTable> {
        Box::new(Leases { database: self.database.clone(), server, instance, has_entered: false })
    }

    fn files(&self, _: BranchId) -> Option<SharedFiles> {
        None
    }

    /// As if the time had passed. While the database is away it would pass in vain: the one thread cannot wait until it
    /// is there again.
    fn pause(&self, pause: Duration) -> bool {
        let (now, is_away) = self.database.tables().trouble.at(self.server);
        let mut waited = self.waited.lock().expect("nobody panicked");
        let before = if waited.0 == now { waited.1 } else { Duration::ZERO };
        *waited = (now, before + pause);
        !self.has_given_up.load(Ordering::Relaxed) && !is_away && waited.1 < PATIENCE
    }

    fn give_up(&self) {
        self.has_given_up.store(true, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for SimulatedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SimulatedStore").field(&self.server).finish()
    }
}

/// The table of leases, for one process of one server.
struct Leases {
    database: Database,
    server: u32,
    instance: u64,
    has_entered: bool,
}

fn unheard() -> LeaseError {
    LeaseError("the database does not answer".to_owned())
}

impl LeaseTable for Leases {
    fn beat(&mut self, is_leaving: bool) -> Result<Seen, LeaseError> {
        let mut tables = self.database.tables();
        let (is_answered, is_heard) = tables.look(self.server);
        if !is_heard {
            return Err(unheard());
        }
        let seen = tables.beat(self.server, self.instance, !self.has_entered, is_leaving);
        self.has_entered |= is_answered;
        if is_answered { Ok(seen) } else { Err(unheard()) }
    }

    fn give_back(&mut self, branch: BranchId, epoch: u64) -> Result<(), LeaseError> {
        let statement = Statement::GiveBack { server: self.server, epoch };
        self.database.tables().table_statement(self.server, branch, statement).ok_or_else(unheard)
    }
}
