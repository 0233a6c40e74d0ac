//! Batches on the wire, written and read without a message in between: a generator that decodes
//! every receipt would take more of the machine than the bank.

use super::orders::Orders;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Protobuf's tag of a field whose content is as long as the number after it says.
const fn tag(field: u8) -> u8 {
    field << 3 | 2
}

/// A `BatchRequest` of deposits of 1.00 for these customers.
pub(super) fn batch(customers: impl Iterator<Item = u64>, deposits: &mut Orders) -> Bytes {
    let mut bytes = BytesMut::with_capacity(64 * 1024);
    for customer in customers {
        let key = deposits.key();
        let mut deposit = [0; 64];
        let mut rest = &mut deposit[..];
        rest.put_u8(1 << 3);
        put_number(&mut rest, customer);
        rest.put_slice(&[tag(2), 1, b'1']);
        if let Some(key) = key {
            rest.put_slice(&[tag(4), 32]);
            rest.put_slice(&key);
        }
        let unused = rest.len();
        let deposit = &deposit[..64 - unused];
        // Both lengths are below 128, and so one byte each.
        bytes.put_slice(&[tag(1), deposit.len() as u8 + 2, tag(1), deposit.len() as u8]);
        bytes.put_slice(deposit);
    }
    bytes.freeze()
}

fn put_number(bytes: &mut &mut [u8], mut number: u64) {
    while number >= 0x80 {
        // The low seven bits and a sign that more follow.
        bytes.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.put_u8(number as u8);
}

/// What a `BatchResponse` says, by kind alone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Receipts.
    pub(super) done: u64,
    /// Failures, and results of any other kind.
    pub(super) failed: u64,
}

/// Counts the results of a `BatchResponse`; None when it is not one.
fn outcome(mut bytes: &[u8]) -> Option<Outcome> {
    let mut outcome = Outcome::default();
    while let Some((first, rest)) = bytes.split_first() {
        let (length, rest) = number(rest)?;
        let (result, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        if *first == tag(1) {
            match result.first() {
                Some(kind) if *kind == tag(1) => outcome.done += 1,
                _ => outcome.failed += 1,
            }
        }
        bytes = rest;
    }
    Some(outcome)
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// Sends bytes that are a message already, and counts what comes back.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct BatchCodec;

impl Codec for BatchCodec {
    type Encode = Bytes;
    type Decode = Outcome;
    type Encoder = BatchCodec;
    type Decoder = BatchCodec;

    fn encoder(&mut self) -> BatchCodec {
        BatchCodec
    }

    fn decoder(&mut self) -> BatchCodec {
        BatchCodec
    }
}

impl Encoder for BatchCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Decoder for BatchCodec {
    type Item = Outcome;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Outcome>, Status> {
        let bytes = source.copy_to_bytes(source.remaining());
        outcome(&bytes).map(Some).ok_or_else(|| Status::internal("the answer is no BatchResponse"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::arguments::Ids;
    use super::super::orders::Spread;
    use super::*;
    use bank_proto::wire::{
        BatchRequest, BatchResponse, Failure, OperationResult, Receipt, operation, operation_result,
    };
    use prost::Message as _;

    #[test]
    fn a_batch_reads_as_the_message_it_stands_for() {
        let customers = [1, 127, 128, 300, 9_007_199_254_740_991];
        for ids in [Ids::Client, Ids::Server] {
            let bytes = batch(customers.into_iter(), &mut Orders::new(Spread::Hot, ids));
            let request = BatchRequest::decode(bytes).expect("a BatchRequest");
            let read = request.operations.into_iter().map(|operation| match operation.kind {
                Some(operation::Kind::Deposit(deposit)) => deposit,
                other => panic!("{other:?}"),
            });
            for (deposit, customer) in read.zip(customers) {
                assert_eq!((deposit.customer_id.cast_unsigned(), deposit.amount.as_str()), (customer, "1"));
                assert_eq!(deposit.transaction_id.map(|id| id.len()), (ids == Ids::Client).then_some(32));
                assert_eq!(
                    (deposit.account_number, deposit.memo, deposit.caller),
                    (String::new(), String::new(), None)
                );
            }
        }
    }

    #[test]
    fn receipts_and_failures_are_told_apart() {
        let receipt = Receipt { transaction_id: "1-".repeat(90), ..Receipt::default() };
        let result = |kind| OperationResult { kind: Some(kind) };
        let response = BatchResponse {
            results: vec![
                result(operation_result::Kind::Receipt(receipt.clone())),
                result(operation_result::Kind::Failure(Failure::default())),
                result(operation_result::Kind::Receipt(receipt)),
                OperationResult { kind: None },
            ],
        };
        let bytes = response.encode_to_vec();
        assert_eq!(outcome(&bytes), Some(Outcome { done: 2, failed: 2 }));
        assert_eq!(outcome(&bytes[..bytes.len() - 3]), None);
    }
}
