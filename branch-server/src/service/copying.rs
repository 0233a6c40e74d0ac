//! A branch's journal for whoever keeps a copy of it: how far it goes, and its rows as they are stored.

use super::bank::Bank;
use super::grpc::in_own_words;
use super::hosted::OpenBranch;
use super::outbound;
use crate::journal::sqlite::{StoredRow, StoredTable, StoredValue};
use crate::journal::{JournalReader, ReadError};
use crate::teller::Declined;
use bank_proto::wire::stored_value::Value;
use bank_proto::{Assignment, BranchId, ErrorCode, limits, wire};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

/// Rows of one read. Metadata may make a row of ten kilobytes.
const ROWS_PER_READ: u32 = 200;

/// Bytes at which a message is sent: with the rows of one more read it stays below what a message may have.
const MESSAGE_BYTES: usize = limits::GRPC_MESSAGE_BYTES / 4;

/// How long a caller may take with one message. Whoever stands still asks again for the rest.
const MESSAGE_PATIENCE: Duration = Duration::from_secs(20);

/// Messages that wait for a caller who takes its time.
const MESSAGES: usize = 1;

/// Hashes that one question may ask for.
const HASHES: usize = 16;

/// What goes back to whoever copies.
pub(super) type Copied = Result<wire::StoredRows, Status>;

/// A message on its way there; None when all were told.
type Told = Option<Copied>;

/// The messages that a task tells. When it ends without having told all, so does this, with an error: a part must not
/// be taken for the whole.
fn until_all_is_told(told: mpsc::Receiver<Told>) -> impl Stream<Item = Copied> {
    let broke_off = outbound::status_of(&Declined::new(ErrorCode::BranchUnavailable));
    ReceiverStream::new(told).chain(tokio_stream::once(Some(Err(broke_off)))).map_while(|told| told)
}

/// How far the journal of a branch hosted here goes.
pub(super) async fn describe(
    bank: &Bank,
    open: &OpenBranch,
    branch: BranchId,
    asked: wire::DescribeJournalRequest,
) -> Result<wire::JournalDescription, Status> {
    if asked.sequences.len() > HASHES {
        return Err(invalid("sequences", format!("must name at most {HASHES} rows")));
    }
    let _place = bank.admit_follower().map_err(|declined| outbound::status_of(&declined))?;
    let (open, assignment) = (open.clone(), bank.assignment().clone());
    let describe = move || description(&mut *open.reader()?, &asked.sequences, &assignment);
    let described = bank.workers().run(describe).await.map_err(|error| unreadable(branch, &error.to_string()))?;
    described.map_err(|error| unreadable(branch, &error.to_string()))
}

fn description(
    reader: &mut dyn JournalReader,
    sequences: &[i64],
    assignment: &Assignment,
) -> Result<wire::JournalDescription, ReadError> {
    let end = reader.end()?;
    let mut hash = |sequence: &i64| reader.group_hash(sequence.cast_unsigned()).map(|hash| hash.0.to_vec());
    Ok(wire::JournalDescription {
        last_sequence: end.sequence.cast_signed(),
        epoch: end.epoch.cast_signed(),
        hashes: sequences.iter().map(&mut hash).collect::<Result<_, _>>()?,
        branches: assignment.branches(),
        founding_servers: assignment.founding_servers(),
    })
}

/// Rows of a branch hosted here, as fast as the caller takes them.
pub(super) fn rows(
    bank: Arc<Bank>,
    open: &OpenBranch,
    branch: BranchId,
    asked: &wire::CopyJournalRequest,
) -> Result<impl Stream<Item = Copied> + use<>, Status> {
    let table = match asked.table() {
        wire::StoredTable::Journal => StoredTable::Journal,
        wire::StoredTable::PersonalName => StoredTable::PersonalName,
        wire::StoredTable::Unspecified => return Err(invalid("table", "must be one of the two".to_owned())),
    };
    let place = bank.admit_follower().map_err(|declined| outbound::status_of(&declined))?;
    let (sender, receiver) = mpsc::channel(MESSAGES);
    let (open, first, last) = (open.clone(), asked.first, asked.last);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = bank.drained() => {}
            () = sender.closed() => {}
            () = send_rows(&bank, &open, branch, table, (first, last), &sender) => {}
        }
        drop(place);
    });
    Ok(until_all_is_told(receiver))
}

async fn send_rows(
    bank: &Bank,
    open: &OpenBranch,
    branch: BranchId,
    table: StoredTable,
    (mut next, last): (i64, i64),
    sender: &mpsc::Sender<Told>,
) {
    let mut opened = None;
    while next <= last {
        let (open, reader_before) = (open.clone(), opened.take());
        let read = bank.workers().run(move || {
            let mut reader = match reader_before {
                Some(reader) => reader,
                // One of its own: a copy must not keep statements waiting.
                None => open.reader()?,
            };
            let rows = message(&mut *reader, table, next, last)?;
            Ok::<_, ReadError>((reader, rows))
        });
        let message = match read.await {
            Ok(Ok((_, rows))) if rows.is_empty() => break,
            Ok(Ok((reader, rows))) => {
                opened = Some(reader);
                let Some(after) = key_of_last(&rows).and_then(|key| key.checked_add(1)) else { return };
                next = after;
                Ok(wire::StoredRows { rows: rows.into_iter().map(to_wire).collect() })
            }
            Ok(Err(error)) => Err(unreadable(branch, &error.to_string())),
            Err(_) => return,
        };
        let is_last = message.is_err();
        let sent = tokio::time::timeout(MESSAGE_PATIENCE, sender.send(Some(message))).await;
        if !matches!(sent, Ok(Ok(()))) || is_last {
            return;
        }
    }
    // The caller may have gone; then nobody waits for this.
    let _ = sender.send(None).await;
}

/// The rows of one message, in the order of their keys.
fn message(
    reader: &mut dyn JournalReader,
    table: StoredTable,
    first: i64,
    last: i64,
) -> Result<Vec<StoredRow>, ReadError> {
    let (mut rows, mut bytes, mut next) = (Vec::new(), 0, first);
    while bytes < MESSAGE_BYTES && next <= last {
        let mut some = reader.stored_rows(table, next, last, ROWS_PER_READ)?;
        let Some(after) = key_of_last(&some).and_then(|key| key.checked_add(1)) else { break };
        next = after;
        bytes += some.iter().map(stored_bytes).sum::<usize>();
        rows.append(&mut some);
    }
    Ok(rows)
}

/// Both tables begin with their key.
fn key_of_last(rows: &[StoredRow]) -> Option<i64> {
    match rows.last()?.first()? {
        StoredValue::Integer(key) => Some(*key),
        _ => None,
    }
}

/// What a row takes in a message, or a little more.
fn stored_bytes(row: &StoredRow) -> usize {
    const FRAME: usize = 16;
    let bytes = |value: &StoredValue| match value {
        StoredValue::Text(text) => text.len(),
        StoredValue::Blob(blob) => blob.len(),
        StoredValue::Null | StoredValue::Integer(_) | StoredValue::Real(_) => 0,
    };
    row.iter().map(|value| FRAME + bytes(value)).sum()
}

/// The rows of a branch that another server hosts.
pub(super) fn relay(bank: Arc<Bank>, mut rows: tonic::Streaming<wire::StoredRows>) -> impl Stream<Item = Copied> {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                biased;
                () = bank.drained() => return,
                () = sender.closed() => return,
                message = rows.message() => message.transpose(),
            };
            let is_last = !matches!(message, Some(Ok(_)));
            // The caller may have gone; then nobody waits for this.
            if sender.send(message.map(|message| message.map_err(in_own_words))).await.is_err() || is_last {
                return;
            }
        }
    });
    until_all_is_told(receiver)
}

fn to_wire(row: StoredRow) -> wire::StoredRow {
    let value = |value| wire::StoredValue {
        value: match value {
            StoredValue::Null => None,
            StoredValue::Integer(integer) => Some(Value::Integer(integer)),
            StoredValue::Text(text) => Some(Value::Text(text)),
            StoredValue::Blob(blob) => Some(Value::Blob(blob)),
            // No column is of this type (STRICT tables).
            StoredValue::Real(_) => None,
        },
    };
    wire::StoredRow { values: row.into_iter().map(value).collect() }
}

fn invalid(field: &'static str, reason: String) -> Status {
    outbound::status_of(&Declined::new(ErrorCode::InvalidRequest).with("field", field).with("reason", reason))
}

fn unreadable(branch: BranchId, what: &str) -> Status {
    tracing::error!(%branch, error = what, "the journal cannot be read for a copy");
    outbound::status_of(&Declined::new(ErrorCode::BranchUnavailable).with("branch_id", branch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_copy_that_broke_off_does_not_look_like_a_whole_one() {
        for (says_the_end, errors) in [(true, 0), (false, 1)] {
            let (sender, receiver) = mpsc::channel(2);
            sender.send(Some(Ok(wire::StoredRows::default()))).await.expect("room");
            if says_the_end {
                sender.send(None).await.expect("room");
            }
            drop(sender);
            let came: Vec<Copied> = until_all_is_told(receiver).collect().await;
            assert_eq!(came.iter().filter(|message| message.is_ok()).count(), 1);
            assert_eq!(came.iter().filter(|message| message.is_err()).count(), errors);
        }
    }
}
