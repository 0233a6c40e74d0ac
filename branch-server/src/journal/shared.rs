//! The journal of a branch in a database that all branch servers share.
//!
//! - [`SharedStore`]: what a bank needs of such a database. PostgreSQL is one ([`super::postgres`]); the simulation has
//!   another, which loses answers on purpose
//! - [`OwnerLink`]: one owner's connection, statement by statement
//! - [`Claim`]: taking a branch over, and opening its journal
//! - `append`: one group commit, and what became of one whose answer was lost
//!
//! **Who may write.** The store keeps for each branch its epoch, the number of its owner's connections (`session`) and
//! the last row of its journal (`head`). Each group commit is one statement that moves `head` on, only where all three
//! are what this writer knows ([`Fence`]), and inserts the rows in the same statement. Whoever takes the branch over
//! raises the epoch; from then on the former owner writes nothing more, however long it slept.

mod append;
mod claim;

pub use claim::Claim;

use super::postgres::SharedFiles;
use super::tide::Tide;
use super::{AppendError, ChainHash, GroupCommit, Journal, JournalReader, PersonalName, ReadError, Row, Sequence};
use crate::environment::Clock;
use crate::leases::LeaseTable;
use bank_proto::{BranchId, CustomerId};
use std::sync::Arc;
use std::time::Duration;

/// A database that holds the books of a bank and that all its servers share, as one server uses it.
pub trait SharedStore: Send + Sync + std::fmt::Debug {
    /// Founds a bank of so many branches, or checks that the one that is there is such a bank.
    ///
    /// # Errors
    /// Why no bank can be served from it.
    fn found(&self, branches: u32) -> Result<(), Founding>;

    /// A connection for whoever takes a branch, or has it and lost the one before.
    ///
    /// # Errors
    /// There is none now, or the settings do not allow one.
    fn connect(&self, branch: BranchId) -> Result<Box<dyn OwnerLink>, StoreError>;

    /// A reader of a branch's journal, whoever owns the branch.
    fn reader(&self, branch: BranchId) -> Box<dyn JournalReader>;

    /// What is read from here on is read by new connections.
    fn renew(&self);

    /// The table of leases, for a server and the number that this process of it drew.
    fn leases(&self, server: u32, instance: u64) -> Box<dyn LeaseTable>;

    /// What is derived from a branch's journal, for whoever serves it next; None when nothing of it is kept there.
    fn files(&self, branch: BranchId) -> Option<SharedFiles>;

    /// Waits before the next try. False when nobody wants to wait any longer.
    fn pause(&self, pause: Duration) -> bool;

    /// Nobody waits for the database any longer: the process ends.
    fn give_up(&self);
}

/// One connection by which a branch is owned: each call is one statement, done wholly or not at all. A group commit may
/// go by another connection, with those of other branches: its fence says whose it is.
pub trait OwnerLink: Send {
    /// Where the journal is, for people.
    fn shown(&self) -> String;

    /// Makes a server the owner, where the epoch is `seen_epoch`, and raises it: the new one, or None when another took
    /// the branch meanwhile.
    ///
    /// # Errors
    /// It is not known whether it was done.
    fn claim(&mut self, owner: u32, seen_epoch: u64) -> Result<Option<u64>, String>;

    /// Makes this connection the one by which the owner writes: what an earlier one has under way either stands before
    /// this or comes to nothing. None when the branch is somebody else's.
    ///
    /// It commits, so it is answered when whatever the database waits for has everything that was committed before.
    ///
    /// # Errors
    /// It is not known whether it was done.
    fn stand(&mut self, epoch: u64) -> Result<Option<Standing>, String>;

    /// The last row's number, and the hash and epoch of the group commit that it closes.
    ///
    /// # Errors
    /// The connection failed.
    fn last_row(&mut self) -> Result<Option<(Sequence, ChainHash, u64)>, String>;

    /// The hash of the group commit that a row closes; None when it closes none.
    ///
    /// # Errors
    /// The connection failed.
    fn group_hash(&mut self, sequence: Sequence) -> Result<Option<ChainHash>, String>;

    /// One group commit; false when the branch is not as the fence says, and nothing was done.
    fn append(&mut self, fence: Fence, rows: &[Row], closing: GroupCommit, names: &[PersonalName]) -> Outcome<bool>;

    /// Whether the branch is as the fence says.
    fn confirm(&mut self, fence: Fence) -> Outcome<bool>;

    /// Up to `limit` rows from `first` on, in order.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`]: by a new connection it may be read.
    fn rows(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError>;

    /// The personal name of a customer, if one was given and not erased.
    ///
    /// # Errors
    /// As [`OwnerLink::rows`].
    fn personal_name(&mut self, customer: CustomerId) -> Result<Option<String>, ReadError>;
}

/// What became of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// The database did what it was told.
    Done(T),
    /// It did not; it may be told again.
    NotDone(String),
    /// It is not known: the connection is gone, or only its own disk has it.
    Unknown(String),
    /// There is no room.
    Full,
    /// It will never do it: what is asked for does not fit what is there.
    Refused(String),
}

/// How a writer knows its branch: a statement of its is done only where the branch is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The epoch under which it took the branch.
    pub epoch: u64,
    /// Which of this owner's connections it is: a statement of an earlier one, still on its way, writes nothing.
    pub session: i64,
    /// The last row.
    pub head: Sequence,
}

/// Where a writer stands in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The number of its connection.
    pub session: i64,
    /// The last row that was written.
    pub head: Sequence,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Waiting does not help: somebody has to correct the settings, or the database's.
    #[error("{0}")]
    Setup(String),
    /// It may be there later. Try again.
    #[error("{0}")]
    Unavailable(String),
}

/// Why a bank cannot be served from a database.
#[derive(Debug, thiserror::Error)]
pub enum Founding {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A newer Florin made the tables.
    #[error(
        "the bank in {shown} was made by a newer version of Florin (format {found}; this one knows {known}); use that \
         version"
    )]
    Newer {
        /// Where.
        shown: String,
        /// Its format.
        found: i32,
        /// The newest that is known here.
        known: i32,
    },
    /// It holds another bank.
    #[error("{shown} holds a bank of {found} branches, not {wanted}; the number never changes after the founding")]
    Branches {
        /// Where.
        shown: String,
        /// How many it was founded with.
        found: u32,
        /// How many the settings say.
        wanted: u32,
    },
}

/// The journal of one branch in a shared database, held by its one writer.
///
/// After a fatal error every further append fails too: the branch must be opened anew.
pub struct SharedJournal {
    store: Arc<dyn SharedStore>,
    clock: Arc<dyn Clock>,
    branch: BranchId,
    epoch: u64,
    /// Which of this owner's connections this is: a statement of an earlier one, still on its way, writes nothing.
    session: i64,
    /// None while it is lost.
    link: Option<Box<dyn OwnerLink>>,
    last_sequence: Sequence,
    head: ChainHash,
    /// How far this server saw the journal go: a database that was put back to an earlier moment does not tell.
    tide: Tide,
    /// Why nothing more can be written.
    failure: Option<String>,
    seal_buffer: Vec<u8>,
}

impl std::fmt::Debug for SharedJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (branch, epoch, last_sequence) = (self.branch, self.epoch, self.last_sequence);
        f.debug_struct("SharedJournal")
            .field("branch", &branch)
            .field("epoch", &epoch)
            .field("last_sequence", &last_sequence)
            .finish_non_exhaustive()
    }
}

impl Journal for SharedJournal {
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
        self.confirm_ownership()
    }

    fn read(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError> {
        self.reading(|link| link.rows(first, limit))
    }

    fn personal_name(&mut self, customer: CustomerId) -> Result<Option<String>, ReadError> {
        self.reading(|link| link.personal_name(customer))
    }
}
