//! Customers who pay each other without a pause, and what must have become of it.

use super::support::{Door, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One customer at each of the ten branches, with 1000.00 each.
pub(crate) const CUSTOMERS: u64 = 10;
pub(crate) const OPENING_CENTS: i64 = 100_000;

/// One order, and what its payer knows of it.
#[derive(Debug, Clone)]
pub(crate) struct Order {
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

/// Opens every branch, and so every customer's account.
pub(crate) async fn open_bank(door: &Door) {
    for branch in 1..=CUSTOMERS {
        door.post("/initialize_branch", "", json!({"branch_id": branch})).await.expect("an answer");
    }
}

/// How many orders were answered so far.
#[derive(Clone, Default)]
pub(crate) struct Answered {
    all: Arc<AtomicU64>,
    /// Of these, how many were told that their transfer is still under way.
    under_way: Arc<AtomicU64>,
    /// How many were not: they were told to try again, or nothing at all.
    refused: Arc<AtomicU64>,
}

impl Answered {
    /// Waits until so many more are.
    pub(crate) async fn more(&self, answers: u64) {
        let before = self.all.load(Ordering::Relaxed);
        until("the bank goes on", async || self.all.load(Ordering::Relaxed) >= before + answers).await;
    }

    /// How many were told to try again, or nothing at all.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Waits until so many more are, and a transfer does not get through.
    pub(crate) async fn more_while_cut(&self, answers: u64) {
        let before = self.under_way.load(Ordering::Relaxed);
        self.more(answers).await;
        until("a transfer waits", async || self.under_way.load(Ordering::Relaxed) > before).await;
    }
}

/// Every customer pays without a pause while something happens. Begins with each customer's order of this number,
/// and gives the number after the last.
pub(crate) async fn pay_while(
    door: &Door,
    orders: &mut Vec<Order>,
    from: u64,
    happens: impl AsyncFnOnce(&Answered),
) -> u64 {
    let (answered, stop) = (Answered::default(), Arc::new(AtomicBool::new(false)));
    let mut payers = Vec::new();
    for payer in 1..=CUSTOMERS {
        let (door, answered, stop) = (door.clone(), answered.clone(), Arc::clone(&stop));
        payers.push(tokio::spawn(async move {
            let mut sent = Vec::new();
            for number in from.. {
                let order = order(payer, number);
                let answer = door.post("/transaction", &order.key, order.body.clone()).await;
                sent.push(order);
                match answer {
                    Some((status @ (200 | 202 | 422), ..)) => {
                        answered.under_way.fetch_add(u64::from(status == 202), Ordering::Relaxed);
                        answered.all.fetch_add(1, Ordering::Relaxed)
                    }
                    // Not known yet: it is asked again in the end, under the same key.
                    None | Some((503, ..)) => answered.refused.fetch_add(1, Ordering::Relaxed),
                    Some(other) => panic!("{other:?}"),
                };
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            sent
        }));
    }
    happens(&answered).await;
    stop.store(true, Ordering::Relaxed);
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
pub(crate) async fn check(door: &Door, orders: &[Order]) {
    let mut expected: BTreeMap<u64, i64> = (1..=CUSTOMERS).map(|customer| (customer, OPENING_CENTS)).collect();
    let mut completed = 0;
    for order in orders {
        let mut end = Value::Null;
        until("the transfer has ended", async || {
            let answer = door.post("/transaction", &order.key, order.body.clone()).await;
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
        let balance: i64 = door.balance(*customer).await.replace('.', "").parse().expect("a balance");
        assert_eq!(balance, *cents, "customer {customer}");
    }
    assert_eq!(expected.values().sum::<i64>(), OPENING_CENTS * i64::try_from(CUSTOMERS).expect("small"));
}
