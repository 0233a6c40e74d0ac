//! A branch's books as they were: read from its journal, beside the teller.

use super::not_a_token;
use crate::cut::BranchCut;
use crate::derived;
use crate::journal::{JournalReader, ReadError, Sequence};
use crate::ledger::Ledger;
use crate::service::bank::Bank;
use crate::service::hosted::OpenBranch;
use crate::teller::{Declined, Fold, Folded, RowError};
use bank_proto::{BranchId, ErrorCode, Timestamp};
use std::ops::ControlFlow;
use std::path::Path;

/// Rows that one read of the journal takes: reads are short, so that the write-ahead log can be emptied.
const ROWS_PER_READ: u64 = 20_000;

#[derive(Debug, thiserror::Error)]
enum PastError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Row(#[from] RowError),
    #[error("no group commit ends there")]
    NoSuchRow,
}

/// The books up to a row. Where the teller remembers a snapshot that is old enough the reading begins there,
/// else at the first row.
pub(super) async fn books(
    bank: &Bank,
    open: OpenBranch,
    branch: BranchId,
    sequence: Sequence,
) -> Result<BranchCut, Declined> {
    // Whole books stand in memory meanwhile: one at a time.
    let place = bank.admit_past().await?;
    let folded = bank.workers().run(move || {
        let reader = open.reader()?;
        let folded = fold(reader, &open.derived, branch, sequence);
        drop(place);
        folded
    });
    match folded.await {
        Ok(Ok(cut)) => Ok(cut),
        Ok(Err(PastError::NoSuchRow)) => {
            Err(not_a_token("names rows that are not the end of anything").with("branch_id", branch))
        }
        Ok(Err(error)) => {
            tracing::error!(%branch, %error, "the books of an earlier row cannot be read");
            Err(Declined::new(ErrorCode::BranchUnavailable).with("branch_id", branch))
        }
        Err(_) => Err(Declined::new(ErrorCode::Internal)),
    }
}

fn fold(
    mut reader: Box<dyn JournalReader>,
    derived: &Path,
    branch: BranchId,
    sequence: Sequence,
) -> Result<BranchCut, PastError> {
    if sequence == 0 {
        return Ok(BranchCut::of(&Ledger::default(), 0, Timestamp(i64::MIN)));
    }
    if sequence > reader.last_sequence()? {
        return Err(PastError::NoSuchRow);
    }
    let snapshot = derived::read_snapshot(derived, branch).filter(|kept| kept.sequence <= sequence);
    let mut fold = Fold::from(branch, snapshot.unwrap_or_else(Folded::empty));
    while fold.sequence() < sequence {
        let begin = fold.sequence();
        let mut failure = None;
        reader.for_each(begin + 1, &mut |row, closing| {
            let closes = closing.is_some();
            if let Err(error) = fold.take(row, closing) {
                failure = Some(error);
                return ControlFlow::Break(());
            }
            let enough = fold.sequence() >= sequence || fold.sequence() - begin >= ROWS_PER_READ;
            if closes && enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(error) = failure {
            return Err(error.into());
        }
        if fold.sequence() == begin {
            return Err(RowError { sequence: begin + 1, what: "the row is missing".to_owned() }.into());
        }
    }
    let Folded { ledger, sequence: reached, .. } = fold.finish()?;
    // A snapshot remembers when it was made, which is later than its last row.
    match reader.row(sequence)? {
        Some(row) if reached == sequence => Ok(BranchCut::of(&ledger, sequence, row.booked_at)),
        _ => Err(PastError::NoSuchRow),
    }
}
