//! Who and what: customers, branches and transactions by number.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

/// A customer's number: 1 to 2^53 - 1, so that JSON numbers carry it exactly in every client
/// (RFC 8259, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomerId(NonZeroU64);

/// The number is not one that a customer can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a customer number from 1 to 9007199254740991")]
pub struct InvalidCustomerId;

impl CustomerId {
    /// A customer's number from an integer of any origin.
    ///
    /// # Errors
    /// The number is below 1 or above 2^53 - 1.
    pub fn new(number: i64) -> Result<CustomerId, InvalidCustomerId> {
        match u64::try_from(number).ok().and_then(NonZeroU64::new) {
            Some(number) if number.get() <= 0x1F_FFFF_FFFF_FFFF => Ok(CustomerId(number)),
            _ => Err(InvalidCustomerId),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The branch that keeps this customer's accounts, in a bank of so many branches.
    #[must_use]
    pub fn home_branch(self, branches: u32) -> BranchId {
        let index = (self.get() - 1) % u64::from(branches.max(1));
        // Below `branches`, which is a u32, and then one more.
        BranchId(u32::try_from(index).map_or(NonZeroU32::MIN, |index| NonZeroU32::MIN.saturating_add(index)))
    }
}

impl fmt::Display for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A branch's number: 1 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchId(NonZeroU32);

/// The number is not one that a branch can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a branch number from 1 to 9999")]
pub struct InvalidBranchId;

impl BranchId {
    /// A branch's number from an integer of any origin.
    ///
    /// # Errors
    /// The number is below 1 or above 9999, what four digits of an account number can name.
    pub fn new(number: i64) -> Result<BranchId, InvalidBranchId> {
        match u32::try_from(number).ok().and_then(NonZeroU32::new) {
            Some(number) if number.get() <= crate::limits::BRANCHES => Ok(BranchId(number)),
            _ => Err(InvalidBranchId),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The customer whose number is the branch's: who gets the account that opens the books.
    #[must_use]
    pub fn namesake(self) -> CustomerId {
        CustomerId(NonZeroU64::from(self.0))
    }
}

impl fmt::Display for BranchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The part of a transaction's id that is unique within its branch: 128 bits, written as 32
/// lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionKey(pub u128);

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What each byte is worth as a lower-case hex digit; above 15 when it is none.
const HEX_VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut value = 0;
    while value < HEX_DIGITS.len() {
        values[HEX_DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

impl TransactionKey {
    /// The key that a principal's Idempotency-Key stands for: the first 128 bits of BLAKE3 over
    /// both, so that any string up to 255 bytes becomes an id and principals never meet.
    #[must_use]
    pub fn from_idempotency_key(principal: &str, key: &str) -> TransactionKey {
        let mut hasher = blake3::Hasher::new_derive_key("florin 2026 idempotency key");
        hasher.update(&(principal.len() as u64).to_le_bytes());
        hasher.update(principal.as_bytes());
        hasher.update(key.as_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        TransactionKey(u128::from_be_bytes(bytes))
    }

    /// The key under which the payee's branch keeps its one outcome of a transfer that this key
    /// names at `source`, the payer's branch. Branches choose keys independently of each other, so
    /// a key alone would not do.
    #[must_use]
    pub fn arrival(self, source: BranchId) -> TransactionKey {
        self.derived("florin 2026 transfer arrival", source.get())
    }

    /// The key under which the payer's branch keeps how the transfer of this key ended.
    #[must_use]
    pub fn outcome(self) -> TransactionKey {
        self.derived("florin 2026 transfer outcome", 0)
    }

    /// The key that leads to the reversal of the transaction of this key, once there is one. Only of
    /// transfers between branches there may be several: all but the last were refused.
    #[must_use]
    pub fn reversed(self, attempt: u32) -> TransactionKey {
        self.derived("florin 2026 transaction reversed", attempt)
    }

    /// The key that leads to the end of the hold of this key, once it has ended; one that ends because its time
    /// is over stands under it.
    #[must_use]
    pub fn hold_ended(self) -> TransactionKey {
        self.derived("florin 2026 hold ended", 0)
    }

    /// Part of the file format, as its callers' contexts are.
    fn derived(self, context: &str, number: u32) -> TransactionKey {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&number.to_le_bytes());
        hasher.update(&self.0.to_be_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        let low = u128::from_be_bytes(bytes) & (u128::MAX >> DERIVED_BITS);
        TransactionKey(DERIVED << (128 - DERIVED_BITS) | low)
    }

    /// Whether the key is the bank's own, derived from another one. Callers must not choose such: who
    /// could would take the place of an outcome that is not there yet.
    #[must_use]
    pub const fn is_derived(self) -> bool {
        self.0 >> (128 - DERIVED_BITS) == DERIVED
    }

    /// The key that a caller spells for an operation of `owner`: 32 hex digits, alone or after
    /// the owner's number.
    ///
    /// # Errors
    /// The text is neither, names another branch than the one that owns the money, or is one of the keys
    /// that the bank derives ([`TransactionKey::is_derived`]); of random ones that is one in four thousand
    /// million.
    pub fn for_owner(text: &str, owner: BranchId) -> Result<TransactionKey, InvalidTransactionId> {
        let key = match TransactionId::from_str(text) {
            Ok(id) if id.branch == owner => id.key,
            Ok(_) => return Err(InvalidTransactionId),
            Err(_) => parse_key(text)?,
        };
        if key.is_derived() { Err(InvalidTransactionId) } else { Ok(key) }
    }
}

/// The highest bits of every derived key, and of no key that a caller may choose.
const DERIVED: u128 = 0xF10D_E41D;
const DERIVED_BITS: u32 = 32;

impl fmt::Display for TransactionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand, since every answer has one: 128 bits through the formatter take several times as long.
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair[0] = HEX_DIGITS[usize::from(byte >> 4)];
            pair[1] = HEX_DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

/// A transaction's id, for ever: the branch where it was first posted and its key there, written
/// `<branch>-<32 hex>`, so that an id routes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId {
    /// The branch where it was first posted.
    pub branch: BranchId,
    /// Unique within that branch.
    pub key: TransactionKey,
}

/// The text is not a transaction id of the branch meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `<branch>-<32 hex digits>` with the branch that owns the account, or 32 hex digits")]
pub struct InvalidTransactionId;

impl FromStr for TransactionId {
    type Err = InvalidTransactionId;

    fn from_str(text: &str) -> Result<Self, InvalidTransactionId> {
        let (branch, key) = text.split_once('-').ok_or(InvalidTransactionId)?;
        // One spelling per id: no sign, no leading zero.
        if branch.starts_with(['+', '0']) {
            return Err(InvalidTransactionId);
        }
        let branch = branch.parse().map_err(|_| InvalidTransactionId)?;
        let branch = BranchId::new(branch).map_err(|_| InvalidTransactionId)?;
        Ok(TransactionId { branch, key: parse_key(key)? })
    }
}

fn parse_key(text: &str) -> Result<TransactionKey, InvalidTransactionId> {
    if text.len() != 32 {
        return Err(InvalidTransactionId);
    }
    // By a table and with one decision at the end: digits are random, and a branch on each of them would
    // be guessed wrong every other time.
    let (mut key, mut all) = (0, 0);
    for byte in text.bytes() {
        let value = HEX_VALUES[usize::from(byte)];
        all |= value;
        key = key << 4 | u128::from(value & 15);
    }
    if all > 15 { Err(InvalidTransactionId) } else { Ok(TransactionKey(key)) }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.branch, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_live_at_the_branch_that_their_number_names() {
        for (customer, home) in [(1, 1), (9, 9), (10, 10), (11, 1), (20, 10), (9_007_199_254_740_991, 1)] {
            let customer = CustomerId::new(customer).expect("a customer");
            assert_eq!(customer.home_branch(10).get(), home, "customer {customer}");
        }
        assert_eq!([0, -1, i64::MIN, i64::MAX].map(CustomerId::new), [Err(InvalidCustomerId); 4]);
        assert_eq!([0, -1, 10_000, i64::MAX].map(BranchId::new), [Err(InvalidBranchId); 4]);
    }

    #[test]
    fn a_transaction_id_has_one_spelling() {
        let text = "7-000000000000000000000000000000ff";
        let id: TransactionId = text.parse().expect("an id");
        assert_eq!((id.branch.get(), id.key.0), (7, 255));
        assert_eq!(id.to_string(), text);
        for text in [
            "",
            "7-",
            "7-ff",
            "07-000000000000000000000000000000ff",
            "+7-000000000000000000000000000000ff",
            "0-000000000000000000000000000000ff",
            "7-000000000000000000000000000000FF",
            "000000000000000000000000000000ff",
        ] {
            assert_eq!(text.parse::<TransactionId>(), Err(InvalidTransactionId), "{text}");
        }
    }

    #[test]
    fn a_callers_id_must_name_the_owner_or_no_branch() {
        let owner = BranchId::new(7).expect("a branch");
        let key = Ok(TransactionKey(255));
        assert_eq!(TransactionKey::for_owner("7-000000000000000000000000000000ff", owner), key);
        assert_eq!(TransactionKey::for_owner("000000000000000000000000000000ff", owner), key);
        assert_eq!(TransactionKey::for_owner("8-000000000000000000000000000000ff", owner), Err(InvalidTransactionId));
        assert_eq!(TransactionKey::for_owner("", owner), Err(InvalidTransactionId));
    }

    #[test]
    fn principals_never_share_an_idempotency_key() {
        let key = TransactionKey::from_idempotency_key;
        assert_eq!(key("open", "a"), key("open", "a"));
        assert_ne!(key("open", "a"), key("open", "b"));
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }

    #[test]
    fn keys_derived_from_a_transfers_never_meet() {
        let (key, branch) = (TransactionKey(7), |number| BranchId::new(number).expect("a branch"));
        // Stored in journals for ever: these values must never change.
        assert_eq!(key.arrival(branch(1)).to_string(), "f10de41da284ed516574cd8001ec55d4");
        assert_eq!(key.outcome().to_string(), "f10de41d93c0276a487c027eadd9908b");
        assert_eq!(key.reversed(0).to_string(), "f10de41db1a3601e3d1df1f0e7fadf7d");
        assert_eq!(key.hold_ended().to_string(), "f10de41d94c5c2c0ff4be45f203e341a");
        assert_ne!(key.arrival(branch(1)), key.arrival(branch(2)));
        assert_ne!(key.arrival(branch(1)), TransactionKey(8).arrival(branch(1)));
    }

    #[test]
    fn no_caller_can_choose_a_key_that_the_bank_derives() {
        let owner = BranchId::new(1).expect("a branch");
        let key = TransactionKey(7);
        for key in [key.outcome(), key.arrival(owner), key.reversed(0), key.hold_ended()] {
            assert!(key.is_derived());
            assert_eq!(TransactionKey::for_owner(&key.to_string(), owner), Err(InvalidTransactionId));
            assert_eq!(TransactionKey::for_owner(&format!("1-{key}"), owner), Err(InvalidTransactionId));
        }
        assert!(!TransactionKey(u128::MAX).is_derived());
    }

    #[test]
    fn any_bytes_are_an_id_or_refused_without_panic() {
        bolero::check!().for_each(|bytes| {
            if let Ok(text) = std::str::from_utf8(bytes)
                && let Ok(id) = text.parse::<TransactionId>()
            {
                assert_eq!(id.to_string(), text);
            }
        });
    }
}
