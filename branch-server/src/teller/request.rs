//! What a teller is asked, in the bank's own words.

use super::answer::Answered;
use crate::journal::{Channel, PersonalName};
use crate::ledger::{Arrival, Command, Target};
use bank_proto::{AccountSerial, BranchId, Currency, CustomerId, Timestamp, TransactionKey};
use std::sync::Arc;
use tokio::time::Instant;

/// Requests that came in together and are answered together.
pub struct Job {
    /// In the order in which they are to be served.
    pub requests: Vec<Asked>,
    /// Takes the answers, one per request in the same order, after everything that they tell is
    /// durable, and when it was served. Runs on the teller's thread, so it must not block.
    pub reply: Box<dyn FnOnce(Vec<Answered>, Served) + Send>,
}

/// When a batch was served, and how large its group commit was.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// The booking time of its rows: the wall clock when it began.
    pub booked_at: Timestamp,
    /// When deciding began.
    pub began: Instant,
    /// When all was decided and the group commit began.
    pub decided: Instant,
    /// When everything was durable.
    pub durable: Instant,
    /// Rows of the group commit.
    pub rows: usize,
}

impl Job {
    /// How much it brings, in single requests.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.requests.iter().map(|asked| asked.request.weight()).sum()
    }
}

/// One request and how long its caller waits.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// Work that has not begun by then is refused.
    pub deadline: Option<Instant>,
}

/// A question or an order.
#[derive(Debug, Clone)]
pub enum Request {
    /// Changes nothing and is not stored.
    Read(Read),
    /// Is stored under its id, whether it is accepted or refused.
    Write(Order),
    /// Orders that are carried out together or not at all, each stored under its own id.
    Linked(Vec<Order>),
    /// A transfer from another branch, to be credited or cancelled.
    Arrive {
        /// [`Command::Receive`] or [`Command::Cancel`], under the arrival's key.
        order: Order,
        /// What the message says of itself.
        arrival: Arrival,
        /// Every transfer from that branch with a smaller number has ended there.
        lowest_outstanding: u64,
    },
}

impl Request {
    fn weight(&self) -> usize {
        match self {
            Request::Linked(orders) => orders.len().max(1),
            Request::Read(_) | Request::Write(_) | Request::Arrive { .. } => 1,
        }
    }
}

/// A question about the books as they are now.
#[derive(Debug, Clone, Copy)]
pub enum Read {
    /// The balance of the account that an order would mean.
    Balance {
        /// Which account.
        target: Target,
        /// Chooses among a customer's accounts, USD when it is not said; an account by number must be in it.
        currency: Option<Currency>,
    },
    /// One account.
    Account(AccountSerial),
    /// One customer with its accounts.
    Customer(CustomerId),
    /// How a transfer stands that this branch's customer ordered.
    Transfer(TransactionKey),
    /// How a hold stands.
    Hold(TransactionKey),
    /// The sums of the books.
    TrialBalance,
    /// Another branch greets: it writes under this epoch, and older ones are not heard any more. Zero only asks
    /// what these books say of it.
    Greeting {
        /// Which branch.
        peer: BranchId,
        /// Its epoch.
        epoch: u64,
    },
    /// The branch's part of a cut through the whole bank: of the first one with this number or a higher one.
    Cut(u64),
    /// That a cut with this number has begun: it comes before what follows. Zero only asks.
    CutHeard(u64),
    /// How the branch is.
    Status,
}

/// An order with all that the journal keeps of it.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its id.
    pub key: Key,
    /// A digest of what is asked: the same id with another fingerprint is another request.
    pub fingerprint: [u8; 16],
    /// What is wanted.
    pub command: Command,
    /// Who asks.
    pub caller: Caller,
    /// Memo and metadata for the journal, as compact JSON.
    pub detail: Option<Box<str>>,
    /// A name to keep beside the journal.
    pub name: Option<PersonalName>,
}

/// Where an order's id comes from.
#[derive(Debug, Clone, Copy)]
pub enum Key {
    /// Chosen by the caller: it may have been used before.
    Given(TransactionKey),
    /// 128 random bits made a moment ago for this order: it cannot have been.
    Made(TransactionKey),
}

impl Key {
    /// The id itself.
    #[must_use]
    pub const fn get(self) -> TransactionKey {
        match self {
            Key::Given(key) | Key::Made(key) => key,
        }
    }
}

/// Who asks, and by which door.
#[derive(Debug, Clone)]
pub struct Caller {
    /// A signed-in principal, or `open` in the open demo.
    pub principal: Arc<str>,
    /// The door.
    pub channel: Channel,
}
