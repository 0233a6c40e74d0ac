//! Servers that are killed, stopped and continued under transfers. Every transfer that was accepted ends, in
//! one way, and the money of the whole bank stays the same to the cent.

use super::support::{Bank, post, run, until};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One customer at each of the ten branches, with 1000.00 each.
const CUSTOMERS: u64 = 10;
const OPENING_CENTS: i64 = 100_000;
/// So many more transfers are answered before each kill.
const ANSWERED: u64 = 300;

/// What happens to the bank while everybody pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// kill -9 of one server.
    KillOne,
    /// SIGSTOP of one server, and SIGCONT when the others have gone on for a while: it wakes up in the middle of
    /// whatever it did, and everybody has given it up meanwhile.
    PauseOne,
    /// kill -9 of everything.
    KillAll,
}

/// One order, and what its payer knows of it.
#[derive(Debug, Clone)]
struct Order {
    key: String,
    body: Value,
    payer: u64,
    payee: u64,
    cents: i64,
}

/// The n-th transfer of a payer: to every other customer in turn, and now and then to nobody.
fn order(payer: u64, number: u64) -> Order {
    let payee = (payer + number % (CUSTOMERS - 1)) % CUSTOMERS + 1;
    let cents = 1 + i64::try_from(number % 97).expect("small");
    let to = if number % 11 == 10 { 5000 + payee } else { payee };
    let body = json!({
        "customer_id": payer, "type": "transfer", "to_customer_id": to,
        "amount": format!("{}.{:02}", cents / 100, cents % 100),
    });
    Order { key: format!("payer {payer} transfer {number}"), body, payer, payee: to, cents }
}

#[tokio::test]
async fn transfers_survive_servers_that_are_killed_or_stand_still() {
    let data = tempfile::tempdir().expect("a directory");
    let mut bank = Bank::up(data.path());
    for branch in 1..=CUSTOMERS {
        bank.post("/initialize_branch", "", json!({"branch_id": branch})).await.expect("an answer");
    }
    let mut orders = Vec::new();
    let mut next = 0;
    for fault in [Fault::KillOne, Fault::PauseOne, Fault::KillAll] {
        next = pay_until(fault, &mut bank, &mut orders, next).await;
        if fault == Fault::KillAll {
            drop(bank);
            bank = Bank::up(data.path());
        }
        check(&bank, &orders).await;
    }
    let verified = run(&["verify", "--json", "--data", &data.path().to_string_lossy()]);
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    let said: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert_eq!(said["transfers"]["in_flight"], 0, "{said}");
}

/// Every customer pays without a pause, and in the middle of it the fault happens.
async fn pay_until(fault: Fault, bank: &mut Bank, orders: &mut Vec<Order>, from: u64) -> u64 {
    let answered = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicU64::new(0));
    let mut payers = Vec::new();
    for payer in 1..=CUSTOMERS {
        let (client, http) = (bank.client(), bank.http.clone());
        let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
        payers.push(tokio::spawn(async move {
            let mut sent = Vec::new();
            for number in from.. {
                let order = order(payer, number);
                let answer = post(&client, &http, "/transaction", &order.key, order.body.clone()).await;
                sent.push(order);
                match answer {
                    Some((200 | 202 | 422, ..)) => answered.fetch_add(1, Ordering::Relaxed),
                    // Not known yet: it is asked again below, under the same key.
                    None | Some((503, ..)) => 0,
                    Some(other) => panic!("{other:?}"),
                };
                if stop.load(Ordering::Relaxed) == 1 {
                    break;
                }
            }
            sent
        }));
    }
    until("enough is answered", async || answered.load(Ordering::Relaxed) >= ANSWERED).await;
    let one = bank.service("--server-ordinal 1").expect("a server");
    let so_far = answered.load(Ordering::Relaxed);
    let others_go_on = async |answers| {
        until("the others go on", async || answered.load(Ordering::Relaxed) >= so_far + answers).await;
    };
    match fault {
        Fault::KillAll => bank.kill_everything(),
        Fault::KillOne => {
            kill_process(one, Signal::KILL).expect("killed");
            others_go_on(ANSWERED / 2).await;
        }
        Fault::PauseOne => {
            kill_process(one, Signal::STOP).expect("stopped");
            // Whoever pays into its branches waits for two seconds, so not many.
            others_go_on(ANSWERED / 6).await;
            kill_process(one, Signal::CONT).expect("continued");
            others_go_on(ANSWERED / 2).await;
        }
    }
    stop.store(1, Ordering::Relaxed);
    let mut last = from;
    for payer in payers {
        let sent = payer.await.expect("a payer");
        last = last.max(from + sent.len() as u64);
        orders.extend(sent);
    }
    last
}

/// Asks for every order again under its key until it has ended, and compares all balances with the
/// ends.
async fn check(bank: &Bank, orders: &[Order]) {
    let mut expected: BTreeMap<u64, i64> = (1..=CUSTOMERS).map(|customer| (customer, OPENING_CENTS)).collect();
    let mut completed = 0;
    for order in orders {
        let mut end = Value::Null;
        until("the transfer has ended", async || {
            let answer = bank.post("/transaction", &order.key, order.body.clone()).await;
            let Some((200 | 422, _, body)) = answer else { return false };
            end = body;
            true
        })
        .await;
        match end["state"].as_str() {
            Some("COMPLETED") => {
                completed += 1;
                *expected.entry(order.payer).or_default() -= order.cents;
                *expected.entry(order.payee).or_default() += order.cents;
            }
            Some("FAILED") => {}
            other => panic!("{order:?} ended as {other:?}: {end}"),
        }
    }
    assert!(completed > 0, "nothing was paid");
    for (customer, cents) in &expected {
        let balance: i64 = bank.balance(*customer).await.replace('.', "").parse().expect("a balance");
        assert_eq!(balance, *cents, "customer {customer}");
    }
    assert_eq!(expected.values().sum::<i64>(), OPENING_CENTS * i64::try_from(CUSTOMERS).expect("small"));
}
