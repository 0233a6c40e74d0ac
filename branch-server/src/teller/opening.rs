//! A branch's journal, and what was derived from it -> a desk that may serve: snapshot, then the journal's tail,
//! every row of it checked.

use super::desk::Desk;
use super::fold::{Fold, Folded, ids_of};
use super::rows::RowError;
use crate::derived::{self, TransactionIds};
use crate::environment::Clock;
use crate::journal::Channel;
use crate::journal::{Journal, JournalReader, JournalSettings, OpenError, ReadError, Sequence, SqliteJournal};
use crate::planted::{Bug, is_planted};
use bank_proto::BranchId;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// A branch that is ready to serve.
pub struct OpenedBranch {
    /// Its teller's desk.
    pub desk: Desk,
    /// A reader beside it.
    pub reader: Box<dyn JournalReader>,
    /// The rows that were folded, rather than taken from the snapshot.
    pub folded_rows: u64,
}

/// Why a branch must not serve.
#[derive(Debug, thiserror::Error)]
pub enum OpenBranchError {
    /// The journal would not open.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row is not what the writer wrote.
    #[error(transparent)]
    Row(#[from] RowError),
    /// The rows make another chain than the one that the journal ends in.
    #[error("the journal's chain ends in another hash than its last group commit's")]
    Chain,
    /// The files beside the journal cannot be written.
    #[error("files beside the journal cannot be used: {0}")]
    Files(#[from] std::io::Error),
}

impl OpenBranchError {
    /// Whether trying again later may help, with nobody touching the branch: what is in the way is its
    /// disk, the system or another program, and nothing is known to be wrong with its books.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            OpenBranchError::Journal(error) => error.may_pass(),
            OpenBranchError::Files(_) | OpenBranchError::Read(ReadError::Unavailable(_)) => true,
            OpenBranchError::Read(_) | OpenBranchError::Row(_) | OpenBranchError::Chain => false,
        }
    }
}

/// A journal that its one writer has opened, and a reader beside it.
pub type OpenedJournal = (Box<dyn Journal>, Box<dyn JournalReader>);

/// Opens a branch whose journal is in its directory, or founds it when the directory is empty. `decorate` may put
/// something between the desk and its journal; a bank in earnest puts nothing there.
///
/// # Errors
/// Why the branch must not serve; another branch may.
pub fn open_branch(
    directory: &Path,
    branch: BranchId,
    branches: u32,
    clock: Arc<dyn Clock>,
    decorate: impl FnOnce(SqliteJournal) -> Box<dyn Journal>,
) -> Result<OpenedBranch, OpenBranchError> {
    open_with(directory, branch, clock, |known_sequence| {
        let settings = JournalSettings { known_sequence, ..JournalSettings::new(branch, branches) };
        let journal = SqliteJournal::open(directory, settings)?;
        let reader = Box::new(journal.reader()?);
        Ok((decorate(journal), reader))
    })
}

/// Opens a branch, wherever its journal is. `directory` has what was derived from it; `open` is told up to which row
/// that goes, for a journal that ends before it has lost rows.
///
/// # Errors
/// Why the branch must not serve; another branch may.
pub(crate) fn open_with(
    directory: &Path,
    branch: BranchId,
    clock: Arc<dyn Clock>,
    open: impl FnOnce(Sequence) -> Result<OpenedJournal, OpenBranchError>,
) -> Result<OpenedBranch, OpenBranchError> {
    let snapshot = derived::read_snapshot(directory, branch);
    let (journal, mut reader) = open(derived::known_sequence(directory, snapshot.as_ref()))?;
    let (mut ids, covered) = TransactionIds::open(directory, branch)?;
    let begin = snapshot.unwrap_or_else(Folded::empty);
    let begin_sequence = begin.sequence;
    // Ids that the runs do not cover come from rows that the snapshot may.
    let mut fold = Fold::from(branch, begin);
    let mut failure: Option<OpenBranchError> = None;
    reader.for_each(begin_sequence.min(covered) + 1, &mut |row, closing| {
        let taken = (|| {
            let is_forgotten = is_planted(Bug::ExpiredInbox) && row.channel == Channel::Branch;
            if row.sequence > covered && !is_forgotten {
                ids.insert(ids_of(&row), row.sequence);
            }
            if row.sequence > begin_sequence {
                fold.take(row, closing)?;
            }
            Ok(())
        })();
        match taken {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let folded = fold.finish()?;
    let is_its_own = folded.head == journal.head() && folded.sequence == journal.last_sequence();
    if !is_its_own && !is_planted(Bug::EndReadBefore) {
        return Err(OpenBranchError::Chain);
    }
    let folded_rows = folded.sequence - begin_sequence;
    let desk = Desk::new(branch, folded.ledger, journal, ids, clock, folded.booked_at);
    Ok(OpenedBranch { desk, reader, folded_rows })
}
