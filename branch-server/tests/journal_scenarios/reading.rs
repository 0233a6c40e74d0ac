//! What a reader finds beside the writer, and what it says of rows that mean nothing.

use crate::rows::{append, change, open, rows};
use bank_proto::{AccountSerial, TransactionKey};
use branch_server::journal::{ChainHash, GroupCommit, Journal as _, JournalReader as _, ReadError};
use std::ops::ControlFlow;

#[test]
fn a_reader_finds_rows_transactions_and_history() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    let mut reader = journal.reader().expect("a reader");
    assert_eq!(reader.last_sequence().expect("a look"), 0);
    assert_eq!(reader.row(1).expect("a look"), None);

    let mut group = rows(0, 2500);
    let key = TransactionKey(99);
    group[10..13].iter_mut().for_each(|row| row.transaction = key);
    journal.append(&group, &[]).expect("an append");
    assert_eq!(reader.last_sequence().expect("a look"), 2500);
    assert_eq!(reader.row(1234).expect("a look").as_ref(), Some(&group[1233]));
    assert_eq!(reader.read(2499, 10).expect("rows"), group[2498..]);
    assert_eq!(reader.transaction(11).expect("rows"), group[10..13]);
    assert_eq!(reader.transaction(2500).expect("rows"), group[2499..]);
    assert_eq!(reader.transaction(2501).expect("rows"), []);

    // Account 5 is credited by the rows 3, 1003 and 2003, account 1 debited by all.
    let account = AccountSerial(5);
    let sequences = |rows: Vec<branch_server::journal::Row>| rows.iter().map(|row| row.sequence).collect::<Vec<_>>();
    assert_eq!(sequences(reader.history(account, 2003, 10).expect("history")), [2003, 1003, 3]);
    assert_eq!(sequences(reader.history(account, 2003, 2).expect("history")), [2003, 1003]);
    assert!(reader.history(account, 0, 10).expect("history").is_empty());
    assert_eq!(sequences(reader.history(AccountSerial(1), 2500, 3).expect("history")), [2500, 2499, 2498]);
    // A chain that leads astray is said, and not followed.
    assert!(matches!(reader.history(account, 4, 10), Err(ReadError::Damaged { sequence: 4, .. })));
    assert!(matches!(reader.history(account, 9999, 10), Err(ReadError::Damaged { sequence: 9999, .. })));
    assert!(reader.wal_bytes() > 0);
}

#[test]
fn every_group_commit_is_chained_to_the_one_before() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    for count in [1, 3, 1000, 2] {
        append(&mut journal, count);
    }
    let mut reader = journal.reader().expect("a reader").try_clone().expect("another");
    let (mut head, mut group, mut groups) = (ChainHash::default(), Vec::new(), 0);
    reader
        .for_each(1, &mut |row, closing| {
            group.push(row);
            if let Some(closing) = closing {
                let expected = GroupCommit::seal(crate::rows::branch(), closing.epoch, head, &group, &mut Vec::new());
                assert_eq!(closing, expected);
                head = closing.hash;
                groups += 1;
                group.clear();
            }
            ControlFlow::Continue(())
        })
        .expect("a walk");
    assert_eq!((head, groups, group.len()), (journal.head(), 4, 0));
}

#[test]
fn a_row_that_means_nothing_is_named() {
    for damage in [
        "kind = 'gift'",
        "channel = 'post'",
        "transaction_id = x'00'",
        "transaction_id = zeroblob(17)",
        "fingerprint = x''",
        "debit_account = -1",
        "debit_account = 0",
        "credit_account = 4294967296",
        "currency = 'XXX'",
        "currency = CAST(x'FF' AS TEXT)",
        "debit_previous = -1",
        "credit_previous = 3",
        "customer_id = 0",
        "customer_id = 9007199254740992",
        "principal = CAST(x'C328' AS TEXT)",
        "detail = CAST(x'FF' AS TEXT)",
        "epoch = 1",
        "hash = zeroblob(32)",
        "epoch = -1, hash = zeroblob(32)",
        "epoch = 1, hash = zeroblob(31)",
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let mut journal = open(directory.path());
        append(&mut journal, 5);
        change(directory.path(), "DROP TRIGGER journal_is_never_updated");
        change(directory.path(), &format!("UPDATE journal SET {damage} WHERE sequence = 3"));
        let mut reader = journal.reader().expect("a reader");
        for read in [reader.read(1, 5).map(|_| ()), reader.row(3).map(|_| ()), journal.read(1, 5).map(|_| ())] {
            assert!(matches!(read, Err(ReadError::Damaged { sequence: 3, .. })), "{damage}: {read:?}");
        }
        assert_eq!(reader.read(1, 2).expect("rows before it"), rows(0, 2));
    }
}

#[test]
fn a_journal_that_is_not_there_cannot_be_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = branch_server::journal::SqliteReader::open(directory.path());
    assert!(matches!(missing, Err(ReadError::Store(_))));
}
