//! The HTTPS door: handshakes that fail, stall or come in crowds, plain speech, certificates that are replaced
//! meanwhile, and the drain.

use crate::certificates::Authority;
use crate::scripted::{Scripted, later, receipt};
use crate::support::{Api, answer, client, settings};
use bank_proto::tls::{HANDSHAKE_TIMEOUT, RENEWAL_INTERVAL, SILENCE_TIMEOUT};
use reqwest::Method;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A client API with HTTPS before a scripted branch server.
struct Door {
    api: Api,
    branch: Scripted,
    authority: String,
    files: TempDir,
}

impl Door {
    async fn open(branch: Scripted, flags: &[&str]) -> Door {
        let directory = TempDir::new().expect("a directory");
        let certificate = Authority::new().issue("localhost");
        let files = certificate.write(directory.path());
        let [file, key] = [&files.certificate, &files.key].map(|path| path.display().to_string());
        let flags = [&["--https-certificate", &file, "--https-key", &key], flags].concat();
        let api = Api::start_https(settings(&[branch.address], &flags), &certificate.authority).await;
        Door { api, branch, authority: certificate.authority, files: directory }
    }

    /// As a caller comes who knows these protocols.
    async fn connect(&self, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).expect("PEM")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, self.plain().await).await
    }

    async fn plain(&self) -> TcpStream {
        TcpStream::connect(self.api.running.address()).await.expect("a connection")
    }
}

/// All that is said until the end, whichever way it comes.
async fn rest(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn http_1_1_is_agreed_on_with_whoever_knows_it() {
    let door = Door::open(Scripted::start(receipt).await, &[]).await;
    for (known, agreed) in [(&["h2", "http/1.1"][..], Some(&b"http/1.1"[..])), (&["http/1.1"], Some(b"http/1.1"))] {
        let stream = door.connect(known).await.expect("a connection");
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed, "{known:?}");
    }
    assert_eq!(door.connect(&[]).await.expect("a connection").get_ref().1.alpn_protocol(), None);
    let refused = door.connect(&["h2"]).await.expect_err("refused").to_string();
    assert_eq!(refused, "received fatal alert: NoApplicationProtocol");
}

#[tokio::test]
async fn who_speaks_plain_http_is_told_that_this_door_speaks_https() {
    let door = Door::open(Scripted::start(receipt).await, &[]).await;
    for request in [
        "GET /livez HTTP/1.1\r\nHost: florin\r\n\r\n",
        "POST /transaction HTTP/1.1\r\nHost: florin\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let mut plain = door.plain().await;
        plain.write_all(request.as_bytes()).await.expect("sent");
        // One answer, and then the end, though more could be asked.
        let text = rest(plain).await;
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        assert!(text.contains("\"detail\":\"this door speaks HTTPS; ask again at https://\""), "{text}");
        assert!(text.contains("\r\nx-request-id: ") && !text.contains("strict-transport-security"), "{text}");
    }
    let mut plain = door.plain().await;
    plain.write_all(b"hello\r\n\r\n").await.expect("sent");
    let text = rest(plain).await;
    assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("not an HTTP/1.1 request"), "{text}");
    assert_eq!(door.branch.asked(0).await.len(), 0);
}

#[tokio::test]
async fn what_is_no_http_inside_tls_is_refused_in_the_banks_own_words() {
    let door = Door::open(Scripted::start(receipt).await, &[]).await;
    let mut stream = door.connect(&[]).await.expect("a connection");
    let good = "GET /livez HTTP/1.1\r\nHost: florin\r\n\r\n";
    stream.write_all(format!("{good}hello\r\n\r\n").as_bytes()).await.expect("sent");
    let text = rest(stream).await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("not an HTTP/1.1 request"), "{text}");
}

#[tokio::test]
async fn who_writes_all_before_reading_still_reads_why_it_is_refused() {
    let door = Door::open(Scripted::start(receipt).await, &[]).await;
    let mut stream = door.connect(&[]).await.expect("a connection");
    let head = "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 16777216\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&vec![b' '; 16 * 1024 * 1024]).await.expect("sent");
    let text = rest(stream).await;
    assert!(text.starts_with("HTTP/1.1 404 ") && text.ends_with('}'), "{text}");
}

#[tokio::test]
async fn a_handshake_that_stalls_is_ended_and_holds_nobody_up() {
    let door = Door::open(Scripted::start(receipt).await, &[]).await;
    for (begun, timeout) in [(&b""[..], SILENCE_TIMEOUT), (&[22, 3, 1, 2, 0], HANDSHAKE_TIMEOUT)] {
        let mut stalled = door.plain().await;
        stalled.write_all(begun).await.expect("sent");
        assert_eq!(door.api.get("/livez").await.status, 200, "others are served meanwhile");
        let before = tokio::time::Instant::now();
        // From here on time passes as fast as nothing happens.
        tokio::time::pause();
        assert_eq!(rest(stalled).await, "", "closed");
        let waited = before.elapsed();
        tokio::time::resume();
        assert!(waited >= timeout - Duration::from_secs(1), "{waited:?}");
        assert!(waited <= timeout + Duration::from_secs(1), "{waited:?}");
    }
}

#[tokio::test]
async fn handshakes_count_as_connections_and_probes_come_through_beside_them() {
    let door = Door::open(Scripted::start(receipt).await, &["--max-connections", "1"]).await;
    let _stalled = door.plain().await;
    let deposit = json!({"customer_id": 1, "type": "deposit", "amount": 1});
    // Until it is accepted there may be a place.
    while door.api.post("/transaction", deposit.clone()).await.status != 503 {
        tokio::task::yield_now().await;
    }
    assert_eq!(door.api.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_stop_lets_requests_in_work_finish_and_begins_no_more() {
    let go = watch::Sender::new(false);
    let gate = go.subscribe();
    let branch = Scripted::start(move |operation| later(gate.clone(), receipt(operation))).await;
    let door = Door::open(branch, &[]).await;
    let body = json!({"customer_id": 1, "type": "deposit", "amount": 1});
    let waiting = tokio::spawn(answer(door.api.request(Method::POST, "/transaction").json(&body)));
    door.branch.asked(1).await;
    let idle = door.connect(&[]).await.expect("a connection");
    let in_handshake = door.plain().await;

    let stopping = tokio::spawn(door.api.running.stop());
    // An idle connection is closed, and so is one that has not come through its handshake; then the branch answers.
    assert_eq!((rest(idle).await, rest(in_handshake).await), (String::new(), String::new()));
    assert!(!stopping.is_finished());
    go.send_replace(true);

    assert_eq!(waiting.await.expect("no panic").status, 200);
    stopping.await.expect("no panic");
}

#[tokio::test]
async fn new_certificates_are_shown_to_new_callers_while_old_connections_go_on() {
    let go = watch::Sender::new(false);
    let gate = go.subscribe();
    let branch = Scripted::start(move |operation| later(gate.clone(), receipt(operation))).await;
    let door = Door::open(branch, &["--request-timeout-ms", "60000"]).await;
    let body = json!({"customer_id": 1, "type": "deposit", "amount": 1});
    let waiting = tokio::spawn(answer(door.api.request(Method::POST, "/transaction").json(&body)));
    door.branch.asked(1).await;
    let replaced = Authority::new().issue("localhost");
    replaced.write(door.files.path());
    let new = client(&[&replaced.authority]);
    assert!(new.get(door.api.url("/livez")).send().await.is_err(), "not yet");
    tokio::time::pause();
    tokio::time::advance(RENEWAL_INTERVAL + Duration::from_secs(1)).await;
    tokio::time::resume();
    while new.get(door.api.url("/livez")).send().await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(door.connect(&[]).await.is_err(), "the old one is shown to nobody new");
    go.send_replace(true);
    assert_eq!(waiting.await.expect("no panic").status, 200);
}
