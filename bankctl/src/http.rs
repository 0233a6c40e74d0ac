//! The client for a bank's HTTP: over HTTP, or over HTTPS with the authorities that are trusted.

use crate::exit::Exit;
use reqwest::{Certificate, Client};
use std::path::PathBuf;
use std::time::Duration;

/// Whose certificates are accepted of a client API at an https:// address.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Trust {
    /// File with the certificates, in PEM, of the authorities that are accepted for an --api that begins with https://
    /// [default: those that this machine trusts].
    #[arg(long, env = "FLORIN_AUTHORITY", value_name = "FILE")]
    authority: Option<PathBuf>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("--authority {}: {reason}", path.display())]
    Authority { path: PathBuf, reason: String },
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

impl HttpError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            HttpError::Authority { .. } => Exit::Usage,
            HttpError::Client(_) => Exit::Internal,
        }
    }
}

impl Trust {
    /// A client for the bank at this address, each of whose answers may take as long as this.
    pub(crate) fn client(&self, url: &str, patience: Duration) -> Result<Client, HttpError> {
        let builder = builder(patience);
        let builder = match &self.authority {
            Some(path) => {
                let wrong = |reason: String| HttpError::Authority { path: path.clone(), reason };
                let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
                let none = || wrong("holds no certificate in PEM".to_owned());
                let trusted = Certificate::from_pem_bundle(&text).map_err(|_| none())?;
                if trusted.is_empty() {
                    return Err(none());
                }
                builder.tls_certs_only(trusted)
            }
            None if url.starts_with("https://") => builder,
            None => builder.tls_certs_only([]),
        };
        Ok(builder.build()?)
    }
}

/// A client for banks on this machine, which speak plain HTTP. It does not read whom this machine trusts: that takes
/// time, and there are machines that have no such list.
pub(crate) fn plain(patience: Duration) -> Result<Client, reqwest::Error> {
    builder(patience).tls_certs_only([]).build()
}

fn builder(patience: Duration) -> reqwest::ClientBuilder {
    // Installed already the second time. Without it the client would have no cryptography.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().timeout(patience)
}
