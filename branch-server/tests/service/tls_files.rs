//! Certificates as files: replaced while a server runs, wrong from the start, and the plain port beside TLS.

use crate::bank::{deposit, initialize, settings};
use crate::certificates::Authority;
use crate::secure_bank::{HOST, SecureBank, channel, listener};
use crate::transfers::balance;
use bank_proto::tls::RENEWAL_INTERVAL;
use bank_proto::wire::bank_service_client::BankServiceClient;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Lets so much time pass that the servers look at their files.
async fn until_files_are_looked_at() {
    tokio::time::pause();
    tokio::time::advance(RENEWAL_INTERVAL + Duration::from_secs(1)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn new_certificates_are_used_for_new_connections_and_old_connections_go_on() {
    let bank = SecureBank::start().await;
    let mut old = bank.client();
    old.initialize_branch(initialize(1)).await.expect("opened");
    // Another authority altogether, so that neither side takes the old for the new.
    let other = Authority::new();
    let caller = other.issue("client-api").write(&bank.directory.path().join("new-caller"));
    let replaced = other.issue(HOST);
    let mut new = BankServiceClient::new(channel(&bank.url(0), &caller));
    assert!(new.deposit(deposit(1, "1")).await.is_err(), "not yet");
    replaced.write(bank.files.certificate.parent().expect("a directory"));
    until_files_are_looked_at().await;
    while new.deposit(deposit(1, "5")).await.is_err() {
        tokio::task::yield_now().await;
    }
    old.deposit(deposit(1, "7")).await.expect("the old connection goes on");
    assert_eq!(balance(&mut new, 1).await, "1012.00");
    assert!(bank.client().deposit(deposit(1, "1")).await.is_err(), "no new connection with the old certificates");
    // Calls to the other server, whose certificates were replaced too, are made with the new ones.
    while new.initialize_branch(initialize(2)).await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// Exit code and what was said by the program with these arguments.
async fn outcome(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_branch-server")).args(arguments).env_clear().output().await;
    let output = output.expect("the program runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[tokio::test]
async fn files_and_addresses_that_cannot_work_end_it_with_64_and_one_sentence() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let authority = Authority::new();
    let files = authority.issue(HOST).write(directory.path());
    authority.issue(HOST).write(&directory.path().join("other"));
    std::fs::write(at("empty"), "").expect("written");
    std::fs::write(at("broken"), "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").expect("written");
    let [certificate, key, authority] =
        [&files.certificate, &files.key, &files.authority].map(|path| path.display().to_string());
    let (empty, missing, broken, other_key) = (at("empty"), at("missing"), at("broken"), at("other/tls.key"));
    let data = format!("sqlite:{}", at("data"));
    let together = "--tls-certificate, --tls-key and --tls-authority belong together";
    for (files, peers, expected) in [
        ([Some(&certificate), None, None], None, format!("{together}; --tls-key is missing")),
        ([None, Some(&key), Some(&authority)], None, format!("{together}; --tls-certificate is missing")),
        ([Some(&certificate), Some(&key), None], None, format!("{together}; --tls-authority is missing")),
        (
            [Some(&certificate), Some(&missing), Some(&authority)],
            None,
            format!("--tls-key {missing}: No such file or directory (os error 2)"),
        ),
        (
            [Some(&empty), Some(&key), Some(&authority)],
            None,
            format!("--tls-certificate {empty}: holds no certificate in PEM"),
        ),
        (
            [Some(&certificate), Some(&certificate), Some(&authority)],
            None,
            format!("--tls-key {certificate}: holds no private key in PEM"),
        ),
        (
            [Some(&certificate), Some(&other_key), Some(&authority)],
            None,
            "--tls-key is not the key of --tls-certificate".to_owned(),
        ),
        (
            [Some(&certificate), Some(&key), Some(&key)],
            None,
            format!("--tls-authority {key}: holds no certificate in PEM"),
        ),
        (
            [Some(&certificate), Some(&key), Some(&broken)],
            None,
            format!("--tls-authority {broken}: holds a certificate that cannot be read: BadEncoding"),
        ),
        (
            [Some(&certificate), Some(&key), Some(&authority)],
            Some("https://a:1,http://b:1"),
            "--peers: `http://b:1` is plain; with --tls-certificate every address begins with https://".to_owned(),
        ),
        (
            [Some(&certificate), Some(&key), Some(&authority)],
            Some("https://a:1,b:1"),
            "--peers: `b:1` is plain; with --tls-certificate every address begins with https://".to_owned(),
        ),
        (
            [None, None, None],
            Some("http://a:1,https://b:1"),
            "--peers: `https://b:1` needs --tls-certificate, --tls-key and --tls-authority".to_owned(),
        ),
    ] {
        let mut arguments = vec!["--listen", "127.0.0.1:0", "--store", &data];
        for (flag, file) in ["--tls-certificate", "--tls-key", "--tls-authority"].into_iter().zip(&files) {
            arguments.extend(file.iter().flat_map(|file| [flag, file.as_str()]));
        }
        arguments.extend(peers.iter().flat_map(|peers| ["--peers", peers]));
        assert_eq!(outcome(&arguments).await, (Some(64), format!("branch-server: {expected}\n")), "{arguments:?}");
    }
    assert!(!Path::new(&at("data")).exists(), "nothing was touched");
}

/// Status line and body.
async fn page(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let question = format!("GET {path} HTTP/1.1\r\nhost: bank\r\nconnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operations_port_tells_of_the_server_and_moves_no_money() {
    let on_any_port = |settings: &mut branch_server::Settings| {
        settings.operations_listen = Some(([127, 0, 0, 1], 0).into());
    };
    let mut bank = SecureBank::start_with(on_any_port).await;
    let address = bank.servers[0].operations_address().expect("a port");
    assert_ne!(address, bank.servers[0].address());
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(page(address, path).await.0, "HTTP/1.1 200 OK", "{path}");
    }
    let metrics = page(address, "/metrics").await.1;
    assert!(metrics.contains("florin_branch_state"), "{metrics}");
    let expiry = "florin_certificate_expiry_timestamp_seconds{certificate=\"tls\"} 67090032000\n";
    assert!(metrics.contains(expiry), "the end of the year 4095: {metrics}");
    let url = format!("http://{address}");
    for service in ["", "liveness", "bank.v1.BankService"] {
        let channel = Endpoint::from_shared(url.clone()).expect("a url").connect().await.expect("a connection");
        let mut health = HealthClient::new(channel);
        let question = HealthCheckRequest { service: service.to_owned() };
        assert_eq!(health.check(question).await.expect("an answer").into_inner().status, 1, "{service}");
    }
    let mut client = BankServiceClient::connect(url).await.expect("a connection");
    let refused = client.initialize_branch(initialize(1)).await.expect_err("refused");
    assert_eq!(crate::bank::code(&refused), Some(bank_proto::ErrorCode::UnknownMethod));
    let listen = ["--listen", "127.0.0.1:1", "--operations-listen", &address.to_string(), "healthy"];
    assert_eq!(outcome(&listen).await, (Some(0), String::new()), "it is asked where it answers without TLS");
    let no_port = ["--tls-certificate", "a", "--tls-key", "b", "--tls-authority", "c", "healthy"];
    let said = "branch-server: healthy asks without TLS; give the server, and it, --operations-listen\n".to_owned();
    assert_eq!(outcome(&no_port).await, (Some(64), said));
    bank.servers.remove(0).stop().await;
    assert!(TcpStream::connect(address).await.is_err(), "it stops with its server");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operations_port_is_there_without_tls_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let settings = branch_server::Settings {
        store: branch_server::Store::Sqlite(directory.path().to_owned()),
        operations_listen: Some(([127, 0, 0, 1], 0).into()),
        ..settings()
    };
    let server = branch_server::start(settings, listener().await).await.expect("a server");
    assert_eq!(page(server.operations_address().expect("a port"), "/readyz").await.0, "HTTP/1.1 200 OK");
    assert_eq!(page(server.address(), "/readyz").await.0, "HTTP/1.1 200 OK");
    server.stop().await;
}
