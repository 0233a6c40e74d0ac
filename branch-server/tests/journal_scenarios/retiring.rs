//! A journal whose branch goes on at another server: at every step there is at most one copy that opens.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use crate::rows::{append, branch, copy_after_kill, open, rows, settings};
use branch_server::journal::sqlite::{self, Retirement};
use branch_server::journal::{Journal as _, OpenError, SqliteJournal};
use std::path::Path;
use tempfile::TempDir;

fn found(directory: &Path) -> Retirement {
    sqlite::retirement(directory, branch(), 10).expect("a journal").0
}

fn refuses_to_open(directory: &Path) {
    let refused = SqliteJournal::open(directory, settings()).expect_err("retired");
    assert!(matches!(refused, OpenError::Retired { server: 3, .. }), "{refused}");
}

/// A journal of ten rows that was promised to server 3, and its file alone in another directory.
fn promised() -> (TempDir, TempDir) {
    let [from, to] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    let mut journal = open(from.path());
    append(&mut journal, 10);
    let extent = journal.retire(3).expect("promised");
    assert_eq!(extent.sequence, 10);
    let file = sqlite::retired_file(from.path(), branch(), 10).expect("a journal").expect("the whole file");
    std::fs::copy(file, to.path().join("journal.db")).expect("copied");
    (from, to)
}

#[test]
fn a_promised_journal_never_opens_again_and_its_file_alone_is_all_of_it() {
    let (from, to) = promised();
    assert_eq!((found(from.path()), found(to.path())), (Retirement::Promised(3), Retirement::Promised(3)));
    refuses_to_open(from.path());
    refuses_to_open(to.path());

    let extent = sqlite::accept(to.path(), branch(), 10, 3).expect("in office");
    let mut moved = open(to.path());
    assert_eq!((moved.last_sequence(), moved.head(), moved.epoch()), (10, extent.head, 2));
    assert_eq!(moved.read(1, 100).expect("rows"), rows(0, 10));
    refuses_to_open(from.path());
}

#[test]
fn only_the_server_to_which_it_was_promised_takes_office_with_it() {
    let (from, to) = promised();
    let refused = sqlite::accept(to.path(), branch(), 10, 2).expect_err("another server").to_string();
    assert!(refused.contains("not promised to server 2"), "{refused}");
    sqlite::confirm(from.path(), branch(), 10, 2).expect_err("another server has it");
    assert_eq!(found(from.path()), Retirement::Promised(3));
}

#[test]
fn what_was_confirmed_is_remembered_and_may_be_confirmed_again() {
    let (from, _to) = promised();
    for _ in 0..2 {
        sqlite::confirm(from.path(), branch(), 10, 3).expect("remembered");
        assert_eq!(found(from.path()), Retirement::Delivered(3));
        refuses_to_open(from.path());
    }
    let open = tempfile::tempdir().expect("a directory");
    append(&mut crate::rows::open(open.path()), 1);
    sqlite::confirm(open.path(), branch(), 10, 3).expect_err("it was never promised");
}

#[test]
fn the_promise_survives_a_killed_process() {
    let from = tempfile::tempdir().expect("a directory");
    let mut journal = open(from.path());
    append(&mut journal, 10);
    // Another program keeps the log from being emptied, so the promise stands there alone.
    let reader = rusqlite::Connection::open(from.path().join("journal.db")).expect("a file");
    reader.execute_batch("BEGIN; SELECT count(*) FROM journal;").expect("a reading");
    let refused = journal.retire(3).expect_err("the file alone is not all of it");
    assert!(matches!(refused, OpenError::Busy { .. }), "{refused}");

    let image = copy_after_kill(from.path());
    refuses_to_open(image.path());
    assert_eq!(found(image.path()), Retirement::Promised(3));
    let file = sqlite::retired_file(image.path(), branch(), 10).expect("a journal").expect("the whole file");
    let alone = tempfile::tempdir().expect("a directory");
    std::fs::copy(file, alone.path().join("journal.db")).expect("copied");
    assert_eq!(found(alone.path()), Retirement::Promised(3));
    assert_eq!(sqlite::accept(alone.path(), branch(), 10, 3).expect("in office").sequence, 10);
}

#[test]
fn a_crash_while_a_copy_is_marked_does_not_keep_it_from_being_asked() {
    let (from, _to) = promised();
    let image = tempfile::tempdir().expect("a directory");
    // Half of a transaction has reached the file, and then the process is killed.
    let connection = rusqlite::Connection::open(from.path().join("journal.db")).expect("the copy");
    let unfinished = "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; BEGIN; UPDATE branch SET retired = -4; \
                      WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 5000) \
                      INSERT INTO personal_name SELECT n, 'somebody', zeroblob(32) FROM many;";
    connection.execute_batch(unfinished).expect("written in part");
    for name in ["journal.db", "journal.db-journal"] {
        std::fs::copy(from.path().join(name), image.path().join(name)).expect("copied");
    }

    assert_eq!(found(image.path()), Retirement::Promised(3));
    sqlite::confirm(image.path(), branch(), 10, 3).expect("remembered");
    assert_eq!(found(image.path()), Retirement::Delivered(3));
}
