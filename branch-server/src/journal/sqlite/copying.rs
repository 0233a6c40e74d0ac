//! A journal's copy: whole, or what was added since the last time, up to the end of a group commit. The copy is a
//! journal like any other, without a write-ahead log, and grows in one transaction: a copy that was interrupted is
//! the copy of before.

use super::opening::{State, group_hash, make_directory, state, sync_directory};
use super::{JOURNAL_FILE, OpenError, branch_row, schema};
use crate::journal::{ChainHash, Sequence, tide};
use bank_proto::BranchId;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params_from_iter};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Rows that one read transaction takes: longer ones would keep a running bank from emptying its write-ahead log.
const ROWS_PER_READ: u64 = 20_000;

/// How long to wait for a lock that another program holds for a moment.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

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
}

/// Brings the copy in one branch's directory up to the original in another's, which a running bank may own.
///
/// # Errors
/// Why nothing was copied.
pub fn copy(
    from: &Path,
    to: &Path,
    wanted: Wanted,
    mut progress: impl FnMut(Sequence, Sequence),
) -> Result<Copied, CopyError> {
    let (source_path, path) = (from.join(JOURNAL_FILE), to.join(JOURNAL_FILE));
    let reading = |error: rusqlite::Error| OpenError::from_sqlite(&source_path, &error);
    let writing = |error: rusqlite::Error| OpenError::from_sqlite(&path, &error);
    // What is remembered outside of the journal is read before it.
    let mark = tide::read(from, wanted.branch);
    take_back_interrupted(&source_path).map_err(reading)?;
    let source = read_only(&source_path).map_err(reading)?;
    if let Some(server) =
        branch_row::check(&source, &source_path, wanted.branch, wanted.branches)?.retirement.successor()
    {
        return Err(OpenError::Retired { path: source_path, server }.into());
    }
    branch_row::check_epoch(&source, &source_path, mark)?;
    let original = state(&source).map_err(reading)?;
    let up_to = wanted.up_to.unwrap_or(original.last_sequence);
    if up_to > original.last_sequence {
        return Err(CopyError::Missing { path: source_path, end: original.last_sequence, wanted: up_to });
    }
    let head = group_hash(&source, up_to).map_err(reading)?;
    if up_to > 0 && head == ChainHash::default() {
        return Err(CopyError::WithinGroup { path: source_path, wanted: up_to });
    }

    make_directory(to)?;
    let mut target = writable(&path).map_err(writing)?;
    schema::create_or_check(&mut target, &path, wanted.branch, wanted.branches)?;
    let State { last_sequence: before, head: last_head, .. } = state(&target).map_err(writing)?;
    if before > up_to || (before > 0 && group_hash(&source, before).map_err(reading)? != last_head) {
        return Err(CopyError::OtherStory { path, sequence: before });
    }
    let transaction = target.transaction_with_behavior(TransactionBehavior::Immediate).map_err(writing)?;
    let mut next = before + 1;
    while next <= up_to {
        let last = up_to.min(next + ROWS_PER_READ - 1);
        let rows = table(&source, "SELECT * FROM journal WHERE sequence BETWEEN ?1 AND ?2", [next, last]);
        insert(&transaction, "journal", &rows.map_err(reading)?).map_err(writing)?;
        progress(last, up_to);
        next = last + 1;
    }
    // Names are of the present: those that were erased meanwhile are erased in the copy.
    let names = table(&source, "SELECT * FROM personal_name WHERE ?1 = ?2", [0, 0]).map_err(reading)?;
    let rest = || {
        transaction.execute("DELETE FROM personal_name", [])?;
        insert(&transaction, "personal_name", &names)?;
        schema::fill_currencies(&transaction)?;
        let epoch = original.epoch.saturating_add(wanted.epochs_ahead);
        transaction.execute("UPDATE branch SET epoch = ?1", [epoch.cast_signed()])
    };
    rest().map_err(writing)?;
    transaction.commit().map_err(writing)?;
    sync_directory(to)?;
    Ok(Copied { sequence: up_to, head, added: up_to - before })
}

/// Of a copy that was interrupted, the rollback journal still stands beside it, and only who may write can take the
/// unfinished transaction back. A running bank's journal has a write-ahead log instead.
fn take_back_interrupted(path: &Path) -> rusqlite::Result<()> {
    let mut rollback_journal = path.as_os_str().to_owned();
    rollback_journal.push("-journal");
    if Path::new(&rollback_journal).exists() {
        writable(path)?.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
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

/// All columns of the rows that a query finds.
fn table(source: &Connection, sql: &str, between: [Sequence; 2]) -> rusqlite::Result<Vec<Vec<Value>>> {
    let mut statement = source.prepare_cached(sql)?;
    let columns = statement.column_count();
    let rows =
        statement.query_map(between.map(u64::cast_signed), |row| (0..columns).map(|place| row.get(place)).collect())?;
    rows.collect()
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
