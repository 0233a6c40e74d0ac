//! The real executable, from outside: what a person or a script sees of it.
//!
//! - [`support`]: starts, kills and watches banks
//! - [`up`]: starting, watching, stopping, and what is refused
//! - [`crash`]: kill -9 of everything under load
//! - [`readme`]: the curl lines of README.md and of the greeting
//! - [`replay`]: event files and what they print
//! - [`backup`]: backups of a bank that goes on, and banks out of them
//! - [`bench`]: that it runs, counts and verifies
//! - [`rolling_restart`]: every process told to stop, one by one, under load
//! - [`serializable`]: what many callers saw, held against the journals
//! - [`payers`]: customers who pay each other, and what must have become of it
//! - [`https`]: a client API that speaks HTTPS, and a bank that does not
//! - [`moves`]: branches that move to a server more, and back, under load
//! - [`network`]: the same while servers are cut off from each other
//! - [`status`]: a running bank at a glance
//! - [`transfers`]: kill -9 while money moves between branches
//! - [`verify`]: sound books, and a row that somebody changed

#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

mod backup;
mod bench;
#[path = "../../../proto/tests/support/certificates.rs"]
mod certificates;
mod crash;
mod https;
mod moves;
mod network;
mod payers;
mod readme;
mod replay;
mod rolling_restart;
mod serializable;
mod status;
mod support;
mod transfers;
mod up;
mod verify;
mod volumes;
