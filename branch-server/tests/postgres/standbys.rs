//! Synchronous standbys: nothing is acknowledged that only the primary has.

use crate::journal::{all, append, founded, open};
use crate::proxy::Proxy;
use crate::rows::rows;
use crate::server::{Postgres, is_open};
use branch_server::journal::{Journal as _, PostgresStore};
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn a_commit_whose_wait_for_a_standby_is_cancelled_is_not_acknowledged_before_a_standby_has_it() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let mut journal = open(&store, 0);
    append(&mut journal, 1).expect("an append");
    // From here on every commit waits for a standby, and there is none.
    postgres.miss_a_standby();
    let is_waiting = |postgres: &Postgres| {
        postgres.ask("postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != "0"
    };
    let (told, answer) = mpsc::channel();
    let writing = std::thread::spawn(move || {
        told.send(append(&mut journal, 3)).expect("a listener");
        journal
    });
    postgres.wait_until("the commit waits", is_waiting);
    // PostgreSQL then calls it a success, with a warning.
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    assert_ne!(postgres.ask("postgres", cancel), "0");
    postgres.wait_until("it waits once more, on another connection", is_waiting);
    assert!(answer.recv_timeout(Duration::ZERO).is_err(), "it stands on one disk only");
    let standby = postgres.standby("cluster_name = 'standby'");
    answer.recv().expect("a writer").expect("the standby has it");
    let journal = writing.join().expect("a thread");
    assert_eq!((journal.epoch(), journal.last_sequence()), (1, 4));
    standby.wait_until("the standby shows it", |standby| {
        standby.ask("bank", "SELECT count(*) FROM florin.journal") == "4"
    });
}

#[test]
fn when_the_primary_dies_the_promoted_standby_has_every_acknowledged_row_and_the_owner_goes_on_there() {
    let mut primary = Postgres::start();
    let standby = primary.synchronous_standby();
    primary.database("bank");
    let (one, two) = (primary.port(), standby.port());
    let url = format!("postgres://florin:secret@127.0.0.1:{one},127.0.0.1:{two}/bank");
    let store = founded(&url);
    let mut journal = open(&store, 0);
    append(&mut journal, 5).expect("an append");
    primary.kill();
    assert!(!is_open(one));
    let writing = std::thread::spawn(move || {
        append(&mut journal, 5).expect("an append");
        journal
    });
    standby.promote();
    let journal = writing.join().expect("a thread");
    assert_eq!((journal.epoch(), journal.last_sequence()), (1, 10));
    let promoted = PostgresStore::new(&standby.url("bank"), None, None, "florin test").expect("a store");
    assert_eq!(all(&promoted), rows(0, 10));
}

#[test]
fn a_writer_leaves_a_primary_that_was_replaced_and_is_still_there() {
    let cut_off = Postgres::start();
    let standby = cut_off.synchronous_standby();
    cut_off.database("bank");
    let way = Proxy::to(cut_off.port(), b"never cut");
    let store = founded(&way.url("bank"));
    let mut journal = open(&store, 0);
    append(&mut journal, 5).expect("an append");
    // Nobody tells the primary: it takes writes, and waits for a standby that follows it no more.
    standby.promote();
    let writing = std::thread::spawn(move || {
        // Found out by a question: the connection for group commits, which is another, still leads there afterwards.
        journal.confirm().expect("its own");
        append(&mut journal, 5).expect("an append");
        journal
    });
    cut_off.wait_until("the commit waits", |primary| {
        primary.ask("postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != "0"
    });
    way.turn_to(standby.port());
    let mut journal = writing.join().expect("a thread");
    journal.confirm().expect("its own");
    assert_eq!((journal.epoch(), journal.last_sequence()), (1, 10));
    let promoted = PostgresStore::new(&standby.url("bank"), None, None, "florin test").expect("a store");
    assert_eq!(all(&promoted), rows(0, 10));
}
