//! Proves a branch again from its journal alone: the chain, every row, every balance, every id, and
//! whatever is derived from them. Changes nothing, and may run beside a running bank.

mod database;
mod transfers;

pub use database::Database;
pub use transfers::{Agreement, Crossings, Disagreement, agree};

use crate::data_directory::branch_directory;
use crate::derived;
use crate::journal::lock::{BranchLock, LockError};
use crate::journal::sqlite::JOURNAL_FILE;
use crate::journal::tide::{self, Mark, TIDE_FILE};
use crate::journal::{JournalReader, OpenError, ReadError, Sequence, SqliteReader, wal};
use crate::teller::{Fold, Folded, RowError, begins_transaction, ids_of};
use bank_proto::{BranchId, TransactionKey};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Rows that one read transaction takes: longer ones would keep a running bank from emptying its
/// write-ahead log.
const ROWS_PER_READ: u64 = 20_000;

/// What was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The branch.
    pub branch: BranchId,
    /// Rows read, which is also the last one's sequence.
    pub rows: u64,
    /// Transactions, refusals included.
    pub transactions: u64,
    /// Group commits.
    pub group_commits: u64,
    /// Accounts, the bank's own included.
    pub accounts: u64,
    /// Ids found in the index's files.
    pub indexed_ids: u64,
    /// The row up to which a snapshot was there and agreed; 0 when there was none.
    pub snapshot: Sequence,
    /// The row that `journal.tide` remembers and that agreed; 0 when it remembers none.
    pub tide: Sequence,
    /// The hash that the chain ends in.
    pub head: String,
    /// What it says of transfers to and from other branches: [`agree`] compares.
    pub crossings: Crossings,
}

/// What is wrong with a branch: the first thing found.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no journal there, or it cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The write-ahead log is damaged.
    #[error("{0}")]
    Wal(String),
    /// It is another branch's journal, or says of itself what cannot be.
    #[error(transparent)]
    Branch(#[from] OpenError),
    /// A row is not what the writer wrote.
    #[error(transparent)]
    Row(#[from] RowError),
    /// One id names two transactions.
    #[error("row {second}: transaction {key} is the one of row {first} again")]
    IdTwice {
        /// The id.
        key: TransactionKey,
        /// Where it was first.
        first: Sequence,
        /// Where it is again.
        second: Sequence,
    },
    /// The journal is whole, but was longer once, or another one. Look for its write-ahead log, or
    /// restore a backup; when an older copy was put back on purpose, delete `journal.tide` and
    /// `derived.*` while the branch is stopped.
    #[error("row {sequence} was durable once, but {what}")]
    Lost {
        /// The row.
        sequence: Sequence,
        /// What is there instead.
        what: String,
    },
    /// The books do not balance.
    #[error("the trial balance is not zero in every currency")]
    Unbalanced,
    /// Something derived disagrees; deleting it while the branch is stopped makes it anew.
    #[error("derived data disagrees with the journal: {0}")]
    Derived(String),
    /// The branch's directory cannot be used.
    #[error("{0}")]
    Directory(String),
}

/// The books of a bank, wherever they are.
#[derive(Debug, Clone)]
pub enum Books {
    /// Below a data directory.
    Directory(PathBuf),
    /// In a PostgreSQL database.
    Database(Database),
}

/// Verifies one branch of a bank of so many below a data directory. `progress` is told the rows read so far and the rows
/// there are.
///
/// # Errors
/// The first thing that is wrong; for a row, which one.
pub fn branch(
    data: &Path,
    branch: BranchId,
    branches: u32,
    progress: impl FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    Books::Directory(data.to_owned()).verify(branch, branches, progress)
}

/// Reads on in a data directory: [`Books::verify_later`].
///
/// # Errors
/// The journal cannot be read or understood.
pub fn branch_later(data: &Path, report: &mut Report) -> Result<(), VerifyError> {
    Books::Directory(data.to_owned()).verify_later(report)
}

/// Verifies the journal of a branch from its rows alone, wherever they are read.
///
/// # Errors
/// The first thing that is wrong; for a row, which one.
pub fn rows(reader: &mut dyn JournalReader, branch: BranchId) -> Result<Report, VerifyError> {
    Walk::new(branch, None, None).through(reader, 0, |_, _| {})?.finish(branch, Path::new(""), false)
}

impl Books {
    /// Verifies one branch of a bank of so many. `progress` is told the rows read so far and the rows there are.
    ///
    /// # Errors
    /// The first thing that is wrong; for a row, which one.
    pub fn verify(
        &self,
        branch: BranchId,
        branches: u32,
        progress: impl FnMut(u64, u64),
    ) -> Result<Report, VerifyError> {
        match self {
            Books::Directory(data) => verify_directory(&branch_directory(data, branch), branch, branches, progress),
            Books::Database(database) => database.verify(branch, progress),
        }
    }

    /// Reads what a running branch has added since it was verified: transfers that left and outcomes of
    /// those that arrived, but no ends. When every branch has been verified first, and then every one
    /// read on, each end has its outcome and each outcome its beginning, whatever moves meanwhile.
    ///
    /// # Errors
    /// The journal cannot be read or understood.
    pub fn verify_later(&self, report: &mut Report) -> Result<(), VerifyError> {
        match self {
            Books::Directory(data) => read_on(&mut SqliteReader::open(&branch_directory(data, report.branch))?, report),
            Books::Database(database) => read_on(&mut database.reader(report.branch), report),
        }
    }
}

fn verify_directory(
    directory: &Path,
    branch: BranchId,
    branches: u32,
    progress: impl FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    // While nobody owns the branch, the log is looked at before SQLite quietly mends it, and
    // nobody may begin to write.
    let owned = match BranchLock::take(directory) {
        Ok(lock) => Some(lock),
        Err(LockError::Held { .. }) => None,
        Err(error @ LockError::Io { .. }) => return Err(VerifyError::Directory(error.to_string())),
    };
    if owned.is_some() {
        let log = directory.join(format!("{JOURNAL_FILE}-wal"));
        wal::look(&log).map_err(|error| VerifyError::Wal(format!("{}: {error}", log.display())))?;
    }
    // Read before the journal, so that it cannot be ahead of what is read there.
    let snapshot = derived::read_snapshot(directory, branch);
    let mark = tide::read(directory, branch);
    let mut reader = SqliteReader::open(directory)?;
    reader.check_branch(branch, branches, mark)?;
    // A running bank writes the runs of ids while the journal is read.
    let known = if owned.is_some() { derived::known_sequence(directory, snapshot.as_ref()) } else { 0 };
    let known = known.max(mark.map_or(0, |mark| mark.sequence));
    let walk = Walk::new(branch, snapshot, mark.filter(|mark| mark.sequence > 0));
    walk.through(&mut reader, known, progress)?.finish(branch, directory, owned.is_some())
}

fn read_on(reader: &mut dyn JournalReader, report: &mut Report) -> Result<(), VerifyError> {
    let end = reader.last_sequence()?;
    let mut next = report.rows + 1;
    while next <= end {
        let mut failure = None;
        let begin = next;
        reader.for_each(begin, &mut |row, _| {
            next = row.sequence + 1;
            match report.crossings.take(&row, false) {
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
                Ok(()) if next > end || next - begin >= ROWS_PER_READ => ControlFlow::Break(()),
                Ok(()) => ControlFlow::Continue(()),
            }
        })?;
        if let Some(error) = failure {
            return Err(error.into());
        }
        if next == begin {
            return Err(RowError { sequence: begin, what: "the row is missing".to_owned() }.into());
        }
    }
    Ok(())
}

/// The walk through a journal.
struct Walk {
    fold: Fold,
    transactions: u64,
    /// Every id that leads to a row, derived ones too.
    ids: Vec<(TransactionKey, Sequence)>,
    crossings: Crossings,
    group_commits: u64,
    snapshot: Option<Folded>,
    snapshot_agrees: Option<bool>,
    mark: Option<Mark>,
    mark_agrees: bool,
}

impl Walk {
    fn new(branch: BranchId, snapshot: Option<Folded>, mark: Option<Mark>) -> Walk {
        Walk {
            fold: Fold::from(branch, Folded::empty()),
            transactions: 0,
            ids: Vec::new(),
            crossings: Crossings::of(branch),
            group_commits: 0,
            snapshot,
            snapshot_agrees: None,
            mark,
            mark_agrees: false,
        }
    }

    /// Reads the whole journal, which was durable up to row `known` once.
    fn through(
        mut self,
        reader: &mut dyn JournalReader,
        known: Sequence,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Walk, VerifyError> {
        let end = reader.last_sequence()?;
        if known > end {
            return Err(VerifyError::Lost { sequence: known, what: format!("the journal ends at row {end}") });
        }
        while self.fold.sequence() < end {
            self.read(reader, end)?;
            progress(self.fold.sequence(), end);
        }
        Ok(self)
    }

    /// Reads on, up to the end of a group commit.
    fn read(&mut self, reader: &mut dyn JournalReader, end: Sequence) -> Result<(), VerifyError> {
        let begin = self.fold.sequence();
        let mut failure = None;
        reader.for_each(begin + 1, &mut |row, closing| {
            self.transactions += u64::from(begins_transaction(&row));
            self.ids.extend(ids_of(&row).map(|key| (key, row.sequence)));
            let taken = self.crossings.take(&row, true).and_then(|()| self.fold.take(row, closing));
            if let Err(error) = taken {
                failure = Some(error);
                return ControlFlow::Break(());
            }
            let Some(closing) = closing else { return ControlFlow::Continue(()) };
            self.group_commits += 1;
            self.mark_agrees |=
                self.mark.is_some_and(|mark| (mark.sequence, mark.head) == (self.fold.sequence(), closing.hash));
            if let Some(snapshot) = self.snapshot.as_ref().filter(|kept| kept.sequence == self.fold.sequence()) {
                self.snapshot_agrees = Some(snapshot.ledger.same_as(self.fold.ledger()));
            }
            let enough = self.fold.sequence() >= end || self.fold.sequence() - begin >= ROWS_PER_READ;
            if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        match failure {
            Some(error) => Err(error.into()),
            None if self.fold.sequence() == begin => {
                Err(RowError { sequence: begin + 1, what: "the row is missing".to_owned() }.into())
            }
            None => Ok(()),
        }
    }

    fn finish(self, branch: BranchId, directory: &Path, are_runs_whole: bool) -> Result<Report, VerifyError> {
        let folded = self.fold.finish()?;
        if !folded.ledger.is_balanced() {
            return Err(VerifyError::Unbalanced);
        }
        let mut sorted = self.ids.clone();
        sorted.sort_unstable();
        for pair in sorted.windows(2) {
            if let [(key, first), (again, second)] = *pair
                && key == again
            {
                return Err(VerifyError::IdTwice { key, first, second });
            }
        }
        if let Some(Mark { sequence, .. }) = self.mark.filter(|_| !self.mark_agrees) {
            return Err(VerifyError::Lost { sequence, what: format!("not as {TIDE_FILE} remembers it") });
        }
        let snapshot = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.sequence);
        if self.snapshot_agrees == Some(false) {
            return Err(VerifyError::Derived(format!("the snapshot at row {snapshot} holds other books")));
        }
        if snapshot > 0 && self.snapshot_agrees.is_none() {
            return Err(VerifyError::Derived(format!(
                "the snapshot at row {snapshot} is not the end of a group commit"
            )));
        }
        // A running bank writes and merges these files at any moment.
        let indexed_ids = if are_runs_whole {
            derived::check_runs(directory, branch, &self.ids).map_err(VerifyError::Derived)?
        } else {
            0
        };
        Ok(Report {
            branch,
            rows: folded.sequence,
            transactions: self.transactions,
            group_commits: self.group_commits,
            accounts: folded.ledger.account_count() as u64,
            indexed_ids,
            snapshot,
            tide: self.mark.map_or(0, |mark| mark.sequence),
            head: format!("{:?}", folded.head),
            crossings: self.crossings,
        })
    }
}
