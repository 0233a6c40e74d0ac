//! Commands that ask a client API over HTTPS, and a bank on this machine that stays plain.

use super::certificates::Authority;
use super::support::{Bank, complaint, run};
use clap::Parser as _;
use serde_json::json;
use std::path::{Path, PathBuf};
use tokio::net::TcpListener;

#[derive(clap::Parser)]
struct ClientApi {
    #[command(flatten)]
    settings: client_api::Settings,
}

#[derive(clap::Parser)]
struct BranchServer {
    #[command(flatten)]
    settings: branch_server::Settings,
}

/// A bank whose client API speaks HTTPS as `localhost`.
struct SecureBank {
    url: String,
    authority: PathBuf,
    _server: branch_server::Running,
    _api: client_api::Running,
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

impl SecureBank {
    async fn start(directory: &Path) -> SecureBank {
        let files = Authority::new().issue("localhost").write(directory);
        let (listener, server_address) = listener().await;
        let store = format!("sqlite:{}", directory.join("data").display());
        let settings = BranchServer::parse_from(["branch-server", "--store", &store]).settings;
        let server = branch_server::start(settings, listener).await.expect("a branch server");
        let [certificate, key] = [&files.certificate, &files.key].map(|path| path.display().to_string());
        let servers = format!("http://{server_address}");
        let words = ["client-api", "--auth", "open", "--branch-servers", &servers];
        let words = words.into_iter().chain(["--https-certificate", &certificate, "--https-key", &key]);
        let (listener, address) = self::listener().await;
        let api = client_api::start(ClientApi::parse_from(words).settings, listener).await.expect("a client API");
        let url = address.replace("127.0.0.1", "https://localhost");
        SecureBank { url, authority: files.authority, _server: server, _api: api }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_speaks_https_is_asked_by_those_who_trust_its_authority() {
    let directory = tempfile::tempdir().expect("a directory");
    let bank = SecureBank::start(directory.path()).await;
    let authority = bank.authority.to_str().expect("text");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/deposits.json");
    let replayed = run(&["replay", example, "--api", &bank.url, "--authority", authority]);
    assert_eq!(replayed.status.code(), Some(0), "{}", String::from_utf8_lossy(&replayed.stderr));
    assert_eq!(replayed.stdout, run(&["replay", example]).stdout, "as in a bank of its own");
    let status = ["status", "--api", &bank.url, "--interval-ms", "1", "--json"];
    let seen = run(&[&status[..], &["--authority", authority]].concat());
    assert_eq!(seen.status.code(), Some(0), "{}", String::from_utf8_lossy(&seen.stderr));
    let (data, backups) = (directory.path().join("data"), directory.path().join("backups"));
    let [data, backups] = [&data, &backups].map(|path| path.to_str().expect("text"));
    let backed_up = run(&["backup", backups, "--data", data, "--api", &bank.url, "--authority", authority]);
    assert_eq!(backed_up.status.code(), Some(0), "{}", String::from_utf8_lossy(&backed_up.stderr));

    let other = Authority::new().issue("localhost").write(&directory.path().join("other")).authority;
    let refused = run(&[&status[..], &["--authority", other.to_str().expect("text")]].concat());
    assert_eq!(refused.status.code(), Some(69));
    assert!(complaint(&refused).contains("invalid peer certificate"), "{}", complaint(&refused));
    let plain = bank.url.replace("https:", "http:");
    let refused = run(&["status", "--api", &plain]);
    let why = "this door speaks HTTPS; ask again at https://";
    assert_eq!(complaint(&refused), format!("bankctl: no bank answers at {plain}: {why}"));
    assert_eq!(refused.status.code(), Some(69));
    let by_number = bank.url.replace("localhost", "127.0.0.1");
    let refused = run(&["status", "--api", &by_number, "--authority", authority]);
    assert!(complaint(&refused).contains("certificate not valid for name"), "{}", complaint(&refused));
}

#[test]
fn an_authority_that_cannot_be_used_ends_it_with_64() {
    let directory = tempfile::tempdir().expect("a directory");
    let (missing, empty) = (directory.path().join("missing"), directory.path().join("empty"));
    std::fs::write(&empty, "").expect("written");
    for (file, reason) in [(missing, "No such file or directory (os error 2)"), (empty, "holds no certificate in PEM")]
    {
        let file = file.to_str().expect("text");
        let refused = run(&["status", "--api", "https://localhost:9", "--authority", file]);
        assert_eq!(refused.status.code(), Some(64), "{file}");
        assert_eq!(complaint(&refused), format!("bankctl: --authority {file}: {reason}"));
    }
}

#[tokio::test]
async fn a_bank_on_this_machine_stays_plain_whatever_the_environment_says_to_services() {
    let data = tempfile::tempdir().expect("a directory");
    let variables = [
        ("TLS_CERTIFICATE", "/nowhere"),
        ("TLS_KEY", "/nowhere"),
        ("TLS_AUTHORITY", "/nowhere"),
        ("HTTPS_CERTIFICATE", "/nowhere"),
        ("HTTPS_KEY", "/nowhere"),
        ("OPERATIONS_LISTEN", "127.0.0.1:1"),
    ];
    let bank = Bank::up_with(data.path(), &variables);
    bank.post("/initialize_branch", "", json!({"branch_id": 1})).await.expect("an answer");
    assert_eq!(bank.balance(1).await, "1000.00");
}
