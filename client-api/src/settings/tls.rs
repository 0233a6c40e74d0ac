//! The settings of TLS: towards branch servers, and for callers.

use super::{Settings, SettingsError};
use bank_proto::tls::{Door, DoorFiles, Identity, IdentityFiles};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

/// TLS: the three files of one end or none, and the two files of the other or none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct TlsSettings {
    /// File with the certificate, in PEM, that branch servers are shown, followed by those that lead up to its
    /// authority. With it they are asked over TLS.
    #[arg(long, env = "TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,

    /// File with the key of --tls-certificate in PEM.
    #[arg(long, env = "TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// File with the certificates, in PEM, of the authorities whose certificates are accepted of branch servers.
    #[arg(long, env = "TLS_AUTHORITY", value_name = "FILE")]
    pub tls_authority: Option<PathBuf>,

    /// File with the certificate, in PEM, that callers are shown, followed by those that lead up to its authority. With
    /// it --http speaks HTTPS.
    #[arg(long, env = "HTTPS_CERTIFICATE", value_name = "FILE")]
    pub https_certificate: Option<PathBuf>,

    /// File with the key of --https-certificate in PEM.
    #[arg(long, env = "HTTPS_KEY", value_name = "FILE")]
    pub https_key: Option<PathBuf>,
}

impl TlsSettings {
    /// Who this client API is before the branch servers; None without TLS.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, SettingsError> {
        let [certificate, key, authority] =
            [&self.tls_certificate, &self.tls_key, &self.tls_authority].map(Option::as_deref);
        Ok(IdentityFiles::of(certificate, key, authority)?.map(Identity::read).transpose()?)
    }

    /// What callers are shown; None without HTTPS.
    pub(crate) fn door(&self) -> Result<Option<Door>, SettingsError> {
        let files = DoorFiles::of(self.https_certificate.as_deref(), self.https_key.as_deref())?;
        Ok(files.map(Door::read).transpose()?)
    }
}

impl Settings {
    /// Where the client API tells in plain HTTP whether it is ready; None when it does so nowhere.
    pub(crate) fn plain_address(&self) -> Option<SocketAddr> {
        self.operations_listen.or(self.tls.https_certificate.is_none().then_some(self.http))
    }

    /// Checks that every branch server has an address that can be asked, with TLS or without.
    pub(super) fn check_branch_servers(&self) -> Result<(), SettingsError> {
        let secure = self.tls.identity()?.is_some();
        for url in &self.branch_servers {
            let (scheme, url_text) = (url.scheme_str(), || url.to_string());
            if !matches!(scheme, Some("http" | "https"))
                || url.host().is_none()
                || url.path() != "/"
                || url.query().is_some()
            {
                return Err(SettingsError::BranchServerUrl { url: url_text() });
            }
            match (scheme, secure) {
                (Some("http"), true) => return Err(SettingsError::PlainBranchServer { url: url_text() }),
                (Some("https"), false) => return Err(SettingsError::SecureBranchServer { url: url_text() }),
                _ => {}
            }
        }
        Ok(())
    }
}
