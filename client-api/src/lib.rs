//! Florin's HTTP face: translates JSON requests into the bank's words, sends each to the branch that
//! owns the money, and translates the answer back.
//!
//! - [`Settings`], [`run`], [`healthy`], [`start`], [`routes_in`]: the program as a whole, and the same inside a test
//! - [`environment`]: chance and connections, as arguments
//! - `routes`: every URL in one table
//! - `handlers`: one file per resource: parse, ask the bank, answer
//! - `envelope`: what every request gets: an id, a place in flight, metrics, problems as JSON
//! - `json`, `fields`, `idempotency`: reading what callers send
//! - `answer`, `problem`: what they get back
//! - `bank`: the routing client: one conversation with every branch server
//! - `server`: connections, their limits and the drain

#![forbid(unsafe_code)]

mod answer;
mod app;
mod bank;
mod envelope;
pub mod environment;
mod fields;
mod handlers;
mod idempotency;
mod json;
mod logging;
mod metrics;
mod openapi;
mod problem;
mod program;
mod request_id;
mod routes;
mod server;
mod settings;
mod signals;

pub use program::{EXIT_UNAVAILABLE, EXIT_WRONG_SETTINGS, Running, StartError, healthy, routes_in, run, start};
pub use settings::{Auth, LogFormat, Settings, SettingsError, TlsSettings};

/// Entry points for tests that feed untrusted bytes to the parsers.
#[doc(hidden)]
pub mod untrusted {
    /// Reads a body as every handler would; the answer is whether any accepted it.
    #[must_use]
    pub fn body_is_accepted(body: &[u8]) -> bool {
        crate::handlers::any_accepts(body)
    }
}
