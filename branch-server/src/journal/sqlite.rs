//! The embedded journal: one SQLite file per branch, `journal.db`, with `branch.lock` and
//! `journal.tide` beside it.
//!
//! - `schema`: the tables and the view `statement`
//! - `branch_row`: whose journal it is, and who owned it last
//! - `columns`: a row and the columns it stands in
//! - `copying`: a copy that grows with its original
//! - `opening`: the steps from a directory to a journal that may serve
//! - `retiring`: the steps by which a branch's books go on at another server
//! - `stored`: rows as they are stored, for copies
//! - `wal_room`: room for the write-ahead log before it is needed
//! - [`SqliteReader`]: reading beside the writer, on a connection of its own

mod append;
mod branch_row;
mod columns;
mod copying;
mod open_error;
mod opening;
mod reader;
mod retiring;
mod schema;
mod stored;
mod wal_room;

pub use copying::{Copied, CopyError, End, JournalFile, Original, StoredRow, Wanted, copy};
pub use open_error::OpenError;
pub use reader::SqliteReader;
pub use retiring::{Extent, Retirement, accept, confirm, retired_file, retirement};
pub use stored::StoredTable;

use super::checkpoint::Checkpointer;
use super::lock::BranchLock;
use super::tide::Tide;
use super::{AppendError, ChainHash, Journal, PersonalName, ReadError, Row, Sequence};
use bank_proto::{BranchId, CustomerId};
use rusqlite::Connection;
pub use rusqlite::types::Value as StoredValue;
use std::path::{Path, PathBuf};

/// The journal's file in a branch's directory.
pub const JOURNAL_FILE: &str = "journal.db";

/// Rows of the largest group commit; a bound for whoever reads a group back.
pub const MAXIMUM_GROUP_ROWS: usize = 262_144;

/// With less than this free on its disk, a branch takes no orders: an outcome, an end and a checkpoint of the
/// write-ahead log must still find room.
pub const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// What a journal must know to be opened.
#[derive(Debug, Clone)]
pub struct JournalSettings {
    /// Whose journal it is.
    pub branch: BranchId,
    /// How many branches the bank was founded with.
    pub branches: u32,
    /// The highest row that any derived file says was durable; 0 when none says anything. A
    /// journal that ends before it has lost rows and is refused.
    pub known_sequence: Sequence,
    /// Below so many free bytes on the file system nothing more is written, so that there is room
    /// for what was promised already.
    pub reserve_bytes: u64,
    /// How many bytes the write-ahead log may reach before the writer waits for it to be emptied.
    pub wal_limit_bytes: u64,
    /// How many bytes of the write-ahead log are written ahead as zeros when the journal is opened, so that
    /// a commit overwrites what the file has already. See `wal_room`.
    pub wal_room_bytes: u64,
    /// Empty the write-ahead log on a thread beside the writer. False: the writer does it alone,
    /// for a simulation in one thread.
    pub background: bool,
}

impl JournalSettings {
    /// The settings that a running bank uses.
    #[must_use]
    pub fn new(branch: BranchId, branches: u32) -> JournalSettings {
        JournalSettings {
            branch,
            branches,
            known_sequence: 0,
            reserve_bytes: RESERVE_BYTES,
            wal_limit_bytes: 16 * 1024 * 1024,
            // As far as the log grows under single orders before it starts over: see `checkpoint`.
            wal_room_bytes: 5 * 1024 * 1024,
            background: true,
        }
    }
}

/// The journal of one branch in a SQLite file, held by its one writer.
///
/// After a fatal error every further append fails too; the process must end.
#[derive(Debug)]
pub struct SqliteJournal {
    // Dropped in this order: the thread before the connection, and the lock last.
    checkpointer: Checkpointer,
    connection: Connection,
    tide: Tide,
    lock: BranchLock,
    directory: PathBuf,
    settings: JournalSettings,
    last_sequence: Sequence,
    head: ChainHash,
    epoch: u64,
    /// Changes when another connection wrote to the file.
    data_version: i64,
    /// A write was cut short by a full disk, and its remains stand at the end of the WAL.
    torn_tail: bool,
    /// Why nothing more can be written.
    failure: Option<String>,
    seal_buffer: Vec<u8>,
    rows: columns::RowReader,
}

impl SqliteJournal {
    /// Opens the journal in a branch's directory, and makes both when they are not there.
    ///
    /// When this returns, the branch is owned by this process, everything in the journal is
    /// durable, its write-ahead log is empty, and the epoch is one higher than ever before.
    ///
    /// # Errors
    /// [`OpenError`] says why the branch must not serve.
    pub fn open(directory: &Path, settings: JournalSettings) -> Result<SqliteJournal, OpenError> {
        opening::open(directory, settings)
    }

    /// A reader of the same journal, for queries beside the writer.
    ///
    /// # Errors
    /// The file cannot be opened once more.
    pub fn reader(&self) -> Result<SqliteReader, ReadError> {
        SqliteReader::open(&self.directory)
    }

    /// The bytes that the write-ahead log takes on disk.
    #[must_use]
    pub fn wal_bytes(&self) -> u64 {
        self.checkpointer.wal_bytes()
    }
}

impl Journal for SqliteJournal {
    fn last_sequence(&self) -> Sequence {
        self.last_sequence
    }

    fn head(&self) -> ChainHash {
        self.head
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn append(&mut self, rows: &[Row], names: &[PersonalName]) -> Result<(), AppendError> {
        self.append_group(rows, names)
    }

    fn confirm(&mut self) -> Result<(), AppendError> {
        // As long as the lock is held nobody else writes.
        Ok(())
    }

    fn read(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError> {
        reader::read(&self.connection, &mut self.rows, first, limit)
    }

    fn personal_name(&mut self, customer: CustomerId) -> Result<Option<String>, ReadError> {
        reader::personal_name(&self.connection, customer)
    }
}
