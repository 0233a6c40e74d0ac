//! The client API: reads its settings and serves until it is told to stop.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Florin's HTTP face. It keeps no money itself: every request goes to the branch that owns the account.
#[derive(Debug, Parser)]
#[command(name = "client-api", version, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    question: Option<Question>,
    #[command(flatten)]
    settings: client_api::Settings,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Ask the client API that listens on --http whether it is ready, instead of running one: exits with 0 when it is,
    /// with 1 and the reason when not.
    Healthy,
}

fn main() -> ExitCode {
    match CommandLine::try_parse() {
        Ok(CommandLine { question: None, settings }) => client_api::run(settings),
        Ok(CommandLine { question: Some(Question::Healthy), settings }) => client_api::healthy(&settings),
        Err(refusal) => {
            // Help and version are answers, everything else is a wrong setting. Nothing is left to do when
            // the terminal does not take the text.
            let _ = refusal.print();
            if refusal.use_stderr() { ExitCode::from(client_api::EXIT_WRONG_SETTINGS) } else { ExitCode::SUCCESS }
        }
    }
}
