//! Branch servers, each on a network of its own, that are cut off from each other while everybody pays: one way,
//! both ways, and from everything. What is lost on the way is lost without a word.
//!
//! The networks are namespaces of the kernel, made without privileges (`unshare`) and gone with the last process
//! in them. Where that is not allowed the test says that it was skipped.

use super::payers::{check, open_bank, pay_while};
use super::support::{Door, bankctl, plain_client, run, until};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SERVERS: usize = 3;
/// So many more transfers are answered in each state of the network.
const ANSWERED: u64 = 150;

#[test]
fn transfers_survive_a_network_that_is_cut() {
    let may = Command::new("unshare").args(["-rn", "ip", "rule", "add", "from", "10.77.0.2", "blackhole"]).output();
    if !may.as_ref().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: this machine does not let a test make networks of its own: {may:?}");
        return;
    }
    let own = std::env::current_exe().expect("this program's path");
    let test = ["--exact", "network::on_networks_of_its_own", "--ignored", "--nocapture"];
    let ran = Command::new("unshare").arg("-rn").arg(own).args(test).output().expect("unshare runs");
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{told}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(told.contains("1 passed"), "{told}");
}

#[tokio::test]
#[ignore = "rearranges the network that it runs in; the test above runs it in one of its own"]
async fn on_networks_of_its_own() {
    let data = tempfile::tempdir().expect("a directory");
    let bank = Networks::open(data.path()).await;
    open_bank(&bank.door).await;
    let mut orders = Vec::new();
    pay_while(&bank.door, &mut orders, 0, async |answered| {
        answered.more(ANSWERED).await;
        // Neither hears the other; both serve their own customers and pay to the third.
        rules("add", &[(0, 1), (1, 0)]);
        answered.more_while_cut(ANSWERED).await;
        rules("del", &[(0, 1), (1, 0)]);
        // 1 hears 2, and its answers are lost.
        rules("add", &[(1, 2)]);
        answered.more_while_cut(ANSWERED).await;
        rules("del", &[(1, 2)]);
        // Nobody hears 2, the client API neither.
        ip("link set v2 down");
        answered.more_while_cut(ANSWERED).await;
        ip("link set v2 up");
        answered.more(ANSWERED).await;
    })
    .await;
    check(&bank.door, &orders).await;
    drop(bank);
    let verified = run(&["verify", "--json", "--data", &data.path().to_string_lossy()]);
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    let said: serde_json::Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert_eq!(said["transfers"]["in_flight"], 0, "{said}");
    assert!(said["transfers"]["ended"].as_u64() > Some(ANSWERED), "{said}");
}

/// A bank whose servers are each on a network of its own, behind a router on which the client API runs.
struct Networks {
    processes: Vec<Child>,
    door: Door,
}

impl Networks {
    async fn open(data: &Path) -> Networks {
        ip("link set lo up");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a router");
        let peers: Vec<String> = (0..SERVERS).map(|server| format!("http://{}:50051", address(server))).collect();
        let peers = peers.join(",");
        let mut processes = Vec::new();
        for server in 0..SERVERS {
            let mut command = Command::new("unshare");
            command.arg("-n").arg(bankctl().get_program()).arg("branch-server");
            command.args(["--listen", "0.0.0.0:50051", "--server-ordinal", &server.to_string(), "--peers", &peers]);
            command.arg("--store").arg(format!("sqlite:{}", data.display()));
            processes.push(start(command));
            plug_in(server, &processes[server]).await;
        }
        let mut command = bankctl();
        command.args(["client-api", "--http", "127.0.0.1:5002", "--auth", "open", "--branch-servers", &peers]);
        processes.push(start(command));
        let client = plain_client();
        let door = Door { client, http: "http://127.0.0.1:5002".to_owned() };
        let ready = format!("{}/readyz", door.http);
        until("the bank is ready", async || {
            door.client.get(&ready).send().await.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        Networks { processes, door }
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = kill_process(Pid::from_child(process), Signal::TERM);
            let _ = process.wait();
        }
    }
}

fn start(mut command: Command) -> Child {
    // It ends when this process does.
    command.arg("--exit-with-parent").args(["--log", "warn"]).stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().expect("it starts")
}

fn address(server: usize) -> String {
    format!("10.77.{server}.2")
}

/// Lays a cable from the router to a server's network.
async fn plug_in(server: usize, process: &Child) {
    let network = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    let process = process.id().to_string();
    until("the server has a network", async || network(&process).is_some_and(|theirs| Some(theirs) != network("self")))
        .await;
    ip(&format!("link add v{server} type veth peer name cable netns {process}"));
    ip(&format!("addr add 10.77.{server}.1/24 dev v{server}"));
    ip(&format!("link set v{server} up"));
    let address = address(server);
    for command in [
        "link set lo up".to_owned(),
        format!("addr add {address}/24 dev cable"),
        "link set cable up".to_owned(),
        format!("route add default via 10.77.{server}.1"),
    ] {
        let mut there = Command::new("nsenter");
        done(there.args(["-t", &process, "-n", "ip"]).args(command.split(' ')));
    }
}

/// Loses, or loses no longer, whatever goes from one server to another.
fn rules(verb: &str, ways: &[(usize, usize)]) {
    for (from, to) in ways {
        ip(&format!("rule {verb} from {} to {} blackhole", address(*from), address(*to)));
    }
}

fn ip(command: &str) {
    done(Command::new("ip").args(command.split(' ')));
}

fn done(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
