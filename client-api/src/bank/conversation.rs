//! The stream that carries a queue to its branch server, opened again whenever it breaks.

use super::LineState;
use super::queue::Queue;
use super::routes::{Routes, Way};
use super::wire;
use crate::environment::Entropy;
use axum::http::Uri;
use bank_proto::limits;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::transport::{Channel, Endpoint};

/// A server that takes longer to accept a connection is as good as down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Finds out that a server has silently gone: asked every so often, it has to answer in time.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// HTTP/2 windows: large enough that a message of full size never waits for a window update.
const STREAM_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// The n-th attempt in a row to reach a server waits a random time up to `FIRST * 2^n`, at most `LONGEST`.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How soon an order is sent again whose branch is on its way from one server to another.
const AGAIN: Duration = Duration::from_millis(50);

/// The number of none: the queue counts from 1, and takes nothing out for another one than the present.
const NO_CONVERSATION: u64 = 0;

/// The way to one branch server.
pub(super) struct Line {
    queue: Arc<Queue>,
    channel: Channel,
    is_connected: Arc<AtomicBool>,
    tasks: [AbortHandle; 2],
}

impl Line {
    /// Starts the conversation with the server at the other end of the channel, called `server` in logs: it is line
    /// number `place` of those that `routes` knows. It goes on until the line is dropped.
    pub(super) fn open(
        server: String,
        channel: Channel,
        queue: Arc<Queue>,
        entropy: Entropy,
        (place, routes): (usize, Arc<Routes>),
    ) -> Line {
        let is_connected = Arc::new(AtomicBool::new(false));
        let keeper = Keeper {
            queue: Arc::clone(&queue),
            channel: channel.clone(),
            is_connected: Arc::clone(&is_connected),
            entropy,
            server,
            place,
            routes: Arc::clone(&routes),
        };
        let keeper = tokio::spawn(keeper.run()).abort_handle();
        let listener = tokio::spawn(listen(channel.clone(), place, routes)).abort_handle();
        Line { queue, channel, is_connected, tasks: [keeper, listener] }
    }

    /// The line, as the others see it.
    pub(super) fn way(&self) -> Way {
        Way { queue: Arc::downgrade(&self.queue), is_connected: Arc::clone(&self.is_connected) }
    }

    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// A client for questions beside the conversation, on the same connection.
    pub(super) fn client(&self) -> wire::Client {
        client(self.channel.clone())
    }

    pub(super) fn state(&self) -> LineState {
        let (waiting, unanswered) = self.queue.depth();
        LineState { waiting, unanswered, connected: self.is_connected.load(Ordering::Relaxed) }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// How a branch server is reached.
pub(super) fn endpoint(url: &Uri) -> Endpoint {
    Endpoint::from(url.clone())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

fn client(channel: Channel) -> wire::Client {
    wire::Client::new(channel)
        .max_decoding_message_size(limits::GRPC_MESSAGE_BYTES)
        .max_encoding_message_size(limits::GRPC_MESSAGE_BYTES)
}

/// Keeps the conversation with one server going.
struct Keeper {
    queue: Arc<Queue>,
    channel: Channel,
    is_connected: Arc<AtomicBool>,
    entropy: Entropy,
    server: String,
    place: usize,
    routes: Arc<Routes>,
}

impl Keeper {
    async fn run(self) {
        let mut failures: u32 = 0;
        loop {
            let Err(broken) = self.converse(&mut failures).await;
            let was_connected = self.is_connected.swap(false, Ordering::Relaxed);
            if was_connected || failures == 0 {
                tracing::warn!(server = self.server, status = %broken.code(), reason = innermost(&broken),
                    "the conversation with a branch server broke; trying again");
            } else {
                tracing::debug!(
                    server = self.server,
                    reason = innermost(&broken),
                    "a branch server is still not reached"
                );
            }
            // Where another server can see to it, nobody waits for this one.
            self.routes.leave(self.place);
            tokio::time::sleep(pause(failures, self.entropy.draw())).await;
            failures = failures.saturating_add(1);
        }
    }

    /// One conversation, from its beginning until it breaks.
    async fn converse(&self, failures: &mut u32) -> Result<std::convert::Infallible, tonic::Status> {
        let number = self.queue.begin_conversation();
        let (answered, is_answered) = oneshot::channel();
        let outgoing =
            Outgoing { queue: Arc::clone(&self.queue), number, has_yielded: false, is_answered: Some(is_answered) };
        let mut incoming = client(self.channel.clone()).batch_stream(outgoing).await?.into_inner();
        // A conversation that ended meanwhile does not wait for it any more.
        let _ = answered.send(());
        tracing::info!(server = self.server, "connected to a branch server");
        self.is_connected.store(true, Ordering::Relaxed);
        while let Some(answers) = incoming.message().await? {
            *failures = 0;
            let again = self.queue.settle(answers, Instant::now());
            if !again.is_empty() {
                let queue = Arc::clone(&self.queue);
                tokio::spawn(async move {
                    tokio::time::sleep(AGAIN).await;
                    queue.send_again(&again);
                });
            }
        }
        Err(tonic::Status::unavailable("the server ended the conversation"))
    }
}

/// Hears which branches a server serves, for as long as any server may serve any branch.
async fn listen(channel: Channel, place: usize, routes: Arc<Routes>) {
    loop {
        if let Ok(told) = client(channel.clone()).follow_served_branches(wire::FollowServedBranchesRequest {}).await {
            let mut told = told.into_inner();
            while let Ok(Some(served)) = told.message().await {
                routes.claim(place, served.any_server, &served.branch_ids);
                if !served.any_server {
                    return;
                }
            }
        }
        tokio::time::sleep(LONGEST_PAUSE).await;
    }
}

/// What is at the bottom of a failure: a status alone says "transport error".
fn innermost(status: &tonic::Status) -> String {
    let Some(mut cause) = std::error::Error::source(status) else { return status.message().to_owned() };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// A random time up to the bound of this attempt ("full jitter"), so that the clients of a server that
/// comes back do not come back all at once.
fn pause(failures: u32, random: u128) -> Duration {
    let bound = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE);
    let nanos = random % bound.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// What one conversation sends. Polled by the HTTP/2 connection itself, so no task of its own stands
/// between a caller's order and the socket.
struct Outgoing {
    queue: Arc<Queue>,
    number: u64,
    has_yielded: bool,
    /// Until the server has begun its answer nothing is sent: one that refuses this client's certificate says so only
    /// then, and nobody would know whether it did what it was sent.
    is_answered: Option<oneshot::Receiver<()>>,
}

impl Stream for Outgoing {
    type Item = wire::Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<wire::Message>> {
        if let Some(is_answered) = &mut self.is_answered {
            if ready!(Pin::new(is_answered).poll(context)).is_err() {
                // Refused. What waits is for the next conversation.
                self.number = NO_CONVERSATION;
            }
            self.is_answered = None;
        }
        loop {
            let is_busy = ready!(self.queue.poll_waiting(self.number, context));
            // A busy line goes once around the run queue: callers that are ready now put their orders into
            // the same message. On an idle one a lone caller would only wait for nobody.
            if is_busy && !std::mem::replace(&mut self.has_yielded, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.has_yielded = false;
            match self.queue.take_message(self.number, Instant::now()) {
                Some(message) if message.operations.is_empty() => {}
                message => return Poll::Ready(message),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Caller;
    use crate::bank::operation::{Operation, Order};
    use bank_proto::{BranchId, CustomerId, ErrorCode, TransactionId, TransactionKey};
    use tokio_stream::StreamExt as _;

    #[test]
    fn pauses_grow_to_a_bound() {
        let longest = |failures| pause(failures, FIRST_PAUSE.as_nanos() * 2_u128.pow(failures.min(20)) - 1);
        assert!(longest(0) < FIRST_PAUSE);
        assert!(longest(3) >= FIRST_PAUSE * 7);
        assert!((0..40).all(|failures| longest(failures) < LONGEST_PAUSE));
        assert_eq!(pause(5, 0), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_conversation_that_was_refused_takes_no_orders() {
        let queue = Arc::new(Queue::new(10, Routes::new(10)));
        let number = queue.begin_conversation();
        let customer = CustomerId::new(1).expect("a customer");
        let id = TransactionId { branch: BranchId::new(1).expect("a branch"), key: TransactionKey(1) };
        let caller = Caller { request_id: "r".into(), key: None, trace: None };
        let order = Order::new(Operation::CreateCustomer { customer, name: String::new() }, Some(id), &caller);
        let waiting = queue.submit(order, Instant::now() + CONNECT_TIMEOUT).expect("room");
        let (answered, is_answered) = oneshot::channel();
        let is_answered = Some(is_answered);
        let mut outgoing = Outgoing { queue: Arc::clone(&queue), number, has_yielded: false, is_answered };
        drop(answered);
        assert_eq!(outgoing.next().await, None);
        let refusal = waiting.answer().await.expect_err("nobody answered");
        assert_eq!(refusal.code(), ErrorCode::BranchUnavailable, "it was never sent");
    }
}
