//! Where the files of one branch are: in its directory, and for whoever serves it next in the database too.

use super::snapshot::{SNAPSHOT_FILE, write_snapshot};
use crate::journal::postgres::SharedFiles;
use crate::journal::{ChainHash, Sequence};
use bank_proto::BranchId;
use std::io;
use std::path::PathBuf;

/// The files of one branch.
#[derive(Debug, Clone)]
pub(crate) struct DerivedFiles {
    pub(crate) directory: PathBuf,
    pub(crate) shared: Option<SharedFiles>,
}

impl DerivedFiles {
    /// Makes the directory have what whoever served the branch last wrote.
    ///
    /// # Errors
    /// The directory or the database cannot be used.
    pub(crate) fn fetch(&self) -> io::Result<()> {
        match &self.shared {
            // A snapshot is replaced under its name; runs of ids never change.
            Some(shared) => shared.fetch_into(&self.directory, SNAPSHOT_FILE),
            None => Ok(()),
        }
    }

    /// Writes a snapshot of the books up to a durable row.
    ///
    /// # Errors
    /// It cannot be written; nothing is lost but time at the next opening.
    pub(crate) fn write_snapshot(
        &self,
        branch: BranchId,
        sequence: Sequence,
        head: ChainHash,
        payload: &[u8],
    ) -> io::Result<()> {
        write_snapshot(&self.directory, branch, sequence, head, payload)?;
        match &self.shared {
            Some(shared) => shared.put(&self.directory, SNAPSHOT_FILE),
            None => Ok(()),
        }
    }
}
