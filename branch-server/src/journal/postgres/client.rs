//! What is said to the database by one connection, on the thread of whoever says it, and never without a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::error::Severity;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Config, Error, NoTls, Row, Socket, Statement, ToStatement};
use tokio_postgres_rustls::MakeRustlsConnect;

/// After so long a statement is cancelled. The server ends every statement sooner, with one exception: it lets a commit
/// wait for its standbys for as long as it takes. A cancelled wait is a success with a warning.
const LIMIT: Duration = Duration::from_secs(11);

/// Who is silent for so long after that is not listened to any more: the connection ends, and what it was asked is as
/// unknown as after any broken one. A primary that was replaced, and whose place another has, does not hear the cancel.
const LAST_LIMIT: Duration = Duration::from_secs(2);

/// How long a server may take to accept a connection and to let the user in.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A connection to the database, for one thread at a time that may wait.
pub(crate) struct Client {
    /// Drives the connection while something is asked. Only the end takes it.
    runtime: Option<Runtime>,
    client: tokio_postgres::Client,
    driver: JoinHandle<()>,
    tls: Option<MakeRustlsConnect>,
    /// The server sent a warning since it was last looked at.
    has_warned: Arc<AtomicBool>,
    has_limit: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The server says why, or there is none.
    #[error(transparent)]
    Database(Error),
    /// Nobody says anything.
    #[error("it did not let anybody in within {CONNECT_LIMIT:?}")]
    Silent,
    /// The system does not allow it.
    #[error(transparent)]
    System(std::io::Error),
}

impl Client {
    /// Connects, with TLS if there is any.
    pub(super) fn connect(config: &Config, tls: Option<MakeRustlsConnect>) -> Result<Client, ConnectError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(ConnectError::System)?;
        let has_warned = Arc::new(AtomicBool::new(false));
        let flag = has_warned.clone();
        let connecting = async {
            Ok(match tls.clone() {
                None => {
                    let (client, connection) = config.connect(NoTls).await?;
                    (client, tokio::spawn(drive(connection, flag)))
                }
                Some(tls) => {
                    let (client, connection) = config.connect(tls).await?;
                    (client, tokio::spawn(drive(connection, flag)))
                }
            })
        };
        match runtime.block_on(async { timeout(CONNECT_LIMIT, connecting).await }) {
            Ok(Ok((client, driver))) => {
                Ok(Client { runtime: Some(runtime), client, driver, tls, has_warned, has_limit: true })
            }
            // Not waited for: a name may still be looked up.
            Ok(Err(error)) => {
                runtime.shutdown_background();
                Err(ConnectError::Database(error))
            }
            Err(_) => {
                runtime.shutdown_background();
                Err(ConnectError::Silent)
            }
        }
    }

    /// What is asked from here on may take as long as it takes.
    pub(super) fn lift_limit(&mut self) {
        self.has_limit = false;
    }

    /// Whether the server warned of what was done since this was last asked. A commit that it warned of may have been
    /// made on its own disk alone.
    pub(super) fn take_warning(&self) -> bool {
        self.has_warned.swap(false, Ordering::Relaxed)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) fn prepare(&mut self, sql: &str) -> Result<Statement, Error> {
        self.wait(self.client.prepare(sql))
    }

    pub(super) fn prepare_typed(&mut self, sql: &str, types: &[Type]) -> Result<Statement, Error> {
        self.wait(self.client.prepare_typed(sql, types))
    }

    pub(crate) fn query(
        &mut self,
        statement: &(impl ToStatement + ?Sized),
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.wait(self.client.query(statement, parameters))
    }

    pub(super) fn query_one(
        &mut self,
        statement: &(impl ToStatement + ?Sized),
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Error> {
        self.wait(self.client.query_one(statement, parameters))
    }

    pub(super) fn query_opt(
        &mut self,
        statement: &(impl ToStatement + ?Sized),
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Error> {
        self.wait(self.client.query_opt(statement, parameters))
    }

    pub(crate) fn execute(
        &mut self,
        statement: &(impl ToStatement + ?Sized),
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        self.wait(self.client.execute(statement, parameters))
    }

    pub(super) fn batch_execute(&mut self, sql: &str) -> Result<(), Error> {
        self.wait(self.client.batch_execute(sql))
    }

    /// Begins a transaction, with the words that come after BEGIN. It ends with [`Transaction::commit`], or comes to
    /// nothing.
    pub(super) fn begin(&mut self, mode: &str) -> Result<Transaction<'_>, Error> {
        self.batch_execute(&format!("BEGIN {mode}"))?;
        Ok(Transaction { client: self, is_over: false })
    }

    fn wait<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let Some(runtime) = &self.runtime else { unreachable!("only the end of a client takes its runtime") };
        runtime.block_on(async {
            let mut asked = std::pin::pin!(asked);
            if !self.has_limit {
                return asked.await;
            }
            if let Ok(said) = timeout(LIMIT, &mut asked).await {
                return said;
            }
            tracing::warn!(limit = ?LIMIT, "the database does not answer; what it was asked is cancelled");
            let cancelled = async {
                self.cancel().await;
                asked.as_mut().await
            };
            if let Ok(said) = timeout(LAST_LIMIT, cancelled).await {
                return said;
            }
            // Without the connection the answer is an error at once.
            self.driver.abort();
            asked.await
        })
    }

    async fn cancel(&self) {
        let token = self.client.cancel_token();
        let sent = match self.tls.clone() {
            None => token.cancel_query(NoTls).await,
            Some(tls) => token.cancel_query(tls).await,
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "it could not be cancelled");
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Nothing is waited for: the socket is closed, and the server ends what it has of this connection.
            runtime.shutdown_background();
        }
    }
}

/// Carries what is asked and answered, and takes note of warnings. It goes on while something is asked only.
async fn drive<T>(mut connection: tokio_postgres::Connection<Socket, T>, has_warned: Arc<AtomicBool>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
        match message {
            Ok(AsyncMessage::Notice(notice)) if notice.parsed_severity() == Some(Severity::Warning) => {
                tracing::warn!(code = notice.code().code(), message = notice.message(), "PostgreSQL warns");
                has_warned.store(true, Ordering::Relaxed);
            }
            Ok(_) => {}
            // Whoever asked is told.
            Err(_) => return,
        }
    }
}

/// A transaction of a client.
pub(super) struct Transaction<'a> {
    client: &'a mut Client,
    is_over: bool,
}

impl Transaction<'_> {
    /// Makes all of it durable.
    pub(super) fn commit(mut self) -> Result<(), Error> {
        self.is_over = true;
        self.client.batch_execute("COMMIT")
    }
}

impl std::ops::Deref for Transaction<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client
    }
}

impl std::ops::DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        self.client
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.is_over
            && let Err(error) = self.client.batch_execute("ROLLBACK")
        {
            tracing::debug!(%error, "a transaction came to nothing with its connection");
        }
    }
}
