//! `bankctl completions SHELL`.

use crate::cli::Cli;
use clap::CommandFactory as _;
use clap_complete::{Generator, Shell};
use std::process::ExitCode;

/// Which shell to write for.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell; the script goes to standard output.
    shell: Shell,
}

/// Prints the completion script.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut command = Cli::command();
    command.set_bin_name("bankctl");
    command.build();
    let mut script = Vec::new();
    match arguments.shell.try_generate(&command, &mut script) {
        Ok(()) => {
            crate::output::result(String::from_utf8_lossy(&script).trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => crate::exit::failed(crate::exit::Exit::Internal, &error),
    }
}
