//! The journal of a branch in a PostgreSQL database that all branch servers share.
//!
//! - [`PostgresStore`]: the database: where it is, and how it is reached
//! - `schema`: the tables, and how a newer program changes them
//! - `columns`: rows and the columns they stand in
//! - [`Claim`]: taking a branch over, and opening its journal
//! - `append`: one group commit, and what became of one whose answer was lost
//! - [`Import`]: the books of a bank in files, taken over
//! - [`PostgresReader`]: reading beside the writer
//! - [`Pool`], [`Link`]: connections for readers, and one for the lease, made again when they are lost
//! - [`SharedFiles`]: what is derived from a journal, for whoever serves the branch next
//!
//! **Who may write.** The row of a branch in table `florin.branch` holds its epoch, the number of its owner's
//! connections (`session`) and the last row of its journal (`head`). Each group commit is one statement that moves
//! `head` on, only where all three are what this writer knows, and inserts the rows in the same statement. Whoever
//! takes the branch over raises the epoch; from then on the former owner writes nothing more, however long it slept.

mod append;
mod claim;
mod columns;
mod import;
mod link;
mod pool;
mod reader;
mod schema;
mod shared_files;
mod store;

pub use claim::Claim;
pub use import::{Import, ImportError};
pub(crate) use link::Link;
pub use pool::Pool;
pub use reader::PostgresReader;
pub use schema::Founding;
pub use shared_files::SharedFiles;
pub use store::{MINIMUM_VERSION, PostgresStore, StoreError};

use super::{AppendError, ChainHash, Journal, PersonalName, ReadError, Row, Sequence};
use crate::environment::Clock;
use crate::journal::tide::Tide;
use bank_proto::{BranchId, CustomerId};
use columns::RowReader;
use std::sync::Arc;
use store::Connection;

/// The journal of one branch in PostgreSQL, held by its one writer.
///
/// After a fatal error every further append fails too: the branch must be opened anew.
pub struct PostgresJournal {
    store: PostgresStore,
    clock: Arc<dyn Clock>,
    branch: BranchId,
    epoch: u64,
    /// Which of this owner's connections this is: a statement of an earlier one, still on its way, writes nothing.
    session: i64,
    /// None while it is lost.
    connection: Option<Writer>,
    last_sequence: Sequence,
    head: ChainHash,
    /// How far this server saw the journal go: a database that was put back to an earlier moment does not tell.
    tide: Tide,
    /// Why nothing more can be written.
    failure: Option<String>,
    seal_buffer: Vec<u8>,
    rows: RowReader,
}

impl std::fmt::Debug for PostgresJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (branch, epoch, last_sequence) = (self.branch, self.epoch, self.last_sequence);
        f.debug_struct("PostgresJournal")
            .field("branch", &branch)
            .field("epoch", &epoch)
            .field("last_sequence", &last_sequence)
            .finish_non_exhaustive()
    }
}

/// The writer's connection and its prepared statements.
struct Writer {
    connection: Connection,
    append: postgres::Statement,
    append_with_names: postgres::Statement,
    confirm: postgres::Statement,
}

impl Journal for PostgresJournal {
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
        let (branch, limit) = (self.branch, i64::try_from(limit).unwrap_or(i64::MAX));
        let found = self.reading(|client| reader::rows(client, branch, first, limit))?;
        found.iter().map(|row| Ok(self.rows.take(row)?.0)).collect()
    }

    fn personal_name(&mut self, customer: CustomerId) -> Result<Option<String>, ReadError> {
        let branch = self.branch;
        self.reading(|client| reader::personal_name(client, branch, customer))
    }
}

/// The table of a branch's journal.
fn journal_table(branch: BranchId) -> String {
    format!("florin.journal_{:04}", branch.get())
}

/// A branch's number as the tables hold it.
fn number(branch: BranchId) -> i32 {
    branch.get().cast_signed()
}
