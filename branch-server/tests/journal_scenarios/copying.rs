//! Copies of a journal that grow with it.

use crate::rows::{append, branch, change, open, rows};
use bank_proto::CustomerId;
use branch_server::journal::sqlite::{Copied, CopyError, JournalFile, Wanted, copy};
use branch_server::journal::{Journal as _, OpenError, PersonalName};
use std::path::Path;

fn take(from: &Path, to: &Path, up_to: Option<u64>) -> Result<Copied, CopyError> {
    copy(
        &mut JournalFile::open(from)?,
        to,
        Wanted { branch: branch(), branches: 10, up_to, epochs_ahead: 0 },
        |_, _| {},
    )
}

#[test]
fn a_copy_grows_by_what_is_new_and_opens_as_the_journal_it_is() {
    let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let mut journal = open(from.path());
    let empty = take(from.path(), to.path(), None).expect("a copy of nothing");
    assert_eq!((empty.sequence, empty.added), (0, 0));
    append(&mut journal, 3);
    append(&mut journal, 50_000);
    // While the owner has it open, and in two steps.
    assert_eq!(take(from.path(), to.path(), Some(3)).expect("a copy").added, 3);
    let whole = take(from.path(), to.path(), None).expect("a copy");
    assert_eq!((whole.sequence, whole.added, whole.head), (50_003, 50_000, journal.head()));
    assert_eq!(take(from.path(), to.path(), None).expect("a copy").added, 0);

    let mut copied = open(to.path());
    assert_eq!((copied.last_sequence(), copied.head(), copied.epoch()), (50_003, journal.head(), 2));
    assert_eq!(copied.read(1, 60_000).expect("rows"), rows(0, 50_003));
}

#[test]
fn a_copy_fences_out_owners_whom_it_does_not_know() {
    let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    append(&mut open(from.path()), 1);
    let wanted = Wanted { branch: branch(), branches: 10, up_to: None, epochs_ahead: 1_000 };
    copy(&mut JournalFile::open(from.path()).expect("a journal"), to.path(), wanted, |_, _| {}).expect("a copy");
    assert_eq!(open(to.path()).epoch(), 1_002);
}

#[test]
fn a_name_that_was_erased_is_erased_from_the_copy() {
    let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let customer = CustomerId::new(12).expect("a customer");
    let mut journal = open(from.path());
    let name = PersonalName { customer, name: "Ada".to_owned(), digest_key: [7; 32] };
    journal.append(&rows(0, 1), &[name]).expect("an append");
    drop(journal);
    take(from.path(), to.path(), None).expect("a copy");
    change(from.path(), "DELETE FROM personal_name");
    take(from.path(), to.path(), None).expect("a copy");
    assert_eq!(open(to.path()).personal_name(customer).expect("a look"), None);
    let bytes = std::fs::read(to.path().join("journal.db")).expect("the file");
    assert!(!bytes.windows(3).any(|three| three == b"Ada"), "it still stands in the file");
}

#[test]
fn what_does_not_fit_is_not_copied() {
    let (from, to) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let mut journal = open(from.path());
    append(&mut journal, 5);
    append(&mut journal, 5);
    drop(journal);
    take(from.path(), to.path(), None).expect("a copy");

    let refused = take(from.path(), to.path(), Some(11)).expect_err("no such row");
    assert!(matches!(refused, CopyError::Missing { end: 10, wanted: 11, .. }), "{refused}");
    let refused = take(from.path(), to.path(), Some(7)).expect_err("within a group");
    assert!(matches!(refused, CopyError::WithinGroup { wanted: 7, .. }), "{refused}");
    let refused = take(from.path(), to.path(), Some(5)).expect_err("the copy is longer");
    assert!(matches!(refused, CopyError::OtherStory { sequence: 10, .. }), "{refused}");

    // Another journal of the same branch: in other group commits.
    let other = tempfile::tempdir().expect("a directory");
    append(&mut open(other.path()), 10);
    let refused = take(other.path(), to.path(), None).expect_err("another story");
    assert!(matches!(refused, CopyError::OtherStory { sequence: 10, .. }), "{refused}");

    change(from.path(), "UPDATE branch SET retired = 1");
    let refused = take(from.path(), to.path(), None).expect_err("its books go on elsewhere");
    assert!(matches!(refused, CopyError::Open(OpenError::Retired { .. })), "{refused}");
}

#[test]
fn a_copy_that_was_interrupted_is_the_copy_of_before() {
    let directories = [(); 4].map(|()| tempfile::tempdir().expect("a directory"));
    let [from, to, image, restored] = directories.each_ref().map(|directory| directory.path());
    append(&mut open(from), 10);
    take(from, to, None).expect("a copy");
    // Another transaction has reached the file in part, and then the power goes.
    let connection = rusqlite::Connection::open(to.join("journal.db")).expect("the copy");
    let unfinished = "PRAGMA cache_size = 1; BEGIN; WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many \
                      WHERE n < 5000) INSERT INTO personal_name SELECT n, 'somebody', zeroblob(32) FROM many;";
    connection.execute_batch(unfinished).expect("written in part");
    for name in ["journal.db", "journal.db-journal"] {
        std::fs::copy(to.join(name), image.join(name)).expect("copied");
    }
    assert_ne!(std::fs::read(image.join("journal.db")).expect("bytes").len(), 0);

    let copied = take(image, restored, None).expect("a copy out of it");

    assert_eq!(copied.sequence, 10);
    let names = rusqlite::Connection::open(restored.join("journal.db")).expect("the copy");
    let count: i64 = names.query_row("SELECT count(*) FROM personal_name", [], |row| row.get(0)).expect("a number");
    assert_eq!(count, 0, "what was not finished is not there");
}
