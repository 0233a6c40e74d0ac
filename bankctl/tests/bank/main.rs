//! The real executable, from outside: what a person or a script sees of it.
//!
//! - [`support`]: starts, kills and watches banks
//! - [`up`]: starting, watching, stopping, and what is refused
//! - [`crash`]: kill -9 of everything under load
//! - [`readme`]: the curl lines of README.md and of the greeting
//! - [`replay`]: event files and what they print
//! - [`bench`]: that it runs, counts and verifies
//! - [`serializable`]: what many callers saw, held against the journals
//! - [`transfers`]: kill -9 while money moves between branches
//! - [`verify`]: sound books, and a row that somebody changed

#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

mod bench;
mod crash;
mod readme;
mod replay;
mod serializable;
mod support;
mod transfers;
mod up;
mod verify;
