//! Starting, watching, stopping, and what is refused.

use super::support::{Bank, complaint, is_gone, run, until};
use rustix::process::{Signal, kill_process};
use serde_json::json;
use std::fs;

#[tokio::test]
async fn a_branch_server_that_is_killed_runs_again_and_the_money_is_still_there() {
    let data = tempfile::tempdir().expect("a directory");
    let bank = Bank::up(data.path());
    bank.post("/initialize_branch", "", json!({"branch_id": 1})).await.expect("an answer");
    let deposit = json!({"customer_id": 1, "type": "deposit", "amount": "0.25"});
    let (status, ..) = bank.post("/transaction", "", deposit).await.expect("an answer");
    assert_eq!(status, 200);

    let server = bank.service("--server-ordinal 0").expect("a branch server");
    kill_process(server, Signal::KILL).expect("it runs");
    until("another process has taken its place", async || {
        bank.service("--server-ordinal 0").is_some_and(|process| process != server)
    })
    .await;
    until("customer 1 is served again", async || {
        let query = json!({"customer_id": 1, "type": "query"});
        bank.post("/transaction", "", query).await.is_some_and(|(status, ..)| status == 200)
    })
    .await;
    assert_eq!(bank.balance(1).await, "1000.25");
    assert!(bank.said().contains("branch-server-0 ended: signal: 9 (SIGKILL)"), "{}", bank.said());
}

#[tokio::test]
async fn the_services_end_with_their_parent_however_it_ends() {
    let data = tempfile::tempdir().expect("a directory");
    let bank = Bank::up(data.path());
    let services = bank.services();
    assert_eq!(services.len(), 4, "three branch servers and the client API: {services:?}");
    bank.signal(Signal::KILL);
    bank.wait();
    until("every service is gone", async || services.iter().all(|(process, _)| is_gone(*process))).await;
}

#[tokio::test]
async fn ctrl_c_and_sigterm_stop_in_order_with_exit_code_0() {
    let data = tempfile::tempdir().expect("a directory");
    for signal in [Signal::INT, Signal::TERM] {
        let bank = Bank::up(data.path());
        let services = bank.services();
        bank.signal(signal);
        assert_eq!(bank.wait().code(), Some(0));
        assert!(services.iter().all(|(process, _)| is_gone(*process)), "it waits for its services");
    }
    let logs = fs::read_dir(data.path().join("logs")).expect("the logs").count();
    assert_eq!(logs, 4, "every service has a log file");
}

#[tokio::test]
async fn a_second_bank_on_the_same_data_is_refused() {
    let data = tempfile::tempdir().expect("a directory");
    let _bank = Bank::up(data.path());
    let second =
        run(&["up", "--data", &data.path().to_string_lossy(), "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(69));
    assert!(complaint(&second).ends_with("is in use by another bank; stop that one or choose another with --data"));
}

#[test]
fn a_taken_port_is_named_with_the_setting_that_moves_it_and_nothing_is_started() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = holder.local_addr().expect("an address").to_string();
    let data = tempfile::tempdir().expect("a directory");
    for (flag, other) in [("--http", "--grpc"), ("--grpc", "--http")] {
        let refused =
            run(&["--data", &data.path().to_string_lossy(), flag, &address, other, "127.0.0.1:0", "--servers", "1"]);
        assert_eq!(refused.status.code(), Some(69));
        let complaint = complaint(&refused);
        assert!(complaint.contains(&format!("{address} is in use by another program")), "{complaint}");
        assert!(complaint.ends_with(&format!("choose another with {flag}")), "{complaint}");
    }
    assert!(!data.path().join("bank.json").exists());
}

#[test]
fn wrong_settings_end_with_64_before_anything_is_touched() {
    let data = tempfile::tempdir().expect("a directory");
    fs::write(data.path().join("bank.json"), r#"{"format":1,"branches":3}"#).expect("a file");
    let directory = data.path().to_string_lossy();
    for (arguments, expected) in [
        (vec!["up", "--data", &directory, "--branches", "10"], "was founded with 3 branches, not 10"),
        (vec!["up", "--data", &directory, "--http", "0.0.0.0:5002"], "can be reached from other machines"),
        (vec!["--data", &directory, "--grpc", "192.0.2.1:50051"], "can be reached from other machines"),
    ] {
        let refused = run(&arguments);
        assert_eq!(refused.status.code(), Some(64), "{arguments:?}");
        assert!(complaint(&refused).contains(expected), "{arguments:?}");
    }
    for arguments in [vec!["up", "--servers", "0"], vec!["up", "--http", "here"], vec!["open"], vec!["--what"]] {
        assert_eq!(run(&arguments).status.code(), Some(64), "{arguments:?}");
    }
    assert_eq!(fs::read_dir(data.path()).expect("the directory").count(), 1, "only bank.json");
}

#[test]
fn data_that_this_version_cannot_read_is_left_alone() {
    let data = tempfile::tempdir().expect("a directory");
    let directory = data.path().to_string_lossy();
    for (text, code, expected) in
        [(r#"{"format":999}"#, 69, "was made by a newer version (format 999"), ("{", 65, "bank.json is damaged")]
    {
        fs::write(data.path().join("bank.json"), text).expect("a file");
        let refused = run(&["up", "--data", &directory]);
        assert_eq!(refused.status.code(), Some(code));
        assert!(complaint(&refused).contains(expected), "{}", complaint(&refused));
        assert_eq!(fs::read_to_string(data.path().join("bank.json")).expect("the file"), text);
    }
    let file = data.path().join("file");
    fs::write(&file, "").expect("a file");
    let refused = run(&["up", "--data", &file.join("below").to_string_lossy()]);
    assert_eq!(refused.status.code(), Some(69));
    assert!(complaint(&refused).contains("cannot be used"));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]);
        assert_eq!(script.status.code(), Some(0));
        let script = String::from_utf8(script.stdout).expect("text");
        assert!(script.contains("replay") && script.contains("joint"), "{shell}");
    }
}
