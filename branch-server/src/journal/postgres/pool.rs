//! Connections that readers share: each is one reader's for one call.

use super::client::Client;
use super::store::{Connection, PostgresStore, causes};
use crate::journal::ReadError;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Connections of one server for reading, whatever the number of its branches.
const CONNECTIONS: usize = 8;

/// Connections for reading. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    store: PostgresStore,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    lent: usize,
}

impl Pool {
    /// No connection yet; each is made when it is needed.
    #[must_use]
    pub fn new(store: PostgresStore) -> Pool {
        Pool(Arc::new(Shared { store, state: Mutex::default(), freed: Condvar::new() }))
    }

    /// Reads with one of the connections, when one is free. One that broke is replaced, and the read is tried once
    /// more: it changes nothing.
    pub(super) fn read<T>(
        &self,
        read: impl Fn(&mut Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, ReadError> {
        let mut lent = self.borrow();
        if let Some(mut connection) = lent.connection.take() {
            match read(connection.client()) {
                Ok(found) => {
                    lent.connection = Some(connection);
                    return Ok(found);
                }
                Err(error) if !is_broken(&error, connection.client()) => {
                    lent.connection = Some(connection);
                    return Err(ReadError::Store(causes(&error)));
                }
                Err(_) => {}
            }
        }
        let unavailable = |error: &dyn std::error::Error| ReadError::Unavailable(causes(error));
        let mut connection = self.0.store.connect().map_err(|error| unavailable(&error))?;
        match read(connection.client()) {
            Ok(found) => {
                lent.connection = Some(connection);
                Ok(found)
            }
            Err(error) if is_broken(&error, connection.client()) => Err(unavailable(&error)),
            Err(error) => {
                lent.connection = Some(connection);
                Err(ReadError::Store(causes(&error)))
            }
        }
    }

    /// Ends the connections that nobody uses now: what is read from here on is read by new ones.
    pub(crate) fn renew(&self) {
        let idle = std::mem::take(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner).idle);
        drop(idle);
    }

    fn borrow(&self) -> Lent<'_> {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.freed.wait_while(state, |state| state.lent >= CONNECTIONS);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.lent += 1;
        Lent { pool: self, connection: state.idle.pop() }
    }
}

/// Whether an error is the connection's and not the statement's. A server that was promoted or demoted keeps its
/// connections, and a standby's are of no use.
fn is_broken(error: &tokio_postgres::Error, client: &Client) -> bool {
    client.is_closed() || error.as_db_error().is_none_or(|said| said.code().code().starts_with("57"))
}

/// A place in the pool, and the connection that stands there if there is one yet.
struct Lent<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lent -= 1;
        state.idle.extend(self.connection.take());
        self.pool.0.freed.notify_one();
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pool").field(&self.0.store).finish()
    }
}
