//! The branch server's process.

#![forbid(unsafe_code)]

use branch_server::Settings;
use clap::Parser;
use std::process::ExitCode;

/// Owns branches of a Florin bank and serves them over gRPC
#[derive(Parser)]
#[command(name = "branch-server", version)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
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
    branch_server::run(arguments.settings)
}
