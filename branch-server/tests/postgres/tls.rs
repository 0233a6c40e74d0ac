//! TLS to the database: all that a bank does there, with a certificate that is looked at.

use crate::certificates::Authority;
use crate::journal::{all, append, open};
use crate::rows::rows;
use crate::server::Postgres;
use branch_server::journal::shared::{Founding, StoreError};
use branch_server::journal::{Journal as _, PostgresStore};
use std::path::Path;
use tempfile::TempDir;

/// A store that trusts an authority.
fn trusting(authority: &Authority, url: &str) -> (PostgresStore, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let files = authority.issue("nobody").write(directory.path());
    let store = PostgresStore::new(url, None, Some(Path::new(&files.authority)), "florin test").expect("a store");
    (store, directory)
}

fn unavailable(founded: Result<(), Founding>) -> String {
    match founded {
        Err(Founding::Store(StoreError::Unavailable(what))) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bank_reaches_its_database_by_tls_alone_and_gives_up_a_wait_there_too() {
    let authority = Authority::new();
    let postgres = Postgres::start_secure(&authority.issue("127.0.0.1"));
    let (store, _files) = trusting(&authority, &postgres.database("bank"));
    store.found(10).expect("founded");
    let mut journal = open(&store, 0);
    append(&mut journal, 3).expect("an append");
    assert_eq!(all(&store), rows(0, 3));
    let open_text = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'florin test' AND NOT ssl";
    assert_eq!(postgres.ask("postgres", open_text), "0");

    // From here on every commit waits for a standby, and there is none.
    postgres.miss_a_standby();
    let writing = std::thread::spawn(move || {
        append(&mut journal, 3).expect("an append");
        journal
    });
    let waits = |postgres: &Postgres| {
        postgres.ask("postgres", "SELECT coalesce(max(pid), 0) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    };
    postgres.wait_until("the commit waits", |postgres| waits(postgres) != "0");
    let first = waits(&postgres);
    postgres.wait_until("it was cancelled, and another connection waits", |postgres| {
        let now = waits(postgres);
        now != "0" && now != first
    });
    postgres.say("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
    postgres.say("postgres", "SELECT pg_reload_conf()");
    let journal = writing.join().expect("a thread");
    assert_eq!((journal.epoch(), journal.last_sequence()), (1, 6));
    assert_eq!(all(&store), rows(0, 6));
    assert_eq!(postgres.ask("postgres", open_text), "0");
}

#[test]
fn a_database_that_cannot_prove_who_it_is_is_told_nothing() {
    let authority = Authority::new();
    let postgres = Postgres::start_secure(&authority.issue("127.0.0.1"));
    let (strangers, _files) = trusting(&Authority::new(), &postgres.database("bank"));
    let unknown = unavailable(strangers.found(10));
    assert!(unknown.contains("invalid peer certificate"), "{unknown}");
    // Its certificate is for the address, and for no name.
    let (other, _files) = trusting(&authority, &postgres.url("bank").replace("127.0.0.1", "localhost"));
    let elsewhere = unavailable(other.found(10));
    assert!(elsewhere.contains("certificate not valid for name"), "{elsewhere}");
    let plain = Postgres::start();
    let (store, _files) = trusting(&authority, &plain.database("bank"));
    let refused = unavailable(store.found(10));
    assert!(refused.contains("server does not support TLS"), "{refused}");
}
