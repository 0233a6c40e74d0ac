//! `bankctl backup`: a copy of every branch's journal as of one moment, beside a running bank. The next one adds
//! what is new; every earlier one can still be restored, because a journal only grows.

pub(crate) mod manifest;
mod moment;
mod remote;

use crate::exit::{self, Exit};
use crate::http::Trust;
use crate::output;
use bank_proto::{BranchId, Timestamp};
use branch_server::data_directory::{BankFile, branch_directory};
use branch_server::environment::{Clock as _, SystemClock};
use branch_server::journal::sqlite::{Copied, CopyError, JournalFile, Wanted, copy};
use branch_server::verify;
use indicatif::ProgressBar;
use manifest::{Backup, Manifest, ManifestError};
use moment::{Moment, MomentError};
use remote::{Remote, RemoteError, TlsArguments};
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to back up, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The directory of this bank's backups; made when it is missing. Put it on another disk.
    #[arg(value_name = "BACKUPS")]
    to: PathBuf,
    /// The data directory of the bank, stopped or running, when all its branches are on this machine.
    #[arg(long, env = "FLORIN_DATA", default_value = "./data", value_name = "DIR")]
    data: PathBuf,
    /// The client API of a running bank, which names one moment of all branches.
    #[arg(long, env = "FLORIN_API", default_value = "http://127.0.0.1:5002", value_name = "URL")]
    api: String,
    /// Any branch server of a running bank, wherever its disks are: then journals come from there, and neither --data
    /// nor --api is used.
    #[arg(long, env = "FLORIN_SERVER", value_name = "URL")]
    server: Option<String>,
    /// Forgets backups that are older than so many days, but never the one just made. Rows are kept.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep_days: Option<u32>,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    tls: TlsArguments,
}

#[derive(Debug, thiserror::Error)]
enum BackupError {
    #[error("there is no bank in {path}: {error}")]
    NoBank { path: PathBuf, error: std::io::Error },
    #[error("{path} is damaged: {error}")]
    BankFile { path: PathBuf, error: serde_json::Error },
    #[error("branch {branch} is not in {data}; back up where all branches are")]
    NotHere { branch: BranchId, data: PathBuf },
    #[error("{path} cannot be used: {error}")]
    Directory { path: PathBuf, error: std::io::Error },
    #[error("another backup into {path} is under way")]
    UnderWay { path: PathBuf },
    #[error("{path} holds backups of another bank; back this one up elsewhere")]
    OtherBank { path: PathBuf },
    #[error(transparent)]
    Moment(#[from] MomentError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("branch {branch}: {error}")]
    Copy { branch: BranchId, error: CopyError },
    #[error("the backup does not prove right: {0}")]
    Unproved(String),
}

impl BackupError {
    fn exit(&self) -> Exit {
        match self {
            BackupError::BankFile { .. } | BackupError::Unproved(_) => Exit::Damage,
            BackupError::OtherBank { .. } => Exit::Usage,
            BackupError::Remote(error) => error.exit(),
            BackupError::Moment(MomentError::NoAnswer(error)) => error.exit(),
            BackupError::Manifest(ManifestError::Malformed { .. } | ManifestError::Newer { .. }) => Exit::Data,
            BackupError::NoBank { .. }
            | BackupError::NotHere { .. }
            | BackupError::Directory { .. }
            | BackupError::UnderWay { .. }
            | BackupError::Moment(_)
            | BackupError::Manifest(_)
            | BackupError::Copy { .. } => Exit::Unavailable,
        }
    }
}

/// What was done.
struct Done {
    backup: Backup,
    copied: Vec<Copied>,
    /// How many older backups cannot be restored any more.
    forgotten: usize,
}

/// Backs the bank up.
pub(crate) fn run(arguments: &Arguments, as_json: bool) -> ExitCode {
    let Done { backup, copied, forgotten } = match back_up(arguments) {
        Ok(done) => done,
        Err(error) => return exit::failed(error.exit(), &error),
    };
    let added: u64 = copied.iter().map(|copied| copied.added).sum();
    let rows: u64 = copied.iter().map(|copied| copied.sequence).sum();
    if as_json {
        let Backup { taken_at, token, .. } = backup;
        let said = json!({"taken_at": taken_at, "token": token, "rows": rows, "added": added, "forgotten": forgotten});
        output::json(&said);
        return ExitCode::SUCCESS;
    }
    let [rows, added] = [rows, added].map(output::grouped);
    output::result(&format!("backed up {rows} rows of {} branches, {added} of them new", copied.len()));
    output::result(&format!("token {}", backup.token));
    if forgotten > 0 {
        output::result(&format!("forgot {forgotten} older backups"));
    }
    let path = arguments.to.display();
    output::result(&format!("proved; to get it back: bankctl restore {path} --data NEW_DIR"));
    ExitCode::SUCCESS
}

/// Where the journals are.
enum Source<'a> {
    Files { data: &'a Path, api: &'a str, trust: &'a Trust },
    Server(Box<Remote>),
}

impl Source<'_> {
    fn of(arguments: &Arguments) -> Result<Source<'_>, BackupError> {
        Ok(match &arguments.server {
            Some(url) => Source::Server(Box::new(Remote::connect(url, &arguments.tls)?)),
            None => Source::Files { data: &arguments.data, api: &arguments.api, trust: &arguments.trust },
        })
    }

    fn bank(&mut self) -> Result<BankFile, BackupError> {
        match self {
            Source::Server(server) => Ok(server.bank()?),
            Source::Files { data, .. } => {
                let bank = bank_file(data)?;
                match all_branches(bank).find(|branch| !branch_directory(data, *branch).is_dir()) {
                    Some(branch) => Err(BackupError::NotHere { branch, data: data.to_path_buf() }),
                    None => Ok(bank),
                }
            }
        }
    }

    fn moment(&mut self, bank: BankFile) -> Result<Moment, BackupError> {
        match self {
            Source::Server(server) => Ok(Moment::Cut(server.moment(bank.branches)?)),
            Source::Files { data, api, trust } => {
                let branches: Vec<BranchId> = all_branches(bank).collect();
                Ok(Moment::find(data, &branches, (api, trust))?)
            }
        }
    }

    fn copy(&mut self, to: &Path, wanted: Wanted, progress: impl FnMut(u64, u64)) -> Result<Copied, CopyError> {
        match self {
            Source::Server(server) => copy(&mut server.journal(wanted.branch), to, wanted, progress),
            Source::Files { data, .. } => {
                copy(&mut JournalFile::open(&branch_directory(data, wanted.branch))?, to, wanted, progress)
            }
        }
    }
}

fn back_up(arguments: &Arguments) -> Result<Done, BackupError> {
    let to = &arguments.to;
    let mut source = Source::of(arguments)?;
    let bank = source.bank()?;
    let _alone = alone(to)?;
    let mut manifest = Manifest::find(to)?.unwrap_or_else(|| Manifest::new(bank));
    if manifest.bank.branches != bank.branches {
        return Err(BackupError::OtherBank { path: to.clone() });
    }
    manifest.bank = bank;
    let moment = source.moment(bank)?;
    let bar = output::rows_bar();
    let journals = journals(to);
    let mut copied = Vec::new();
    for (place, branch) in all_branches(bank).enumerate() {
        bar.set_message(format!("branch {branch}"));
        let wanted = Wanted { branch, branches: bank.branches, up_to: moment.row(place), epochs_ahead: 0 };
        let progress = |rows, all| {
            bar.set_length(all);
            bar.set_position(rows);
        };
        let done = source.copy(&branch_directory(&journals, branch), wanted, progress);
        copied.push(done.map_err(|error| BackupError::Copy { branch, error })?);
    }
    // The bank may go on: what follows is about the copy.
    drop((moment, source));
    prove(&journals, bank, &copied, &bar).map_err(BackupError::Unproved)?;
    bar.finish_and_clear();
    let token = copied.iter().map(|copied| copied.sequence.to_string()).collect::<Vec<_>>().join(".");
    let heads = copied.iter().map(|copied| format!("{:?}", copied.head)).collect();
    let now = SystemClock.now();
    let backup = Backup { taken_at: now.to_string(), token, heads };
    let forgotten = manifest.add(backup.clone(), arguments.keep_days.map(|days| days_before(now, days)));
    manifest.write(to)?;
    Ok(Done { backup, copied, forgotten })
}

fn days_before(now: Timestamp, days: u32) -> Timestamp {
    const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
    Timestamp(now.0.saturating_sub(i64::from(days) * DAY_MICROS))
}

/// Where the copies are.
pub(crate) fn journals(backups: &Path) -> PathBuf {
    backups.join("journals")
}

pub(crate) fn all_branches(bank: BankFile) -> impl Iterator<Item = BranchId> {
    (1..=i64::from(bank.branches)).filter_map(|number| BranchId::new(number).ok())
}

/// Proves copies from their rows alone, each and all together, and that each ends where it should.
pub(crate) fn prove(data: &Path, bank: BankFile, copied: &[Copied], bar: &ProgressBar) -> Result<(), String> {
    let mut stories = Vec::new();
    for (branch, copied) in all_branches(bank).zip(copied) {
        bar.set_message(format!("proving branch {branch}"));
        let progress = |rows, all| {
            bar.set_length(all);
            bar.set_position(rows);
        };
        let report = verify::branch(data, branch, bank.branches, progress);
        let report = report.map_err(|error| format!("branch {branch}: {error}"))?;
        if report.rows != copied.sequence || (report.rows > 0 && report.head != format!("{:?}", copied.head)) {
            return Err(format!("branch {branch} ends at row {} with {}", report.rows, report.head));
        }
        stories.push(report.crossings);
    }
    verify::agree(&stories).map(|_| ()).map_err(|disagreement| disagreement.to_string())
}

fn bank_file(data: &Path) -> Result<BankFile, BackupError> {
    let path = data.join("bank.json");
    let text = std::fs::read(&path).map_err(|error| BackupError::NoBank { path: data.to_owned(), error })?;
    serde_json::from_slice(&text).map_err(|error| BackupError::BankFile { path, error })
}

/// One backup at a time: the lock ends with the process.
fn alone(to: &Path) -> Result<File, BackupError> {
    let failed = |error| BackupError::Directory { path: to.to_owned(), error };
    std::fs::create_dir_all(to).map_err(failed)?;
    let file = File::create(to.join("backup.lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(BackupError::UnderWay { path: to.to_owned() }),
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}
