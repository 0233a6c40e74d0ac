//! Whole branch servers in this process, on real ports and real files.

#![expect(clippy::expect_used, reason = "a test that cannot go on says why and stops")]

mod audit;
mod bank;
mod calls;
#[path = "../../../proto/tests/support/certificates.rs"]
mod certificates;
mod copies;
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
mod secure_bank;
#[path = "../journal_scenarios/small_disk.rs"]
mod small_disk;
#[path = "../../../proto/tests/support/store.rs"]
mod store;
mod tls;
mod tls_files;
mod transfers;
mod verify;
