//! `bankctl`: a whole bank on this machine, and the tools to try it, measure it and prove it.
//!
//! - [`cli`]: the commands and their arguments
//! - [`up`]: a whole bank in the foreground; what runs when no command is given
//! - [`replay`]: runs a file of events and prints what each customer received
//! - [`status`]: the whole running bank at a glance
//! - [`verify`]: re-derives everything from the journals and says whether it agrees
//! - [`backup`], [`restore`]: copies of a bank's journals as of one moment, and a bank out of them
//! - [`moves`]: which branch server keeps which branch
//! - [`move_store`]: the books of a bank in files, into a database
//! - [`mod@bench`]: the load generator with its own yardsticks
//! - [`bank`]: a bank as child processes: ports, data directory, watching, stopping
//! - [`shared_store`]: the PostgreSQL database that the branch servers of a bank share
//! - [`api`]: questions to the client API of a running bank
//! - [`http`]: the client for it, with the authorities that are trusted
//! - [`exit`], [`output`], [`interrupts`]: exit codes, printing, Ctrl-C

#![forbid(unsafe_code)]

mod api;
mod backup;
mod bank;
mod bench;
mod cli;
mod completions;
mod exit;
mod http;
mod interrupts;
mod move_store;
mod moves;
mod output;
mod replay;
mod restore;
mod shared_store;
mod status;
mod up;
mod verify;

use clap::Parser as _;
use cli::{Cli, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::wrong_usage(&error),
    };
    match cli.command {
        None => up::run(&cli.up, cli.json),
        Some(Command::Up(arguments)) => up::run(&arguments, cli.json),
        Some(Command::Replay(arguments)) => replay::run(&arguments),
        Some(Command::Status(arguments)) => status::run(&arguments, cli.json),
        Some(Command::Verify(arguments)) => verify::run(&arguments, cli.json),
        Some(Command::Backup(arguments)) => backup::run(&arguments, cli.json),
        Some(Command::Restore(arguments)) => restore::run(&arguments, cli.json),
        Some(Command::Move(arguments)) => moves::run(&arguments, cli.json),
        Some(Command::MoveStore(arguments)) => move_store::run(&arguments, cli.json),
        Some(Command::Bench(arguments)) => bench::run(&arguments, cli.json),
        Some(Command::Completions(arguments)) => completions::run(&arguments),
        Some(Command::BranchServer(settings)) => branch_server::run(*settings),
        Some(Command::ClientApi(settings)) => client_api::run(*settings),
        Some(Command::Yardstick(arguments)) => bench::yardstick::run(&arguments),
    }
}
