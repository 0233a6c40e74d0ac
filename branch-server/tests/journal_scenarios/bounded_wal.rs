//! The write-ahead log stays short under load, whoever reads meanwhile.

use crate::rows::{append, open, settings};
use branch_server::journal::{Journal as _, JournalReader as _, JournalSettings, SqliteJournal};
use std::sync::atomic::{AtomicBool, Ordering};

const MIB: u64 = 1024 * 1024;

#[test]
fn the_log_stays_bounded_under_sustained_load_with_readers_beside_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    let mut reader = journal.reader().expect("a reader");
    let stop = AtomicBool::new(false);
    let mut longest = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let last = reader.last_sequence().expect("a look");
                let newest = reader.read(last.saturating_sub(50), 50).expect("rows");
                assert!(last == 0 || !newest.is_empty());
            }
        });
        for _ in 0..300 {
            append(&mut journal, 1000);
            longest = longest.max(journal.wal_bytes());
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(longest < 64 * MIB, "{longest} bytes");
    drop(journal);
    assert_eq!(open(directory.path()).last_sequence(), 300_000);
}

#[test]
fn a_long_reader_makes_the_log_grow_and_its_end_lets_it_start_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = JournalSettings { wal_limit_bytes: MIB, ..settings() };
    let mut journal = SqliteJournal::open(directory.path(), settings).expect("a journal");
    append(&mut journal, 1);
    let path = directory.path().join("journal.db");
    let reader = rusqlite::Connection::open(path).expect("a file");
    reader.execute_batch("BEGIN; SELECT count(*) FROM journal;").expect("a read transaction");
    for _ in 0..30 {
        append(&mut journal, 1000);
    }
    let grown = journal.wal_bytes();
    assert!(grown > 2 * MIB, "{grown} bytes: the reader did not keep the log");
    reader.execute_batch("COMMIT").expect("its end");
    for _ in 0..30 {
        append(&mut journal, 1000);
    }
    assert!(journal.wal_bytes() <= 2 * MIB, "{} bytes", journal.wal_bytes());
}

#[test]
fn the_log_starts_over_long_before_its_limit_when_the_load_allows() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    let limit = settings().wal_limit_bytes;
    // It has started over when commits no longer make it longer.
    let mut same = 0;
    while same < 20 {
        let before = journal.wal_bytes();
        append(&mut journal, 1);
        let after = journal.wal_bytes();
        same = if after == before { same + 1 } else { 0 };
        assert!(after < limit / 2, "{after} bytes: it never starts over");
    }
}
