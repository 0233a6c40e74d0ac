//! `bankctl restore`: a bank, or one branch of it, from a backup, proved before it stands where it is wanted.

use crate::backup::manifest::{Backup, Manifest, ManifestError};
use crate::backup::{all_branches, journals, prove};
use crate::exit::{self, Exit};
use crate::output;
use bank_proto::BranchId;
use branch_server::data_directory::{self, DataError, RESTORING, branch_directory};
use branch_server::journal::sqlite::{Copied, CopyError, JournalFile, Wanted, copy};
use branch_server::verify;
use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Every opening of a branch raises its epoch by one, and other branches hear nobody with a lower one than they
/// know. A copy must be heard, and whoever was opened between the backup and the loss and still runs somewhere must
/// not; more openings than this between a backup and its restoring are not a bank's.
const EPOCHS_AHEAD: u64 = 1_000_000;

/// What to restore, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The directory of the bank's backups.
    #[arg(value_name = "BACKUPS")]
    from: PathBuf,
    /// Where the bank is to be: a directory that is missing or empty, or with --branch that of the bank.
    #[arg(long, env = "FLORIN_DATA", default_value = "./data", value_name = "DIR")]
    data: PathBuf,
    /// Which backup, by its token; the newest when absent.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Only this branch, whose directory must have been moved away. Of what it had exchanged with others since the
    /// backup they know and it does not: transfers between them stand still until that is reconciled.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..=9999))]
    branch: Option<i64>,
}

#[derive(Debug, thiserror::Error)]
enum RestoreError {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("there is no backup {wanted} in {path}; there are: {there}")]
    NoSuchBackup { wanted: String, path: PathBuf, there: String },
    #[error("{path} is damaged: the backup {token} is not one of its bank's branches")]
    Malformed { path: PathBuf, token: String },
    #[error("{path} is not empty; restore into a new directory")]
    NotEmpty { path: PathBuf },
    #[error(
        "{path} is left from a restore that was interrupted; remove it and whatever else that put beside it, and try again"
    )]
    Leftover { path: PathBuf },
    #[error("this bank has no branch {0}")]
    NoSuchBranch(i64),
    #[error("{path} does not hold the bank of these backups, so none of its branches can be put there")]
    OtherBank { path: PathBuf },
    #[error("{path} is there; stop the branch's server and move it away first")]
    BranchThere { path: PathBuf },
    #[error("branch {branch}: {error}")]
    Copy { branch: BranchId, error: CopyError },
    #[error("the backup does not prove right, and nothing was restored: {0}")]
    Unproved(String),
    #[error(transparent)]
    Directory(#[from] DataError),
    #[error("{path} cannot be used: {error}")]
    Io { path: PathBuf, error: std::io::Error },
}

impl RestoreError {
    fn exit(&self) -> Exit {
        match self {
            RestoreError::NoSuchBackup { .. }
            | RestoreError::NotEmpty { .. }
            | RestoreError::NoSuchBranch(_)
            | RestoreError::OtherBank { .. }
            | RestoreError::BranchThere { .. } => Exit::Usage,
            RestoreError::Unproved(_) => Exit::Damage,
            RestoreError::Manifest(ManifestError::Malformed { .. } | ManifestError::Newer { .. })
            | RestoreError::Malformed { .. } => Exit::Data,
            RestoreError::Manifest(_)
            | RestoreError::Leftover { .. }
            | RestoreError::Copy { .. }
            | RestoreError::Directory(_)
            | RestoreError::Io { .. } => Exit::Unavailable,
        }
    }
}

/// Restores.
pub(crate) fn run(arguments: &Arguments, as_json: bool) -> ExitCode {
    let restored = restore(arguments);
    match restored {
        Ok((backup, rows)) => {
            let data = arguments.data.display().to_string();
            if as_json {
                output::json(&json!({"taken_at": backup.taken_at, "token": backup.token, "rows": rows, "data": data}));
                return ExitCode::SUCCESS;
            }
            let what = arguments.branch.map_or("the bank".to_owned(), |branch| format!("branch {branch}"));
            output::result(&format!(
                "restored {what} as of {}: {} rows, proved",
                backup.taken_at,
                output::grouped(rows)
            ));
            match arguments.branch {
                None => output::result(&format!("to start it: bankctl up --data {data}")),
                Some(branch) => output::result(&format!(
                    "transfers between it and branches that it exchanged money with since then stand still; \
                     bankctl verify --data {data} and the logs name the first one that branch {branch} does not know"
                )),
            }
            ExitCode::SUCCESS
        }
        Err(error) => exit::failed(error.exit(), &error),
    }
}

fn restore(arguments: &Arguments) -> Result<(Backup, u64), RestoreError> {
    let Arguments { from, data, token, branch } = arguments;
    let manifest = Manifest::read(from)?;
    let backup = choose(&manifest, token.as_deref(), from)?.clone();
    match branch {
        None => bank(from, &manifest, &backup, data),
        Some(number) => one_branch(from, &manifest, &backup, data, *number),
    }
    .map(|rows| (backup, rows))
}

fn choose<'a>(manifest: &'a Manifest, token: Option<&str>, path: &Path) -> Result<&'a Backup, RestoreError> {
    let found = match token {
        None => manifest.backups.last(),
        Some(token) => manifest.backups.iter().find(|backup| backup.token == token),
    };
    found.ok_or_else(|| {
        let list = manifest.backups.iter().map(|backup| format!("{} ({})", backup.token, backup.taken_at));
        let wanted = token.unwrap_or("at all").to_owned();
        RestoreError::NoSuchBackup { wanted, path: path.to_owned(), there: list.collect::<Vec<_>>().join(", ") }
    })
}

/// What a new file system has at its root.
const LOST_AND_FOUND: &str = "lost+found";

/// Where one branch is built before it is put in its place, beside others that may be served.
const BRANCH_DRAFT: &str = "restoring-branch";

/// Builds the whole bank inside the directory where it is wanted, because that may be the root of a volume; proves it,
/// and only then puts it in its place.
fn bank(from: &Path, manifest: &Manifest, backup: &Backup, data: &Path) -> Result<u64, RestoreError> {
    let is_new = !data.exists();
    std::fs::create_dir_all(data).map_err(failed(data))?;
    let draft = data.join(RESTORING);
    for entry in std::fs::read_dir(data).map_err(failed(data))? {
        let entry = entry.map_err(failed(data))?;
        if entry.file_name() == RESTORING {
            return Err(RestoreError::Leftover { path: draft });
        }
        if entry.file_name() != LOST_AND_FOUND {
            return Err(RestoreError::NotEmpty { path: data.to_owned() });
        }
    }
    std::fs::create_dir(&draft).map_err(failed(&draft))?;
    let rows = build(from, manifest, backup, &draft).inspect_err(|_| {
        // What did not prove right is worth nothing; a failure to remove it says the next try.
        let _ = std::fs::remove_dir_all(&draft);
        if is_new {
            let _ = std::fs::remove_dir(data);
        }
    })?;
    // When this fails the draft stays, so that no server starts on a part of the bank.
    place(&draft, data, manifest)?;
    Ok(rows)
}

/// Copies and proves.
fn build(from: &Path, manifest: &Manifest, backup: &Backup, draft: &Path) -> Result<u64, RestoreError> {
    let bar = output::rows_bar();
    let mut copied = Vec::new();
    for branch in all_branches(manifest.bank) {
        bar.set_message(format!("branch {branch}"));
        copied.push(take(from, manifest, backup, branch, draft)?);
    }
    prove(draft, manifest.bank, &copied, &bar).map_err(RestoreError::Unproved)?;
    bar.finish_and_clear();
    let path = draft.join("bank.json");
    let text = serde_json::to_vec(&manifest.bank).map_err(std::io::Error::other);
    text.and_then(|text| std::fs::write(&path, text)).map_err(failed(&path))?;
    File::open(&path).and_then(|file| file.sync_all()).map_err(failed(&path))?;
    Ok(copied.iter().map(|copied| copied.sequence).sum())
}

/// Puts a proved bank in its place.
fn place(draft: &Path, data: &Path, manifest: &Manifest) -> Result<(), RestoreError> {
    // First: from here on a branch whose directory is missing was lost, and is not founded anew.
    (0..manifest.bank.servers).try_for_each(|server| data_directory::remember_founding(data, server))?;
    let branches = all_branches(manifest.bank).map(|branch| branch_directory(draft, branch));
    for path in branches.chain([draft.join("bank.json")]) {
        let name = path.file_name().unwrap_or_default();
        std::fs::rename(&path, data.join(name)).map_err(failed(&path))?;
    }
    sync(data)?;
    // Last: from here on a server may start.
    std::fs::remove_dir(draft).map_err(failed(draft))?;
    sync(data)?;
    sync(data.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> RestoreError + use<> {
    let path = path.to_owned();
    move |error| RestoreError::Io { path, error }
}

/// Puts one branch into its bank again.
fn one_branch(
    from: &Path,
    manifest: &Manifest,
    backup: &Backup,
    data: &Path,
    number: i64,
) -> Result<u64, RestoreError> {
    let branch = all_branches(manifest.bank).find(|branch| i64::from(branch.get()) == number);
    let branch = branch.ok_or(RestoreError::NoSuchBranch(number))?;
    let text = std::fs::read(data.join("bank.json")).unwrap_or_default();
    let bank: Option<data_directory::BankFile> = serde_json::from_slice(&text).ok();
    if bank.is_none_or(|bank| bank.branches != manifest.bank.branches) {
        return Err(RestoreError::OtherBank { path: data.to_owned() });
    }
    let place = branch_directory(data, branch);
    if place.exists() {
        return Err(RestoreError::BranchThere { path: place });
    }
    let draft = data.join(BRANCH_DRAFT);
    if draft.exists() {
        return Err(RestoreError::Leftover { path: draft });
    }
    let built = || {
        let copied = take(from, manifest, backup, branch, &draft)?;
        let proved = verify::branch(&draft, branch, manifest.bank.branches, |_, _| {});
        proved.map_err(|error| RestoreError::Unproved(format!("branch {branch}: {error}")))?;
        std::fs::rename(branch_directory(&draft, branch), &place).map_err(failed(&place))?;
        sync(data)?;
        Ok(copied.sequence)
    };
    let outcome = built();
    // Empty by now, or not worth keeping.
    let _ = std::fs::remove_dir_all(&draft);
    outcome
}

/// Makes the names in a directory durable.
fn sync(directory: &Path) -> Result<(), RestoreError> {
    let synced = File::open(directory).and_then(|handle| handle.sync_all());
    synced.map_err(|error| RestoreError::Io { path: directory.to_owned(), error })
}

/// Takes one branch's rows out of the backup, as they were then.
fn take(
    from: &Path,
    manifest: &Manifest,
    backup: &Backup,
    branch: BranchId,
    to: &Path,
) -> Result<Copied, RestoreError> {
    let malformed = || RestoreError::Malformed { path: from.to_owned(), token: backup.token.clone() };
    let rows = backup.rows(manifest.bank.branches).ok_or_else(malformed)?;
    let place = branch.get() as usize - 1;
    let (row, head) = (rows[place], backup.heads.get(place).ok_or_else(malformed)?);
    let branches = manifest.bank.branches;
    let wanted = Wanted { branch, branches, up_to: Some(row), epochs_ahead: EPOCHS_AHEAD };
    let original = JournalFile::open(&branch_directory(&journals(from), branch));
    let copied =
        original.and_then(|mut original| copy(&mut original, &branch_directory(to, branch), wanted, |_, _| {}));
    let copied = copied.map_err(|error| RestoreError::Copy { branch, error })?;
    if format!("{:?}", copied.head) != *head {
        let what = format!("branch {branch} had {head} at row {row}, and the copy has {:?}", copied.head);
        return Err(RestoreError::Unproved(what));
    }
    Ok(copied)
}
