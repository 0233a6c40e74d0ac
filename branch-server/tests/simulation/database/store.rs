//! The database as one server uses it.

use super::link::Link;
use super::tables::Statement;
use super::{Database, Reader};
use bank_proto::BranchId;
use branch_server::journal::JournalReader;
use branch_server::journal::postgres::SharedFiles;
use branch_server::journal::shared::{Founding, OwnerLink, SharedStore, StoreError};
use branch_server::leases::{LeaseError, LeaseTable, Seen};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// For one process of one server.
pub(crate) struct SimulatedStore {
    database: Database,
    server: u32,
    has_given_up: AtomicBool,
}

impl SimulatedStore {
    pub(crate) fn new(database: Database, server: u32) -> SimulatedStore {
        SimulatedStore { database, server, has_given_up: AtomicBool::new(false) }
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
    fn pause(&self, _: Duration) -> bool {
        !self.has_given_up.load(Ordering::Relaxed) && !self.database.tables().trouble.is_away(self.server)
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
