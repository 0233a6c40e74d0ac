//! Which branches of the bank were ever open, wherever: what a server with a new, empty disk cannot know.
//!
//! Without this it would found its branches a second time, beside the books of all others that remember them.

use crate::environment::Workers;
use bank_proto::BranchId;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The branches that this server has seen open, kept in a file of its own.
pub(crate) struct SeenBranches {
    path: PathBuf,
    /// None when the file is there and cannot be read.
    branches: Mutex<Option<BTreeSet<u32>>>,
}

impl SeenBranches {
    /// What was seen before. A file that cannot be read is no empty one: delete it to begin anew.
    pub(crate) fn read(directory: &Path, server: u32) -> SeenBranches {
        let path = directory.join(format!("server-{server}.seen"));
        let read = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(std::io::Error::from),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        };
        let branches = read.inspect_err(|error| {
            tracing::error!(path = %path.display(), %error, "which branches were seen open cannot be read");
        });
        SeenBranches { path, branches: Mutex::new(branches.ok()) }
    }

    /// Whether a branch was; None when that is not known any more.
    pub(crate) fn contains(&self, branch: BranchId) -> Option<bool> {
        self.lock().as_ref().map(|branches| branches.contains(&branch.get()))
    }

    /// Remembers branches that are open now, durably. What cannot be written is tried again with the next ones.
    pub(crate) async fn note(&self, workers: Workers, open: impl Iterator<Item = &BranchId>) {
        let Some(before) = self.lock().clone() else { return };
        let mut all = before.clone();
        all.extend(open.map(|branch| branch.get()));
        if all == before {
            return;
        }
        let (path, written) = (self.path.clone(), all.clone());
        match workers.run(move || write(&path, &written)).await {
            Ok(Ok(())) => *self.lock() = Some(all),
            Ok(Err(error)) | Err(error) => {
                tracing::warn!(%error, "that branches were seen open cannot be remembered now");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<BTreeSet<u32>>> {
        // A set is whole between any two changes.
        self.branches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(path: &Path, branches: &BTreeSet<u32>) -> std::io::Result<()> {
    let draft = path.with_extension("seen.draft");
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec(branches)?)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_seen_is_remembered_and_a_broken_file_is_not_an_empty_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let branch = |number| BranchId::new(number).expect("a branch");
        let seen = SeenBranches::read(directory.path(), 1);
        assert_eq!(seen.contains(branch(4)), Some(false));
        seen.note(Workers::Threads, [branch(4), branch(7)].iter()).await;
        seen.note(Workers::Threads, [branch(1)].iter()).await;
        let again = SeenBranches::read(directory.path(), 1);
        assert_eq!([1, 4, 7, 8].map(|number| again.contains(branch(number))), [true, true, true, false].map(Some));
        std::fs::write(directory.path().join("server-1.seen"), "[1,").expect("written");
        let broken = SeenBranches::read(directory.path(), 1);
        broken.note(Workers::Threads, [branch(4)].iter()).await;
        assert_eq!(broken.contains(branch(4)), None);
    }
}
