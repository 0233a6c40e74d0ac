//! The teller: the one writer of a branch.
//!
//! - [`request`]: what a teller is asked, in the bank's own words
//! - [`answer`]: what it says
//! - [`desk`]: one batch: decide, apply, one group commit, and only then every answer
//! - [`rows`]: entries of the ledger <-> rows of the journal
//! - [`fold`]: journal -> ledger, with every row checked
//! - [`opening`]: a directory -> a desk that may serve
//! - [`queue`]: the bounded queue before the desk and the thread behind it

pub mod answer;
mod desk;
mod fold;
pub mod opening;
mod queue;
pub mod request;
mod rows;

pub use answer::{AccountView, Answer, Answered, Declined, Receipt};
pub use desk::{BatchReport, Desk, Fatal};
pub use fold::{Fold, Folded, begins_transaction};
pub use queue::{QueueFull, TellerHandle, spawn};
pub use request::{Asked, Caller, Job, Key, Order, Read, Request};
pub use rows::RowError;
