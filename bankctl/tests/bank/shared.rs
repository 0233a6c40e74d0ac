//! A bank whose branch servers share a PostgreSQL database: a server that is gone or stands still is replaced by the
//! others, and callers see a slower answer and no error; a database that is gone is waited for.

use super::payers::{Order, check, open_bank, pay_while};
use super::postgres::Postgres;
use super::support::{Bank, run, until};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::{Signal, kill_process};
use serde_json::Value;
use std::time::Duration;

/// So many more transfers are answered before and after each fault.
const ANSWERED: u64 = 200;

fn up(data: &std::path::Path, store: &str) -> Bank {
    Bank::up_with(data, &[("STORE", store)])
}

fn verify(store: &str) {
    let verified = run(&["verify", "--json", "--store", store]);
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    let said: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert_eq!((&said["agree"], &said["transfers"]["in_flight"]), (&true.into(), &0.into()), "{said}");
}

/// How many branches a server has, as the table says.
fn branches_of(postgres: &Postgres, server: u32) -> u32 {
    let sql = format!("SELECT count(*) FROM florin.branch WHERE owner = {server}");
    postgres.ask("bank", &sql).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_killed_stand_still_or_stop_are_replaced_without_an_error() {
    let postgres = blocking(Postgres::start);
    let store = blocking(|| postgres.database("bank"));
    let data = tempfile::tempdir().expect("a directory");
    let bank = up(data.path(), &store);
    open_bank(&bank.door()).await;
    let (mut orders, mut next): (Vec<Order>, u64) = (Vec::new(), 0);
    for signal in [Signal::KILL, Signal::STOP, Signal::TERM] {
        next = pay_while(&bank.door(), &mut orders, next, async |answered| {
            answered.more(ANSWERED).await;
            let old = bank.service("--server-ordinal 1").expect("a server");
            kill_process(old, signal).expect("a signal");
            if signal == Signal::STOP {
                until("the others have its branches", async || blocking(|| branches_of(&postgres, 1)) == 0).await;
                answered.more(ANSWERED).await;
                // It wakes up in the middle of whatever it did, and nothing of it is written.
                kill_process(old, Signal::CONT).expect("a signal");
            }
            until("it has branches again", async || blocking(|| branches_of(&postgres, 1)) >= 3).await;
            answered.more(ANSWERED).await;
            assert_eq!(answered.refused(), 0, "after {signal:?}");
        })
        .await;
        check(&bank.door(), &orders).await;
    }
    drop(bank);
    blocking(|| verify(&store));
}

/// Faults drawn from a seed, one after the other while everybody pays: any server killed, put to sleep or told to stop,
/// and the database killed. FLORIN_RANDOM_FAULTS says how many, FLORIN_RANDOM_SEED which.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_or_put_to_sleep_at_random_every_transfer_ends_in_one_way() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (faults, seed) = (number("FLORIN_RANDOM_FAULTS", 8), number("FLORIN_RANDOM_SEED", 1));
    println!("{faults} faults of seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let mut postgres = blocking(Postgres::start);
    let store = blocking(|| postgres.database("bank"));
    let data = tempfile::tempdir().expect("a directory");
    let bank = up(data.path(), &store);
    open_bank(&bank.door()).await;
    let mut orders = Vec::new();
    pay_while(&bank.door(), &mut orders, 0, async |answered| {
        for _ in 0..faults {
            answered.more(chance.random_range(1..100)).await;
            let server = format!("--server-ordinal {}", chance.random_range(0..3));
            // One that is being started again has no fault to suffer.
            let Some(process) = bank.service(&server) else { continue };
            match chance.random_range(0..10) {
                0..4 => _ = kill_process(process, Signal::KILL),
                4..7 => {
                    _ = kill_process(process, Signal::STOP);
                    // Shorter than a lease, or longer.
                    tokio::time::sleep(Duration::from_millis(chance.random_range(100..6_000))).await;
                    _ = kill_process(process, Signal::CONT);
                }
                7..9 => _ = kill_process(process, Signal::TERM),
                _ => blocking(|| {
                    postgres.kill();
                    postgres.run_again();
                }),
            }
        }
        answered.more(ANSWERED).await;
    })
    .await;
    check(&bank.door(), &orders).await;
    drop(bank);
    blocking(|| verify(&store));
}

/// The drill of docs/OPERATIONS.md, by PostgreSQL's own tools.
#[tokio::test(flavor = "multi_thread")]
async fn a_bank_goes_on_from_a_base_backup_and_the_archived_log_with_all_that_was_acknowledged() {
    let (mut lost, archive) = blocking(Postgres::start_archiving);
    let store = blocking(|| lost.database("bank"));
    let data = tempfile::tempdir().expect("a directory");
    let bank = up(data.path(), &store);
    open_bank(&bank.door()).await;
    let (mut orders, mut backup) = (Vec::new(), None);
    pay_while(&bank.door(), &mut orders, 0, async |answered| {
        answered.more(ANSWERED).await;
        backup = Some(blocking(|| lost.base_backup()));
        answered.more(ANSWERED).await;
    })
    .await;
    check(&bank.door(), &orders).await;
    drop(bank);
    let backup = backup.expect("a backup");
    let restored = blocking(|| {
        lost.archive_all(archive.path());
        lost.kill();
        Postgres::restore(backup, archive.path())
    });
    let store = restored.url("bank");
    blocking(|| verify(&store));
    // Servers that never saw the lost database.
    let data = tempfile::tempdir().expect("a directory");
    let bank = up(data.path(), &store);
    check(&bank.door(), &orders).await;
    let next = orders.len() as u64;
    pay_while(&bank.door(), &mut orders, next, async |answered| answered.more(ANSWERED).await).await;
    check(&bank.door(), &orders).await;
    drop(bank);
    blocking(|| verify(&store));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_outlives_its_primary() {
    let (mut primary, standby) = blocking(|| {
        let primary = Postgres::start();
        let standby = primary.synchronous_standby();
        primary.database("bank");
        (primary, standby)
    });
    let store = format!("postgres://florin:secret@127.0.0.1:{},127.0.0.1:{}/bank", primary.port(), standby.port());
    let data = tempfile::tempdir().expect("a directory");
    let bank = up(data.path(), &store);
    open_bank(&bank.door()).await;
    let mut orders = Vec::new();
    pay_while(&bank.door(), &mut orders, 0, async |answered| {
        answered.more(ANSWERED).await;
        blocking(|| {
            primary.kill();
            standby.promote();
        });
        answered.more(ANSWERED).await;
    })
    .await;
    check(&bank.door(), &orders).await;
    drop(bank);
    blocking(|| verify(&store));
}

/// Does what waits beside the tasks that pay.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
