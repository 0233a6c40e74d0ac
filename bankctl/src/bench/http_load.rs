//! Deposits and transfers over HTTP.

use super::budget::Budget;
use super::http_wire::{Connection, Request};
use super::orders::Orders;
use super::tally::Tally;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A closed loop: every connection sends its next deposit when it has its answer.
pub(super) async fn closed(address: &str, connections: u32, budget: &Budget, draw: impl Fn() -> Orders) -> Tally {
    let mut running = JoinSet::new();
    for _ in 0..connections {
        let (budget, deposits, address) = (budget.clone(), draw(), address.to_owned());
        running.spawn(async move {
            let mut sender = Sender::new(address, deposits);
            while budget.draw(1) > 0 {
                sender.send(Instant::now()).await;
            }
            sender.tally
        });
    }
    all(running).await
}

/// What a caller does who was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manners {
    /// Waits for as long as Retry-After says.
    WaitAsTold,
    /// Does not.
    AskAgainAtOnce,
}

impl Manners {
    pub(super) fn words(self) -> &'static str {
        match self {
            Manners::WaitAsTold => "that wait as they are told",
            Manners::AskAgainAtOnce => "that ask again at once",
        }
    }
}

/// What came of more callers than can be served.
pub(super) struct Pressed {
    pub(super) served: Tally,
    /// How long those waited who were refused.
    pub(super) refused: Tally,
    /// Health checks meanwhile, each on a connection of its own.
    pub(super) probes: Tally,
}

/// A closed loop of callers of whom some are refused. It is not counted before `begin`: until then they connect.
pub(super) async fn pressing(
    address: &str,
    callers: u32,
    manners: Manners,
    (begin, budget): (Instant, &Budget),
    draw: impl Fn() -> Orders,
) -> Pressed {
    allow_files();
    let mut running = JoinSet::new();
    for _ in 0..callers {
        let (budget, deposits, address) = (budget.clone(), draw(), address.to_owned());
        running.spawn(async move {
            let mut sender = Sender::new(address, deposits);
            let mut counts = false;
            let asking = async {
                while budget.draw(1) > 0 {
                    if !counts && Instant::now() >= begin {
                        counts = true;
                        (sender.tally, sender.refused) = (Tally::new(), Tally::new());
                    }
                    let told_to_wait = sender.send(Instant::now()).await;
                    if let (Some(seconds), Manners::WaitAsTold) = (told_to_wait, manners) {
                        tokio::time::sleep(Duration::from_secs(seconds)).await;
                    }
                }
            };
            // Whoever has no answer by the end is not counted.
            until_end(&budget, asking).await;
            if counts { (sender.tally, sender.refused) } else { (Tally::new(), Tally::new()) }
        });
    }
    let probing = tokio::spawn(probe(address.to_owned(), begin, budget.clone()));
    let (mut served, mut refused) = (Tally::new(), Tally::new());
    while let Some(tally) = running.join_next().await {
        match tally {
            Ok((of_served, of_refused)) => {
                served.add(&of_served);
                refused.add(&of_refused);
            }
            Err(error) => served.failed(1, || error.to_string()),
        }
    }
    Pressed { served, refused, probes: probing.await.unwrap_or_else(|_| Tally::new()) }
}

async fn until_end(budget: &Budget, work: impl Future<Output = ()>) {
    match budget.ends() {
        // Too late or not: it has ended.
        Some(ends) => _ = tokio::time::timeout_at(ends, work).await,
        None => work.await,
    }
}

/// Asks again and again whether the client API lives.
async fn probe(address: String, begin: Instant, budget: Budget) -> Tally {
    tokio::time::sleep_until(begin).await;
    let request = format!("GET /livez HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut tally = Tally::new();
    let asking = async {
        while budget.draw(1) > 0 {
            let began = Instant::now();
            let answered = async { Connection::open(&address).await?.ask(request.as_bytes()).await };
            match answered.await {
                Ok(answer) if answer.status == 200 => tally.done(began, 1),
                Ok(answer) => tally.failed(1, || format!("HTTP status {}", answer.status)),
                Err(error) => tally.failed(1, || error.to_string()),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    until_end(&budget, asking).await;
    tally
}

/// As many open files as this process may have: every connection is one.
fn allow_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where this is not allowed, some connections fail and are counted.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// An open loop: deposits are due at a fixed rate whether or not the bank keeps up, and each is
/// timed from the moment it was due, so that waiting for a free connection counts too.
pub(super) async fn open(
    address: &str,
    connections: u32,
    rate: u64,
    length: Duration,
    draw: impl Fn() -> Orders,
) -> Tally {
    let total = rate * length.as_secs();
    let due = Arc::new(Semaphore::new(0));
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now() + Duration::from_millis(50);
    let mut running = JoinSet::new();
    for _ in 0..connections {
        let (due, next, deposits, address) = (Arc::clone(&due), Arc::clone(&next), draw(), address.to_owned());
        running.spawn(async move {
            let mut sender = Sender::new(address, deposits);
            // Permits come in the order of the due times, and the counter hands those out.
            while let Ok(permit) = due.acquire().await {
                permit.forget();
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= total {
                    break;
                }
                sender.send(due_at(began, index, rate)).await;
            }
            sender.tally
        });
    }
    let pacer = std::thread::spawn({
        let due = Arc::clone(&due);
        move || pace(&due, began, rate, total, connections)
    });
    let tally = all(running).await;
    // It ended when it had released the last permit.
    let _ = pacer.join();
    tally
}

fn due_at(began: Instant, index: u64, rate: u64) -> Instant {
    began
        + Duration::from_nanos(u64::try_from(u128::from(index) * 1_000_000_000 / u128::from(rate)).unwrap_or(u64::MAX))
}

/// Releases every deposit at its moment; a thread of its own, since the runtime's timers are
/// coarse (1 ms). At the end one permit for each connection lets all of them finish.
fn pace(due: &Semaphore, began: Instant, rate: u64, total: u64, connections: u32) {
    let mut released = 0;
    while released < total {
        let moment = due_at(began, released, rate);
        let now = Instant::now();
        if now < moment {
            std::thread::park_timeout(moment - now);
            continue;
        }
        due.add_permits(1);
        released += 1;
    }
    due.add_permits(connections as usize);
}

async fn all(mut running: JoinSet<Tally>) -> Tally {
    let mut all = Tally::new();
    while let Some(tally) = running.join_next().await {
        match tally {
            Ok(tally) => all.add(&tally),
            Err(error) => all.failed(1, || error.to_string()),
        }
    }
    all
}

/// One connection with what it sends and counts.
struct Sender {
    address: String,
    connection: Option<Connection>,
    request: Request,
    deposits: Orders,
    tally: Tally,
    /// Of those that failed, the ones that were told to come again.
    refused: Tally,
}

impl Sender {
    fn new(address: String, mut deposits: Orders) -> Sender {
        let request = Request::new(&address, deposits.key().is_some(), deposits.are_transfers());
        Sender { address, connection: None, request, deposits, tally: Tally::new(), refused: Tally::new() }
    }

    /// Sends the next order; for how many seconds the answer asks to wait.
    async fn send(&mut self, began: Instant) -> Option<u64> {
        let bytes = self.request.fill(self.deposits.next());
        let answered = match &mut self.connection {
            Some(connection) => connection.ask(bytes).await,
            None => match Connection::open(&self.address).await {
                Ok(connection) => self.connection.insert(connection).ask(bytes).await,
                Err(error) => Err(error),
            },
        };
        match answered {
            Ok(answer) if answer.status == 200 => self.tally.done(began, 1),
            Ok(answer) => {
                self.tally.failed(1, || format!("HTTP status {}", answer.status));
                if answer.retry_after.is_some() {
                    self.refused.done(began, 1);
                }
                return answer.retry_after;
            }
            Err(error) => {
                self.connection = None;
                self.tally.failed(1, || error.to_string());
                // A server that is away must not be asked in a busy loop.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        None
    }
}
