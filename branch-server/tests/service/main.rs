//! Whole branch servers in this process, on real ports and real files.

#![expect(clippy::expect_used, reason = "a test that cannot go on says why and stops")]

mod audit;
mod bank;
mod calls;
mod cuts;
mod deliveries;
mod healthy;
mod holds;
mod late;
mod linked;
mod moves;
mod raw;
mod restored;
mod returns;
mod reversals;
#[path = "../journal_scenarios/small_disk.rs"]
mod small_disk;
mod transfers;
mod verify;
