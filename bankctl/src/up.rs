//! `bankctl up`: a whole bank on this machine, in the foreground, until Ctrl-C.

mod greeting;

use crate::bank::addresses::{AddressError, Addresses};
use crate::bank::directory::{Directory, DirectoryError};
use crate::bank::screen::Screen;
use crate::bank::{Bank, StartError};
use crate::exit::{self, Exit};
use crate::interrupts::Interrupts;
use crate::output;
use crate::shared_store::StoreArguments;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// How long to wait for the services of a bank that was killed to be gone.
const LEFTOVERS_GRACE: Duration = Duration::from_secs(10);

/// Where the bank keeps its data and listens.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The directory that keeps the bank's data; made when it is missing.
    #[arg(long, env = "FLORIN_DATA", default_value = "./data", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// A database instead of files: `--data` then has the logs, and what can be made again.
    #[command(flatten)]
    pub(crate) store: StoreArguments,
    /// Where the client API listens; loopback only, port 0 for any free one.
    #[arg(long, env = "FLORIN_HTTP", default_value = "127.0.0.1:5002", value_name = "ADDRESS")]
    pub(crate) http: SocketAddr,
    /// Where the first branch server listens; the others take the ports after it. Loopback only.
    #[arg(long, env = "FLORIN_GRPC", default_value = "127.0.0.1:50051", value_name = "ADDRESS")]
    pub(crate) grpc: SocketAddr,
    /// How many branch servers to run, 1 to 64.
    #[arg(long, env = "FLORIN_SERVERS", default_value_t = 3, value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) servers: u32,
    /// How many branches a new bank is founded with, 1 to 9999; later it keeps them [default: 10].
    #[arg(long, env = "FLORIN_BRANCHES", value_name = "NUMBER",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(bank_proto::limits::BRANCHES)))]
    pub(crate) branches: Option<u32>,
}

#[derive(Debug, thiserror::Error)]
enum UpError {
    #[error("no runtime: {0}")]
    Runtime(std::io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Addresses(#[from] AddressError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("a branch server of an earlier bank still uses {}; stop it first", .0.display())]
    BranchesHeld(PathBuf),
    #[error(transparent)]
    Start(#[from] StartError),
}

impl UpError {
    fn exit(&self) -> Exit {
        match self {
            UpError::Runtime(_) | UpError::Signals(_) => Exit::Internal,
            UpError::Addresses(error) => error.exit(),
            UpError::Directory(error) => error.exit(),
            UpError::BranchesHeld(_) => Exit::Unavailable,
            UpError::Start(error) => error.exit(),
        }
    }
}

/// Runs the bank until it is asked to end.
pub(crate) fn run(arguments: &Arguments, json: bool) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(up(arguments, json)),
        Err(error) => Err(UpError::Runtime(error)),
    };
    match ended {
        Ok(()) | Err(UpError::Start(StartError::Interrupted)) => ExitCode::SUCCESS,
        Err(error) => exit::failed(error.exit(), &error),
    }
}

async fn up(arguments: &Arguments, json: bool) -> Result<(), UpError> {
    let mut interrupts = Interrupts::listen().map_err(UpError::Signals)?;
    let screen = Screen::new();
    let addresses = Addresses::plan(arguments.http, arguments.grpc, arguments.servers)?;
    let (data, branches, store) = (arguments.data.clone(), arguments.branches, arguments.store.clone());
    let taking = move || Directory::take_for(&data, branches, store.shared()?);
    let directory = tokio::task::spawn_blocking(taking).await.map_err(|error| UpError::Runtime(error.into()))??;
    let free = wait_until_free(&addresses, &directory, &screen).await;
    if let Err(error) = free {
        screen.rest();
        directory.release();
        return Err(error);
    }

    let bank = Bank::start(directory, addresses, &screen, &mut interrupts).await;
    screen.rest();
    let bank = bank?;
    output::result(&greeting::greeting(bank.addresses(), bank.directory(), json));

    interrupts.next().await;
    screen.line("stopping: the client API first, then the branch servers; once more to hurry");
    bank.stop(&mut interrupts).await;
    screen.line("stopped");
    Ok(())
}

/// Whether the ports and branches are free. After a bank that was killed, its services may need a
/// moment to notice; only then is it worth waiting.
async fn wait_until_free(addresses: &Addresses, directory: &Directory, screen: &Screen) -> Result<(), UpError> {
    let deadline = Instant::now() + LEFTOVERS_GRACE;
    loop {
        let free = addresses.check_free().map_err(UpError::from).and_then(|()| {
            let free = directory.branches_are_free();
            if free { Ok(()) } else { Err(UpError::BranchesHeld(directory.path().to_owned())) }
        });
        match free {
            Err(_) if directory.left_running() && Instant::now() < deadline => {
                screen.working("the bank before this one was killed; waiting for its services to end");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            free => return free,
        }
    }
}
