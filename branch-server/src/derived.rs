//! What can be made again from the journal, and may be deleted: snapshots of the books and the
//! index of transaction ids, each with the row that it is derived up to.
//!
//! - [`files`]: where they are
//! - [`ids`]: every transaction id for ever, at bounded cost
//! - [`snapshot`]: the books as bytes
//! - [`snapshot_file`]: bytes in a file that is either whole or not there

mod files;
mod ids;
mod snapshot;
mod snapshot_file;

pub(crate) use files::DerivedFiles;
pub(crate) use ids::ById;
pub use ids::{TransactionIds, check_runs};
pub use snapshot::{encode, known_sequence, read_snapshot, write_snapshot};
