//! Backups of a bank that goes on meanwhile, and banks out of them.

use super::certificates::{Authority, Files};
use super::payers::{CUSTOMERS, OPENING_CENTS, open_bank, pay_while};
use super::support::{Bank, Door, complaint, run, until};
use super::volumes::Volumes;
use clap::Parser as _;
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn back_up(backups: &Path, data: &Path, api: &str) -> Value {
    let output = run(&["backup", text(backups), "--data", text(data), "--api", api, "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn restore(backups: &Path, data: &Path, more: &[&str]) -> Output {
    run(&[&["restore", text(backups), "--data", text(data)], more].concat())
}

/// What all customers have together, when nothing is under way any more.
async fn all_money(bank: &Door) -> i64 {
    until("nothing is under way", async || {
        let books = bank.client.get(format!("{}/v1/trial-balance", bank.http)).send().await;
        let books: Value = books.expect("an answer").json().await.expect("JSON");
        let in_flight = books["in_flight"].as_array();
        in_flight.is_some_and(|lines| lines.iter().all(|line| line["amount"] == "0.00"))
    })
    .await;
    let mut sum = 0;
    for customer in 1..=CUSTOMERS {
        sum += bank.balance(customer).await.replace('.', "").parse::<i64>().expect("a balance");
    }
    sum
}

#[tokio::test]
async fn a_bank_comes_back_as_of_any_backup_that_was_taken_while_it_ran() {
    let place = tempfile::tempdir().expect("a directory");
    let [data, backups, new, older] = ["data", "backups", "new", "older"].map(|name| place.path().join(name));
    let mut bank = Bank::up(&data);
    open_bank(&bank.door()).await;
    let (mut orders, api) = (Vec::new(), bank.http.clone());
    let mut taken = Vec::new();
    pay_while(&bank.door(), &mut orders, 0, async |answered| {
        for _ in 0..3 {
            answered.more(200).await;
            let (backups, data, api) = (backups.clone(), data.clone(), api.clone());
            // Beside the payers, not instead of them.
            let backup = tokio::task::spawn_blocking(move || back_up(&backups, &data, &api));
            taken.push(backup.await.expect("a backup"));
        }
    })
    .await;
    bank.kill_everything();

    // Each added only what was new, and something was.
    let number = |backup: &Value, name: &str| backup[name].as_u64().expect("a number");
    let added: u64 = taken.iter().map(|backup| number(backup, "added")).sum();
    assert_eq!(added, number(&taken[2], "rows"));
    assert!(taken.iter().all(|backup| number(backup, "added") > 0), "{taken:?}");

    for (data, more) in [(&new, vec![]), (&older, vec!["--token", taken[0]["token"].as_str().expect("a token")])] {
        let restored = restore(&backups, data, &more);
        assert_eq!(restored.status.code(), Some(0), "{}", String::from_utf8_lossy(&restored.stderr));
        let bank = Bank::up(data);
        assert_eq!(all_money(&bank.door()).await, OPENING_CENTS * i64::try_from(CUSTOMERS).expect("small"));
        drop(bank);
        let verified = run(&["verify", "--data", text(data)]);
        assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    }
    // The killed bank is backed up by its journals alone, and what it had said is in there.
    let last = back_up(&backups, &data, "http://127.0.0.1:9");
    assert!(number(&last, "rows") > number(&taken[2], "rows"));
}

#[tokio::test]
async fn what_does_not_fit_is_not_restored() {
    let place = tempfile::tempdir().expect("a directory");
    let [data, backups, new] = ["data", "backups", "new"].map(|name| place.path().join(name));
    let bank = Bank::up(&data);
    open_bank(&bank.door()).await;

    let unreachable = run(&["backup", text(&backups), "--data", text(&data), "--api", "http://127.0.0.1:9"]);
    assert_eq!(unreachable.status.code(), Some(69));
    assert!(complaint(&unreachable).contains("name its client API with --api, or stop the bank"));
    let nothing = restore(&backups, &new, &[]);
    assert_eq!(nothing.status.code(), Some(69));
    assert!(complaint(&nothing).contains("there are no backups"));

    let token = back_up(&backups, &data, &bank.http)["token"].as_str().expect("a token").to_owned();
    drop(bank);
    for (more, code, says) in [
        (vec!["--token", "1.2"], 64, format!("there are: {token} (20")),
        (vec![], 64, "is not empty; restore into a new directory".to_owned()),
        (vec!["--branch", "11"], 64, "this bank has no branch 11".to_owned()),
        (vec!["--branch", "3"], 64, "move it away first".to_owned()),
    ] {
        let refused = restore(&backups, &data, &more);
        assert_eq!(refused.status.code(), Some(code), "{more:?}");
        assert!(complaint(&refused).contains(&says), "{more:?}: {}", complaint(&refused));
    }

    // One branch that was lost comes back alone.
    std::fs::remove_dir_all(data.join("branch-0003")).expect("lost");
    assert_eq!(restore(&backups, &data, &["--branch", "3"]).status.code(), Some(0));
    assert_eq!(run(&["verify", "--data", text(&data)]).status.code(), Some(0));

    // Backups of another bank do not mix with these.
    let other = place.path().join("other");
    let bank = Bank::up(&other);
    open_bank(&bank.door()).await;
    let mixed = run(&["backup", text(&backups), "--data", text(&other), "--api", &bank.http]);
    assert_eq!(mixed.status.code(), Some(69));
    assert!(complaint(&mixed).contains("is the copy of another journal"), "{}", complaint(&mixed));

    // A copy in which somebody changed an amount proves nothing, and leaves nothing behind.
    let journal = rusqlite::Connection::open(backups.join("journals/branch-0003/journal.db")).expect("the copy");
    let change = "DROP TRIGGER journal_is_never_updated; UPDATE journal SET amount = amount + 1 WHERE sequence = 2";
    journal.execute_batch(change).expect("changed");
    let damaged = restore(&backups, &new, &[]);
    assert_eq!(damaged.status.code(), Some(1));
    assert!(complaint(&damaged).contains("nothing was restored: branch 3"), "{}", complaint(&damaged));
    assert!(!new.exists());

    // So it is on a new volume, which is not quite empty.
    std::fs::create_dir_all(new.join("lost+found")).expect("a directory");
    assert_eq!(restore(&backups, &new, &[]).status.code(), Some(1));
    // A server does not start on what an interrupted restore has left.
    std::fs::create_dir(new.join("restoring")).expect("a directory");
    let store = format!("sqlite:{}", text(&new));
    let started = run(&["branch-server", "--listen", "127.0.0.1:0", "--store", &store]);
    assert_eq!(started.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&started.stderr).contains("a restore into it is under way, or was interrupted"));
    let again = restore(&backups, &new, &[]);
    assert!(complaint(&again).contains("is left from a restore that was interrupted"), "{}", complaint(&again));
    std::fs::remove_dir(new.join("restoring")).expect("removed");
    let left: Vec<_> =
        std::fs::read_dir(&new).expect("a directory").map(|entry| entry.expect("one").file_name()).collect();
    assert_eq!(left, ["lost+found"]);
}

/// Takes a backup through a branch server, and says what it says.
fn back_up_through(backups: &Path, server: &str, more: &[&str]) -> Output {
    run(&[&["backup", text(backups), "--server", server, "--json"], more].concat())
}

#[tokio::test]
async fn a_bank_on_several_disks_is_backed_up_through_a_server_and_restored_onto_one_of_them() {
    let place = tempfile::tempdir().expect("a directory");
    let backups = place.path().join("backups");
    let mut bank = Volumes::open().await;
    open_bank(&bank.door()).await;
    let (mut orders, address) = (Vec::new(), bank.address(1));
    let mut taken: Vec<Value> = Vec::new();
    pay_while(&bank.door(), &mut orders, 0, async |answered| {
        for _ in 0..2 {
            answered.more(200).await;
            let (backups, address) = (backups.clone(), address.clone());
            // Beside the payers, not instead of them.
            let backup =
                tokio::task::spawn_blocking(move || back_up_through(&backups, &address, &["--keep-days", "7"]));
            let backup = backup.await.expect("a backup");
            assert_eq!(backup.status.code(), Some(0), "{}", String::from_utf8_lossy(&backup.stderr));
            taken.push(serde_json::from_slice(&backup.stdout).expect("JSON"));
        }
    })
    .await;
    let number = |backup: &Value, name: &str| backup[name].as_u64().expect("a number");
    assert_eq!(number(&taken[0], "added"), number(&taken[0], "rows"));
    assert_eq!(number(&taken[1], "added"), number(&taken[1], "rows") - number(&taken[0], "rows"));
    assert_eq!(number(&taken[1], "forgotten"), 0);

    // Both disks are lost. All of it comes back on one, and the other server gets its branches from there.
    for server in [0, 1] {
        bank.end(server, Signal::KILL);
        std::fs::remove_dir_all(bank.data(server)).expect("lost");
    }
    // As the root of a new volume is.
    std::fs::create_dir_all(bank.data(0).join("lost+found")).expect("a directory");
    let restored = restore(&backups, &bank.data(0), &[]);
    assert_eq!(restored.status.code(), Some(0), "{}", String::from_utf8_lossy(&restored.stderr));
    // In this order: a server that comes first must not found what it has not.
    bank.start(2);
    bank.start(1);
    bank.start(0);
    assert_eq!(bank.servers_of_branches().await, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
    assert_eq!(all_money(&bank.door()).await, OPENING_CENTS * i64::try_from(CUSTOMERS).expect("small"));
    for server in [0, 1] {
        bank.end(server, Signal::TERM);
    }
    let [first, second] = [0, 1].map(|server| bank.verify(server));
    for branch in 0..10 {
        let verdicts = [&first, &second].map(|verified| verified["branches"][branch]["verdict"].clone());
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == "agrees").count(), 1, "{verdicts:?}");
    }
}

#[tokio::test]
async fn a_backup_through_a_server_says_what_is_in_its_way() {
    let place = tempfile::tempdir().expect("a directory");
    let backups = place.path().join("backups");
    for (url, code, says) in [
        ("http://127.0.0.1:9", 69, "no branch server answers at http://127.0.0.1:9"),
        ("127.0.0.1:9", 64, "is not an address such as"),
        ("ftp://127.0.0.1:9", 64, "is not an address such as"),
    ] {
        let refused = back_up_through(&backups, url, &[]);
        assert_eq!(refused.status.code(), Some(code), "{url}");
        assert!(complaint(&refused).contains(says), "{}", complaint(&refused));
    }
    assert!(!backups.exists(), "nothing was begun");

    let mut bank = Volumes::open().await;
    open_bank(&bank.door()).await;
    bank.end(0, Signal::KILL);
    let refused = back_up_through(&backups, &bank.address(1), &[]);
    assert_eq!(refused.status.code(), Some(69));
    assert!(
        complaint(&refused).contains("names no moment of all its branches")
            || complaint(&refused).contains("no branch server answers"),
        "{}",
        complaint(&refused)
    );

    // The same directory, by its files and through a server: it is one bank.
    bank.start(0);
    bank.servers_of_branches().await;
    let whole = back_up_through(&backups, &bank.address(0), &[]);
    assert_eq!(whole.status.code(), Some(0), "{}", String::from_utf8_lossy(&whole.stderr));
    let http = back_up_through(&backups, &bank.door().http, &[]);
    assert_eq!(http.status.code(), Some(69), "that is the client API");
    let other = place.path().join("other");
    let another = Bank::up(&other);
    open_bank(&another.door()).await;
    let mixed = run(&["backup", text(&backups), "--data", text(&other), "--api", &another.http]);
    assert_eq!(mixed.status.code(), Some(69));
    assert!(complaint(&mixed).contains("is the copy of another journal"), "{}", complaint(&mixed));
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    settings: branch_server::Settings,
}

/// The three flags that name a certificate's files.
fn tls_flags(files: &Files) -> Vec<String> {
    let flag = |name: &str, path: &Path| format!("--tls-{name}={}", path.display());
    vec![flag("certificate", &files.certificate), flag("key", &files.key), flag("authority", &files.authority)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_with_tls_is_backed_up_by_who_has_a_certificate() {
    let place = tempfile::tempdir().expect("a directory");
    let backups = place.path().join("backups");
    let authority = Authority::new();
    let files = |authority: &Authority, host: &str, name: &str| authority.issue(host).write(&place.path().join(name));
    let server = files(&authority, "localhost", "server");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    let store = format!("sqlite:{}", place.path().join("data").display());
    let words = ["branch-server", "--branches", "2", "--peers", &url, "--store", &store].map(str::to_owned);
    let settings = Line::parse_from(words.into_iter().chain(tls_flags(&server))).settings;
    let running = branch_server::start(settings, listener).await.expect("a server");

    let back_up = async |flags: Vec<String>| {
        let (backups, url) = (backups.clone(), url.clone());
        let run = move || back_up_through(&backups, &url, &flags.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await.expect("it runs")
    };
    let own = back_up(tls_flags(&files(&authority, "backup", "own"))).await;
    assert_eq!(own.status.code(), Some(0), "{}", String::from_utf8_lossy(&own.stderr));
    let none = back_up(vec![]).await;
    assert_eq!(none.status.code(), Some(64));
    assert!(complaint(&none).contains("say --tls-certificate, --tls-key and --tls-authority"), "{}", complaint(&none));
    let plain = run(&[
        &["backup", text(&backups), "--server", "http://127.0.0.1:9"][..],
        &tls_flags(&server).iter().map(String::as_str).collect::<Vec<_>>(),
    ]
    .concat());
    assert_eq!(plain.status.code(), Some(64));
    assert!(complaint(&plain).contains("would be asked without TLS"), "{}", complaint(&plain));
    let other = back_up(tls_flags(&files(&Authority::new(), "backup", "other"))).await;
    assert_eq!(other.status.code(), Some(69));
    assert!(complaint(&other).contains("no branch server answers"), "{}", complaint(&other));
    running.stop().await;
}
