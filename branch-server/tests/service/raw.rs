//! What no generated client sends: bytes that are no message, and calls that nobody serves. All of it
//! is refused in the bank's own codes.

use crate::bank::TestBank;
use axum::body::Bytes;
use axum::http::{Request, Response};
use bank_proto::{ErrorCode, wire};
use http_body_util::BodyExt as _;
use prost::Message as _;
use std::convert::Infallible;
use tokio_stream::StreamExt as _;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::{Service as _, ServiceExt as _};

const DEPOSIT: &str = "/bank.v1.BankService/Deposit";

async fn channel(bank: &TestBank) -> Channel {
    let url = format!("http://{}", bank.servers[0].address());
    Endpoint::from_shared(url).expect("a url").connect().await.expect("connected")
}

/// A message in its frame, as gRPC sends it.
fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a length");
    [&[0][..], &length.to_be_bytes(), message].concat().into()
}

/// What a call ends in, wherever the answer says so.
async fn ending(channel: &Channel, request: Request<Body>) -> Status {
    let response: Response<Body> =
        channel.clone().ready().await.expect("ready").call(request).await.expect("an answer");
    let at_once = Status::from_header_map(response.headers());
    let trailers = response.into_body().collect().await.expect("a body").trailers().cloned().unwrap_or_default();
    at_once.or(Status::from_header_map(&trailers)).expect("a status")
}

fn call(path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let request = Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body).expect("a request")
}

fn whole(bytes: Bytes) -> Body {
    Body::new(axum::body::Body::from(bytes))
}

/// A body that begins and never ends.
fn endless(beginning: Bytes) -> Body {
    let parts = tokio_stream::once(Ok::<_, Infallible>(beginning)).chain(tokio_stream::pending());
    Body::new(axum::body::Body::from_stream(parts))
}

/// Code, reason and sentence of a refusal that has the bank's details.
fn told(status: &Status) -> (Code, Option<ErrorCode>, String) {
    if let Some(info) = status.get_details_error_info() {
        assert_eq!(info.domain, bank_proto::ERROR_DOMAIN);
    }
    (status.code(), ErrorCode::from_status(status), status.message().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_refused_in_the_banks_own_words() {
    let bank = TestBank::start(1).await;
    let channel = channel(&bank).await;
    let refused = async |path: &str, bytes: Bytes| {
        let status = ending(&channel, call(path, &[], whole(bytes.clone()))).await;
        let sentence = "`message` is missing, or is not the message of this method in bank.v1".to_owned();
        let expected = (Code::InvalidArgument, Some(ErrorCode::InvalidRequest), sentence);
        assert_eq!(told(&status), expected, "{path} {bytes:?}");
    };
    let follow = "/bank.v1.BankService/FollowJournal";
    for path in [DEPOSIT, follow, "/bank.v1.BankService/BatchStream"] {
        refused(path, frame(b"\xff\xff\xff\xff\xff")).await;
        // A field without its value, and a text longer than its message.
        refused(path, frame(&[0x0a])).await;
        refused(path, frame(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f])).await;
        // A frame that is cut off, one that claims to be compressed, and one of a kind that there is not.
        refused(path, Bytes::from_static(&[0, 0, 0, 0, 9, 1])).await;
        refused(path, Bytes::from_static(&[1, 0, 0, 0, 0])).await;
        refused(path, Bytes::from_static(&[7, 0, 0, 0, 0])).await;
    }
    refused(DEPOSIT, Bytes::new()).await;
    refused(follow, Bytes::new()).await;
    // An amount that is not UTF-8.
    refused(DEPOSIT, frame(&[0x12, 2, 0xff, 0xfe])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_four_mebibytes_is_refused_as_too_large() {
    let bank = TestBank::start(1).await;
    let channel = channel(&bank).await;
    for path in [DEPOSIT, "/bank.v1.BankService/FollowJournal", "/bank.v1.BankService/BatchStream"] {
        let status = ending(&channel, call(path, &[], whole(frame(&vec![0; 4 * 1024 * 1024 + 1])))).await;
        let sentence = "`message` must have at most 4194304 bytes; send several smaller ones".to_owned();
        assert_eq!(told(&status), (Code::InvalidArgument, Some(ErrorCode::PayloadTooLarge), sentence), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_metadata_is_refused_as_too_large() {
    let bank = TestBank::start(1).await;
    let channel = channel(&bank).await;
    let names: Vec<String> = (0..300).map(|number| format!("x-key-{number}")).collect();
    let value = "v".repeat(100);
    let with = |count: usize| names[..count].iter().map(|name| (name.as_str(), value.as_str())).collect::<Vec<_>>();
    let list = "/bank.v1.BankService/ListBranches";
    assert_eq!(told(&ending(&channel, call(list, &with(100), whole(frame(&[])))).await).0, Code::Ok);
    let sentence = "`metadata` must have at most 16384 bytes".to_owned();
    let refused = ending(&channel, call(list, &with(300), whole(frame(&[])))).await;
    assert_eq!(told(&refused), (Code::InvalidArgument, Some(ErrorCode::PayloadTooLarge), sentence));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_serves_is_said_in_the_banks_own_words() {
    let bank = TestBank::start(1).await;
    let channel = channel(&bank).await;
    let unknown = (Code::Unimplemented, Some(ErrorCode::UnknownMethod), "There is no such method".to_owned());
    for path in ["/bank.v1.BankService/Steal", "/bank.v1.OtherService/Deposit", "/Bank/MsgDelivery", "/nothing"] {
        let status = ending(&channel, call(path, &[], whole(frame(&[])))).await;
        assert_eq!(told(&status), unknown, "{path}");
    }
    let sentence = "`grpc-encoding` names a compression that is not known here; send messages uncompressed".to_owned();
    for path in [DEPOSIT, "/bank.v1.BankService/FollowJournal", "/bank.v1.BankService/BatchStream"] {
        let request = call(path, &[("grpc-encoding", "gzip")], whole(frame(&[])));
        let status = ending(&channel, request).await;
        let expected = (Code::Unimplemented, Some(ErrorCode::UnsupportedCompression), sentence.clone());
        assert_eq!(told(&status), expected, "{path}");
        let accepted = status.metadata().get("grpc-accept-encoding").map(|value| value.as_encoded_bytes());
        assert_eq!(accepted, Some(&b"identity"[..]), "{path}");
    }
}

/// What a deposit ends in whose client keeps no time itself, and of whose body only so much comes.
/// Over HTTP/1.1, because what gRPC clients there are break off at their own deadline.
async fn ending_in_time(bank: &TestBank, timeout: &str, body: &[u8]) -> Status {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut connection = tokio::net::TcpStream::connect(bank.servers[0].address()).await.expect("connected");
    let head = format!(
        "POST {DEPOSIT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/grpc\r\ncontent-length: 10\r\n\
         grpc-timeout: {timeout}\r\nconnection: close\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.expect("sent");
    connection.write_all(body).await.expect("sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("an answer");
    let headers = answer.lines().filter_map(|line| line.split_once(": ")).map(|(name, value)| {
        let name: axum::http::HeaderName = name.parse().expect("a name");
        (name, value.parse().expect("a value"))
    });
    Status::from_header_map(&headers.collect()).expect("a status")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_message_does_not_come_in_time_ends_in_the_banks_own_words() {
    let bank = TestBank::start(1).await;
    let sentence = "the deadline passed before the work began; nothing was done".to_owned();
    let late = (Code::DeadlineExceeded, Some(ErrorCode::DeadlineExceeded), sentence);
    for timeout in ["1n", "20m", "200m"] {
        assert_eq!(told(&ending_in_time(&bank, timeout, &[0, 0]).await), late, "{timeout}");
    }
    // The whole message is there, but no time for it.
    let deposit = frame(&[0x08, 1, 0x12, 1, b'1']);
    assert_eq!(told(&ending_in_time(&bank, "1n", &deposit).await), late);
    let unopened = ending_in_time(&bank, "9S", &deposit).await;
    assert_eq!(told(&unopened).1, Some(ErrorCode::BranchNotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_stops_though_its_callers_neither_end_nor_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut bank = TestBank::start_with(directory, 1, |settings| settings.drain_timeout_ms = 300).await;
    let mut client = bank.client(0).await;
    client.initialize_branch(crate::bank::initialize(1)).await.expect("opened");
    // So small a window lets no answer through.
    let url = format!("http://{}", bank.servers[0].address());
    let endpoint = Endpoint::from_shared(url).expect("a url").initial_stream_window_size(1);
    let deaf = endpoint.connect().await.expect("connected");
    let begin = async |path: &str, body: Body| {
        let mut channel = deaf.clone();
        channel.ready().await.expect("ready").call(call(path, &[], body)).await.expect("an answer begins")
    };
    // A stream that takes one deposit of 100 and goes on for ever.
    let deposit = wire::Operation { kind: Some(wire::operation::Kind::Deposit(crate::bank::deposit(1, "100"))) };
    let operation = wire::StreamOperation { correlation_id: 7, operation: Some(deposit), timeout_ms: 0 };
    let message = wire::BatchStreamRequest { operations: vec![operation], traces: vec![] };
    let stream = begin("/bank.v1.BankService/BatchStream", endless(frame(&message.encode_to_vec()))).await;
    let follower = begin("/bank.v1.BankService/FollowJournal", whole(frame(&[0x08, 1]))).await;
    // A call whose message never comes, and a connection that says nothing after its greeting.
    let mut unsaid = deaf.clone();
    let unsaid = unsaid.ready().await.expect("ready").call(call(DEPOSIT, &[], endless(Bytes::from_static(&[0, 0]))));
    let unsaid = tokio::spawn(unsaid);
    let mut silent = tokio::net::TcpStream::connect(bank.servers[0].address()).await.expect("connected");
    let greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    tokio::io::AsyncWriteExt::write_all(&mut silent, greeting).await.expect("sent");

    let balance = loop {
        let balance = client.query(crate::bank::query(1)).await.expect("a balance").into_inner().balance;
        if balance != "1000.00" {
            break balance;
        }
    };
    assert_eq!(balance, "1100.00");
    bank.servers.remove(0).stop().await;

    let bank = TestBank::start_in(bank.directory, 1).await;
    let balance = bank.client(0).await.query(crate::bank::query(1)).await.expect("a balance").into_inner();
    assert_eq!(balance.balance, "1100.00");
    drop((stream, follower, unsaid, silent));
}
