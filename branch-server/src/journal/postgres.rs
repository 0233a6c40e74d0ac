//! PostgreSQL as the database that all branch servers share ([`super::shared`]).
//!
//! - [`PostgresStore`]: the database: where it is, and how it is reached
//! - `client`: what is said by one connection, and never without a limit
//! - `schema`: the tables, and how a newer program changes them
//! - `columns`: rows as they are read back from their columns
//! - `given`: rows as the database is given them
//! - [`PostgresBooks`]: what a bank needs of it
//! - `claim`: the statements by which a branch is taken over
//! - `writer`: one owner's connection
//! - `lane`: the way by which all branches of a server write
//! - `append`: the one statement of their group commits, and what became of it
//! - [`Import`]: the books of a bank in files, taken over
//! - [`PostgresReader`]: reading beside the writer
//! - [`Pool`], [`Link`]: connections for readers, and one for the lease, made again when they are lost
//! - [`SharedFiles`]: what is derived from a journal, for whoever serves the branch next

mod append;
mod books;
mod claim;
mod client;
mod columns;
mod given;
mod import;
mod lane;
mod link;
mod pool;
mod reader;
mod schema;
mod shared_files;
mod store;
mod writer;

pub use books::PostgresBooks;
pub use import::{Import, ImportError};
pub(crate) use link::Link;
pub use pool::Pool;
pub use reader::PostgresReader;
pub use shared_files::SharedFiles;
pub use store::{MINIMUM_VERSION, PostgresStore};

use bank_proto::BranchId;

/// The table of a branch's journal.
fn journal_table(branch: BranchId) -> String {
    format!("florin.journal_{:04}", branch.get())
}

/// A branch's number as the tables hold it.
fn number(branch: BranchId) -> i32 {
    branch.get().cast_signed()
}
