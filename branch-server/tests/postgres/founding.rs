//! Banks in databases: founded once, by however many servers, and refused with a sentence where none can be.

use crate::journal::{all, append, founded, open};
use crate::rows::rows;
use crate::server::Postgres;
use branch_server::journal::PostgresStore;
use branch_server::journal::shared::{Founding, StoreError};

fn store(url: &str) -> PostgresStore {
    PostgresStore::new(url, None, None, "florin test").expect("a store")
}

fn setup(founded: Result<(), Founding>) -> String {
    match founded {
        Err(Founding::Store(StoreError::Setup(what))) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn servers_that_start_at_the_same_time_found_one_bank() {
    let postgres = Postgres::start();
    let url = postgres.database("bank");
    let founders: Vec<_> = (0..6)
        .map(|_| {
            let store = store(&url);
            std::thread::spawn(move || store.found(10))
        })
        .collect();
    for founder in founders {
        founder.join().expect("a thread").expect("founded, or found");
    }
    assert_eq!(store(&url).founded().expect("a bank"), Some(10));
    assert_eq!(postgres.ask("bank", "SELECT count(*) FROM florin.branch"), "10");
    let other = store(&url).found(9).expect_err("another number");
    let expected = "holds a bank of 10 branches, not 9; the number never changes after the founding";
    assert!(other.to_string().ends_with(expected), "{other}");
}

#[test]
fn a_bank_of_the_first_format_is_brought_up_to_date_with_all_that_is_in_it() {
    let postgres = Postgres::start();
    let url = postgres.database("bank");
    let books = founded(&url);
    let mut journal = open(&books, 0);
    append(&mut journal, 3).expect("an append");
    drop(journal);
    let sql = "DROP TYPE florin.given_fence, florin.given_row, florin.given_name; \
        DELETE FROM florin.change WHERE number = 2";
    postgres.say("bank", sql);
    let books = founded(&url);
    assert_eq!(postgres.ask("bank", "SELECT max(number) FROM florin.change"), "2");
    append(&mut open(&books, 1), 3).expect("an append");
    assert_eq!(all(&books), rows(0, 6));
}

#[test]
fn a_bank_of_a_newer_version_is_left_alone() {
    let postgres = Postgres::start();
    let url = postgres.database("bank");
    store(&url).found(10).expect("founded");
    postgres.say("bank", "INSERT INTO florin.change (number) VALUES (99)");
    let newer = store(&url).found(10).expect_err("newer").to_string();
    assert!(newer.contains("was made by a newer version of Florin (format 99; this one knows 2)"), "{newer}");
}

#[test]
fn settings_that_cannot_work_are_told_from_a_database_that_is_away() {
    let mut postgres = Postgres::start_with("scram-sha-256", "");
    let port = postgres.port();
    let at = |what: &str| format!("PostgreSQL at 127.0.0.1:{port}/{what}");
    postgres.database("bank");
    let no_database = setup(store(&postgres.url("bink")).found(10));
    assert_eq!(no_database, at("bink: db error: FATAL: database \"bink\" does not exist"));
    let wrong = format!("postgres://florin:guess@127.0.0.1:{port}/bank");
    assert_eq!(
        setup(store(&wrong).found(10)),
        at("bank: db error: FATAL: password authentication failed for user \"florin\"")
    );
    let right = PostgresStore::new(&wrong, Some("secret"), None, "florin test").expect("a store");
    right.found(10).expect("the password of the file is the one that counts");
    postgres.say("postgres", "CREATE USER guest PASSWORD 'secret'");
    postgres.database("other");
    let no_right = setup(store(&format!("postgres://guest:secret@127.0.0.1:{port}/other")).found(10));
    assert_eq!(
        no_right,
        at("other: db error: ERROR: permission denied for database other; the database's owner must grant it")
    );
    postgres.kill();
    match store(&postgres.url("bank")).found(10) {
        Err(Founding::Store(StoreError::Unavailable(what))) => assert!(what.starts_with(&at("bank: ")), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_that_lets_nobody_in_keeps_nobody_from_the_next_one() {
    let postgres = Postgres::start();
    postgres.database("bank");
    // It accepts connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("an address");
    let url = format!("postgres://florin@{silent}/bank");
    match store(&url).found(10) {
        Err(Founding::Store(StoreError::Unavailable(what))) => {
            assert!(what.contains("did not let anybody in"), "{what}")
        }
        other => panic!("{other:?}"),
    }
    let port = postgres.port();
    store(&format!("postgres://florin@{silent},127.0.0.1:{port}/bank")).found(10).expect("founded at the other");
}

#[test]
fn a_server_that_does_not_sync_is_not_trusted_with_money() {
    let postgres = Postgres::start_with("trust", "fsync = off");
    let refused = setup(store(&postgres.database("bank")).found(10));
    assert!(refused.contains("fsync = off"), "{refused}");
}

#[test]
fn a_server_that_does_not_wait_for_its_disk_is_told_to() {
    let postgres = Postgres::start_with("trust", "synchronous_commit = off");
    let url = postgres.database("bank");
    let store = store(&url);
    store.found(10).expect("founded");
    let waiting = open(&store, 0);
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'florin test'";
    assert_ne!(postgres.ask("bank", sql), "0");
    drop(waiting);
    let setting = store.setting("synchronous_commit").expect("a setting");
    assert_eq!(setting, "local");
}
