//! A branch's journal for whoever keeps a copy of it: how far it goes, and its rows as they are stored.

use super::bank::Bank;
use super::grpc::in_own_words;
use super::hosted::OpenBranch;
use super::outbound;
use crate::journal::sqlite::{StoredRow, StoredTable, StoredValue};
use crate::journal::{JournalReader, ReadError};
use crate::teller::Declined;
use bank_proto::wire::stored_value::Value;
use bank_proto::{Assignment, BranchId, ErrorCode, wire};
use std::sync::{Arc, PoisonError};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Rows of one read, and of one message: a row has at most some two kilobytes, and a message four megabytes.
const ROWS_PER_MESSAGE: u32 = 1_000;

/// Messages that wait for a caller who takes its time.
const MESSAGES: usize = 2;

/// Hashes that one question may ask for.
const HASHES: usize = 16;

/// What goes back to whoever copies.
pub(super) type Copied = Result<wire::StoredRows, Status>;

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
    let reader = reader(open, branch)?;
    let assignment = bank.assignment().clone();
    let described = bank.workers().run(move || description(&reader, &asked.sequences, &assignment)).await;
    let described = described.map_err(|error| unreadable(branch, &error.to_string()))?;
    described.map_err(|error| unreadable(branch, &error.to_string()))
}

fn description(
    reader: &JournalReader,
    sequences: &[i64],
    assignment: &Assignment,
) -> Result<wire::JournalDescription, ReadError> {
    let end = reader.end()?;
    let hash = |sequence: &i64| reader.group_hash(sequence.cast_unsigned()).map(|hash| hash.0.to_vec());
    Ok(wire::JournalDescription {
        last_sequence: end.sequence.cast_signed(),
        epoch: end.epoch.cast_signed(),
        hashes: sequences.iter().map(hash).collect::<Result<_, _>>()?,
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
    let reader = reader(open, branch)?;
    let (sender, receiver) = mpsc::channel(MESSAGES);
    let (first, last) = (asked.first, asked.last);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = bank.drained() => {
                // The caller may have gone; then nobody waits for this.
                let _ = sender.send(Err(outbound::status_of(&Declined::new(ErrorCode::BranchUnavailable)))).await;
            }
            () = sender.closed() => {}
            () = send_rows(&bank, reader, branch, table, (first, last), &sender) => {}
        }
        drop(place);
    });
    Ok(ReceiverStream::new(receiver))
}

async fn send_rows(
    bank: &Bank,
    mut reader: JournalReader,
    branch: BranchId,
    table: StoredTable,
    (mut next, last): (i64, i64),
    sender: &mpsc::Sender<Copied>,
) {
    while next <= last {
        let read = bank.workers().run(move || {
            let rows = reader.stored_rows(table, next, last, ROWS_PER_MESSAGE);
            (reader, rows)
        });
        let Ok((given_back, rows)) = read.await else { return };
        reader = given_back;
        let message = match rows {
            Ok(rows) if rows.is_empty() => return,
            Ok(rows) => {
                // Both tables begin with their key.
                let key = rows.last().and_then(|row| row.first());
                let Some(StoredValue::Integer(key)) = key else { return };
                let Some(after) = key.checked_add(1) else { return };
                next = after;
                Ok(wire::StoredRows { rows: rows.into_iter().map(to_wire).collect() })
            }
            Err(error) => Err(unreadable(branch, &error.to_string())),
        };
        let is_last = message.is_err();
        if sender.send(message).await.is_err() || is_last {
            return;
        }
    }
}

/// The rows of a branch that another server hosts.
pub(super) fn relay(bank: Arc<Bank>, mut rows: tonic::Streaming<wire::StoredRows>) -> impl Stream<Item = Copied> {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                biased;
                () = bank.drained() => Some(Err(outbound::status_of(&Declined::new(ErrorCode::BranchUnavailable)))),
                () = sender.closed() => return,
                message = rows.message() => message.transpose(),
            };
            let Some(message) = message else { return };
            let is_last = message.is_err();
            // The caller may have gone; then nobody waits for this.
            if sender.send(message.map_err(in_own_words)).await.is_err() || is_last {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// A connection of its own: a copy must not keep statements waiting.
fn reader(open: &OpenBranch, branch: BranchId) -> Result<JournalReader, Status> {
    let reader = open.reader.lock().unwrap_or_else(PoisonError::into_inner).try_clone();
    reader.map_err(|error| unreadable(branch, &error.to_string()))
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
