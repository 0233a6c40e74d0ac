//! The table in PostgreSQL.

use super::{Lease, LeaseError, LeaseTable, Seen, Sign};
use crate::journal::postgres::{Link, PostgresStore};
use crate::journal::shared::StoreError;
use bank_proto::BranchId;

/// The leases of a bank in PostgreSQL, as one server uses them, by one connection of its own.
pub(crate) struct PostgresLeases {
    link: Link,
    server: u32,
    instance: u64,
    has_entered: bool,
}

impl PostgresLeases {
    /// For a server and the number that this process of it drew.
    pub(crate) fn new(store: PostgresStore, server: u32, instance: u64) -> PostgresLeases {
        PostgresLeases { link: Link::new(store), server, instance, has_entered: false }
    }
}

impl From<StoreError> for LeaseError {
    fn from(error: StoreError) -> LeaseError {
        LeaseError(error.to_string())
    }
}

const ENTER: &str = "INSERT INTO florin.server (ordinal, instance) VALUES ($1, $2) \
    ON CONFLICT (ordinal) DO UPDATE SET instance = excluded.instance, beats = 0, leaving = false";

const BEAT: &str = "UPDATE florin.server SET beats = beats + 1, leaving = $3 WHERE ordinal = $1 AND instance = $2";

const GIVE_BACK: &str = "UPDATE florin.branch SET owner = NULL WHERE branch = $1 AND epoch = $2 AND owner = $3";

impl LeaseTable for PostgresLeases {
    fn beat(&mut self, is_leaving: bool) -> Result<Seen, LeaseError> {
        let (server, instance) = (self.server.cast_signed(), self.instance.cast_signed());
        if !self.has_entered {
            self.link.run(|client| client.execute(ENTER, &[&server, &instance]))?;
            self.has_entered = true;
        }
        self.link.run(|client| client.execute(BEAT, &[&server, &instance, &is_leaving]))?;
        let servers =
            self.link.run(|client| client.query("SELECT ordinal, instance, beats, leaving FROM florin.server", &[]))?;
        let branches = self.link.run(|client| client.query("SELECT branch, owner, epoch FROM florin.branch", &[]))?;
        let mut seen = Seen::default();
        for row in servers {
            let (ordinal, instance, beats): (i32, i64, i64) = (row.get(0), row.get(1), row.get(2));
            let (instance, beats) = (instance.cast_unsigned(), beats.cast_unsigned());
            seen.servers.insert(ordinal.cast_unsigned(), Sign { instance, beats, is_leaving: row.get(3) });
        }
        for row in branches {
            let (branch, owner, epoch): (i32, Option<i32>, i64) = (row.get(0), row.get(1), row.get(2));
            let Ok(branch) = BranchId::new(i64::from(branch)) else { continue };
            let lease = Lease { owner: owner.map(i32::cast_unsigned), epoch: epoch.cast_unsigned() };
            seen.branches.insert(branch, lease);
        }
        Ok(seen)
    }

    fn give_back(&mut self, branch: BranchId, epoch: u64) -> Result<(), LeaseError> {
        let (branch, epoch) = (branch.get().cast_signed(), epoch.cast_signed());
        let server = self.server.cast_signed();
        self.link.run(|client| client.execute(GIVE_BACK, &[&branch, &epoch, &server]))?;
        Ok(())
    }
}
