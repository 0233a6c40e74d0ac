//! The journal: one append-only table per branch, the only truth about its money.
//!
//! - [`row`]: what one row says, and the bytes of it that the hash chain covers
//! - [`chain`]: group commits chained by hash
//! - [`sqlite`]: the embedded journal: files, pragmas, append, read
//! - [`shared`]: the journals of a bank whose servers share a database
//! - [`postgres`]: that database
//! - [`wal`]: the look at SQLite's write-ahead log before SQLite opens it
//! - [`tide`]: how far it went, told from outside of it
//! - [`lock`]: one owner per branch
//!
//! [`Journal`] is all that the teller knows of it.

pub mod chain;
mod checkpoint;
pub mod lock;
pub mod postgres;
pub mod row;
pub mod shared;
pub mod sqlite;
pub mod tide;
pub mod wal;

pub use chain::{ChainHash, GroupCommit};
pub(crate) use checkpoint::wal_path;
pub use postgres::{PostgresReader, PostgresStore};
pub use row::{Channel, Row, RowKind, Sequence};
pub use shared::{SharedJournal, SharedStore};
pub use sqlite::{JournalSettings, OpenError, SqliteJournal, SqliteReader};

use bank_proto::{AccountSerial, CustomerId};
use sqlite::{End, StoredRow, StoredTable};
use std::ops::ControlFlow;

/// Where a branch's group commits go, and where they are read back from.
///
/// One writer holds it. Rows are numbered from 1 without gaps. What [`Journal::append`] accepted
/// survives power loss; what it refused has left no trace.
pub trait Journal: Send {
    /// The last row that is durable; 0 in an empty journal.
    fn last_sequence(&self) -> Sequence;

    /// The hash of the last group commit; all zero in an empty journal.
    fn head(&self) -> ChainHash;

    /// The epoch under which this owner writes.
    fn epoch(&self) -> u64;

    /// Writes one group commit and syncs it. The rows' sequences must follow
    /// [`Journal::last_sequence`] without a gap, and there must be at least one row.
    ///
    /// `names` are the personal names that this group sets, kept beside the rows and outside the
    /// hash chain so that they can be erased.
    ///
    /// # Errors
    /// [`AppendError::StorageFull`]: nothing was written; refuse the writes and go on.
    /// [`AppendError::Fatal`]: what is on disk is not known; end the process and recover on restart.
    fn append(&mut self, rows: &[Row], names: &[PersonalName]) -> Result<(), AppendError>;

    /// Confirms that nobody else has become the owner, before what this owner knows is told without a group commit.
    ///
    /// # Errors
    /// [`AppendError::Fatal`]: somebody has, or nobody can say. Tell nothing.
    fn confirm(&mut self) -> Result<(), AppendError>;

    /// Reads up to `limit` rows from `first` on, in order.
    ///
    /// # Errors
    /// The store failed or a row cannot be understood.
    fn read(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError>;

    /// The personal name of a customer, if one was given and not erased.
    ///
    /// # Errors
    /// The store failed.
    fn personal_name(&mut self, customer: CustomerId) -> Result<Option<String>, ReadError>;
}

/// What is done with each row of a walk, and with what closes its group commit; it may end the walk.
pub type Visit<'a> = dyn FnMut(Row, Option<GroupCommit>) -> ControlFlow<()> + 'a;

/// Reads a journal beside its writer. It sees only what is durable.
///
/// Every call is short, so that no read keeps the store from tidying up behind the writer; only
/// [`JournalReader::for_each`] may take long.
pub trait JournalReader: Send + std::fmt::Debug {
    /// Another reader of the same journal, for another thread.
    ///
    /// # Errors
    /// The store cannot be reached.
    fn try_clone(&self) -> Result<Box<dyn JournalReader>, ReadError>;

    /// The last row that is durable; 0 in an empty journal.
    ///
    /// # Errors
    /// The store failed.
    fn last_sequence(&mut self) -> Result<Sequence, ReadError>;

    /// Up to `limit` rows from `first` on, in order.
    ///
    /// # Errors
    /// The store failed, or a row is damaged.
    fn read(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError>;

    /// One row, if the journal is that long.
    ///
    /// # Errors
    /// The store failed, or the row is damaged.
    fn row(&mut self, sequence: Sequence) -> Result<Option<Row>, ReadError>;

    /// All rows of the transaction whose first row is `first`; empty when there is no such row.
    ///
    /// # Errors
    /// The store failed, or a row is damaged.
    fn transaction(&mut self, first: Sequence) -> Result<Vec<Row>, ReadError> {
        let mut found: Vec<Row> = Vec::new();
        self.for_each(first, &mut |row, _| match found.first() {
            Some(begun) if begun.transaction != row.transaction => ControlFlow::Break(()),
            _ => {
                found.push(row);
                ControlFlow::Continue(())
            }
        })?;
        Ok(found)
    }

    /// An account's rows, newest first, from `newest` on: up to `limit`, along the chain that each
    /// row has to the one before it. Where the walk may go on is in the last row's
    /// `debit_previous` or `credit_previous`.
    ///
    /// # Errors
    /// The store failed, a row is damaged, or the chain leads to a row of other accounts.
    fn history(&mut self, account: AccountSerial, newest: Sequence, limit: usize) -> Result<Vec<Row>, ReadError>;

    /// Every row from `first` on with what closes its group commit, until `visit` breaks or the
    /// journal ends. The whole walk may be one read transaction: keep it short.
    ///
    /// # Errors
    /// The store failed, or a row is damaged.
    fn for_each(&mut self, first: Sequence, visit: &mut Visit<'_>) -> Result<(), ReadError>;

    /// How far the journal goes, for a copy.
    ///
    /// # Errors
    /// The store failed.
    fn end(&mut self) -> Result<End, ReadError>;

    /// The hash of the group commit that a row closes; all zero when it closes none.
    ///
    /// # Errors
    /// The store failed.
    fn group_hash(&mut self, sequence: Sequence) -> Result<ChainHash, ReadError>;

    /// Up to `limit` rows of a table with keys from the first to the last, as they are stored.
    ///
    /// # Errors
    /// The store failed.
    fn stored_rows(
        &mut self,
        table: StoredTable,
        first: i64,
        last: i64,
        limit: u32,
    ) -> Result<Vec<StoredRow>, ReadError>;

    /// The bytes that the write-ahead log takes on disk, if it is the branch's own: how far the writer's
    /// checkpoints are behind.
    fn wal_bytes(&mut self) -> u64;

    /// The bytes that the journal itself takes on disk.
    fn journal_bytes(&mut self) -> u64;

    /// The personal name of a customer, if one was given and not erased.
    ///
    /// # Errors
    /// The store failed.
    fn personal_name(&mut self, customer: CustomerId) -> Result<Option<String>, ReadError>;
}

/// A person's or firm's name, stored beside the journal and erasable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalName {
    /// Whose it is.
    pub customer: CustomerId,
    /// The name.
    pub name: String,
    /// The random key under which the journal's row holds a digest of the name; erased with it,
    /// so that the digest alone cannot be tested against guessed names.
    pub digest_key: [u8; 32],
}

/// Why a group commit was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No room; nothing was written.
    #[error("the disk is full; nothing was written")]
    StorageFull,
    /// The write or the sync failed, or someone else wrote to the file. A failed sync is never
    /// retried: the system may have dropped the pages (fsyncgate).
    #[error("the journal can no longer be trusted to be durable: {0}")]
    Fatal(String),
}

/// Why rows could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The store reported an error.
    #[error("the journal cannot be read: {0}")]
    Store(String),
    /// The database is not there. Ask again later.
    #[error("the database cannot be used now: {0}")]
    Unavailable(String),
    /// A row is there but does not mean anything.
    #[error("row {sequence} of the journal is damaged: {what}")]
    Damaged {
        /// Which row.
        sequence: u64,
        /// What is wrong with it.
        what: String,
    },
}
