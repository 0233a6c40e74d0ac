//! A branch's journal as a stream: what is there, and then what comes.

use super::bank::Bank;
use super::grpc::in_own_words;
use super::hosted::OpenBranch;
use super::outbound;
use crate::environment::Workers;
use crate::journal::{GroupCommit, JournalReader, Row, Sequence};
use crate::teller::Declined;
use bank_proto::{AccountNumber, AccountSerial, BranchId, CustomerId, ErrorCode, Money, wire};
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Rows that one read of the journal takes: reads are short, so that the write-ahead log can be emptied.
const ROWS_PER_READ: usize = 500;

type Rows = Vec<(Row, Option<GroupCommit>)>;

/// The rows of a branch hosted here, as its follower asked for them. A slow follower slows only
/// itself: rows wait in the journal, not in memory.
pub(super) fn rows(
    bank: Arc<Bank>,
    open: OpenBranch,
    branch: BranchId,
    question: wire::FollowJournalRequest,
) -> Result<impl Stream<Item = Result<wire::JournalRow, Status>>, Status> {
    let first = match Sequence::try_from(question.from_sequence) {
        Ok(first) => first.max(1),
        Err(_) => {
            let declined = Declined::new(ErrorCode::InvalidRequest);
            return Err(outbound::status_of(
                &declined.with("field", "from_sequence").with("reason", "must not be negative"),
            ));
        }
    };
    let place = bank.admit_follower().map_err(|declined| outbound::status_of(&declined))?;
    // A connection of its own: a follower must not keep statements waiting.
    let reader = open.reader();
    let reader = reader.map_err(|error| unreadable(branch, &error.to_string()))?;
    let (sender, receiver) = mpsc::channel(ROWS_PER_READ);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = bank.drained() => {}
            () = sender.closed() => {}
            () = send_rows(bank.workers(), reader, open, branch, first, question.until_now, &sender) => {}
        }
        drop(place);
    });
    Ok(ReceiverStream::new(receiver))
}

/// The rows of a branch that another server hosts, for as long as this one is not told to stop.
pub(super) fn relay(
    bank: Arc<Bank>,
    mut rows: tonic::Streaming<wire::JournalRow>,
) -> impl Stream<Item = Result<wire::JournalRow, Status>> {
    let (sender, receiver) = mpsc::channel(ROWS_PER_READ);
    tokio::spawn(async move {
        loop {
            let row = tokio::select! {
                biased;
                () = bank.drained() => return,
                () = sender.closed() => return,
                row = rows.message() => row,
            };
            let Some(row) = row.transpose() else { return };
            let is_last = row.is_err();
            // The follower may have gone; then nobody waits for this.
            if sender.send(row.map_err(in_own_words)).await.is_err() || is_last {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

async fn send_rows(
    workers: Workers,
    mut reader: Box<dyn JournalReader>,
    mut open: OpenBranch,
    branch: BranchId,
    mut next: Sequence,
    until_now: bool,
    sender: &mpsc::Sender<Result<wire::JournalRow, Status>>,
) {
    // Where the journal ends now: the caller of an answered order finds its rows.
    let mut end = None;
    loop {
        // Seen before the journal is read: whatever becomes durable after that read wakes this up.
        open.synced.borrow_and_update();
        let read = workers.run(move || {
            let rows = read(&mut *reader, next);
            (reader, rows)
        });
        let Ok((given_back, rows)) = read.await else { return };
        reader = given_back;
        match rows {
            Ok((newest, rows)) => {
                let end = *end.get_or_insert(newest);
                for (row, closing) in rows {
                    if until_now && row.sequence > end {
                        return;
                    }
                    next = row.sequence + 1;
                    if sender.send(Ok(journal_row(branch, &row, closing))).await.is_err() {
                        return;
                    }
                }
                if until_now && next > end {
                    return;
                }
                if next > newest && open.synced.changed().await.is_err() {
                    return;
                }
            }
            Err(what) => {
                // The follower may have gone; then nobody waits for this.
                let _ = sender.send(Err(unreadable(branch, &what))).await;
                return;
            }
        }
    }
}

/// Where the journal ends, and some of the rows from `first` up to there.
fn read(reader: &mut dyn JournalReader, first: Sequence) -> Result<(Sequence, Rows), String> {
    let newest = reader.last_sequence().map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    if first > newest {
        return Ok((newest, rows));
    }
    let outcome = reader.for_each(first, &mut |row, closing| {
        rows.push((row, closing));
        if rows.len() >= ROWS_PER_READ { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match outcome {
        Ok(()) if rows.is_empty() => Err(format!("row {first} is missing")),
        Ok(()) => Ok((newest, rows)),
        Err(error) => Err(error.to_string()),
    }
}

fn unreadable(branch: BranchId, what: &str) -> Status {
    tracing::error!(%branch, error = what, "the journal cannot be read for a follower");
    outbound::status_of(&Declined::new(ErrorCode::BranchUnavailable).with("branch_id", branch))
}

fn journal_row(branch: BranchId, row: &Row, closing: Option<GroupCommit>) -> wire::JournalRow {
    let account = |serial: Option<AccountSerial>| {
        serial.map(|serial| AccountNumber::new(branch, serial).to_string()).unwrap_or_default()
    };
    let money = |minor| row.currency.map(|currency| Money::from_minor(minor, currency).to_string()).unwrap_or_default();
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    wire::JournalRow {
        sequence: signed(row.sequence),
        booked_at: Some(row.booked_at.to_wire()),
        transaction_id: outbound::transaction_id(branch, row.transaction),
        r#type: row.kind.as_str().to_owned(),
        debit_account_number: account(row.debit_account),
        credit_account_number: account(row.credit_account),
        amount: money(row.amount),
        currency: row.currency.map(|currency| currency.code().to_owned()).unwrap_or_default(),
        debit_balance: money(row.debit_balance),
        credit_balance: money(row.credit_balance),
        customer_id: signed(row.customer.map_or(0, CustomerId::get)),
        principal: row.principal.to_string(),
        channel: row.channel.as_str().to_owned(),
        detail: row.detail.as_deref().unwrap_or_default().to_owned(),
        epoch: closing.map_or(0, |closing| signed(closing.epoch)),
        hash: closing.map(|closing| format!("{:?}", closing.hash)).unwrap_or_default(),
    }
}
