//! Group commits chained by hash, so that no row can be changed, dropped or moved unseen.

use super::Row;
use bank_proto::BranchId;

/// The hash of a group commit: BLAKE3 over the branch, the epoch, the hash of the group before
/// it, and every row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ChainHash(pub [u8; 32]);

impl std::fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// What closes a group commit; it stands in the columns of the group's last row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupCommit {
    /// The epoch of the owner that wrote it.
    pub epoch: u64,
    /// The hash over it.
    pub hash: ChainHash,
}

impl GroupCommit {
    /// Seals rows behind `previous`. `buffer` is scratch space, so that a busy teller does not
    /// allocate per group.
    #[must_use]
    pub fn seal(branch: BranchId, epoch: u64, previous: ChainHash, rows: &[Row], buffer: &mut Vec<u8>) -> GroupCommit {
        buffer.clear();
        buffer.extend_from_slice(&branch.get().to_le_bytes());
        buffer.extend_from_slice(&epoch.to_le_bytes());
        buffer.extend_from_slice(&previous.0);
        buffer.extend_from_slice(&(rows.len() as u64).to_le_bytes());
        for row in rows {
            row.hash_into(buffer);
        }
        let mut hasher = blake3::Hasher::new_derive_key("florin 2026 journal group commit");
        hasher.update(buffer);
        GroupCommit { epoch, hash: ChainHash(*hasher.finalize().as_bytes()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Channel, RowKind};
    use bank_proto::{AccountSerial, Currency, CustomerId, Timestamp, TransactionKey};

    fn row() -> Row {
        Row {
            sequence: 7,
            booked_at: Timestamp(1),
            transaction: TransactionKey(9),
            fingerprint: Some([1; 16]),
            kind: RowKind::Deposit,
            debit_account: Some(AccountSerial(1)),
            credit_account: Some(AccountSerial(2)),
            amount: 100,
            currency: Some(Currency::USD),
            debit_balance: -100,
            credit_balance: 100,
            debit_previous: 3,
            credit_previous: 4,
            customer: CustomerId::new(5).ok(),
            principal: "open".into(),
            channel: Channel::Http,
            detail: None,
        }
    }

    fn seal(epoch: u64, previous: ChainHash, row: &Row) -> ChainHash {
        let branch = BranchId::new(1).expect("a branch");
        GroupCommit::seal(branch, epoch, previous, std::slice::from_ref(row), &mut Vec::new()).hash
    }

    #[test]
    fn no_column_can_change_without_the_hash() {
        let sealed = seal(1, ChainHash::default(), &row());
        let changes: [fn(&mut Row); 18] = [
            |row| row.sequence = 8,
            |row| row.booked_at = Timestamp(2),
            |row| row.transaction = TransactionKey(8),
            |row| row.fingerprint = None,
            |row| row.fingerprint = Some([2; 16]),
            |row| row.kind = RowKind::Withdrawal,
            |row| row.debit_account = None,
            |row| row.credit_account = Some(AccountSerial(3)),
            |row| row.amount = 101,
            |row| row.currency = None,
            |row| row.debit_balance = 1,
            |row| row.credit_balance = 1,
            |row| row.debit_previous = 0,
            |row| row.credit_previous = 0,
            |row| row.customer = None,
            |row| row.principal = "else".into(),
            |row| row.channel = Channel::Grpc,
            |row| row.detail = Some("".into()),
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut changed = row();
            change(&mut changed);
            assert_ne!(seal(1, ChainHash::default(), &changed), sealed, "change {index}");
        }
        assert_ne!(seal(2, ChainHash::default(), &row()), sealed, "the epoch");
        assert_ne!(seal(1, ChainHash([1; 32]), &row()), sealed, "the group before");
        assert_eq!(seal(1, ChainHash::default(), &row()), sealed, "the same again");
    }
}
