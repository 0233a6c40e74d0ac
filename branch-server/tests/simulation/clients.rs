//! Who orders what, and what they were told.

use crate::door::{Door, Heard};
use crate::machine::{PORT, Wires, connect};
use crate::servers::{BRANCHES, SERVERS, name};
use bank_proto::wire;
use bank_proto::wire::bank_service_client::BankServiceClient;
use bank_proto::wire::operation::Kind;
use bank_proto::wire::operation_result::Kind as Told;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

pub(crate) const CLIENTS: u32 = 4;
/// Customers, all of whom everybody orders for.
const CUSTOMERS: i64 = 12;
/// How long a client waits for one answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// One order and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    order: Kind,
    /// The first answer.
    answer: Answer,
}

/// What a client is told, and where.
#[derive(Debug, Clone)]
enum Answer {
    /// At a branch server.
    Counter(Box<Told>),
    /// At the client API.
    Door(Heard),
}

/// What all clients were told, for the one who compares it in the end.
#[derive(Clone, Default)]
pub(crate) struct History(Arc<Mutex<Vec<Entry>>>);

impl History {
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.0.lock().expect("nobody panicked").clone()
    }
}

/// A customer at every counter of the bank.
pub(crate) struct Client {
    number: u32,
    random: StdRng,
    servers: Vec<BankServiceClient<Channel>>,
    wires: Wires,
    door: Door,
    history: History,
    ids: u32,
    /// What may be reversed, captured or released: ids that were answered.
    moved: Vec<String>,
    holds: Vec<String>,
}

impl Client {
    pub(crate) fn new(seed: u64, number: u32, wires: &Wires, history: History) -> Client {
        let way = connect(wires.clone(), format!("client-{number}"));
        let endpoint = |server| Endpoint::from_shared(format!("http://{}:{PORT}", name(server))).expect("an address");
        let servers = (0..SERVERS).map(|server| BankServiceClient::new(way(&endpoint(server)))).collect();
        let mut random = StdRng::seed_from_u64(seed << 8 | u64::from(number));
        let door = Door::open(wires, &format!("client-{number}"), random.random());
        let wires = wires.clone();
        Client { number, random, servers, wires, door, history, ids: 0, moved: Vec::new(), holds: Vec::new() }
    }

    /// The same, to be made on the client's own host.
    pub(crate) fn new_later(
        seed: u64,
        number: u32,
        wires: &Wires,
        history: &History,
    ) -> impl FnMut() -> Client + use<> {
        let (wires, history) = (wires.clone(), history.clone());
        move || Client::new(seed, number, &wires, history.clone())
    }

    /// Opens every branch's books, or finds them open.
    pub(crate) async fn open_bank(&mut self) {
        for branch_id in 1..=i64::from(BRANCHES) {
            let order = wire::InitializeBranchRequest { branch_id, ..wire::InitializeBranchRequest::default() };
            let transaction_id = Some(format!("{:032x}", 0xB000 + branch_id));
            self.insist(Kind::InitializeBranch(wire::InitializeBranchRequest { transaction_id, ..order })).await;
        }
    }

    /// Places a hold on the first customer's account, whose branch is 1.
    pub(crate) async fn hold_for_a_second(&mut self) {
        let transaction_id = Some(format!("{:032x}", 0xB100));
        let (amount, expires_in_seconds) = ("1.00".to_owned(), Some(1));
        let order =
            wire::HoldRequest { customer_id: 1, amount, expires_in_seconds, transaction_id, ..Default::default() };
        let told = self.insist(Kind::Hold(order)).await;
        assert!(matches!(told, Told::Hold(_)), "{told:?}");
    }

    /// Orders one thing after the other until told to stop; each is asked for until it is answered.
    pub(crate) async fn order_until(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let order = self.draw();
            // Half of them go to the branch servers themselves.
            let answer = if self.random.random_range(0..2) == 0 {
                Answer::Counter(Box::new(self.insist(order.clone()).await))
            } else {
                Answer::Door(self.insist_at_door(&order).await)
            };
            self.learn(&order, &answer);
            self.history.0.lock().expect("nobody panicked").push(Entry { order, answer });
            let pause = Duration::from_millis(self.random.random_range(0..30));
            tokio::time::sleep(pause).await;
        }
    }

    fn learn(&mut self, order: &Kind, answer: &Answer) {
        match answer {
            Answer::Counter(told) => match &**told {
                Told::Receipt(receipt) => self.moved.push(receipt.transaction_id.clone()),
                Told::Transfer(transfer) => self.moved.push(transfer.transaction_id.clone()),
                Told::Hold(hold) if matches!(order, Kind::Hold(_)) => self.holds.push(hold.hold_transaction_id.clone()),
                _ => {}
            },
            Answer::Door(heard) => match order {
                Kind::Hold(_) => self.holds.extend(heard.id("hold_transaction_id")),
                Kind::Release(_) | Kind::Reverse(_) => {}
                _ => self.moved.extend(heard.id("transaction_id")),
            },
        }
    }

    fn customer(&mut self) -> i64 {
        // Some accounts are hot, and a few customers are nobody.
        match self.random.random_range(0..20) {
            0..=7 => self.random.random_range(1..=3),
            8 => 99,
            _ => self.random.random_range(1..=CUSTOMERS),
        }
    }

    fn amount(&mut self) -> String {
        let most = if self.random.random_range(0..10) == 0 { 3_000 } else { 60 };
        format!("{}.{:02}", self.random.random_range(0..most), self.random.random_range(1..100))
    }

    fn draw(&mut self) -> Kind {
        self.ids += 1;
        let transaction_id = Some(format!("{:08x}{:024x}", self.number + 1, self.ids));
        let (customer_id, amount) = (self.customer(), self.amount());
        let to_customer_id = self.customer();
        let wait_ms = Some([0, 0, 300, 1_000][self.random.random_range(0..4)]);
        let known = |random: &mut StdRng, ids: &[String]| {
            (!ids.is_empty()).then(|| ids[random.random_range(0..ids.len())].clone())
        };
        match self.random.random_range(0..100) {
            0..20 => Kind::Deposit(wire::DepositRequest { customer_id, amount, transaction_id, ..Default::default() }),
            20..32 => {
                Kind::Withdraw(wire::WithdrawRequest { customer_id, amount, transaction_id, ..Default::default() })
            }
            32..38 => Kind::Hold(wire::HoldRequest {
                customer_id,
                amount,
                transaction_id,
                expires_in_seconds: Some(self.random.random_range(1..20)),
                ..Default::default()
            }),
            38..50 if !self.holds.is_empty() => Kind::Capture(wire::CaptureRequest {
                hold_transaction_id: known(&mut self.random, &self.holds).unwrap_or_default(),
                to_customer_id,
                // Half of them take all that is left.
                amount: if self.random.random_range(0..2) == 0 { amount } else { String::new() },
                keep_rest: self.random.random_range(0..2) == 0,
                transaction_id,
                wait_ms,
                ..Default::default()
            }),
            50..53 if !self.holds.is_empty() => Kind::Release(wire::ReleaseRequest {
                hold_transaction_id: known(&mut self.random, &self.holds).unwrap_or_default(),
                transaction_id,
                ..Default::default()
            }),
            53..62 if !self.moved.is_empty() => Kind::Reverse(wire::ReverseRequest {
                original_transaction_id: known(&mut self.random, &self.moved).unwrap_or_default(),
                transaction_id,
                ..Default::default()
            }),
            _ => Kind::Transfer(wire::TransferRequest {
                customer_id,
                to_customer_id,
                amount,
                transaction_id,
                wait_ms,
                ..Default::default()
            }),
        }
    }

    /// Asks again, of any server, until there is an answer that is worth keeping.
    async fn insist(&mut self, order: Kind) -> Told {
        loop {
            let server = self.random.random_range(0..self.servers.len());
            if let Some(told) = self.ask(server, order.clone()).await {
                return told;
            }
            let pause = Duration::from_millis(self.random.random_range(10..300));
            tokio::time::sleep(pause).await;
        }
    }

    /// The same at the door, under the order's id as the key. A door that does not answer well may be a new one
    /// the next time: nothing is lost with it.
    async fn insist_at_door(&mut self, order: &Kind) -> Heard {
        let key = key(order).to_owned();
        loop {
            match tokio::time::timeout(PATIENCE, self.door.order(order, &key)).await {
                Ok(heard) if !heard.is_passing() => return heard,
                Ok(heard) => self.say(&format!("hears {} at the door", heard.code())),
                Err(_) => self.say("hears nothing at the door"),
            }
            if self.random.random_range(0..4) == 0 {
                let seed = self.random.random();
                self.door = Door::open(&self.wires, &format!("client-{}", self.number), seed);
            }
            let pause = Duration::from_millis(self.random.random_range(10..300));
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask(&mut self, server: usize, order: Kind) -> Option<Told> {
        let operations = vec![wire::Operation { kind: Some(order) }];
        let mut request = tonic::Request::new(wire::BatchRequest { operations, traces: vec![] });
        request.set_timeout(PATIENCE);
        let answer = tokio::time::timeout(PATIENCE, self.servers[server].batch(request)).await;
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            failed => {
                self.say(&format!("hears nothing of server {server}: {failed:?}"));
                return None;
            }
        };
        match answer.into_inner().results.pop()?.kind? {
            // Worth a retry with the same id, and nothing else is known.
            // That the payee's branch was not open yet is an answer for ever.
            Told::Failure(failure) if is_passing(&failure.code) && !failure.metadata.contains_key("party") => {
                self.say(&format!("hears {} of server {server}", failure.code));
                None
            }
            told => Some(told),
        }
    }

    /// For whoever reads the history of one seed.
    fn say(&self, what: &str) {
        if crate::tells_its_history() {
            let at = turmoil::sim_elapsed().unwrap_or_default().as_millis();
            println!("{at:>6} ms  client {} {what}", self.number);
        }
    }

    /// Asks for everything again, when the weather is good: every answer must be the first one.
    pub(crate) async fn compare(&mut self, counts: &Mutex<BTreeMap<&'static str, u64>>) {
        for Entry { order, answer } in self.history.entries() {
            let again = match &answer {
                Answer::Counter(_) => Answer::Counter(Box::new(self.insist(order.clone()).await)),
                Answer::Door(_) => Answer::Door(self.insist_at_door(&order).await),
            };
            let what = answer.agrees(&again).unwrap_or_else(|| {
                panic!("I5 and I8: {order:?}\nwas told      {answer:?}\nand now hears {again:?}");
            });
            *counts.lock().expect("nobody panicked").entry(what).or_default() += 1;
        }
        for server in 0..self.servers.len() {
            let question = wire::ListBranchesRequest { local_only: true };
            let answer = self.servers[server].list_branches(question).await.expect("the server answers").into_inner();
            assert_eq!(answer.audit.expect("an auditor").violations, Vec::<String>::new());
        }
    }
}

/// Whether a refusal is worth a retry under the same id.
pub(crate) fn is_passing(code: &str) -> bool {
    matches!(
        code,
        "OUTCOME_UNKNOWN"
            | "BRANCH_UNAVAILABLE"
            | "OVERLOADED"
            | "STORAGE_FULL"
            | "DEADLINE_EXCEEDED"
            | "BRANCH_NOT_FOUND"
            | "WRONG_BRANCH"
    )
}

impl Answer {
    /// What kind of answer was given twice; None when the two do not agree.
    fn agrees(&self, again: &Answer) -> Option<&'static str> {
        match (self, again) {
            (Answer::Counter(first), Answer::Counter(again)) => agrees(first, again),
            (Answer::Door(first), Answer::Door(again)) => first.agrees(again),
            _ => None,
        }
    }
}

/// The id that a client gave its order.
fn key(order: &Kind) -> &str {
    let id = match order {
        Kind::Deposit(order) => &order.transaction_id,
        Kind::Withdraw(order) => &order.transaction_id,
        Kind::Transfer(order) => &order.transaction_id,
        Kind::Hold(order) => &order.transaction_id,
        Kind::Capture(order) => &order.transaction_id,
        Kind::Release(order) => &order.transaction_id,
        Kind::Reverse(order) => &order.transaction_id,
        _ => &None,
    };
    id.as_deref().unwrap_or_default()
}

fn agrees(first: &Told, again: &Told) -> Option<&'static str> {
    match (first, again) {
        (Told::Receipt(first), Told::Receipt(again)) => {
            let same = again.replayed && (&first.amount, &first.balance) == (&again.amount, &again.balance);
            same.then_some("receipt")
        }
        (Told::Failure(first), Told::Failure(again)) => {
            // A transfer that was told as failed, and everything else that was refused, stays so.
            let same = first.code == again.code && (again.replayed || first.code.starts_with("INVALID"));
            same.then_some("refusal")
        }
        (Told::Transfer(first), Told::Transfer(again)) => {
            use wire::TransferState::Completed;
            let same = again.replayed
                && first.amount == again.amount
                && (first.state() != Completed || again.state() == Completed)
                && again.state() == Completed;
            same.then_some("transfer")
        }
        // It was under way, and came back.
        (Told::Transfer(first), Told::Failure(again)) => {
            let was_under_way = first.state() == wire::TransferState::Processing;
            let same =
                was_under_way && again.replayed && again.metadata.get("state").is_some_and(|state| state == "FAILED");
            same.then_some("transfer that came back")
        }
        (Told::Reversal(first), Told::Reversal(again)) => {
            (again.replayed && first.amount == again.amount).then_some("reversal")
        }
        (Told::Reversal(first), Told::Failure(again)) => {
            let was_under_way = first.state() == wire::TransferState::Processing;
            (was_under_way && again.replayed && again.code == "REVERSAL_REFUSED")
                .then_some("reversal that was refused there")
        }
        (Told::Hold(first), Told::Hold(again)) => (again.replayed && first.amount == again.amount).then_some("hold"),
        _ => None,
    }
}
