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
//! - [`shared`]: a bank in PostgreSQL whose servers are killed, stand still and stop
//! - [`payers`]: customers who pay each other, and what must have become of it
//! - [`https`]: a client API that speaks HTTPS, and a bank that does not
//! - [`move_store`]: the books of a bank in files, into a database
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
mod move_store;
mod moves;
mod network;
mod payers;
#[path = "../../../branch-server/tests/postgres/server.rs"]
#[expect(dead_code, reason = "some of it is for the journal's own tests")]
#[expect(clippy::disallowed_methods, reason = "it waits for processes of the machine's own")]
mod postgres;
mod readme;
mod replay;
mod rolling_restart;
mod serializable;
mod shared;
mod status;
mod support;
mod transfers;
mod up;
mod verify;
mod volumes;
