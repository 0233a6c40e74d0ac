//! Starts, kills and watches banks.

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Long enough for the slowest machine; nothing waits this long unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// The executable under test, with nothing of the caller's own settings.
pub(crate) fn bankctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bankctl"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("FLORIN_")) {
        command.env_remove(name);
    }
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    bankctl().args(arguments).stdin(Stdio::null()).output().expect("bankctl runs")
}

/// The one line that a failed command says.
pub(crate) fn complaint(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).expect("text");
    let lines = text.lines().filter(|line| line.starts_with("bankctl: ")).collect::<Vec<_>>();
    assert_eq!(lines.len(), 1, "one clear line, not:\n{text}");
    lines[0].to_owned()
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A bank that `bankctl up` runs; killed on drop.
pub(crate) struct Bank {
    up: Child,
    /// The client API.
    pub(crate) http: String,
    said: Arc<Mutex<String>>,
    client: reqwest::Client,
}

impl Bank {
    /// Starts a bank on free ports and waits until it is open.
    pub(crate) fn up(data: &Path) -> Bank {
        Bank::up_with(data, &[])
    }

    /// The same with these variables in the environment.
    pub(crate) fn up_with(data: &Path, variables: &[(&str, &str)]) -> Bank {
        let (mut bank, greeting) = Bank::greeting(data, &["--json"], variables, |line| line.starts_with('{'));
        let Ok(greeting) = serde_json::from_str::<Value>(&greeting) else {
            panic!("no greeting but {greeting:?}; it said:\n{}", bank.said());
        };
        bank.http = greeting["http"].as_str().expect("an address").to_owned();
        bank
    }

    /// The same, greeting people; gives what it greets them with.
    pub(crate) fn up_for_people(data: &Path) -> (Bank, String) {
        Bank::greeting(data, &[], &[], |line| line.starts_with("Ctrl-C"))
    }

    fn greeting(
        data: &Path,
        flags: &[&str],
        variables: &[(&str, &str)],
        is_last: impl Fn(&str) -> bool,
    ) -> (Bank, String) {
        let mut command = bankctl();
        command.envs(variables.iter().copied());
        command.args(["up", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]).args(flags).arg("--data").arg(data);
        let mut up =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let said = Arc::new(Mutex::new(String::new()));
        let errors = BufReader::new(up.stderr.take().expect("a pipe"));
        std::thread::spawn({
            let said = Arc::clone(&said);
            move || errors.lines().map_while(Result::ok).for_each(|line| *said.lock().expect("text") += &(line + "\n"))
        });
        let mut greeting = String::new();
        for line in BufReader::new(up.stdout.take().expect("a pipe")).lines().map_while(Result::ok) {
            greeting += &format!("{line}\n");
            if is_last(&line) {
                break;
            }
        }
        let client = plain_client();
        (Bank { up, http: String::new(), said, client }, greeting)
    }

    /// What it said for people so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().expect("text").clone()
    }

    /// The processes of its services with their command lines.
    pub(crate) fn services(&self) -> Vec<(Pid, String)> {
        let parent = format!(" {} ", self.up.id());
        let mut services = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("processes").filter_map(Result::ok) {
            let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // `pid (name) state parent ...`; gone again is no error.
            let status = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let is_child = status.rsplit_once(") ").is_some_and(|(_, rest)| rest[1..].starts_with(&parent));
            if is_child {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                services.push((Pid::from_raw(process).expect("a process"), line));
            }
        }
        services
    }

    /// The process of one service.
    pub(crate) fn service(&self, words: &str) -> Option<Pid> {
        self.services().into_iter().find(|(_, line)| line.contains(words)).map(|(process, _)| process)
    }

    /// Sends a signal to `bankctl up` alone.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.up), signal).expect("it runs");
    }

    /// Waits for the end of `bankctl up`.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.up.wait().expect("it ends")
    }

    /// Ends every process of the bank at once, as a power cut would.
    pub(crate) fn kill_everything(&mut self) {
        for (process, _) in self.services() {
            // One that was started again meanwhile ends with its parent.
            let _ = kill_process(process, Signal::KILL);
        }
        self.up.kill().expect("it runs");
        self.up.wait().expect("it ends");
    }

    /// Posts JSON; status, replay mark and body, or None when no whole answer came.
    pub(crate) async fn post(&self, path: &str, key: &str, body: Value) -> Option<(u16, bool, Value)> {
        post(&self.client, &self.http, path, key, body).await
    }

    /// A client for tasks of their own.
    pub(crate) fn client(&self) -> reqwest::Client {
        self.client.clone()
    }

    /// The way in, for tasks of their own.
    pub(crate) fn door(&self) -> Door {
        Door { client: self.client.clone(), http: self.http.clone() }
    }

    /// The balance of a customer's account.
    pub(crate) async fn balance(&self, customer: u64) -> String {
        self.door().balance(customer).await
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

/// The way into a bank.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) client: reqwest::Client,
    pub(crate) http: String,
}

impl Door {
    /// Posts JSON; status, replay mark and body, or None when no whole answer came.
    pub(crate) async fn post(&self, path: &str, key: &str, body: Value) -> Option<(u16, bool, Value)> {
        post(&self.client, &self.http, path, key, body).await
    }

    /// The balance of a customer's account.
    pub(crate) async fn balance(&self, customer: u64) -> String {
        let body = json!({"customer_id": customer, "type": "query"});
        let (status, _, body) = self.post("/transaction", "", body).await.expect("an answer");
        assert_eq!(status, 200, "{body}");
        body["balance"].as_str().expect("a balance").to_owned()
    }
}

/// Posts JSON under an Idempotency-Key, or without one when it is empty.
pub(crate) async fn post(
    client: &reqwest::Client,
    http: &str,
    path: &str,
    key: &str,
    body: Value,
) -> Option<(u16, bool, Value)> {
    let mut request = client.post(format!("{http}{path}")).json(&body);
    if !key.is_empty() {
        request = request.header("idempotency-key", key);
    }
    let answer = request.send().await.ok()?;
    let (status, replayed) = (answer.status().as_u16(), answer.headers().contains_key("idempotent-replayed"));
    Some((status, replayed, answer.json().await.ok()?))
}

/// Whether the process is gone.
pub(crate) fn is_gone(process: Pid) -> bool {
    test_kill_process(process).is_err()
}

/// A client for banks that speak plain HTTP.
pub(crate) fn plain_client() -> reqwest::Client {
    // Whichever test of this process comes first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client")
}
