//! Time and chance as arguments, so that a whole bank can be simulated from a seed.

use bank_proto::{Timestamp, TransactionKey};
use std::sync::Mutex;
use tokio::time::Instant;

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
