//! The end of a copy's time as the truth: the branch's books go on at another server.
//!
//! A journal is given away in steps, each durable before the next, so that at no moment two copies may open:
//! the owner promises it to one server ([`SqliteJournal::retire`]) and never opens it again; that server has the whole
//! copy ([`accept`]); the old owner hears of it ([`confirm`]) and never gives its copy to anybody again, because from
//! then on it grows old; only then does the new owner open the books.

use super::copying::{end_interrupted, read_only, writable};
use super::opening::{State, empty_wal, state};
use super::{JOURNAL_FILE, OpenError, SqliteJournal, branch_row};
use crate::journal::{ChainHash, Sequence};
use crate::planted::{Bug, is_planted};
use bank_proto::BranchId;
use std::path::{Path, PathBuf};

/// Whose a branch's books are, as a copy of them says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retirement {
    /// This copy is the truth, as far as it knows.
    InOffice,
    /// Promised to the server with this ordinal, which may not have it yet.
    Promised(u32),
    /// The server with this ordinal has it.
    Delivered(u32),
}

/// How far a journal goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Its last row.
    pub sequence: Sequence,
    /// The hash of the group commit that this closes; all zero without rows.
    pub head: ChainHash,
}

/// The column `retired`: 0 in office; n promised to server n - 1; -n delivered to it.
impl Retirement {
    pub(super) fn from_column(value: i64) -> Retirement {
        let server = |number: i64| u32::try_from(number - 1).unwrap_or(u32::MAX);
        match value {
            0 => Retirement::InOffice,
            1.. => Retirement::Promised(server(value)),
            ..0 => Retirement::Delivered(server(value.saturating_neg())),
        }
    }

    fn column(self) -> i64 {
        match self {
            Retirement::InOffice => 0,
            Retirement::Promised(server) => i64::from(server) + 1,
            Retirement::Delivered(server) => -i64::from(server) - 1,
        }
    }

    /// The server that the books were promised or given to.
    pub(super) fn successor(self) -> Option<u32> {
        match self {
            Retirement::InOffice => None,
            Retirement::Promised(server) | Retirement::Delivered(server) => Some(server),
        }
    }
}

impl SqliteJournal {
    /// Promises the journal to the server with this ordinal and closes it. When this returns, the promise is
    /// durable, and the file `journal.db` alone is the whole journal.
    ///
    /// # Errors
    /// It is not promised, or not known to be durably so: ask [`retirement`] again, which is right after a crash too.
    pub fn retire(self, server: u32) -> Result<Extent, OpenError> {
        let path = self.directory.join(JOURNAL_FILE);
        let failed = |error: rusqlite::Error| OpenError::from_sqlite(&path, &error);
        let column = Retirement::Promised(server).column();
        self.connection.execute("UPDATE branch SET retired = ?1", [column]).map_err(failed)?;
        if !empty_wal(&self.connection).map_err(failed)? {
            return Err(OpenError::Busy { path });
        }
        Ok(Extent { sequence: self.last_sequence, head: self.head })
    }
}

/// Whose a branch's books are, as the copy in a directory says, and how far it goes.
///
/// # Errors
/// The copy is not one of this branch, or cannot be read.
pub fn retirement(directory: &Path, branch: BranchId, branches: u32) -> Result<(Retirement, Extent), OpenError> {
    let path = directory.join(JOURNAL_FILE);
    let failed = |error: rusqlite::Error| OpenError::from_sqlite(&path, &error);
    end_interrupted(&path).map_err(failed)?;
    let connection = read_only(&path).map_err(failed)?;
    let row = branch_row::check(&connection, &path, branch, branches)?;
    let State { last_sequence: sequence, head, .. } = state(&connection).map_err(failed)?;
    Ok((row.retirement, Extent { sequence, head }))
}

/// The whole of a retired journal: a file that nobody writes to any more. None while it is in office, or while
/// another program keeps a part of it in a write-ahead log.
///
/// # Errors
/// The copy is not one of this branch, or cannot be read.
pub fn retired_file(directory: &Path, branch: BranchId, branches: u32) -> Result<Option<PathBuf>, OpenError> {
    let path = directory.join(JOURNAL_FILE);
    if retirement(directory, branch, branches)?.0 == Retirement::InOffice {
        return Ok(None);
    }
    // As a file without a log: what reads it by plain file calls then misses nothing.
    drop(writable(&path).map_err(|error| OpenError::from_sqlite(&path, &error))?);
    Ok(Some(path))
}

/// Takes office with a copy that was promised to this server and has arrived as a whole. It may be opened when the old
/// owner has heard of it.
///
/// # Errors
/// The copy is not one of this branch, was not promised to this server, or cannot be written.
pub fn accept(directory: &Path, branch: BranchId, branches: u32, server: u32) -> Result<Extent, OpenError> {
    let (found, extent) = retirement(directory, branch, branches)?;
    if found != Retirement::Promised(server) {
        return Err(OpenError::Damaged {
            path: directory.join(JOURNAL_FILE),
            what: format!("it was not promised to server {server}: {found:?}"),
        });
    }
    set(directory, Retirement::InOffice)?;
    Ok(extent)
}

/// Remembers that the server to which the copy was promised has it. Again: the same.
///
/// # Errors
/// The copy is not one of this branch, was promised to another server or none, or cannot be written.
pub fn confirm(directory: &Path, branch: BranchId, branches: u32, server: u32) -> Result<(), OpenError> {
    match retirement(directory, branch, branches)?.0 {
        Retirement::Promised(promised) if promised == server => {
            let kept = is_planted(Bug::BooksKept);
            set(directory, if kept { Retirement::InOffice } else { Retirement::Delivered(server) })
        }
        Retirement::Delivered(delivered) if delivered == server => Ok(()),
        other => Err(OpenError::Damaged {
            path: directory.join(JOURNAL_FILE),
            what: format!("it was not promised to server {server}: {other:?}"),
        }),
    }
}

fn set(directory: &Path, retirement: Retirement) -> Result<(), OpenError> {
    let path = directory.join(JOURNAL_FILE);
    let failed = |error: rusqlite::Error| OpenError::from_sqlite(&path, &error);
    // Synced before this returns: the connection is one that syncs every commit to its end.
    let connection = writable(&path).map_err(failed)?;
    connection.execute("UPDATE branch SET retired = ?1", [retirement.column()]).map_err(failed)?;
    Ok(())
}
