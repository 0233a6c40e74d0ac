//! The payees' end of the conversation with another server: what comes in goes to the tellers, and their answers
//! go out as soon as they are known.

use super::super::bank::Bank;
use super::super::placing::Place;
use super::super::{forward::Journey, outbound, own_words};
use super::{TIMEOUT, ask, translation};
use crate::teller::{Answered, Declined};
use crate::transfers::heard;
use bank_proto::{BranchId, ErrorCode, wire};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Messages of one conversation that may wait for the tellers. A server has one for each pair of branches.
const MESSAGES: usize = 4096;

/// Answers that travel in one message at most.
const ANSWERS: usize = 64;

/// Messages that wait for a server that reads slowly.
const OUTGOING: usize = 8;

type Outgoing = Result<wire::DeliverResponse, Status>;

/// What goes back.
pub(super) type Answers = ReceiverStream<Outgoing>;

/// What came of a message.
struct Answer {
    correlation_id: u64,
    said: Result<Said, Declined>,
}

/// A teller's answers, still in the bank's own words: translating them is not the teller's work.
struct Said {
    destination: BranchId,
    epoch: u64,
    answers: Vec<Answered>,
}

/// The answers to all messages of a conversation.
pub(super) fn answers(bank: Arc<Bank>, incoming: tonic::Streaming<wire::DeliverRequest>) -> Answers {
    let (answers, known) = mpsc::unbounded_channel();
    let (outgoing, stream) = mpsc::channel(OUTGOING);
    let room = Arc::new(Semaphore::new(MESSAGES));
    tokio::spawn(pump_in(bank, incoming, answers, room.clone(), outgoing.clone()));
    tokio::spawn(pump_out(known, room, outgoing));
    ReceiverStream::new(stream)
}

/// Takes messages off the conversation until the other server, or this one, ends it.
async fn pump_in(
    bank: Arc<Bank>,
    mut incoming: tonic::Streaming<wire::DeliverRequest>,
    answers: mpsc::UnboundedSender<Answer>,
    room: Arc<Semaphore>,
    outgoing: mpsc::Sender<Outgoing>,
) {
    loop {
        let request = tokio::select! {
            biased;
            () = bank.drained() => return,
            request = incoming.next() => request,
        };
        let request = match request {
            Some(Ok(request)) => request,
            Some(Err(status)) => {
                let declined = own_words::unreadable(status.code());
                let _ = outgoing.send(Err(outbound::status_of(&declined))).await;
                return;
            }
            None => return,
        };
        for message in request.messages {
            // Not reading on is how a conversation tells the other server to slow down.
            match room.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_) => return,
            }
            listen(&bank, message, &answers);
        }
    }
}

/// Puts one message before its teller.
fn listen(bank: &Bank, message: wire::PairMessage, answers: &mpsc::UnboundedSender<Answer>) {
    let correlation_id = message.correlation_id;
    let asked = translation::message_from(message, bank.assignment()).and_then(|message| {
        let destination = message.destination;
        // What one branch says to another is never forwarded: the sender must know where it is.
        let journey =
            Journey { hops: u32::MAX, request_id: String::new(), deadline: bank.now() + TIMEOUT, trace: None };
        let Place::Here(open) = bank.place(destination, &journey)? else {
            return Err(Declined::new(ErrorCode::WrongBranch));
        };
        let epoch = open.epoch;
        let mut owed = Owed { correlation_id, answers: Some(answers.clone()) };
        let asked = ask(&open, &message, move |answers| owed.tell(Ok(Said { destination, epoch, answers })));
        // What no teller took has been answered with the end of what was owed.
        drop(asked);
        Ok(())
    });
    if let Err(declined) = asked {
        // Nobody listens only when the conversation is over.
        let _ = answers.send(Answer { correlation_id, said: Err(declined) });
    }
}

/// An answer that is owed: a teller that ends with the question in its hands owes it still, and without it this
/// conversation would have a place less for ever.
struct Owed {
    correlation_id: u64,
    answers: Option<mpsc::UnboundedSender<Answer>>,
}

impl Owed {
    fn tell(&mut self, said: Result<Said, Declined>) {
        if let Some(answers) = self.answers.take() {
            // The other server may have gone; the outcomes are stored all the same.
            let _ = answers.send(Answer { correlation_id: self.correlation_id, said });
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.tell(Err(Declined::new(ErrorCode::BranchUnavailable)));
    }
}

/// Sends answers as they come, as many in one message as are there.
async fn pump_out(mut known: mpsc::UnboundedReceiver<Answer>, room: Arc<Semaphore>, outgoing: mpsc::Sender<Outgoing>) {
    let mut ready = Vec::new();
    while known.recv_many(&mut ready, ANSWERS).await > 0 {
        room.add_permits(ready.len());
        let answers = ready.drain(..).map(|Answer { correlation_id, said }| {
            let answer = match said {
                Ok(Said { destination, epoch, answers }) => translation::answer(destination, heard(epoch, answers)),
                Err(declined) => translation::refused(&declined),
            };
            wire::PairAnswer { correlation_id, ..answer }
        });
        if outgoing.send(Ok(wire::DeliverResponse { answers: answers.collect() })).await.is_err() {
            return;
        }
    }
}
