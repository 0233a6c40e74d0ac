//! The bounded queue before a desk, and the thread behind it; in a simulation a task.

use super::desk::{BatchReport, Desk, Fatal};
use super::request::Job;
use crate::environment::Workers;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc;

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
    queue: Queue,
    waiting: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Queue {
    Thread(SyncSender<Message>),
    Task(mpsc::UnboundedSender<Message>),
}

impl Queue {
    fn put(&self, job: Job) -> Result<(), QueueFull> {
        match self {
            Queue::Thread(queue) => queue.try_send(Message::Job(job)).map_err(|refused| match refused {
                TrySendError::Full(_) => QueueFull::Full,
                TrySendError::Disconnected(_) => QueueFull::Stopped,
            }),
            Queue::Task(queue) => queue.send(Message::Job(job)).map_err(|_| QueueFull::Stopped),
        }
    }
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
        let outcome =
            if before > 0 && before + requests > QUEUED_REQUESTS { Err(QueueFull::Full) } else { self.queue.put(job) };
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
        let outcome = self.queue.put(job);
        if outcome.is_err() {
            self.waiting.fetch_sub(requests, Ordering::Relaxed);
        }
        outcome
    }

    /// Tells the teller to serve what waits and then end. Later jobs are refused.
    pub fn stop(&self) {
        // A teller that has ended already needs no telling.
        let _ = match &self.queue {
            Queue::Thread(queue) => queue.send(Message::Stop).is_ok(),
            Queue::Task(queue) => queue.send(Message::Stop).is_ok(),
        };
    }

    /// Requests that wait for the desk now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A teller at work. Told to stop, it serves what waits, ends, and gives the desk back for a last snapshot.
pub enum TellerWork {
    /// On a thread of its own.
    Thread(std::thread::JoinHandle<Desk>),
    /// As a task of the simulation.
    Task(tokio::task::JoinHandle<Desk>),
}

impl TellerWork {
    /// Waits for its end.
    ///
    /// # Errors
    /// It broke an invariant.
    pub async fn ended(self) -> std::io::Result<Desk> {
        match self {
            TellerWork::Thread(thread) => {
                let joined = Workers::Threads.run(move || thread.join()).await?;
                joined.map_err(|_| std::io::Error::other("the teller's thread panicked"))
            }
            TellerWork::Task(task) => task.await.map_err(std::io::Error::other),
        }
    }
}

/// Starts a teller. `between` runs after every batch, for metrics and snapshots; `on_fatal` must end the
/// process.
///
/// # Errors
/// The system has no thread left.
pub fn spawn(
    workers: Workers,
    name: &str,
    desk: Desk,
    between: impl FnMut(&Desk, BatchReport) + Send + 'static,
    on_fatal: impl FnOnce(Fatal) + Send + 'static,
) -> std::io::Result<(TellerHandle, TellerWork)> {
    let waiting = Arc::new(AtomicUsize::new(0));
    let (queue, work) = match workers {
        Workers::Threads => {
            // Every job holds at least one request, so this many jobs never refuse what the count admits.
            let (queue, messages) = sync_channel(QUEUED_REQUESTS + SETTLEMENT_JOBS);
            let at_work = AtWork::new(desk, waiting.clone(), between, on_fatal);
            let thread =
                std::thread::Builder::new().name(name.to_owned()).spawn(move || at_work.on_thread(&messages))?;
            (Queue::Thread(queue), TellerWork::Thread(thread))
        }
        Workers::Inline => {
            let (queue, messages) = mpsc::unbounded_channel();
            let at_work = AtWork::new(desk, waiting.clone(), between, on_fatal);
            (Queue::Task(queue), TellerWork::Task(tokio::spawn(at_work.in_task(messages))))
        }
    };
    Ok((TellerHandle { queue, waiting }, work))
}

/// A desk and what goes on around it.
struct AtWork<B, F> {
    desk: Desk,
    waiting: Arc<AtomicUsize>,
    between: B,
    on_fatal: Option<F>,
    /// A full disk takes no ends of holds either: then they wait for a while, however overdue.
    no_sooner: Duration,
}

impl<B: FnMut(&Desk, BatchReport), F: FnOnce(Fatal)> AtWork<B, F> {
    fn new(desk: Desk, waiting: Arc<AtomicUsize>, between: B, on_fatal: F) -> AtWork<B, F> {
        AtWork { desk, waiting, between, on_fatal: Some(on_fatal), no_sooner: Duration::ZERO }
    }

    fn on_thread(mut self, messages: &Receiver<Message>) -> Desk {
        loop {
            let first = match self.patience() {
                None => messages.recv().ok(),
                Some(patience) => match messages.recv_timeout(patience) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => {
                        if self.look_at_holds() {
                            continue;
                        } else {
                            return self.desk;
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => None,
                },
            };
            if !self.serve(first, || messages.try_recv().map_err(|error| error == TryRecvError::Empty)) {
                return self.desk;
            }
        }
    }

    async fn in_task(mut self, mut messages: mpsc::UnboundedReceiver<Message>) -> Desk {
        loop {
            let first = match self.patience() {
                None => messages.recv().await,
                Some(patience) => match tokio::time::timeout(patience, messages.recv()).await {
                    Ok(first) => first,
                    Err(_) => {
                        if self.look_at_holds() {
                            continue;
                        } else {
                            return self.desk;
                        }
                    }
                },
            };
            let empty = mpsc::error::TryRecvError::Empty;
            if !self.serve(first, || messages.try_recv().map_err(|error| error == empty)) {
                return self.desk;
            }
        }
    }

    /// How long to wait for a job; None for ever. The wall clock may be set meanwhile, so not for long.
    fn patience(&self) -> Option<Duration> {
        self.desk.until_expiry().map(|patience| patience.max(self.no_sooner).min(LONGEST_NAP))
    }

    /// Without a job there is something to do only when a hold's time is over. False when all is over.
    fn look_at_holds(&mut self) -> bool {
        self.desk.until_expiry() != Some(Duration::ZERO) || self.serve_batch(Vec::new())
    }

    /// Serves a job, and with it whatever else waits at this moment: `next` says what, or whether there is
    /// just nothing now. False when nothing more will come.
    fn serve(&mut self, first: Option<Message>, mut next: impl FnMut() -> Result<Message, bool>) -> bool {
        let (mut batch, mut requests, mut goes_on) = (Vec::new(), 0, true);
        let mut message = first;
        loop {
            match message {
                Some(Message::Job(job)) => {
                    requests += job.weight();
                    batch.push(job);
                }
                Some(Message::Stop) | None => {
                    goes_on = false;
                    break;
                }
            }
            if requests >= GROUP_REQUESTS {
                break;
            }
            message = match next() {
                Ok(message) => Some(message),
                Err(true) => break,
                Err(false) => None,
            };
        }
        self.waiting.fetch_sub(requests, Ordering::Relaxed);
        (batch.is_empty() || self.serve_batch(batch)) && goes_on
    }

    /// False when the branch can no longer be served.
    fn serve_batch(&mut self, batch: Vec<Job>) -> bool {
        match self.desk.serve(batch) {
            Ok(report) => {
                self.no_sooner = if report.storage_full { LONGEST_NAP } else { Duration::ZERO };
                (self.between)(&self.desk, report);
                true
            }
            Err(fatal) => {
                if let Some(on_fatal) = self.on_fatal.take() {
                    on_fatal(fatal);
                }
                false
            }
        }
    }
}
