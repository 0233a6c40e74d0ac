//! `client-api healthy`, the program itself, asking client APIs on real ports.

use crate::real::RealBank;
use crate::support::{Api, listener};
use std::net::SocketAddr;
use tokio::process::Command;

/// Exit code and what was said about the client API that has a port on every address.
async fn asked(port: u16) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client-api"));
    let output = command.env_clear().env("HTTP", format!("0.0.0.0:{port}")).arg("healthy").output().await;
    let output = output.expect("the program runs");
    assert_eq!(output.stdout, b"");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    listener().await.local_addr().expect("an address")
}

#[tokio::test]
async fn a_client_api_that_reaches_its_bank_is_healthy() {
    let bank = RealBank::start(1, &[]).await;
    bank.api.until_ready(200).await;
    assert_eq!(asked(bank.api.running.address().port()).await, (Some(0), String::new()));
}

#[tokio::test]
async fn a_client_api_that_reaches_no_branch_server_is_not_healthy() {
    let api = Api::start(&[nobody().await], &[]).await;
    let address = api.running.address();
    let expected = format!("client-api: {address}/readyz answers \"HTTP/1.1 503\"\n");
    assert_eq!(asked(address.port()).await, (Some(1), expected));
}

#[tokio::test]
async fn where_nobody_listens_nobody_is_healthy() {
    let address = nobody().await;
    let (code, said) = asked(address.port()).await;
    assert_eq!(code, Some(1));
    assert!(said.starts_with(&format!("client-api: {address} cannot be asked: ")), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test]
async fn a_client_api_that_never_answers_is_not_waited_for() {
    // The system takes the connection and the question; nobody reads it.
    let silent = listener().await;
    let address = silent.local_addr().expect("an address");
    let expected = format!("client-api: {address} does not answer within 3 seconds\n");
    assert_eq!(asked(address.port()).await, (Some(1), expected));
}

#[tokio::test]
async fn the_operations_door_is_asked_where_there_is_one() {
    let bank = RealBank::start(1, &["--operations-listen", "127.0.0.1:0"]).await;
    bank.api.until_ready(200).await;
    let operations = bank.api.running.operations_address().expect("a door").to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_client-api"));
    let command = command.env_clear().env("HTTP", "127.0.0.1:1").env("OPERATIONS_LISTEN", operations).arg("healthy");
    assert_eq!(command.output().await.expect("the program runs").status.code(), Some(0));
    let with_https = ["--https-certificate", "a", "--https-key", "b", "healthy"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_client-api"));
    let output = command.env_clear().args(with_https).output().await.expect("the program runs");
    let said = "client-api: healthy asks without TLS; give the client API, and it, --operations-listen\n";
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(64), said.as_bytes()));
}
