//! `bankctl bench`: the load generator, and the yardsticks that the bank is measured with.
//!
//! - [`arguments`]: what can be asked for
//! - [`target`]: the bank under load, and how it is reached
//! - [`orders`]: who pays in or pays whom, and under which ids
//! - [`budget`], [`tally`]: how long a load runs, and what it counted
//! - [`http_load`], [`http_wire`]: deposits and transfers over HTTP, closed and open loop
//! - [`grpc_load`], [`grpc_wire`]: deposits over gRPC, one by one and in batches
//! - [`yardstick`], [`appenders`]: the bare two-hop echo, and bare appends with fdatasync
//! - [`pgbench`]: PostgreSQL by itself, beside a bank in PostgreSQL
//! - [`suite`], [`floors`]: the interleaved run, and what it must reach
//! - [`report`]: the tables and the JSON

mod appenders;
mod arguments;
mod budget;
mod floors;
mod grpc_load;
mod grpc_wire;
mod http_load;
mod http_wire;
mod orders;
mod pgbench;
mod report;
mod suite;
mod tally;
mod target;
pub(crate) mod yardstick;

pub(crate) use arguments::Arguments;

use crate::bank::StartError;
use crate::bank::addresses::AddressError;
use crate::bank::directory::DirectoryError;
use crate::exit::{self, Exit};
use crate::interrupts::Interrupts;
use crate::output;
use crate::shared_store::SharedStoreError;
use std::io;
use std::process::ExitCode;

#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("no runtime: {0}")]
    Runtime(io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error("cannot write into {path}: {error}; choose another directory with --dir")]
    Directory { path: std::path::PathBuf, error: io::Error },
    #[error(transparent)]
    Addresses(#[from] AddressError),
    #[error(transparent)]
    Data(#[from] DirectoryError),
    #[error(transparent)]
    Store(#[from] SharedStoreError),
    #[error("the bank does not start: {0}")]
    Start(#[from] StartError),
    #[error("no HTTP client, or no answer from the bank: {0}")]
    Http(#[from] reqwest::Error),
    #[error("no gRPC connection: {0}")]
    Grpc(#[from] tonic::transport::Error),
    #[error("{0} is not an address like http://127.0.0.1:5002")]
    Url(String),
    #[error("{0} needs a bank of its own; leave --api and --grpc out")]
    NeedsOwnBank(&'static str),
    #[error("every request failed; the first said: {0}")]
    AllFailed(String),
    #[error("pgbench, which comes with PostgreSQL, cannot be measured: {0}")]
    Pgbench(String),
    #[error("a takeover takes a bank in PostgreSQL of at least two servers: --store postgres://..., --servers 2")]
    NeedsServers,
    #[error("server {0} did not come back, or has no branches")]
    NotServed(u32),
    #[error("stopped before the end")]
    Interrupted,
}

impl BenchError {
    fn exit(&self) -> Exit {
        match self {
            BenchError::Runtime(_) | BenchError::Signals(_) | BenchError::AllFailed(_) => Exit::Internal,
            BenchError::Addresses(error) => error.exit(),
            BenchError::Data(error) => error.exit(),
            BenchError::Store(error) => error.exit(),
            BenchError::Start(error) => error.exit(),
            BenchError::Directory { .. }
            | BenchError::Http(_)
            | BenchError::Grpc(_)
            | BenchError::Pgbench(_)
            | BenchError::NotServed(_)
            | BenchError::Interrupted => Exit::Unavailable,
            BenchError::Url(_) | BenchError::NeedsOwnBank(_) | BenchError::NeedsServers => Exit::Usage,
        }
    }
}

/// Measures, prints, and verifies the bank afterwards.
pub(crate) fn run(arguments: &Arguments, json: bool) -> ExitCode {
    // One thread: a load generator that spreads over the cores takes them from the bank.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let measured = match runtime {
        Ok(runtime) => runtime.block_on(measure(arguments)),
        Err(error) => Err(BenchError::Runtime(error)),
    };
    match measured {
        Ok(report) => {
            if json {
                output::json(&report.json());
            } else {
                output::result(&report.text());
            }
            if report.passes(arguments.strict) { ExitCode::SUCCESS } else { Exit::Damage.into() }
        }
        Err(error) => exit::failed(error.exit(), &error),
    }
}

async fn measure(arguments: &Arguments) -> Result<report::Report, BenchError> {
    if cfg!(debug_assertions) {
        output::note("this is a debug build; figures that mean something come from cargo run --release -- bench");
    }
    let mut interrupts = Interrupts::listen().map_err(BenchError::Signals)?;
    let mut also = Interrupts::listen().map_err(BenchError::Signals)?;
    tokio::select! {
        report = suite::run(arguments, &mut interrupts) => report,
        // Dropping the run ends its children; the temporary directory goes with it.
        () = also.next() => Err(BenchError::Interrupted),
    }
}
