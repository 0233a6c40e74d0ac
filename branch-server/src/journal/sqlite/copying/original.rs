//! A journal's file as the original of a copy.

use super::{CopyError, End, Original, StoredRow, end_interrupted, read_only};
use crate::journal::sqlite::opening::{State, group_hash, state};
use crate::journal::sqlite::stored::{StoredTable, stored_rows};
use crate::journal::sqlite::{JOURNAL_FILE, OpenError, branch_row};
use crate::journal::{ChainHash, Sequence, tide};
use bank_proto::BranchId;
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// Rows that one read transaction takes: longer ones would keep a running bank from emptying its write-ahead log.
const ROWS_PER_READ: u32 = 20_000;

/// The journal in a branch's directory, which a running bank may own.
pub struct JournalFile {
    directory: PathBuf,
    path: PathBuf,
    connection: Connection,
}

impl JournalFile {
    /// The one in this directory.
    ///
    /// # Errors
    /// There is none, or it cannot be opened.
    pub fn open(directory: &Path) -> Result<JournalFile, CopyError> {
        let path = directory.join(JOURNAL_FILE);
        let opened = end_interrupted(&path).and_then(|()| read_only(&path));
        let connection = opened.map_err(|error| OpenError::from_sqlite(&path, &error))?;
        Ok(JournalFile { directory: directory.to_owned(), path, connection })
    }

    fn failed(&self, error: &rusqlite::Error) -> CopyError {
        OpenError::from_sqlite(&self.path, error).into()
    }
}

impl Original for JournalFile {
    fn name(&self) -> PathBuf {
        self.path.clone()
    }

    fn end(&mut self, branch: BranchId, branches: u32) -> Result<End, CopyError> {
        // What is remembered outside of the journal is read before it.
        let mark = tide::read(&self.directory, branch);
        let row = branch_row::check(&self.connection, &self.path, branch, branches)?;
        if let Some(server) = row.retirement.successor() {
            return Err(OpenError::Retired { path: self.path.clone(), server }.into());
        }
        branch_row::check_epoch(&self.connection, &self.path, mark)?;
        let State { last_sequence, epoch, .. } = state(&self.connection).map_err(|error| self.failed(&error))?;
        Ok(End { sequence: last_sequence, epoch })
    }

    fn group_hash(&mut self, sequence: Sequence) -> Result<ChainHash, CopyError> {
        group_hash(&self.connection, sequence).map_err(|error| self.failed(&error))
    }

    fn rows(
        &mut self,
        first: Sequence,
        last: Sequence,
        take: &mut dyn FnMut(Vec<StoredRow>) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        let mut next = first;
        while next <= last {
            let (from, to) = (next.cast_signed(), last.cast_signed());
            let rows = stored_rows(&self.connection, StoredTable::Journal, from, to, ROWS_PER_READ);
            let rows = rows.map_err(|error| self.failed(&error))?;
            if rows.is_empty() {
                break;
            }
            next += rows.len() as Sequence;
            take(rows)?;
        }
        Ok(())
    }

    fn names(&mut self) -> Result<Vec<StoredRow>, CopyError> {
        stored_rows(&self.connection, StoredTable::PersonalName, 0, i64::MAX, u32::MAX)
            .map_err(|error| self.failed(&error))
    }
}
