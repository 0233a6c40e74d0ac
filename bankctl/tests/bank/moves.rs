//! A bank on servers with disks of their own gets one server more while everybody pays, and loses it again; the new
//! server is killed while branches move to it. Then every cent is where it belongs.

use super::payers::{check, open_bank, pay_while};
use super::support::{complaint, run};
use super::volumes::Volumes;
use rustix::process::Signal;
use serde_json::{Value, json};

/// So many more transfers are answered between two steps.
const ANSWERED: u64 = 100;

#[tokio::test]
async fn a_bank_grows_by_a_server_and_shrinks_again_while_everybody_pays() {
    let mut bank = Volumes::open().await;
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
