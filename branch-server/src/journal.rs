//! The journal: one append-only table per branch, the only truth about its money.
//!
//! - [`row`]: what one row says, and the bytes of it that the hash chain covers
//! - [`chain`]: group commits chained by hash
//! - [`sqlite`]: the embedded journal: files, pragmas, append, read
//! - [`wal`]: the look at SQLite's write-ahead log before SQLite opens it
//! - [`tide`]: how far it went, told from outside of it
//! - [`lock`]: one owner per branch
//!
//! [`Journal`] is all that the teller knows of it.

pub mod chain;
mod checkpoint;
pub mod lock;
pub mod row;
pub mod sqlite;
pub mod tide;
pub mod wal;

pub use chain::{ChainHash, GroupCommit};
pub(crate) use checkpoint::wal_path;
pub use row::{Channel, Row, RowKind, Sequence};
pub use sqlite::{JournalReader, JournalSettings, OpenError, SqliteJournal};

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

    /// Reads up to `limit` rows from `first` on, in order.
    ///
    /// # Errors
    /// The store failed or a row cannot be understood.
    fn read(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError>;

    /// The personal name of a customer, if one was given and not erased.
    ///
    /// # Errors
    /// The store failed.
    fn personal_name(&mut self, customer: bank_proto::CustomerId) -> Result<Option<String>, ReadError>;
}

/// A person's or firm's name, stored beside the journal and erasable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalName {
    /// Whose it is.
    pub customer: bank_proto::CustomerId,
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
    /// A row is there but does not mean anything.
    #[error("row {sequence} of the journal is damaged: {what}")]
    Damaged {
        /// Which row.
        sequence: u64,
        /// What is wrong with it.
        what: String,
    },
}
