//! A write-ahead log that has room before it is needed: zeros that must never be taken for anything, nor
//! hide anything.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use crate::rows::{self, append, settings};
use branch_server::journal::{Journal as _, JournalSettings, OpenError, SqliteJournal};
use std::fs;
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = 24 + 4096;

/// Room for some thirty frames.
fn with_room() -> JournalSettings {
    JournalSettings { wal_room_bytes: 128 * 1024, ..settings() }
}

fn open(directory: &Path) -> SqliteJournal {
    SqliteJournal::open(directory, with_room()).expect("a journal")
}

fn log(directory: &Path) -> Vec<u8> {
    fs::read(directory.join("journal.db-wal")).expect("a log")
}

#[test]
fn the_room_is_made_at_every_opening_and_commits_go_into_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    assert_eq!(journal.wal_bytes(), 128 * 1024);
    assert!(log(directory.path()).iter().all(|byte| *byte == 0));
    append(&mut journal, 3);
    assert_eq!(journal.wal_bytes(), 128 * 1024, "the file has not grown");
    drop(journal);
    let journal = open(directory.path());
    assert_eq!((journal.last_sequence(), journal.wal_bytes()), (3, 128 * 1024));
}

#[test]
fn a_crash_at_any_commit_in_the_room_and_beyond_it_loses_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    for commit in 0..60 {
        let image = rows::copy(directory.path());
        assert_eq!(open(image.path()).last_sequence(), commit);
        append(&mut journal, 1);
    }
    assert!(journal.wal_bytes() > 128 * 1024, "the room was filled");
}

#[test]
fn a_torn_last_commit_may_go_and_damage_before_it_is_refused_as_without_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    for _ in 0..5 {
        append(&mut journal, 1);
    }
    let image = rows::copy(directory.path());
    let whole = log(image.path());
    let is_written = |frame: &usize| whole[HEADER_BYTES + frame * FRAME_BYTES + 8..][..8].iter().any(|byte| *byte != 0);
    let frames = (0..30).take_while(is_written).count();
    let at = |frame: usize| HEADER_BYTES + frame * FRAME_BYTES;

    let mut torn = whole.clone();
    torn[at(frames - 1) + 512..at(frames)].fill(0);
    fs::write(image.path().join("journal.db-wal"), &torn).expect("written");
    assert_eq!(open(image.path()).last_sequence(), 4);

    let mut damaged = whole.clone();
    damaged[at(frames - 2) + 2000] ^= 1;
    let image = rows::copy(directory.path());
    fs::write(image.path().join("journal.db-wal"), &damaged).expect("written");
    let refused = SqliteJournal::open(image.path(), with_room()).expect_err("damage");
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");

    let mut headless = whole;
    headless[..HEADER_BYTES].fill(0);
    fs::write(image.path().join("journal.db-wal"), &headless).expect("written");
    let refused = SqliteJournal::open(image.path(), with_room()).expect_err("a log without its header");
    assert!(refused.to_string().contains("header"), "{refused}");
}

#[test]
fn a_disk_that_is_nearly_full_is_not_filled_with_zeros() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = JournalSettings { reserve_bytes: 1 << 60, ..with_room() };
    assert_eq!(SqliteJournal::open(directory.path(), settings).expect("a journal").wal_bytes(), 0);
}
