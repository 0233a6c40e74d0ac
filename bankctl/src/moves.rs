//! `bankctl move`: which branch server keeps which branch, in the assignment file that all parts of the bank read.
//!
//! - [`mod@plan`]: which branches move

mod plan;

use crate::exit::{self, Exit};
use crate::output;
use bank_proto::{Assignment, AssignmentError, AssignmentFile, limits};
use plan::{Move, one, spread};
use serde_json::json;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What moves where.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct Arguments {
    /// The assignment file, as the bank reads it now; it is rewritten, or made when it is not there.
    #[arg(long, env = "FLORIN_ASSIGNMENT", value_name = "FILE")]
    assignment: PathBuf,
    /// Number of branches the bank was founded with.
    #[arg(long, env = "FLORIN_BRANCHES", default_value_t = 10, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::BRANCHES)))]
    branches: u32,
    /// Number of branch servers the bank was founded with, for a file that is not there yet.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::BRANCHES)))]
    founding_servers: Option<u32>,
    /// Spread all branches evenly over so many servers, with the fewest moves.
    #[arg(long, group = "what", value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::BRANCHES)))]
    servers: Option<u32>,
    /// Move this branch alone.
    #[arg(long, group = "what", requires = "to", value_name = "BRANCH")]
    branch: Option<u32>,
    /// The ordinal of the server that it moves to, counted from 0.
    #[arg(long, requires = "branch", value_name = "SERVER")]
    to: Option<u32>,
    /// Show the moves and write nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, thiserror::Error)]
enum MoveError {
    #[error("{path} cannot be read: {error}")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{0} is not there; to make it, say with --founding-servers how many the bank was founded with")]
    Absent(PathBuf),
    #[error("{path} was made for {found} servers at the founding, not {said}; that number never changes")]
    OtherFounding { path: PathBuf, found: u32, said: u32 },
    #[error("{path}: {error}")]
    File { path: PathBuf, error: AssignmentError },
    #[error("there is no branch {branch}; the bank has {branches}")]
    NoSuchBranch { branch: u32, branches: u32 },
    #[error("{path} cannot be written: {error}")]
    Unwritable { path: PathBuf, error: std::io::Error },
}

impl MoveError {
    fn exit(&self) -> Exit {
        match self {
            MoveError::Unreadable { .. } | MoveError::Unwritable { .. } => Exit::Unavailable,
            MoveError::Absent(_) | MoveError::OtherFounding { .. } | MoveError::NoSuchBranch { .. } => Exit::Usage,
            MoveError::File { .. } => Exit::Data,
        }
    }
}

/// Plans the moves and writes them into the file.
pub(crate) fn run(arguments: &Arguments, as_json: bool) -> ExitCode {
    match plan(arguments) {
        Ok(moves) => {
            print(arguments, &moves, as_json);
            ExitCode::SUCCESS
        }
        Err(error) => exit::failed(error.exit(), &error),
    }
}

fn plan(arguments: &Arguments) -> Result<Vec<Move>, MoveError> {
    let mut file = read(arguments)?;
    let path = || arguments.assignment.clone();
    // Whatever servers it names: whether they are there is not to be seen here.
    let present = Assignment::with_file(arguments.branches, u32::MAX, file.clone())
        .map_err(|error| MoveError::File { path: path(), error })?;
    let moves = match (arguments.servers, arguments.branch, arguments.to) {
        (Some(servers), ..) => spread(&present, servers),
        (None, Some(branch), Some(to)) => {
            one(&present, branch, to).ok_or(MoveError::NoSuchBranch { branch, branches: arguments.branches })?
        }
        // The command line demands one of them.
        (None, ..) => Vec::new(),
    };
    for Move { branch, to, .. } in &moves {
        file.moved.insert(branch.get(), *to);
    }
    if !arguments.dry_run {
        write(&arguments.assignment, &file).map_err(|error| MoveError::Unwritable { path: path(), error })?;
    }
    Ok(moves)
}

fn read(arguments: &Arguments) -> Result<AssignmentFile, MoveError> {
    let path = || arguments.assignment.clone();
    let text = match std::fs::read_to_string(&arguments.assignment) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let founding_servers = arguments.founding_servers.ok_or_else(|| MoveError::Absent(path()))?;
            return Ok(AssignmentFile { founding_servers, moved: std::collections::BTreeMap::new() });
        }
        Err(error) => return Err(MoveError::Unreadable { path: path(), error }),
    };
    let file = AssignmentFile::parse(&text).map_err(|error| MoveError::File { path: path(), error })?;
    match arguments.founding_servers {
        Some(said) if said != file.founding_servers => {
            Err(MoveError::OtherFounding { path: path(), found: file.founding_servers, said })
        }
        _ => Ok(file),
    }
}

/// The whole file or the old one: servers may read it at any moment.
fn write(path: &Path, file: &AssignmentFile) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(file).map_err(std::io::Error::other)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let mut written = std::fs::File::create(&draft)?;
    written.write_all(text.as_bytes())?;
    written.write_all(b"\n")?;
    written.sync_all()?;
    std::fs::rename(&draft, path)
}

fn print(arguments: &Arguments, moves: &[Move], as_json: bool) {
    if as_json {
        let listed =
            moves.iter().map(|Move { branch, from, to }| json!({"branch_id": branch.get(), "from": from, "to": to}));
        output::json(&json!({"moves": listed.collect::<Vec<_>>(), "written": !arguments.dry_run}));
        return;
    }
    if moves.is_empty() {
        output::result("every branch is where it should be; nothing moves");
        return;
    }
    let rows: Vec<Vec<String>> = moves
        .iter()
        .map(|Move { branch, from, to }| [branch.get(), *from, *to].map(|number| number.to_string()).to_vec())
        .collect();
    output::result(&output::table(&["branch", "from server", "to server"], &rows));
    let path = arguments.assignment.display();
    if arguments.dry_run {
        output::result(&format!("{path} was left as it is"));
    } else {
        output::result(&format!(
            "{path} says so now. Give it to every part of the bank, and restart the branch servers one by one, the \
             new owners first: docs/OPERATIONS.md. `bankctl status` shows when all branches are open again."
        ));
    }
}
