//! The data directory: one bank at a time, of a format that is known.

use crate::exit::Exit;
use crate::shared_store::{SharedStore, SharedStoreError};
use branch_server::data_directory::{FORMAT, STORED_ELSEWHERE};
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
    /// Where the books are, when not here.
    store: Option<SharedStore>,
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
    /// There is no bank in it.
    #[error("there is no bank in {0}")]
    NoBank(PathBuf),
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
    /// The database that was named cannot be used.
    #[error(transparent)]
    Store(#[from] SharedStoreError),
    /// The books of the bank that logs here are in a database that was not named.
    #[error("the books of the bank in {path} are in PostgreSQL at {shown}; say so with --store")]
    ElsewhereStored {
        /// The directory.
        path: PathBuf,
        /// Where they are.
        shown: String,
    },
    /// There are books here, and a database was named.
    #[error("{0} holds the books of a bank in files; choose another directory with --data")]
    StoredHere(PathBuf),
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
            DirectoryError::Unusable { .. }
            | DirectoryError::InUse(_)
            | DirectoryError::NoBank(_)
            | DirectoryError::Newer { .. } => Exit::Unavailable,
            DirectoryError::Damaged { .. } => Exit::Data,
            DirectoryError::Store(error) => error.exit(),
            DirectoryError::OtherBranches { .. }
            | DirectoryError::ElsewhereStored { .. }
            | DirectoryError::StoredHere(_) => Exit::Usage,
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
        Directory::take_for(path, branches, None)
    }

    /// The same of a bank whose books may be in a database; the directory then has the logs and what can be made
    /// again. Asking a database waits: to be done beside a runtime.
    ///
    /// # Errors
    /// As [`Directory::take`], and when the books are elsewhere than was said.
    pub(crate) fn take_for(
        path: &Path,
        branches: Option<u32>,
        store: Option<SharedStore>,
    ) -> Result<Directory, DirectoryError> {
        let unusable = |error| DirectoryError::Unusable { path: path.to_owned(), error };
        fs::create_dir_all(path).map_err(unusable)?;
        let path = fs::canonicalize(path).map_err(unusable)?;
        let here = founded_branches(&path)?;
        let note = path.join(STORED_ELSEWHERE);
        let founded = match (&store, here) {
            // Files that were moved there may lie beside the logs.
            (Some(store), Some(_)) if fs::read_to_string(&note).is_ok_and(|shown| shown == store.shown()) => {
                store.founded()?
            }
            (Some(_), Some(_)) => return Err(DirectoryError::StoredHere(path)),
            (Some(store), None) => store.founded()?,
            (None, here) => match fs::read_to_string(&note) {
                Ok(shown) => return Err(DirectoryError::ElsewhereStored { path, shown }),
                Err(_) => here,
            },
        };
        if let Some(store) = &store {
            fs::write(&note, store.shown()).map_err(|error| DirectoryError::Unusable { path: path.clone(), error })?;
        }
        Directory::hold(path, founded, branches, store)
    }

    fn hold(
        path: PathBuf,
        founded: Option<u32>,
        branches: Option<u32>,
        store: Option<SharedStore>,
    ) -> Result<Directory, DirectoryError> {
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
        Ok(Directory { path, branches, store, lock, left_running: !left.is_empty() })
    }

    /// Takes the directory of a stopped bank whose books are to leave it for a database: a move that was interrupted
    /// before it was done may begin again.
    ///
    /// # Errors
    /// As [`Directory::take`]; and there is no bank in it.
    pub(crate) fn take_to_leave(path: &Path, store: &SharedStore) -> Result<Directory, DirectoryError> {
        let founded = founded_branches(path)?.ok_or_else(|| DirectoryError::NoBank(path.to_owned()))?;
        match fs::read_to_string(path.join(STORED_ELSEWHERE)) {
            Ok(shown) if shown != store.shown() => {
                Err(DirectoryError::ElsewhereStored { path: path.to_owned(), shown })
            }
            _ => Directory::hold(path.to_owned(), Some(founded), None, None),
        }
    }

    /// Says durably that the books have left for a database: nobody starts on these files any more.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(crate) fn leave(&self, store: &SharedStore) -> Result<(), DirectoryError> {
        let note = self.path.join(STORED_ELSEWHERE);
        let write = || {
            let mut file = File::create(&note)?;
            file.write_all(store.shown().as_bytes())?;
            file.sync_all()?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|error| DirectoryError::Unusable { path: self.path.clone(), error })
    }

    /// Takes that back.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(crate) fn stay(&self) -> Result<(), DirectoryError> {
        let removed = fs::remove_file(self.path.join(STORED_ELSEWHERE));
        removed.map_err(|error| DirectoryError::Unusable { path: self.path.clone(), error })
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many branches the bank has, or will be founded with.
    pub(crate) fn branches(&self) -> u32 {
        self.branches
    }

    /// Where the books are, when not in this directory.
    pub(crate) fn store(&self) -> Option<&SharedStore> {
        self.store.as_ref()
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
    fn books_in_a_database_are_not_taken_for_missing_ones() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join(STORED_ELSEWHERE), "db:5432/bank").expect("a file");
        let elsewhere = refusal(root.path(), None);
        assert!(elsewhere.to_string().ends_with("are in PostgreSQL at db:5432/bank; say so with --store"));
        assert_eq!(elsewhere.exit(), Exit::Usage);
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
