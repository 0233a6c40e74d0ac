//! kill -9 of everything under load: what was acknowledged is there exactly once, what was not is
//! there at most once, and a retry under the same key settles it.

use super::support::{Bank, post, run};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Two customers at each of the ten branches.
const CUSTOMERS: u64 = 20;
/// So many more deposits are acknowledged before each kill.
const ACKNOWLEDGED: u64 = 400;
/// How often everything is killed.
const KILLS: u64 = 3;

/// What a customer knows: the sum of what was acknowledged, and the one deposit that was not.
#[derive(Debug, Default, Clone)]
struct Record {
    customer: u64,
    deposits: u64,
    cents: u64,
    unanswered: Option<u64>,
}

impl Record {
    /// The amount and key of this customer's n-th deposit: no two sums of them are alike by chance.
    fn deposit(&self, number: u64) -> (String, Value) {
        let cents = amount_cents(number);
        let amount = format!("{}.{:02}", cents / 100, cents % 100);
        let body = json!({"customer_id": self.customer, "type": "deposit", "amount": amount});
        (format!("customer {} deposit {number}", self.customer), body)
    }
}

fn amount_cents(number: u64) -> u64 {
    1000 + number
}

#[tokio::test]
async fn killing_everything_under_load_loses_nothing_and_doubles_nothing() {
    let data = tempfile::tempdir().expect("a directory");
    let mut records = (1..=CUSTOMERS).map(|customer| Record { customer, ..Record::default() }).collect::<Vec<_>>();
    let mut bank = Bank::up(data.path());
    for branch in 1..=10 {
        let body = json!({"branch_id": branch, "initial_balance": 0});
        bank.post("/initialize_branch", "", body).await.expect("an answer");
    }
    for _ in 0..KILLS {
        records = load_until_killed(&mut bank, records).await;
        bank = settle(data.path(), &mut records).await;
    }
    let verified = run(&["verify", "--data", &data.path().to_string_lossy()]);
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
}

/// Every customer pays in without a pause; everything is killed in the middle of it.
async fn load_until_killed(bank: &mut Bank, records: Vec<Record>) -> Vec<Record> {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut customers = Vec::new();
    for mut record in records {
        let (client, http, acknowledged) = (bank.client(), bank.http.clone(), Arc::clone(&acknowledged));
        customers.push(tokio::spawn(async move {
            loop {
                let (key, body) = record.deposit(record.deposits);
                match post(&client, &http, "/transaction", &key, body).await {
                    Some((200, replayed, _)) => {
                        assert!(!replayed, "{key} was new");
                        record.cents += amount_cents(record.deposits);
                        record.deposits += 1;
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                    // Broken off, or the client API outlived a branch server for a moment.
                    None | Some((503, ..)) => {
                        record.unanswered = Some(record.deposits);
                        return record;
                    }
                    Some(other) => panic!("{key}: {other:?}"),
                }
            }
        }));
    }
    super::support::until("enough is acknowledged", async || acknowledged.load(Ordering::Relaxed) >= ACKNOWLEDGED)
        .await;
    bank.kill_everything();
    let mut records = Vec::new();
    for customer in customers {
        records.push(customer.await.expect("a record"));
    }
    records
}

/// Starts the bank again, compares, and retries what was not answered.
async fn settle(data: &Path, records: &mut [Record]) -> Bank {
    let bank = Bank::up(data);
    for record in records {
        let Record { customer, deposits, cents, .. } = *record;
        if let Some(number) = record.unanswered.take() {
            // Its very first deposit opens the account, so there may be none yet.
            if deposits > 0 {
                let balance = cents_of(&bank.balance(customer).await);
                let allowed = [cents, cents + amount_cents(number)];
                assert!(allowed.contains(&balance), "customer {customer} has {balance}, not one of {allowed:?}");
            }
            let (key, body) = record.deposit(number);
            let (status, _, body) = bank.post("/transaction", &key, body).await.expect("an answer");
            assert_eq!(status, 200, "{body}");
            record.cents += amount_cents(number);
            record.deposits += 1;
        }
        assert_eq!(cents_of(&bank.balance(customer).await), record.cents, "customer {customer}");
        let (key, body) = record.deposit(0);
        let (status, replayed, _) = bank.post("/transaction", &key, body).await.expect("an answer");
        assert_eq!((status, replayed), (200, true), "the first deposit of customer {customer} is remembered");
        assert_eq!(cents_of(&bank.balance(customer).await), record.cents, "customer {customer} after a replay");
    }
    bank
}

fn cents_of(balance: &str) -> u64 {
    balance.replace('.', "").parse().expect("a balance")
}
