//! The commands and their arguments.

use crate::{backup, bench, completions, move_store, moves, replay, restore, status, up, verify};
use clap::{Parser, Subcommand};

/// A whole bank on this machine, and the tools to try it, measure it and prove it.
///
/// Without a command it runs `up`.
#[derive(Debug, Parser)]
#[command(name = "bankctl", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    /// Print JSON instead of text for people.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) up: up::Arguments,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole bank on this machine until Ctrl-C.
    Up(up::Arguments),
    /// Run a file of events and print what each customer received, as a JSON array.
    Replay(replay::Arguments),
    /// Show a running bank: its servers, branches, rates, money and what its auditors say.
    Status(status::Arguments),
    /// Re-derive everything from the journals and say whether the books agree.
    Verify(verify::Arguments),
    /// Copy the journals of a bank, running or not, as of one moment of all branches; again adds what is new.
    Backup(backup::Arguments),
    /// Put a bank, or one branch of it, back from a backup.
    Restore(restore::Arguments),
    /// Say which branch server keeps which branch from now on; the servers bring it about when they start with it.
    Move(moves::Arguments),
    /// Move the books of a stopped bank out of their files into an empty PostgreSQL database, proved on both sides.
    MoveStore(move_store::Arguments),
    /// Measure the bank next to its own yardsticks.
    Bench(bench::Arguments),
    /// Print a completion script for a shell.
    Completions(completions::Arguments),
    /// One branch server, as `up` starts it.
    #[command(hide = true)]
    BranchServer(Box<branch_server::Settings>),
    /// The client API, as `up` starts it.
    #[command(hide = true)]
    ClientApi(Box<client_api::Settings>),
    /// One half of the bare two-hop echo that `bench` compares the bank with.
    #[command(hide = true)]
    Yardstick(bench::yardstick::Arguments),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_command_means_up_and_takes_its_arguments() {
        let cli = Cli::try_parse_from(["bankctl", "--data", "elsewhere", "--servers", "2"]).expect("arguments of up");
        assert!(cli.command.is_none());
        assert_eq!((cli.up.data.as_path(), cli.up.servers), (std::path::Path::new("elsewhere"), 2));
    }

    #[test]
    fn every_command_takes_json() {
        for command in [
            vec!["up"],
            vec!["replay", "file"],
            vec!["verify"],
            vec!["bench"],
            vec!["backup", "b"],
            vec!["restore", "b"],
        ] {
            let line = ["bankctl"].into_iter().chain(command).chain(["--json"]);
            assert!(Cli::try_parse_from(line).expect("a command line").json);
        }
    }
}
