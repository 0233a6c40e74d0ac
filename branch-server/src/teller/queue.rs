//! The bounded queue before a desk, and the thread behind it.

use super::desk::{Desk, Fatal};
use super::request::Job;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Duration;

/// Requests that may wait for one desk: two of the largest batches. More are refused at once,
/// because a caller who is told so can go elsewhere, and one who waits in vain cannot.
const QUEUED_REQUESTS: usize = 2 * bank_proto::limits::BATCH_OPERATIONS;

/// Requests that share one group commit at most, unless a single job brings more.
const GROUP_REQUESTS: usize = bank_proto::limits::BATCH_OPERATIONS;

/// The queue is full, or its branch has stopped. Nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueFull {
    /// Too many requests wait. Try again after a moment.
    #[error("too many requests wait for this branch")]
    Full,
    /// The branch no longer serves.
    #[error("the branch has stopped")]
    Stopped,
}

/// Jobs of other branches, and ends of transfers, that find room when orders have filled the queue:
/// what is under way must end, or overload would let ever more be under way.
const SETTLEMENT_JOBS: usize = 1024;

/// How long a teller waits for a job before it looks again whether a hold's time is over.
const LONGEST_NAP: Duration = Duration::from_secs(1);

enum Message {
    Job(Job),
    Stop,
}

/// The way to a teller. Cheap to clone.
#[derive(Clone)]
pub struct TellerHandle {
    queue: SyncSender<Message>,
    waiting: Arc<AtomicUsize>,
}

impl TellerHandle {
    /// Puts a job into the queue.
    ///
    /// # Errors
    /// At once, when the queue is full or the branch has stopped; the job's reply is dropped.
    pub fn submit(&self, job: Job) -> Result<(), QueueFull> {
        let requests = job.weight();
        let before = self.waiting.fetch_add(requests, Ordering::Relaxed);
        // A job larger than the whole queue may enter an empty one.
        let outcome = if before > 0 && before + requests > QUEUED_REQUESTS {
            Err(QueueFull::Full)
        } else {
            self.queue.try_send(Message::Job(job)).map_err(|refused| match refused {
                TrySendError::Full(_) => QueueFull::Full,
                TrySendError::Disconnected(_) => QueueFull::Stopped,
            })
        };
        if outcome.is_err() {
            self.waiting.fetch_sub(requests, Ordering::Relaxed);
        }
        outcome
    }

    /// Puts a job into the queue that lets transfers end. It is admitted when orders are not.
    ///
    /// # Errors
    /// As [`TellerHandle::submit`], but only when very many of these wait.
    pub fn submit_settlement(&self, job: Job) -> Result<(), QueueFull> {
        let requests = job.weight();
        self.waiting.fetch_add(requests, Ordering::Relaxed);
        self.queue.try_send(Message::Job(job)).map_err(|refused| {
            self.waiting.fetch_sub(requests, Ordering::Relaxed);
            match refused {
                TrySendError::Full(_) => QueueFull::Full,
                TrySendError::Disconnected(_) => QueueFull::Stopped,
            }
        })
    }

    /// Tells the teller to serve what waits and then end. Later jobs are refused.
    pub fn stop(&self) {
        // A teller that has ended already needs no telling.
        let _ = self.queue.send(Message::Stop);
    }

    /// Requests that wait for the desk now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Starts the thread of one teller. `between` runs after every batch, for metrics and snapshots;
/// `on_fatal` must end the process. Told to stop, the thread serves what waits, ends, and gives the
/// desk back for a last snapshot.
///
/// # Errors
/// The system has no thread left.
pub fn spawn(
    name: &str,
    mut desk: Desk,
    mut between: impl FnMut(&Desk, super::desk::BatchReport) + Send + 'static,
    on_fatal: impl FnOnce(Fatal) + Send + 'static,
) -> std::io::Result<(TellerHandle, std::thread::JoinHandle<Desk>)> {
    // Every job holds at least one request, so this many jobs never refuse what the count admits.
    let (queue, messages) = sync_channel(QUEUED_REQUESTS + SETTLEMENT_JOBS);
    let waiting = Arc::new(AtomicUsize::new(0));
    let handle = TellerHandle { queue, waiting: waiting.clone() };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let mut goes_on = true;
        // A full disk takes no ends of holds either: then they wait for a while, however overdue.
        let mut no_sooner = Duration::ZERO;
        while goes_on {
            let patience = desk.until_expiry().map(|patience| patience.max(no_sooner));
            let batch = next_batch(&messages, &waiting, &mut goes_on, patience);
            // Without a job there is something to do only when a hold's time is over.
            if batch.is_empty() && desk.until_expiry() != Some(Duration::ZERO) {
                continue;
            }
            match desk.serve(batch) {
                Ok(report) => {
                    no_sooner = if report.storage_full { LONGEST_NAP } else { Duration::ZERO };
                    between(&desk, report);
                }
                Err(fatal) => {
                    on_fatal(fatal);
                    break;
                }
            }
        }
        desk
    })?;
    Ok((handle, thread))
}

/// Waits for a job, at most for `patience`, and takes with it whatever else waits at this moment. `goes_on`
/// becomes false when nothing more will come.
fn next_batch(
    messages: &Receiver<Message>,
    waiting: &AtomicUsize,
    goes_on: &mut bool,
    patience: Option<Duration>,
) -> Vec<Job> {
    let mut batch = Vec::new();
    let mut requests = 0;
    let mut next = match patience {
        None => messages.recv().ok(),
        // The wall clock may be set meanwhile.
        Some(patience) => match messages.recv_timeout(patience.min(LONGEST_NAP)) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => return batch,
            Err(RecvTimeoutError::Disconnected) => None,
        },
    };
    loop {
        match next {
            Some(Message::Job(job)) => {
                requests += job.weight();
                batch.push(job);
            }
            Some(Message::Stop) | None => {
                *goes_on = false;
                break;
            }
        }
        if requests >= GROUP_REQUESTS {
            break;
        }
        next = match messages.try_recv() {
            Ok(message) => Some(message),
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Disconnected) => None,
        };
    }
    waiting.fetch_sub(requests, Ordering::Relaxed);
    batch
}
