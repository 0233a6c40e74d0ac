//! Mutual TLS on real ports: who is let in, who is not, and what only branch servers may ask.

use crate::bank::{code, deposit, initialize};
use crate::certificates::{Authority, Certificate};
use crate::secure_bank::{HOST, SecureBank};
use crate::transfers::{balance, transfer};
use bank_proto::ErrorCode;
use bank_proto::tls::{HANDSHAKE_TIMEOUT, SILENCE_TIMEOUT};
use bank_proto::wire::bank_service_client::BankServiceClient;
use bank_proto::wire::inter_branch_service_client::InterBranchServiceClient;
use bank_proto::wire::{self, TransferState};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic::transport::Endpoint;

#[tokio::test(flavor = "multi_thread")]
async fn money_moves_between_servers_that_show_each_other_their_certificates() {
    let bank = SecureBank::start().await;
    let mut client = bank.client();
    for branch in [1, 2] {
        client.initialize_branch(initialize(branch)).await.expect("opened");
    }
    // Branch 2 is on the other server: forwarded there, and paid from here.
    client.deposit(deposit(2, "5")).await.expect("a receipt");
    let done = client.transfer(transfer(1, 2, "10")).await.expect("a transfer").into_inner();
    assert_eq!(done.state(), TransferState::Completed);
    assert_eq!(balance(&mut client, 1).await, "990.00");
    assert_eq!(balance(&mut client, 2).await, "1015.00");
}

/// What a caller with this certificate meets who trusts the servers: the first that the servers say, or why nothing.
async fn met_by(bank: &SecureBank, certificate: Option<&Certificate>) -> Result<Vec<u8>, String> {
    let mut roots = RootCertStore::empty();
    let servers = std::fs::read(&bank.files.authority).expect("a file");
    roots.add(CertificateDer::from_pem_slice(&servers).expect("PEM")).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_root_certificates(roots);
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let chain = CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(vec![chain], key).expect("a key")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(HOST).expect("a name");
    let stream = TcpStream::connect(bank.servers[0].address()).await.expect("a connection");
    let told = |error: std::io::Error| error.to_string();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(told)?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.map_err(told)?;
    let mut first = vec![0; 9];
    stream.read_exact(&mut first).await.map_err(told)?;
    Ok(first)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_a_certificate_of_the_authority_that_has_not_expired_is_let_in() {
    let bank = SecureBank::start().await;
    let settings_frame = met_by(&bank, Some(&bank.authority.issue("anybody"))).await.expect("let in");
    assert_eq!(settings_frame[3], 4, "a SETTINGS frame");
    for (certificate, expected) in [
        (None, "received fatal alert: CertificateRequired"),
        (Some(Authority::new().issue(HOST)), "received fatal alert: "),
        (Some(bank.authority.issue_until(HOST, 2020)), "received fatal alert: CertificateExpired"),
    ] {
        let refused = met_by(&bank, certificate.as_ref()).await.expect_err("refused");
        assert!(refused.starts_with(expected), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_plainly_is_not_answered() {
    let bank = SecureBank::start().await;
    let url = bank.url(0).replace("https://", "http://");
    let mut client = BankServiceClient::new(Endpoint::from_shared(url).expect("a url").connect_lazy());
    let refused = client.deposit(deposit(1, "5")).await.expect_err("no answer");
    assert_eq!(code(&refused), None, "nobody of the bank's said it: {refused:?}");
    let mut stream = TcpStream::connect(bank.servers[0].address()).await.expect("a connection");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bank\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    // A reset is no answer either.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_another_than_it_was_called_by_is_not_told_anything() {
    let bank = SecureBank::start().await;
    let files = bank.authority.issue("client-api").write(&bank.directory.path().join("caller"));
    let by_number = format!("https://127.0.0.1:{}", bank.servers[0].address().port());
    let mut client = BankServiceClient::new(crate::secure_bank::channel(&by_number, &files));
    let refused = client.deposit(deposit(1, "5")).await.expect_err("refused");
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("certificate not valid for name"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_branches_say_to_each_other_is_for_branch_servers_alone() {
    let bank = SecureBank::start().await;
    bank.client().initialize_branch(initialize(1)).await.expect("opened");
    let greeting = wire::GreetRequest { source_branch_id: 2, destination_branch_id: 1, source_epoch: 1 };
    let mut server = InterBranchServiceClient::new(bank.channel(&bank.authority.issue(HOST)));
    server.greet(greeting).await.expect("a greeting");
    for host in ["client-api", "another.localhost", "127.0.0.1"] {
        let mut other = InterBranchServiceClient::new(bank.channel(&bank.authority.issue(host)));
        let refused = other.greet(greeting).await.expect_err("refused");
        assert_eq!((refused.code(), code(&refused)), (Code::PermissionDenied, Some(ErrorCode::PermissionDenied)));
        let sentence = "only branch servers may call this, and the certificate is for none of their hosts";
        assert_eq!(refused.message(), sentence);
        let messages = tokio_stream::once(wire::DeliverRequest::default());
        let refused = other.deliver(messages).await.expect_err("refused");
        assert_eq!(code(&refused), Some(ErrorCode::PermissionDenied));
    }
}

#[tokio::test]
async fn a_handshake_that_stalls_is_ended_and_holds_nobody_up() {
    let bank = SecureBank::start().await;
    for (begun, timeout) in [(&b""[..], SILENCE_TIMEOUT), (&[22, 3, 1, 2, 0], HANDSHAKE_TIMEOUT)] {
        let mut stalled = TcpStream::connect(bank.servers[0].address()).await.expect("a connection");
        stalled.write_all(begun).await.expect("sent");
        met_by(&bank, Some(&bank.authority.issue("anybody"))).await.expect("let in meanwhile");
        let before = tokio::time::Instant::now();
        // From here on time passes as fast as nothing happens.
        tokio::time::pause();
        let mut answer = Vec::new();
        let _ = stalled.read_to_end(&mut answer).await;
        assert!(before.elapsed() >= timeout - std::time::Duration::from_secs(1), "{:?}", before.elapsed());
        tokio::time::resume();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_streams_in_good_order_and_waits_for_nobody() {
    let mut bank = SecureBank::start().await;
    let mut client = bank.client();
    client.initialize_branch(initialize(1)).await.expect("opened");
    let (orders, receiver) = tokio::sync::mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = client.batch_stream(stream).await.expect("a stream").into_inner();
    let order = wire::Operation { kind: Some(wire::operation::Kind::Deposit(deposit(1, "5"))) };
    let order = wire::StreamOperation { correlation_id: 1, operation: Some(order), timeout_ms: 0 };
    orders.send(wire::BatchStreamRequest { operations: vec![order], traces: vec![] }).await.expect("sent");
    let answered = answers.message().await.expect("an answer").expect("an answer").results.len();
    assert_eq!(answered, 1);
    let stopping = tokio::spawn(bank.servers.remove(0).stop());
    // The server ends the stream, and then itself, though this end stays open.
    assert!(answers.message().await.expect("an end, not a break").is_none());
    stopping.await.expect("stopped");
    drop(orders);
}
