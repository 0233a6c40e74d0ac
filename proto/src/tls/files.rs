//! Which files hold what, as the settings name them.

use super::TlsError;
use std::path::{Path, PathBuf};

/// A file and the setting that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) setting: &'static str,
    pub(super) path: PathBuf,
}

/// What an [`super::Identity`] is read from: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    pub(super) certificate: File,
    pub(super) key: File,
    pub(super) authority: File,
}

/// What a [`super::Door`] is read from: PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorFiles {
    pub(super) certificate: File,
    pub(super) key: File,
}

impl IdentityFiles {
    /// What --tls-certificate, --tls-key and --tls-authority name: the certificate with whatever leads up to its
    /// authority, its key, and the authorities whose certificates are accepted. None of them: no TLS.
    ///
    /// # Errors
    /// Some are given, and not all.
    pub fn of(
        certificate: Option<&Path>,
        key: Option<&Path>,
        authority: Option<&Path>,
    ) -> Result<Option<IdentityFiles>, TlsError> {
        let names = ["--tls-certificate", "--tls-key", "--tls-authority"];
        let together = "--tls-certificate, --tls-key and --tls-authority";
        let files = all_or_none(together, names, [certificate, key, authority])?;
        Ok(files.map(|[certificate, key, authority]| IdentityFiles { certificate, key, authority }))
    }
}

impl DoorFiles {
    /// What --https-certificate and --https-key name. None of them: no HTTPS.
    ///
    /// # Errors
    /// One is given, and not the other.
    pub fn of(certificate: Option<&Path>, key: Option<&Path>) -> Result<Option<DoorFiles>, TlsError> {
        let together = "--https-certificate and --https-key";
        let files = all_or_none(together, ["--https-certificate", "--https-key"], [certificate, key])?;
        Ok(files.map(|[certificate, key]| DoorFiles { certificate, key }))
    }
}

fn all_or_none<const N: usize>(
    together: &'static str,
    names: [&'static str; N],
    paths: [Option<&Path>; N],
) -> Result<Option<[File; N]>, TlsError> {
    if paths.iter().all(Option::is_none) {
        return Ok(None);
    }
    if let Some((missing, _)) = names.into_iter().zip(paths).find(|(_, path)| path.is_none()) {
        return Err(TlsError::Incomplete { together, missing });
    }
    let mut paths = paths.into_iter().flatten();
    Ok(Some(names.map(|setting| File { setting, path: paths.next().unwrap_or(Path::new("")).to_owned() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_an_identity_are_all_there_or_none() {
        let [a, b, c] = ["a", "b", "c"].map(Path::new);
        assert_eq!(IdentityFiles::of(None, None, None), Ok(None));
        let files = IdentityFiles::of(Some(a), Some(b), Some(c)).expect("complete").expect("some");
        assert_eq!((files.certificate.path.as_path(), files.key.path.as_path()), (a, b));
        assert_eq!((files.authority.path.as_path(), files.authority.setting), (c, "--tls-authority"));
        for (given, missing) in [
            ((None, Some(b), Some(c)), "--tls-certificate"),
            ((Some(a), None, Some(c)), "--tls-key"),
            ((Some(a), Some(b), None), "--tls-authority"),
            ((Some(a), None, None), "--tls-key"),
        ] {
            let refused = IdentityFiles::of(given.0, given.1, given.2).expect_err("incomplete").to_string();
            let together = "--tls-certificate, --tls-key and --tls-authority belong together";
            assert_eq!(refused, format!("{together}; {missing} is missing"));
        }
    }

    #[test]
    fn a_door_has_a_certificate_and_its_key_or_neither() {
        let [a, b] = ["a", "b"].map(Path::new);
        assert_eq!(DoorFiles::of(None, None), Ok(None));
        assert!(DoorFiles::of(Some(a), Some(b)).is_ok_and(|files| files.is_some()));
        let refused = DoorFiles::of(Some(a), None).expect_err("incomplete").to_string();
        assert_eq!(refused, "--https-certificate and --https-key belong together; --https-key is missing");
    }
}
