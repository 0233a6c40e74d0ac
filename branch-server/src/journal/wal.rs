//! The look at SQLite's write-ahead log before SQLite opens it.
//!
//! SQLite takes a WAL up to its first bad frame and drops the rest without a word. That is right
//! for a commit that a power loss tore, and wrong for one bit that flipped in the middle: every
//! later commit is lost, and the file looks fine. So the frames are judged here first, by plain
//! file calls, while this process has no SQLite connection to the file.
//!
//! A commit's frames are written in rising order of their pages, the last one saying that it
//! ends the commit; then they are synced, and only after that is the next commit written. So:
//!
//! - whatever stands before the end of a commit that anything follows has been durable, and must
//!   be whole;
//! - only the frames of the last commit may be missing or torn, in any order.
//!
//! A bad frame is damage when something of a later commit follows it: a frame after one that ends
//! a commit, or a page number that does not rise. It is damage as well when all of it is right but
//! one word of four bytes, which no torn write leaves behind. Otherwise it is a torn last commit.
//! What an older use of the file left behind carries older salts, and says nothing; nor do the zeros
//! that are written ahead when a journal is opened.
//!
//! The format: <https://www.sqlite.org/fileformat2.html#walformat>.

mod frame;

use frame::{FRAME_HEADER_BYTES, FrameHeader, HEADER_BYTES, WalHeader};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// What a disk writes as a whole, or a multiple of it.
const SECTOR_BYTES: u64 = 512;
/// Where in a sector a frame begins whose page number stands in another sector than its salts.
const SPLIT_HEADER: u64 = SECTOR_BYTES - 8;

/// What stands in a WAL that may be opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WalFound {
    /// Whole commits.
    pub commits: u64,
    /// The frames of those commits.
    pub frames: u64,
    /// The first frame of what a torn last commit left behind, if one did: it was never acknowledged.
    pub torn_frame: Option<u64>,
}

/// Why a WAL must not be opened.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// It cannot be read.
    #[error("the write-ahead log cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Commits that were acknowledged are damaged.
    #[error(transparent)]
    Damaged(#[from] WalDamage),
}

/// Where a WAL is damaged, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalDamage {
    /// Without its header nothing in the file can be read.
    #[error("the header (byte 0) is damaged, and frames follow it (byte {offset})")]
    Header {
        /// The first byte behind it that is not zero.
        offset: u64,
    },
    /// One word is wrong in a frame that is whole otherwise.
    #[error("frame {frame} (byte {offset}) is whole but for {what}")]
    OneWord {
        /// The damaged frame; the first is 1.
        frame: u64,
        /// Where it begins in the file.
        offset: u64,
        /// What is wrong in it.
        what: &'static str,
    },
    /// A frame of an acknowledged commit is bad.
    #[error("frame {frame} (byte {offset}) is damaged: frame {later} (byte {later_offset}) is of a later commit")]
    BeforeLaterCommit {
        /// The first bad frame; the first is 1.
        frame: u64,
        /// Where it begins in the file.
        offset: u64,
        /// A frame written when the bad one was durable already.
        later: u64,
        /// Where that one begins.
        later_offset: u64,
    },
}

/// Judges the WAL at `path`; a file that is not there is an empty one.
///
/// # Errors
/// [`WalError::Damaged`]: opening the file with SQLite would lose acknowledged commits.
pub fn look(path: &Path) -> Result<WalFound, WalError> {
    match File::open(path) {
        Ok(file) => judge(BufReader::with_capacity(1 << 17, file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(WalFound::default()),
        Err(error) => Err(error.into()),
    }
}

/// Judges a WAL, frame by frame.
///
/// # Errors
/// As [`look`].
pub fn judge(mut wal: impl Read) -> Result<WalFound, WalError> {
    let mut bytes = [0; HEADER_BYTES];
    let length = read_up_to(&mut wal, &mut bytes)?;
    let Some(header) = WalHeader::parse(&bytes[..length]) else {
        // The header is synced before the first frame is written, so a torn one stands alone, or before
        // the zeros of a log that nothing was written into yet.
        return match first_written(&mut wal)? {
            None => Ok(WalFound::default()),
            Some(offset) => Err(WalDamage::Header { offset: HEADER_BYTES as u64 + offset }.into()),
        };
    };
    let mut judge = Judge::new(header);
    let mut frame = vec![0; header.frame_bytes()];
    loop {
        match read_up_to(&mut wal, &mut frame)? {
            length if length == frame.len() => judge.frame(&frame)?,
            length if length >= FRAME_HEADER_BYTES => {
                // A frame without its end: its header still tells which commit it was of.
                judge.bad_frame(&FrameHeader::parse(&frame), false)?;
                break;
            }
            _ => break,
        }
    }
    Ok(judge.found)
}

/// What has been seen so far.
struct Judge {
    header: WalHeader,
    /// As it stands in the frame before, right or wrong: each frame can be checked against it alone.
    checksum: (u32, u32),
    /// Frames seen before the one looked at.
    seen: u64,
    /// Where the frame looked at begins.
    offset: u64,
    /// The first bad frame and where it begins.
    bad: Option<(u64, u64)>,
    /// The last page of the commit that no frame has ended yet.
    last_page: u32,
    /// The first bad frame, when it is wrong in one word at its end.
    suspect: Option<(u64, u64)>,
    /// From the first bad frame on, a frame has ended a commit.
    ended: bool,
    found: WalFound,
}

impl Judge {
    fn new(header: WalHeader) -> Judge {
        let (checksum, offset) = (header.checksum, HEADER_BYTES as u64);
        Judge {
            header,
            checksum,
            seen: 0,
            offset,
            bad: None,
            last_page: 0,
            suspect: None,
            ended: false,
            found: WalFound::default(),
        }
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<(), WalDamage> {
        let frame = FrameHeader::parse(bytes);
        let (expected, links) = self.header.frame_checksum(self.checksum, bytes, &frame);
        match self.bad {
            None if links && frame.salts == self.header.salts => self.good_frame(&frame),
            None => {
                self.check_one_word(bytes.len(), &frame, expected)?;
                self.bad_frame(&frame, links)?;
            }
            Some(_) => self.bad_frame(&frame, links)?,
        }
        self.checksum = frame.checksum;
        self.seen += 1;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// A frame that SQLite will take, if its commit ends.
    fn good_frame(&mut self, frame: &FrameHeader) {
        self.last_page = frame.page;
        if frame.ends_commit() {
            self.last_page = 0;
            self.found.commits += 1;
            self.found.frames = self.seen + 1;
        }
    }

    /// A write that power cut short leaves whole sectors of something else, not one wrong word.
    fn check_one_word(&mut self, bytes: usize, frame: &FrameHeader, expected: (u32, u32)) -> Result<(), WalDamage> {
        let what = if frame.salts != self.header.salts {
            if frame.checksum != expected {
                return Ok(());
            }
            "its salts"
        } else {
            match frame::wrong_word(bytes, expected, frame.checksum) {
                None => return Ok(()),
                // An older page number may stand in the sector before that of the salts.
                Some(0 | 4) if self.offset % SECTOR_BYTES == SPLIT_HEADER => return Ok(()),
                Some(place) if place < FRAME_HEADER_BYTES => "one word of its header",
                Some(place) => {
                    let end = self.offset + bytes as u64;
                    if self.offset + place as u64 >= end - end % SECTOR_BYTES {
                        // The few bytes that share a sector with the next frame's header may be
                        // those of a similar page, unless that header is there.
                        self.suspect = Some((self.seen + 1, self.offset));
                        return Ok(());
                    }
                    "one word of its page"
                }
            }
        };
        Err(WalDamage::OneWord { frame: self.seen + 1, offset: self.offset, what })
    }

    /// The first bad frame, or whatever comes after it: does it show that a commit was complete
    /// and durable of which the bad frame is a part?
    fn bad_frame(&mut self, frame: &FrameHeader, links: bool) -> Result<(), WalDamage> {
        let (bad, bad_offset) = *self.bad.get_or_insert((self.seen + 1, self.offset));
        self.found.torn_frame = Some(bad);
        // Where a sector ends between page number and salts, a torn write can pair an old page
        // number with new salts; such a header is believed only when its checksum is right.
        let is_split = self.offset % SECTOR_BYTES == SPLIT_HEADER;
        let suspect = self.suspect.take_if(|(suspect, _)| *suspect != self.seen + 1);
        if frame.salts != self.header.salts || is_split && !links {
            return Ok(());
        }
        if let Some((frame, offset)) = suspect.filter(|_| !is_split) {
            return Err(WalDamage::OneWord { frame, offset, what: "one word at the end of its page" });
        }
        if self.ended || frame.page <= self.last_page {
            let (later, later_offset) = (self.seen + 1, self.offset);
            return Err(WalDamage::BeforeLaterCommit { frame: bad, offset: bad_offset, later, later_offset });
        }
        self.last_page = frame.page;
        self.ended = frame.ends_commit();
        Ok(())
    }
}

/// Where something else than zeros stands first.
fn first_written(source: &mut impl Read) -> io::Result<Option<u64>> {
    let mut buffer = [0; 1 << 12];
    let mut offset = 0;
    loop {
        let length = read_up_to(source, &mut buffer)?;
        if let Some(place) = buffer[..length].iter().position(|byte| *byte != 0) {
            return Ok(Some(offset + place as u64));
        }
        if length < buffer.len() {
            return Ok(None);
        }
        offset += length as u64;
    }
}

/// Fills the buffer as far as there are bytes.
fn read_up_to(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match source.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
