//! A full disk refuses and loses nothing; with room again, writing goes on.

use crate::rows::{self, append, open, rows, settings};
use crate::small_disk::SmallDisk;
use branch_server::journal::{AppendError, Journal as _, JournalSettings, SqliteJournal};
use std::fs;
use tempfile::TempDir;

#[test]
fn a_full_disk_refuses_leaves_nothing_half_written_and_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(6) else { return };
    let branch = disk.path().join("branch-0007");
    let mut journal = open(&branch);
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![7; 3 * 1024 * 1024]).expect("ballast");

    let mut refusals = 0;
    while refusals < 5 {
        // Small groups and large ones: each is there as a whole or not at all.
        let group = rows(journal.last_sequence(), [1, 700, 40][refusals % 3]);
        let (last, head) = (journal.last_sequence(), journal.head());
        match journal.append(&group, &[]) {
            Ok(()) => {}
            Err(AppendError::StorageFull) => {
                refusals += 1;
                assert_eq!((journal.last_sequence(), journal.head()), (last, head));
                assert_eq!(journal.read(last, 10).expect("reading goes on").len(), usize::from(last > 0));
            }
            Err(AppendError::Fatal(what)) => panic!("{what}"),
        }
    }
    let acknowledged = journal.last_sequence();
    assert!(acknowledged > 0);
    // What kill -9 would leave now.
    let image = rows::copy_after_kill(&branch);
    assert_eq!(open(image.path()).last_sequence(), acknowledged);

    fs::remove_file(ballast).expect("to make room");
    append(&mut journal, 700);
    let (last, head) = (journal.last_sequence(), journal.head());
    let image = rows::copy(&branch);
    drop(journal);
    for directory in [image.path(), &branch] {
        let mut journal = open(directory);
        assert_eq!((journal.last_sequence(), journal.head()), (last, head));
        let all = rows(0, usize::try_from(last).expect("small"));
        assert!(journal.read(1, all.len() + 1).expect("rows") == all);
    }
}

#[test]
fn a_commit_torn_after_a_full_disk_is_still_told_from_damage() {
    // What a refused write left at the end of the log stands behind the commits that follow.
    let Some(disk) = SmallDisk::mount(6) else { return };
    let branch = disk.path().join("branch-0007");
    let mut journal = open(&branch);
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![7; 4 * 1024 * 1024]).expect("ballast");
    append(&mut journal, 1);
    let refused = journal.append(&rows(1, 20_000), &[]).expect_err("more than fits");
    assert!(matches!(refused, AppendError::StorageFull), "{refused}");
    fs::remove_file(ballast).expect("to make room");
    append(&mut journal, 1);
    let log = |image: &TempDir| image.path().join("journal.db-wal");
    let before = fs::read(log(&rows::copy(&branch))).expect("a log");
    append(&mut journal, 60);

    // A part of the last commit never reached the disk.
    let image = rows::copy(&branch);
    let mut torn = fs::read(log(&image)).expect("a log");
    let begin = before.iter().zip(&torn).position(|(before, after)| before != after).unwrap_or(before.len());
    torn[begin + 100..begin + 600].fill(0);
    fs::write(log(&image), torn).expect("a log");
    let mut journal = open(image.path());
    assert_eq!(journal.last_sequence(), 2);
    append(&mut journal, 1);
}

#[test]
fn nothing_is_written_into_the_reserve() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = JournalSettings { reserve_bytes: u64::MAX, ..settings() };
    let mut journal = SqliteJournal::open(directory.path(), settings).expect("a journal");
    for _ in 0..3 {
        let refused = journal.append(&rows(0, 1), &[]).expect_err("no room");
        assert!(matches!(refused, AppendError::StorageFull), "{refused}");
    }
    assert_eq!(journal.wal_bytes(), 0);
    drop(journal);
    append(&mut open(directory.path()), 1);
}
