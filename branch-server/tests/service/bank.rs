//! A whole bank of branch servers in one process, on real ports, its books in files or in a database.

pub(crate) use crate::store::is_shared;
use crate::store::store_in;
use bank_proto::wire::bank_service_client::BankServiceClient;
use bank_proto::{BranchId, ErrorCode, wire};
use branch_server::journal::PostgresStore;
use branch_server::verify::{Books, Database, Report, VerifyError};
use branch_server::{LogFormat, PostgresUrl, Running, Settings, Store, TlsSettings, start};
use std::path::Path;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::Channel;

/// A bank of ten branches on one or more servers in this process.
pub(crate) struct TestBank {
    pub(crate) directory: TempDir,
    pub(crate) servers: Vec<Running>,
    peers: Vec<String>,
}

impl TestBank {
    pub(crate) async fn start(servers: u32) -> TestBank {
        TestBank::start_in(tempfile::tempdir().expect("a directory"), servers).await
    }

    pub(crate) async fn start_in(directory: TempDir, servers: u32) -> TestBank {
        TestBank::start_with(directory, servers, |_| {}).await
    }

    pub(crate) async fn start_with(directory: TempDir, servers: u32, change: impl Fn(&mut Settings)) -> TestBank {
        let mut listeners = Vec::new();
        for _ in 0..servers {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
        }
        let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("an address"));
        let peers: Vec<String> = listeners.iter().map(url).collect();
        let mut bank = TestBank { directory, servers: Vec::new(), peers };
        for (ordinal, listener) in (0..).zip(listeners) {
            let server = bank.start_changed(ordinal, listener, &change).await;
            bank.servers.push(server);
        }
        if is_shared() {
            bank.wait_until_open().await;
        }
        bank
    }

    /// Starts the server with this ordinal on a listener.
    pub(crate) async fn start_server(&self, ordinal: u32, listener: TcpListener) -> Running {
        self.start_changed(ordinal, listener, &|_| {}).await
    }

    /// The books, for whoever proves them.
    pub(crate) fn books(&self) -> TestBooks {
        TestBooks(match store(self.directory.path()) {
            Store::Sqlite(data) => Books::Directory(data),
            Store::Postgres(PostgresUrl(url)) => {
                let store = PostgresStore::new(&url, None, None, "florin test").expect("a store");
                Books::Database(Database::new(store))
            }
        })
    }

    /// Deletes what is derived from the journal of a branch of a stopped bank.
    pub(crate) fn forget_derived(&self, branch: u32) {
        let data = match store(self.directory.path()) {
            Store::Sqlite(data) => data,
            Store::Postgres(PostgresUrl(url)) => {
                let sql = format!("DELETE FROM florin.derived WHERE branch = {branch}");
                let delete = move || postgres::Client::connect(&url, postgres::NoTls)?.batch_execute(&sql);
                std::thread::spawn(delete).join().expect("a thread").expect("deleted");
                return;
            }
        };
        for entry in std::fs::read_dir(data.join(format!("branch-{branch:04}"))).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("derived")) {
                std::fs::remove_file(path).expect("deleted");
            }
        }
    }

    /// Waits until every branch is served by some server.
    async fn wait_until_open(&self) {
        let mut client = self.client(0).await;
        loop {
            let question = wire::ListBranchesRequest { local_only: false };
            let branches = client.list_branches(question).await.expect("branches").into_inner().branches;
            let is_served = |branch: &wire::Branch| {
                matches!(branch.state(), wire::BranchState::Open | wire::BranchState::Uninitialized)
            };
            if branches.len() == 10 && branches.iter().all(is_served) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn start_changed(&self, ordinal: u32, listener: TcpListener, change: &impl Fn(&mut Settings)) -> Running {
        let mut settings = Settings {
            listen: listener.local_addr().expect("an address"),
            store: store(self.directory.path()),
            cache: self.directory.path().join("cache"),
            server_ordinal: ordinal,
            peers: self.peers.clone(),
            ..settings()
        };
        change(&mut settings);
        start(settings, listener).await.expect("a server")
    }

    pub(crate) async fn client(&self, server: usize) -> BankServiceClient<Channel> {
        let url = format!("http://{}", self.servers[server].address());
        BankServiceClient::connect(url).await.expect("a connection")
    }

    /// Stops every server and starts the bank again on the same data.
    pub(crate) async fn restart(self) -> TestBank {
        let count = self.servers.len() as u32;
        for server in self.servers {
            server.stop().await;
        }
        TestBank::start_in(self.directory, count).await
    }
}

/// The books of a bank of ten branches.
pub(crate) struct TestBooks(Books);

impl TestBooks {
    /// What a branch proves to hold.
    pub(crate) fn verify(&self, branch: BranchId) -> Result<Report, VerifyError> {
        // Reading a database waits, which a thread of a runtime may not.
        std::thread::scope(|scope| scope.spawn(|| self.0.verify(branch, 10, |_, _| {})).join()).expect("a proof")
    }
}

/// Where the books of the bank that has this directory are.
fn store(directory: &Path) -> Store {
    let named = store_in(directory);
    match named.strip_prefix("sqlite:") {
        Some(directory) => Store::Sqlite(directory.into()),
        None => Store::Postgres(PostgresUrl(named)),
    }
}

pub(crate) fn deposit(customer: i64, amount: &str) -> wire::DepositRequest {
    wire::DepositRequest { customer_id: customer, amount: amount.to_owned(), ..wire::DepositRequest::default() }
}

pub(crate) fn withdraw(customer: i64, amount: &str) -> wire::WithdrawRequest {
    wire::WithdrawRequest { customer_id: customer, amount: amount.to_owned(), ..wire::WithdrawRequest::default() }
}

pub(crate) fn query(customer: i64) -> wire::QueryRequest {
    wire::QueryRequest { customer_id: customer, ..wire::QueryRequest::default() }
}

pub(crate) fn initialize(branch: i64) -> wire::InitializeBranchRequest {
    wire::InitializeBranchRequest { branch_id: branch, ..wire::InitializeBranchRequest::default() }
}

pub(crate) fn code(status: &tonic::Status) -> Option<ErrorCode> {
    ErrorCode::from_status(status)
}

/// Settings that a test makes its own of.
pub(crate) fn settings() -> Settings {
    Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        store: Store::Sqlite("nowhere".into()),
        store_authority: None,
        store_password_file: None,
        cache: "nowhere".into(),
        branches: 10,
        server_ordinal: 0,
        operations_listen: None,
        tls: TlsSettings::default(),
        peers: Vec::new(),
        assignment: None,
        drain_timeout_ms: 20_000,
        otlp_endpoint: None,
        trace_ratio: 0.0,
        audit_interval_ms: 0,
        clearing_limit_minor_units: 0,
        log_format: LogFormat::Text,
        log: "warn".to_owned(),
        exit_with_parent: false,
    }
}
