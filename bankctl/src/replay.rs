//! `bankctl replay FILE`: runs a file of events and prints what each customer received.
//!
//! - [`event_file`]: reads and checks the whole file before anything is run
//! - [`client`]: the bank over HTTP, with retries under the same id
//! - [`script`]: runs the events in the order of their ids
//! - [`report`]: the JSON array at the end

mod client;
mod event_file;
mod report;
mod script;

use crate::bank::addresses::{AddressError, Addresses};
use crate::bank::directory::{Directory, DirectoryError};
use crate::bank::screen::Screen;
use crate::bank::{Bank, StartError};
use crate::exit::{self, Exit};
use crate::http::Trust;
use crate::interrupts::Interrupts;
use client::{Client, ClientError};
use event_file::{EventFile, FileError};
use script::ScriptError;
use std::path::PathBuf;
use std::process::ExitCode;

/// What to run, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The event file: a JSON array of customers with their events and of branches with their balances.
    file: PathBuf,
    /// Let all customers hold one joint account, kept at the lowest branch and opened with the
    /// balance that all branches must have in common; each banks by its number from their own branch.
    #[arg(long)]
    joint: bool,
    /// Run in this bank instead of a fresh temporary one. Every id comes from the file's hash and
    /// its event ids, so that a second run changes nothing.
    #[arg(long, env = "FLORIN_API", value_name = "URL")]
    api: Option<String>,
    #[command(flatten)]
    trust: Trust,
}

#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error("no runtime: {0}")]
    Runtime(std::io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("no temporary directory: {0}")]
    Temporary(std::io::Error),
    #[error(transparent)]
    Addresses(#[from] AddressError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("the temporary bank does not start: {0}")]
    Start(#[from] StartError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("stopped before the end of the file")]
    Interrupted,
}

impl ReplayError {
    fn exit(&self) -> Exit {
        match self {
            ReplayError::Runtime(_) | ReplayError::Signals(_) | ReplayError::Temporary(_) => Exit::Internal,
            ReplayError::File(error) => error.exit(),
            ReplayError::Addresses(error) => error.exit(),
            ReplayError::Directory(error) => error.exit(),
            ReplayError::Start(error) => error.exit(),
            ReplayError::Client(error) => error.exit(),
            ReplayError::Script(error) => error.exit(),
            ReplayError::Interrupted => Exit::Unavailable,
        }
    }
}

/// Runs the file and prints the array.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let replayed = match runtime {
        Ok(runtime) => runtime.block_on(replay(arguments)),
        Err(error) => Err(ReplayError::Runtime(error)),
    };
    match replayed {
        Ok(report) => {
            crate::output::result(&report);
            ExitCode::SUCCESS
        }
        Err(error) => exit::failed(error.exit(), &error),
    }
}

async fn replay(arguments: &Arguments) -> Result<String, ReplayError> {
    let file = EventFile::read(&arguments.file, arguments.joint)?;
    let mut interrupts = Interrupts::listen().map_err(ReplayError::Signals)?;
    match &arguments.api {
        Some(url) => run_in((url, &arguments.trust), &file, &mut interrupts).await,
        None => {
            let root = tempfile::tempdir().map_err(ReplayError::Temporary)?;
            let directory = Directory::take(root.path(), Some(file.highest_branch()))?;
            let bank = Bank::start(directory, Addresses::free(1)?, &Screen::silent(), &mut interrupts).await?;
            let report = run_in((&bank.addresses().http_url(), &Trust::default()), &file, &mut interrupts).await;
            bank.stop(&mut interrupts).await;
            report
        }
    }
}

async fn run_in(
    (url, trust): (&str, &Trust),
    file: &EventFile,
    interrupts: &mut Interrupts,
) -> Result<String, ReplayError> {
    let client = Client::new((url, trust), &file.fingerprint)?;
    tokio::select! {
        received = script::run(file, &client) => Ok(report::render(file, &received?)),
        () = interrupts.next() => Err(ReplayError::Interrupted),
    }
}
