//! Other programs may read the journal while the bank writes, and nothing else.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use crate::rows::{append, change, open, rows, settings};
use bank_proto::Currency;
use branch_server::journal::{AppendError, Journal as _, SqliteJournal};
use std::path::Path;
use std::process::Command;

/// Set for a test that runs again in a process of its own.
const DIRECTORY: &str = "FLORIN_TEST_DIRECTORY";

/// What the stock sqlite3 shell prints; None, said aloud, when there is no such shell.
fn shell(directory: &Path, sql: &str) -> Option<String> {
    let path = directory.join("journal.db");
    match Command::new("sqlite3").arg("-bail").arg(path).arg(sql).output() {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            Some(String::from_utf8(output.stdout).expect("text") + &errors)
        }
        Err(error) => {
            eprintln!("skipped: the sqlite3 shell cannot be run: {error}");
            None
        }
    }
}

#[test]
fn a_second_process_is_refused_with_the_directory_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = open(directory.path());
    let open_in_another_process = || {
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "other_programs::opened_by_a_second_process", "--ignored", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .output()
            .expect("a second process");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let printed = open_in_another_process();
    let expected = format!("refused: {} is in use", directory.path().display());
    assert!(printed.contains(&expected), "{printed}");
    drop(journal);
    let printed = open_in_another_process();
    assert!(printed.contains("opened"), "{printed}");
}

#[test]
#[ignore = "the second process of the test above"]
fn opened_by_a_second_process() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    match SqliteJournal::open(Path::new(&directory), settings()) {
        Ok(_) => println!("opened"),
        Err(error) => println!("refused: {error}"),
    }
}

#[test]
fn the_sqlite3_shell_reads_the_statement_while_the_bank_writes() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    let mut group = rows(0, 4);
    group[0].detail = Some(r#"{"memo":"rent, \"March\""}"#.into());
    group[1].amount = -5;
    group[1].credit_balance = i64::MIN;
    group[2].currency = "JPY".parse::<Currency>().ok();
    group[2].credit_balance = i64::MIN;
    group[3].currency = "KWD".parse::<Currency>().ok();
    group[3].amount = 1;
    group[3].detail = Some("not JSON".into());
    journal.append(&group, &[]).expect("an append");
    let columns = "booked_at, transaction_id, kind, debit_account, credit_account, amount, currency, \
                   debit_balance, credit_balance, memo, principal, channel";
    let Some(printed) = shell(directory.path(), &format!("SELECT sequence, {columns} FROM statement")) else { return };
    let expected = "\
1|2026-11-18T11:06:40.000100Z|7-00000000000000019e3779b97f4a7c15|deposit|0007000000000136|0007000000000330|1.00|USD|-1.00|1.00|rent, \"March\"|open|http
2|2026-11-18T11:06:40.000200Z|7-00000000000000023c6ef372fe94f82a|deposit|0007000000000136|0007000000000427|-0.05|USD|-2.00|-92233720368547758.08||open|http
3|2026-11-18T11:06:40.000300Z|7-0000000000000003daa66d2c7ddf743f|deposit|0007000000000136|0007000000000524|300|JPY|-300|-9223372036854775808||open|http
4|2026-11-18T11:06:40.000400Z|7-000000000000000478dde6e5fd29f054|deposit|0007000000000136|0007000000000621|0.001|KWD|-0.400|0.400||open|http
";
    assert_eq!(printed, expected);

    // Again and again, while group commits go on.
    let writer = std::thread::spawn(move || {
        for _ in 0..200 {
            append(&mut journal, 50);
        }
        journal
    });
    let mut seen = 0;
    while !writer.is_finished() || seen == 0 {
        let sql = "SELECT count(*), max(sequence) FROM journal; SELECT count(*) FROM statement WHERE sequence > 4;";
        let printed = shell(directory.path(), sql).expect("a shell");
        let numbers: Vec<u64> = printed.split(['|', '\n']).filter_map(|number| number.parse().ok()).collect();
        let [count, last, movements] = numbers[..] else { panic!("{printed}") };
        assert!(count == last && count >= seen && (count - 4).is_multiple_of(50), "{printed}");
        assert!(movements >= count - 4, "{printed}");
        seen = count;
    }
    assert_eq!(writer.join().expect("the writer").last_sequence(), 10_004);
}

#[test]
fn account_numbers_of_the_view_are_those_of_the_bank() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    let mut group = rows(0, 200);
    for row in &mut group {
        let serial = u32::try_from(row.sequence).expect("small").wrapping_mul(2_654_435_761).max(1);
        row.credit_account = Some(bank_proto::AccountSerial(serial));
    }
    journal.append(&group, &[]).expect("an append");
    let connection = rusqlite::Connection::open(directory.path().join("journal.db")).expect("a file");
    let mut statement = connection.prepare("SELECT credit_account FROM statement ORDER BY sequence").expect("the view");
    let numbers = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
    for (number, row) in numbers.zip(&group) {
        let serial = row.credit_account.expect("an account");
        let expected = bank_proto::AccountNumber::new(crate::rows::branch(), serial);
        assert_eq!(number.expect("a number"), expected.to_string());
    }
}

#[test]
fn a_shell_that_empties_the_log_is_no_foreign_writer() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    append(&mut journal, 10);
    change(directory.path(), "PRAGMA wal_checkpoint(TRUNCATE)");
    append(&mut journal, 10);
    change(directory.path(), "PRAGMA wal_checkpoint(RESTART)");
    append(&mut journal, 10);
}

#[test]
fn a_foreign_write_stops_the_branch() {
    let insert = "INSERT INTO journal SELECT sequence + 1, booked_at, transaction_id, fingerprint, kind, debit_account, \
                  credit_account, amount, currency, debit_balance, credit_balance, debit_previous, credit_previous, \
                  customer_id, principal, channel, detail, epoch, hash FROM journal WHERE sequence = 10";
    for foreign in [
        insert,
        "UPDATE branch SET epoch = epoch + 1",
        "DROP TRIGGER journal_is_never_deleted_from; DELETE FROM journal WHERE sequence = 10",
        "DROP TRIGGER journal_is_never_updated; UPDATE journal SET hash = zeroblob(32) WHERE sequence = 10",
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let mut journal = open(directory.path());
        append(&mut journal, 10);
        change(directory.path(), foreign);
        let stopped = journal.append(&rows(10, 1), &[]).expect_err(foreign);
        assert!(matches!(&stopped, AppendError::Fatal(what) if what.contains("another program wrote")), "{stopped}");
        let stopped = journal.append(&rows(10, 1), &[]).expect_err("for good");
        assert!(matches!(stopped, AppendError::Fatal(_)), "{stopped}");
    }
}

#[test]
fn the_journal_refuses_other_programs_changes() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    append(&mut journal, 3);
    for sql in ["UPDATE journal SET amount = 1", "DELETE FROM journal", "REPLACE INTO journal SELECT * FROM journal"] {
        let connection = rusqlite::Connection::open(directory.path().join("journal.db")).expect("a file");
        connection.execute_batch("PRAGMA recursive_triggers = ON").expect("a setting");
        let refused = connection.execute_batch(sql).expect_err(sql).to_string();
        assert!(refused.contains("append-only"), "{refused}");
    }
    append(&mut journal, 3);
}
