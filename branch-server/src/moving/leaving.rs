//! Books that are another server's now, at the server that had them.

use super::{SeenBranches, arriving};
use crate::data_directory::branch_directory;
use crate::derived;
use crate::environment::Workers;
use crate::journal::sqlite::{self, JOURNAL_FILE, Retirement};
use crate::journal::{ChainHash, JournalSettings, OpenError, Sequence, SqliteJournal};
use bank_proto::{Assignment, BranchId};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

/// Bytes of one part: many fit into the smallest message limit, and a gigabyte is a few thousand of them.
const PART_BYTES: usize = 256 * 1024;

/// How long the asker may take with one part. Whoever stands still asks again.
const PART_PATIENCE: Duration = Duration::from_secs(10);

/// What this server has below its data directory for others.
#[derive(Clone)]
pub(crate) struct Leaving {
    directory: PathBuf,
    assignment: Assignment,
    server: u32,
    workers: Workers,
    seen: Arc<SeenBranches>,
    /// Of each branch that was asked for, the gate: it leaves once at a time.
    gates: Arc<std::sync::Mutex<BTreeMap<BranchId, Arc<Mutex<()>>>>>,
}

/// What another server hears when it asks for a branch's books.
pub(crate) enum Answer {
    /// There is nothing for it here now.
    Nothing(Whereabouts),
    /// The books: so many bytes, which go up to this row.
    Books { size_bytes: u64, sequence: Sequence, head: ChainHash, parts: mpsc::Receiver<Parcel> },
}

/// Why there is nothing for the asker here now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// The branch is not here, or what is here is an old copy whose successor is another server.
    Absent,
    /// As far as is known here, the branch is this server's own.
    Served,
    /// It is here, for another server than the asker.
    ForAnother,
    /// It is here and cannot be given away now.
    Unusable,
    /// The asker has confirmed that it has it.
    Delivered,
    /// It is not here, and was open somewhere.
    Seen,
    /// It is here, and the asker has no room for it.
    TooLarge,
    /// It is on its way to the asker.
    Leaving,
}

/// A part of the books. Without a digest in the end they have not arrived.
pub(crate) enum Parcel {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// BLAKE3 of all bytes; nothing follows.
    Digest([u8; 32]),
}

impl Leaving {
    pub(crate) fn new(
        directory: PathBuf,
        assignment: Assignment,
        server: u32,
        workers: Workers,
        seen: Arc<SeenBranches>,
    ) -> Leaving {
        Leaving { directory, assignment, server, workers, seen, gates: Arc::default() }
    }

    /// Another server asks for a branch's books: when they are here and its own, they are promised to it durably, and
    /// follow.
    pub(crate) async fn hand_over(&self, branch: BranchId, asker: u32, room_bytes: Option<u64>) -> Answer {
        let owner = self.assignment.server_of(branch);
        if owner == Some(self.server) || asker == self.server {
            return Answer::Nothing(Whereabouts::Served);
        }
        let Ok(gate) = self.gate(branch).try_lock_owned() else { return Answer::Nothing(Whereabouts::Leaving) };
        let directory = branch_directory(&self.directory, branch);
        let (branches, is_its_own) = (self.assignment.branches(), owner == Some(asker));
        let promise = {
            let directory = directory.clone();
            let asker = Asker { server: asker, is_owner: is_its_own, room_bytes };
            move || promise(&directory, branch, branches, asker)
        };
        let (path, extent) = match self.workers.run(promise).await {
            Ok(Ok(Promise::Given(path, extent))) => (path, extent),
            Ok(Ok(Promise::Nothing(Whereabouts::Absent))) => {
                return Answer::Nothing(match self.seen.contains(branch) {
                    Some(true) => Whereabouts::Seen,
                    Some(false) => Whereabouts::Absent,
                    // Nobody founds anything on the word of a server that has forgotten.
                    None => Whereabouts::Unusable,
                });
            }
            Ok(Ok(Promise::Nothing(whereabouts))) => return Answer::Nothing(whereabouts),
            Ok(Err(error)) => {
                tracing::warn!(%branch, %error, "the branch's books cannot be given away now");
                return Answer::Nothing(Whereabouts::Unusable);
            }
            Err(_) => return Answer::Nothing(Whereabouts::Unusable),
        };
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size_bytes, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(%branch, %error, "the branch's books cannot be read now");
                return Answer::Nothing(Whereabouts::Unusable);
            }
        };
        tracing::info!(%branch, to_server = asker, size_bytes, "the branch's books leave; it is never opened here again");
        let (sender, parts) = mpsc::channel(4);
        let workers = self.workers;
        tokio::spawn(async move {
            if let Err(error) = send(file, workers, sender).await {
                tracing::warn!(%branch, %error, "the branch's books did not leave as a whole; they are asked for again");
            }
            drop::<OwnedMutexGuard<()>>(gate);
        });
        Answer::Books { size_bytes, sequence: extent.sequence, head: extent.head, parts }
    }

    fn gate(&self, branch: BranchId) -> Arc<Mutex<()>> {
        // A map is whole between any two changes.
        self.gates.lock().unwrap_or_else(PoisonError::into_inner).entry(branch).or_default().clone()
    }

    /// The asker has a branch's books, durably. False when that cannot be remembered now, or cannot be.
    pub(crate) async fn confirm(&self, branch: BranchId, asker: u32) -> bool {
        let gate = self.gate(branch);
        let _gate = gate.lock().await;
        let (directory, branches) = (branch_directory(&self.directory, branch), self.assignment.branches());
        let confirmed = self.workers.run(move || sqlite::confirm(&directory, branch, branches, asker)).await;
        match confirmed {
            Ok(Ok(())) => {
                tracing::info!(%branch, server = asker, "the branch's books have arrived; the copy here may be deleted");
                true
            }
            Ok(Err(error)) => {
                tracing::warn!(%branch, %error, "that the branch's books have arrived cannot be remembered now");
                false
            }
            Err(_) => false,
        }
    }
}

enum Promise {
    Given(PathBuf, sqlite::Extent),
    Nothing(Whereabouts),
}

/// Who asks for books.
struct Asker {
    server: u32,
    /// Whether the branch is its own.
    is_owner: bool,
    /// What it has room for, when it says so.
    room_bytes: Option<u64>,
}

/// Promises a journal that is in office; or says what has become of it. It is opened as its owner would, so that
/// what a crash left behind is mended, and what is damaged is not given away.
fn promise(directory: &Path, branch: BranchId, branches: u32, asker: Asker) -> Result<Promise, OpenError> {
    let Asker { server: asker, is_owner, room_bytes } = asker;
    let journal = directory.join(JOURNAL_FILE);
    match journal.try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(Promise::Nothing(Whereabouts::Absent)),
        // A disk that does not answer is no disk without the books.
        Err(source) => return Err(OpenError::Io { path: journal, source }),
    }
    if arriving::is_unconfirmed(directory) {
        // Whoever gave it away would do so again if it were lost here: that server hears of it first.
        return Ok(Promise::Nothing(Whereabouts::Unusable));
    }
    match sqlite::retirement(directory, branch, branches)?.0 {
        Retirement::Delivered(server) if server == asker => return Ok(Promise::Nothing(Whereabouts::Delivered)),
        Retirement::Delivered(_) => return Ok(Promise::Nothing(Whereabouts::Absent)),
        Retirement::Promised(server) if server != asker => return Ok(Promise::Nothing(Whereabouts::ForAnother)),
        _ if !is_owner => return Ok(Promise::Nothing(Whereabouts::ForAnother)),
        Retirement::Promised(_) => {}
        Retirement::InOffice if room_bytes.is_some_and(|room| room < size_bytes(directory)) => {
            return Ok(Promise::Nothing(Whereabouts::TooLarge));
        }
        Retirement::InOffice => {
            let snapshot = derived::read_snapshot(directory, branch);
            let known_sequence = derived::known_sequence(directory, snapshot.as_ref());
            let settings = JournalSettings { known_sequence, ..JournalSettings::new(branch, branches) };
            SqliteJournal::open(directory, settings)?.retire(asker)?;
        }
    }
    let extent = sqlite::retirement(directory, branch, branches)?.1;
    match sqlite::retired_file(directory, branch, branches)? {
        Some(path) => Ok(Promise::Given(path, extent)),
        None => Ok(Promise::Nothing(Whereabouts::Unusable)),
    }
}

/// What the journal takes, with what its log will add to it.
fn size_bytes(directory: &Path) -> u64 {
    let journal = directory.join(JOURNAL_FILE);
    let log = crate::journal::wal_path(&journal);
    [journal, log].iter().filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).sum()
}

async fn send(mut file: File, workers: Workers, parts: mpsc::Sender<Parcel>) -> std::io::Result<()> {
    let mut digest = blake3::Hasher::new();
    loop {
        let read = move || {
            let mut bytes = vec![0; PART_BYTES];
            let count = file.read(&mut bytes)?;
            bytes.truncate(count);
            Ok::<_, std::io::Error>((file, bytes))
        };
        let bytes;
        (file, bytes) = workers.run(read).await??;
        let gone = || std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the asker is gone");
        if bytes.is_empty() {
            return parts.send(Parcel::Digest(digest.finalize().into())).await.map_err(|_| gone());
        }
        digest.update(&bytes);
        let taken = tokio::time::timeout(PART_PATIENCE, parts.send(Parcel::Bytes(bytes))).await;
        let still = || std::io::Error::new(std::io::ErrorKind::TimedOut, "the asker stands still");
        taken.map_err(|_| still())?.map_err(|_| gone())?;
    }
}
