//! What a directory of backups says of itself: `backups.json`.

use bank_proto::Timestamp;
use branch_server::data_directory::BankFile;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The newest format that this program knows.
const FORMAT: u32 = 1;

/// The file.
const FILE: &str = "backups.json";

/// Every backup of one bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    format: u32,
    /// The bank, as its own directory says it.
    pub(crate) bank: BankFile,
    /// Oldest first.
    pub(crate) backups: Vec<Backup>,
}

/// The books of all branches at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backup {
    /// RFC 3339 in UTC.
    pub(crate) taken_at: String,
    /// The last row of every branch, in their order, as `/v1/trial-balance` takes it.
    pub(crate) token: String,
    /// The hash of the group commit that each of these rows closes.
    pub(crate) heads: Vec<String>,
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("there are no backups in {path}: {error}")]
    None { path: PathBuf, error: std::io::Error },
    #[error("{path} is not understood: {error}")]
    Malformed { path: PathBuf, error: serde_json::Error },
    #[error(
        "{path} was written by a newer version of Florin (format {found}; this one knows {FORMAT}); use that version"
    )]
    Newer { path: PathBuf, found: u32 },
    #[error("{path} cannot be written: {error}")]
    Write { path: PathBuf, error: std::io::Error },
}

impl Manifest {
    /// That of a bank without a backup.
    pub(crate) fn new(bank: BankFile) -> Manifest {
        Manifest { format: FORMAT, bank, backups: Vec::new() }
    }

    /// Adds a backup, and forgets all that are older than this. Returns how many were forgotten.
    pub(crate) fn add(&mut self, backup: Backup, keep_from: Option<Timestamp>) -> usize {
        // The same moment again is the same backup.
        self.backups.retain(|earlier| earlier.token != backup.token);
        let before = self.backups.len();
        if let Some(keep_from) = keep_from {
            // Times are written so that they sort as text.
            let keep_from = keep_from.to_string();
            self.backups.retain(|earlier| earlier.taken_at >= keep_from);
        }
        let forgotten = before - self.backups.len();
        self.backups.push(backup);
        forgotten
    }

    /// What a directory says; None when it says nothing yet.
    pub(crate) fn find(directory: &Path) -> Result<Option<Manifest>, ManifestError> {
        match Manifest::read(directory) {
            Err(ManifestError::None { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// What a directory says.
    pub(crate) fn read(directory: &Path) -> Result<Manifest, ManifestError> {
        let path = directory.join(FILE);
        let text = std::fs::read(&path).map_err(|error| ManifestError::None { path: directory.to_owned(), error })?;
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| ManifestError::Malformed { path: path.clone(), error })?;
        if manifest.format > FORMAT {
            return Err(ManifestError::Newer { path, found: manifest.format });
        }
        Ok(manifest)
    }

    /// Puts it into a directory: after a power loss it is there as it was before or as it is now.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), ManifestError> {
        let path = directory.join(FILE);
        let draft = directory.join(format!("{FILE}.draft"));
        let written = || {
            let mut file = File::create(&draft)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)?;
            File::open(directory)?.sync_all()
        };
        written().map_err(|error| ManifestError::Write { path: path.clone(), error })
    }
}

impl Backup {
    /// The last row of every branch; None when the token is not one of so many branches.
    pub(crate) fn rows(&self, branches: u32) -> Option<Vec<u64>> {
        rows(&self.token, branches)
    }
}

/// The last row of every branch, as a token names them.
pub(crate) fn rows(token: &str, branches: u32) -> Option<Vec<u64>> {
    let rows = token.split('.').map(|row| row.parse().ok()).collect::<Option<Vec<u64>>>()?;
    (rows.len() == branches as usize).then_some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_comes_back_as_it_was_written() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(Manifest::find(directory.path()).expect("nothing"), None);
        let mut manifest = Manifest::new(BankFile { format: 1, branches: 2, servers: 1 });
        let (taken_at, token) = ("2026-11-25T00:00:00.000000Z".to_owned(), "3.0".to_owned());
        manifest.backups.push(Backup { taken_at, token, heads: vec!["ab".to_owned(), String::new()] });
        manifest.write(directory.path()).expect("written");
        assert_eq!(Manifest::read(directory.path()).expect("read"), manifest);
        assert_eq!(manifest.backups[0].rows(2), Some(vec![3, 0]));
        assert_eq!(manifest.backups[0].rows(3), None);
    }

    #[test]
    fn backups_that_are_too_old_are_forgotten_but_never_the_new_one() {
        let day = |day: i64| Timestamp(day * 86_400_000_000);
        let backup = |taken: i64| Backup { taken_at: day(taken).to_string(), token: taken.to_string(), heads: vec![] };
        let mut manifest = Manifest::new(BankFile { format: 1, branches: 1, servers: 1 });
        assert_eq!([9, 10, 11].map(|taken| manifest.add(backup(taken), None)), [0, 0, 0]);
        assert_eq!(manifest.add(backup(12), Some(day(10))), 1);
        let tokens = |manifest: &Manifest| manifest.backups.iter().map(|b| b.token.clone()).collect::<Vec<_>>();
        assert_eq!(tokens(&manifest), ["10", "11", "12"]);
        assert_eq!(manifest.add(backup(12), Some(day(99))), 2);
        assert_eq!(tokens(&manifest), ["12"]);
    }

    #[test]
    fn what_a_newer_program_wrote_is_left_to_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let bank = BankFile { format: 1, branches: 1, servers: 1 };
        Manifest { format: 2, ..Manifest::new(bank) }.write(directory.path()).expect("written");
        assert!(matches!(Manifest::find(directory.path()), Err(ManifestError::Newer { found: 2, .. })));
    }
}
