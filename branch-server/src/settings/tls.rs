//! The settings of mutual TLS, and what the addresses of the peers must look like with them and without.

use super::{Settings, SettingsError};
use axum::http::Uri;
use bank_proto::tls::{Identity, IdentityFiles, TlsError};
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Mutual TLS: all three files or none.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct TlsSettings {
    /// File with this server's certificate in PEM, followed by those that lead up to its authority; with it gRPC
    /// speaks TLS and every caller must have a certificate too
    #[arg(long, env = "TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,

    /// File with the key of --tls-certificate in PEM
    #[arg(long, env = "TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// File with the certificates, in PEM, of the authorities whose certificates are accepted, of callers and of peers
    #[arg(long, env = "TLS_AUTHORITY", value_name = "FILE")]
    pub tls_authority: Option<PathBuf>,
}

impl TlsSettings {
    /// Whether there is any.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.tls_certificate.is_some()
    }

    /// The files; None without TLS.
    pub(super) fn files(&self) -> Result<Option<IdentityFiles>, TlsError> {
        let TlsSettings { tls_certificate, tls_key, tls_authority } = self;
        IdentityFiles::of(tls_certificate.as_deref(), tls_key.as_deref(), tls_authority.as_deref())
    }
}

impl Settings {
    /// Where the server tells without TLS whether it is ready; None when it does so nowhere.
    pub(crate) fn plain_address(&self) -> Option<SocketAddr> {
        self.operations_listen.or((!self.tls.is_on()).then_some(self.listen))
    }

    /// Who this server is before the others; None without TLS.
    ///
    /// # Errors
    /// The files cannot be used, or the peers' addresses are not of the same kind.
    pub fn identity(&self) -> Result<Option<Identity>, SettingsError> {
        let identity = self.tls.files()?.map(Identity::read).transpose()?;
        // As a connection reads it: a scheme may be written in capitals.
        let is_secure = |peer: &str| peer.parse::<Uri>().is_ok_and(|uri| uri.scheme_str() == Some("https"));
        let is_other = |peer: &&String| is_secure(peer) != identity.is_some();
        match self.peers.iter().find(is_other) {
            None => Ok(identity),
            Some(peer) if identity.is_some() => Err(SettingsError::PlainPeer(peer.clone())),
            Some(peer) => Err(SettingsError::SecurePeer(peer.clone())),
        }
    }

    /// The hosts of all branch servers, as their certificates name them.
    ///
    /// # Errors
    /// An address has none.
    pub(crate) fn peer_hosts(&self) -> Result<Vec<ServerName<'static>>, SettingsError> {
        let host = |peer: &String| {
            let host = peer.parse::<Uri>().ok().as_ref().and_then(Identity::host_of);
            host.ok_or_else(|| SettingsError::Peer(peer.clone()))
        };
        self.peers.iter().map(host).collect()
    }
}
