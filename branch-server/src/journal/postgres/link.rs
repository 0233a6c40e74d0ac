//! A connection that is made again when it is lost.

use super::client::Client;
use super::store::{Connection, PostgresStore, sort};
use crate::journal::shared::StoreError;

/// A connection is used so often, which the beats of a server do in some ten seconds. What it writes waits for no
/// standby, so nothing else would tell that it leads to a primary whose place another has taken.
const USES: u32 = 128;

/// A connection to the database for short statements that may be repeated.
pub(crate) struct Link {
    store: PostgresStore,
    connection: Option<Connection>,
    uses: u32,
}

impl Link {
    /// Not connected yet.
    pub(crate) fn new(store: PostgresStore) -> Link {
        Link { store, connection: None, uses: 0 }
    }

    /// Does something by it, connecting first when it must. After an error the next try begins with a new connection:
    /// the old one may lead to a server that takes no writes any more.
    ///
    /// # Errors
    /// As the database said.
    pub(crate) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, StoreError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let mut connection = self.store.connect()?;
                // What it writes is for the moment: it need not survive a crash, and must not wait for a standby.
                let sql = "SET synchronous_commit = off";
                connection.client().batch_execute(sql).map_err(|error| sort(&error))?;
                connection
            }
        };
        let done = work(connection.client()).map_err(|error| sort(&error))?;
        self.uses += 1;
        if self.uses < USES {
            self.connection = Some(connection);
        } else {
            self.uses = 0;
        }
        Ok(done)
    }
}
