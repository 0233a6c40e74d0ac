//! What many callers saw of a few accounts, held against the journals: every branch must have answered as if it
//! had done one thing after the other, in an order that agrees with everybody's watch (strict serializability),
//! while servers are killed and stand still.
//!
//! The journal is the order that a branch claims. A write stands in it under its id; a read must have a place
//! between two rows where the balance was what it told.

use super::support::{Bank, post, run, until};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rusqlite::{Connection, OpenFlags};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// Two at each of the branches 1, 2 and 3, each of which has a server of its own.
const CUSTOMERS: [u64; 6] = [1, 2, 3, 11, 12, 13];
const CALLERS: u64 = 12;
/// So many more answers before each fault.
const ANSWERED: u64 = 300;

/// What a caller saw.
#[derive(Debug, Clone)]
struct Seen {
    began: Instant,
    ended: Instant,
    /// Branch and account.
    account: (u64, i64),
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// A write, and the balance right after it.
    Wrote { key: String, balance: i64 },
    /// A write that was refused because there was no more than this.
    Lacked { key: String, available: i64 },
    /// The balance at some moment.
    Read { balance: i64 },
}

fn cents(text: &Value) -> Option<i64> {
    text.as_str()?.replace('.', "").parse().ok()
}

/// Branch and account of a number: four digits, ten, and two that check them.
fn account(number: &Value) -> Option<(u64, i64)> {
    let number = number.as_str()?;
    Some((number.get(..4)?.parse().ok()?, number.get(4..14)?.parse().ok()?))
}

/// One order of a caller, drawn by chance.
fn draw(random: &mut StdRng) -> Value {
    let one = |random: &mut StdRng| CUSTOMERS[random.random_range(0..CUSTOMERS.len())];
    let (customer, other) = (one(random), one(random));
    let amount = format!("{}.{:02}", random.random_range(0..40), random.random_range(1..100));
    match random.random_range(0..10) {
        0..2 => json!({"customer_id": customer, "type": "deposit", "amount": amount}),
        2..5 => json!({"customer_id": customer, "type": "withdraw", "amount": amount}),
        5..7 if other != customer => {
            json!({"customer_id": customer, "type": "transfer", "to_customer_id": other, "amount": amount})
        }
        _ => json!({"customer_id": customer, "type": "query"}),
    }
}

/// What an answer says of an account; None when it says nothing for certain.
fn understand(status: u16, body: &Value) -> Option<What> {
    let key = || body["transaction_id"].as_str()?.split_once('-').map(|(_, key)| key.to_owned());
    match status {
        200 | 202 => {
            let balance = cents(&body["balance"])?;
            Some(key().map_or(What::Read { balance }, |key| What::Wrote { key, balance }))
        }
        422 if body["code"] == "INSUFFICIENT_FUNDS" => {
            Some(What::Lacked { key: key()?, available: cents(&body["available"])? })
        }
        _ => None,
    }
}

#[tokio::test]
async fn every_branch_answers_as_if_it_did_one_thing_after_the_other() {
    let data = tempfile::tempdir().expect("a directory");
    let mut bank = Bank::up(data.path());
    for branch in 1..=10 {
        let body = json!({"branch_id": branch, "initial_balance": 0});
        bank.post("/initialize_branch", "", body).await.expect("an answer");
    }
    let mut accounts = HashMap::new();
    for customer in CUSTOMERS {
        let body = json!({"customer_id": customer, "type": "deposit", "amount": 20});
        let (.., body) = bank.post("/transaction", "", body).await.expect("an answer");
        accounts.insert(customer, account(&body["account_number"]).expect("an account"));
    }
    let seen = look_on(&bank, accounts).await;
    bank.kill_everything();

    let verified = run(&["verify", "--data", &data.path().to_string_lossy()]);
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    let mut checked = BTreeMap::new();
    for branch in 1..=3 {
        let rows = Rows::of(data.path(), branch);
        let mut of_branch: Vec<Seen> = seen.iter().filter(|seen| seen.account.0 == branch).cloned().collect();
        if let Err(complaint) = rows.explain(&mut of_branch) {
            panic!("branch {branch}: {complaint}");
        }
        for seen in &of_branch {
            let what = match seen.what {
                What::Wrote { .. } => "writes",
                What::Lacked { .. } => "refusals",
                What::Read { .. } => "reads",
            };
            *checked.entry(what).or_insert(0) += 1;
        }
    }
    println!("{checked:?}");
    assert!(["writes", "refusals", "reads"].iter().all(|what| checked.get(what) > Some(&20)), "{checked:?}");
}

/// Lets everybody order without a pause, through a kill and a standstill, and tells what they saw.
async fn look_on(bank: &Bank, accounts: HashMap<u64, (u64, i64)>) -> Vec<Seen> {
    let accounts = Arc::new(accounts);
    let (answered, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (client, http) = (bank.client(), bank.http.clone());
            let (answered, stop, accounts) = (Arc::clone(&answered), Arc::clone(&stop), Arc::clone(&accounts));
            tokio::spawn(async move {
                let (mut random, mut seen) = (StdRng::seed_from_u64(caller), Vec::new());
                while stop.load(Ordering::Relaxed) == 0 {
                    let order = draw(&mut random);
                    let account = accounts[&order["customer_id"].as_u64().expect("a customer")];
                    let began = Instant::now();
                    let Some((status, _, body)) = post(&client, &http, "/transaction", "", order).await else {
                        continue;
                    };
                    let ended = Instant::now();
                    if let Some(what) = understand(status, &body) {
                        seen.push(Seen { began, ended, account, what });
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
                seen
            })
        })
        .collect();
    let go_on = async |answers| {
        let before = answered.load(Ordering::Relaxed);
        until("the bank goes on", async || answered.load(Ordering::Relaxed) >= before + answers).await;
    };
    let server = |ordinal| bank.service(&format!("--server-ordinal {ordinal}")).expect("a server");
    go_on(ANSWERED).await;
    kill_process(server(1), Signal::KILL).expect("killed");
    go_on(ANSWERED).await;
    let one = server(2);
    kill_process(one, Signal::STOP).expect("stopped");
    go_on(ANSWERED / 6).await;
    kill_process(one, Signal::CONT).expect("continued");
    go_on(ANSWERED).await;
    stop.store(1, Ordering::Relaxed);
    let mut seen = Vec::new();
    for caller in callers {
        seen.extend(caller.await.expect("a caller"));
    }
    seen
}

/// The order that a branch claims: what each account had after each row.
struct Rows {
    places: HashMap<String, i64>,
    /// By account: the rows that moved it, and its balance after each.
    balances: BTreeMap<i64, BTreeMap<i64, i64>>,
}

impl Rows {
    fn of(data: &Path, branch: u64) -> Rows {
        let file = data.join(format!("branch-{branch:04}/journal.db"));
        let connection = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let connection = connection.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let sql = "SELECT sequence, lower(hex(transaction_id)), debit_account, debit_balance, credit_account, \
                   credit_balance FROM journal ORDER BY sequence";
        let mut rows = Rows { places: HashMap::new(), balances: BTreeMap::new() };
        let mut statement = connection.prepare(sql).expect("a journal");
        let mut found = statement.query([]).expect("rows");
        while let Some(row) = found.next().expect("a row") {
            let sequence: i64 = row.get(0).expect("a number");
            rows.places.insert(row.get(1).expect("an id"), sequence);
            for column in [2, 4] {
                if let Some(account) = row.get::<_, Option<i64>>(column).expect("an account") {
                    let balance = row.get(column + 1).expect("a balance");
                    rows.balances.entry(account).or_default().insert(sequence, balance);
                }
            }
        }
        rows
    }

    /// What an account had after a row.
    fn balance(&self, account: i64, after: i64) -> Option<i64> {
        self.balances.get(&account)?.range(..=after).next_back().map(|(_, balance)| *balance)
    }

    /// Finds a place for everything that was seen.
    fn explain(&self, seen: &mut [Seen]) -> Result<(), String> {
        seen.sort_by_key(|seen| seen.ended);
        let mut places: Vec<i64> = Vec::with_capacity(seen.len());
        let written = |key: &str| self.places.get(key).copied().ok_or_else(|| format!("{key} is not in the journal"));
        for (index, one) in seen.iter().enumerate() {
            // Everything that had ended before this began comes before it.
            let ended = seen[..index].iter().zip(&places).filter(|(before, _)| before.ended < one.began);
            let lowest = ended.map(|(_, place)| *place).max().unwrap_or_default();
            let account = one.account.1;
            let place = match &one.what {
                What::Wrote { key, balance } => {
                    let place = written(key)?;
                    if self.balance(account, place) != Some(*balance) {
                        return Err(format!("{one:?} is row {place}, after which there was another balance"));
                    }
                    place
                }
                What::Lacked { key, available } => {
                    let place = written(key)?;
                    if self.balance(account, place) != Some(*available) {
                        return Err(format!("{one:?} is row {place}, where something else was available"));
                    }
                    place
                }
                What::Read { balance } => {
                    // The earliest place that fits leaves most room to those who come later.
                    let later = self.balances[&account].range(lowest + 1..).map(|(sequence, _)| *sequence);
                    let place = std::iter::once(lowest).chain(later);
                    let place = place.into_iter().find(|place| self.balance(account, *place) == Some(*balance));
                    place.ok_or_else(|| format!("{one:?} saw what was not so any more after row {lowest}"))?
                }
            };
            let is_write = !matches!(one.what, What::Read { .. });
            if place < lowest || (is_write && place == lowest) {
                return Err(format!("{one:?} is row {place}, and what had ended before is row {lowest}"));
            }
            places.push(place);
        }
        Ok(())
    }
}

/// Account 7 had 1.00 after row 1, 3.00 after row 4 and 2.00 after row 6.
fn some_rows() -> Rows {
    let places = [("a", 1), ("b", 4), ("c", 6)].map(|(key, place)| (key.to_owned(), place)).into();
    Rows { places, balances: BTreeMap::from([(7, BTreeMap::from([(1, 100), (4, 300), (6, 200)]))]) }
}

/// In hours, so that it does not matter when this is called.
fn seen(began: u64, ended: u64, what: What) -> Seen {
    let at = |hours| Instant::now() + std::time::Duration::from_secs(hours * 3600);
    Seen { began: at(began), ended: at(ended), account: (1, 7), what }
}

#[test]
fn the_check_takes_any_order_that_explains_everything_and_no_other() {
    let wrote = |key: &str, balance| What::Wrote { key: key.to_owned(), balance };
    let lacked = |key: &str, available| What::Lacked { key: key.to_owned(), available };
    let read = |balance| What::Read { balance };
    let explain = |mut all: Vec<Seen>| some_rows().explain(&mut all).err().unwrap_or_default();

    // One after the other, and reads that overlap with everything.
    assert_eq!(
        explain(vec![seen(0, 1, wrote("a", 100)), seen(2, 3, wrote("b", 300)), seen(4, 5, wrote("c", 200))]),
        ""
    );
    assert_eq!(explain(vec![seen(0, 9, wrote("b", 300)), seen(1, 8, read(100)), seen(2, 7, read(200))]), "");

    let lies = [
        ("another balance", vec![seen(0, 1, wrote("a", 300))]),
        ("something else was available", vec![seen(0, 1, lacked("c", 300))]),
        ("is not in the journal", vec![seen(0, 1, wrote("d", 100))]),
        ("what had ended before", vec![seen(0, 1, wrote("b", 300)), seen(2, 3, wrote("a", 100))]),
        ("was not so any more", vec![seen(0, 1, wrote("b", 300)), seen(2, 3, read(100))]),
        ("was not so any more", vec![seen(0, 1, read(200)), seen(2, 3, read(300))]),
        // A read of what is only written later.
        ("what had ended before", vec![seen(0, 1, read(300)), seen(2, 3, wrote("b", 300))]),
    ];
    for (complaint, all) in lies {
        let said = explain(all.clone());
        assert!(said.contains(complaint), "{all:?}: {said:?}");
    }
}
