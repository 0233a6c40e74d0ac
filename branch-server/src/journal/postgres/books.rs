//! A database as a bank uses it.

use super::pool::Pool;
use super::reader::PostgresReader;
use super::shared_files::SharedFiles;
use super::store::{PostgresStore, sort};
use super::writer::Writer;
use crate::journal::JournalReader;
use crate::journal::shared::{Founding, OwnerLink, SharedStore, StoreError};
use crate::leases::{LeaseTable, PostgresLeases};
use bank_proto::BranchId;
use std::time::Duration;

/// The books of a bank in PostgreSQL, for one server: the database, and the connections that its readers share.
#[derive(Debug, Clone)]
pub struct PostgresBooks {
    store: PostgresStore,
    pool: Pool,
}

impl PostgresBooks {
    /// The books in a database.
    #[must_use]
    pub fn new(store: PostgresStore) -> PostgresBooks {
        PostgresBooks { pool: Pool::new(store.clone()), store }
    }
}

impl SharedStore for PostgresBooks {
    fn found(&self, branches: u32) -> Result<(), Founding> {
        self.store.found(branches)
    }

    fn connect(&self, branch: BranchId) -> Result<Box<dyn OwnerLink>, StoreError> {
        let connection = self.store.connect()?;
        Ok(Box::new(Writer::prepare(self.store.clone(), connection, branch).map_err(|error| sort(&error))?))
    }

    fn reader(&self, branch: BranchId) -> Box<dyn JournalReader> {
        Box::new(PostgresReader::new(self.pool.clone(), branch))
    }

    fn renew(&self) {
        self.pool.renew();
    }

    fn leases(&self, server: u32, instance: u64) -> Box<dyn LeaseTable> {
        Box::new(PostgresLeases::new(self.store.clone(), server, instance))
    }

    fn files(&self, branch: BranchId) -> Option<SharedFiles> {
        Some(SharedFiles::new(self.store.clone(), branch))
    }

    fn pause(&self, pause: Duration) -> bool {
        self.store.pause(pause)
    }

    fn give_up(&self) {
        self.store.give_up();
    }
}
