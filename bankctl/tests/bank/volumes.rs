//! A bank on servers with disks of their own, and an assignment file.

use super::support::{Door, bankctl, plain_client, run, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub(crate) struct Volumes {
    root: TempDir,
    /// Of the servers 0, 1 and 2, and of the client API.
    ports: Vec<u16>,
    servers: [Option<Child>; 3],
    api: Option<Child>,
}

impl Volumes {
    /// Two servers and the client API.
    pub(crate) async fn open() -> Volumes {
        let held: Vec<_> = (0..4).map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let ports = held.iter().map(|listener| listener.local_addr().expect("an address").port()).collect();
        drop(held);
        let root = tempfile::tempdir().expect("a directory");
        let mut bank = Volumes { root, ports, servers: [None, None, None], api: None };
        bank.plan(&["--founding-servers", "2", "--servers", "2"]);
        for server in 0..3 {
            bank.start(server);
        }
        bank.start_api().await;
        // First all servers ask each other whether one of them has books already.
        bank.all_are("uninitialized").await;
        // The third keeps none yet, and comes later on an empty disk.
        bank.end(2, Signal::KILL);
        std::fs::remove_dir_all(bank.data(2)).expect("removed");
        bank
    }

    pub(crate) fn data(&self, server: usize) -> PathBuf {
        self.root.path().join(format!("server-{server}"))
    }

    fn assignment(&self) -> PathBuf {
        self.root.path().join("assignment.json")
    }

    /// Where a server serves.
    pub(crate) fn address(&self, server: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[server])
    }

    fn addresses(&self) -> String {
        self.ports[..3].iter().map(|port| format!("http://127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// `bankctl move`, and what it says.
    pub(crate) fn plan(&self, flags: &[&str]) -> Value {
        let mut command = bankctl();
        command.arg("move").arg("--assignment").arg(self.assignment()).args(flags).arg("--json");
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    pub(crate) fn start(&mut self, server: usize) {
        let mut command = bankctl();
        command.arg("branch-server").args(["--listen", &format!("127.0.0.1:{}", self.ports[server])]);
        command.args(["--server-ordinal", &server.to_string(), "--peers", &self.addresses()]);
        command.arg("--store").arg(format!("sqlite:{}", self.data(server).display()));
        self.servers[server] = Some(self.spawn(command));
    }

    pub(crate) async fn start_api(&mut self) {
        let mut command = bankctl();
        command.args(["client-api", "--auth", "open", "--http", &format!("127.0.0.1:{}", self.ports[3])]);
        command.args(["--branch-servers", &self.addresses()]);
        self.api = Some(self.spawn(command));
        let door = self.door();
        until("the client API serves", async || {
            door.client.get(format!("{}/livez", door.http)).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
    }

    fn spawn(&self, mut command: Command) -> Child {
        command.arg("--assignment").arg(self.assignment());
        // It ends when this process does.
        command.arg("--exit-with-parent").args(["--log", "warn"]).stdin(Stdio::piped()).stdout(Stdio::null());
        command.spawn().expect("it starts")
    }

    pub(crate) fn end(&mut self, server: usize, signal: Signal) {
        end(self.servers[server].take(), signal);
    }

    pub(crate) fn restart(&mut self, server: usize) {
        self.end(server, Signal::TERM);
        self.start(server);
    }

    pub(crate) async fn restart_api(&mut self) {
        end(self.api.take(), Signal::TERM);
        self.start_api().await;
    }

    pub(crate) fn door(&self) -> Door {
        let client = plain_client();
        Door { client, http: format!("http://127.0.0.1:{}", self.ports[3]) }
    }

    /// Which server keeps which branch, as soon as all are open.
    pub(crate) async fn servers_of_branches(&self) -> Vec<u64> {
        self.all_are("open").await
    }

    /// Which server keeps which branch, as soon as all are in one state.
    async fn all_are(&self, state: &str) -> Vec<u64> {
        let door = self.door();
        let mut servers = Vec::new();
        until("every branch is in the state", async || {
            let Ok(answer) = door.client.get(format!("{}/health", door.http)).send().await else { return false };
            let health: Value = answer.json().await.unwrap_or_default();
            let branches = health["branches"].as_array().cloned().unwrap_or_default();
            servers = branches.iter().filter_map(|branch| branch["server"].as_u64()).collect();
            branches.len() == 10 && branches.iter().all(|branch| branch["state"] == state)
        })
        .await;
        servers
    }

    pub(crate) fn verify(&self, server: usize) -> Value {
        let verified = run(&["verify", "--json", "--data", &self.data(server).to_string_lossy()]);
        assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
        serde_json::from_slice(&verified.stdout).expect("JSON")
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        for process in self.servers.iter_mut().map(Option::take).chain([self.api.take()]).flatten() {
            end(Some(process), Signal::KILL);
        }
    }
}

fn end(process: Option<Child>, signal: Signal) {
    let mut process = process.expect("it runs");
    let _ = kill_process(Pid::from_child(&process), signal);
    let _ = process.wait();
}
