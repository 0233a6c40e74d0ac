//! A conversation of many operations: what comes in, and what goes out as soon as it is known.

use super::bank::{Bank, Results, Tagged};
use super::deadline::DEFAULT_TIMEOUT;
use super::forward::Journey;
use super::grpc::check_size;
use super::inbound;
use super::outbound;
use super::own_words;
use bank_proto::{limits, wire};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Operations of one stream that may wait for their answers.
const STREAM_OPERATIONS: usize = 2 * limits::BATCH_OPERATIONS;

/// Bytes at which a message of a stream is sent: with one more answer it stays below what a message may have.
const STREAM_MESSAGE_BYTES: usize = limits::GRPC_MESSAGE_BYTES / 4;

/// Groups of answers that travel in one message of a stream at most.
const STREAM_RESULTS: usize = 1024;

/// Messages that wait for a caller who reads slowly.
const STREAM_MESSAGES: usize = 8;

type Message = Result<wire::BatchStreamResponse, Status>;

/// The answers to all operations of a stream, each as soon as it is known.
pub(super) fn answers(
    bank: Arc<Bank>,
    incoming: tonic::Streaming<wire::BatchStreamRequest>,
    journey: Journey,
) -> ReceiverStream<Message> {
    let (answers, results) = mpsc::unbounded_channel();
    let (messages, outgoing) = mpsc::channel(STREAM_MESSAGES);
    // Each waiting operation holds a permit, so that what a stream can queue here is bounded.
    let room = Arc::new(Semaphore::new(STREAM_OPERATIONS));
    tokio::spawn(pump_in(bank, incoming, journey, answers, room.clone(), messages.clone()));
    tokio::spawn(pump_out(results, room, messages));
    ReceiverStream::new(outgoing)
}

/// Takes operations off a stream until its caller ends it.
async fn pump_in(
    bank: Arc<Bank>,
    mut incoming: tonic::Streaming<wire::BatchStreamRequest>,
    mut journey: Journey,
    answers: mpsc::UnboundedSender<Results>,
    room: Arc<Semaphore>,
    messages: mpsc::Sender<Message>,
) {
    loop {
        let message = tokio::select! {
            biased;
            // Before the next message: one that never runs out of them must end as well.
            () = bank.drained() => return,
            message = incoming.next() => message,
        };
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(status)) => {
                // What was read before it is answered; the caller learns that this was not.
                let declined = own_words::unreadable(status.code());
                let _ = messages.send(Err(outbound::status_of(&declined))).await;
                return;
            }
            None => return,
        };
        let count = message.operations.len();
        let weight = message.operations.iter().filter_map(|operation| operation.operation.as_ref());
        if let Err(status) = check_size(weight.map(inbound::weight).sum::<usize>().max(count)) {
            let _ = messages.send(Err(status)).await;
            return;
        }
        let permits = u32::try_from(count).unwrap_or(u32::MAX);
        // Not reading on is how a stream tells its caller to slow down.
        match room.acquire_many(permits).await {
            Ok(permits) => permits.forget(),
            Err(_) => return,
        }
        let now = bank.now();
        journey.deadline = now + DEFAULT_TIMEOUT;
        let operations = message.operations.into_iter().map(|operation| {
            let timeout = Duration::from_millis(u64::from(operation.timeout_ms));
            let timeout = if timeout.is_zero() { DEFAULT_TIMEOUT } else { timeout.min(DEFAULT_TIMEOUT) };
            Tagged {
                tag: operation.correlation_id,
                operation: operation.operation.unwrap_or_default(),
                deadline: now + timeout,
                trace: None,
                may_be_done: false,
            }
        });
        let mut operations: Vec<Tagged> = operations.collect();
        bank.join_traces(&mut operations, &message.traces);
        bank.dispatch(operations, &journey, &answers);
    }
}

/// Sends answers as they come, as many in one message as are there.
async fn pump_out(
    mut results: mpsc::UnboundedReceiver<Results>,
    room: Arc<Semaphore>,
    messages: mpsc::Sender<Message>,
) {
    let mut ready = Vec::new();
    while results.recv_many(&mut ready, STREAM_RESULTS).await > 0 {
        let mut message = wire::BatchStreamResponse::default();
        let mut bytes = 0;
        for (correlation_id, result) in ready.drain(..).flat_map(Results::into_messages) {
            let result = wire::StreamResult { correlation_id, result: Some(result) };
            bytes += result.encoded_len();
            message.results.push(result);
            // A customer with many accounts makes a large answer; many of them make many messages.
            if bytes >= STREAM_MESSAGE_BYTES {
                bytes = 0;
                if send(&messages, &room, std::mem::take(&mut message)).await.is_err() {
                    return;
                }
            }
        }
        if !message.results.is_empty() && send(&messages, &room, message).await.is_err() {
            return;
        }
    }
}

/// Sends one message of a stream and gives the room of its operations back.
async fn send(
    messages: &mpsc::Sender<Message>,
    room: &Semaphore,
    message: wire::BatchStreamResponse,
) -> Result<(), mpsc::error::SendError<Message>> {
    room.add_permits(message.results.len());
    messages.send(Ok(message)).await
}
