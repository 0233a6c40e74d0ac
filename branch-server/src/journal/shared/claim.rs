//! Taking a branch over: the former owner writes nothing more, and then its journal is opened.

use super::{SharedJournal, SharedStore, StoreError};
use crate::environment::Clock;
use crate::journal::tide::{Mark, TIDE_FILE, Tide};
use crate::journal::{ChainHash, OpenError, Sequence};
use crate::planted::{Bug, is_planted};
use bank_proto::BranchId;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What whoever takes a branch over knows of it.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// The branch.
    pub branch: BranchId,
    /// The ordinal of the branch server that takes it.
    pub owner: u32,
    /// The epoch of the owner before it. When another has taken it meanwhile, this claim comes to nothing.
    pub seen_epoch: u64,
    /// The highest row that any derived file says was durable; 0 when none says anything. A journal that ends before
    /// it has lost rows and is refused.
    pub known_sequence: Sequence,
}

impl SharedJournal {
    /// Takes a branch over and opens its journal. `directory` is this server's own, for `journal.tide`.
    ///
    /// When this returns, the branch is owned by this process, no former owner can write any more, and everything in
    /// the journal is as durable as the database makes it.
    ///
    /// # Errors
    /// [`OpenError`] says why the branch must not serve.
    pub fn open(
        store: Arc<dyn SharedStore>,
        claim: Claim,
        directory: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<SharedJournal, OpenError> {
        let Claim { branch, owner, seen_epoch, known_sequence } = claim;
        let unavailable = |what: String| OpenError::Database { what };
        let mut link = store.connect(branch).map_err(|error: StoreError| unavailable(error.to_string()))?;
        let shown = PathBuf::from(link.shown());
        let path = || shown.clone();
        let before = if is_planted(Bug::EndReadBefore) { Some(link.last_row().map_err(unavailable)?) } else { None };
        let epoch = link.claim(owner, seen_epoch).map_err(unavailable)?.ok_or(OpenError::Claimed { branch })?;
        // Nothing more is written under an older epoch. This waits for whatever the claim may not have waited for.
        let standing = link.stand(epoch).map_err(unavailable)?.ok_or(OpenError::Claimed { branch })?;
        let last = match before {
            Some(last) => last,
            None => link.last_row().map_err(unavailable)?,
        };
        let (found, head, written_epoch) = last.unwrap_or((0, ChainHash::default(), 0));
        let damaged = |what: String| OpenError::Damaged { path: path(), what };
        if found != standing.head && before.is_none() {
            return Err(damaged(format!("its last row is {found}, but {} was written", standing.head)));
        }
        let mut tide = Tide::open(directory, branch);
        let mark = tide.found();
        let known = known_sequence.max(mark.map_or(0, |mark| mark.sequence));
        if found < known {
            return Err(OpenError::RowsMissing { path: path(), found, known });
        }
        if let Some(mark) = mark.filter(|mark| mark.sequence > 0) {
            let hash = link.group_hash(mark.sequence).map_err(unavailable)?;
            if hash != Some(mark.head) {
                return Err(damaged(format!("row {} is not the one that {TIDE_FILE} remembers", mark.sequence)));
            }
        }
        if found > 0 && head == ChainHash::default() {
            return Err(damaged(format!("its last row {found} does not close a group commit")));
        }
        if written_epoch >= epoch {
            return Err(damaged(format!("it was written under epoch {written_epoch}, and this is only {epoch}")));
        }
        tide.mark(Mark { epoch, sequence: found, head });
        Ok(SharedJournal {
            store,
            clock,
            branch,
            epoch,
            session: standing.session,
            link: Some(link),
            last_sequence: found,
            head,
            tide,
            failure: None,
            seal_buffer: Vec::new(),
        })
    }
}
