//! The bytes of a WAL: its header, its frames, and their checksum.

/// Bytes of the file's header.
pub(super) const HEADER_BYTES: usize = 32;
/// Bytes before each frame's page.
pub(super) const FRAME_HEADER_BYTES: usize = 24;

const MAGIC: u32 = 0x377F_0682;
const VERSION: u32 = 3_007_000;

/// The file's header, known to be right.
#[derive(Debug, Clone, Copy)]
pub(super) struct WalHeader {
    page_bytes: usize,
    /// How words are read for checksums; the last bit of the magic number says so.
    big_endian: bool,
    /// Random numbers of this use of the file; frames left by an earlier use carry others.
    pub(super) salts: [u8; 8],
    /// Where the frames' cumulative checksum starts.
    pub(super) checksum: (u32, u32),
}

impl WalHeader {
    /// The header, unless anything in it is wrong.
    pub(super) fn parse(bytes: &[u8]) -> Option<WalHeader> {
        let bytes: &[u8; HEADER_BYTES] = bytes.try_into().ok()?;
        let magic = word(bytes, 0);
        let page_bytes = word(bytes, 8) as usize;
        let big_endian = magic & 1 == 1;
        let checksum = (word(bytes, 24), word(bytes, 28));
        let valid = magic & !1 == MAGIC
            && word(bytes, 4) == VERSION
            && page_bytes.is_power_of_two()
            && (512..=65536).contains(&page_bytes)
            && add_words(big_endian, (0, 0), &bytes[..24]) == checksum;
        let salts = bytes[16..24].try_into().ok()?;
        valid.then_some(WalHeader { page_bytes, big_endian, salts, checksum })
    }

    /// Bytes of each frame, its header included.
    pub(super) fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.page_bytes
    }

    /// The checksum that a frame should have behind one with the checksum `previous`, and whether
    /// it has it.
    pub(super) fn frame_checksum(&self, previous: (u32, u32), bytes: &[u8], frame: &FrameHeader) -> ((u32, u32), bool) {
        let checksum = add_words(self.big_endian, previous, &bytes[..8]);
        let checksum = add_words(self.big_endian, checksum, &bytes[FRAME_HEADER_BYTES..]);
        (checksum, checksum == frame.checksum)
    }
}

/// What stands before a frame's page, right or wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHeader {
    /// The page's number in the database.
    pub(super) page: u32,
    /// The database's size in pages, on the frame that ends a commit; 0 on others.
    commit_pages: u32,
    pub(super) salts: [u8; 8],
    pub(super) checksum: (u32, u32),
}

impl FrameHeader {
    /// Reads a frame's first [`FRAME_HEADER_BYTES`] bytes.
    pub(super) fn parse(bytes: &[u8]) -> FrameHeader {
        let mut salts = [0; 8];
        salts.copy_from_slice(&bytes[8..16]);
        FrameHeader {
            page: word(bytes, 0),
            commit_pages: word(bytes, 4),
            salts,
            checksum: (word(bytes, 16), word(bytes, 20)),
        }
    }

    /// Whether the frame says that it ends a commit.
    pub(super) fn ends_commit(&self) -> bool {
        self.commit_pages != 0
    }
}

/// The place in a frame of the one wrong word that explains why its checksum is `stored` and not
/// `computed`; None when there is no such word.
///
/// The checksum is linear: adding d to a word adds a·d and b·d to its two halves, where a and b
/// depend on the word's place and are neighbours in Fibonacci's sequence, so one of them is odd.
/// A word explains a difference (e, f) exactly when e·b = f·a.
pub(super) fn wrong_word(frame_bytes: usize, computed: (u32, u32), stored: (u32, u32)) -> Option<usize> {
    let (e, f) = (stored.0.wrapping_sub(computed.0), stored.1.wrapping_sub(computed.1));
    // Half of the checksum itself: its second half is the last word's to explain as well.
    if f == 0 {
        return Some(16);
    }
    let explains = |(a, b): (u32, u32)| e.wrapping_mul(b) == f.wrapping_mul(a);
    let later = |(a, b): (u32, u32)| (a.wrapping_add(b), a.wrapping_add(b).wrapping_add(b));
    // From the last pair of words backwards: how each word of the pair tells in the end.
    let mut effects = ((1, 1), (0, 1));
    let pairs = (FRAME_HEADER_BYTES..frame_bytes).step_by(8).rev().chain([0]);
    for place in pairs {
        if explains(effects.0) {
            return Some(place);
        }
        if explains(effects.1) {
            return Some(place + 4);
        }
        effects = (later(effects.0), later(effects.1));
    }
    None
}

/// SQLite's checksum, going on from `sum`; the bytes are a multiple of eight.
fn add_words(big_endian: bool, sum: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let from_bytes = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
    let (mut first, mut second) = sum;
    for pair in bytes.as_chunks::<8>().0 {
        let [a, b, c, d, e, f, g, h] = *pair;
        first = first.wrapping_add(from_bytes([a, b, c, d])).wrapping_add(second);
        second = second.wrapping_add(from_bytes([e, f, g, h])).wrapping_add(first);
    }
    (first, second)
}

/// A right header, to make a WAL of.
#[cfg(test)]
pub(super) fn header_bytes(page_bytes: usize, salts: [u8; 8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [MAGIC, VERSION, page_bytes as u32, 0] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(salts);
    let checksum = add_words(false, (0, 0), &bytes);
    bytes.extend(checksum.0.to_be_bytes());
    bytes.extend(checksum.1.to_be_bytes());
    bytes
}

/// A header's field: four bytes, the highest first, whatever the checksums use.
fn word(bytes: &[u8], place: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[place..place + 4]);
    u32::from_be_bytes(word)
}
