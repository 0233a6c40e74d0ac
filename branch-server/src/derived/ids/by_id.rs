//! Maps by transaction id.

use super::filter::mix;
use bank_proto::TransactionKey;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A map by transaction id. An id is looked up several times on its way through a batch, and the
/// standard hash, made for keys of any length, would be a noticeable part of that way.
pub(crate) type ById<V> = HashMap<TransactionKey, V, IdHash>;

/// Hashes 128 bits under a secret of the map's own: callers choose ids, and could otherwise choose
/// such as all fall into one place.
#[derive(Debug, Clone)]
pub(crate) struct IdHash {
    secret: [u64; 2],
}

impl Default for IdHash {
    fn default() -> IdHash {
        let chance = RandomState::new();
        IdHash { secret: [chance.hash_one(0), chance.hash_one(1)] }
    }
}

impl BuildHasher for IdHash {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher { secret: self.secret, hash: 0 }
    }
}

/// The hash of one id.
#[derive(Debug)]
pub(crate) struct IdHasher {
    secret: [u64; 2],
    hash: u64,
}

impl Hasher for IdHasher {
    fn write_u128(&mut self, id: u128) {
        // The two halves one after the other, each under its half of the secret.
        self.hash = mix(mix(self.hash ^ id as u64 ^ self.secret[0]) ^ (id >> 64) as u64 ^ self.secret[1]);
    }

    fn write(&mut self, bytes: &[u8]) {
        // An id is hashed as one integer; this is for whatever else should ever become a key.
        for chunk in bytes.chunks(16) {
            let mut id = [0; 16];
            id[..chunk.len()].copy_from_slice(chunk);
            self.write_u128(u128::from_le_bytes(id));
        }
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_that_differ_in_one_bit_or_count_up_fall_into_different_places() {
        let hash = IdHash { secret: [1, 2] };
        let place = |id: u128| hash.hash_one(TransactionKey(id)) >> 44;
        let single_bits = (0..128).map(|bit| place(1 << bit)).collect::<HashSet<_>>();
        let counted = (0..1000).map(place).collect::<HashSet<_>>();
        assert!(single_bits.len() >= 127 && counted.len() >= 998, "{} {}", single_bits.len(), counted.len());
    }

    #[test]
    fn every_map_has_a_secret_of_its_own() {
        let [one, other] = [IdHash::default(), IdHash::default()];
        assert_ne!(one.hash_one(TransactionKey(7)), other.hash_one(TransactionKey(7)));
    }
}
