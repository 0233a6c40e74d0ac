//! The network's yardstick: the same two hops as a deposit takes, axum then tonic, with nothing
//! behind them. Two processes, as the bank's own two services are.

mod echo;
mod front;

use super::BenchError;
use crate::bank::addresses::Addresses;
use crate::bank::screen::Screen;
use crate::bank::service::{Launch, Service};
use crate::exit::{self, Exit};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Which half, as [`TwoHop::start`] starts it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    /// The echo to call; this process is the echo when it is left out.
    #[arg(long)]
    echo: Option<String>,
    /// Ends when standard input does.
    #[arg(long)]
    exit_with_parent: bool,
    /// Taken because every service gets it; nothing is logged.
    #[arg(long)]
    log_format: Option<String>,
}

/// Runs one half until the parent ends.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.exit_with_parent {
        std::thread::spawn(|| {
            // Ends at the end of the input or at an error; both mean that nobody holds the other end.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            std::process::exit(0);
        });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let served = runtime.map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            match &arguments.echo {
                Some(echo) => front::serve(arguments.listen, echo).await,
                None => echo::serve(arguments.listen).await,
            }
        })
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failed(Exit::Internal, &error),
    }
}

/// Both halves as child processes.
pub(super) struct TwoHop {
    /// Host and port of the front.
    pub(super) http: String,
    services: Vec<Service>,
}

impl TwoHop {
    pub(super) async fn start(logs: &Path) -> Result<TwoHop, BenchError> {
        let addresses = Addresses::free(1)?;
        let screen = Screen::silent();
        let launch = |name: &str, address: SocketAddr, more: &[(&str, String)]| {
            let settings = [&[("--listen", address.to_string())], more].concat();
            Launch::new("yardstick", name.to_owned(), address, logs, &settings)
        };
        let echo = Service::start(launch("echo", addresses.grpc[0], &[]), &screen);
        let to_echo = [("--echo", addresses.grpc_urls())];
        let front = Service::start(launch("front", addresses.http, &to_echo), &screen);
        let client = crate::http::plain(Duration::from_secs(2))?;
        front.ready(&client).await?;
        Ok(TwoHop { http: addresses.http.to_string(), services: vec![front, echo] })
    }

    pub(super) async fn stop(self) {
        for service in self.services {
            service.stop(Duration::ZERO).await;
        }
    }
}
