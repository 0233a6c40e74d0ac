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

/// All that the server says until it closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A connection that is reset has said all it will.
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

/// Checks that a text is one whole refusal; its status and code.
fn refusal(text: &str) -> String {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no whole head: {text}"));
    let header = |name: &str| {
        let mut values = head.lines().skip(1).filter_map(|line| line.split_once(": ")).filter(|(key, _)| *key == name);
        let value = values.next().map(|(_, value)| value);
        assert!(values.next().is_none(), "{name} is there twice: {head}");
        value
    };
    let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {text}"));
    assert_eq!(header("content-type"), Some("application/problem+json"), "{head}");
    assert!(header("x-request-id").is_some() && header("date").is_some(), "{head}");
    assert_eq!(body["request_id"].as_str(), header("x-request-id"), "{text}");
    assert!(head.starts_with(&format!("HTTP/1.1 {} ", body["status"])), "{text}");
    assert!(body["detail"].is_string() && body["result"] == "failure", "{text}");
    format!("{} {}", body["status"], body["code"].as_str().expect("a code"))
}

#[tokio::test]
async fn what_the_parser_refuses_is_told_like_every_other_refusal() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    let long_header = format!("GET /livez HTTP/1.1\r\nHost: florin\r\nX-Long: {}\r\n\r\n", "x".repeat(200_000));
    let many_headers = format!("GET /livez HTTP/1.1\r\nHost: florin\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let long_address = format!("GET /{} HTTP/1.1\r\nHost: florin\r\n\r\n", "a".repeat(100_000));
    let malformed = "400 INVALID_REQUEST";
    for (bytes, expected) in [
        ("hello\r\n\r\n", malformed),
        ("GET /livez HTTP/9.9\r\n\r\n", malformed),
        ("G\u{0}T /livez HTTP/1.1\r\nHost: florin\r\n\r\n", malformed),
        ("GET /li vez HTTP/1.1\r\nHost: florin\r\n\r\n", malformed),
        ("GET /livez HTTP/1.1\r\nHost florin\r\n\r\n", malformed),
        ("GET /livez HTTP/1.1\r\nHost: florin\r\nContent-Length: -1\r\n\r\n", malformed),
        ("GET /livez HTTP/1.1\r\nHost: florin\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", malformed),
        ("GET /livez HTTP/1.1\r\nHost: florin\r\nTransfer-Encoding: gzip\r\n\r\n", malformed),
        (&long_header, "431 REQUEST_HEAD_TOO_LARGE"),
        (&many_headers, "431 REQUEST_HEAD_TOO_LARGE"),
        (&long_address, "431 REQUEST_HEAD_TOO_LARGE"),
    ] {
        let mut stream = connect(&api).await;
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        let text = rest(&mut stream).await;
        assert_eq!(refusal(&text), expected, "{bytes:.80}");
        assert!(text.contains("\r\nconnection: close\r\n"), "{text}");
    }
    let metrics = api.get("/metrics").await.text;
    let counted = |status: u16| {
        let line = metrics.lines().find(|line| line.contains("unmatched") && line.contains(&format!("\"{status}\"")));
        line.and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
    };
    assert_eq!((counted(400).as_deref(), counted(431).as_deref()), (Some("8"), Some("3")), "{metrics}");
}

#[tokio::test]
async fn a_refusal_of_the_parser_after_good_requests_is_told_too() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    let good = "GET /livez HTTP/1.1\r\nHost: florin\r\n\r\n";
    let mut stream = connect(&api).await;
    // All at once: the answers come in order, the refusal last.
    stream.write_all(format!("{good}{good}hello\r\n\r\n").as_bytes()).await.expect("sent");
    let text = rest(&mut stream).await;
    let (first, others) = text.split_once("}HTTP/1.1").expect("two answers");
    let (second, refused) = others.split_once("}HTTP/1.1").expect("three answers");
    assert!(first.starts_with("HTTP/1.1 200 OK") && second.starts_with(" 200 OK"), "{text}");
    assert_eq!(refusal(&format!("HTTP/1.1{refused}")), "400 INVALID_REQUEST");
}

#[tokio::test]
async fn a_request_of_http_1_1_names_the_host_once() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    for (head, expected) in [
        ("GET /livez HTTP/1.1\r\n", "400 INVALID_REQUEST"),
        ("GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "400 INVALID_REQUEST"),
        ("GET /nowhere HTTP/1.1\r\nHost: a\r\n", "404 NOT_FOUND"),
        ("GET /nowhere HTTP/1.0\r\n", "404 NOT_FOUND"),
    ] {
        let mut stream = connect(&api).await;
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await.expect("sent");
        assert_eq!(refusal(&rest(&mut stream).await.replacen("HTTP/1.0", "HTTP/1.1", 1)), expected, "{head}");
    }
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
async fn who_writes_all_before_reading_still_reads_why_it_is_refused() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    let length = "Content-Length: 16777216\r\n\r\n";
    for (head, expected) in [
        ("POST /nowhere HTTP/1.1\r\nHost: a\r\n", "404 NOT_FOUND"),
        ("PUT /transaction HTTP/1.1\r\nHost: a\r\n", "405 METHOD_NOT_ALLOWED"),
        ("POST /transaction HTTP/1.1\r\nHost: a\r\n", "415 UNSUPPORTED_MEDIA_TYPE"),
        ("POST /transaction HTTP/1.1\r\nHost: a\r\nIdempotency-Key:\r\n", "400 INVALID_IDEMPOTENCY_KEY"),
        ("POST /v1/accounts/1/freeze HTTP/1.1\r\nHost: a\r\n", "400 INVALID_ACCOUNT_NUMBER"),
    ] {
        let mut stream = connect(&api).await;
        stream.write_all(format!("{head}{length}").as_bytes()).await.expect("sent");
        stream.write_all(&vec![b' '; 16 * 1024 * 1024]).await.expect("sent");
        assert_eq!(refusal(&rest(&mut stream).await), expected, "{head}");
    }
}

#[tokio::test]
async fn who_sends_a_head_too_slowly_is_cut_off() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    for begun in ["", "GET /livez HTTP/1.1\r\nHost: fl"] {
        let mut stream = connect(&api).await;
        stream.write_all(begun.as_bytes()).await.expect("sent");
        // From here on time passes as fast as nothing happens.
        tokio::time::pause();
        assert_eq!(rest(&mut stream).await, "", "closed");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn who_sends_a_body_too_slowly_is_told() {
    let branch = Scripted::start(receipt).await;
    let api = Api::start(&[branch.address], &[]).await;
    for framing in ["Content-Length: 100\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"] {
        let mut stream = connect(&api).await;
        stream.write_all(format!("{HEAD}{framing}").as_bytes()).await.expect("sent");
        tokio::time::pause();
        let text = rest(&mut stream).await;
        tokio::time::resume();
        assert_eq!(refusal(&text), "400 INVALID_REQUEST", "{framing}");
        assert!(text.contains("the body did not arrive within 10 s"), "{text}");
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
