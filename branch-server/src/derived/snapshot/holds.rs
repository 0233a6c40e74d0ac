//! Open holds, as bytes.

use super::Reader;
use crate::ledger::{Ledger, OpenHold};
use bank_proto::{AccountSerial, Timestamp, TransactionKey};

pub(super) fn encode(ledger: &Ledger, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(ledger.open_hold_count() as u64).to_le_bytes());
    for (key, hold) in ledger.open_holds() {
        bytes.extend_from_slice(&key.0.to_le_bytes());
        bytes.extend_from_slice(&hold.account.0.to_le_bytes());
        bytes.extend_from_slice(&hold.amount.to_le_bytes());
        bytes.extend_from_slice(&hold.remaining.to_le_bytes());
        bytes.extend_from_slice(&hold.expires_at.0.to_le_bytes());
    }
}

pub(super) fn decode(reader: &mut Reader<'_>, ledger: &mut Ledger) -> Option<()> {
    for _ in 0..reader.u64()? {
        let key = TransactionKey(u128::from_le_bytes(reader.array()?));
        let account = AccountSerial(reader.u32()?);
        let (amount, remaining, expires_at) = (reader.i64()?, reader.i64()?, Timestamp(reader.i64()?));
        if !ledger.restore_hold(key, OpenHold { account, amount, remaining, expires_at }) {
            return None;
        }
    }
    Some(())
}
