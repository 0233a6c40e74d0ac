//! A whole bank: real branch servers on free ports, its books in a temporary directory or database.

use crate::store::{is_shared, store_in};
use crate::support::{Api, listener};
use branch_server::{Running, Settings};
use clap::Parser;
use serde_json::json;
use std::net::SocketAddr;
use tempfile::TempDir;

/// Ten branches over some branch servers, and a client API before them.
pub(crate) struct RealBank {
    pub(crate) api: Api,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) servers: Vec<Option<Running>>,
    /// Flags of the branch servers.
    flags: Vec<String>,
    directory: TempDir,
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    settings: Settings,
}

impl RealBank {
    /// With this many branch servers and more flags for the client API.
    pub(crate) async fn start(servers: usize, flags: &[&str]) -> RealBank {
        RealBank::start_with(servers, flags, &[]).await
    }

    /// And more flags for the branch servers.
    pub(crate) async fn start_with(servers: usize, flags: &[&str], server_flags: &[&str]) -> RealBank {
        let server_flags: Vec<String> = server_flags.iter().map(|flag| (*flag).to_owned()).collect();
        let directory = TempDir::new().expect("a directory");
        let mut listeners = Vec::new();
        for _ in 0..servers {
            listeners.push(listener().await);
        }
        let addresses: Vec<SocketAddr> =
            listeners.iter().map(|listener| listener.local_addr().expect("an address")).collect();
        let mut running = Vec::new();
        for (ordinal, listener) in listeners.into_iter().enumerate() {
            let settings = settings(&directory, &addresses, ordinal, &server_flags);
            running.push(Some(branch_server::start(settings, listener).await.expect("a branch server")));
        }
        let api = Api::start(&addresses, flags).await;
        if is_shared() {
            until_open(&api).await;
        }
        RealBank { api, addresses, servers: running, flags: server_flags, directory }
    }

    /// With branches 1 to 10 initialized with 1000 each.
    pub(crate) async fn open(servers: usize) -> RealBank {
        // Patient, because a test may share its machine.
        let bank = RealBank::start(servers, &["--request-timeout-ms", "60000"]).await;
        for branch in 1..=10 {
            let answer =
                bank.api.post("/initialize_branch", json!({"branch_id": branch, "initial_balance": 1000})).await;
            assert_eq!(answer.status, 201, "{}", answer.text);
        }
        bank
    }

    /// The number of a customer's only account.
    pub(crate) async fn account_of(&self, customer: u64) -> String {
        let customer = self.api.get(&format!("/v1/customers/{customer}")).await.json();
        customer["accounts"][0]["account_number"].as_str().expect("an account").to_owned()
    }

    /// Stops one branch server.
    pub(crate) async fn stop_server(&mut self, ordinal: usize) {
        self.servers[ordinal].take().expect("a running server").stop().await;
    }

    /// Starts a stopped branch server again, at its old address.
    pub(crate) async fn start_server(&mut self, ordinal: usize) {
        let listener = tokio::net::TcpListener::bind(self.addresses[ordinal]).await.expect("the port is still free");
        let settings = settings(&self.directory, &self.addresses, ordinal, &self.flags);
        self.servers[ordinal] = Some(branch_server::start(settings, listener).await.expect("a branch server"));
    }
}

/// Waits until some server serves every branch.
async fn until_open(api: &Api) {
    while api.get("/health").await.json()["status"] != "healthy" {
        tokio::task::yield_now().await;
    }
}

fn settings(directory: &TempDir, addresses: &[SocketAddr], ordinal: usize, flags: &[String]) -> Settings {
    let peers: Vec<String> = addresses.iter().map(|address| format!("http://{address}")).collect();
    let store = store_in(directory.path());
    let cache = directory.path().join("cache").display().to_string();
    let (ordinal, peers) = (ordinal.to_string(), peers.join(","));
    let words =
        ["branch-server", "--store", &store, "--cache", &cache, "--server-ordinal", &ordinal, "--peers", &peers]
            .map(str::to_owned);
    CommandLine::try_parse_from(words.iter().chain(flags)).expect("flags").settings
}
