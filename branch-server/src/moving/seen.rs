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
    branches: Mutex<BTreeSet<u32>>,
}

impl SeenBranches {
    /// What was seen before. A file that cannot be read counts as empty: it is written again as branches are seen.
    pub(crate) fn read(directory: &Path, server: u32) -> SeenBranches {
        let path = directory.join(format!("server-{server}.seen"));
        let branches = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "which branches were seen open is not known any more");
                BTreeSet::new()
            }),
            Err(_) => BTreeSet::new(),
        };
        SeenBranches { path, branches: Mutex::new(branches) }
    }

    /// Whether a branch was.
    pub(crate) fn contains(&self, branch: BranchId) -> bool {
        self.lock().contains(&branch.get())
    }

    /// Remembers branches that are open now, durably. What cannot be written is tried again with the next ones.
    pub(crate) async fn note(&self, workers: Workers, open: impl Iterator<Item = &BranchId>) {
        let open: BTreeSet<u32> = open.map(|branch| branch.get()).collect();
        let all: BTreeSet<u32> = self.lock().union(&open).copied().collect();
        if all == *self.lock() {
            return;
        }
        let (path, written) = (self.path.clone(), all.clone());
        match workers.run(move || write(&path, &written)).await {
            Ok(Ok(())) => *self.lock() = all,
            Ok(Err(error)) | Err(error) => {
                tracing::warn!(%error, "that branches were seen open cannot be remembered now");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<u32>> {
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
    async fn what_was_seen_is_remembered_and_a_broken_file_is_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let branch = |number| BranchId::new(number).expect("a branch");
        let seen = SeenBranches::read(directory.path(), 1);
        assert!(!seen.contains(branch(4)));
        seen.note(Workers::Threads, [branch(4), branch(7)].iter()).await;
        seen.note(Workers::Threads, [branch(1)].iter()).await;
        let again = SeenBranches::read(directory.path(), 1);
        assert_eq!([1, 4, 7, 8].map(|number| again.contains(branch(number))), [true, true, true, false]);
        std::fs::write(directory.path().join("server-1.seen"), "[1,").expect("written");
        assert!(!SeenBranches::read(directory.path(), 1).contains(branch(4)));
    }
}
