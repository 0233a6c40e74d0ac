//! A branch server from settings to drained: open every branch, serve, stop.

mod books;
mod operations_port;
mod secured;

use crate::branches::Teller;
use crate::environment::Environment;
use crate::moving::{Leaving, SeenBranches};
use crate::service::{
    Bank, BankEdge, HEADER_LIST_BYTES, InterBranchEdge, Measured, Methods, OnlyServers, OwnWords, Resources, nobody,
};
use crate::settings::{Settings, SettingsError, Store};
use crate::{audit, branches, data_directory, operations, telemetry};
use bank_proto::tls::Identity;
use bank_proto::wire::bank_service_server::BankServiceServer;
use bank_proto::wire::inter_branch_service_server::InterBranchServiceServer;
use bank_proto::{limits, wire};
use books::Books;
use operations_port::OperationsPort;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};
use tonic_health::server::HealthReporter;

/// How often a silent connection is asked whether it is still there, and how long it may take to say so.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Calls that one connection may have under way.
const STREAMS_PER_CONNECTION: u32 = 1024;

/// Bytes that may be under way on one stream and on one connection.
const WINDOW_BYTES: (u32, u32) = (1024 * 1024, 8 * 1024 * 1024);

/// Why a branch server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings cannot work; nothing was bound.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The data directory is not usable.
    #[error(transparent)]
    Data(#[from] data_directory::DataError),
    /// The address cannot be served.
    #[error("{address} cannot be served: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: std::io::Error,
    },
    /// The system has no thread left, or something of that kind.
    #[error("{0}")]
    System(String),
}

/// A branch server that serves.
pub struct Running {
    address: SocketAddr,
    operations: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it tells of itself without TLS; None without --operations-listen.
    #[must_use]
    pub fn operations_address(&self) -> Option<SocketAddr> {
        self.operations
    }

    /// Stops it: health says so first, what is under way is answered, then the branches are closed.
    pub async fn stop(self) {
        // Either end may be gone already; then it has stopped.
        let _ = self.stop.send(());
        let _ = self.served.await;
    }
}

/// Opens every branch of this server and serves them on a bound listener. Damage found while
/// opening closes that branch alone; one that cannot be opened now, because its disk is full or
/// another program holds its journal, is tried again while the others serve.
///
/// # Errors
/// The settings, the data directory or the machine do not allow it.
pub async fn start(settings: Settings, listener: TcpListener) -> Result<Running, StartError> {
    let failed = |address: SocketAddr| move |error| StartError::Listen { address, error };
    let address = listener.local_addr().map_err(failed(settings.listen))?;
    let mut environment = Environment { traces: settings.traces()?, ..Environment::real() };
    let identity = settings.identity()?;
    let operations = match settings.operations_listen {
        Some(address) => Some(TcpListener::bind(address).await.map_err(failed(address))?),
        None => None,
    };
    let Some(identity) = identity else {
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        return serve_all(environment, settings, address, incoming, (operations, None)).await;
    };
    let calling = identity.clone();
    environment.connect = Box::new(move |endpoint| calling.channel(endpoint));
    let incoming = secured::incoming(listener, identity.clone(), settings.peer_hosts()?);
    serve_all(environment, settings, address, incoming, (operations, Some(identity))).await
}

/// The same on any machine, for the connections that come in at an address, without TLS.
///
/// # Errors
/// As [`start`].
pub async fn start_in<I, C, E>(
    environment: Environment,
    settings: Settings,
    address: SocketAddr,
    incoming: I,
) -> Result<Running, StartError>
where
    I: Stream<Item = Result<C, E>> + Send + 'static,
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    settings.identity()?;
    serve_all(environment, settings, address, incoming, (None, None)).await
}

async fn serve_all<I, C, E>(
    environment: Environment,
    settings: Settings,
    address: SocketAddr,
    incoming: I,
    (operations, identity): (Option<TcpListener>, Option<Identity>),
) -> Result<Running, StartError>
where
    I: Stream<Item = Result<C, E>> + Send + 'static,
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    let assignment = settings.assignment()?;
    let peers = channels(&settings, &environment.connect)?;
    // Before the first teller: what it counts begins with it.
    let metrics = telemetry::metrics().map_err(|error| StartError::System(error.to_string()))?;
    let mut books = Books::open(&settings, &assignment, &environment).await?;
    let Environment { clock, entropy, workers, free_bytes, traces, .. } = environment;

    let server = settings.server_ordinal;
    let directory = books.directory.clone();
    let (opened, to_scrub) = mpsc::unbounded_channel();
    for branch in books.opened.drain(..) {
        // The scrub begins below.
        let _ = opened.send(branch);
    }
    let is_shared = matches!(settings.store, Store::Postgres(_));
    let disk = directory.clone();
    let free_bytes: Box<dyn Fn() -> std::io::Result<u64> + Send + Sync> = match settings.store {
        Store::Sqlite(_) => Box::new(move || free_bytes(&disk)),
        // The database's disks are none of this server's.
        Store::Postgres(_) => Box::new(|| Err(std::io::ErrorKind::Unsupported.into())),
    };
    let seen = Arc::new(SeenBranches::read(&directory, server));
    let resources = Resources {
        is_shared,
        seen: seen.clone(),
        entropy,
        clock: clock.clone(),
        workers,
        traces: traces.clone(),
        free_bytes,
    };
    let leaving = Leaving::new(directory, assignment.clone(), server, workers, seen);
    let hosted = std::mem::take(&mut books.hosted);
    let bank = Arc::new(Bank::new(assignment, server, hosted, peers, resources));
    let scrub = branches::scrub(bank.clone(), workers, to_scrub);
    let (couriers_go_on, until) = watch::channel(());
    let audit = match settings.audit_interval_ms {
        0 => None,
        interval => Some(tokio::spawn(audit::run(bank.clone(), Duration::from_millis(u64::from(interval))))),
    };
    let (calls_go_on, calls) = watch::channel(());
    let hosting = books.into_hosting().begin(&bank, opened, until, calls);

    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<BankServiceServer<BankEdge>>().await;
    health.set_service_status("liveness", tonic_health::ServingStatus::Serving).await;
    let pages = operations::pages(metrics, bank.clone(), identity).fallback(nobody);
    let operations = operations.map(|listener| OperationsPort::serve(listener, pages.clone(), health_service.clone()));
    let operations = operations.transpose().map_err(|error| StartError::System(error.to_string()))?;
    let operations_address = operations.as_ref().map(|port| port.address);
    let draining = bank.clone();
    let inter_branch = InterBranchServiceServer::new(InterBranchEdge::new(bank.clone(), leaving))
        .max_decoding_message_size(limits::GRPC_MESSAGE_BYTES);
    let edge = BankServiceServer::new(BankEdge::new(bank))
        .max_decoding_message_size(limits::GRPC_MESSAGE_BYTES)
        .max_encoding_message_size(limits::GRPC_MESSAGE_BYTES);
    let inter_branch = OnlyServers::new(inter_branch, settings.tls.is_on());
    let methods = Arc::new(Methods::of_the_contract());
    let mut routes = tonic::service::Routes::from(pages);
    routes = routes
        .add_service(Measured::new(OwnWords::new(edge, clock.clone()), methods.clone(), clock.clone()))
        .add_service(Measured::new(OwnWords::new(inter_branch, clock.clone()), methods, clock))
        .add_service(health_service);
    for reflection in reflection()? {
        routes = reflection(routes);
    }

    let drain_timeout = Duration::from_millis(u64::from(settings.drain_timeout_ms));
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(async move {
        serve(incoming, routes, draining.clone(), health, stopped, drain_timeout).await;
        // Probes are answered as long as calls are.
        if let Some(operations) = operations {
            operations.stop().await;
        }
        // However serving ended, nothing goes on behind it.
        draining.drain();
        drop(calls_go_on);
        let _ = scrub.await;
        if let Some(audit) = audit {
            let _ = audit.await;
        }
        let serving = hosting.await.unwrap_or_default();
        let (tellers, couriers): (Vec<Teller>, Vec<JoinHandle<()>>) = serving.into_iter().unzip();
        // What is under way stands in the journals. Whatever reads these is closed first, because SQLite
        // tidies a file up when the connection that writes it is the last.
        drop((couriers_go_on, draining));
        for courier in couriers {
            let _ = courier.await;
        }
        for teller in tellers {
            teller.close().await;
        }
        traces.end().await;
    });
    Ok(Running { address, operations: operations_address, stop, served })
}

fn channels(
    settings: &Settings,
    connect: &dyn Fn(&Endpoint) -> Channel,
) -> Result<Vec<Option<Channel>>, SettingsError> {
    let own = settings.server_ordinal as usize;
    let channel = |(ordinal, url): (usize, &String)| {
        if ordinal == own {
            return Ok(None);
        }
        let endpoint = Endpoint::from_shared(url.clone()).map_err(|_| SettingsError::Peer(url.clone()))?;
        Ok(Some(connect(
            &endpoint
                .connect_timeout(Duration::from_secs(2))
                .http2_keep_alive_interval(KEEPALIVE.0)
                .keep_alive_timeout(KEEPALIVE.1)
                .keep_alive_while_idle(true)
                .tcp_nodelay(true)
                .initial_stream_window_size(WINDOW_BYTES.0)
                .initial_connection_window_size(WINDOW_BYTES.1),
        )))
    };
    settings.peers.iter().enumerate().map(channel).collect()
}

type AddReflection = Box<dyn FnOnce(tonic::service::Routes) -> tonic::service::Routes>;

/// Reflection in both versions: older clients know only v1alpha.
fn reflection() -> Result<[AddReflection; 2], StartError> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wire::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let failed = |error: tonic_reflection::server::Error| StartError::System(error.to_string());
    let v1 = builder().build_v1().map_err(failed)?;
    let v1alpha = builder().build_v1alpha().map_err(failed)?;
    Ok([
        Box::new(move |routes: tonic::service::Routes| routes.add_service(v1)),
        Box::new(move |routes: tonic::service::Routes| routes.add_service(v1alpha)),
    ])
}

/// Serves until told to stop, then lets what is under way finish. Callers who never end their stream or
/// never read hold it up for `drain_timeout` at most.
async fn serve<I, C, E>(
    incoming: I,
    routes: tonic::service::Routes,
    bank: Arc<Bank>,
    health: HealthReporter,
    stopped: oneshot::Receiver<()>,
    drain_timeout: Duration,
) where
    I: Stream<Item = Result<C, E>> + Send + 'static,
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    let (draining, drain) = oneshot::channel();
    let told = async move {
        // The sender may be gone without a word: that means stop as well.
        let _ = stopped.await;
        health.set_not_serving::<BankServiceServer<BankEdge>>().await;
        health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        bank.drain();
        let _ = draining.send(());
    };
    let server = tonic::transport::Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .max_concurrent_streams(Some(STREAMS_PER_CONNECTION))
        .initial_stream_window_size(Some(WINDOW_BYTES.0))
        .initial_connection_window_size(Some(WINDOW_BYTES.1))
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, told);
    let too_late = async {
        let _ = drain.await;
        tokio::time::sleep(drain_timeout).await;
    };
    tokio::select! {
        biased;
        outcome = server => {
            if let Err(error) = outcome {
                tracing::error!(%error, "the server ended");
            }
        }
        () = too_late => tracing::warn!(?drain_timeout, "some calls did not end in time"),
    }
}
