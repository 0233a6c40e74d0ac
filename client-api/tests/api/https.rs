//! A whole bank by TLS: HTTPS for callers, mutual TLS to the branch servers, and the plain door beside it.

use crate::certificates::{Authority, Certificate, Files};
use crate::support::{Api, answer, client, listener, parse};
use branch_server::Running;
use clap::Parser;
use reqwest::Method;
use serde_json::json;
use std::net::SocketAddr;
use tempfile::TempDir;

const HOST: &str = "localhost";

#[derive(Parser)]
struct BranchServer {
    #[command(flatten)]
    settings: branch_server::Settings,
}

/// Two branch servers that speak TLS.
struct Servers {
    directory: TempDir,
    authority: Authority,
    urls: String,
    /// They serve as long as this lives.
    _running: Vec<Running>,
}

impl Servers {
    async fn start() -> Servers {
        let directory = TempDir::new().expect("a directory");
        let authority = Authority::new();
        let files = flags("tls", &authority.issue(HOST).write(&directory.path().join("servers")));
        let listeners = [listener().await, listener().await];
        let port = |listener: &tokio::net::TcpListener| listener.local_addr().expect("an address").port();
        let urls = listeners.iter().map(|listener| format!("https://{HOST}:{}", port(listener)));
        let urls = urls.collect::<Vec<_>>().join(",");
        let store = format!("sqlite:{}", directory.path().display());
        let mut running = Vec::new();
        for (ordinal, listener) in listeners.into_iter().enumerate() {
            let ordinal = ordinal.to_string();
            let words = ["branch-server", "--store", &store, "--server-ordinal", &ordinal, "--peers", &urls];
            let words = words.into_iter().chain(files.iter().map(String::as_str));
            let settings = BranchServer::try_parse_from(words).expect("flags").settings;
            running.push(branch_server::start(settings, listener).await.expect("a branch server"));
        }
        Servers { directory, authority, urls, _running: running }
    }

    /// A client API before them that has a certificate for this host, and more flags.
    async fn api(&self, host: &str, authority: &Authority, more: &[&str]) -> Api {
        let directory = self.directory.path();
        let towards_servers = flags("tls", &authority.issue("client-api").write(&directory.join("client-api")));
        let certificate = self.authority.issue(host);
        let for_callers = flags("https", &certificate.write(&directory.join("door")));
        let words = ["--auth", "open", "--branch-servers", &self.urls, "--request-timeout-ms", "60000"];
        let words = words.into_iter().chain(towards_servers.iter().map(String::as_str));
        let words = words.chain(for_callers[..4].iter().map(String::as_str)).chain(more.iter().copied());
        Api::start_https(parse(&words.collect::<Vec<_>>()), &certificate.authority).await
    }
}

/// The flags that name files, for one end of the connection or the other.
fn flags(end: &str, files: &Files) -> [String; 6] {
    let path = |path: &std::path::Path| path.display().to_string();
    [
        format!("--{end}-certificate"),
        path(&files.certificate),
        format!("--{end}-key"),
        path(&files.key),
        format!("--{end}-authority"),
        path(&files.authority),
    ]
}

#[tokio::test]
async fn money_comes_in_by_https_and_moves_between_servers_by_mutual_tls() {
    let servers = Servers::start().await;
    let api = servers.api(HOST, &servers.authority, &[]).await;
    for branch in [1, 2] {
        let opened = api.post("/initialize_branch", json!({"branch_id": branch, "initial_balance": 1000})).await;
        assert_eq!(opened.status, 201, "{}", opened.text);
    }
    let deposit = api.post("/transaction", json!({"customer_id": 1, "type": "deposit", "amount": 5})).await;
    assert_eq!((deposit.status.as_u16(), deposit.json()["balance"].as_str()), (200, Some("1005.00")));
    let year = Some("max-age=31536000");
    assert_eq!(deposit.header("strict-transport-security"), year);
    let transfer = json!({"customer_id": 1, "type": "transfer", "amount": 25, "to_customer_id": 2});
    let transfer = api.post("/transaction", transfer).await;
    assert_eq!((transfer.status.as_u16(), transfer.json()["state"].as_str()), (200, Some("COMPLETED")));
    let payee = api.post("/transaction", json!({"customer_id": 2, "type": "query"})).await;
    assert_eq!(payee.json()["balance"], "1025.00");
    // A refusal says it too.
    assert_eq!(api.get("/nowhere").await.header("strict-transport-security"), year);
}

#[tokio::test]
async fn branch_servers_do_not_let_in_a_client_api_of_another_authority() {
    let servers = Servers::start().await;
    let api = servers.api(HOST, &Authority::new(), &[]).await;
    // It does not trust them either; both are enough.
    let refused = api.get("/readyz").await;
    assert_eq!(refused.refusal(), "503 BRANCH_UNAVAILABLE");
}

/// Branch servers that do not accept the client API, though it accepts them, say so only when it has begun to speak.
#[tokio::test]
async fn an_order_is_not_sent_to_a_server_that_does_not_accept_this_client() {
    let servers = Servers::start().await;
    let stranger = Authority::new().issue("client-api");
    let files = Certificate { authority: servers.authority.issue(HOST).authority, ..stranger };
    let directory = servers.directory.path();
    let towards_servers = flags("tls", &files.write(&directory.join("stranger")));
    let certificate = servers.authority.issue(HOST);
    let for_callers = flags("https", &certificate.write(&directory.join("door")));
    let words = ["--auth", "open", "--branch-servers", &servers.urls, "--request-timeout-ms", "1500"];
    let words = words.into_iter().chain(towards_servers.iter().map(String::as_str));
    let words = words.chain(for_callers[..4].iter().map(String::as_str));
    let api = Api::start_https(parse(&words.collect::<Vec<_>>()), &certificate.authority).await;
    let deposit = api.post("/transaction", json!({"customer_id": 1, "type": "deposit", "amount": 5})).await;
    assert_eq!(deposit.refusal(), "503 BRANCH_UNAVAILABLE", "nobody has to wonder what became of it");
}

#[tokio::test]
async fn callers_do_not_trust_a_door_that_has_another_name() {
    let servers = Servers::start().await;
    let api = servers.api("another.bank", &servers.authority, &[]).await;
    assert!(api.request(Method::GET, "/livez").send().await.is_err());
}

#[tokio::test]
async fn the_operations_door_tells_of_the_program_in_plain_http_and_moves_no_money() {
    let servers = Servers::start().await;
    let api = servers.api(HOST, &servers.authority, &["--operations-listen", "127.0.0.1:0"]).await;
    api.until_ready(200).await;
    let operations: SocketAddr = api.running.operations_address().expect("a door");
    let ask = |method: Method, path: &str| answer(client(&[]).request(method, format!("http://{operations}{path}")));
    for path in ["/livez", "/readyz", "/health", "/metrics"] {
        let answer = ask(Method::GET, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("strict-transport-security"), None, "{path}");
    }
    let metrics = ask(Method::GET, "/metrics").await.text;
    for certificate in ["tls", "https"] {
        let line = "florin_certificate_expiry_timestamp_seconds{certificate=";
        // The end of the year 4095.
        assert!(metrics.contains(&format!("{line}\"{certificate}\"}} 67090032000\n")), "{metrics}");
    }
    for (method, path) in
        [(Method::POST, "/transaction"), (Method::GET, "/v1/branches"), (Method::GET, "/docs"), (Method::GET, "/")]
    {
        assert_eq!(ask(method, path).await.refusal(), "404 NOT_FOUND", "{path}");
    }
    api.running.stop().await;
    assert!(tokio::net::TcpStream::connect(operations).await.is_err(), "it stops with the other");
}
