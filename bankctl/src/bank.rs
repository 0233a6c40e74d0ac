//! A whole bank as child processes: branch servers and the client API, all of them this executable again.
//!
//! - [`addresses`]: which ports, and whether they are free
//! - [`directory`]: the data directory: one bank at a time, of a format that is known
//! - [`service`]: one child: started, watched, started again, stopped
//! - [`backoff`]: how long a child that ended waits before it is started again
//! - [`log`]: what a child prints: into its log file, warnings to the terminal too
//! - [`screen`]: what a person sees while the bank starts

pub(crate) mod addresses;
mod backoff;
pub(crate) mod directory;
mod log;
pub(crate) mod screen;
pub(crate) mod service;

use crate::exit::Exit;
use crate::interrupts::Interrupts;
use addresses::Addresses;
use directory::Directory;
use screen::Screen;
use service::{Ending, Launch, Service};
use std::time::Duration;

/// How long the client API may take to finish what it is doing, and each branch server after it.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// A bank whose every service answered that it is ready.
pub(crate) struct Bank {
    api: Service,
    servers: Vec<Service>,
    addresses: Addresses,
    directory: Directory,
}

/// Why a bank does not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Somebody asked for an end while the bank was starting.
    #[error("stopped while starting")]
    Interrupted,
    /// A service ended before it was ready.
    #[error("{name} ended before it was ready: {ending}")]
    Ended {
        /// The service.
        name: String,
        /// How it ended and its last words.
        ending: Ending,
    },
    /// There is no client to ask the services with.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The log directory cannot be made.
    #[error("cannot write logs into {path}: {error}")]
    Logs {
        /// The log directory.
        path: std::path::PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

impl StartError {
    /// The exit code: a service's own, when it gave one.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            StartError::Interrupted | StartError::Logs { .. } => Exit::Unavailable,
            StartError::Ended { ending, .. } => ending.code.and_then(Exit::from_code).unwrap_or(Exit::Internal),
            StartError::Client(_) => Exit::Internal,
        }
    }
}

impl Bank {
    /// Starts every service and waits until each says that it is ready. The branch servers come
    /// first, since the client API is ready only when it reaches them.
    ///
    /// # Errors
    /// Why not; whatever had been started is stopped again.
    pub(crate) async fn start(
        directory: Directory,
        addresses: Addresses,
        screen: &Screen,
        interrupts: &mut Interrupts,
    ) -> Result<Bank, StartError> {
        let logs = directory.logs();
        std::fs::create_dir_all(&logs).map_err(|error| StartError::Logs { path: logs, error })?;
        let client = crate::http::plain(Duration::from_secs(2))?;

        let servers = (0..addresses.grpc.len())
            .map(|ordinal| Service::start(server_launch(&directory, &addresses, ordinal), screen))
            .collect::<Vec<_>>();
        let api = async {
            for server in &servers {
                screen.working(&format!("{} is opening its branches", server.name()));
                server.ready(&client).await?;
                screen.done(&format!("{} on {}", server.name(), server.address()));
            }
            let api = Service::start(api_launch(&directory, &addresses), screen);
            screen.working("the client API is starting");
            match api.ready(&client).await {
                Ok(()) => Ok(api),
                Err(error) => {
                    api.stop(Duration::ZERO).await;
                    Err(error)
                }
            }
        };
        let started = tokio::select! {
            started = api => started,
            () = interrupts.next() => Err(StartError::Interrupted),
        };
        match started {
            Ok(api) => {
                screen.done(&format!("{} on {}", api.name(), api.address()));
                api.keep();
                servers.iter().for_each(Service::keep);
                Ok(Bank { api, servers, addresses, directory })
            }
            Err(error) => {
                stop_all(servers, STOP_GRACE).await;
                directory.release();
                Err(error)
            }
        }
    }

    /// Where the services listen.
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The data directory.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The process that hosts the branch; None while it is being started again.
    pub(crate) fn server_process(&self, ordinal: usize) -> Option<u32> {
        self.servers.get(ordinal).and_then(Service::process)
    }

    /// The process of the client API; None while it is being started again.
    pub(crate) fn api_process(&self) -> Option<u32> {
        self.api.process()
    }

    /// Stops the client API first, so that no request meets a missing branch server, then the
    /// branch servers. Another signal meanwhile hurries: what is acknowledged is durable anyway.
    pub(crate) async fn stop(self, interrupts: &mut Interrupts) {
        let mut hurried = false;
        for services in [vec![self.api], self.servers] {
            let orders = services.iter().map(Service::orders).collect::<Vec<_>>();
            let grace = if hurried { Duration::ZERO } else { STOP_GRACE };
            let mut stopped = std::pin::pin!(stop_all(services, grace));
            tokio::select! {
                () = &mut stopped => continue,
                () = interrupts.next() => hurried = true,
            }
            orders.iter().for_each(service::kill);
            stopped.await;
        }
        self.directory.release();
    }

    /// Ends every process at once, as a power cut would.
    pub(crate) async fn kill(self) {
        let mut services = self.servers;
        services.push(self.api);
        services.iter().for_each(|service| service::kill(&service.orders()));
        stop_all(services, Duration::ZERO).await;
        self.directory.release();
    }
}

/// Asks all of them to stop at the same time and waits for the last.
async fn stop_all(services: Vec<Service>, grace: Duration) {
    let stopping = services.into_iter().map(|service| tokio::spawn(service.stop(grace))).collect::<Vec<_>>();
    for service in stopping {
        // Only a panic of the watching task could fail here, and then its child is killed on drop.
        let _ = service.await;
    }
}

fn server_launch(directory: &Directory, addresses: &Addresses, ordinal: usize) -> Launch {
    let address = addresses.grpc[ordinal];
    let mut arguments = vec![
        ("--listen", address.to_string()),
        ("--branches", directory.branches().to_string()),
        ("--server-ordinal", ordinal.to_string()),
        ("--peers", addresses.grpc_urls()),
    ];
    let variables = match directory.store() {
        Some(store) => {
            arguments.push(("--cache", directory.path().join("cache").display().to_string()));
            store.variables()
        }
        None => {
            arguments.push(("--store", format!("sqlite:{}", directory.path().display())));
            Vec::new()
        }
    };
    Launch::new("branch-server", format!("branch-server-{ordinal}"), address, &directory.logs(), &arguments)
        .with_network_threads(network_threads())
        .with_variables(variables)
}

fn api_launch(directory: &Directory, addresses: &Addresses) -> Launch {
    let arguments = [
        ("--http", addresses.http.to_string()),
        ("--branch-servers", addresses.grpc_urls()),
        ("--branches", directory.branches().to_string()),
        ("--auth", "open".to_owned()),
    ];
    Launch::new("client-api", "client-api".to_owned(), addresses.http, &directory.logs(), &arguments)
        .with_network_threads(network_threads())
}

/// All services of this bank and their tellers share one machine: half of its cores for the network
/// of each are enough, and a thread that has nothing to do is still woken to look for work.
fn network_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}
