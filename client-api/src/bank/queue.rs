//! What waits for one branch server, and what it still owes an answer.
//!
//! Callers put orders in; the conversation takes everything that waits at that moment as one message, so
//! that a busy bank sends few large messages and an idle one sends each order at once, without a timer.
//! An order stays here until its answer comes or its caller gives up. When the conversation breaks, what
//! was not answered goes back to the front and is sent again under the same ids.

use super::operation::Order;
use super::wire;
use crate::answer::Replied;
use crate::problem::Problem;
use bank_proto::ErrorCode;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Orders in one message. An order has at most 7 KiB (memo, metadata and ids are bounded before, and the
/// smallest entries of metadata cost most), so a message stays below the 4 MiB that a branch server takes.
const MESSAGE_OPERATIONS: usize = 512;

/// The orders for one branch server.
pub(super) struct Queue {
    orders: Mutex<Orders>,
    /// How many orders may be here, waiting or unanswered.
    capacity: usize,
}

#[derive(Default)]
struct Orders {
    /// By correlation id. An id is never used twice, so a late answer meets nobody else's order.
    entries: HashMap<u64, Entry>,
    /// Ids not yet sent in the current conversation, first come first; those of callers who gave up are
    /// skipped when their turn comes.
    waiting: VecDeque<u64>,
    last_id: u64,
    /// Counts conversations, so that what is left of a broken one takes nothing any more.
    conversation: u64,
    /// Wakes the current conversation when there is something to send.
    sender: Option<Waker>,
}

struct Entry {
    order: Order,
    deadline: Instant,
    /// In the current conversation.
    is_sent: bool,
    /// In this or an earlier conversation: from then on nobody knows whether it was done.
    was_ever_sent: bool,
    answer: oneshot::Sender<wire::Answered>,
}

/// A caller's claim to an answer. Dropping it withdraws an order that was not yet sent.
pub(super) struct Waiting {
    queue: Arc<Queue>,
    id: u64,
    deadline: Instant,
    is_write: bool,
    answer: oneshot::Receiver<wire::Answered>,
    is_settled: bool,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Queue {
        Queue { orders: Mutex::new(Orders::default()), capacity }
    }

    /// Takes one order in.
    ///
    /// # Errors
    /// OVERLOADED: the queue is full, nothing was done.
    pub(super) fn submit(self: &Arc<Queue>, order: Order, deadline: Instant) -> Result<Waiting, Problem> {
        let mut orders = self.lock();
        if orders.entries.len() >= self.capacity {
            return Err(overloaded());
        }
        let waiting = self.admit(&mut orders, order, deadline);
        let sender = orders.sender.take();
        drop(orders);
        sender.inspect(Waker::wake_by_ref);
        Ok(waiting)
    }

    /// Takes many orders in, all or none, next to each other.
    ///
    /// # Errors
    /// OVERLOADED: they do not all fit, nothing was done.
    pub(super) fn submit_all(self: &Arc<Queue>, all: Vec<Order>, deadline: Instant) -> Result<Vec<Waiting>, Problem> {
        let mut orders = self.lock();
        if all.len() > self.capacity.saturating_sub(orders.entries.len()) {
            return Err(overloaded());
        }
        let waiting = all.into_iter().map(|order| self.admit(&mut orders, order, deadline)).collect();
        let sender = orders.sender.take();
        drop(orders);
        sender.inspect(Waker::wake_by_ref);
        Ok(waiting)
    }

    fn admit(self: &Arc<Queue>, orders: &mut Orders, order: Order, deadline: Instant) -> Waiting {
        let (sender, answer) = oneshot::channel();
        orders.last_id += 1;
        let id = orders.last_id;
        let is_write = order.is_write();
        let entry = Entry { order, deadline, is_sent: false, was_ever_sent: false, answer: sender };
        orders.entries.insert(id, entry);
        orders.waiting.push_back(id);
        Waiting { queue: Arc::clone(self), id, deadline, is_write, answer, is_settled: false }
    }

    /// Begins a new conversation: everything unanswered will be sent again, in its old order. Returns the
    /// conversation's number.
    pub(super) fn begin_conversation(&self) -> u64 {
        let mut orders = self.lock();
        let mut unsent: Vec<u64> = orders.entries.keys().copied().collect();
        unsent.sort_unstable();
        orders.waiting = unsent.into();
        orders.entries.values_mut().for_each(|entry| entry.is_sent = false);
        orders.conversation += 1;
        let number = orders.conversation;
        // What is left of the last conversation learns that it is over.
        let sender = orders.sender.take();
        drop(orders);
        sender.inspect(Waker::wake_by_ref);
        number
    }

    /// Ready when anything waits to be sent in this conversation, and then whether the line is busy: more
    /// than one order is here, waiting or unanswered.
    pub(super) fn poll_waiting(&self, conversation: u64, context: &Context<'_>) -> Poll<bool> {
        let mut orders = self.lock();
        if orders.conversation == conversation && orders.waiting.is_empty() {
            orders.sender = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(orders.entries.len() > 1)
    }

    /// The next message of this conversation: what waits now, up to the limit. None when the conversation is
    /// over.
    pub(super) fn take_message(&self, conversation: u64, now: Instant) -> Option<wire::Message> {
        let mut orders = self.lock();
        if orders.conversation != conversation {
            return None;
        }
        let Orders { entries, waiting, .. } = &mut *orders;
        let mut message = wire::Message::default();
        let mut room = MESSAGE_OPERATIONS;
        while let Some(id) = waiting.pop_front() {
            // What is linked is not torn apart: it waits for the next message, which has room for it.
            let weight = entries.get(&id).map_or(0, |entry| entry.order.weight());
            if weight > room {
                waiting.push_front(id);
                break;
            }
            // Given up meanwhile, or about to be: better not to ask than not to learn the answer.
            if let Some(entry) = entries.get_mut(&id)
                && let Some(remaining) = entry.deadline.checked_duration_since(now)
                && !remaining.is_zero()
            {
                entry.is_sent = true;
                entry.was_ever_sent = true;
                room -= weight;
                let span = entry.order.span.as_deref();
                message.traces.extend(span.map(|span| span.trace().to_wire(message.operations.len())));
                message.operations.push(wire::stream_operation(id, &entry.order, remaining));
            }
        }
        Some(message)
    }

    /// Hands the answers of one message to those who wait for them. Answers that nobody waits for any more
    /// are dropped.
    pub(super) fn settle(&self, message: wire::Answers) {
        let mut settled = Vec::with_capacity(message.results.len());
        let mut orders = self.lock();
        for result in message.results {
            if let Some(entry) = orders.entries.remove(&result.correlation_id) {
                settled.push((entry.answer, result.result));
            }
        }
        drop(orders);
        for (caller, answer) in settled {
            // The caller may just have given up.
            let _ = caller.send(answer);
        }
    }

    /// How many orders wait to be sent, and how many were sent and not answered.
    pub(super) fn depth(&self) -> (usize, usize) {
        let orders = self.lock();
        let sent = orders.entries.values().filter(|entry| entry.is_sent).count();
        (orders.entries.len() - sent, sent)
    }

    /// Takes an order back. None when it is answered already, else whether it was ever sent.
    fn withdraw(&self, id: u64) -> Option<bool> {
        self.lock().entries.remove(&id).map(|entry| entry.was_ever_sent)
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        // No code that can panic runs under the lock.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Waits for the answer until the deadline.
    ///
    /// # Errors
    /// The bank's refusal, OUTCOME_UNKNOWN, or BRANCH_UNAVAILABLE.
    pub(super) async fn answer(self) -> Result<Replied, Problem> {
        wire::reply(self.answered().await?)
    }

    /// Waits for the answers to so many linked operations until the deadline.
    pub(super) async fn answers(self, count: usize) -> Vec<Result<Replied, Problem>> {
        match self.answered().await {
            Ok(answered) => wire::replies(answered, count),
            Err(problem) => wire::refused(&problem, count),
        }
    }

    async fn answered(mut self) -> Result<wire::Answered, Problem> {
        let answered = tokio::time::timeout_at(self.deadline, &mut self.answer).await;
        self.is_settled = true;
        match answered {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_stopped)) => Err(self.unanswered(true)),
            Err(_elapsed) => match self.queue.withdraw(self.id) {
                Some(was_sent) => Err(self.unanswered(was_sent)),
                // The answer came at the last moment.
                None => match self.answer.try_recv() {
                    Ok(answer) => Ok(answer),
                    Err(_) => Err(self.unanswered(true)),
                },
            },
        }
    }

    fn unanswered(&self, was_sent: bool) -> Problem {
        if self.is_write && was_sent {
            Problem::new(
                ErrorCode::OutcomeUnknown,
                "the branch did not answer in time; it may or may not have done this; \
                 repeat the request with the same Idempotency-Key to learn it",
            )
        } else {
            unavailable()
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_settled {
            self.queue.withdraw(self.id);
        }
    }
}

/// The refusal when a branch cannot be asked.
pub(super) fn unavailable() -> Problem {
    Problem::new(ErrorCode::BranchUnavailable, "the branch could not be reached in time; nothing was done; try again")
}

fn overloaded() -> Problem {
    Problem::new(ErrorCode::Overloaded, "too many operations wait for this branch; nothing was done; try again")
}

#[cfg(test)]
mod tests;
