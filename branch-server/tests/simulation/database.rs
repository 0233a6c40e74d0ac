//! The database that the servers of a simulated bank share: it does what PostgreSQL promises, and loses what PostgreSQL
//! does not promise. A row of ownership for each branch; statements that are done wholly or not at all, one after the
//! other; answers that get lost, and statements that are done when nobody waits for them any more.
//!
//! Nothing in it waits: whoever would is told no.
//!
//! - `tables`: what it holds, and what each statement does to it
//! - `trouble`: what goes wrong at a statement
//! - `link`: one owner's connection
//! - `store`: the database as one server uses it: connections, readers, the table of leases

mod link;
mod reader;
mod store;
mod tables;
mod trouble;

pub(crate) use reader::Reader;
pub(crate) use store::SimulatedStore;
pub(crate) use tables::Tables;

use crate::servers::BRANCHES;
use crate::witness::Witness;
use bank_proto::BranchId;
use branch_server::verify::{self, VerifyError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// The database, for whoever looks at it from outside.
#[derive(Clone)]
pub(crate) struct Database(Arc<Mutex<Tables>>);

impl Database {
    pub(crate) fn new(seed: u64, witness: Witness) -> Database {
        Database(Arc::new(Mutex::new(Tables::new(seed, witness))))
    }

    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().expect("nobody panicked")
    }

    /// The server that serves each branch now, by a connection that is the newest owner's.
    pub(crate) fn served(&self) -> BTreeMap<BranchId, u32> {
        self.tables().served()
    }

    /// Whether each branch is served by one server, the table says so, and none of so many has two more than another.
    pub(crate) fn is_settled(&self, servers: u32) -> bool {
        let served = self.served();
        let of = |server: u32| served.values().filter(|one| **one == server).count();
        let counts: BTreeSet<usize> = (0..servers).map(of).collect();
        let spread = counts.last().zip(counts.first()).map_or(0, |(most, fewest)| most - fewest);
        served.len() == BRANCHES as usize && spread <= 1 && self.tables().owners() == served && self.tables().is_alone()
    }

    /// Proves every branch from its rows, and that all tell one story: how many transfers ended.
    pub(crate) fn verify(&self) -> u64 {
        let branches = (1..=i64::from(BRANCHES)).map(|number| BranchId::new(number).expect("a branch"));
        let proven = |branch| verify::rows(&mut Reader::of_the_database(self, branch), branch);
        let stories = branches.map(|branch| {
            proven(branch).unwrap_or_else(|error: VerifyError| panic!("branch {branch}: {error}")).crossings
        });
        verify::agree(&stories.collect::<Vec<_>>()).unwrap_or_else(|error| panic!("{error}")).ended
    }
}
