//! A journal that is whole and too short: `journal.tide` tells what SQLite's files cannot.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use crate::rows::{self, append, open, rows, settings};
use branch_server::journal::{Journal as _, OpenError, SqliteJournal};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn wal(image: &TempDir) -> PathBuf {
    image.path().join("journal.db-wal")
}

fn tide(image: &TempDir) -> PathBuf {
    image.path().join("journal.tide")
}

/// A directory as kill -9 leaves it after commits of so many rows, and where in the write-ahead log
/// each of them ended.
fn killed(groups: &[usize]) -> (TempDir, Vec<u64>) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    let mut ends = Vec::new();
    for group in groups {
        append(&mut journal, *group);
        ends.push(journal.wal_bytes());
    }
    (rows::copy_after_kill(directory.path()), ends)
}

fn refusal(image: &Path) -> OpenError {
    SqliteJournal::open(image, settings()).expect_err("a journal that lost rows")
}

#[test]
fn a_write_ahead_log_that_vanished_is_noticed() {
    let (image, _) = killed(&[1, 30, 4]);
    fs::remove_file(wal(&image)).expect("to lose it");
    for _ in 0..2 {
        let refused = refusal(image.path());
        assert!(matches!(refused, OpenError::RowsMissing { found: 0, known: 35, .. }), "{refused}");
    }
}

#[test]
fn a_write_ahead_log_cut_off_at_the_end_of_an_earlier_commit_is_noticed() {
    let (image, ends) = killed(&[1, 30, 4]);
    let whole = fs::read(wal(&image)).expect("a log");
    for (end, last) in ends.iter().zip([1, 31]) {
        let cut = &whole[..usize::try_from(*end).expect("small")];
        fs::write(wal(&image), cut).expect("a shorter log");
        let refused = refusal(image.path());
        assert!(matches!(refused, OpenError::RowsMissing { found, known: 35, .. } if found == last), "{refused}");
        assert!(fs::read(wal(&image)).expect("a log") == cut, "what is left is left as it is");
    }
    // Nothing was changed: with the whole log it opens.
    fs::write(wal(&image), &whole).expect("the whole log");
    assert_eq!(open(image.path()).last_sequence(), 35);
}

#[test]
fn an_acknowledged_commit_torn_afterwards_is_noticed() {
    let (image, ends) = killed(&[1, 30, 4]);
    let whole = fs::read(wal(&image)).expect("a log");
    let begin = usize::try_from(ends[1]).expect("small");
    fs::write(wal(&image), &whole[..begin + 1000]).expect("a torn log");
    let refused = refusal(image.path());
    assert!(matches!(refused, OpenError::RowsMissing { found: 31, known: 35, .. }), "{refused}");
    assert_eq!(fs::read(wal(&image)).expect("a log").len(), begin + 1000, "what is left is left as it is");
}

#[test]
fn without_the_tide_sqlite_opens_what_is_left() {
    // The reason for the file, and what deleting it loses: the check and nothing else.
    let (image, _) = killed(&[1, 30, 4]);
    fs::remove_file(wal(&image)).expect("to lose it");
    fs::remove_file(tide(&image)).expect("to delete it");
    let mut journal = open(image.path());
    assert_eq!(journal.last_sequence(), 0);
    append(&mut journal, 3);
    drop(journal);
    assert_eq!(open(image.path()).last_sequence(), 3);
}

#[test]
fn an_older_copy_or_another_history_is_refused() {
    let (older, _) = killed(&[5]);
    let (newer, _) = killed(&[5, 1]);
    fs::copy(tide(&newer), tide(&older)).expect("a copy");
    let refused = refusal(older.path());
    assert!(matches!(refused, OpenError::RowsMissing { found: 5, known: 6, .. }), "{refused}");

    // Another history of the same length, and a longer one that differs at the mark.
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    let mut other = rows(0, 6);
    other[2].amount += 1;
    journal.append(&other, &[]).expect("an append");
    for _ in 0..2 {
        let image = rows::copy_after_kill(directory.path());
        fs::copy(tide(&newer), tide(&image)).expect("a copy");
        let refused = refusal(image.path());
        let expected = "row 6 is not the one that journal.tide remembers";
        assert!(matches!(&refused, OpenError::Damaged { what, .. } if what == expected), "{refused}");
        append(&mut journal, 1);
    }
}

#[test]
fn a_mark_that_is_behind_or_damaged_keeps_no_branch_from_opening() {
    let (behind, _) = killed(&[5]);
    let (image, _) = killed(&[5, 1]);
    fs::copy(tide(&behind), tide(&image)).expect("a copy");
    let mut journal = open(image.path());
    assert_eq!(journal.last_sequence(), 6);
    append(&mut journal, 1);
    drop(journal);
    fs::write(tide(&image), vec![7; 8192]).expect("a damaged file");
    assert_eq!(open(image.path()).last_sequence(), 7);
    // The opening has written a good one.
    let mut journal = open(image.path());
    append(&mut journal, 1);
    let image = rows::copy_after_kill(image.path());
    fs::remove_file(wal(&image)).expect("to lose it");
    assert!(matches!(refusal(image.path()), OpenError::RowsMissing { found: 7, known: 8, .. }));
}

#[test]
fn a_bank_whose_marks_cannot_be_written_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::create_dir(directory.path().join("journal.tide")).expect("something in the way");
    let mut journal = open(directory.path());
    append(&mut journal, 3);
    drop(journal);
    assert_eq!(open(directory.path()).last_sequence(), 3);
}
