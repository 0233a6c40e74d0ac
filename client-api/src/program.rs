//! The program as a whole: settings, logging, runtime, listener, bank, routes, and the way out.

use crate::app::{App, InFlight};
use crate::bank::Bank;
use crate::environment::Environment;
use crate::metrics::Metrics;
use crate::server::{Port, Refusals};
use crate::settings::{Settings, SettingsError};
use crate::signals::StopSignals;
use crate::{logging, routes, server};
use axum::Router;
use bank_proto::readiness;
use bank_proto::tls::{Door, Identity};
use bank_proto::traces::Traces;
use bytes::Bytes;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// The exit code of [`healthy`] when it is not.
const EXIT_NOT_READY: u8 = 1;

/// The exit code for wrong settings: nothing was started (EX_USAGE of sysexits.h).
pub const EXIT_WRONG_SETTINGS: u8 = 64;

/// The exit code when the port cannot be had (EX_UNAVAILABLE).
pub const EXIT_UNAVAILABLE: u8 = 69;

/// The exit code for a fault of the program's own (EX_SOFTWARE).
const EXIT_INTERNAL: u8 = 70;

/// How often recorded durations are folded into their histograms.
const METRICS_INTERVAL: Duration = Duration::from_secs(5);

/// Connections at the operations door: probes and those who collect metrics.
const OPERATIONS_CONNECTIONS: usize = 64;

/// Refused bodies that are read to their end at once.
const DISCARDS: usize = 64;

/// Why the client API did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Correct the settings; nothing was bound.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Give another address, or stop what uses this one.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system says.
        cause: std::io::Error,
    },
    /// The operating system refused something that every program gets; or a fault of the program's own.
    #[error("cannot start: {0}")]
    Internal(String),
}

impl StartError {
    fn exit_code(&self) -> u8 {
        match self {
            StartError::Settings(_) => EXIT_WRONG_SETTINGS,
            StartError::Listen { .. } => EXIT_UNAVAILABLE,
            StartError::Internal(_) => EXIT_INTERNAL,
        }
    }
}

/// Runs the client API until it is told to stop: 0 after a clean stop, 64 for wrong settings, 69 when the
/// port is taken, 70 for a fault of its own; the reason goes to standard error in one line.
#[must_use]
pub fn run(settings: Settings) -> ExitCode {
    match run_until_stopped(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nothing is left to do when nobody takes the reason.
            let _ = writeln!(std::io::stderr(), "client-api: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Asks the client API that runs with these settings whether it is ready: 0 when it is, 1 when not, 64 when
/// these settings leave no port where it could be asked, with the reason on standard error in one line.
#[must_use]
pub fn healthy(settings: &Settings) -> ExitCode {
    let (reason, code) = match settings.plain_address().map(readiness::ask) {
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(reason)) => (reason.to_string(), EXIT_NOT_READY),
        None => (
            "healthy asks without TLS; give the client API, and it, --operations-listen".to_owned(),
            EXIT_WRONG_SETTINGS,
        ),
    };
    // Nothing is left to do when nobody takes the reason.
    let _ = writeln!(std::io::stderr(), "client-api: {reason}");
    ExitCode::from(code)
}

fn run_until_stopped(settings: Settings) -> Result<(), StartError> {
    settings.check()?;
    logging::start(&settings)?;
    allow_connections(&settings);
    let internal = |failure: std::io::Error| StartError::Internal(failure.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(internal)?;
    runtime.block_on(async {
        let address = settings.http;
        let listener = TcpListener::bind(address).await.map_err(|cause| StartError::Listen { address, cause })?;
        let mut signals = StopSignals::listen(settings.exit_with_parent).map_err(internal)?;
        let running = start(settings, listener).await?;
        tracing::info!(address = %running.address(), "serving HTTP");
        let reason = signals.asked().await;
        tracing::info!(reason, "stopping");
        running.stop().await;
        tracing::info!("stopped");
        Ok(())
    })
}

/// Every connection is an open file, and shells allow few of them unless more are asked for.
fn allow_connections(settings: &Settings) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    /// Beside the callers' connections: those to branch servers, the listener, the log.
    const OTHER_FILES: u64 = 1024;
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = u64::from(settings.max_connections) + OTHER_FILES;
    let Some(allowed) = limit.current.filter(|allowed| *allowed < wanted) else { return };
    limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
    if setrlimit(Resource::Nofile, limit).is_err() || limit.current < Some(wanted) {
        tracing::warn!(allowed, wanted, "the system allows fewer open files than --max-connections needs");
    }
}

/// A client API that serves. Dropping it stops it as well, without waiting for requests in work.
pub struct Running {
    address: SocketAddr,
    operations: Option<SocketAddr>,
    stopping: watch::Sender<bool>,
    serving: JoinHandle<()>,
    traces: Traces,
}

/// Starts a client API on a listener that is bound already, inside the caller's runtime.
///
/// # Errors
/// The settings do not go together.
pub async fn start(settings: Settings, listener: TcpListener) -> Result<Running, StartError> {
    settings.check()?;
    let internal = |failure: std::io::Error| StartError::Internal(failure.to_string());
    let address = listener.local_addr().map_err(internal)?;
    let (identity, door) = (settings.tls.identity()?, settings.tls.door()?);
    let traces = settings.traces()?;
    let mut environment = Environment { traces: traces.clone(), ..Environment::real() };
    if let Some(identity) = identity.clone() {
        environment.connect = Box::new(move |endpoint| identity.channel(endpoint));
    }
    let app = app(environment, &settings, (identity.clone(), door.clone()))?;
    let (stopping, stop_asked) = watch::channel(false);
    let operations = operations(&settings, &app).await?;
    let operations_address =
        operations.as_ref().map(|port| port.listener.local_addr()).transpose().map_err(internal)?;
    let router = routes::router(Arc::clone(&app));
    let router = if door.is_some() { routes::https_from_now_on(router) } else { router };
    let port = Port { listener, router, door: door.clone(), connections: app.connections };
    tokio::spawn(fold_metrics(Arc::clone(&app), stop_asked.clone()));
    tokio::spawn(renew(identity, door, stop_asked.clone()));
    let drain_timeout = settings.drain_timeout();
    let serving = tokio::spawn(async move {
        let main = server::serve(port, Arc::clone(&app), stop_asked.clone(), drain_timeout);
        match operations {
            None => main.await,
            Some(port) => {
                tokio::join!(main, server::serve(port, app, stop_asked, drain_timeout));
            }
        }
    });
    Ok(Running { address, operations: operations_address, stopping, serving, traces })
}

/// The plain door for those who run the bank, if there is to be one.
async fn operations(settings: &Settings, app: &Arc<App>) -> Result<Option<Port>, StartError> {
    let Some(address) = settings.operations_listen else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|cause| StartError::Listen { address, cause })?;
    let router = routes::operations_router(Arc::clone(app));
    Ok(Some(Port { listener, router, door: None, connections: OPERATIONS_CONNECTIONS }))
}

/// Reads certificates again when they change.
async fn renew(identity: Option<Identity>, door: Option<Door>, mut stopping: watch::Receiver<bool>) {
    let identity = async {
        if let Some(identity) = identity {
            identity.keep_renewed().await;
        }
    };
    let door = async {
        if let Some(door) = door {
            door.keep_renewed().await;
        }
    };
    tokio::select! {
        () = server::stop_asked(&mut stopping) => {}
        ((), ()) = async { tokio::join!(identity, door) } => {}
    }
}

/// Every route of the client API without the connections that lead to it, inside the caller's runtime: for a
/// bank that is simulated. Its conversations with the branch servers end when it is dropped.
///
/// # Errors
/// The settings do not go together.
pub fn routes_in(environment: Environment, settings: &Settings) -> Result<Router, StartError> {
    settings.check()?;
    Ok(routes::router(app(environment, settings, (None, None))?))
}

fn app(
    environment: Environment,
    settings: &Settings,
    (identity, door): (Option<Identity>, Option<Door>),
) -> Result<Arc<App>, StartError> {
    let internal = |failure: &dyn std::fmt::Display| StartError::Internal(failure.to_string());
    let (table, description) = routes::description();
    let openapi = description.to_json().map_err(|failure| internal(&failure))?;
    Ok(Arc::new(App {
        bank: Bank::connect(settings, settings.assignment()?, &environment),
        metrics: Metrics::new(&table, settings.branch_servers.len()).map_err(|failure| internal(&failure))?,
        auth: settings.auth,
        entropy: environment.entropy,
        traces: environment.traces,
        identity,
        door,
        openapi: Bytes::from(openapi),
        in_flight: InFlight::new(settings.max_in_flight),
        refusals: Refusals::new(),
        connections: settings.max_connections as usize,
        discards: Arc::new(Semaphore::new(DISCARDS)),
    }))
}

async fn fold_metrics(app: Arc<App>, mut stopping: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(METRICS_INTERVAL);
    loop {
        tokio::select! {
            () = server::stop_asked(&mut stopping) => return,
            _ = ticks.tick() => app.metrics.fold(),
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it tells of itself in plain HTTP; None without --operations-listen.
    #[must_use]
    pub fn operations_address(&self) -> Option<SocketAddr> {
        self.operations
    }

    /// Stops: no new connections (and so not ready), then requests in work finish within the drain timeout.
    pub async fn stop(self) {
        // Nobody listening means that serving has ended already.
        let _ = self.stopping.send(true);
        if let Err(failure) = self.serving.await {
            tracing::error!(error = %failure, "serving did not end well");
        }
        self.traces.end().await;
    }
}
