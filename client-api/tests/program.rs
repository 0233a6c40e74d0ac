//! The program as a process: exit codes, the port, signals.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../../proto/tests/support/certificates.rs"]
mod certificates;

use certificates::Authority;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

fn program(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client-api"));
    command.args(flags).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Exit code and what was said, of a program that ends by itself.
fn outcome(flags: &[&str]) -> (Option<i32>, String) {
    let output = program(flags).output().expect("the program runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// A program that serves, and where.
fn serving(flags: &[&str]) -> (Child, SocketAddr) {
    let mut child =
        program(&[&["--http", "127.0.0.1:0", "--log-format", "json"], flags].concat()).spawn().expect("starts");
    let said = BufReader::new(child.stderr.take().expect("a pipe"));
    for line in said.lines() {
        let line: serde_json::Value = serde_json::from_str(&line.expect("text")).expect("one JSON object per line");
        if line["message"] == "serving HTTP" {
            return (child, line["address"].as_str().expect("an address").parse().expect("an address"));
        }
    }
    panic!("it never served: {:?}", child.wait());
}

fn livez(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: florin\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn wrong_settings_end_it_with_64_and_one_clear_line() {
    for (flags, said) in [
        (["--auth", "open", "--http", "0.0.0.0:0"].as_slice(), "--auth-open-anywhere"),
        (&["--http", "here"], "--http"),
        (&["--branches", "0"], "--branches"),
        (&["--auth", "perhaps"], "--auth"),
        (&["--branch-servers", "ftp://x"], "--branch-servers"),
        (&["--log", "client_api=loud"], "--log"),
        (&["--no-such-flag"], "--no-such-flag"),
    ] {
        let (code, text) = outcome(flags);
        assert_eq!(code, Some(64), "{flags:?}: {text}");
        assert!(text.contains(said), "{flags:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn certificates_that_cannot_work_end_it_with_64_and_one_sentence() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = Authority::new().issue("localhost").write(directory.path());
    let other = Authority::new().issue("localhost").write(&directory.path().join("other"));
    let [certificate, key, authority, other_key] =
        [&files.certificate, &files.key, &files.authority, &other.key].map(|path| path.to_str().expect("text"));
    let missing = directory.path().join("missing").display().to_string();
    let identity = ["--tls-certificate", certificate, "--tls-key", key, "--tls-authority", authority];
    let not_there = format!("--https-certificate {missing}: No such file or directory (os error 2)");
    let no_key = format!("--https-key {certificate}: holds no private key in PEM");
    for (flags, said) in [
        (
            ["--tls-certificate", certificate].as_slice(),
            "--tls-certificate, --tls-key and --tls-authority belong together; --tls-key is missing",
        ),
        (&["--https-key", key], "--https-certificate and --https-key belong together; --https-certificate is missing"),
        (&["--https-certificate", &missing, "--https-key", key], &not_there),
        (&["--https-certificate", certificate, "--https-key", certificate], &no_key),
        (
            &["--https-certificate", certificate, "--https-key", other_key],
            "--https-key is not the key of --https-certificate",
        ),
        (
            &identity,
            "--branch-servers: `http://127.0.0.1:50051/` is plain; with --tls-certificate every URL begins with https://",
        ),
        (
            &["--branch-servers", "https://a:1"],
            "--branch-servers: `https://a:1/` needs --tls-certificate, --tls-key and --tls-authority",
        ),
    ] {
        assert_eq!(outcome(flags), (Some(64), format!("client-api: {said}\n")), "{flags:?}");
    }
}

#[test]
fn help_names_every_setting_with_its_variable() {
    let (code, text) = outcome(&["--help"]);
    assert_eq!(code, Some(0));
    for name in
        ["--http", "HTTP=", "--branch-servers", "BRANCH_SERVERS=", "--auth", "REQUEST_TIMEOUT_MS=", "--log-format"]
    {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
    assert!(!text.contains("--exit-with-parent"));
}

#[test]
fn a_taken_port_ends_it_with_69() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, text) = outcome(&["--http", &address]);
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains(&address), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
}

#[test]
fn both_signals_stop_it_cleanly() {
    for signal in ["TERM", "INT"] {
        let (mut child, address) = serving(&[]);
        assert_eq!(livez(address), "HTTP/1.1 200 OK");
        let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{signal}");
    }
}

#[test]
fn it_ends_with_its_parent_when_told_to() {
    let (mut child, address) = serving(&["--exit-with-parent"]);
    assert_eq!(livez(address), "HTTP/1.1 200 OK");
    drop(child.stdin.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
