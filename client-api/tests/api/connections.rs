//! Sockets, limits, the drain.

use crate::scripted::{Act, Scripted, later, receipt};
use crate::support::{Api, answer};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

async fn connect(api: &Api) -> TcpStream {
    TcpStream::connect(api.running.address()).await.expect("a connection")
}

/// Reads one answer's status line and waits until the server closes or the answer is whole.
async fn status_line(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.windows(2).any(|end| end == b"\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.expect("bytes") == 0 {
            break;
        }
        text.push(byte[0]);
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}

const HEAD: &str = "POST /transaction HTTP/1.1\r\nHost: florin\r\nContent-Type: application/json\r\n";

#[tokio::test]
async fn a_body_up_to_one_mebibyte_is_read_and_a_larger_one_refused() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    let body = |bytes: usize| {
        let head = r#"{"customer_id":1,"type":"deposit","amount":1"#;
        format!("{head}{}}}", " ".repeat(bytes - head.len() - 1))
    };
    assert_eq!(api.post_bytes("/transaction", body(1024 * 1024)).await.status, 200);
    assert_eq!(api.post_bytes("/transaction", body(1024 * 1024 + 1)).await.refusal(), "413 PAYLOAD_TOO_LARGE");
    assert_eq!(api.post_bytes("/transaction", vec![b'x'; 16 * 1024 * 1024]).await.refusal(), "413 PAYLOAD_TOO_LARGE");
    // Whoever writes all before reading still gets to read the refusal.
    let mut stream = connect(&api).await;
    stream.write_all(format!("{HEAD}Content-Length: 16777216\r\n\r\n").as_bytes()).await.expect("sent");
    stream.write_all(&vec![b' '; 16 * 1024 * 1024]).await.expect("sent");
    assert_eq!(status_line(&mut stream).await, "HTTP/1.1 413 Payload Too Large");
    let mut stream = connect(&api).await;
    stream.write_all(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.expect("sent");
    let chunk = [b"100000\r\n".as_slice(), &[b' '; 1024 * 1024], b"\r\n"].concat();
    for _ in 0..16 {
        stream.write_all(&chunk).await.expect("sent");
    }
    stream.write_all(b"0\r\n\r\n").await.expect("sent");
    assert_eq!(status_line(&mut stream).await, "HTTP/1.1 413 Payload Too Large");
}

#[tokio::test]
async fn an_announced_large_body_is_refused_before_it_is_sent() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    for expect in ["", "Expect: 100-continue\r\n"] {
        let mut stream = connect(&api).await;
        let head = format!("{HEAD}{expect}Content-Length: 99999999999\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        assert_eq!(status_line(&mut stream).await, "HTTP/1.1 413 Payload Too Large");
    }
}

#[tokio::test]
async fn a_lying_content_length_harms_nobody() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    // More bytes than announced: the rest is no request.
    let mut stream = connect(&api).await;
    let body = format!("{HEAD}Content-Length: 2\r\n\r\n{{}}{}", "x".repeat(100_000));
    stream.write_all(body.as_bytes()).await.expect("sent");
    assert_eq!(status_line(&mut stream).await, "HTTP/1.1 400 Bad Request");
    // Fewer bytes than announced, then the end.
    let mut stream = connect(&api).await;
    stream.write_all(format!("{HEAD}Content-Length: 100\r\n\r\n{{").as_bytes()).await.expect("sent");
    stream.shutdown().await.expect("closed");
    assert_eq!(status_line(&mut stream).await, "HTTP/1.1 400 Bad Request");
    // Neither a number nor one answer.
    for length in ["-1", "1e3", "18446744073709551616", "1\r\nContent-Length: 2"] {
        let mut stream = connect(&api).await;
        stream.write_all(format!("{HEAD}Content-Length: {length}\r\n\r\n{{}}").as_bytes()).await.expect("sent");
        assert_eq!(status_line(&mut stream).await, "HTTP/1.1 400 Bad Request", "{length}");
    }
    assert_eq!(api.get("/livez").await.status, 200);
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    let long_head = format!("GET /livez HTTP/1.1\r\nHost: florin\r\nX-Long: {}\r\n\r\n", "x".repeat(200_000));
    for (bytes, status) in [
        ("hello\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        ("GET /livez HTTP/9.9\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (&long_head, "HTTP/1.1 431 Request Header Fields Too Large"),
    ] {
        let mut stream = connect(&api).await;
        // The server may close before it has read all.
        let _ = stream.write_all(bytes.as_bytes()).await;
        assert_eq!(status_line(&mut stream).await, status, "{bytes:.20}");
    }
}

#[tokio::test]
async fn a_stop_lets_requests_in_work_finish_and_takes_no_more() {
    let go = watch::Sender::new(false);
    let gate = go.subscribe();
    let branch = Scripted::start(move |operation| later(gate.clone(), receipt(operation))).await;
    let api = Api::start(&[branch.address], &[]).await;
    let address = api.running.address();
    let body = json!({"customer_id": 1, "type": "deposit", "amount": 1});
    let waiting = tokio::spawn(answer(api.request(Method::POST, "/transaction").json(&body)));
    branch.asked(1).await;
    let mut idle = connect(&api).await;

    let stopping = tokio::spawn(api.running.stop());
    // An idle connection is closed, a new one refused; then the branch answers.
    assert_eq!(status_line(&mut idle).await, "");
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!stopping.is_finished());
    go.send_replace(true);

    assert_eq!(waiting.await.expect("no panic").status, 200);
    stopping.await.expect("no panic");
}

#[tokio::test]
async fn a_stop_cuts_off_what_does_not_finish() {
    let branch = Scripted::start(|_| Act::Ignore).await;
    let api = Api::start(&[branch.address], &["--drain-timeout-ms", "50", "--request-timeout-ms", "60000"]).await;
    let body = json!({"customer_id": 1, "type": "deposit", "amount": 1});
    let request = api.request(Method::POST, "/transaction").json(&body);
    let waiting = tokio::spawn(request.send());
    branch.asked(1).await;
    api.running.stop().await;
    assert!(waiting.await.expect("no panic").is_err(), "nobody answered it");
}

#[tokio::test]
async fn without_sign_in_only_operations_answer() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &["--auth", "required"]).await;
    for (method, path) in [
        (Method::POST, "/transaction"),
        (Method::POST, "/initialize_branch"),
        (Method::GET, "/v1/branches"),
        (Method::GET, "/v1/accounts/1"),
        (Method::GET, "/transaction"),
    ] {
        let answer = answer(api.request(method, path)).await;
        assert_eq!(answer.refusal(), "401 UNAUTHENTICATED", "{path}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"florin\""));
    }
    for path in ["/livez", "/metrics", "/openapi.json", "/docs", "/docs/", "/docs/swagger-ui.css"] {
        assert_eq!(api.get(path).await.status, 200, "{path}");
    }
}
