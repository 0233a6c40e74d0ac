//! One owner per branch.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The file whose lock means ownership. It is apart from the journal, so that other programs can
/// read the journal while the bank runs.
const LOCK_FILE: &str = "branch.lock";

/// Exclusive ownership of a branch's directory, until it is dropped or the process ends, however
/// it ends: the system gives the lock back.
#[derive(Debug)]
pub struct BranchLock {
    file: File,
}

/// Why a branch could not be owned.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process owns it, or this one does already. Stop the other one first.
    #[error("{} is in use: another branch server has the branch open", directory.display())]
    Held {
        /// The branch's directory.
        directory: PathBuf,
    },
    /// The lock file cannot be made or locked. Look at the directory's permissions.
    #[error("{} cannot be locked: {source}", directory.display())]
    Io {
        /// The branch's directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BranchLock {
    /// Takes the lock of a directory, which must exist.
    ///
    /// # Errors
    /// [`LockError::Held`] when someone else has it; [`LockError::Io`] when the directory does not
    /// allow a lock at all.
    pub fn take(directory: &Path) -> Result<BranchLock, LockError> {
        let failed = |source| LockError::Io { directory: directory.to_owned(), source };
        let path = directory.join(LOCK_FILE);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(BranchLock { file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { directory: directory.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The open lock file: a handle on the file system that the branch is stored on.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for BranchLock {
    /// Gives the lock back aloud: a process that is being started by another thread at this moment
    /// has the file open too, and would keep it locked after we closed it.
    fn drop(&mut self) {
        // When this fails, closing the file does it.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_has_one_owner_at_a_time() {
        let directory = tempfile::tempdir().expect("a directory");
        let owner = BranchLock::take(directory.path()).expect("the first owner");
        let refused = BranchLock::take(directory.path()).expect_err("a second owner");
        assert!(matches!(refused, LockError::Held { .. }));
        assert!(refused.to_string().contains(&directory.path().display().to_string()), "{refused}");
        drop(owner);
        BranchLock::take(directory.path()).expect("the next owner");
    }

    #[test]
    fn a_directory_that_is_not_there_cannot_be_owned() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = directory.path().join("missing");
        assert!(matches!(BranchLock::take(&missing), Err(LockError::Io { .. })));
    }
}
