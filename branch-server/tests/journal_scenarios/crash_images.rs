//! The directory as it is before and after every commit, opened again: exactly what was
//! acknowledged is there, wherever between two commits the power fails.

use crate::rows::{self, open, rows, settings};
use bank_proto::CustomerId;
use branch_server::journal::{
    AppendError, ChainHash, Journal, JournalSettings, PersonalName, ReadError, Row, Sequence, SqliteJournal,
};
use std::path::PathBuf;
use tempfile::TempDir;

/// A journal that keeps an image of its directory before and after every append.
struct CrashImages<J> {
    journal: J,
    directory: PathBuf,
    images: Vec<Image>,
}

struct Image {
    directory: TempDir,
    acknowledged: Sequence,
    head: ChainHash,
}

impl<J: Journal> CrashImages<J> {
    fn take(&mut self) {
        // Kill -9 leaves the mark of `journal.tide`, which a power loss may take back: here it must
        // never be ahead.
        let directory = rows::copy_after_kill(&self.directory);
        let (acknowledged, head) = (self.journal.last_sequence(), self.journal.head());
        self.images.push(Image { directory, acknowledged, head });
    }
}

impl<J: Journal> Journal for CrashImages<J> {
    fn last_sequence(&self) -> Sequence {
        self.journal.last_sequence()
    }

    fn head(&self) -> ChainHash {
        self.journal.head()
    }

    fn epoch(&self) -> u64 {
        self.journal.epoch()
    }

    fn append(&mut self, rows: &[Row], names: &[PersonalName]) -> Result<(), AppendError> {
        self.take();
        let outcome = self.journal.append(rows, names);
        self.take();
        outcome
    }

    fn confirm(&mut self) -> Result<(), AppendError> {
        self.journal.confirm()
    }

    fn read(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError> {
        self.journal.read(first, limit)
    }

    fn personal_name(&mut self, customer: CustomerId) -> Result<Option<String>, ReadError> {
        self.journal.personal_name(customer)
    }
}

#[test]
fn every_crash_image_holds_exactly_what_was_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    // A small log, so that it is emptied and started over several times.
    let settings = JournalSettings { wal_limit_bytes: 256 * 1024, background: false, ..settings() };
    let journal = SqliteJournal::open(directory.path(), settings).expect("a journal");
    let mut journal = CrashImages { journal, directory: directory.path().to_owned(), images: Vec::new() };
    for group in 0..40 {
        let count = [1, 2, 150, 1, 40][group % 5];
        let group = rows(journal.last_sequence(), count);
        journal.append(&group, &[]).expect("an append");
    }
    let all = rows(0, usize::try_from(journal.last_sequence()).expect("small"));
    for image in journal.images {
        let mut opened = open(image.directory.path());
        assert_eq!((opened.last_sequence(), opened.head()), (image.acknowledged, image.head));
        let count = usize::try_from(image.acknowledged).expect("small");
        assert!(opened.read(1, all.len()).expect("rows") == all[..count], "{count} rows");
        rows::append(&mut opened, 3);
    }
}

#[test]
fn a_log_that_starts_over_is_not_taken_for_damage() {
    // Behind the newest commits stand frames of an older use of the log.
    let directory = tempfile::tempdir().expect("a directory");
    let settings = JournalSettings { wal_limit_bytes: 256 * 1024, background: false, ..settings() };
    let mut journal = SqliteJournal::open(directory.path(), settings).expect("a journal");
    let mut longest = 0;
    for _ in 0..60 {
        rows::append(&mut journal, 20);
        longest = longest.max(journal.wal_bytes());
    }
    assert!(longest < 512 * 1024, "{longest} bytes: the log never started over");
    let image = rows::copy(directory.path());
    assert_eq!(open(image.path()).last_sequence(), 1200);
}
