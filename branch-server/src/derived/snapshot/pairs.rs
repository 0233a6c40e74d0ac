//! What the books know of other branches, as bytes.

use super::Reader;
use crate::ledger::{Ledger, Outgoing, PeerView, Target};
use bank_proto::{AccountSerial, BranchId, Currency, CustomerId, Money, Timestamp, TransactionKey};

pub(super) fn encode(ledger: &Ledger, bytes: &mut Vec<u8>) {
    let peers: Vec<PeerView> = ledger.peers().collect();
    bytes.extend_from_slice(&(peers.len() as u32).to_le_bytes());
    for peer in peers {
        bytes.extend_from_slice(&peer.peer.get().to_le_bytes());
        for number in [peer.sent, peer.peer_epoch, peer.received_up_to, peer.received_beyond.len() as u64] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for number in peer.received_beyond {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    let outbox: Vec<_> = ledger.outbox().collect();
    bytes.extend_from_slice(&(outbox.len() as u64).to_le_bytes());
    for (peer, pair_sequence, outgoing) in outbox {
        bytes.extend_from_slice(&peer.get().to_le_bytes());
        bytes.extend_from_slice(&pair_sequence.to_le_bytes());
        bytes.extend_from_slice(&outgoing.transfer.0.to_le_bytes());
        let (is_account, payee) = match outgoing.payee {
            Target::Account(serial) => (1, u64::from(serial.0)),
            Target::Customer(customer) => (0, customer.get()),
        };
        bytes.push(is_account);
        bytes.extend_from_slice(&payee.to_le_bytes());
        bytes.extend_from_slice(&outgoing.amount.minor().to_le_bytes());
        bytes.extend_from_slice(&outgoing.amount.currency().numeric().to_le_bytes());
        bytes.extend_from_slice(&outgoing.debited.0.to_le_bytes());
        bytes.extend_from_slice(&outgoing.row.to_le_bytes());
        bytes.extend_from_slice(&outgoing.sent_at.0.to_le_bytes());
        bytes.push(u8::from(outgoing.original.is_some()));
        bytes.extend_from_slice(&outgoing.original.map_or(0, |original| original.0).to_le_bytes());
    }
}

pub(super) fn decode(reader: &mut Reader<'_>, ledger: &mut Ledger) -> Option<()> {
    for _ in 0..reader.u32()? {
        let peer = branch(reader)?;
        let (sent, peer_epoch, received_up_to) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let beyond = reader.u64()?;
        let received_beyond = (0..beyond).map(|_| reader.u64()).collect::<Option<Vec<u64>>>()?;
        let (lowest_outstanding, in_flight) = (0, 0);
        let view = PeerView { peer, sent, lowest_outstanding, in_flight, peer_epoch, received_up_to, received_beyond };
        ledger.restore_peer(view);
    }
    for _ in 0..reader.u64()? {
        let (peer, pair_sequence) = (branch(reader)?, reader.u64()?);
        let transfer = TransactionKey(u128::from_le_bytes(reader.array()?));
        let payee = match (reader.u8()?, reader.u64()?) {
            (1, serial) => Target::Account(AccountSerial(u32::try_from(serial).ok()?)),
            (0, customer) => Target::Customer(CustomerId::new(i64::try_from(customer).ok()?).ok()?),
            _ => return None,
        };
        let minor = reader.i64()?;
        let amount = Money::from_minor(minor, Currency::from_numeric(u16::from_le_bytes(reader.array()?))?);
        let debited = AccountSerial(reader.u32()?);
        let (row, sent_at) = (reader.u64()?, Timestamp(reader.i64()?));
        // Books written before there were these are shorter, and as good as none.
        let original = match (reader.u8()?, u128::from_le_bytes(reader.array()?)) {
            (0, 0) => None,
            (1, original) => Some(TransactionKey(original)),
            _ => return None,
        };
        let outgoing = Outgoing { transfer, payee, amount, debited, row, sent_at, original };
        ledger.restore_outgoing(peer, pair_sequence, outgoing);
    }
    Some(())
}

fn branch(reader: &mut Reader<'_>) -> Option<BranchId> {
    BranchId::new(i64::from(reader.u32()?)).ok()
}
