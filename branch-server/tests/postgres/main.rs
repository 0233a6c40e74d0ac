//! The journal and the leases on real PostgreSQL servers, which each test starts for itself.

#![expect(clippy::expect_used, reason = "a test that cannot go on says why and stops")]
#![expect(clippy::disallowed_methods, reason = "these tests wait for processes of the machine's own")]

#[path = "../../../proto/tests/support/certificates.rs"]
#[expect(dead_code, reason = "some of it is for servers of our own")]
mod certificates;
mod founding;
mod journal;
mod losing;
mod proxy;
#[path = "../journal_scenarios/rows.rs"]
#[expect(dead_code, reason = "some of it is for journals in files")]
mod rows;
#[expect(dead_code, reason = "some of it is for whole banks")]
mod server;
mod standbys;
mod tls;
mod together;
