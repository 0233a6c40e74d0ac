//! Starts what a test needs and asks it over HTTP.

use clap::Parser;
use client_api::{Running, Settings};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// A client API that serves on a free port, and a client for it.
pub(crate) struct Api {
    pub(crate) running: Running,
    client: reqwest::Client,
    url: String,
}

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    settings: Settings,
}

/// The settings of an open client API before these branch servers, with more flags.
pub(crate) fn settings(branch_servers: &[SocketAddr], flags: &[&str]) -> Settings {
    let urls: Vec<String> = branch_servers.iter().map(|address| format!("http://{address}")).collect();
    let urls = urls.join(",");
    let auth: &[&str] = if flags.contains(&"--auth") { &[] } else { &["--auth", "open"] };
    parse(&[&["--branch-servers", &urls], auth, flags].concat())
}

/// The settings that these flags make.
pub(crate) fn parse(flags: &[&str]) -> Settings {
    CommandLine::try_parse_from([&["client-api"], flags].concat()).expect("flags").settings
}

/// A client that trusts nobody but the authorities of these certificates, in PEM.
pub(crate) fn client(authorities: &[&str]) -> reqwest::Client {
    // Whichever test of this process comes first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trusted = authorities.iter().map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()).expect("PEM"));
    reqwest::Client::builder().no_proxy().tls_certs_only(trusted).build().expect("a client")
}

pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

impl Api {
    /// Before these branch servers, with more flags.
    pub(crate) async fn start(branch_servers: &[SocketAddr], flags: &[&str]) -> Api {
        let running = client_api::start(settings(branch_servers, flags), listener().await).await.expect("a client API");
        let url = format!("http://{}", running.address());
        Api { running, client: client(&[]), url }
    }

    /// With these settings, which make it speak HTTPS as `localhost` with a certificate of this authority.
    pub(crate) async fn start_https(settings: Settings, authority: &str) -> Api {
        let running = client_api::start(settings, listener().await).await.expect("a client API");
        let url = format!("https://localhost:{}", running.address().port());
        Api { running, client: client(&[authority]), url }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A request to be sent by [`answer`].
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        answer(self.request(Method::POST, path).json(&body)).await
    }

    /// Waits until /readyz answers so.
    pub(crate) async fn until_ready(&self, status: u16) {
        while self.get("/readyz").await.status.as_u16() != status {
            tokio::task::yield_now().await;
        }
    }

    /// Under an Idempotency-Key.
    pub(crate) async fn post_as(&self, key: &str, path: &str, body: Value) -> Answer {
        answer(self.request(Method::POST, path).header("Idempotency-Key", key).json(&body)).await
    }

    /// With exactly these bytes as application/json.
    pub(crate) async fn post_bytes(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        answer(self.request(Method::POST, path).header("Content-Type", "application/json").body(body)).await
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    read(request.send().await.expect("an answer")).await
}

async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, text: response.text().await.expect("a body") }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("visible text"))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or("no code").to_owned()
    }

    /// Status, then the body with everything that differs from run to run replaced.
    pub(crate) fn summary(&self) -> String {
        let mut body = self.json();
        redact(&mut body);
        format!("{} {body:#}", self.status.as_u16())
    }

    /// Checks what every refusal has, and gives status, code and field in one line.
    pub(crate) fn refusal(&self) -> String {
        let body = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{body}");
        assert_eq!(body["status"], self.status.as_u16(), "{body}");
        assert_eq!((&body["success"], &body["result"]), (&Value::from(false), &Value::from("failure")), "{body}");
        assert!(body["type"].is_string() && body["title"].is_string() && body["detail"].is_string(), "{body}");
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{body}");
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"), "{body}");
        for words in ["invalid type", "invalid value", "`, expected", "unknown variant", "line 1 column", "page_token"]
        {
            assert!(!body["detail"].to_string().contains(words), "not our words: {body}");
        }
        let field = body["field"].as_str().map(|field| format!(" {field}")).unwrap_or_default();
        format!("{} {}{field}", self.status.as_u16(), self.code())
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| match name.as_str() {
            "transaction_id" | "request_id" | "booked_at" | "ended_at" | "opened_at" | "as_of" | "next_cursor"
                if value.is_string() =>
            {
                *value = Value::from(format!("[{name}]"));
            }
            _ => redact(value),
        }),
        Value::Array(values) => values.iter_mut().for_each(redact),
        _ => {}
    }
}
