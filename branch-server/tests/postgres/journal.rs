//! What a journal in PostgreSQL keeps, and who may write it.

use crate::rows::{branch, rows};
use crate::server::Postgres;
use bank_proto::{AccountSerial, CustomerId};
use branch_server::environment::SystemClock;
use branch_server::journal::postgres::{Pool, PostgresBooks};
use branch_server::journal::shared::Claim;
use branch_server::journal::{
    AppendError, Journal as _, JournalReader as _, OpenError, PersonalName, PostgresReader, PostgresStore, ReadError,
    Row, Sequence, SharedJournal,
};
use std::sync::Arc;

/// A bank of ten branches in a database.
pub(crate) fn founded(url: &str) -> PostgresStore {
    let store = PostgresStore::new(url, None, None, "florin test").expect("a store");
    store.found(10).expect("founded");
    store
}

pub(crate) fn claim(seen_epoch: u64) -> Claim {
    Claim { branch: branch(), owner: 0, seen_epoch, known_sequence: 0 }
}

pub(crate) fn open(store: &PostgresStore, seen_epoch: u64) -> SharedJournal {
    open_in(store, claim(seen_epoch)).expect("a journal")
}

/// As a server that has never seen the branch.
pub(crate) fn open_in(store: &PostgresStore, claim: Claim) -> Result<SharedJournal, OpenError> {
    let directory = tempfile::tempdir().expect("a directory");
    SharedJournal::open(Arc::new(PostgresBooks::new(store.clone())), claim, directory.path(), Arc::new(SystemClock))
}

pub(crate) fn append(journal: &mut SharedJournal, count: usize) -> Result<(), AppendError> {
    let group = rows(journal.last_sequence(), count);
    journal.append(&group, &[])
}

pub(crate) fn reader(store: &PostgresStore) -> PostgresReader {
    PostgresReader::new(Pool::new(store.clone()), branch())
}

/// Every row with what closes its group.
pub(crate) fn all(store: &PostgresStore) -> Vec<Row> {
    let mut found = Vec::new();
    let mut take = |row, _| {
        found.push(row);
        std::ops::ControlFlow::Continue(())
    };
    reader(store).for_each(1, &mut take).expect("rows");
    found
}

#[test]
fn what_was_written_is_read_back_by_the_next_owner_and_by_whoever_reads_beside_it() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let mut journal = open(&store, 0);
    assert_eq!((journal.epoch(), journal.last_sequence()), (1, 0));
    let group = rows(0, 3);
    let detail = Row { detail: Some(r#"{"memo":"für 'Ada'"}"#.into()), fingerprint: None, ..rows(3, 1).remove(0) };
    let bare = Row {
        debit_account: None,
        credit_account: None,
        currency: None,
        customer: None,
        amount: i64::MIN,
        ..rows(4, 1).remove(0)
    };
    journal.append(&group, &[]).expect("an append");
    let customer = CustomerId::new(7).expect("a customer");
    let name = |name: &str| PersonalName { customer, name: name.to_owned(), digest_key: [7; 32] };
    journal.append(&[detail.clone(), bare.clone()], &[name("Ada"), name("Ada Lovelace")]).expect("an append");
    let expected: Vec<Row> = group.into_iter().chain([detail, bare]).collect();
    assert_eq!(journal.read(1, 99).expect("rows"), expected);
    assert_eq!(journal.personal_name(customer).expect("a look").as_deref(), Some("Ada Lovelace"));
    let head = journal.head();
    drop(journal);

    let mut again = open(&store, 1);
    assert_eq!((again.epoch(), again.last_sequence(), again.head()), (2, 5, head));
    assert_eq!(again.read(4, 1).expect("rows"), expected[3..4]);
    let mut reader = reader(&store);
    assert_eq!(all(&store), expected);
    assert_eq!(reader.last_sequence().expect("an end"), 5);
    assert_eq!(reader.group_hash(5).expect("a hash"), head);
    assert_eq!(reader.row(6).expect("a look"), None);
}

#[test]
fn an_accounts_history_is_one_question_and_a_broken_chain_is_named() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let mut journal = open(&store, 0);
    append(&mut journal, 2500).expect("an append");
    let sequences = |rows: Vec<Row>| rows.iter().map(|row| row.sequence).collect::<Vec<Sequence>>();
    let mut reader = reader(&store);
    // Account 1 gives in every row, and each other account receives in every thousandth.
    let history =
        |reader: &mut PostgresReader, account, newest, limit| reader.history(AccountSerial(account), newest, limit);
    assert_eq!(sequences(history(&mut reader, 1, 2500, 3).expect("rows")), [2500, 2499, 2498]);
    assert_eq!(sequences(history(&mut reader, 502, 2500, 9).expect("rows")), [2500, 1500, 500]);
    assert_eq!(sequences(history(&mut reader, 502, 0, 9).expect("rows")), [] as [u64; 0]);
    let damaged = |error: Result<Vec<Row>, ReadError>| match error {
        Err(ReadError::Damaged { sequence, .. }) => sequence,
        other => panic!("{other:?}"),
    };
    assert_eq!(damaged(history(&mut reader, 503, 2500, 9)), 2500, "a row of other accounts");
    assert_eq!(damaged(history(&mut reader, 1, 9999, 9)), 9999, "no such row");
}

#[test]
fn a_journal_has_one_writer_and_the_former_one_writes_and_tells_nothing_any_more() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let mut former = open(&store, 0);
    append(&mut former, 3).expect("an append");
    former.confirm().expect("its own");
    let mut present = open(&store, 1);
    let fenced = |outcome: Result<(), AppendError>| match outcome {
        Err(AppendError::Fatal(what)) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(fenced(append(&mut former, 1)), "the branch is another server's now");
    append(&mut present, 1).expect("an append");
    assert_eq!(all(&store), rows(0, 4));

    // The same without a word from the former owner before the other one's first.
    let mut next = open(&store, 2);
    append(&mut next, 1).expect("an append");
    assert_eq!(fenced(present.confirm()), "the branch is another server's now");
    assert_eq!(fenced(append(&mut present, 1)), "the branch is another server's now");
    assert_eq!(all(&store), rows(0, 5));
}

#[test]
fn of_two_who_take_a_branch_at_the_same_moment_one_gets_it() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let takers: Vec<_> = (0..8)
        .map(|owner| {
            let store = store.clone();
            let claim = Claim { owner, ..claim(0) };
            std::thread::spawn(move || open_in(&store, claim))
        })
        .collect();
    let taken: Vec<_> = takers.into_iter().map(|taker| taker.join().expect("a thread")).collect();
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1);
    let lost = taken.iter().filter_map(|taken| taken.as_ref().err());
    assert!(lost.into_iter().all(|error| matches!(error, OpenError::Claimed { .. }) && error.may_pass()));
}

#[test]
fn a_journal_that_lost_rows_or_was_changed_is_refused() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let mut journal = open(&store, 0);
    append(&mut journal, 3).expect("an append");
    append(&mut journal, 3).expect("an append");
    drop(journal);
    let refusal = |claim: Claim| {
        let refused = open_in(&store, claim).expect_err("refused");
        assert!(!refused.may_pass(), "{refused}");
        refused.to_string()
    };
    assert_eq!(
        refusal(Claim { known_sequence: 7, ..claim(1) }),
        "florin.journal_0007 ends at row 6, but row 7 was acknowledged: later rows are lost or an older copy was put back"
    );
    let client = || postgres::Client::connect(&postgres.url("bank"), postgres::NoTls).expect("a connection");
    let refused = client().batch_execute("DELETE FROM florin.journal WHERE sequence = 6").expect_err("refused");
    assert!(format!("{refused:?}").contains("the journal is append-only"));
    let forge = |sql: &str| {
        let sql = format!("SET session_replication_role = replica; {sql}");
        client().batch_execute(&sql).expect("forged");
    };
    forge("DELETE FROM florin.journal WHERE branch = 7 AND sequence = 6");
    assert_eq!(refusal(claim(2)), "florin.journal_0007 is damaged: its last row is 5, but 6 was written");
    forge("UPDATE florin.branch SET head = 5 WHERE branch = 7");
    assert_eq!(refusal(claim(3)), "florin.journal_0007 is damaged: its last row 5 does not close a group commit");
    forge(
        "DELETE FROM florin.journal WHERE branch = 7 AND sequence > 3; UPDATE florin.branch SET head = 3, epoch = 0 WHERE branch = 7",
    );
    let refused = refusal(claim(0));
    assert_eq!(refused, "florin.journal_0007 is damaged: it was written under epoch 1, and this is only 1");
}

#[test]
fn a_database_that_was_put_back_to_an_earlier_moment_is_noticed_by_who_saw_more() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let directory = tempfile::tempdir().expect("a directory");
    let open = |seen_epoch| {
        let books = Arc::new(PostgresBooks::new(store.clone()));
        SharedJournal::open(books, claim(seen_epoch), directory.path(), Arc::new(SystemClock))
    };
    let mut journal = open(0).expect("a journal");
    append(&mut journal, 3).expect("an append");
    append(&mut journal, 3).expect("an append");
    // What a standby would have that was behind when it was promoted.
    let sql = "SET session_replication_role = replica; DELETE FROM florin.journal WHERE sequence > 3; \
        UPDATE florin.branch SET head = 3 WHERE branch = 7";
    postgres.say("bank", sql);
    append(&mut journal, 1).expect_err("nothing goes on behind a gap");
    drop(journal);
    let refused = open(1).expect_err("refused");
    assert!(refused.to_string().contains("ends at row 3, but row 6 was acknowledged"), "{refused}");
    assert!(!refused.may_pass());
    std::fs::remove_file(directory.path().join("journal.tide")).expect("an operator's decision");
    assert_eq!(open(2).expect("a journal").last_sequence(), 3);
}

#[test]
fn people_read_the_statement_with_psql() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let mut journal = open(&store, 0);
    let group = vec![Row { detail: Some(r#"{"memo":"rent"}"#.into()), ..rows(0, 1).remove(0) }];
    journal.append(&group, &[]).expect("an append");
    let columns =
        "concat_ws(' ', transaction_id, kind, debit_account, credit_account, amount, currency, debit_balance, memo)";
    let shown = postgres.ask("bank", &format!("SELECT {columns} FROM florin.statement"));
    let number = |serial| bank_proto::AccountNumber::new(branch(), AccountSerial(serial));
    let id = format!("7-{:032x}", group[0].transaction.0);
    assert_eq!(shown, format!("{id} deposit {} {} 1.00 USD -1.00 rent", number(1), number(3)));
}
