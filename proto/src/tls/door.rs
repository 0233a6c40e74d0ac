//! [`Door`]: HTTPS for callers who have no certificate of the bank's.

use super::files::{DoorFiles, File};
use super::handshake::{HandshakeError, accept};
use super::renewed::Renewed;
use super::{TlsError, expiry, pem, provider};
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// What the door speaks.
const HTTP_1_1: &[u8] = b"http/1.1";

/// The listening end of HTTPS, for HTTP/1.1. Cheap to clone.
#[derive(Clone)]
pub struct Door(Arc<Renewed<Shown, 2>>);

/// What callers are shown.
struct Shown {
    config: Arc<ServerConfig>,
    expires_at: Option<i64>,
}

impl Door {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, or they do not fit together.
    pub fn read(files: DoorFiles) -> Result<Door, TlsError> {
        Renewed::new([files.certificate, files.key], config).map(|renewed| Door(Arc::new(renewed)))
    }

    /// Begins a connection with a caller who has as long as this for it.
    ///
    /// # Errors
    /// The caller is too slow, speaks something else, or does not accept the certificate.
    pub async fn accept(&self, stream: TcpStream, timeout: Duration) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let config = Arc::clone(&self.0.current().config);
        accept(config, stream, timeout).await
    }

    /// When the certificate in use expires, in seconds since 1970; None when it does not say.
    #[must_use]
    pub fn expires_at(&self) -> Option<i64> {
        self.0.current().expires_at
    }

    /// Looks at the files every [`super::RENEWAL_INTERVAL`], until it is dropped; says in the log what it found.
    pub async fn keep_renewed(self) {
        self.0.keep().await;
    }
}

fn config([certificate, key]: [(&File, &[u8]); 2]) -> Result<Shown, TlsError> {
    let certified = pem::certified_key(certificate, key)?;
    let expires_at = certified.cert.first().and_then(|certificate| expiry::not_after(certificate));
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| pem::wrong(certificate.0, &error.to_string()))?;
    let resolver = Arc::new(SingleCertAndKey::from(certified));
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Ok(Shown { config: Arc::new(config), expires_at })
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Door")
    }
}
