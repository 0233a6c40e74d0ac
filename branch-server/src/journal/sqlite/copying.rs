//! A journal's copy: whole, or what was added since the last time, up to the end of a group commit. The copy is a
//! journal like any other, without a write-ahead log, and grows in one transaction: a copy that was interrupted is
//! the copy of before.

mod original;

pub use original::JournalFile;

use super::opening::{State, make_directory, state, sync_directory};
use super::{JOURNAL_FILE, OpenError, schema};
use crate::journal::{ChainHash, Sequence};
use bank_proto::BranchId;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params_from_iter};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A row of a table as it is stored, column by column in the order of the table.
pub type StoredRow = Vec<Value>;

/// A journal that is copied: a file beside this one, or what a branch server tells of its own.
pub trait Original {
    /// What it is called in errors.
    fn name(&self) -> PathBuf;

    /// How far it goes now. Refuses what is not the journal of this branch of a bank of so many.
    ///
    /// # Errors
    /// It cannot be read, or is not what it should be.
    fn end(&mut self, branch: BranchId, branches: u32) -> Result<End, CopyError>;

    /// The hash of the group commit that a row closes; all zero when it closes none.
    ///
    /// # Errors
    /// It cannot be read.
    fn group_hash(&mut self, sequence: Sequence) -> Result<ChainHash, CopyError>;

    /// All rows from the first to the last, some at a time.
    ///
    /// # Errors
    /// It cannot be read, or `take` failed.
    fn rows(
        &mut self,
        first: Sequence,
        last: Sequence,
        take: &mut dyn FnMut(Vec<StoredRow>) -> Result<(), CopyError>,
    ) -> Result<(), CopyError>;

    /// The names that stand beside it now. Asked after the rows.
    ///
    /// # Errors
    /// It cannot be read.
    fn names(&mut self) -> Result<Vec<StoredRow>, CopyError>;
}

/// How far a journal goes.
#[derive(Debug, Clone, Copy)]
pub struct End {
    /// Its last row; 0 when it has none.
    pub sequence: Sequence,
    /// Of its last opening.
    pub epoch: u64,
}

/// How long to wait for a lock that another program holds for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What to copy.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Whose journal it is.
    pub branch: BranchId,
    /// How many branches the bank was founded with.
    pub branches: u32,
    /// The last row, which closes a group commit; 0 for a journal without rows, None for all there is.
    pub up_to: Option<Sequence>,
    /// What is added to the epoch, so that the copy fences out owners whom the original does not know.
    pub epochs_ahead: u64,
}

/// What the copy holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Its last row.
    pub sequence: Sequence,
    /// The hash of the group commit that this closes; all zero without rows.
    pub head: ChainHash,
    /// How many rows were added now.
    pub added: u64,
}

/// Why nothing was copied. The copy is what it was before.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One of the two files is not what it should be.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The original ends before the row.
    #[error("{} ends at row {end}; there is no row {wanted}", path.display())]
    Missing {
        /// The original.
        path: PathBuf,
        /// Its last row.
        end: Sequence,
        /// The row that was asked for.
        wanted: Sequence,
    },
    /// A cut through the bank is always at the end of a group commit.
    #[error("row {wanted} of {} is in the middle of a group commit", path.display())]
    WithinGroup {
        /// The original.
        path: PathBuf,
        /// The row that was asked for.
        wanted: Sequence,
    },
    /// The copy is of another bank, or of this one before it was restored: make a new copy elsewhere.
    #[error("{} is the copy of another journal: its row {sequence} is not the one of the original; make a new copy elsewhere", path.display())]
    OtherStory {
        /// The copy.
        path: PathBuf,
        /// Its last row.
        sequence: Sequence,
    },
    /// The branch server did not tell what it was asked for. Try again when it serves.
    #[error("{0}")]
    NotTold(String),
}

/// Brings the copy in a branch's directory up to the original, which a running bank may own.
///
/// # Errors
/// Why nothing was copied.
pub fn copy(
    original: &mut dyn Original,
    to: &Path,
    wanted: Wanted,
    mut progress: impl FnMut(Sequence, Sequence),
) -> Result<Copied, CopyError> {
    let path = to.join(JOURNAL_FILE);
    let writing = |error: rusqlite::Error| OpenError::from_sqlite(&path, &error);
    let end = original.end(wanted.branch, wanted.branches)?;
    let up_to = wanted.up_to.unwrap_or(end.sequence);
    if up_to > end.sequence {
        return Err(CopyError::Missing { path: original.name(), end: end.sequence, wanted: up_to });
    }
    let head = original.group_hash(up_to)?;
    if up_to > 0 && head == ChainHash::default() {
        return Err(CopyError::WithinGroup { path: original.name(), wanted: up_to });
    }

    make_directory(to)?;
    let mut target = writable(&path).map_err(writing)?;
    schema::create_or_check(&mut target, &path, wanted.branch, wanted.branches)?;
    let State { last_sequence: before, head: last_head, .. } = state(&target).map_err(writing)?;
    if before > up_to || (before > 0 && original.group_hash(before)? != last_head) {
        return Err(CopyError::OtherStory { path, sequence: before });
    }
    let transaction = target.transaction_with_behavior(TransactionBehavior::Immediate).map_err(writing)?;
    let mut done = before;
    if before < up_to {
        original.rows(before + 1, up_to, &mut |rows| {
            done += rows.len() as u64;
            insert(&transaction, "journal", &rows).map_err(writing)?;
            progress(done, up_to);
            Ok(())
        })?;
    }
    let there = state(&transaction).map_err(writing)?;
    if there.last_sequence != up_to || there.head != head {
        let what = format!("the rows up to {} that came are not those up to {up_to}", there.last_sequence);
        return Err(CopyError::NotTold(what));
    }
    // Names are of the present: those that were erased meanwhile are erased in the copy.
    let names = original.names()?;
    let rest = || {
        transaction.execute("DELETE FROM personal_name", [])?;
        insert(&transaction, "personal_name", &names)?;
        schema::fill_currencies(&transaction)?;
        let epoch = end.epoch.saturating_add(wanted.epochs_ahead);
        transaction.execute("UPDATE branch SET epoch = ?1", [epoch.cast_signed()])
    };
    rest().map_err(writing)?;
    transaction.commit().map_err(writing)?;
    sync_directory(to)?;
    Ok(Copied { sequence: up_to, head, added: up_to - before })
}

/// A crash while a copy grew, or was marked, leaves a rollback journal beside it, and only who may write can take the
/// unfinished transaction back. The file's mode stays as it is: it may be a live one, whose owner's locks keep this
/// from it.
pub(super) fn end_interrupted(path: &Path) -> rusqlite::Result<()> {
    let mut rollback_journal = path.as_os_str().to_owned();
    rollback_journal.push("-journal");
    if Path::new(&rollback_journal).exists() {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    }
    Ok(())
}

pub(super) fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;")?;
    Ok(connection)
}

pub(super) fn writable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // EXTRA: the end of the rollback journal is synced too, or a power loss could take the transaction back.
    connection.execute_batch(
        "PRAGMA page_size = 4096;
         PRAGMA journal_mode = DELETE;
         PRAGMA synchronous = EXTRA;
         PRAGMA secure_delete = ON;
         PRAGMA trusted_schema = OFF;",
    )?;
    Ok(connection)
}

fn insert(target: &Transaction<'_>, name: &str, rows: &[Vec<Value>]) -> rusqlite::Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let places = vec!["?"; first.len()].join(", ");
    let mut statement = target.prepare_cached(&format!("INSERT INTO {name} VALUES ({places})"))?;
    for row in rows {
        statement.execute(params_from_iter(row))?;
    }
    Ok(())
}
