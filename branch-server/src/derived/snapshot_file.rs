//! Bytes in a file that is either whole or not there: `derived.snapshot`.
//!
//! Header (88 bytes): magic, format, branch, the row and the chain's hash that the payload is derived
//! up to, BLAKE3 over everything but itself. Then the payload.

use crate::journal::{ChainHash, Sequence};
use bank_proto::BranchId;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

pub(super) const NAME: &str = "derived.snapshot";
const MAGIC: [u8; 8] = *b"FLORNSNP";
/// Raised with the payload's layout: a snapshot of another format is as good as none.
const FORMAT: u32 = 3;
const PREFIX_BYTES: usize = 56;

/// A snapshot that is whole.
pub(super) struct SnapshotFile {
    pub(super) sequence: Sequence,
    pub(super) head: ChainHash,
    pub(super) payload: Vec<u8>,
}

/// Puts a snapshot in the place of the one before it. At every moment one of the two is there.
pub(super) fn write(
    directory: &Path,
    branch: BranchId,
    sequence: Sequence,
    head: ChainHash,
    payload: &[u8],
) -> io::Result<()> {
    let prefix = prefix(branch, sequence, head);
    let draft = directory.join(format!("{NAME}.draft"));
    let mut file = File::create(&draft)?;
    file.write_all(&prefix)?;
    file.write_all(checksum(&prefix, payload).as_bytes())?;
    file.write_all(payload)?;
    file.sync_all()?;
    std::fs::rename(&draft, directory.join(NAME))?;
    File::open(directory)?.sync_all()
}

/// The snapshot of a branch; None when there is none, or it is damaged and as good as none.
pub(super) fn read(directory: &Path, branch: BranchId) -> Option<SnapshotFile> {
    let bytes = std::fs::read(directory.join(NAME)).ok()?;
    let (prefix_bytes, rest) = bytes.split_first_chunk::<PREFIX_BYTES>()?;
    let (stored_checksum, payload) = rest.split_first_chunk::<32>()?;
    let sequence = u64::from_le_bytes(*prefix_bytes[16..].first_chunk()?);
    let head = ChainHash(*prefix_bytes[24..].first_chunk()?);
    let is_whole = *prefix_bytes == prefix(branch, sequence, head)
        && checksum(prefix_bytes, payload).as_bytes() == stored_checksum;
    if !is_whole {
        tracing::warn!(%branch, "the snapshot is damaged; the books are folded from the journal instead");
        return None;
    }
    Some(SnapshotFile { sequence, head, payload: payload.to_vec() })
}

fn prefix(branch: BranchId, sequence: Sequence, head: ChainHash) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..8].copy_from_slice(&MAGIC);
    prefix[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    prefix[12..16].copy_from_slice(&branch.get().to_le_bytes());
    prefix[16..24].copy_from_slice(&sequence.to_le_bytes());
    prefix[24..56].copy_from_slice(&head.0);
    prefix
}

fn checksum(prefix: &[u8], payload: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(prefix).update(payload).finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_whole_or_not_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let branch = BranchId::new(1).expect("a branch");
        assert!(read(directory.path(), branch).is_none());
        write(directory.path(), branch, 7, ChainHash([9; 32]), b"books").expect("written");
        let found = read(directory.path(), branch).expect("a snapshot");
        assert_eq!((found.sequence, found.head, &*found.payload), (7, ChainHash([9; 32]), &b"books"[..]));
        assert!(read(directory.path(), BranchId::new(2).expect("a branch")).is_none(), "another branch's");
        let path = directory.path().join(NAME);
        let whole = std::fs::read(&path).expect("bytes");
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            std::fs::write(&path, &bytes).expect("written");
            assert!(read(directory.path(), branch).is_none(), "byte {place}");
        }
    }
}
