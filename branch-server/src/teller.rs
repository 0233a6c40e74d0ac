//! The teller: the one writer of a branch.
//!
//! - [`request`]: what a teller is asked, in the bank's own words
//! - [`answer`]: what it says
//! - [`desk`]: one batch: decide, apply, one group commit, and only then every answer
//! - [`rows`]: entries of the ledger <-> rows of the journal
//! - [`fold`]: journal -> ledger, with every row checked
//! - [`parcel`]: a transfer on its way to another branch
//! - [`opening`]: a directory -> a desk that may serve
//! - [`queue`]: the bounded queue before the desk and the thread behind it

pub mod answer;
mod desk;
mod detail;
mod fold;
pub mod opening;
mod parcel;
mod queue;
pub mod request;
mod rows;

pub use answer::{AccountView, Answer, Answered, Arrived, Declined, HoldView, Receipt, Reversal};
pub use answer::{TransferEnd, TransferState, TransferView};
pub use desk::{BatchReport, Desk, Fatal};
pub use fold::{Fold, Folded, begins_transaction, ids_of};
pub use parcel::{Delivery, Parcel, reason_detail};
pub use queue::{QueueFull, TellerHandle, TellerWork, spawn};
pub use request::{Asked, Caller, Job, Key, Order, Read, Request, Served};
pub use rows::{RowError, entry_of};
