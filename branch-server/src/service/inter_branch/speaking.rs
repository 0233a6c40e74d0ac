//! The payers' end of the conversation with another server: whatever its branches are to be told travels together.

use super::TIMEOUT;
use crate::teller::Declined;
use bank_proto::wire::inter_branch_service_client::InterBranchServiceClient;
use bank_proto::{ErrorCode, limits, wire};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_stream::Stream;
use tonic::transport::Channel;

type Client = InterBranchServiceClient<Channel>;
type Heard = Result<wire::PairAnswer, Declined>;

/// The way to another server's branches. A conversation begins with the first message and goes on until it
/// breaks; the next message begins another.
pub(in crate::service) struct Line {
    client: Client,
    current: Mutex<Option<Conversation>>,
}

/// A conversation that may have ended meanwhile.
struct Conversation {
    outgoing: mpsc::UnboundedSender<wire::PairMessage>,
    awaited: Arc<Awaited>,
    listener: AbortHandle,
}

impl Line {
    pub(in crate::service) fn new(channel: Channel) -> Line {
        let client = Client::new(channel)
            .max_decoding_message_size(limits::GRPC_MESSAGE_BYTES)
            .max_encoding_message_size(limits::GRPC_MESSAGE_BYTES);
        Line { client, current: Mutex::default() }
    }

    /// For questions beside the conversation, on the same connection.
    pub(in crate::service) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Says something and waits for the answer.
    ///
    /// # Errors
    /// The server was not reached, did not answer in time, or stopped meanwhile: nothing is known. Or what it
    /// says of the conversation as a whole.
    pub(super) async fn say(&self, message: wire::PairMessage) -> Heard {
        let (awaited, number, answer) = self.send(message);
        match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(Ok(heard)) => heard,
            Ok(Err(_)) => Err(unreachable()),
            Err(_) => {
                awaited.forget(number);
                Err(unreachable())
            }
        }
    }

    fn send(&self, mut message: wire::PairMessage) -> (Arc<Awaited>, u64, oneshot::Receiver<Heard>) {
        let mut current = lock(&self.current);
        loop {
            let Conversation { outgoing, awaited, .. } =
                current.get_or_insert_with(|| Conversation::begin(self.client.clone()));
            if let Some((number, answer)) = awaited.register() {
                message.correlation_id = number;
                // Nobody takes it only when the conversation has just broken, and then the answer says so.
                let _ = outgoing.send(message);
                return (awaited.clone(), number, answer);
            }
            *current = None;
        }
    }
}

impl Conversation {
    fn begin(client: Client) -> Conversation {
        let awaited = Arc::new(Awaited(Mutex::new(Some(Numbered::default()))));
        let (outgoing, waiting) = mpsc::unbounded_channel();
        let listening = listen(client, Outgoing(waiting), awaited.clone());
        Conversation { outgoing, awaited, listener: tokio::spawn(listening).abort_handle() }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Hands answers out until the conversation breaks.
async fn listen(mut client: Client, outgoing: Outgoing, awaited: Arc<Awaited>) {
    let broken = async {
        let mut incoming = client.deliver(outgoing).await?.into_inner();
        while let Some(response) = incoming.message().await? {
            awaited.settle(response.answers);
        }
        Err::<std::convert::Infallible, _>(tonic::Status::unavailable("the server ended the conversation"))
    };
    let Err(status) = broken.await;
    tracing::debug!(code = ?status.code(), reason = status.message(), "a conversation with another server broke");
    awaited.end(&Declined::new(ErrorCode::from_status(&status).unwrap_or(ErrorCode::BranchUnavailable)));
}

/// What one conversation sends: as much in one message as waits when there is room on the wire.
struct Outgoing(mpsc::UnboundedReceiver<wire::PairMessage>);

impl Stream for Outgoing {
    type Item = wire::DeliverRequest;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<wire::DeliverRequest>> {
        let Some(first) = ready!(self.0.poll_recv(context)) else { return Poll::Ready(None) };
        let mut deliveries = first.deliveries.len();
        let mut messages = vec![first];
        // A message has at most so many deliveries, so two of them still fit into what a server reads.
        while deliveries < limits::DELIVERIES
            && let Poll::Ready(Some(next)) = self.0.poll_recv(context)
        {
            deliveries += next.deliveries.len();
            messages.push(next);
        }
        Poll::Ready(Some(wire::DeliverRequest { messages }))
    }
}

/// Who waits for an answer; None when the conversation is over.
struct Awaited(Mutex<Option<Numbered>>);

#[derive(Default)]
struct Numbered {
    last: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Heard>>,
}

impl Awaited {
    /// A number for a message, and the place where its answer will be. None when the conversation is over.
    fn register(&self) -> Option<(u64, oneshot::Receiver<Heard>)> {
        let mut numbered = lock(&self.0);
        let numbered = numbered.as_mut()?;
        let (sender, receiver) = oneshot::channel();
        numbered.last += 1;
        numbered.waiting.insert(numbered.last, sender);
        Some((numbered.last, receiver))
    }

    fn settle(&self, answers: Vec<wire::PairAnswer>) {
        let mut numbered = lock(&self.0);
        let Some(numbered) = numbered.as_mut() else { return };
        for answer in answers {
            // An answer that comes too late finds nobody; whoever asked asks again.
            if let Some(asker) = numbered.waiting.remove(&answer.correlation_id) {
                let _ = asker.send(Ok(answer));
            }
        }
    }

    fn forget(&self, number: u64) {
        if let Some(numbered) = lock(&self.0).as_mut() {
            numbered.waiting.remove(&number);
        }
    }

    fn end(&self, declined: &Declined) {
        let numbered = lock(&self.0).take();
        for (_, asker) in numbered.into_iter().flat_map(|numbered| numbered.waiting) {
            let _ = asker.send(Err(declined.clone()));
        }
    }
}

fn unreachable() -> Declined {
    Declined::new(ErrorCode::BranchUnavailable)
}

/// Nothing panics while it holds one of these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
