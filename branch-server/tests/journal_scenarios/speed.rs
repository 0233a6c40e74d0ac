//! How many rows a second the embedded journal takes, by the size of its group commits. Figures
//! for a person to read:
//! `cargo test --release -p branch-server --test journal_scenarios -- --ignored --nocapture speed`

use crate::rows::{rows, settings};
use branch_server::journal::{Journal as _, JournalReader as _, Row, SqliteJournal};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

#[test]
#[ignore = "prints figures; it judges nothing"]
#[expect(clippy::disallowed_methods, reason = "it measures time")]
fn speed_of_durable_appends() {
    for group_rows in [1_usize, 16, 256, 1000, 4096] {
        let directory = tempfile::tempdir_in(".").expect("a directory on a real disk");
        let mut journal = SqliteJournal::open(directory.path(), settings()).expect("a journal");
        let groups = (2_000_000 / group_rows).min(20_000);
        let mut group = rows(0, group_rows);
        let mut latencies = Vec::with_capacity(groups);
        let mut wal_bytes = 0;
        for _ in 0..groups {
            renew(&mut group, journal.last_sequence());
            let start = Instant::now();
            journal.append(&group, &[]).expect("an append");
            latencies.push(start.elapsed());
            wal_bytes = wal_bytes.max(journal.wal_bytes());
        }
        let seconds = latencies.iter().sum::<Duration>().as_secs_f64();
        latencies.sort();
        println!(
            "{group_rows:5} rows a group: {:8.0} rows/s {:6.0} groups/s p50 {:?} p99 {:?} max {:?} WAL {} KiB",
            (groups * group_rows) as f64 / seconds,
            groups as f64 / seconds,
            latencies[groups / 2],
            latencies[groups * 99 / 100],
            latencies[groups - 1],
            wal_bytes / 1024,
        );
    }
}

/// Makes the rows others, behind `last`.
fn renew(group: &mut [Row], last: u64) {
    for (sequence, row) in (last + 1..).zip(group) {
        row.sequence = sequence;
        row.booked_at.0 += 1;
        row.transaction.0 = row.transaction.0.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835) ^ 1;
        row.fingerprint = Some(row.transaction.0.to_be_bytes());
        row.debit_previous = sequence - 1;
        row.credit_previous = sequence.saturating_sub(1000);
    }
}

#[test]
#[ignore = "prints figures; it judges nothing"]
#[expect(clippy::disallowed_methods, reason = "it measures time")]
fn speed_of_reading_it_all() {
    let directory = tempfile::tempdir_in(".").expect("a directory on a real disk");
    let mut journal = SqliteJournal::open(directory.path(), settings()).expect("a journal");
    for _ in 0..1000 {
        crate::rows::append(&mut journal, 1000);
    }
    let mut reader = journal.reader().expect("a reader");
    let (mut count, start) = (0_u32, Instant::now());
    let counting = reader.for_each(1, &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    });
    counting.expect("rows");
    println!("every row in order: {:?} a row", start.elapsed() / count);

    let start = Instant::now();
    let pages = 2000;
    for page in 0..pages {
        let newest = journal.last_sequence() - u64::from(page) * 300;
        let account = reader.row(newest).expect("a look").and_then(|row| row.credit_account).expect("an account");
        assert_eq!(reader.history(account, newest, 50).expect("history").len(), 50);
    }
    println!("a page of 50 along an account's chain: {:?}", start.elapsed() / pages);
}
