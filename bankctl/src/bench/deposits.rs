//! Who pays in, and under which ids: the same draw for every way of sending it.

use super::arguments::{Ids, SpreadName};
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _};

/// Whose accounts the money goes to, in a bank of so many branches.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spread {
    /// Customers 1 to this, and so all branches alike.
    Uniform(u64),
    /// So many customers of one branch.
    Branch { branch: u32, customers: u64, branches: u32 },
    /// One account.
    Hot,
}

impl Spread {
    pub(super) fn new(name: SpreadName, customers: u64, branches: u32) -> Spread {
        match name {
            SpreadName::Uniform => Spread::Uniform(customers),
            SpreadName::Branch => Spread::Branch { branch: 1, customers, branches },
            SpreadName::Hot => Spread::Hot,
        }
    }

    /// The customer at this place of a branch's own: the branch's number, then every so many.
    pub(super) fn customer_of(branch: u32, place: u64, branches: u32) -> u64 {
        u64::from(branch) + place * u64::from(branches)
    }
}

/// An endless draw of deposits.
pub(super) struct Deposits {
    spread: Spread,
    ids: Ids,
    chance: SmallRng,
}

/// The 32 hex digits of a transaction id.
pub(super) type Key = [u8; 32];

impl Deposits {
    pub(super) fn new(spread: Spread, ids: Ids) -> Deposits {
        Deposits { spread, ids, chance: rand::make_rng() }
    }

    /// The next customer, and the id when the client makes it.
    pub(super) fn next(&mut self) -> (u64, Option<Key>) {
        (self.customer(), self.key())
    }

    /// The next customer.
    pub(super) fn customer(&mut self) -> u64 {
        match self.spread {
            Spread::Uniform(customers) => self.chance.random_range(1..=customers),
            Spread::Branch { branch, customers, branches } => {
                Spread::customer_of(branch, self.chance.random_range(0..customers), branches)
            }
            Spread::Hot => 1,
        }
    }

    /// An id when the client makes it.
    pub(super) fn key(&mut self) -> Option<Key> {
        match self.ids {
            Ids::Client => Some(hex([self.chance.next_u64(), self.chance.next_u64()])),
            Ids::Server => None,
        }
    }
}

fn hex(halves: [u64; 2]) -> Key {
    let mut digits = [0; 32];
    for (index, digit) in digits.iter_mut().enumerate() {
        let nibble = (halves[index / 16] >> (index % 16 * 4)) & 15;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use bank_proto::CustomerId;

    #[test]
    fn customers_of_a_branch_are_at_home_there() {
        let mut deposits = Deposits::new(Spread::Branch { branch: 7, customers: 1000, branches: 10 }, Ids::Client);
        for _ in 0..1000 {
            let (customer, key) = deposits.next();
            let customer = CustomerId::new(i64::try_from(customer).expect("a number")).expect("a customer");
            assert_eq!(customer.home_branch(10).get(), 7);
            let key = key.expect("an id");
            assert!(
                bank_proto::TransactionKey::for_owner(
                    std::str::from_utf8(&key).expect("text"),
                    customer.home_branch(10)
                )
                .is_ok()
            );
        }
    }
}
