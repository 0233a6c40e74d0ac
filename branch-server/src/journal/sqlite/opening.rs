//! The steps from a directory to a journal that may serve. Their order is the point.

use super::columns::RowReader;
use super::{JOURNAL_FILE, JournalSettings, OpenError, SqliteJournal, branch_row, schema, wal_room};
use crate::journal::checkpoint::{self, Checkpointer};
use crate::journal::lock::BranchLock;
use crate::journal::tide::{Mark, TIDE_FILE, Tide};
use crate::journal::{ChainHash, Sequence, wal};
use crate::planted::{Bug, is_planted};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long a group commit waits for a lock that another program, such as a sqlite3 shell, holds for
/// a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an opening waits for it: a server tries again later, and opens its other branches first.
const OPENING_BUSY_TIMEOUT: Duration = Duration::from_millis(500);

pub(super) fn open(directory: &Path, settings: JournalSettings) -> Result<SqliteJournal, OpenError> {
    make_directory(directory)?;
    let lock = BranchLock::take(directory)?;
    let path = directory.join(JOURNAL_FILE);
    // By plain file calls, so before SQLite has the file open: closing a file drops the locks that
    // SQLite holds on it in the same process.
    look_at_wal(&path)?;
    let mut tide = Tide::open(directory, settings.branch);

    let store = |error: rusqlite::Error| OpenError::from_sqlite(&path, &error);
    let mut connection = connect(&path, &settings).map_err(store)?;
    schema::create_or_check(&mut connection, &path, settings.branch, settings.branches)?;
    let found = state(&connection).map_err(store)?;
    if found.last_sequence < settings.known_sequence {
        let known = settings.known_sequence;
        return Err(OpenError::RowsMissing { path, found: found.last_sequence, known });
    }
    if found.last_sequence > 0 && found.head == ChainHash::default() {
        let what = format!("its last row {} does not close a group commit", found.last_sequence);
        return Err(OpenError::Damaged { path, what });
    }
    branch_row::check_epoch(&connection, &path, tide.found())?;
    if let Some(mark) = tide.found() {
        check_mark(&connection, &path, &found, &mark)?;
    }
    // Recovery has read the page cache: what stands in the WAL may never have reached the disk.
    // After this it has.
    truncate_wal(&connection, &path)?;
    let epoch = raise_epoch(&mut connection).map_err(store)?;
    truncate_wal(&connection, &path)?;
    wal_room::make(&checkpoint::wal_path(&path), &settings);
    tide.mark(Mark { epoch, sequence: found.last_sequence, head: found.head });
    sync_directory(directory)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(store)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(store)?;

    let data_version = data_version(&connection).map_err(store)?;
    let checkpointer = Checkpointer::start(&path, &settings)
        .map_err(|error| OpenError::System { path: path.clone(), what: error.to_string() })?;
    Ok(SqliteJournal {
        checkpointer,
        connection,
        tide,
        lock,
        directory: directory.to_owned(),
        settings,
        last_sequence: found.last_sequence,
        head: found.head,
        epoch,
        data_version,
        torn_tail: false,
        failure: None,
        seal_buffer: Vec::new(),
        rows: RowReader::default(),
    })
}

/// What the journal says of itself.
pub(super) struct State {
    pub(super) last_sequence: Sequence,
    /// All zero when the journal is empty, or when its last row closes no group.
    pub(super) head: ChainHash,
    pub(super) epoch: u64,
}

pub(super) fn state(connection: &Connection) -> rusqlite::Result<State> {
    let last = connection
        .prepare_cached("SELECT sequence, hash FROM journal ORDER BY sequence DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<[u8; 32]>>(1)?)))
        .optional()?;
    let epoch: i64 = connection.prepare_cached("SELECT epoch FROM branch")?.query_row([], |row| row.get(0))?;
    let (last_sequence, head) = last.unwrap_or((0, None));
    Ok(State {
        last_sequence: last_sequence.cast_unsigned(),
        head: ChainHash(head.unwrap_or_default()),
        epoch: epoch.cast_unsigned(),
    })
}

/// Refuses a journal that ends before the mark, or holds something else there.
fn check_mark(connection: &Connection, path: &Path, found: &State, mark: &Mark) -> Result<(), OpenError> {
    let store = |error: rusqlite::Error| OpenError::from_sqlite(path, &error);
    if found.last_sequence < mark.sequence {
        return Err(OpenError::RowsMissing { path: path.to_owned(), found: found.last_sequence, known: mark.sequence });
    }
    let head = group_hash(connection, mark.sequence).map_err(store)?;
    if head != mark.head {
        let what = format!("row {} is not the one that {TIDE_FILE} remembers", mark.sequence);
        return Err(OpenError::Damaged { path: path.to_owned(), what });
    }
    Ok(())
}

/// The hash of the group commit that a row closes; all zero when it closes none.
pub(super) fn group_hash(connection: &Connection, sequence: Sequence) -> rusqlite::Result<ChainHash> {
    let hash: Option<Option<[u8; 32]>> = connection
        .prepare_cached("SELECT hash FROM journal WHERE sequence = ?1")?
        .query_row([sequence.cast_signed()], |row| row.get(0))
        .optional()?;
    Ok(ChainHash(hash.flatten().unwrap_or_default()))
}

/// A number that changes when another connection wrote to the file.
pub(super) fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

/// Copies the whole WAL into the file, syncs both and makes the WAL empty. False when another
/// program's lock or read transaction was in the way.
pub(super) fn empty_wal(connection: &Connection) -> rusqlite::Result<bool> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(busy == 0)
}

fn truncate_wal(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    match empty_wal(connection) {
        Ok(true) => Ok(()),
        Ok(false) => Err(OpenError::Busy { path: path.to_owned() }),
        Err(error) => Err(OpenError::from_sqlite(path, &error)),
    }
}

/// Fences every earlier owner: from here on its epoch is an old one.
fn raise_epoch(connection: &mut Connection) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    schema::fill_currencies(&transaction)?;
    let epoch: i64 =
        transaction.query_row("UPDATE branch SET epoch = epoch + 1 RETURNING epoch", [], |row| row.get(0))?;
    transaction.commit()?;
    Ok(epoch.cast_unsigned())
}

fn connect(path: &Path, settings: &JournalSettings) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(OPENING_BUSY_TIMEOUT)?;
    // A journal that is refused stays as it was found, its WAL too: closing would empty that.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // The page size counts only in a new file, and only before it becomes a WAL file.
    // Pages never spill into the WAL before their commit, so that each commit's pages stand there
    // once and in rising order; the look at the WAL relies on it.
    connection.execute_batch(
        "PRAGMA page_size = 4096;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_size = -8192;
         PRAGMA cache_spill = OFF;
         PRAGMA temp_store = MEMORY;
         PRAGMA secure_delete = ON;
         PRAGMA trusted_schema = OFF;",
    )?;
    if is_planted(Bug::NoSync) {
        connection.execute_batch("PRAGMA synchronous = OFF;")?;
    }
    // What a long reader made of the WAL is given back when it starts over.
    connection.pragma_update(None, "journal_size_limit", settings.wal_limit_bytes.cast_signed())?;
    Ok(connection)
}

/// Refuses a WAL that lost acknowledged commits, and one whose journal is gone.
fn look_at_wal(path: &Path) -> Result<(), OpenError> {
    let wal_path = &checkpoint::wal_path(path);
    let found = wal::look(wal_path).map_err(|error| match error {
        wal::WalError::Io(source) => OpenError::Io { path: wal_path.to_owned(), source },
        wal::WalError::Damaged(damage) => OpenError::Damaged { path: wal_path.to_owned(), what: damage.to_string() },
    })?;
    let journal_bytes = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(source) => return Err(OpenError::Io { path: path.to_owned(), source }),
    };
    if journal_bytes == 0 && found.commits > 0 {
        let what = format!("it is empty or missing, but {} commits stand in its write-ahead log", found.commits);
        return Err(OpenError::Damaged { path: path.to_owned(), what });
    }
    Ok(())
}

/// Makes the directory and its parents, durably.
pub(super) fn make_directory(directory: &Path) -> Result<(), OpenError> {
    let failed = |path: &Path, source| OpenError::Io { path: path.to_owned(), source };
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_directory(parent)?;
        fs::create_dir(directory).or_else(exists_already).map_err(|source| failed(directory, source))?;
        return sync_directory(parent);
    }
    fs::create_dir(directory).or_else(exists_already).map_err(|source| failed(directory, source))
}

/// Two branches of one bank make the parents at the same moment.
fn exists_already(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

/// Makes the names of new files in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), OpenError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|source| OpenError::Io { path: directory.to_owned(), source })
}
