//! A bank on servers with disks of their own gets one server more while everybody pays, and loses it again; the new
//! server is killed while branches move to it. Then every cent is where it belongs.

use super::payers::{check, open_bank, pay_while};
use super::support::{Door, bankctl, complaint, plain_client, run, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// So many more transfers are answered between two steps.
const ANSWERED: u64 = 100;

struct Bank {
    root: TempDir,
    /// Of the servers 0, 1 and 2, and of the client API.
    ports: Vec<u16>,
    servers: [Option<Child>; 3],
    api: Option<Child>,
}

impl Bank {
    /// Two servers and the client API.
    async fn open() -> Bank {
        let held: Vec<_> = (0..4).map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        let ports = held.iter().map(|listener| listener.local_addr().expect("an address").port()).collect();
        drop(held);
        let root = tempfile::tempdir().expect("a directory");
        let mut bank = Bank { root, ports, servers: [None, None, None], api: None };
        bank.plan(&["--founding-servers", "2", "--servers", "2"]);
        bank.start(0);
        bank.start(1);
        bank.start_api().await;
        bank
    }

    fn data(&self, server: usize) -> PathBuf {
        self.root.path().join(format!("server-{server}"))
    }

    fn assignment(&self) -> PathBuf {
        self.root.path().join("assignment.json")
    }

    fn addresses(&self) -> String {
        self.ports[..3].iter().map(|port| format!("http://127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// `bankctl move`, and what it says.
    fn plan(&self, flags: &[&str]) -> Value {
        let mut command = bankctl();
        command.arg("move").arg("--assignment").arg(self.assignment()).args(flags).arg("--json");
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    fn start(&mut self, server: usize) {
        let mut command = bankctl();
        command.arg("branch-server").args(["--listen", &format!("127.0.0.1:{}", self.ports[server])]);
        command.args(["--server-ordinal", &server.to_string(), "--peers", &self.addresses()]);
        command.arg("--store").arg(format!("sqlite:{}", self.data(server).display()));
        self.servers[server] = Some(self.spawn(command));
    }

    async fn start_api(&mut self) {
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

    fn end(&mut self, server: usize, signal: Signal) {
        end(self.servers[server].take(), signal);
    }

    fn restart(&mut self, server: usize) {
        self.end(server, Signal::TERM);
        self.start(server);
    }

    async fn restart_api(&mut self) {
        end(self.api.take(), Signal::TERM);
        self.start_api().await;
    }

    fn door(&self) -> Door {
        let client = plain_client();
        Door { client, http: format!("http://127.0.0.1:{}", self.ports[3]) }
    }

    /// Which server keeps which branch, as soon as all are open.
    async fn servers_of_branches(&self) -> Vec<u64> {
        let door = self.door();
        let mut servers = Vec::new();
        until("every branch is open", async || {
            let Ok(answer) = door.client.get(format!("{}/health", door.http)).send().await else { return false };
            let health: Value = answer.json().await.unwrap_or_default();
            let branches = health["branches"].as_array().cloned().unwrap_or_default();
            servers = branches.iter().filter_map(|branch| branch["server"].as_u64()).collect();
            branches.len() == 10 && branches.iter().all(|branch| branch["state"] == "open")
        })
        .await;
        servers
    }

    fn verify(&self, server: usize) -> Value {
        let verified = run(&["verify", "--json", "--data", &self.data(server).to_string_lossy()]);
        assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
        serde_json::from_slice(&verified.stdout).expect("JSON")
    }
}

impl Drop for Bank {
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

#[tokio::test]
async fn a_bank_grows_by_a_server_and_shrinks_again_while_everybody_pays() {
    let mut bank = Bank::open().await;
    let door = bank.door();
    open_bank(&door).await;
    assert_eq!(bank.servers_of_branches().await, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    let mut orders = Vec::new();
    let next = pay_while(&door, &mut orders, 0, async |answered| {
        answered.more(ANSWERED).await;
        let planned = bank.plan(&["--servers", "3"]);
        assert_eq!(planned["moves"].as_array().map(Vec::len), Some(3), "{planned}");
        // The new owner first; it knows where the branches still are.
        bank.start(2);
        answered.more(ANSWERED).await;
        // The old owners next. The new one is killed at once, and again when the next branch is on its way.
        bank.restart(0);
        bank.end(2, Signal::KILL);
        bank.start(2);
        answered.more(ANSWERED).await;
        bank.restart(1);
        bank.end(2, Signal::KILL);
        bank.start(2);
        answered.more(ANSWERED).await;
        bank.restart_api().await;
        answered.more(ANSWERED).await;
    })
    .await;
    assert_eq!(bank.servers_of_branches().await, [0, 1, 0, 1, 0, 1, 0, 2, 2, 2]);
    check(&door, &orders).await;

    // And back: the new owners are the old ones now.
    bank.plan(&["--servers", "2"]);
    pay_while(&door, &mut orders, next, async |answered| {
        bank.restart(0);
        bank.restart(1);
        answered.more(ANSWERED).await;
        bank.restart(2);
        bank.restart_api().await;
        answered.more(ANSWERED).await;
    })
    .await;
    assert!(bank.servers_of_branches().await.iter().all(|server| *server < 2));
    check(&door, &orders).await;

    for server in 0..3 {
        bank.end(server, Signal::TERM);
    }
    let [first, second, third] = [0, 1, 2].map(|server| bank.verify(server));
    for branch in 0..10 {
        let verdicts = [&first, &second, &third].map(|verified| verified["branches"][branch]["verdict"].clone());
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == "agrees").count(), 1, "{verdicts:?}");
    }
    let moved: Vec<&Value> =
        third["branches"].as_array().expect("branches").iter().filter(|branch| branch["verdict"] == "moved").collect();
    assert_eq!(moved.len(), 3, "{third}");
}

#[test]
fn a_plan_is_written_only_when_it_fits() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("assignment.json");
    let path = file.to_string_lossy();
    let refused = |flags: &[&str], code: i32| {
        let output = run(&[&["move", "--assignment", &path], flags].concat());
        assert_eq!(output.status.code(), Some(code), "{flags:?}");
        complaint(&output)
    };
    assert!(refused(&["--servers", "3"], 64).contains("--founding-servers"));
    let made =
        run(&["move", "--assignment", &path, "--founding-servers", "3", "--servers", "5", "--dry-run", "--json"]);
    let said: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    assert_eq!(said["moves"][0], json!({"branch_id": 7, "from": 0, "to": 3}));
    assert!(!file.exists(), "it was a trial");

    run(&["move", "--assignment", &path, "--founding-servers", "3", "--branch", "4", "--to", "3"]);
    let written: Value = serde_json::from_slice(&std::fs::read(&file).expect("a file")).expect("JSON");
    assert_eq!(written, json!({"founding_servers": 3, "moved": {"4": 3}}));
    assert!(refused(&["--founding-servers", "4", "--servers", "5"], 64).contains("never changes"));
    assert!(refused(&["--branch", "11", "--to", "0"], 64).contains("there is no branch 11"));
    std::fs::write(&file, "{}").expect("written");
    assert!(refused(&["--servers", "3"], 65).contains("it must look like"));
}
