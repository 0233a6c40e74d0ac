//! The client API over real ports.
//!
//! - `counter`, `resources`, `batches`, `transfers`, `reversals`, `holds`, `books`, `operations`: every route, against real branch servers
//! - `transfer_refusals`, `transfer_waits`: transfers that cannot be, and such that take their time
//! - `bad_input`, `bad_bodies`: what callers get wrong, each a clear refusal
//! - `repeats`: Idempotency-Key
//! - `faults`: branch servers that hang, break off and come back, played by a scripted one
//! - `healthy`: the program asks itself whether it is ready
//! - `connections`: sockets, limits, the drain
//! - `https`, `https_door`: the same by TLS, on both sides, and what only then can go wrong
//! - `crowds`: more callers than there are places
//! - `traces`: what a collector hears of sampled requests

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

mod bad_bodies;
mod bad_input;
mod batches;
mod books;
#[path = "../../../proto/tests/support/certificates.rs"]
mod certificates;
mod connections;
mod counter;
mod crowds;
mod faults;
mod healthy;
mod holds;
mod https;
mod https_door;
mod operations;
mod real;
mod repeats;
mod resources;
mod reversals;
mod scripted;
#[path = "../../../proto/tests/support/store.rs"]
mod store;
mod support;
mod traces;
mod transfer_refusals;
mod transfer_waits;
mod transfers;
