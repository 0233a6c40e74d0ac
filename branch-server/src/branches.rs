//! The tellers of this process: their threads, their snapshots, and the scrub beside them.

use crate::derived::DerivedFiles;
use crate::environment::Workers;
use crate::journal::{JournalReader, Sequence};
use crate::service::{Bank, told_to_callers};
use crate::teller::opening::OpenBranchError;
use crate::teller::{BatchReport, Desk, Fatal, Fold, Folded, Parcel, RowError, TellerHandle, TellerWork, spawn};
use bank_proto::BranchId;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Rows after which the books are written down again, so that opening folds at most about so many.
const ROWS_PER_SNAPSHOT: u64 = 1_000_000;

/// The scrub reads so many rows, then pauses: it has all day, the tellers have not.
const SCRUB_ROWS: usize = 2_000;
const SCRUB_PAUSE: Duration = Duration::from_millis(100);

/// What a branch needs of the machine while it serves.
#[derive(Clone)]
pub(crate) struct Machine {
    /// Who does what takes long.
    pub(crate) workers: Workers,
    /// Ends the process.
    pub(crate) end: Arc<dyn Fn(BranchId) + Send + Sync>,
}

/// A teller at work.
pub(crate) struct Teller {
    branch: BranchId,
    files: DerivedFiles,
    handle: TellerHandle,
    synced: watch::Receiver<Sequence>,
    epoch: u64,
    work: TellerWork,
    workers: Workers,
}

impl Teller {
    /// Starts the thread.
    ///
    /// The books were opened from the snapshot of row `opened_from`. What leaves for other branches goes into `parcels`; the desk's outbox, which an earlier owner left
    /// behind, goes there first.
    pub(crate) fn start(
        branch: BranchId,
        files: DerivedFiles,
        mut desk: Desk,
        opened_from: Sequence,
        parcels: mpsc::UnboundedSender<Vec<Parcel>>,
        machine: Machine,
    ) -> Result<Teller, Fatal> {
        // The courier ends after the teller: it takes whatever is sent.
        let _ = parcels.send(desk.outbox()?);
        let epoch = desk.journal().epoch();
        let mut snapshots = Snapshots::new(branch, files.clone(), desk.journal().last_sequence());
        show_snapshot(branch, opened_from);
        let (newest, synced) = watch::channel(desk.journal().last_sequence());
        let label = branch.to_string();
        let commits = metrics::counter!("florin_group_commits_total", "branch" => label.clone());
        let rows = metrics::counter!("florin_journal_rows_total", "branch" => label.clone());
        let full = metrics::counter!("florin_storage_full_total", "branch" => label.clone());
        let seconds = metrics::histogram!("florin_batch_seconds", "branch" => label.clone());
        let commit_seconds = metrics::histogram!("florin_group_commit_seconds", "branch" => label.clone());
        let commit_rows = metrics::histogram!("florin_group_commit_rows", "branch" => label.clone());
        let holds = metrics::gauge!("florin_open_holds", "branch" => label.clone());
        let sequence = metrics::gauge!("florin_journal_sequence", "branch" => label);
        sequence.set(desk.journal().last_sequence() as f64);
        let between = move |desk: &Desk, report: BatchReport| {
            seconds.record(report.elapsed);
            if report.rows > 0 {
                commits.increment(1);
                commit_seconds.record(report.commit);
                commit_rows.record(u32::try_from(report.rows).unwrap_or(u32::MAX));
                rows.increment(report.rows as u64);
                sequence.set(desk.journal().last_sequence() as f64);
                holds.set(u32::try_from(desk.open_holds()).unwrap_or(u32::MAX));
                newest.send_replace(desk.journal().last_sequence());
                snapshots.offer(desk);
            }
            if !report.parcels.is_empty() {
                let _ = parcels.send(report.parcels);
            }
            if report.storage_full {
                full.increment(1);
            }
        };
        let workers = machine.workers;
        let on_fatal = move |fatal: Fatal| {
            // What is stored is not known. Answering anything more could promise what is not
            // there: end at once, and recover from the journal.
            tracing::error!(%branch, error = %fatal, "the journal failed");
            (machine.end)(branch);
        };
        let spawned = spawn(workers, &format!("teller-{branch}"), desk, between, on_fatal);
        let (handle, work) = spawned.map_err(|error| Fatal(error.to_string()))?;
        Ok(Teller { branch, files, handle, synced, epoch, work, workers })
    }

    /// The way to it.
    pub(crate) fn handle(&self) -> TellerHandle {
        self.handle.clone()
    }

    /// The last row that is durable, as it grows.
    pub(crate) fn synced(&self) -> watch::Receiver<Sequence> {
        self.synced.clone()
    }

    /// The epoch under which it writes.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Waits for the end of one that can serve no more: its journal failed, or is another server's.
    pub(crate) async fn abandon(self) {
        stop(&self.handle, self.workers).await;
        // A broken invariant was told when the teller's thread ended. What is dropped may wait for a thread.
        if let Ok(desk) = self.work.ended().await {
            let _ = self.workers.run(move || drop(desk)).await;
        }
    }

    /// Tells it to end, waits until it has served what waits, and writes the books down.
    pub(crate) async fn close(self) {
        stop(&self.handle, self.workers).await;
        let (workers, branch, files) = (self.workers, self.branch, self.files);
        let Ok(desk) = self.work.ended().await else {
            tracing::error!(%branch, "the teller broke an invariant");
            return;
        };
        let write = move || {
            let (sequence, head) = (desk.journal().last_sequence(), desk.journal().head());
            match desk.snapshot() {
                Some(payload) => files.write_snapshot(branch, sequence, head, &payload),
                None => Ok(()),
            }
        };
        if let Ok(Err(error)) | Err(error) = workers.run(write).await {
            tracing::warn!(%branch, %error, "the snapshot was not written; the next opening takes longer");
        }
    }
}

/// Tells a teller to end. A queue that is full waits for its teller, which may wait for a database.
async fn stop(handle: &TellerHandle, workers: Workers) {
    let handle = handle.clone();
    // The process ends when this cannot be done.
    let _ = workers.run(move || handle.stop()).await;
}

/// Writes the books down every now and then, on a thread beside the teller.
struct Snapshots {
    branch: BranchId,
    files: DerivedFiles,
    last: Sequence,
    writer: Option<JoinHandle<()>>,
}

impl Snapshots {
    fn new(branch: BranchId, files: DerivedFiles, last: Sequence) -> Snapshots {
        Snapshots { branch, files, last, writer: None }
    }

    fn offer(&mut self, desk: &Desk) {
        let sequence = desk.journal().last_sequence();
        let busy = self.writer.as_ref().is_some_and(|writer| !writer.is_finished());
        if sequence - self.last < ROWS_PER_SNAPSHOT || busy {
            return;
        }
        let Some(payload) = desk.snapshot() else { return };
        self.last = sequence;
        let (branch, files) = (self.branch, self.files.clone());
        let head = desk.journal().head();
        let write = move || match files.write_snapshot(branch, sequence, head, &payload) {
            Ok(()) => show_snapshot(branch, sequence),
            Err(error) => {
                tracing::warn!(%branch, %error, "a snapshot was not written; the next opening takes longer");
            }
        };
        // Without a thread there is no snapshot now; the next one is a million rows away.
        self.writer = std::thread::Builder::new().name(format!("snapshot-{branch}")).spawn(write).ok();
    }
}

/// Shows operators up to which row the books are written down: an opening folds what comes after.
fn show_snapshot(branch: BranchId, sequence: Sequence) {
    metrics::gauge!("florin_snapshot_sequence", "branch" => branch.to_string()).set(sequence as f64);
}

/// Shows operators the one state that a branch is in.
pub(crate) fn report_state(branch: BranchId, state: &'static str) {
    for each in ["open", "damaged", "unavailable", "away"] {
        let value = if each == state { 1.0 } else { 0.0 };
        metrics::gauge!("florin_branch_state", "branch" => branch.to_string(), "state" => each).set(value);
    }
}

/// Reads the journal of each branch that opens from its first row, slowly and one at a time, and
/// stops a branch at the first row that is not what was written.
pub(crate) fn scrub(
    bank: Arc<Bank>,
    workers: Workers,
    mut opened: mpsc::UnboundedReceiver<BranchId>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let branch = tokio::select! {
                biased;
                () = bank.drained() => return,
                Some(branch) = opened.recv() => branch,
                else => return,
            };
            // One that has gone again meanwhile is read when it opens the next time.
            let Some(reader) = bank.reader(branch) else { continue };
            let scrubbed = match reader {
                Ok(reader) => scrub_branch(&bank, branch, reader, workers).await,
                Err(error) => Err(error.into()),
            };
            match scrubbed {
                Ok(None) => return,
                Ok(Some(rows)) => tracing::debug!(%branch, rows, "the journal was read through and is whole"),
                Err(error) if error.may_pass() => {
                    tracing::warn!(%branch, %error, "the journal was not read through; it is when the branch opens again");
                }
                Err(error) => {
                    tracing::error!(%branch, %error, "the branch's journal is damaged; the branch stops");
                    report_state(branch, "damaged");
                    bank.close(branch, told_to_callers(&error));
                }
            }
        }
    })
}

/// None when the server was told to stop first. A step that has begun is waited for, so that nothing
/// reads the journal any more when the server has stopped.
async fn scrub_branch(
    bank: &Bank,
    branch: BranchId,
    mut reader: Box<dyn JournalReader>,
    workers: Workers,
) -> Result<Option<Sequence>, OpenBranchError> {
    let looked = workers.run(move || {
        let end = reader.last_sequence();
        (reader, end)
    });
    let (mut reader, end) = looked.await?;
    let end = end?;
    let mut fold = Fold::from(branch, Folded::empty());
    while fold.sequence() < end {
        let step = workers.run(move || {
            let outcome = scrub_step(&mut *reader, &mut fold);
            (reader, fold, outcome)
        });
        let outcome;
        (reader, fold, outcome) = step.await?;
        outcome?;
        tokio::select! {
            biased;
            () = bank.drained() => return Ok(None),
            () = tokio::time::sleep(SCRUB_PAUSE) => {}
        }
    }
    Ok(Some(end))
}

fn scrub_step(reader: &mut dyn JournalReader, fold: &mut Fold) -> Result<(), OpenBranchError> {
    let mut failure = None;
    let mut rows = 0;
    let read = reader.for_each(fold.sequence() + 1, &mut |row, closing| {
        rows += 1;
        let closes = closing.is_some();
        match fold.take(row, closing) {
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
            Ok(()) if rows >= SCRUB_ROWS && closes => ControlFlow::Break(()),
            Ok(()) => ControlFlow::Continue(()),
        }
    });
    read?;
    match failure {
        Some(error) => Err(error.into()),
        None if rows == 0 => {
            let what = "it is missing".to_owned();
            Err(RowError { sequence: fold.sequence() + 1, what }.into())
        }
        None => Ok(()),
    }
}
