//! The directory of a bank: `bank.json`, and one directory per branch.

use crate::journal::OpenError;
use crate::journal::lock::LockError;
use crate::teller::opening::OpenBranchError;
use bank_proto::{Assignment, BranchId};
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The newest format of the data directory that this program knows.
pub const FORMAT: u32 = 1;

/// Where a bank is built in its directory before it is put in its place. As long as it is there, nobody starts on it.
pub const RESTORING: &str = "restoring";

/// Says in the directory of a bank that its books are in a database now, and in which: nobody starts on the files.
pub const STORED_ELSEWHERE: &str = "store";

/// What `bank.json` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankFile {
    /// The format of the directory.
    pub format: u32,
    /// How many branches the bank was founded with.
    pub branches: u32,
    /// How many branch servers there were at the founding; 0 when that is not known.
    #[serde(default)]
    pub servers: u32,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A newer Florin made it.
    #[error(
        "{directory} was made by a newer version of Florin (format {found}; this one knows {FORMAT}); use that version"
    )]
    Newer {
        /// The directory.
        directory: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It holds another bank.
    #[error("{directory} holds a bank of {found} branches, not {wanted}; the number never changes after the founding")]
    Branches {
        /// The directory.
        directory: PathBuf,
        /// How many it was founded with.
        found: u32,
        /// How many the settings say.
        wanted: u32,
    },
    /// A branch is assigned to this server, but its books are not here.
    #[error(
        "{directory} was founded for {founded} branch servers and does not hold branch {branch}, which is this \
         server's now that there are {servers}; its books are elsewhere: start {founded} servers, or say in an \
         assignment file which branches move"
    )]
    BranchElsewhere {
        /// The directory.
        directory: PathBuf,
        /// The branch that is not there.
        branch: BranchId,
        /// How many servers there were at the founding.
        founded: u32,
        /// How many there are now.
        servers: u32,
    },
    /// A restore into it was interrupted, or goes on.
    #[error(
        "{directory} holds `{RESTORING}`: a restore into it is under way, or was interrupted; empty the directory and restore again"
    )]
    Restoring {
        /// The directory.
        directory: PathBuf,
    },
    /// The books have left it.
    #[error("the books of the bank in {directory} are in PostgreSQL at {shown}; name it in --store")]
    StoredElsewhere {
        /// The directory.
        directory: PathBuf,
        /// Where they are.
        shown: String,
    },
    /// Another process has it.
    #[error("{directory} is in use by another process")]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// A branch's journal is whole, but not for this program or these settings.
    #[error("{0}")]
    Journal(String),
    /// It cannot be read or written.
    #[error("{path} cannot be used: {error}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// `bank.json` says nothing that can be understood.
    #[error("{path} is not understood: {what}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// The directory of one branch.
#[must_use]
pub fn branch_directory(directory: &Path, branch: BranchId) -> PathBuf {
    directory.join(format!("branch-{:04}", branch.get()))
}

/// Founds a bank in an empty directory, or checks that the one there fits: with another number of
/// servers than at the founding, no branch may be founded anew, because its books are elsewhere.
///
/// # Errors
/// Why the directory cannot be used.
pub fn prepare(directory: &Path, assignment: &Assignment, server: u32) -> Result<BankFile, DataError> {
    let (branches, servers) = (assignment.branches(), assignment.founding_servers());
    let path = directory.join("bank.json");
    let failed = |error| DataError::Io { path: path.clone(), error };
    std::fs::create_dir_all(directory).map_err(|error| DataError::Io { path: directory.to_owned(), error })?;
    if directory.join(RESTORING).exists() {
        return Err(DataError::Restoring { directory: directory.to_owned() });
    }
    if let Ok(shown) = std::fs::read_to_string(directory.join(STORED_ELSEWHERE)) {
        return Err(DataError::StoredElsewhere { directory: directory.to_owned(), shown });
    }
    if !path.exists() {
        let text = serde_json::to_string(&BankFile { format: FORMAT, branches, servers }).unwrap_or_default();
        // Several servers of one machine may found the bank at the same moment: each writes a
        // file of its own, and the first link wins.
        let draft = directory.join(format!("bank.json.{}", std::process::id()));
        let mut file = std::fs::File::create(&draft).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        let linked = std::fs::hard_link(&draft, &path);
        std::fs::remove_file(&draft).map_err(failed)?;
        match linked {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => std::fs::File::open(directory).and_then(|handle| handle.sync_all()).map_err(failed)?,
        }
    }
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    let bank: BankFile = serde_json::from_str(&text)
        .map_err(|error| DataError::Malformed { path: path.clone(), what: error.to_string() })?;
    if bank.format > FORMAT {
        return Err(DataError::Newer { directory: directory.to_owned(), found: bank.format });
    }
    if bank.branches != branches {
        return Err(DataError::Branches { directory: directory.to_owned(), found: bank.branches, wanted: branches });
    }
    if bank.servers != servers {
        let absent =
            |branch: &BranchId| !assignment.was_moved(*branch) && !branch_directory(directory, *branch).exists();
        if let Some(branch) = assignment.branches_of(server).find(absent) {
            let directory = directory.to_owned();
            return Err(DataError::BranchElsewhere { directory, branch, founded: bank.servers, servers });
        }
    }
    Ok(bank)
}

/// Whether a server has opened all its branches in this directory before. From then on a branch whose
/// directory is missing was lost, and must not be founded again.
#[must_use]
pub fn was_founded(directory: &Path, server: u32) -> bool {
    founded_marker(directory, server).exists()
}

/// Remembers that a server has opened all its branches in this directory.
///
/// # Errors
/// The directory cannot be written.
pub fn remember_founding(directory: &Path, server: u32) -> Result<(), DataError> {
    let path = founded_marker(directory, server);
    let failed = |error| DataError::Io { path: path.clone(), error };
    let written = std::fs::File::create(&path).and_then(|file| file.sync_all());
    written.and_then(|()| std::fs::File::open(directory)?.sync_all()).map_err(failed)
}

fn founded_marker(directory: &Path, server: u32) -> PathBuf {
    directory.join(format!("server-{server}.founded"))
}

/// What keeps a branch from opening because the bank is set up wrongly, while its books may be whole:
/// the process must not start then. A lock that another process holds is among them: two servers on
/// one data directory is a mistake that waiting does not mend, and a predecessor that is still ending
/// is gone when whoever restarts this process tries again.
#[must_use]
pub fn wrong_setup(error: &OpenBranchError) -> Option<DataError> {
    match error {
        OpenBranchError::Journal(OpenError::Lock(LockError::Held { directory })) => {
            Some(DataError::InUse { directory: directory.clone() })
        }
        OpenBranchError::Journal(error @ OpenError::NewerFormat { .. }) => Some(DataError::Journal(error.to_string())),
        _ => None,
    }
}
