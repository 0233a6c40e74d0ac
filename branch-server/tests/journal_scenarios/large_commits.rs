//! A group commit larger than SQLite's page cache stands in the write-ahead log as a small one does.

use crate::rows::{self, append, open};
use branch_server::journal::wal::{self, WalFound};
use std::fs;

const HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = 24 + 4096;
/// The page cache has 8 MiB.
const CACHE_PAGES: usize = 2048;

#[test]
fn pages_never_spill_into_the_log_before_their_commit() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut journal = open(directory.path());
    append(&mut journal, 1);
    let begin = usize::try_from(journal.wal_bytes()).expect("small");
    append(&mut journal, 200_000);
    let image = rows::copy(directory.path());
    let log = fs::read(image.path().join("journal.db-wal")).expect("a log");
    let commits = (begin - HEADER_BYTES) / FRAME_BYTES;

    // Each page once and in rising order, and only the last one ends the commit.
    let word = |frame: &[u8], place: usize| {
        frame[place..place + 4].iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
    };
    let frames: Vec<&[u8]> = log[begin..].chunks_exact(FRAME_BYTES).collect();
    let pages: Vec<u32> = frames.iter().map(|frame| word(frame, 0)).collect();
    assert!(pages.len() > CACHE_PAGES, "{} pages fit into the cache", pages.len());
    let fall = pages.windows(2).position(|pair| pair[0] >= pair[1]);
    assert_eq!(fall, None, "a page is written before one with a lower number");
    let ends: Vec<usize> = (0..frames.len()).filter(|frame| word(frames[*frame], 4) != 0).collect();
    assert_eq!(ends, [frames.len() - 1]);

    // So whatever part of it power keeps from the disk, it is a torn last commit and no damage.
    for bad in [0, 1, CACHE_PAGES / 2, CACHE_PAGES, frames.len() - 2, frames.len() - 1] {
        let mut torn = log.clone();
        torn[begin + bad * FRAME_BYTES..][..FRAME_BYTES].fill(0);
        let found = wal::judge(torn.as_slice()).expect("a torn commit");
        let torn_frame = Some((commits + bad + 1) as u64);
        assert_eq!(found, WalFound { commits: 1, frames: commits as u64, torn_frame }, "frame {bad} of the commit");
    }
}
