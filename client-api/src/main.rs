//! The client API: reads its settings and serves until it is told to stop.

use clap::Parser;
use std::process::ExitCode;

/// Florin's HTTP face. It keeps no money itself: every request goes to the branch that owns the account.
#[derive(Debug, Parser)]
#[command(name = "client-api", version)]
struct CommandLine {
    #[command(flatten)]
    settings: client_api::Settings,
}

fn main() -> ExitCode {
    match CommandLine::try_parse() {
        Ok(command_line) => client_api::run(command_line.settings),
        Err(refusal) => {
            // Help and version are answers, everything else is a wrong setting. Nothing is left to do when
            // the terminal does not take the text.
            let _ = refusal.print();
            if refusal.use_stderr() { ExitCode::from(client_api::EXIT_WRONG_SETTINGS) } else { ExitCode::SUCCESS }
        }
    }
}
