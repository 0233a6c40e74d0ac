//! Who pays in, or pays whom, and under which ids: the same draw for every way of sending it.

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

/// An endless draw of deposits, or of transfers.
pub(super) struct Orders {
    spread: Spread,
    ids: Ids,
    payees: Option<Payees>,
    chance: SmallRng,
}

/// Whom the customers of a transfer pay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payees {
    /// Of a thousand transfers, how many go to another branch.
    pub(super) cross_permille: u32,
    /// The bank's.
    pub(super) branches: u32,
    /// At each branch.
    pub(super) customers_per_branch: u64,
}

/// One order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    /// Who is paid, or pays in a transfer.
    pub(super) customer: u64,
    /// Who is paid by a transfer.
    pub(super) payee: Option<u64>,
    /// The id when the client makes it.
    pub(super) key: Option<Key>,
}

/// The 32 hex digits of a transaction id.
pub(super) type Key = [u8; 32];

impl Orders {
    pub(super) fn new(spread: Spread, ids: Ids) -> Orders {
        Orders { spread, ids, payees: None, chance: rand::make_rng() }
    }

    /// Transfers between the customers of all branches, of whom each branch has so many.
    pub(super) fn transfers(payees: Payees, ids: Ids) -> Orders {
        let customers = payees.customers_per_branch * u64::from(payees.branches);
        Orders { payees: Some(payees), ..Orders::new(Spread::Uniform(customers), ids) }
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Order {
        let customer = self.customer();
        let payee = self.payees.map(|payees| self.payee(customer, payees));
        Order { customer, payee, key: self.key() }
    }

    /// Whether these are transfers.
    pub(super) fn are_transfers(&self) -> bool {
        self.payees.is_some()
    }

    /// Another customer of the same branch, or one of another.
    fn payee(&mut self, payer: u64, payees: Payees) -> u64 {
        let branches = u64::from(payees.branches);
        let (own, place) = ((payer - 1) % branches, (payer - 1) / branches);
        let crosses = branches > 1 && self.chance.random_range(0..1000) < payees.cross_permille;
        if crosses {
            let other = (own + self.chance.random_range(1..branches)) % branches;
            return self.chance.random_range(0..payees.customers_per_branch) * branches + other + 1;
        }
        let step = self.chance.random_range(1..payees.customers_per_branch.max(2));
        (place + step) % payees.customers_per_branch * branches + own + 1
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
        let mut deposits = Orders::new(Spread::Branch { branch: 7, customers: 1000, branches: 10 }, Ids::Client);
        for _ in 0..1000 {
            let Order { customer, key, .. } = deposits.next();
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

    #[test]
    fn payees_are_others_and_cross_branches_as_often_as_asked() {
        for (cross_permille, expected) in [(0, 0..=0), (1000, 10_000..=10_000), (100, 700..=1300)] {
            let payees = Payees { cross_permille, branches: 10, customers_per_branch: 100 };
            let mut transfers = Orders::transfers(payees, Ids::Server);
            let mut crossed = 0;
            for _ in 0..10_000 {
                let Order { customer, payee, .. } = transfers.next();
                let payee = payee.expect("a payee");
                assert!(payee != customer && (1..=1000).contains(&payee), "{customer} pays {payee}");
                crossed += u32::from((payee - 1) % 10 != (customer - 1) % 10);
            }
            assert!(expected.contains(&crossed), "{cross_permille}: {crossed}");
        }
    }
}
