//! The books of a bank in PostgreSQL.

use super::{Report, VerifyError, Walk};
use crate::derived;
use crate::journal::postgres::{Pool, PostgresReader, PostgresStore, SharedFiles};
use crate::journal::shared::StoreError;
use bank_proto::BranchId;

/// A database with the books of a bank.
#[derive(Debug, Clone)]
pub struct Database {
    store: PostgresStore,
    pool: Pool,
}

impl Database {
    /// The books in this database.
    #[must_use]
    pub fn new(store: PostgresStore) -> Database {
        Database { pool: Pool::new(store.clone()), store }
    }

    /// How many branches the bank there was founded with; None when there is no bank.
    ///
    /// # Errors
    /// The database cannot be used.
    pub fn branches(&self) -> Result<Option<u32>, StoreError> {
        self.store.founded()
    }

    /// Reads the journal of a branch.
    #[must_use]
    pub fn reader(&self, branch: BranchId) -> PostgresReader {
        PostgresReader::new(self.pool.clone(), branch)
    }

    pub(super) fn verify(&self, branch: BranchId, progress: impl FnMut(u64, u64)) -> Result<Report, VerifyError> {
        let failed = |error: std::io::Error| VerifyError::Directory(error.to_string());
        // What is derived is looked at before the journal, so that it cannot be ahead of what is read there.
        let files = tempfile::tempdir().map_err(failed)?;
        SharedFiles::new(self.store.clone(), branch).fetch_into(files.path(), "").map_err(failed)?;
        let snapshot = derived::read_snapshot(files.path(), branch);
        let known = derived::known_sequence(files.path(), snapshot.as_ref());
        let walk = Walk::new(branch, snapshot, None);
        walk.through(&mut self.reader(branch), known, progress)?.finish(branch, files.path(), true)
    }
}
