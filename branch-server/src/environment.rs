//! What a branch server takes from the machine that it runs on, as arguments, so that a whole bank can be
//! simulated from a seed.

use crate::journal::{Journal, SharedStore, SqliteJournal};
use bank_proto::traces::Traces;
use bank_proto::{BranchId, Timestamp, TransactionKey};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

/// The machine, as far as a branch server needs it.
pub struct Environment {
    /// Its clocks.
    pub clock: Arc<dyn Clock>,
    /// Its chance.
    pub entropy: Entropy,
    /// Who does what takes long.
    pub workers: Workers,
    /// The way to another branch server.
    pub connect: Box<dyn Fn(&Endpoint) -> Channel + Send + Sync>,
    /// What stands between a branch's teller and its journal; nothing in a bank in earnest.
    pub decorate: Arc<dyn Fn(BranchId, SqliteJournal) -> Box<dyn Journal> + Send + Sync>,
    /// The database that all servers share, for a bank whose settings name one; None is the one that they name.
    pub shared_store: Option<Arc<dyn SharedStore>>,
    /// How many bytes are free for this process on the file system of a directory.
    pub free_bytes: FreeBytes,
    /// Where sampled requests are told.
    pub traces: Traces,
    /// Ends the process, because a branch's disk can no longer be trusted. What was not answered by then never
    /// is. The process must not go on when this returns.
    pub end: Arc<dyn Fn(BranchId) + Send + Sync>,
}

/// Says how many bytes are free for this process on the file system of a directory.
pub type FreeBytes = Arc<dyn Fn(&Path) -> std::io::Result<u64> + Send + Sync>;

/// The exit code of a process that can no longer trust its disk.
const EXIT_INTERNAL: i32 = 70;

impl Environment {
    /// The machine itself.
    #[must_use]
    pub fn real() -> Environment {
        Environment {
            clock: Arc::new(SystemClock),
            entropy: Entropy::from_system(),
            workers: Workers::Threads,
            connect: Box::new(Endpoint::connect_lazy),
            decorate: Arc::new(|_, journal| Box::new(journal)),
            shared_store: None,
            free_bytes: Arc::new(|directory| {
                let space = rustix::fs::statvfs(directory)?;
                Ok(space.f_bavail.saturating_mul(space.f_frsize))
            }),
            traces: Traces::off(),
            end: Arc::new(|branch| {
                tracing::error!(%branch, "the process ends and recovers on restart");
                std::process::exit(EXIT_INTERNAL)
            }),
        }
    }
}

/// Who does what takes long, and who serves as a teller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// Threads beside the ones that serve calls.
    Threads,
    /// The one thread there is, step by step: for a simulation, in which nothing may happen by itself.
    Inline,
}

impl Workers {
    /// Does some work that takes long.
    ///
    /// # Errors
    /// It broke an invariant, or the process ends.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<T> {
        match self {
            Workers::Threads => tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other),
            Workers::Inline => Ok(work()),
        }
    }
}

/// Tells the time: the wall's for booking, and a steady one for deadlines.
pub trait Clock: Send + Sync {
    /// The wall clock, in UTC.
    fn now(&self) -> Timestamp;
    /// A clock that never goes back.
    fn instant(&self) -> Instant;
}

/// The machine's own clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock comes in")]
    fn now(&self) -> Timestamp {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock before 1970 reads as 1970: booking times never go back anyway.
        Timestamp(since_1970.map_or(0, |time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX)))
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// A source of chance that nobody can guess: ids and digest keys come from here.
pub struct Entropy(Mutex<rand::rngs::StdRng>);

impl Entropy {
    /// Seeded by the operating system.
    #[must_use]
    pub fn from_system() -> Entropy {
        Entropy(Mutex::new(rand::make_rng()))
    }

    /// The same chances in every run, for simulation.
    #[must_use]
    pub fn from_seed(seed: u64) -> Entropy {
        use rand::SeedableRng as _;
        Entropy(Mutex::new(rand::rngs::StdRng::seed_from_u64(seed)))
    }

    /// A transaction key that was never used: 128 random bits.
    pub fn transaction_key(&self) -> TransactionKey {
        use rand::Rng as _;
        let mut bytes = [0; 16];
        loop {
            self.generator().fill_bytes(&mut bytes);
            let key = TransactionKey(u128::from_be_bytes(bytes));
            // Those are the bank's own; chance draws one in four thousand million times.
            if !key.is_derived() {
                return key;
            }
        }
    }

    /// 256 random bits.
    pub fn bytes(&self) -> [u8; 32] {
        use rand::Rng as _;
        let mut bytes = [0; 32];
        self.generator().fill_bytes(&mut bytes);
        bytes
    }

    /// A random part of a time, up to the whole of it.
    pub fn part_of(&self, whole: std::time::Duration) -> std::time::Duration {
        use rand::RngExt as _;
        let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
        std::time::Duration::from_micros(self.generator().random_range(0..=micros))
    }

    fn generator(&self) -> std::sync::MutexGuard<'_, rand::rngs::StdRng> {
        // A thread that panicked while drawing has left a generator that still draws.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
