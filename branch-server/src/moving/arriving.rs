//! Books that are this server's now, on their way from the server that had them.

use super::{Parcel, Whereabouts};
use crate::data_directory::branch_directory;
use crate::journal::sqlite::{self, Extent, JOURNAL_FILE};
use crate::service::{Bank, Hosted, IncomingBooks};
use bank_proto::BranchId;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Beside a journal that has arrived: the ordinal of the server that gave it away and may not know yet that it is
/// here. Until it does, the branch is not opened: that server would give its old copy away again if this one were lost.
const HANDED_OVER_FILE: &str = "handed-over-by";

/// How long another server may take to say whether it has the books. It opens them first; when that takes longer, the
/// next question finds them promised.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the next part of the books may take.
const PART_PATIENCE: Duration = Duration::from_secs(3);

/// What came of asking for a branch's books.
pub(crate) enum Arrival {
    /// They are here, and the branch may be opened.
    Arrived,
    /// Another server serves the branch still.
    ServedBy(u32),
    /// They cannot come now; ask again. The sentence says why.
    NotYet(String),
    /// Every other server answered, and none has them. Whether one of them knows that the branch was open.
    Nowhere { was_seen: bool },
}

/// The books as another server announces them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announced {
    /// How many bytes come.
    pub(crate) size_bytes: u64,
    /// How far they go.
    pub(crate) extent: Extent,
}

/// What another server says.
pub(crate) enum Said {
    /// It gives them away; they come through this.
    Books(Announced, Box<IncomingBooks>),
    /// There is nothing for this server.
    Nothing(Whereabouts),
    /// No answer.
    Silent,
}

/// Whether a branch's books came here and the server that gave them away may not know it.
pub(crate) fn is_unconfirmed(directory: &Path) -> bool {
    directory.join(HANDED_OVER_FILE).exists()
}

/// Asks for a branch's books until they are here, as far as that goes now.
pub(crate) async fn fetch(bank: &Bank, data: &Path, branch: BranchId) -> Arrival {
    let directory = branch_directory(data, branch);
    if is_unconfirmed(&directory) {
        return confirm(bank, &directory, branch).await;
    }
    // What is left of a copy that broke off takes the room of the next one.
    if let Err(error) = remove(&beside(data, branch, "arriving")) {
        tracing::warn!(%branch, %error, "what is left of an earlier copy cannot be removed");
    }
    let (mut nowhere, mut was_seen) = (true, false);
    let mut why = String::new();
    for ordinal in bank.other_servers() {
        let said = tokio::time::timeout(PATIENCE, bank.ask_for_books(ordinal, branch, room_bytes(bank))).await;
        match said.unwrap_or(Said::Silent) {
            Said::Books(announced, _) if !has_room(bank, announced) => {
                return Arrival::NotYet(format!(
                    "there is no room for its {} bytes from server {ordinal}",
                    announced.size_bytes
                ));
            }
            Said::Books(announced, parts) => {
                bank.change(branch, Hosted::unavailable(format!("its books are on their way from server {ordinal}")));
                return match receive(bank, data, branch, ordinal, announced, parts).await {
                    Ok(()) => confirm(bank, &directory, branch).await,
                    Err(error) => {
                        tracing::warn!(%branch, from_server = ordinal, %error, "the branch's books did not arrive");
                        Arrival::NotYet(format!("its books did not arrive as a whole from server {ordinal}"))
                    }
                };
            }
            Said::Nothing(Whereabouts::Served) => return Arrival::ServedBy(ordinal),
            Said::Nothing(Whereabouts::Absent) => {}
            Said::Nothing(Whereabouts::Seen) => was_seen = true,
            Said::Nothing(Whereabouts::Delivered) => {
                was_seen = true;
                tracing::error!(%branch, from_server = ordinal, "the branch's books were handed over to this server and are gone");
            }
            Said::Nothing(Whereabouts::ForAnother) => {
                nowhere = false;
                why = format!("server {ordinal} has its books for another server");
            }
            Said::Nothing(Whereabouts::TooLarge) => {
                nowhere = false;
                why = format!("there is no room for its books from server {ordinal}");
            }
            Said::Nothing(Whereabouts::Leaving) => {
                nowhere = false;
                why = format!("its books are on their way from server {ordinal}");
            }
            Said::Nothing(Whereabouts::Unusable) => {
                nowhere = false;
                why = format!("server {ordinal} has its books and cannot give them away now");
            }
            Said::Silent => {
                nowhere = false;
                if why.is_empty() {
                    why = format!("server {ordinal} does not say whether it has its books");
                }
            }
        }
    }
    if nowhere { Arrival::Nowhere { was_seen } } else { Arrival::NotYet(why) }
}

/// How large books may be: the disk takes them and what opening them makes of them, and orders still find room then.
fn room_bytes(bank: &Bank) -> Option<u64> {
    bank.disk().map(|disk| disk.free_bytes.saturating_sub(disk.reserve_bytes) / 5 * 4)
}

fn has_room(bank: &Bank, announced: Announced) -> bool {
    room_bytes(bank).is_none_or(|room| room >= announced.size_bytes)
}

/// Tells the server that gave the books away that they are here; when it knows, the branch may be opened.
async fn confirm(bank: &Bank, directory: &Path, branch: BranchId) -> Arrival {
    let path = directory.join(HANDED_OVER_FILE);
    let said = fs::read_to_string(&path);
    let Some(ordinal) = said.ok().and_then(|text| text.trim().parse().ok()) else {
        return Arrival::NotYet(format!("its file {HANDED_OVER_FILE} does not name a server"));
    };
    let confirmed = tokio::time::timeout(PATIENCE, bank.confirm_books(ordinal, branch)).await;
    if confirmed != Ok(true) {
        return Arrival::NotYet(format!("its books came from server {ordinal}, which must hear of it first"));
    }
    match fs::remove_file(&path).and_then(|()| sync(directory)) {
        Ok(()) => Arrival::Arrived,
        Err(error) => {
            tracing::warn!(%branch, %error, "the file {HANDED_OVER_FILE} cannot be removed");
            Arrival::NotYet("files beside its journal cannot be used".to_owned())
        }
    }
}

/// Takes the books in: beside the branch's place first, and there when they are whole.
async fn receive(
    bank: &Bank,
    data: &Path,
    branch: BranchId,
    ordinal: u32,
    announced: Announced,
    mut parts: Box<IncomingBooks>,
) -> io::Result<()> {
    let Announced { size_bytes, extent } = announced;
    tracing::info!(%branch, from_server = ordinal, size_bytes, rows = extent.sequence, "the branch's books arrive");
    let draft = beside(data, branch, "arriving");
    let mut file = make_empty(&draft)?;
    let mut digest = blake3::Hasher::new();
    let mut received: u64 = 0;
    loop {
        let next = tokio::time::timeout(PART_PATIENCE, parts.next()).await.ok().flatten();
        match next.ok_or_else(|| io::Error::other("the way broke"))? {
            Parcel::Bytes(bytes) => {
                received += bytes.len() as u64;
                if received > size_bytes {
                    return Err(io::Error::other("more bytes came than were announced"));
                }
                digest.update(&bytes);
                file = bank.workers().run(move || file.write_all(&bytes).map(|()| file)).await??;
            }
            Parcel::Digest(sent) => {
                if received != size_bytes || *digest.finalize().as_bytes() != sent {
                    return Err(io::Error::other("the bytes that came are not those that were sent"));
                }
                break;
            }
        }
    }
    let (data, branches, server) = (data.to_owned(), bank.assignment().branches(), bank.server());
    let install = move || {
        file.sync_all()?;
        drop(file);
        let found = sqlite::accept(&draft, branch, branches, server).map_err(io::Error::other)?;
        if found != extent {
            return Err(io::Error::other(format!("the journal goes up to {found:?}, but was announced as {extent:?}")));
        }
        install(&data, &draft, branch, ordinal)
    };
    bank.workers().run(install).await??;
    tracing::info!(%branch, from_server = ordinal, rows = extent.sequence, "the branch's books have arrived");
    Ok(())
}

fn make_empty(draft: &Path) -> io::Result<File> {
    remove(draft)?;
    fs::create_dir_all(draft)?;
    File::create(draft.join(JOURNAL_FILE))
}

/// Puts arrived books in the branch's place. An old copy there, which is retired, steps aside.
fn install(data: &Path, draft: &Path, branch: BranchId, ordinal: u32) -> io::Result<()> {
    let mut note = File::create(draft.join(HANDED_OVER_FILE))?;
    note.write_all(ordinal.to_string().as_bytes()).and_then(|()| note.sync_all())?;
    sync(draft)?;
    let place = branch_directory(data, branch);
    if place.exists() {
        let aside = beside(data, branch, "retired");
        remove(&aside)?;
        fs::rename(&place, &aside)?;
    }
    fs::rename(draft, &place)?;
    sync(data)
}

fn remove(directory: &Path) -> io::Result<()> {
    if directory.exists() { fs::remove_dir_all(directory) } else { Ok(()) }
}

fn beside(data: &Path, branch: BranchId, state: &str) -> PathBuf {
    let mut name = branch_directory(data, branch).into_os_string();
    name.push(format!(".{state}"));
    PathBuf::from(name)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
