//! Every transaction id for ever, at bounded cost: at most 2 bytes of memory per past id.
//!
//! The newest ids are in a map. When enough have gathered, they become an immutable sorted file, a
//! run, on a thread beside the teller; runs of about the same size are merged, so that their number
//! grows with the logarithm of the ids. A lookup asks each run's filter, and only where that says
//! "perhaps" reads one page of the file. All of it is derived from the journal and may be deleted.
//!
//! - [`run`]: one file
//! - [`filter`]: "certainly not" or "perhaps"
//! - [`by_id`]: the map

mod by_id;
mod filter;
mod run;
#[cfg(test)]
mod tests;

use crate::journal::Sequence;
use crate::journal::postgres::SharedFiles;
use bank_proto::{BranchId, TransactionKey};
pub(crate) use by_id::ById;
use run::{Run, RunFile};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Ids that gather in memory before they become a run.
const IDS_PER_RUN: usize = 128 * 1024;

/// While a long merge goes on, so many runs' worth of ids may gather before the teller waits for it.
const MOST_RECENT_RUNS: usize = 8;

/// So many runs of one size are merged into one of the next.
const MERGE_FACTOR: usize = 4;

/// The index from a transaction's id to the first row of it, and from ids derived of it to rows that follow.
pub struct TransactionIds {
    directory: PathBuf,
    /// Where runs go besides, for whoever serves the branch next.
    shared: Option<SharedFiles>,
    branch: BranchId,
    ids_per_run: usize,
    recent: ById<Sequence>,
    /// The last row whose id is in `recent`, or in what came before it.
    last: Sequence,
    /// Ids inserted since the last run was begun.
    since_flush: usize,
    /// Oldest first; each begins where the one before it ends.
    runs: Vec<Arc<Run>>,
    flush: Option<Flush>,
}

/// Ids on their way into a run.
struct Flush {
    ids: Arc<ById<Sequence>>,
    /// Ends with the runs as they are after it.
    thread: JoinHandle<io::Result<Vec<Arc<Run>>>>,
}

/// The highest row that any run claims to cover, without reading more than names.
pub(super) fn claimed_sequence(directory: &Path) -> Sequence {
    // A directory that is not there yet claims nothing.
    RunFile::list(directory).unwrap_or_default().iter().map(|file| file.last).max().unwrap_or(0)
}

/// Checks the runs of a directory against the journal, changing nothing: every id that `rows` gives
/// (in order of their rows) leads to its row. Returns how many ids the runs hold, or what is wrong.
///
/// # Errors
/// The first thing that is wrong, for people.
pub fn check_runs(directory: &Path, branch: BranchId, rows: &[(TransactionKey, Sequence)]) -> Result<u64, String> {
    let mut held = 0;
    for file in RunFile::list(directory).map_err(|error| error.to_string())? {
        let name = file.name();
        let run = Run::open(directory, branch, &file).map_err(|error| format!("{name}: {error}"))?;
        let run = run.ok_or_else(|| format!("{name} is damaged"))?;
        let begin = rows.partition_point(|(_, sequence)| *sequence < file.first);
        let end = rows.partition_point(|(_, sequence)| *sequence <= file.last);
        if run.len() != end - begin {
            return Err(format!("{name} holds {} ids, but the journal has {} there", run.len(), end - begin));
        }
        for (key, sequence) in &rows[begin..end] {
            if run.get(*key).map_err(|error| format!("{name}: {error}"))? != Some(*sequence) {
                return Err(format!("{name} does not lead to row {sequence} of transaction {key}"));
            }
        }
        held += run.len() as u64;
    }
    Ok(held)
}

impl TransactionIds {
    /// Opens the index in a branch's directory, and says up to which row it is complete: ids of
    /// later rows are to be inserted again from the journal. Runs that are damaged, or stand behind a
    /// gap, are deleted.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn open(directory: &Path, branch: BranchId) -> io::Result<(TransactionIds, Sequence)> {
        TransactionIds::open_with(directory, branch, IDS_PER_RUN)
    }

    /// Gives every run that is written from here on to whoever serves the branch next, too.
    pub(crate) fn share(&mut self, shared: Option<SharedFiles>) {
        self.shared = shared;
    }

    fn open_with(directory: &Path, branch: BranchId, ids_per_run: usize) -> io::Result<(TransactionIds, Sequence)> {
        let mut runs: Vec<Arc<Run>> = Vec::new();
        let mut covered = 0;
        for file in RunFile::list(directory)? {
            // A merge that was cut short leaves its sources behind; the merged run comes first.
            let is_merged = file.last <= covered;
            let follows = file.first == covered + 1;
            match if follows { Run::open(directory, branch, &file)? } else { None } {
                Some(run) => {
                    covered = file.last;
                    runs.push(Arc::new(run));
                }
                None => {
                    if !is_merged {
                        tracing::warn!(%branch, file = %file.name(), "a run of transaction ids is damaged; it is made again from the journal");
                    }
                    std::fs::remove_file(directory.join(file.name()))?;
                }
            }
        }
        let ids = TransactionIds {
            directory: directory.to_owned(),
            shared: None,
            branch,
            ids_per_run,
            recent: ById::default(),
            last: covered,
            since_flush: 0,
            runs,
            flush: None,
        };
        Ok((ids, covered))
    }

    /// Adds all the ids that lead to a durable row: a run ends at a row and must hold all of that row's. Waits for a merge only when eight runs' worth of ids have gathered
    /// meanwhile, so that memory stays bounded.
    pub fn insert(&mut self, keys: impl IntoIterator<Item = TransactionKey>, sequence: Sequence) {
        for key in keys {
            self.recent.insert(key, sequence);
            self.last = sequence;
            self.since_flush += 1;
        }
        if self.since_flush >= self.ids_per_run {
            let is_busy = self.flush.as_ref().is_some_and(|flush| !flush.thread.is_finished());
            if is_busy && self.recent.len() < MOST_RECENT_RUNS * self.ids_per_run {
                // A long merge: gather on, and look again before long.
                self.since_flush -= self.ids_per_run.div_ceil(8);
                return;
            }
            self.since_flush = 0;
            self.finish_flush();
            self.begin_flush();
        }
    }

    /// The first row of the transaction with this id, if there ever was one.
    ///
    /// # Errors
    /// A run could not be read.
    pub fn get(&self, key: TransactionKey) -> io::Result<Option<Sequence>> {
        let in_memory = |ids: &ById<Sequence>| ids.get(&key).copied();
        if let Some(sequence) = in_memory(&self.recent) {
            return Ok(Some(sequence));
        }
        if let Some(sequence) = self.flush.as_ref().and_then(|flush| in_memory(&flush.ids)) {
            return Ok(Some(sequence));
        }
        for run in self.runs.iter().rev() {
            if let Some(sequence) = run.get(key)? {
                return Ok(Some(sequence));
            }
        }
        Ok(None)
    }

    /// Bytes of memory that the runs take, filters and page marks together.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.runs.iter().map(|run| run.memory_bytes()).sum()
    }

    fn begin_flush(&mut self) {
        let ids = Arc::new(std::mem::take(&mut self.recent));
        let first = self.runs.last().map_or(0, |run| run.last()) + 1;
        let (directory, branch, last) = (self.directory.clone(), self.branch, self.last);
        let (flushed, runs, unit) = (ids.clone(), self.runs.clone(), self.ids_per_run);
        let (shared, before) = (self.shared.clone(), self.runs.clone());
        let work = move || {
            let runs = write_and_merge(&directory, branch, first, last, &flushed, runs, unit)?;
            if let Some(shared) = shared {
                give(&shared, branch, &directory, &before, &runs);
            }
            Ok(runs)
        };
        match std::thread::Builder::new().name(format!("ids-{}", self.branch)).spawn(work) {
            Ok(thread) => self.flush = Some(Flush { ids, thread }),
            Err(error) => self.keep(&ids, &error),
        }
    }

    fn finish_flush(&mut self) {
        if let Some(flush) = self.flush.take() {
            match flush.thread.join() {
                Ok(Ok(runs)) => self.runs = runs,
                Ok(Err(error)) => self.keep(&flush.ids, &error),
                Err(_) => self.keep(&flush.ids, &io::Error::other("a broken invariant")),
            }
        }
    }

    /// Ids that could not be written stay in memory and go into the next run: a full disk must not
    /// stop a branch, and it refuses new orders by itself.
    fn keep(&mut self, ids: &ById<Sequence>, error: &io::Error) {
        tracing::warn!(branch = %self.branch, ids = ids.len(), %error, "a run of transaction ids was not written; they stay in memory");
        self.recent.extend(ids);
    }
}

impl Drop for TransactionIds {
    fn drop(&mut self) {
        // What cannot be written is made again from the journal.
        self.finish_flush();
    }
}

/// Gives the runs that are new to whoever serves the branch next, and takes back those that went into them.
fn give(shared: &SharedFiles, branch: BranchId, directory: &Path, before: &[Arc<Run>], after: &[Arc<Run>]) {
    let names = |runs: &[Arc<Run>]| runs.iter().map(|run| run.name()).collect::<Vec<_>>();
    let (old, new) = (names(before), names(after));
    let given = new.iter().filter(|name| !old.contains(name)).try_for_each(|name| shared.put(directory, name));
    let gone: Vec<String> = old.into_iter().filter(|name| !new.contains(name)).collect();
    if let Err(error) = given.and_then(|()| if gone.is_empty() { Ok(()) } else { shared.remove(&gone) }) {
        tracing::warn!(%branch, %error, "a run of transaction ids was not given on; the next owner makes it again");
    }
}

/// Writes ids as a run, and merges as long as enough runs of one size stand at the end.
fn write_and_merge(
    directory: &Path,
    branch: BranchId,
    first: Sequence,
    last: Sequence,
    ids: &ById<Sequence>,
    mut runs: Vec<Arc<Run>>,
    unit: usize,
) -> io::Result<Vec<Arc<Run>>> {
    let mut sorted: Vec<(u128, Sequence)> = ids.iter().map(|(key, sequence)| (key.0, *sequence)).collect();
    sorted.sort_unstable();
    let count = sorted.len();
    let entries = sorted.into_iter().map(Ok);
    runs.push(Arc::new(Run::write(directory, branch, RunFile { first, last }, count, entries)?));
    let mut size = unit * MERGE_FACTOR;
    loop {
        let small = runs.iter().rev().take_while(|run| run.len() < size).count();
        if small < MERGE_FACTOR {
            return Ok(runs);
        }
        let sources = runs.split_off(runs.len() - small);
        runs.push(Arc::new(Run::merge(directory, branch, &sources)?));
        for source in sources {
            source.delete(directory)?;
        }
        size *= MERGE_FACTOR;
    }
}
