//! One flipped bit in the write-ahead log would make SQLite drop every later commit without a word.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use crate::rows::{self, append, open, settings};
use branch_server::journal::{Journal as _, OpenError, SqliteJournal};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = 24 + 4096;

/// A directory as a power loss leaves it, with commits of so many rows in the write-ahead log.
fn crashed(groups: &[usize]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    groups.iter().for_each(|rows| append(&mut journal, *rows));
    rows::copy(directory.path())
}

/// The same directory with another write-ahead log.
fn with_wal(image: &Path, wal: &[u8]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::copy(image.join("journal.db"), directory.path().join("journal.db")).expect("a copy");
    fs::write(directory.path().join("journal.db-wal"), wal).expect("a file");
    directory
}

#[test]
fn a_flipped_bit_in_any_frame_is_refused_with_the_place_named() {
    let image = crashed(&[1, 1, 120, 1, 60, 1]);
    let wal = fs::read(image.path().join("journal.db-wal")).expect("a log");
    let frames = (wal.len() - HEADER_BYTES) / FRAME_BYTES;
    assert!(frames >= 9, "{frames} frames");
    for frame in 0..frames {
        // Page number, end of commit, salts, checksum, and the page's begin, middle and end.
        for place in [2, 5, 9, 13, 18, 23, 24, 2000, FRAME_BYTES - 1] {
            let mut damaged = wal.clone();
            let offset = HEADER_BYTES + frame * FRAME_BYTES;
            damaged[offset + place] ^= 0x04;
            let directory = with_wal(image.path(), &damaged);
            let refused = match SqliteJournal::open(directory.path(), settings()) {
                Err(refused) => refused,
                Ok(journal) => {
                    // At its very end the last commit may as well be torn.
                    assert!(frame + 1 == frames && journal.last_sequence() == 183, "frame {} byte {place}", frame + 1);
                    continue;
                }
            };
            assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
            let named = format!("frame {} (byte {offset})", frame + 1);
            assert!(refused.to_string().contains(&named), "{refused}, not {named}");
            assert!(refused.to_string().contains("journal.db-wal"), "{refused}");
            let kept = fs::read(directory.path().join("journal.db-wal")).expect("a log");
            assert!(kept == damaged, "what is damaged is left as it is");
        }
    }
}

#[test]
fn a_damaged_header_with_frames_behind_it_is_refused() {
    let image = crashed(&[1, 20]);
    let wal = fs::read(image.path().join("journal.db-wal")).expect("a log");
    for byte in 0..HEADER_BYTES {
        let mut damaged = wal.clone();
        damaged[byte] ^= 0x40;
        let directory = with_wal(image.path(), &damaged);
        let refused = SqliteJournal::open(directory.path(), settings()).expect_err("a damaged header");
        assert!(refused.to_string().contains("header"), "{refused}");
    }
}

#[test]
fn without_the_look_sqlite_loses_acknowledged_commits_silently() {
    // The reason for all of this: were it ever not so, the look could go.
    let image = crashed(&[1; 10]);
    let mut wal = fs::read(image.path().join("journal.db-wal")).expect("a log");
    wal[HEADER_BYTES + 4 * FRAME_BYTES + 2000] ^= 1;
    let directory = with_wal(image.path(), &wal);
    let connection = rusqlite::Connection::open(directory.path().join("journal.db")).expect("a file");
    let rows: i64 = connection.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).expect("a count");
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
    assert_eq!((rows, check.as_str()), (4, "ok"));
}

#[test]
fn a_torn_last_commit_is_dropped_and_every_earlier_one_kept() {
    let image = crashed(&[1, 30, 1]);
    let before = fs::metadata(image.path().join("journal.db-wal")).expect("a log").len();
    let torn = crashed_with_a_last_commit(&image, 150);
    let wal = fs::read(torn.path().join("journal.db-wal")).expect("a log");
    let begin = usize::try_from(before).expect("small");
    assert!(wal.len() >= begin + 5 * FRAME_BYTES, "a last commit of several frames");

    // Cut at every place a sector or a frame begins, one byte around it, and many others.
    let cuts = (begin..wal.len()).filter(|length| {
        let (in_sector, in_frame) = (length % 512, (length - HEADER_BYTES) % FRAME_BYTES);
        in_sector <= 1 || in_sector == 511 || in_frame <= 1 || in_frame == 24 || length % 89 == 0
    });
    for length in cuts {
        let found = branch_server::journal::wal::judge(&wal[..length]).expect("a torn commit");
        assert_eq!(found.commits, 3, "{length} bytes");
        if length % 7 == 0 {
            assert_opens_at(&with_wal(torn.path(), &wal[..length]), 32, &format!("{length} bytes"));
        }
    }
    assert_opens_at(&with_wal(torn.path(), &wal), 182, "all of it");
}

#[test]
fn a_last_commit_of_which_any_pages_never_reached_the_disk_is_dropped() {
    let image = crashed(&[1, 30, 1]);
    let before = fs::metadata(image.path().join("journal.db-wal")).expect("a log").len();
    let torn = crashed_with_a_last_commit(&image, 100);
    let wal = fs::read(torn.path().join("journal.db-wal")).expect("a log");
    let begin = usize::try_from(before).expect("small");
    let pages: Vec<usize> = (begin / 4096..wal.len().div_ceil(4096)).collect();
    for missing in 1_u32..1 << pages.len() {
        let mut damaged = wal.clone();
        for (_, page) in pages.iter().enumerate().filter(|(index, _)| missing >> index & 1 == 1) {
            damaged[(page * 4096).max(begin)..((page + 1) * 4096).min(wal.len())].fill(0);
        }
        let found = branch_server::journal::wal::judge(damaged.as_slice());
        assert_eq!(found.expect("a torn commit").commits, 3, "pages {missing:#b}");
        if missing.is_power_of_two() {
            assert_opens_at(&with_wal(torn.path(), &damaged), 32, &format!("pages {missing:#b}"));
        }
    }
}

/// The image once more, as it is after one more commit of so many rows.
fn crashed_with_a_last_commit(image: &TempDir, rows: usize) -> TempDir {
    // The commits before are made again: the same rows, and a log of the same length.
    let again = crashed(&[1, 30, 1, rows]);
    let length = |directory: &TempDir| fs::metadata(directory.path().join("journal.db-wal")).expect("a log").len();
    assert!(length(&again) > length(image));
    again
}

/// Opening finds every row up to `last` and none after it, and writing goes on from there.
fn assert_opens_at(directory: &TempDir, last: u64, what: &str) {
    let mut journal =
        SqliteJournal::open(directory.path(), settings()).unwrap_or_else(|refused| panic!("{what}: {refused}"));
    assert_eq!(journal.last_sequence(), last, "{what}");
    let expected = rows::rows(0, usize::try_from(last).expect("small"));
    assert!(journal.read(1, 1000).expect("rows") == expected, "{what}: the rows are not those that were written");
    append(&mut journal, 1);
}
