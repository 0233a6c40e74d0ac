//! The books as bytes, so that opening need not fold the whole journal.

mod holds;
mod pairs;

use super::snapshot_file;
use crate::journal::{ChainHash, Sequence};
use crate::ledger::{Account, AccountKind, AccountState, Ledger, Product};
use crate::teller::Folded;
use bank_proto::{AccountSerial, BranchId, Currency, CustomerId, Timestamp};
use std::path::Path;

/// Writes a snapshot of the books up to a durable row.
///
/// # Errors
/// The file cannot be written; nothing is lost but time at the next opening.
pub fn write_snapshot(
    directory: &Path,
    branch: BranchId,
    sequence: Sequence,
    head: ChainHash,
    payload: &[u8],
) -> std::io::Result<()> {
    snapshot_file::write(directory, branch, sequence, head, payload)
}

/// The name of a snapshot's file.
pub(crate) const SNAPSHOT_FILE: &str = snapshot_file::NAME;

/// Reads the snapshot, if there is one and it is whole. A damaged one is as good as none.
#[must_use]
pub fn read_snapshot(directory: &Path, branch: BranchId) -> Option<Folded> {
    let file = snapshot_file::read(directory, branch)?;
    let (ledger, booked_at) = decode(&file.payload)?;
    Some(Folded { ledger, sequence: file.sequence, head: file.head, booked_at })
}

/// The highest row that any derived file says was durable.
#[must_use]
pub fn known_sequence(directory: &Path, snapshot: Option<&Folded>) -> Sequence {
    snapshot.map_or(0, |snapshot| snapshot.sequence).max(super::ids::claimed_sequence(directory))
}

/// The books as bytes.
#[must_use]
pub fn encode(ledger: &Ledger, booked_at: Timestamp) -> Vec<u8> {
    const ACCOUNT_BYTES: usize = 52;
    let mut bytes = Vec::with_capacity(64 + ledger.account_count() * (ACCOUNT_BYTES + 8));
    bytes.extend_from_slice(&booked_at.0.to_le_bytes());
    bytes.push(u8::from(ledger.is_initialized()));
    bytes.extend_from_slice(&(ledger.account_count() as u64).to_le_bytes());
    for (serial, account) in ledger.accounts() {
        let (kind, peer) = kind_code(account.kind);
        bytes.push(kind);
        bytes.extend_from_slice(&peer.to_le_bytes());
        bytes.push(match account.state {
            AccountState::Open => 0,
            AccountState::Frozen => 1,
            AccountState::Closed => 2,
        });
        bytes.extend_from_slice(&account.currency.numeric().to_le_bytes());
        bytes.extend_from_slice(&account.customer.map_or(0, CustomerId::get).to_le_bytes());
        bytes.extend_from_slice(&account.balance.to_le_bytes());
        bytes.extend_from_slice(&account.overdraft_limit.to_le_bytes());
        bytes.extend_from_slice(&account.head.to_le_bytes());
        bytes.extend_from_slice(&account.opened_at.0.to_le_bytes());
        let holders = ledger.joint_holders(serial);
        bytes.extend_from_slice(&(holders.len() as u32).to_le_bytes());
        for holder in holders {
            bytes.extend_from_slice(&holder.get().to_le_bytes());
        }
    }
    let mut without_account: Vec<u64> =
        ledger.customers().filter(|customer| ledger.accounts_of(*customer).is_empty()).map(CustomerId::get).collect();
    without_account.sort_unstable();
    bytes.extend_from_slice(&(without_account.len() as u64).to_le_bytes());
    for customer in without_account {
        bytes.extend_from_slice(&customer.to_le_bytes());
    }
    pairs::encode(ledger, &mut bytes);
    holds::encode(ledger, &mut bytes);
    bytes
}

fn kind_code(kind: AccountKind) -> (u8, u32) {
    match kind {
        AccountKind::Customer(Product::Checking) => (0, 0),
        AccountKind::Customer(Product::Savings) => (1, 0),
        AccountKind::Customer(Product::FixedDeposit) => (2, 0),
        AccountKind::Customer(Product::Investment) => (3, 0),
        AccountKind::VaultCash => (16, 0),
        AccountKind::Capital => (17, 0),
        AccountKind::Clearing(peer) => (18, peer.get()),
        AccountKind::FeeIncome => (19, 0),
        AccountKind::InterestExpense => (20, 0),
        AccountKind::Loans => (21, 0),
        AccountKind::CardSettlement => (22, 0),
    }
}

fn kind_of(code: u8, peer: u32) -> Option<AccountKind> {
    Some(match code {
        0 => AccountKind::Customer(Product::Checking),
        1 => AccountKind::Customer(Product::Savings),
        2 => AccountKind::Customer(Product::FixedDeposit),
        3 => AccountKind::Customer(Product::Investment),
        16 => AccountKind::VaultCash,
        17 => AccountKind::Capital,
        18 => AccountKind::Clearing(BranchId::new(i64::from(peer)).ok()?),
        19 => AccountKind::FeeIncome,
        20 => AccountKind::InterestExpense,
        21 => AccountKind::Loans,
        22 => AccountKind::CardSettlement,
        _ => return None,
    })
}

/// Bytes that are read from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn customer(&mut self) -> Option<CustomerId> {
        CustomerId::new(self.i64()?).ok()
    }
}

/// The books that bytes hold; None when they do not hold any.
fn decode(bytes: &[u8]) -> Option<(Ledger, Timestamp)> {
    let mut reader = Reader(bytes);
    let booked_at = Timestamp(reader.i64()?);
    let initialized = reader.u8()? != 0;
    let count = reader.u64()?;
    let mut ledger = Ledger::restore(initialized);
    for serial in 1..=count {
        let (kind, peer) = (reader.u8()?, reader.u32()?);
        let kind = kind_of(kind, peer)?;
        let state = match reader.u8()? {
            0 => AccountState::Open,
            1 => AccountState::Frozen,
            2 => AccountState::Closed,
            _ => return None,
        };
        let currency = Currency::from_numeric(u16::from_le_bytes(reader.array()?))?;
        let customer = match reader.i64()? {
            0 => None,
            number => Some(CustomerId::new(number).ok()?),
        };
        let balance = reader.i64()?;
        let overdraft_limit = reader.i64()?;
        let head = reader.u64()?;
        let opened_at = Timestamp(reader.i64()?);
        // What is held follows from the holds.
        let (held, open_holds) = (0, 0);
        let account =
            Account { kind, state, currency, customer, balance, overdraft_limit, held, open_holds, head, opened_at };
        let holders = reader.u32()?;
        let holders: Option<Vec<CustomerId>> = (0..holders).map(|_| reader.customer()).collect();
        ledger.restore_account(AccountSerial(u32::try_from(serial).ok()?), account, holders?);
    }
    for _ in 0..reader.u64()? {
        ledger.restore_customer(reader.customer()?);
    }
    pairs::decode(&mut reader, &mut ledger)?;
    holds::decode(&mut reader, &mut ledger)?;
    reader.0.is_empty().then_some((ledger, booked_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::OpenHold;
    use bank_proto::TransactionKey;

    /// Books with every kind of thing in them.
    fn books() -> Ledger {
        let mut ledger = Ledger::restore(true);
        let customer = |number| CustomerId::new(number).expect("a customer");
        let kinds = [
            (AccountKind::Customer(Product::Savings), Some(customer(1)), vec![customer(2), customer(13)]),
            (AccountKind::VaultCash, None, Vec::new()),
            (AccountKind::Clearing(BranchId::new(3).expect("a branch")), None, Vec::new()),
        ];
        for (serial, (kind, customer, holders)) in (1..).zip(kinds) {
            let account = Account {
                kind,
                state: AccountState::Frozen,
                currency: Currency::USD,
                customer,
                balance: -5,
                overdraft_limit: 7,
                held: 0,
                open_holds: 0,
                head: 9,
                opened_at: Timestamp(11),
            };
            ledger.restore_account(AccountSerial(serial), account, holders);
        }
        ledger.restore_customer(customer(4));
        let hold = |remaining| OpenHold { account: AccountSerial(1), amount: 6, remaining, expires_at: Timestamp(17) };
        assert!(ledger.restore_hold(TransactionKey(19), hold(2)) && ledger.restore_hold(TransactionKey(20), hold(1)));
        ledger
    }

    #[test]
    fn any_bytes_are_books_or_none_and_books_stay_the_same() {
        let whole = encode(&books(), Timestamp(13));
        let (ledger, booked_at) = decode(&whole).expect("books");
        assert!(ledger.same_as(&books()) && booked_at == Timestamp(13));
        let account = ledger.account(AccountSerial(1)).expect("an account");
        assert_eq!((account.held, account.open_holds), (3, 2), "what is held follows from the holds");
        bolero::check!().with_type::<(Vec<u8>, u16, bool)>().for_each(|(bytes, place, cut)| {
            let mut other = whole.clone();
            let start = usize::from(*place) % other.len();
            let end = (start + bytes.len()).min(other.len());
            other[start..end].copy_from_slice(&bytes[..end - start]);
            if *cut {
                other.truncate(end);
            }
            for bytes in [bytes, &other] {
                let Some((ledger, booked_at)) = decode(bytes) else { continue };
                let again = decode(&encode(&ledger, booked_at));
                assert!(again.is_some_and(|(same, moment)| same.same_as(&ledger) && moment == booked_at), "{bytes:?}");
            }
        });
    }
}
