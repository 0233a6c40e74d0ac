//! How far the journal went, told from outside of it: `journal.tide`, a high-water mark.
//!
//! A write-ahead log that vanishes, or is cut off at the end of an earlier commit, leaves a journal
//! that is whole and too short: nothing in SQLite's files tells. So after each group commit the row
//! that it ended in is written down here as well, and an opening that finds less refuses.
//!
//! A mark is never ahead of the journal. It is written only after the group commit's sync has
//! returned, so whatever part of it reaches the disk, and whenever, speaks of rows that were there
//! before. It is not synced, so after a power loss it may be behind, by as much as the system keeps
//! written pages to itself; then it checks less and still says nothing wrong. A killed process loses
//! nothing of it: what was written is the system's.
//!
//! Two slots are written in turn, each in a page of its own and each with a checksum. A write that
//! was torn, or a slot that is damaged, is as good as none, and the other slot holds the mark before,
//! which is only behind. The file has its full length before the first mark, so that a mark takes no
//! room on a full disk and changes nothing in the file system that a commit's sync would wait for.
//!
//! The file may be deleted while the branch is stopped. That loses the check until the next opening,
//! and nothing else; whoever puts an older copy of a journal back on purpose has to do it.
//!
//! Slot (96 bytes): magic, format, branch, epoch, sequence, head, BLAKE3 over all before it.

use super::{ChainHash, Sequence};
use bank_proto::BranchId;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// The file's name in a branch's directory.
pub const TIDE_FILE: &str = "journal.tide";

const MAGIC: [u8; 8] = *b"FLORTIDE";
const FORMAT: u32 = 1;
const CLAIM_BYTES: usize = 64;
const SLOT_BYTES: usize = CLAIM_BYTES + 32;
/// What systems write as a whole: no write of one slot can touch the other.
const PAGE_BYTES: usize = 4096;
const FILE_BYTES: usize = 2 * PAGE_BYTES;

/// What was durable once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The epoch of the owner who wrote it.
    pub epoch: u64,
    /// The last row of the last group commit; 0 when there was none.
    pub sequence: Sequence,
    /// The hash of that group commit.
    pub head: ChainHash,
}

/// The newest mark of a branch; None when there is none that can be believed.
#[must_use]
pub fn read(directory: &Path, branch: BranchId) -> Option<Mark> {
    newest(directory, branch).map(|(_, mark)| mark)
}

/// The newest mark and the slot that it stands in.
fn newest(directory: &Path, branch: BranchId) -> Option<(usize, Mark)> {
    let bytes = match std::fs::read(directory.join(TIDE_FILE)) {
        Ok(bytes) => bytes,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::warn!(%branch, %error, "journal.tide cannot be read; lost rows at the journal's end may go unnoticed");
            }
            return None;
        }
    };
    let slot = |index: usize| Some((index, decode(bytes.get(index * PAGE_BYTES..)?, branch)?));
    let newest = (0..2).filter_map(slot).max_by_key(|(_, mark)| (mark.epoch, mark.sequence));
    if newest.is_none() && bytes.iter().any(|byte| *byte != 0) {
        tracing::warn!(%branch, "journal.tide is damaged; lost rows at the journal's end may go unnoticed");
    }
    newest
}

/// Writes the marks of one branch. Whatever happens to its file, the bank goes on: only the check
/// at the next opening is weaker.
#[derive(Debug)]
pub(super) struct Tide {
    branch: BranchId,
    /// None when it could not be opened.
    file: Option<File>,
    /// What stood there when it was opened.
    found: Option<Mark>,
    /// The slot that does not hold the newest mark.
    next: usize,
    /// The last mark was not written, and that was said.
    failing: bool,
}

impl Tide {
    /// Opens the file of a branch's directory for the branch's owner, and makes it when it is not there.
    pub(super) fn open(directory: &Path, branch: BranchId) -> Tide {
        let newest = newest(directory, branch);
        let file = open_full_length(directory);
        let file = file.inspect_err(|error| {
            tracing::warn!(%branch, %error, "journal.tide cannot be kept; lost rows at the journal's end will go unnoticed");
        });
        let next = newest.map_or(0, |(slot, _)| 1 - slot);
        Tide { branch, file: file.ok(), found: newest.map(|(_, mark)| mark), next, failing: false }
    }

    /// The newest mark that stood there when the file was opened.
    pub(super) fn found(&self) -> Option<Mark> {
        self.found
    }

    /// Writes down what has just become durable. Not before: see above.
    pub(super) fn mark(&mut self, mark: Mark) {
        let Some(file) = &self.file else { return };
        match file.write_all_at(&encode(self.branch, &mark), (self.next * PAGE_BYTES) as u64) {
            Ok(()) => {
                // After a failure the same slot is tried again: the other one holds the newest mark.
                self.next = 1 - self.next;
                self.failing = false;
            }
            Err(error) => {
                if !self.failing {
                    let branch = self.branch;
                    tracing::warn!(%branch, %error, "journal.tide cannot be written; lost rows at the journal's end may go unnoticed");
                }
                self.failing = true;
            }
        }
    }
}

impl Drop for Tide {
    /// At a clean stop the mark outlives a power loss too. Nothing relies on it.
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let _ = file.sync_data();
        }
    }
}

fn open_full_length(directory: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join(TIDE_FILE))?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX).min(FILE_BYTES);
    file.write_all_at(&[0; FILE_BYTES][length..], length as u64)?;
    Ok(file)
}

fn encode(branch: BranchId, mark: &Mark) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&MAGIC);
    slot[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    slot[12..16].copy_from_slice(&branch.get().to_le_bytes());
    slot[16..24].copy_from_slice(&mark.epoch.to_le_bytes());
    slot[24..32].copy_from_slice(&mark.sequence.to_le_bytes());
    slot[32..64].copy_from_slice(&mark.head.0);
    let checksum = blake3::hash(&slot[..CLAIM_BYTES]);
    slot[CLAIM_BYTES..].copy_from_slice(checksum.as_bytes());
    slot
}

/// The mark of a slot that is whole and this branch's.
fn decode(bytes: &[u8], branch: BranchId) -> Option<Mark> {
    let slot: &[u8; SLOT_BYTES] = bytes.first_chunk()?;
    let mark = Mark {
        epoch: u64::from_le_bytes(*slot[16..].first_chunk()?),
        sequence: u64::from_le_bytes(*slot[24..].first_chunk()?),
        head: ChainHash(*slot[32..].first_chunk()?),
    };
    (encode(branch, &mark) == *slot).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch() -> BranchId {
        BranchId::new(7).expect("a branch")
    }

    fn mark(sequence: Sequence) -> Mark {
        Mark { epoch: 3, sequence, head: ChainHash([9; 32]) }
    }

    #[test]
    fn a_slot_damaged_anywhere_leaves_the_mark_before() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(read(directory.path(), branch()), None);
        let mut tide = Tide::open(directory.path(), branch());
        (1..=5).for_each(|sequence| tide.mark(mark(sequence)));
        drop(tide);
        assert_eq!(read(directory.path(), branch()), Some(mark(5)));
        assert_eq!(read(directory.path(), BranchId::new(8).expect("a branch")), None, "another branch's");
        let path = directory.path().join(TIDE_FILE);
        let whole = std::fs::read(&path).expect("bytes");
        assert_eq!(whole.len(), FILE_BYTES);
        for place in 0..SLOT_BYTES {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            std::fs::write(&path, &bytes).expect("written");
            assert_eq!(read(directory.path(), branch()), Some(mark(4)), "byte {place}");
            // The next owner writes over the damaged slot, not over the good one.
            Tide::open(directory.path(), branch()).mark(mark(6));
            let bytes = std::fs::read(&path).expect("bytes");
            assert_eq!(bytes[PAGE_BYTES..], whole[PAGE_BYTES..], "byte {place}");
            assert_eq!(read(directory.path(), branch()), Some(mark(6)), "byte {place}");
        }
        for length in [0, 1, SLOT_BYTES - 1] {
            std::fs::write(&path, &whole[..length]).expect("written");
            assert_eq!(read(directory.path(), branch()), None, "{length} bytes");
            Tide::open(directory.path(), branch()).mark(mark(7));
            assert_eq!(read(directory.path(), branch()), Some(mark(7)), "{length} bytes");
        }
    }

    #[test]
    #[ignore = "prints a figure; it judges nothing"]
    #[expect(clippy::disallowed_methods, reason = "it measures time")]
    fn speed_of_marks() {
        let directory = tempfile::tempdir_in(".").expect("a directory on a real disk");
        let mut tide = Tide::open(directory.path(), branch());
        let count = 1_000_000;
        let start = std::time::Instant::now();
        (1..=u64::from(count)).for_each(|sequence| tide.mark(mark(sequence)));
        println!("a mark: {:?}", start.elapsed() / count);
    }

    #[test]
    fn the_highest_epoch_counts_before_the_highest_row() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut tide = Tide::open(directory.path(), branch());
        tide.mark(mark(9));
        tide.mark(Mark { epoch: 4, ..mark(2) });
        assert_eq!(read(directory.path(), branch()), Some(Mark { epoch: 4, ..mark(2) }));
    }
}
