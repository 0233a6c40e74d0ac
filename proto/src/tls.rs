//! TLS by rustls and ring: certificates from files, which are read again when they change.
//!
//! - [`Identity`]: a part of the bank before the others; it shows its certificate and asks for theirs
//! - [`Door`]: where callers come in who have no certificate of the bank's
//! - [`IdentityFiles`], [`DoorFiles`]: the settings of both, complete or not given at all
//! - [`caller_that_trusts`]: for what is not a part of the bank
//! - [`TlsError`], [`HandshakeError`]: what is wrong with the files, and with a connection
//!
//! A certificate in use stays in use for the connections that began with it. New connections begin with what the files
//! held when they were last looked at, which [`Identity::keep_renewed`] and [`Door::keep_renewed`] do every
//! [`RENEWAL_INTERVAL`].

#[cfg(test)]
#[path = "../tests/support/certificates.rs"]
mod certificates;
mod door;
mod expiry;
mod files;
mod handshake;
mod identity;
mod pem;
mod renewed;

pub use door::Door;
pub use files::{DoorFiles, IdentityFiles};
pub use handshake::{HANDSHAKE_TIMEOUT, HandshakeError, SILENCE_TIMEOUT};
pub use identity::Identity;
pub use tokio_rustls::server::TlsStream;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often the files are looked at. Those who replace certificates wait longer than that before they take the old
/// ones' authority away.
pub const RENEWAL_INTERVAL: Duration = Duration::from_secs(30);

/// Why certificates cannot be used. At a start: correct the setting that it names. Later the ones before stay in use,
/// and whoever replaces the files tries again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// Some of the settings are there, and not all.
    #[error("{together} belong together; {missing} is missing")]
    Incomplete {
        /// All of them.
        together: &'static str,
        /// The first that is not there.
        missing: &'static str,
    },
    /// A file cannot be read, or does not hold what it should.
    #[error("{setting} {}: {reason}", path.display())]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is of another certificate.
    #[error("{key} is not the key of {certificate}")]
    OtherKey {
        /// The setting of the key.
        key: &'static str,
        /// The setting of the certificate.
        certificate: &'static str,
    },
}

/// ring; other providers may be in the tree of dependencies, and rustls would have to choose.
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A caller without a certificate, for what is not a part of the bank, such as a database: it trusts the authorities
/// in a PEM file. Reads the file at every call, so that a new authority is seen at the next connection.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub fn caller_that_trusts(setting: &'static str, path: &Path) -> Result<rustls::ClientConfig, TlsError> {
    let file = files::File { setting, path: path.to_owned() };
    let text = std::fs::read(path).map_err(|error| pem::wrong(&file, &error.to_string()))?;
    let roots = pem::authorities(&file, &text)?;
    let builder = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| pem::wrong(&file, &error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
