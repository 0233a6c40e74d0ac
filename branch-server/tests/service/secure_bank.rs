//! A bank of two branch servers that speak TLS, and callers with certificates of all kinds.

use crate::bank::settings;
use crate::certificates::{Authority, Certificate, Files};
use crate::transfers::Client;
use bank_proto::tls::{Identity, IdentityFiles};
use bank_proto::wire::bank_service_client::BankServiceClient;
use branch_server::{Running, Settings, Store, TlsSettings, start};
use std::net::SocketAddr;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint};

/// The host of both servers.
pub(crate) const HOST: &str = "localhost";

pub(crate) struct SecureBank {
    pub(crate) directory: TempDir,
    pub(crate) authority: Authority,
    pub(crate) servers: Vec<Running>,
    pub(crate) files: Files,
}

impl SecureBank {
    /// With servers that have a certificate for `localhost`, which is the host in the list of peers.
    pub(crate) async fn start() -> SecureBank {
        SecureBank::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl Fn(&mut Settings)) -> SecureBank {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::new();
        let files = authority.issue(HOST).write(&directory.path().join("servers"));
        let listeners = [listener().await, listener().await];
        let url = |listener: &TcpListener| format!("https://{HOST}:{}", address(listener).port());
        let peers: Vec<String> = listeners.iter().map(url).collect();
        let mut servers = Vec::new();
        for (ordinal, listener) in (0..).zip(listeners) {
            let mut settings = Settings {
                listen: address(&listener),
                store: Store::Sqlite(directory.path().join("data")),
                server_ordinal: ordinal,
                peers: peers.clone(),
                tls: tls(&files),
                ..settings()
            };
            change(&mut settings);
            servers.push(start(settings, listener).await.expect("a server"));
        }
        SecureBank { directory, authority, servers, files }
    }

    pub(crate) fn url(&self, server: usize) -> String {
        format!("https://{HOST}:{}", self.servers[server].address().port())
    }

    /// A channel to the first server, for somebody with this certificate.
    pub(crate) fn channel(&self, certificate: &Certificate) -> Channel {
        let files = certificate.write(&self.directory.path().join("caller"));
        channel(&self.url(0), &files)
    }

    /// A client of the first server with a certificate that is for no branch server.
    pub(crate) fn client(&self) -> Client {
        BankServiceClient::new(self.channel(&self.authority.issue("client-api")))
    }
}

pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port")
}

pub(crate) fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("an address")
}

pub(crate) fn tls(files: &Files) -> TlsSettings {
    TlsSettings {
        tls_certificate: Some(files.certificate.clone()),
        tls_key: Some(files.key.clone()),
        tls_authority: Some(files.authority.clone()),
    }
}

/// A channel for somebody with these files.
pub(crate) fn channel(url: &str, files: &Files) -> Channel {
    let files = IdentityFiles::of(Some(&files.certificate), Some(&files.key), Some(&files.authority));
    let identity = Identity::read(files.expect("complete").expect("some")).expect("an identity");
    identity.channel(&Endpoint::from_shared(url.to_owned()).expect("a url"))
}
