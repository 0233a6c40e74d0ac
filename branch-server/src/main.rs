//! The branch server's process.

#![forbid(unsafe_code)]

use branch_server::Settings;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Owns branches of a Florin bank and serves them over gRPC
#[derive(Parser)]
#[command(name = "branch-server", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    question: Option<Question>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Subcommand)]
enum Question {
    /// Ask the branch server that listens on --listen whether it is ready, instead of running one: exits with 0 when it
    /// is, with 1 and the reason when not
    Healthy,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A closed terminal has nobody to tell.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match arguments.question {
        None => branch_server::run(arguments.settings),
        Some(Question::Healthy) => branch_server::healthy(&arguments.settings),
    }
}
