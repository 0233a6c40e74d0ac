//! Taking a branch over and opening it, from a database that all servers share.

use crate::branches::{Machine, Teller};
use crate::data_directory;
use crate::derived::DerivedFiles;
use crate::environment::Clock;
use crate::hosting::begin;
use crate::journal::shared::{Claim, SharedJournal, SharedStore};
use crate::service::OpenBranch;
use crate::teller::Fatal;
use crate::teller::opening::{self, OpenBranchError};
use crate::transfers::Courier;
use bank_proto::BranchId;
use std::path::PathBuf;
use std::sync::Arc;

/// Opens branches of a bank in a shared database for one server.
#[derive(Clone)]
pub(crate) struct SharedOpener {
    pub(crate) store: Arc<dyn SharedStore>,
    /// This server's own directory for what is derived from journals.
    pub(crate) cache: PathBuf,
    pub(crate) server: u32,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) machine: Machine,
    /// How much may be under way from one branch to one other.
    pub(crate) clearing_limit: i64,
}

/// A branch that serves, its teller, and the courier that takes its transfers to other branches.
pub(crate) type Taken = (OpenBranch, Teller, Courier);

/// Why a branch was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    /// What stands in the way is the branch's.
    #[error(transparent)]
    Branch(#[from] OpenBranchError),
    /// The system has no thread left, or the journal went away.
    #[error(transparent)]
    Teller(#[from] Fatal),
}

impl SharedOpener {
    /// Takes a branch over from whoever had it under `seen_epoch`, and opens it. Takes as long as the journal's tail
    /// is; to be done by a worker.
    pub(crate) fn take(&self, branch: BranchId, seen_epoch: u64) -> Result<Taken, TakeError> {
        let shared = self.store.files(branch);
        let directory = data_directory::branch_directory(&self.cache, branch);
        let files = DerivedFiles { directory, shared };
        // The database may have another primary than when these were made.
        self.store.renew();
        // Before the branch is taken, so that it is away for the shorter time: whatever the former owner writes from
        // here on stands in the journal.
        if let Err(error) = files.fetch() {
            tracing::warn!(%branch, %error, "what the former owner derived is not here; the opening takes longer");
        }
        std::fs::create_dir_all(&files.directory).map_err(OpenBranchError::from)?;
        let opened = opening::open_with(&files.directory, branch, self.clock.clone(), |known_sequence| {
            let claim = Claim { branch, owner: self.server, seen_epoch, known_sequence };
            let journal = SharedJournal::open(self.store.clone(), claim, &files.directory, self.clock.clone())?;
            Ok((Box::new(journal), self.store.reader(branch)))
        })?;
        Ok(begin(branch, opened, files, self.clearing_limit, self.machine.clone())?)
    }
}
