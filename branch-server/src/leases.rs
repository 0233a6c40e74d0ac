//! Which server serves which branch, when any of them can: with the books in one database that all servers share.
//!
//! Nobody conducts it. Every server says in a table that it is there, reads which others are and which branch is
//! whose, and works out by the same rule as all others which branches are its own: it takes those that are nobody's,
//! or whose owner has fallen silent, and gives back those that are another's now.
//!
//! - [`plan`]: the rule
//! - [`watch`]: who is there
//! - [`table`]: the table in PostgreSQL
//! - [`opener`]: how a branch is taken over
//! - [`keeper`]: one server's part of it: beats, opens, closes
//!
//! None of this decides who may write. A clock only says when to try: whoever takes a branch raises its epoch, and the
//! former owner, however long it slept, writes nothing any more ([`crate::journal::shared`]).

pub(crate) mod keeper;
mod opener;
mod plan;
mod table;
mod watch;

pub(crate) use keeper::{Keeper, Terms};
pub(crate) use opener::SharedOpener;
pub(crate) use table::PostgresLeases;

use bank_proto::BranchId;
use std::collections::BTreeMap;

/// What the table says at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The servers that have a row there, dead or alive.
    pub servers: BTreeMap<u32, Sign>,
    /// Every branch of the bank.
    pub branches: BTreeMap<BranchId, Lease>,
}

/// A server's sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign {
    /// Which process it is: another one under the same ordinal draws another number.
    pub instance: u64,
    /// Grows as long as it is there.
    pub beats: u64,
    /// It gives its branches away and takes none.
    pub is_leaving: bool,
}

/// Whose a branch is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lease {
    /// The server that took it last; None when it was given back, or was never anybody's.
    pub owner: Option<u32>,
    /// The epoch under which it did.
    pub epoch: u64,
}

/// Why the table was not read or written. Nothing is known; try again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LeaseError(pub String);

/// The table, as one server uses it.
pub trait LeaseTable: Send {
    /// Says that the server is there, and reads what all say. The first time it makes the server's row its own: a
    /// process that had it before sees another's instance there from then on.
    ///
    /// # Errors
    /// See [`LeaseError`].
    fn beat(&mut self, is_leaving: bool) -> Result<Seen, LeaseError>;

    /// Gives a branch back that the server took under this epoch. When another has taken it since, nothing happens.
    ///
    /// # Errors
    /// See [`LeaseError`]: then it stays this server's until it has been silent for long enough.
    fn give_back(&mut self, branch: BranchId, epoch: u64) -> Result<(), LeaseError>;
}
