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
}

impl Sender {
    fn new(address: String, mut deposits: Orders) -> Sender {
        let request = Request::new(&address, deposits.key().is_some(), deposits.are_transfers());
        Sender { address, connection: None, request, deposits, tally: Tally::new() }
    }

    async fn send(&mut self, began: Instant) {
        let bytes = self.request.fill(self.deposits.next());
        let answered = match &mut self.connection {
            Some(connection) => connection.ask(bytes).await,
            None => match Connection::open(&self.address).await {
                Ok(connection) => self.connection.insert(connection).ask(bytes).await,
                Err(error) => Err(error),
            },
        };
        match answered {
            Ok(200) => self.tally.done(began, 1),
            Ok(status) => self.tally.failed(1, || format!("HTTP status {status}")),
            Err(error) => {
                self.connection = None;
                self.tally.failed(1, || error.to_string());
                // A server that is away must not be asked in a busy loop.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
