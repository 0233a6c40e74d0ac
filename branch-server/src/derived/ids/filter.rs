//! A blocked Bloom filter: one cache line per question.

/// Bits per key: about one wrong "perhaps" in a hundred, for 1.5 bytes.
const BITS_PER_KEY: usize = 12;

/// Bits set per key within its block.
const PROBES: u32 = 6;

const WORDS_PER_BLOCK: usize = 8;

/// Says of a key "certainly not here" or "perhaps".
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// An empty filter for so many keys.
    pub(super) fn for_keys(count: usize) -> Filter {
        let blocks = (count * BITS_PER_KEY).div_ceil(WORDS_PER_BLOCK * 64).max(1);
        Filter { words: vec![0; blocks * WORDS_PER_BLOCK] }
    }

    /// The filter that bytes hold, as [`Filter::bytes`] gave them out.
    pub(super) fn from_bytes(bytes: &[u8]) -> Filter {
        let (words, _) = bytes.as_chunks::<8>();
        Filter { words: words.iter().map(|word| u64::from_le_bytes(*word)).collect() }
    }

    pub(super) fn bytes(&self) -> impl Iterator<Item = [u8; 8]> {
        self.words.iter().map(|word| word.to_le_bytes())
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.words.len() * 8
    }

    pub(super) fn insert(&mut self, key: u128) {
        let (block, mut bits) = self.place(key);
        for _ in 0..PROBES {
            self.words[block + (bits >> 6 & 7) as usize] |= 1 << (bits & 63);
            bits >>= 9;
        }
    }

    pub(super) fn may_hold(&self, key: u128) -> bool {
        let (block, mut bits) = self.place(key);
        let words = &self.words[block..block + WORDS_PER_BLOCK];
        // All six places before the one decision: a branch for each would be guessed wrong as often as
        // not, and then the next filter's cache line is not fetched while this one's is on its way.
        let mut unset = 0;
        for _ in 0..PROBES {
            unset |= !(words[(bits >> 6 & 7) as usize] >> (bits & 63));
            bits >>= 9;
        }
        unset & 1 == 0
    }

    /// The block of a key, and 54 bits that choose six places in it.
    fn place(&self, key: u128) -> (usize, u64) {
        // Callers choose ids, perhaps 1, 2, 3: spread them first.
        let hash = mix(mix(key as u64) ^ (key >> 64) as u64);
        let blocks = (self.words.len() / WORDS_PER_BLOCK) as u128;
        let block = ((u128::from(hash) * blocks) >> 64) as usize;
        (block * WORDS_PER_BLOCK, mix(hash))
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every input bit changes half the output.
pub(super) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
