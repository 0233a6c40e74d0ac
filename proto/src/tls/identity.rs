//! [`Identity`]: mutual TLS between the parts of the bank.

use super::files::{File, IdentityFiles};
use super::handshake::{HANDSHAKE_TIMEOUT, HandshakeError, accept};
use super::renewed::Renewed;
use super::{TlsError, expiry, pem, provider};
use hyper_util::rt::TokioIo;
use rustls::client::{Resumption, verify_server_name};
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ServerConfig};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::{client, server};
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

/// What the parts of the bank speak to each other.
const HTTP_2: &[u8] = b"h2";

/// A part of the bank before the others: its certificate, and whose certificates it accepts. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Renewed<Ends, 3>>);

/// Both ends of a connection.
struct Ends {
    listening: Arc<ServerConfig>,
    calling: Arc<ClientConfig>,
    expires_at: Option<i64>,
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, or they do not fit together.
    pub fn read(files: IdentityFiles) -> Result<Identity, TlsError> {
        let files = [files.certificate, files.key, files.authority];
        Renewed::new(files, ends).map(|renewed| Identity(Arc::new(renewed)))
    }

    /// Begins a connection with a caller, who must show a certificate of an authority that is accepted.
    ///
    /// # Errors
    /// The caller has none, is too slow, or speaks something else.
    pub async fn accept(&self, stream: TcpStream) -> Result<server::TlsStream<TcpStream>, HandshakeError> {
        let config = Arc::clone(&self.0.current().listening);
        accept(config, stream, HANDSHAKE_TIMEOUT).await
    }

    /// The way to another part of the bank at an https:// address, whose certificate must be of an accepted authority
    /// and for the host in the address. Connected when first needed, and again, with the certificates of then,
    /// whenever it is lost.
    #[must_use]
    pub fn channel(&self, endpoint: &Endpoint) -> Channel {
        let identity = self.clone();
        endpoint.connect_with_connector_lazy(tower::service_fn(move |address: Uri| {
            let identity = identity.clone();
            async move { identity.connect(&address).await.map(TokioIo::new) }
        }))
    }

    async fn connect(&self, address: &Uri) -> io::Result<client::TlsStream<TcpStream>> {
        let no_host = || io::Error::new(io::ErrorKind::InvalidInput, format!("{address} names no host"));
        let host = bare(address.host().ok_or_else(no_host)?);
        let name = ServerName::try_from(host.to_owned()).map_err(|_| no_host())?;
        let stream = TcpStream::connect((host, address.port_u16().unwrap_or(443))).await?;
        // The endpoint's own setting is for connections that it makes itself.
        stream.set_nodelay(true)?;
        let config = Arc::clone(&self.0.current().calling);
        TlsConnector::from(config).connect(name, stream).await
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

    /// Whether the certificate that a caller showed is for one of these hosts.
    #[must_use]
    pub fn is_any_of(caller: &server::TlsStream<TcpStream>, hosts: &[ServerName<'_>]) -> bool {
        let certificates = caller.get_ref().1.peer_certificates().unwrap_or_default();
        let Some(Ok(certificate)) = certificates.first().map(ParsedCertificate::try_from) else { return false };
        hosts.iter().any(|host| verify_server_name(&certificate, host).is_ok())
    }

    /// The host of an address, as certificates name it; None when it has none.
    #[must_use]
    pub fn host_of(address: &Uri) -> Option<ServerName<'static>> {
        ServerName::try_from(bare(address.host()?).to_owned()).ok()
    }
}

/// A host without the brackets that addresses put around IPv6.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn ends([certificate, key, authority]: [(&File, &[u8]); 3]) -> Result<Ends, TlsError> {
    let certified = pem::certified_key(certificate, key)?;
    let expires_at = certified.cert.first().and_then(|certificate| expiry::not_after(certificate));
    let roots = pem::authorities(authority.0, authority.1)?;
    let unusable = |error: &dyn std::fmt::Display| pem::wrong(authority.0, &error.to_string());

    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider());
    let verifier = verifier.build().map_err(|error| unusable(&error))?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| unusable(&error))?.with_client_cert_verifier(verifier);
    let mut listening = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&certified))));
    listening.alpn_protocols = vec![HTTP_2.to_vec()];
    // A certificate that has expired, or whose authority is gone, must not come back by way of an older session.
    // Connections are few and last long, so there is nothing to win by resuming one.
    listening.session_storage = Arc::new(NoServerSessionStorage {});
    listening.send_tls13_tickets = 0;

    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| unusable(&error))?.with_root_certificates(roots);
    let mut calling = builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    calling.alpn_protocols = vec![HTTP_2.to_vec()];
    calling.resumption = Resumption::disabled();
    Ok(Ends { listening: Arc::new(listening), calling: Arc::new(calling), expires_at })
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::certificates::Authority;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    #[test]
    fn files_that_do_not_fit_each_other_leave_the_old_ones_in_use_until_they_do() {
        let directory = tempfile::tempdir().expect("a directory");
        let (authority, certificate_of) = (Authority::new(), |identity: &Identity| identity.0.current());
        let files = authority.issue("a").write(directory.path());
        let named = IdentityFiles::of(Some(&files.certificate), Some(&files.key), Some(&files.authority));
        let identity = Identity::read(named.expect("complete").expect("some")).expect("an identity");
        let before = certificate_of(&identity);
        let new = authority.issue("a");
        // Whoever replaces them one by one is seen in between.
        std::fs::write(&files.key, &new.key).expect("written");
        let told = identity.0.renew().expect("a change").expect_err("they do not fit").to_string();
        assert_eq!(told, "--tls-key is not the key of --tls-certificate");
        assert_eq!(identity.0.renew(), None, "said once");
        assert!(Arc::ptr_eq(&before, &certificate_of(&identity)));
        std::fs::write(&files.certificate, &new.certificate).expect("written");
        assert_eq!(identity.0.renew(), Some(Ok(())));
        assert!(!Arc::ptr_eq(&before, &certificate_of(&identity)));
    }

    #[test]
    fn hosts_are_named_as_certificates_name_them() {
        let host_of = |address: &'static str| Identity::host_of(&Uri::from_static(address));
        for (address, host) in [
            ("https://branch-server-0.branch-server:50051", Some("branch-server-0.branch-server")),
            ("https://127.0.0.1:1", Some("127.0.0.1")),
            ("https://[::1]:1", Some("::1")),
            ("/nowhere", None),
        ] {
            assert_eq!(host_of(address).map(|host| host.to_str().into_owned()).as_deref(), host, "{address}");
        }
    }

    #[test]
    fn a_wildcard_with_one_label_behind_it_is_for_nobody() {
        let is_for = |name: &str, host: &'static str| {
            let pem = Authority::new().issue(name).certificate;
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
            let certificate = ParsedCertificate::try_from(&certificate).expect("a certificate");
            verify_server_name(&certificate, &ServerName::try_from(host).expect("a host")).is_ok()
        };
        assert!(is_for("branch-server-0.branch-server", "branch-server-0.branch-server"));
        assert!(!is_for("*.branch-server", "branch-server-0.branch-server"));
        assert!(is_for("*.branch-server.bank.svc", "branch-server-0.branch-server.bank.svc"));
    }
}
