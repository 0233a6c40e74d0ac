//! What was acknowledged is there again, and only in the hands of its owner.

use crate::rows::{append, branch, open, rows, settings};
use bank_proto::{BranchId, CustomerId};
use branch_server::journal::{
    Journal as _, JournalReader as _, JournalSettings, OpenError, PersonalName, SqliteJournal,
};

#[test]
fn what_was_appended_is_there_after_reopening() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    assert_eq!((journal.last_sequence(), journal.epoch()), (0, 1));
    append(&mut journal, 1);
    append(&mut journal, 1000);
    let head = journal.head();
    drop(journal);

    let mut journal = open(directory.path());
    assert_eq!((journal.last_sequence(), journal.head(), journal.epoch()), (1001, head, 2));
    assert_eq!(journal.read(1, 2000).expect("rows"), rows(0, 1001));
    assert_eq!(journal.read(1001, 5).expect("rows"), rows(1000, 1));
    assert_eq!(journal.read(1002, 5).expect("rows"), []);
    assert_eq!(journal.read(1, 0).expect("rows"), []);
}

#[test]
fn the_write_ahead_log_is_empty_before_the_first_answer() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    append(&mut journal, 10);
    assert!(journal.wal_bytes() > 0);
    // As after a crash: the file stays as it is, and nobody closes it.
    std::mem::forget(journal);
    let copy = crate::rows::copy(directory.path());
    assert_eq!(open(copy.path()).wal_bytes(), 0);
}

#[test]
fn a_second_owner_is_refused_with_the_directory_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = open(directory.path());
    let refused = SqliteJournal::open(directory.path(), settings()).expect_err("a second owner");
    assert!(matches!(refused, OpenError::Lock(_)), "{refused}");
    assert!(refused.to_string().contains(&directory.path().display().to_string()), "{refused}");
    drop(journal);
    open(directory.path());
}

#[test]
fn a_journal_of_another_branch_or_bank_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(directory.path()));
    let refusal = |settings| SqliteJournal::open(directory.path(), settings).expect_err("another's journal");
    let other_branch = BranchId::new(8).expect("a branch");
    let refused = refusal(JournalSettings::new(other_branch, 10));
    assert!(matches!(refused, OpenError::OtherBranch { found: 7, expected: 8, .. }), "{refused}");
    let refused = refusal(JournalSettings::new(branch(), 11));
    assert!(matches!(refused, OpenError::OtherBranches { found: 10, expected: 11, .. }), "{refused}");
}

#[test]
fn a_newer_format_a_retired_copy_and_a_stranger_are_refused() {
    for (change, expected) in [
        ("PRAGMA user_version = 2", "newer version (format 2"),
        ("PRAGMA user_version = 0", "its format is 0"),
        ("UPDATE branch SET format = 3", "newer version (format 3"),
        ("UPDATE branch SET format = -1", "its format is -1"),
        ("UPDATE branch SET retired = 1", "retired"),
        ("PRAGMA application_id = 1", "not a branch's journal"),
        ("DELETE FROM branch", "the table branch is empty"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        drop(open(directory.path()));
        crate::rows::change(directory.path(), change);
        let refused = SqliteJournal::open(directory.path(), settings()).expect_err(change).to_string();
        assert!(refused.contains(expected), "{refused}");
        // Refusing has changed nothing: it refuses again.
        SqliteJournal::open(directory.path(), settings()).expect_err(change);
    }
}

#[test]
fn an_epoch_set_back_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(directory.path()));
    append(&mut open(directory.path()), 5);
    drop(open(directory.path()));
    let refused_at = |epoch: i64| {
        crate::rows::change(directory.path(), &format!("UPDATE branch SET epoch = {epoch}"));
        SqliteJournal::open(directory.path(), settings()).expect_err("an epoch set back").to_string()
    };
    for epoch in [-1, 0, 1] {
        let expected = format!("the table branch says {epoch}, but the last group commit is of epoch 2");
        let refused = refused_at(epoch);
        assert!(refused.ends_with(&expected), "{refused}");
    }
    // The epoch of an owner who wrote no row is in journal.tide alone.
    let refused = refused_at(2);
    assert!(refused.ends_with("the table branch says 2, but journal.tide remembers epoch 3"), "{refused}");
    crate::rows::change(directory.path(), "UPDATE branch SET epoch = 3");
    assert_eq!(open(directory.path()).epoch(), 4);
}

#[test]
fn a_journal_that_lost_rows_others_remember_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    append(&mut open(directory.path()), 5);
    let known = |known_sequence| JournalSettings { known_sequence, ..settings() };
    let refused = SqliteJournal::open(directory.path(), known(6)).expect_err("a lost row");
    assert!(matches!(refused, OpenError::RowsMissing { found: 5, known: 6, .. }), "{refused}");
    SqliteJournal::open(directory.path(), known(5)).expect("nothing lost");

    std::fs::remove_file(directory.path().join("journal.db")).expect("to lose the file");
    let refused = SqliteJournal::open(directory.path(), known(5)).expect_err("a lost file");
    assert!(matches!(refused, OpenError::RowsMissing { found: 0, known: 5, .. }), "{refused}");
}

#[test]
fn a_write_ahead_log_without_its_journal_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    append(&mut journal, 5);
    let copy = crate::rows::copy(directory.path());
    std::fs::remove_file(copy.path().join("journal.db")).expect("to lose the file");
    let refused = SqliteJournal::open(copy.path(), settings()).expect_err("a lost file");
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    assert!(copy.path().join("journal.db-wal").exists(), "what is left is kept");
}

#[test]
fn rows_that_do_not_follow_the_last_one_are_never_written() {
    let directory = tempfile::tempdir().expect("a directory");
    for group in [rows(1, 1), rows(4, 2), vec![]] {
        let mut journal = open(directory.path());
        journal.append(&group, &[]).expect_err("a gap");
        journal.append(&rows(0, 1), &[]).expect_err("after a fatal error nothing is written");
        drop(journal);
        assert_eq!(open(directory.path()).last_sequence(), 0);
    }
}

#[test]
fn personal_names_are_kept_beside_the_rows() {
    let directory = tempfile::tempdir().expect("a directory");
    let customer = CustomerId::new(12).expect("a customer");
    let name = |name: &str| PersonalName { customer, name: name.to_owned(), digest_key: [7; 32] };
    let mut journal = open(directory.path());
    journal.append(&rows(0, 1), &[name("Ada")]).expect("an append");
    journal.append(&rows(1, 1), &[name("Ada Lovelace")]).expect("an append");
    assert_eq!(journal.personal_name(customer).expect("a look").as_deref(), Some("Ada Lovelace"));
    let mut reader = journal.reader().expect("a reader");
    assert_eq!(reader.personal_name(customer).expect("a look").as_deref(), Some("Ada Lovelace"));
    assert_eq!(reader.personal_name(branch().namesake()).expect("a look"), None);
}
