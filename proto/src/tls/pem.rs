//! What PEM files hold, and whether it fits together.

use super::TlsError;
use super::files::File;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// A certificate, and whatever leads up to its authority, with the key of it.
pub(super) fn certified_key(certificate: (&File, &[u8]), key: (&File, &[u8])) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(certificate)?;
    let (file, text) = key;
    let secret = PrivateKeyDer::from_pem_slice(text).map_err(|_| wrong(file, "holds no private key in PEM"))?;
    let provider = super::provider();
    match CertifiedKey::from_der(chain, secret, &provider) {
        Ok(certified) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsError::OtherKey { key: file.setting, certificate: certificate.0.setting })
        }
        Err(error @ rustls::Error::InvalidCertificate(_)) => Err(wrong(certificate.0, &unreadable(&error))),
        Err(error) => Err(wrong(file, &error.to_string())),
    }
}

/// Those whose certificates are accepted.
pub(super) fn authorities(file: &File, text: &[u8]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates((file, text))? {
        roots.add(certificate).map_err(|error| wrong(file, &unreadable(&error)))?;
    }
    Ok(Arc::new(roots))
}

fn certificates((file, text): (&File, &[u8])) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = || wrong(file, "holds no certificate in PEM");
    let found: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(|_| none())?;
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

fn unreadable(error: &rustls::Error) -> String {
    let cause = match error {
        rustls::Error::InvalidCertificate(cause) => cause.to_string(),
        other => other.to_string(),
    };
    format!("holds a certificate that cannot be read: {cause}")
}

/// A file that does not hold what it should.
pub(super) fn wrong(file: &File, reason: &str) -> TlsError {
    TlsError::File { setting: file.setting, path: file.path.clone(), reason: reason.to_owned() }
}
