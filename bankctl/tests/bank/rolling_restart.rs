//! Every process of the bank is told to stop, one after the other, while customers pay: what was accepted is there,
//! and whoever gets no answer, or is told to try again, gets one at the second try.

use super::support::{Bank, Door, run, until};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Two at each of the ten branches.
const CUSTOMERS: u64 = 20;
/// So many more deposits are answered before and after each restart.
const ANSWERED: u64 = 200;
/// What the bank says in Retry-After, and a little more.
const RETRY_AFTER: Duration = Duration::from_millis(1_500);

/// What one customer knows.
#[derive(Debug, Default)]
struct Known {
    customer: u64,
    cents: u64,
    retries: u64,
}

/// Pays in without a pause, each deposit once more at most.
async fn pay_in(door: Door, customer: u64, answered: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Known {
    let mut known = Known { customer, ..Known::default() };
    for number in 1_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("customer {customer} deposit {number}");
        let body = json!({"customer_id": customer, "type": "deposit", "amount": format!("0.{:02}", number % 99 + 1)});
        let first = door.post("/transaction", &key, body.clone()).await;
        let answer = match first {
            None | Some((429 | 503 | 504, ..)) => {
                known.retries += 1;
                tokio::time::sleep(RETRY_AFTER).await;
                door.post("/transaction", &key, body).await
            }
            answer => answer,
        };
        assert!(matches!(answer, Some((200, ..))), "customer {customer}, deposit {number}: {answer:?}");
        known.cents += number % 99 + 1;
        answered.fetch_add(1, Ordering::Relaxed);
    }
    known
}

#[tokio::test]
async fn restarting_everything_one_by_one_loses_nothing() {
    let data = tempfile::tempdir().expect("a directory");
    let bank = Bank::up(data.path());
    for branch in 1..=10 {
        let body = json!({"branch_id": branch, "initial_balance": 0});
        bank.post("/initialize_branch", "", body).await.expect("an answer");
    }
    let (answered, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let customers: Vec<_> = (1..=CUSTOMERS)
        .map(|customer| tokio::spawn(pay_in(bank.door(), customer, Arc::clone(&answered), Arc::clone(&stop))))
        .collect();
    let go_on = async || {
        let before = answered.load(Ordering::Relaxed);
        until("the bank goes on", async || answered.load(Ordering::Relaxed) >= before + ANSWERED).await;
    };
    for words in ["--server-ordinal 0", "--server-ordinal 1", "--server-ordinal 2", "client-api"] {
        go_on().await;
        let old = bank.service(words).expect("a service");
        rustix::process::kill_process(old, Signal::TERM).expect("told to stop");
        until("another process has its place", async || bank.service(words).is_some_and(|now| now != old)).await;
    }
    go_on().await;
    stop.store(true, Ordering::Relaxed);
    let mut retries = 0;
    for customer in customers {
        let known = customer.await.expect("a customer");
        retries += known.retries;
        let balance: u64 = bank.balance(known.customer).await.replace('.', "").parse().expect("a balance");
        assert_eq!(balance, known.cents, "{known:?}");
    }
    println!("{} deposits, {retries} of them asked for twice", answered.load(Ordering::Relaxed));
    drop(bank);
    let verified = run(&["verify", "--json", "--data", &data.path().to_string_lossy()]);
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    let said: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert_eq!(said["agree"], true, "{said}");
}
