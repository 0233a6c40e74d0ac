//! Rows and journals to try things with.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use bank_proto::{AccountSerial, BranchId, Currency, CustomerId, Timestamp, TransactionKey};
use branch_server::journal::{Channel, Journal, JournalSettings, Row, RowKind, Sequence, SqliteJournal};
use rusqlite::Connection;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) fn branch() -> BranchId {
    BranchId::new(7).expect("a branch")
}

pub(crate) fn settings() -> JournalSettings {
    JournalSettings { reserve_bytes: 0, wal_room_bytes: 0, ..JournalSettings::new(branch(), 10) }
}

pub(crate) fn open(directory: &Path) -> SqliteJournal {
    SqliteJournal::open(directory, settings()).expect("a journal")
}

/// Deposits of 1.00, 2.00, ... into one account out of another, one row each.
pub(crate) fn rows(after: Sequence, count: usize) -> Vec<Row> {
    let principal: Arc<str> = "open".into();
    (after + 1..).take(count).map(|sequence| row(sequence, &principal)).collect()
}

fn row(sequence: Sequence, principal: &Arc<str>) -> Row {
    let amount = i64::try_from(sequence).expect("a small number") * 100;
    let customer = i64::try_from(sequence % 1000 + 1).expect("a small number");
    Row {
        sequence,
        booked_at: Timestamp(1_795_000_000_000_000 + amount),
        transaction: TransactionKey(
            u128::from(sequence) << 64 | u128::from(sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        ),
        fingerprint: Some(u128::from(sequence).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes()),
        kind: RowKind::Deposit,
        debit_account: Some(AccountSerial(1)),
        credit_account: Some(AccountSerial(u32::try_from(sequence % 1000 + 2).expect("a small number"))),
        amount,
        currency: Some(Currency::USD),
        debit_balance: -amount,
        credit_balance: amount,
        debit_previous: sequence - 1,
        credit_previous: sequence.saturating_sub(1000),
        customer: CustomerId::new(customer).ok(),
        principal: Arc::clone(principal),
        channel: Channel::Http,
        detail: None,
    }
}

/// Appends so many rows as one group commit.
pub(crate) fn append(journal: &mut SqliteJournal, count: usize) {
    let group = rows(journal.last_sequence(), count);
    journal.append(&group, &[]).expect("an append");
}

/// A copy of a branch's directory, as a power loss would leave it at this moment: what was not
/// synced is not there.
pub(crate) fn copy(directory: &Path) -> TempDir {
    copy_files(directory, &["journal.db", "journal.db-wal"])
}

/// A copy of a branch's directory, as kill -9 would leave it at this moment: whatever was written is
/// there.
pub(crate) fn copy_after_kill(directory: &Path) -> TempDir {
    copy_files(directory, &["journal.db", "journal.db-wal", "journal.tide"])
}

/// Another process makes the copy: were this one to close the journal, SQLite would lose its locks
/// on it.
fn copy_files(directory: &Path, names: &[&str]) -> TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for name in names {
        let status = Command::new("cp").arg(directory.join(name)).arg(copy.path()).status().expect("cp runs");
        assert!(status.success(), "copying {name}");
    }
    copy
}

/// Changes a journal as another program would.
pub(crate) fn change(directory: &Path, sql: &str) {
    Connection::open(directory.join("journal.db")).expect("a file").execute_batch(sql).expect(sql);
}
