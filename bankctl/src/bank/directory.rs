//! The data directory: one bank at a time, of a format that is known.

use crate::exit::Exit;
use branch_server::data_directory::FORMAT;
use serde::Deserialize;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// A new bank is founded with so many branches unless told otherwise.
pub(crate) const DEFAULT_BRANCHES: u32 = 10;
/// What the lock file holds while a bank runs; a clean stop takes it out again.
const RUNNING: &str = "running\n";

/// A data directory that this process alone uses, until it is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    branches: u32,
    lock: File,
    left_running: bool,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// The directory or a file in it cannot be made, read or written.
    #[error("the data directory {path} cannot be used: {error}; choose another with --data")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process holds its lock.
    #[error("the data directory {0} is in use by another bank; stop that one or choose another with --data")]
    InUse(PathBuf),
    /// bank.json names a format that this program does not know.
    #[error("the data directory {path} was made by a newer version (format {format}; this one reads up to {FORMAT})")]
    Newer {
        /// The directory.
        path: PathBuf,
        /// What it says.
        format: u32,
    },
    /// bank.json cannot be understood.
    #[error("{path} is damaged: {error}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// The number of branches is fixed when a bank is founded.
    #[error("the bank in {path} was founded with {founded} branches, not {asked}; leave --branches out")]
    OtherBranches {
        /// The directory.
        path: PathBuf,
        /// How many it has.
        founded: u32,
        /// How many were asked for.
        asked: u32,
    },
}

impl DirectoryError {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            DirectoryError::Unusable { .. } | DirectoryError::InUse(_) | DirectoryError::Newer { .. } => {
                Exit::Unavailable
            }
            DirectoryError::Damaged { .. } => Exit::Data,
            DirectoryError::OtherBranches { .. } => Exit::Usage,
        }
    }
}

/// DIR/bank.json, which the branch server that founds the bank writes.
#[derive(Debug, Deserialize)]
struct Founding {
    format: u32,
    #[serde(default)]
    branches: u32,
}

impl Directory {
    /// Takes the directory for this process, making it if need be. `branches` is what was asked
    /// for; None stands for what the bank has, or the default for a new one.
    ///
    /// # Errors
    /// Why it cannot be used; nothing in it was changed.
    pub(crate) fn take(path: &Path, branches: Option<u32>) -> Result<Directory, DirectoryError> {
        let unusable = |error| DirectoryError::Unusable { path: path.to_owned(), error };
        fs::create_dir_all(path).map_err(unusable)?;
        let path = fs::canonicalize(path).map_err(unusable)?;
        let founded = founded_branches(&path)?;
        let branches = match (founded, branches) {
            (Some(founded), Some(asked)) if founded != asked => {
                return Err(DirectoryError::OtherBranches { path, founded, asked });
            }
            (Some(founded), _) => founded,
            (None, asked) => asked.unwrap_or(DEFAULT_BRANCHES),
        };
        let mut lock = lock(&path)?;
        let mut left = String::new();
        let marked = lock.read_to_string(&mut left).and_then(|_| lock.write_all(RUNNING.as_bytes()));
        marked.map_err(|error| DirectoryError::Unusable { path: path.clone(), error })?;
        Ok(Directory { path, branches, lock, left_running: !left.is_empty() })
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many branches the bank has, or will be founded with.
    pub(crate) fn branches(&self) -> u32 {
        self.branches
    }

    /// Where the services' log files go.
    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// True when the bank before this one did not stop in order: its services may still be
    /// ending, and hold their ports and branches for a moment.
    pub(crate) fn left_running(&self) -> bool {
        self.left_running
    }

    /// Whether no process holds a branch of this directory.
    pub(crate) fn branches_are_free(&self) -> bool {
        branch_directories(&self.path).iter().all(|branch| match File::open(branch.join("branch.lock")) {
            Ok(lock) => !matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)),
            Err(_) => true,
        })
    }

    /// Gives the directory back after a clean stop.
    pub(crate) fn release(self) {
        // Without this the next start only looks a little longer at its ports.
        let _ = self.lock.set_len(0);
    }
}

/// Every DIR/branch-*, in the order of their numbers.
pub(crate) fn branch_directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    let is_branch = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("branch-");
    let mut branches = entries.filter(is_branch).map(|entry| entry.path()).collect::<Vec<_>>();
    branches.sort();
    branches
}

fn founded_branches(path: &Path) -> Result<Option<u32>, DirectoryError> {
    let file = path.join("bank.json");
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DirectoryError::Unusable { path: path.to_owned(), error }),
    };
    let founding: Founding =
        serde_json::from_slice(&text).map_err(|error| DirectoryError::Damaged { path: file, error })?;
    match founding.format {
        0..=FORMAT => Ok(Some(founding.branches)),
        format => Err(DirectoryError::Newer { path: path.to_owned(), format }),
    }
}

fn lock(path: &Path) -> Result<File, DirectoryError> {
    let unusable = |error| DirectoryError::Unusable { path: path.to_owned(), error };
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    let lock = options.open(path.join("bank.lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(DirectoryError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path, branches: Option<u32>) -> DirectoryError {
        Directory::take(path, branches).expect_err("a refusal")
    }

    #[test]
    fn one_bank_at_a_time_uses_a_directory() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("new/data");
        let first = Directory::take(&path, None).expect("a new directory");
        assert_eq!((first.branches(), first.left_running()), (10, false));
        assert!(matches!(refusal(&path, None), DirectoryError::InUse(_)));
        first.release();
        let second = Directory::take(&path, None).expect("free again");
        assert!(!second.left_running(), "the first stopped in order");
        drop(second);
        assert!(Directory::take(&path, None).expect("free again").left_running());
    }

    #[test]
    fn a_founded_bank_keeps_its_number_of_branches() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("bank.json"), r#"{"format":1,"branches":3}"#).expect("a file");
        assert_eq!(Directory::take(root.path(), None).expect("the bank").branches(), 3);
        let other = refusal(root.path(), Some(10));
        assert!(matches!(other, DirectoryError::OtherBranches { founded: 3, asked: 10, .. }));
        assert_eq!(other.exit(), Exit::Usage);
    }

    #[test]
    fn what_this_version_cannot_read_is_left_alone() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("bank.json"), r#"{"format":2,"shards":[]}"#).expect("a file");
        assert!(matches!(refusal(root.path(), None), DirectoryError::Newer { format: 2, .. }));
        fs::write(root.path().join("bank.json"), "{").expect("a file");
        assert!(matches!(refusal(root.path(), None), DirectoryError::Damaged { .. }));
        assert!(!root.path().join("bank.lock").exists());
    }

    #[test]
    fn a_branch_that_a_process_holds_is_seen() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = Directory::take(root.path(), None).expect("a directory");
        let branch = root.path().join("branch-0001");
        fs::create_dir(&branch).expect("a directory");
        let holder = File::create(branch.join("branch.lock")).expect("a file");
        holder.try_lock().expect("a lock");
        assert!(!directory.branches_are_free());
        drop(holder);
        assert!(directory.branches_are_free());
    }
}
