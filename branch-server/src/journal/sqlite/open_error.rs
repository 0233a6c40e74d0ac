//! Why a branch's journal refuses to open.

use crate::journal::lock::LockError;
use bank_proto::BranchId;
use std::path::{Path, PathBuf};

/// Why a journal was not opened. Nothing was changed; the branch must not serve.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Someone else owns the branch, or the directory cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The directory or a file in it cannot be used.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The disk or the system did not let SQLite work: no room, no memory, a read or a write that
    /// failed. Try again later.
    #[error("{} cannot be opened now: {what}", path.display())]
    System {
        /// Which file.
        path: PathBuf,
        /// What SQLite said.
        what: String,
    },
    /// The store reported another error, such as a table that is missing. Have the file examined.
    #[error("{} cannot be opened: {what}", path.display())]
    Store {
        /// Which file.
        path: PathBuf,
        /// What SQLite said.
        what: String,
    },
    /// Another program holds the journal open in a way that keeps it from being opened safely.
    #[error("{} is held open by another program, such as a sqlite3 shell in a transaction; close it", path.display())]
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// Data that was acknowledged is damaged. Restore a backup, or have the file examined.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// The journal ends before a row that was durable once: acknowledged rows are lost.
    #[error(
        "{} ends at row {found}, but row {known} was acknowledged: later rows are lost or an older copy was put back",
        path.display()
    )]
    RowsMissing {
        /// Which file.
        path: PathBuf,
        /// The last row there.
        found: u64,
        /// The last row that is known to have been there.
        known: u64,
    },
    /// A newer program made the file. Use that one.
    #[error(
        "{} was made by a newer version (format {format}, this program knows {known}); use the newer version",
        path.display()
    )]
    NewerFormat {
        /// Which file.
        path: PathBuf,
        /// Its format.
        format: i64,
        /// The newest format known here.
        known: i64,
    },
    /// A SQLite file of something else.
    #[error("{} is not a branch's journal", path.display())]
    NotAJournal {
        /// Which file.
        path: PathBuf,
    },
    /// The journal of another branch, put in the wrong place.
    #[error("{} is the journal of branch {found}, not of branch {expected}", path.display())]
    OtherBranch {
        /// Which file.
        path: PathBuf,
        /// Whose journal it is.
        found: i64,
        /// Whose it should be.
        expected: u32,
    },
    /// The journal of a bank founded with another number of branches, which sends customers elsewhere.
    #[error("{} belongs to a bank of {found} branches, not of {expected}", path.display())]
    OtherBranches {
        /// Which file.
        path: PathBuf,
        /// How many branches its bank has.
        found: i64,
        /// How many this one has.
        expected: u32,
    },
    /// The database is not there, or did not do what it was told. Try again later.
    #[error("the database cannot be used now: {what}")]
    Database {
        /// What it said.
        what: String,
    },
    /// Another server took the branch over at the same moment.
    #[error("branch {branch} was taken over by another server")]
    Claimed {
        /// The branch.
        branch: BranchId,
    },
    /// The branch moved to another server; this copy must never serve again.
    #[error("{} is retired: the branch moved to server {server}, where its books go on", path.display())]
    Retired {
        /// Which file.
        path: PathBuf,
        /// The ordinal of the server that it was promised or given to.
        server: u32,
    },
}

impl OpenError {
    /// Sorts an error of SQLite's by what the operator does about it.
    pub(super) fn from_sqlite(path: &Path, error: &rusqlite::Error) -> OpenError {
        use rusqlite::ErrorCode as Code;
        let path = path.to_owned();
        let what = error.to_string();
        match error.sqlite_error_code() {
            Some(Code::DatabaseBusy | Code::DatabaseLocked | Code::FileLockingProtocolFailed) => {
                OpenError::Busy { path }
            }
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => OpenError::Damaged { path, what },
            Some(
                Code::DiskFull
                | Code::SystemIoFailure
                | Code::CannotOpen
                | Code::OutOfMemory
                | Code::ReadOnly
                | Code::PermissionDenied,
            ) => OpenError::System { path, what },
            _ => OpenError::Store { path, what },
        }
    }

    /// Whether trying again later may help, with nobody touching the file.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            OpenError::Io { .. }
            | OpenError::System { .. }
            | OpenError::Busy { .. }
            | OpenError::Database { .. }
            | OpenError::Claimed { .. }
            | OpenError::Lock(LockError::Io { .. }) => true,
            OpenError::Lock(LockError::Held { .. })
            | OpenError::Store { .. }
            | OpenError::Damaged { .. }
            | OpenError::RowsMissing { .. }
            | OpenError::NewerFormat { .. }
            | OpenError::NotAJournal { .. }
            | OpenError::OtherBranch { .. }
            | OpenError::OtherBranches { .. }
            | OpenError::Retired { .. } => false,
        }
    }
}
