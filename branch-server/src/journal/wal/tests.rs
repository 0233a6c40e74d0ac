use super::*;
use rusqlite::Connection;

/// The WAL of a small journal-like table and its commits' last frames, counted from 1.
struct Sample {
    bytes: Vec<u8>,
    commits: Vec<u64>,
}

const PAGE: usize = 512;
const FRAME: usize = PAGE + FRAME_HEADER_BYTES;

/// Commits of so many rows each, in a file that never checkpoints by itself.
fn sample(groups: &[usize]) -> Sample {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sample.db");
    let connection = Connection::open(&path).expect("a file");
    connection
        .execute_batch(
            "PRAGMA page_size = 512; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
             PRAGMA synchronous = FULL; PRAGMA cache_spill = OFF;
             CREATE TABLE journal (sequence INTEGER PRIMARY KEY, text TEXT);
             PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .expect("a table");
    let wal = directory.path().join("sample.db-wal");
    let mut commits = Vec::new();
    for rows in groups {
        connection.execute_batch("BEGIN").expect("a transaction");
        for row in 0..*rows {
            let text = format!("row {row:090}");
            connection.execute("INSERT INTO journal (text) VALUES (?1)", [text]).expect("a row");
        }
        connection.execute_batch("COMMIT").expect("a commit");
        let length = std::fs::metadata(&wal).expect("a WAL").len();
        commits.push((length - HEADER_BYTES as u64) / FRAME as u64);
    }
    Sample { bytes: std::fs::read(&wal).expect("a WAL"), commits }
}

fn judged(bytes: &[u8]) -> Result<WalFound, WalDamage> {
    judge(bytes).map_err(|error| match error {
        WalError::Damaged(damage) => damage,
        WalError::Io(error) => panic!("{error}"),
    })
}

#[test]
fn a_whole_wal_is_taken_whole() {
    let sample = sample(&[1, 1, 9, 1, 14]);
    let frames = *sample.commits.last().expect("commits");
    assert_eq!(judged(&sample.bytes), Ok(WalFound { commits: 5, frames, torn_frame: None }));
    assert_eq!(judged(&[]), Ok(WalFound::default()));
    assert_eq!(judged(&sample.bytes[..HEADER_BYTES]), Ok(WalFound::default()));
}

#[test]
fn every_flipped_bit_is_refused_wherever_it_is() {
    let sample = sample(&[1, 1, 5, 1, 1, 9]);
    let last_frame = sample.bytes.len() - FRAME;
    let mut dropped = 0;
    for byte in 0..sample.bytes.len() {
        let mut flipped = sample.bytes.clone();
        flipped[byte] ^= 1 << (byte % 8);
        match judged(&flipped) {
            Err(_) => {}
            // Where the last frame ends, in a sector that a torn write can leave half old, one
            // wrong word can be either, and a few others look the same to the checksum.
            Ok(found) => {
                assert!(byte >= last_frame && found.commits == 5, "byte {byte}: {found:?}");
                dropped += 1;
            }
        }
    }
    let at_the_end = sample.bytes.len() % 512;
    assert!(dropped <= at_the_end + FRAME / 16, "{dropped} flips in the last frame");
}

#[test]
fn every_bit_of_every_header_is_guarded() {
    let sample = sample(&[1, 5, 1, 1, 9]);
    let last_frame = sample.bytes.len() / FRAME - 1;
    let header = |frame| (0..FRAME_HEADER_BYTES).map(move |byte| HEADER_BYTES + frame * FRAME + byte);
    for byte in (0..HEADER_BYTES).chain((0..last_frame).flat_map(header)) {
        for bit in 0..8 {
            let mut flipped = sample.bytes.clone();
            flipped[byte] ^= 1 << bit;
            assert!(judged(&flipped).is_err(), "byte {byte} bit {bit}");
        }
    }
}

#[test]
fn a_damaged_sector_before_the_last_commit_is_refused() {
    let sample = sample(&[1, 1, 5, 1, 1, 9, 1, 1]);
    let last_commit = HEADER_BYTES + usize::try_from(sample.commits[6]).expect("small") * FRAME;
    for (start, filling) in (0..last_commit).step_by(512).flat_map(|start| [(start, 0), (start, 0xFF), (start, 0x5A)]) {
        let mut damaged = sample.bytes.clone();
        let end = (start + 512).min(last_commit);
        damaged[start..end].fill(filling);
        assert!(judged(&damaged).is_err(), "bytes {start} to {end} as {filling:#x}");
    }
}

/// A WAL of made-up pages: each frame's page number and, if it ends a commit, the database's size.
fn made(frames: &[(u32, u32)]) -> Vec<u8> {
    let mut bytes = frame::header_bytes(PAGE, [7; 8]);
    let header = WalHeader::parse(&bytes).expect("a header");
    let mut checksum = header.checksum;
    for (index, (page, commit_pages)) in frames.iter().enumerate() {
        let mut frame = vec![index as u8 + 1; FRAME];
        frame[..4].copy_from_slice(&page.to_be_bytes());
        frame[4..8].copy_from_slice(&commit_pages.to_be_bytes());
        frame[8..16].copy_from_slice(&header.salts);
        (checksum, _) = header.frame_checksum(checksum, &frame, &FrameHeader::parse(&frame));
        frame[16..20].copy_from_slice(&checksum.0.to_be_bytes());
        frame[20..24].copy_from_slice(&checksum.1.to_be_bytes());
        bytes.extend(frame);
    }
    bytes
}

/// The same with two words of a frame's page changed, as more than one flipped bit would.
fn spoilt(frames: &[(u32, u32)], frame: usize) -> Vec<u8> {
    let mut bytes = made(frames);
    let page = HEADER_BYTES + frame * FRAME + FRAME_HEADER_BYTES;
    bytes[page] ^= 0x55;
    bytes[page + 100] ^= 0x1D;
    bytes
}

#[test]
fn a_bad_frame_is_damage_when_its_commit_ended_before_others_began() {
    // Pages rise throughout, so only the frame that ends the first commit tells.
    let frames = [(1, 0), (2, 2), (3, 0), (4, 4)];
    assert_eq!(judged(&made(&frames)).map(|found| found.commits), Ok(2));
    for bad in [0, 1] {
        let damage = judged(&spoilt(&frames, bad)).expect_err("damage");
        assert!(matches!(damage, WalDamage::BeforeLaterCommit { later: 3, .. }), "{damage}");
    }
    for bad in [2, 3] {
        assert_eq!(judged(&spoilt(&frames, bad)).map(|found| found.commits), Ok(1), "the last commit may be torn");
    }
}

#[test]
fn a_bad_frame_is_damage_when_pages_do_not_rise_behind_it() {
    // The frame that ended the first commit lost its mark, so only the pages tell.
    let mut bytes = spoilt(&[(3, 0), (5, 5), (5, 5)], 1);
    bytes[HEADER_BYTES + FRAME + 4..HEADER_BYTES + FRAME + 8].fill(0);
    let damage = judged(&bytes).expect_err("damage");
    assert!(matches!(damage, WalDamage::BeforeLaterCommit { frame: 2, later: 3, .. }), "{damage}");
}

#[test]
fn an_older_page_number_in_the_sector_before_the_salts_is_a_tear() {
    let split = (0..64).find(|frame| (HEADER_BYTES + frame * FRAME) % 512 == 504).expect("such a frame");
    let mut frames: Vec<(u32, u32)> = (0..split).map(|_| (3, 3)).collect();
    frames.extend([(2, 0), (3, 4)]);
    let mut bytes = made(&frames);
    assert_eq!(judged(&bytes).map(|found| found.commits), Ok(split as u64 + 1));
    bytes[HEADER_BYTES + split * FRAME + 3] = 1;
    let torn = WalFound { commits: split as u64, frames: split as u64, torn_frame: Some(split as u64 + 1) };
    assert_eq!(judged(&bytes), Ok(torn));
}

#[test]
fn a_wal_cut_anywhere_keeps_every_commit_before_the_cut() {
    let sample = sample(&[1, 1, 5, 1, 9]);
    for length in 0..=sample.bytes.len() {
        let found = judged(&sample.bytes[..length]).unwrap_or_else(|damage| panic!("{length} bytes: {damage}"));
        let whole = length.saturating_sub(HEADER_BYTES) / FRAME;
        let commits = sample.commits.iter().filter(|commit| **commit <= whole as u64).count();
        assert_eq!(found.commits, commits as u64, "{length} bytes");
    }
}

#[test]
fn a_last_commit_of_which_any_sectors_are_missing_is_torn() {
    // A tear leaves each sector as it was before: zeros in a new part of the file, or frames of
    // an older use of it.
    let sample = sample(&[1, 5, 1, 200]);
    let older = {
        let mut older = self::sample(&[1, 5, 1, 200]).bytes;
        older.rotate_left(FRAME * 2);
        older
    };
    let begin = HEADER_BYTES + usize::try_from(sample.commits[2]).expect("small") * FRAME;
    let sectors = (begin / 512..sample.bytes.len().div_ceil(512)).collect::<Vec<_>>();
    // So long that some frame's header stands in two sectors between its page and its salts.
    let split = (0..sample.bytes.len() / FRAME).find(|frame| (HEADER_BYTES + frame * FRAME) % 512 == 504);
    assert!(split.is_some_and(|frame| frame as u64 > sample.commits[2]), "a commit of some size");
    bolero::check!().with_type::<(u64, u8, bool)>().for_each(|(missing, alone, zeros)| {
        let mut torn = sample.bytes.clone();
        for (index, sector) in sectors.iter().enumerate() {
            // Any of them, or one alone.
            if if *alone > 100 { usize::from(*alone) - 100 == index } else { missing >> (index % 64) & 1 == 1 } {
                let range = (sector * 512).max(begin)..((sector + 1) * 512).min(torn.len());
                if *zeros {
                    torn[range].fill(0);
                } else {
                    torn[range.clone()].copy_from_slice(&older[range]);
                }
            }
        }
        let found = judged(&torn).unwrap_or_else(|damage| panic!("{missing:#x}: {damage}"));
        assert!(found.commits >= 3, "the commits before are whole");
        assert_eq!(found.commits == 4, torn == sample.bytes, "{missing:#x}");
    });
}

#[test]
fn what_an_older_use_of_the_file_left_behind_is_no_damage() {
    let older = sample(&[1, 1, 1, 9, 1, 1, 1]);
    let newer = sample(&[1, 1, 5]);
    let mut bytes = older.bytes.clone();
    bytes[..newer.bytes.len()].copy_from_slice(&newer.bytes);
    assert!(bytes.len() > newer.bytes.len());
    let found = judged(&bytes).expect("a WAL that was used again");
    assert_eq!(found.commits, 3);
}

#[test]
fn any_bytes_are_judged_without_panic() {
    let sample = sample(&[1, 5, 1, 3]);
    bolero::check!().with_type::<(Vec<u8>, u16, bool)>().for_each(|(bytes, place, patch)| {
        let _ = judge(bytes.as_slice());
        // And bytes inside of a WAL, so that more than the header is reached.
        let mut damaged = sample.bytes.clone();
        let start = usize::from(*place) % damaged.len();
        let end = (start + bytes.len()).min(damaged.len());
        damaged[start..end].copy_from_slice(&bytes[..end - start]);
        if !patch {
            damaged.truncate(end);
        }
        let _ = judge(damaged.as_slice());
    });
}
