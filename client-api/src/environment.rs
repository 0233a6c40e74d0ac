//! What the client API takes from the machine that it runs on, as arguments, so that a whole bank can be
//! simulated from a seed.

use bank_proto::traces::Traces;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::{Arc, Mutex, PoisonError};
use tonic::transport::{Channel, Endpoint};

/// The machine, as far as a client API needs it.
pub struct Environment {
    /// Its chance.
    pub entropy: Entropy,
    /// The way to a branch server.
    pub connect: Box<dyn Fn(&Endpoint) -> Channel + Send + Sync>,
    /// Where sampled requests are told.
    pub traces: Traces,
}

impl Environment {
    /// The machine itself.
    #[must_use]
    pub fn real() -> Environment {
        let (entropy, traces) = (Entropy(Arc::new(random)), Traces::off());
        Environment { entropy, connect: Box::new(Endpoint::connect_lazy), traces }
    }
}

/// Where 128 random bits come from.
#[derive(Clone)]
pub struct Entropy(Arc<dyn Fn() -> u128 + Send + Sync>);

impl Entropy {
    /// The same chances in every run, for simulation.
    #[must_use]
    pub fn from_seed(seed: u64) -> Entropy {
        let generator = Mutex::new(StdRng::seed_from_u64(seed));
        // Drawing does not panic.
        Entropy(Arc::new(move || generator.lock().unwrap_or_else(PoisonError::into_inner).random()))
    }

    /// The same bits each time.
    #[cfg(test)]
    pub(crate) fn always(bits: u128) -> Entropy {
        Entropy(Arc::new(move || bits))
    }

    pub(crate) fn draw(&self) -> u128 {
        (self.0)()
    }
}

/// The one place where the operating system's randomness comes in.
#[expect(clippy::disallowed_methods, reason = "the edge: everything else takes Entropy as an argument")]
fn random() -> u128 {
    rand::random()
}
