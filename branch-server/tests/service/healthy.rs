//! `branch-server healthy`, the program itself, asking servers on real ports.

use super::bank::TestBank;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;

/// Exit code and what was said.
async fn asked(address: SocketAddr) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_branch-server"));
    let output = command.args(["--listen", &address.to_string(), "healthy"]).env_clear().output().await;
    let output = output.expect("the program runs");
    assert_eq!(output.stdout, b"");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

/// A listener, its address, and the address as somebody who listens on all of them has it.
async fn listener() -> (TcpListener, SocketAddr, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address, ([0, 0, 0, 0], address.port()).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_serves_is_healthy() {
    let bank = TestBank::start(1).await;
    assert_eq!(asked(bank.servers[0].address()).await, (Some(0), String::new()));
}

#[tokio::test]
async fn a_server_that_says_it_is_not_ready_is_not_healthy() {
    let (listener, address, everywhere) = listener().await;
    let unready = async {
        let (mut connection, _) = listener.accept().await.expect("a connection");
        let mut question = Vec::new();
        while !question.ends_with(b"\r\n\r\n") {
            assert!(connection.read_buf(&mut question).await.expect("a question") > 0);
        }
        assert!(question.starts_with(b"GET /readyz HTTP/1.1\r\n"));
        let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\nstopping\n";
        connection.write_all(answer).await.expect("an answer");
    };
    let ((), said) = tokio::join!(unready, asked(everywhere));
    assert_eq!(said, (Some(1), format!("branch-server: {address}/readyz answers \"HTTP/1.1 503\"\n")));
}

#[tokio::test]
async fn where_nobody_listens_nobody_is_healthy() {
    let (listener, address, everywhere) = listener().await;
    drop(listener);
    let (code, said) = asked(everywhere).await;
    assert_eq!(code, Some(1));
    assert!(said.starts_with(&format!("branch-server: {address} cannot be asked: ")), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_not_waited_for() {
    // The system takes the connection and the question; nobody reads it.
    let (_listener, address, everywhere) = listener().await;
    let expected = format!("branch-server: {address} does not answer within 3 seconds\n");
    assert_eq!(asked(everywhere).await, (Some(1), expected));
}
