//! `bankctl backup`: a copy of every branch's journal as of one moment, beside a running bank. The next one adds
//! what is new; every earlier one can still be restored, because a journal only grows.

pub(crate) mod manifest;
mod moment;

use crate::exit::{self, Exit};
use crate::http::Trust;
use crate::output;
use bank_proto::BranchId;
use branch_server::data_directory::{BankFile, branch_directory};
use branch_server::environment::{Clock as _, SystemClock};
use branch_server::journal::sqlite::{Copied, CopyError, Wanted, copy};
use branch_server::verify;
use indicatif::ProgressBar;
use manifest::{Backup, Manifest, ManifestError};
use moment::{Moment, MomentError};
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
    /// The data directory of the bank, stopped or running.
    #[arg(long, env = "FLORIN_DATA", default_value = "./data", value_name = "DIR")]
    data: PathBuf,
    /// The client API of a running bank, which names one moment of all branches.
    #[arg(long, env = "FLORIN_API", default_value = "http://127.0.0.1:5002", value_name = "URL")]
    api: String,
    #[command(flatten)]
    trust: Trust,
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

/// Backs the bank up.
pub(crate) fn run(arguments: &Arguments, as_json: bool) -> ExitCode {
    match back_up(arguments) {
        Ok((backup, copied)) => {
            let added: u64 = copied.iter().map(|copied| copied.added).sum();
            let rows: u64 = copied.iter().map(|copied| copied.sequence).sum();
            if as_json {
                output::json(
                    &json!({"taken_at": backup.taken_at, "token": backup.token, "rows": rows, "added": added}),
                );
            } else {
                let [rows, added] = [rows, added].map(output::grouped);
                output::result(&format!("backed up {rows} rows of {} branches, {added} of them new", copied.len()));
                output::result(&format!("token {}", backup.token));
                let path = arguments.to.display();
                output::result(&format!("proved; to get it back: bankctl restore {path} --data NEW_DIR"));
            }
            ExitCode::SUCCESS
        }
        Err(error) => exit::failed(error.exit(), &error),
    }
}

fn back_up(arguments: &Arguments) -> Result<(Backup, Vec<Copied>), BackupError> {
    let Arguments { to, data, api, trust } = arguments;
    let bank = bank_file(data)?;
    let branches: Vec<BranchId> = all_branches(bank).collect();
    if let Some(branch) = branches.iter().find(|branch| !branch_directory(data, **branch).is_dir()) {
        return Err(BackupError::NotHere { branch: *branch, data: data.clone() });
    }
    let _alone = alone(to)?;
    let mut manifest = Manifest::find(to)?.unwrap_or_else(|| Manifest::new(bank));
    if manifest.bank.branches != bank.branches {
        return Err(BackupError::OtherBank { path: to.clone() });
    }
    manifest.bank = bank;
    let moment = Moment::find(data, &branches, (api, trust))?;
    let bar = output::rows_bar();
    let journals = journals(to);
    let mut copied = Vec::new();
    for (place, branch) in branches.iter().enumerate() {
        bar.set_message(format!("branch {branch}"));
        let wanted = Wanted { branch: *branch, branches: bank.branches, up_to: moment.row(place), epochs_ahead: 0 };
        let progress = |rows, all| {
            bar.set_length(all);
            bar.set_position(rows);
        };
        let done = copy(&branch_directory(data, *branch), &branch_directory(&journals, *branch), wanted, progress);
        copied.push(done.map_err(|error| BackupError::Copy { branch: *branch, error })?);
    }
    // The bank may go on: what follows is about the copy.
    drop(moment);
    prove(&journals, bank, &copied, &bar).map_err(BackupError::Unproved)?;
    bar.finish_and_clear();
    let token = copied.iter().map(|copied| copied.sequence.to_string()).collect::<Vec<_>>().join(".");
    let heads = copied.iter().map(|copied| format!("{:?}", copied.head)).collect();
    let backup = Backup { taken_at: SystemClock.now().to_string(), token, heads };
    manifest.backups.retain(|earlier| earlier.token != backup.token);
    manifest.backups.push(backup.clone());
    manifest.write(to)?;
    Ok((backup, copied))
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
