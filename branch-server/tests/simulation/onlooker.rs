//! Somebody who only looks: a balance that is told must be one that the account had while the question was under way,
//! whoever believes to own the branch.

use crate::machine::{PORT, Wires, connect};
use crate::servers::{SERVERS, name};
use crate::witness::Witness;
use bank_proto::AccountNumber;
use bank_proto::wire;
use bank_proto::wire::bank_service_client::BankServiceClient;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// How long it waits for one answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks every server about every customer.
pub(crate) struct Onlooker {
    random: StdRng,
    servers: Vec<BankServiceClient<Channel>>,
    witness: Witness,
}

impl Onlooker {
    pub(crate) fn new(seed: u64, wires: &Wires, witness: Witness) -> Onlooker {
        let way = connect(wires.clone(), "onlooker".to_owned());
        let endpoint = |server| Endpoint::from_shared(format!("http://{}:{PORT}", name(server))).expect("an address");
        let servers = (0..SERVERS).map(|server| BankServiceClient::new(way(&endpoint(server)))).collect();
        Onlooker { random: StdRng::seed_from_u64(seed ^ 0x100C), servers, witness }
    }

    /// Asks one thing after the other until told to stop.
    pub(crate) async fn look_until(&mut self, stop: &AtomicBool, counts: &Mutex<BTreeMap<&'static str, u64>>) {
        while !stop.load(Ordering::Relaxed) {
            let what = self.look().await;
            *counts.lock().expect("nobody panicked").entry(what).or_default() += 1;
            let pause = Duration::from_millis(self.random.random_range(0..40));
            tokio::time::sleep(pause).await;
        }
    }

    async fn look(&mut self) -> &'static str {
        let server = self.random.random_range(0..self.servers.len());
        let customer_id = self.random.random_range(1..=12);
        let mut question = tonic::Request::new(wire::QueryRequest { customer_id, ..Default::default() });
        question.set_timeout(PATIENCE);
        let before = self.witness.heads();
        let answer = tokio::time::timeout(PATIENCE, self.servers[server].query(question)).await;
        let Ok(Ok(answer)) = answer else { return "question without an answer" };
        let told = answer.into_inner();
        let account: AccountNumber = told.account_number.parse().expect("a number of an account");
        let minor: i64 = told.balance.replace('.', "").parse().expect("an amount");
        let since = before.get(&account.branch()).copied().unwrap_or_default();
        let possible = self.witness.balances(account, since);
        assert!(
            possible.contains(&minor),
            "I5: server {server} tells {minor} for account {account}, and since row {since} it had {possible:?}"
        );
        "question"
    }
}
