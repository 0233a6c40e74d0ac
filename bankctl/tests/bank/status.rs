//! What `bankctl status` shows of a bank that runs, of one with a branch that does not serve, and of none.

use super::payers::open_bank;
use super::support::{Bank, complaint, run, until};
use axum::{Json, Router};
use clap::Parser as _;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tokio::net::TcpListener;

fn status(bank: &Bank) -> (Option<i32>, Value) {
    let output = run(&["status", "--api", &bank.http, "--interval-ms", "1", "--json"]);
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[tokio::test]
async fn the_whole_bank_is_seen_at_a_glance() {
    let data = tempfile::tempdir().expect("a directory");
    let bank = Bank::up(data.path());
    open_bank(&bank.door()).await;

    let (code, told) = status(&bank);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!((&told["healthy"], &told["audit"]["violations"]), (&json!(true), &json!([])));
    let servers = told["servers"].as_array().expect("servers");
    assert_eq!(servers.len(), 3);
    assert!(servers.iter().all(|server| server["takes_orders"] == true && server["reached"] == true), "{told}");
    let third = &told["branches"][3];
    assert_eq!((&third["branch_id"], &third["server"], &third["state"]), (&json!(4), &json!(0), &json!("open")));
    assert_eq!((&third["sent_under_way"], &third["coming_under_way"]), (&json!(0), &json!(0)));
    let people = run(&["status", "--api", &bank.http, "--interval-ms", "1"]);
    let said = String::from_utf8(people.stdout).expect("text");
    assert!(said.contains("checking: 10000.00 USD in credit, 0.00 overdrawn, 10 accounts"), "{said}");
    assert!(!said.contains("capital"), "the bank's own accounts are not the customers': {said}");
    assert!(said.contains("servers: 3 of 3 reached"), "{said}");
    assert!(said.contains("free on its disk") && !said.contains("FULL"), "{said}");

    // A server stands still: its branches are away, and so are the books of the whole bank.
    let server = bank.service("--server-ordinal 1").expect("a server");
    kill_process(server, Signal::STOP).expect("stopped");
    let mut seen = (None, Value::Null);
    until("the branches of the server are missed", async || {
        seen = status(&bank);
        seen.1["branches"][1]["state"] == "unreachable"
    })
    .await;
    kill_process(server, Signal::CONT).expect("continued");
    let (code, told) = seen;
    assert_eq!(code, Some(1));
    assert_eq!((&told["healthy"], &told["lines"]), (&json!(false), &Value::Null));
    assert_eq!((&told["branches"][0]["state"], &told["branches"][2]["state"]), (&json!("open"), &json!("open")));
}

#[test]
fn without_a_bank_it_says_so() {
    let output = run(&["status", "--api", "http://127.0.0.1:9"]);
    assert_eq!(output.status.code(), Some(69));
    assert_eq!(complaint(&output), "bankctl: no bank answers at http://127.0.0.1:9: Connection refused (os error 111)");
}

/// Somebody who answers every question with this, and where.
async fn who_answers(answer: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(async move || Json(answer));
    tokio::spawn(async { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_tells_of_no_branches_is_no_bank() {
    let nothing = "/health answers 200 and tells of no branches";
    for (answer, why) in [
        (json!({"status": "healthy"}), nothing),
        (json!([]), nothing),
        (json!({"branches": {}, "detail": 7}), nothing),
        (json!({"status": 404, "detail": "no such page"}), "no such page"),
    ] {
        let url = who_answers(answer).await;
        for format in [&["--json"][..], &[]] {
            let output = run(&[&["status", "--api", &url, "--interval-ms", "1"], format].concat());
            assert_eq!(complaint(&output), format!("bankctl: no bank answers at {url}: {why}"));
            assert_eq!((output.status.code(), &output.stdout[..]), (Some(69), &b""[..]));
        }
    }
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    settings: client_api::Settings,
}

/// What `bankctl status` says of the books at this address.
fn said_of_books(url: &str) -> String {
    let output = run(&["status", "--api", url, "--interval-ms", "1"]);
    assert_eq!(output.status.code(), Some(1), "no branch is reached");
    let said = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("books: ")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    lines[0].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_shown_no_books_is_told_why() {
    let start = async |auth: &str| {
        let nobody = ["--branch-servers", "http://127.0.0.1:9", "--request-timeout-ms", "500"];
        let words = ["client-api", "--auth", auth, "--operations-listen", "127.0.0.1:0"].into_iter().chain(nobody);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        client_api::start(Line::parse_from(words).settings, listener).await.expect("a client API")
    };
    let (open, closed) = (start("open").await, start("required").await);
    let operations = closed.operations_address().expect("a second door");
    for (address, expected) in [
        (open.address(), "books: not known while a branch is away"),
        (closed.address(), "books: not shown to those who have not signed in"),
        (operations, "books: not told at this port"),
    ] {
        assert_eq!(said_of_books(&format!("http://{address}")), expected);
    }
}
