//! What waits for one branch server, and what it still owes an answer.
//!
//! Callers put orders in; the conversation takes everything that waits at that moment as one message, so
//! that a busy bank sends few large messages and an idle one sends each order at once, without a timer.
//! An order stays here until its answer comes or its caller gives up. When the conversation breaks, what
//! was not answered goes back to the front and is sent again under the same ids.

use super::operation::Order;
use super::routes::Routes;
use super::wire;
use crate::answer::Replied;
use crate::problem::Problem;
use bank_proto::{BranchId, ErrorCode};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Orders in one message. An order has at most 7 KiB (memo, metadata and ids are bounded before, and the
/// smallest entries of metadata cost most), so a message stays below the 4 MiB that a branch server takes.
const MESSAGE_OPERATIONS: usize = 512;

/// With less time left than this, an order is not sent again: its caller is told.
const LAST_MOMENT: Duration = Duration::from_millis(150);

/// The orders for one branch server.
pub(super) struct Queue {
    orders: Mutex<Orders>,
    /// How many orders may be here, waiting or unanswered.
    capacity: usize,
    /// The other lines, to which orders may have moved.
    routes: Arc<Routes>,
}

#[derive(Default)]
struct Orders {
    /// By correlation id. An id is never used twice, so a late answer meets nobody else's order.
    entries: HashMap<u64, Entry>,
    /// Ids not yet sent in the current conversation, first come first; those of callers who gave up are
    /// skipped when their turn comes.
    waiting: VecDeque<u64>,
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
    /// It was sent and its answer was lost: a server that says now that nothing was done does not know.
    may_be_done: bool,
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
    pub(super) fn new(capacity: usize, routes: Arc<Routes>) -> Queue {
        Queue { orders: Mutex::new(Orders::default()), capacity, routes }
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
        let id = 1 + self.routes.ids.fetch_add(1, Ordering::Relaxed);
        let is_write = order.is_write();
        let entry = Entry { order, deadline, is_sent: false, was_ever_sent: false, may_be_done: false, answer: sender };
        orders.entries.insert(id, entry);
        orders.waiting.push_back(id);
        Waiting { queue: Arc::clone(self), id, deadline, is_write, answer, is_settled: false }
    }

    /// Begins a new conversation: everything unanswered will be sent again, in its old order. Returns the
    /// conversation's number.
    pub(super) fn begin_conversation(&self) -> u64 {
        let mut orders = self.lock();
        orders.entries.retain(|_, entry| !entry.answer.is_closed());
        let mut unsent: Vec<u64> = orders.entries.keys().copied().collect();
        unsent.sort_unstable();
        orders.waiting = unsent.into();
        orders.entries.values_mut().for_each(Entry::lose_answer);
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
            if entries.get(&id).is_some_and(|entry| entry.answer.is_closed()) {
                entries.remove(&id);
                continue;
            }
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
    /// are dropped. Returns the orders whose branch was on its way to another server and that are to be sent
    /// again: see [`Queue::send_again`].
    pub(super) fn settle(&self, message: wire::Answers, now: Instant) -> Vec<u64> {
        let mut settled = Vec::with_capacity(message.results.len());
        let mut again = Vec::new();
        let mut orders = self.lock();
        for result in message.results {
            let id = result.correlation_id;
            if wire::is_moving(result.result.as_ref())
                && let Some(entry) = orders.entries.get_mut(&id)
                && entry.deadline.checked_duration_since(now).is_some_and(|left| left > LAST_MOMENT)
            {
                entry.may_be_done |= entry.order.is_write() && wire::is_unknown(result.result.as_ref());
                entry.is_sent = false;
                again.push(id);
            } else if let Some(entry) = orders.entries.remove(&id) {
                let result = result.result;
                settled.push((entry.answer, if entry.may_be_done { wire::doubtful(result) } else { result }));
            }
        }
        drop(orders);
        for (caller, answer) in settled {
            // The caller may just have given up.
            let _ = caller.send(answer);
        }
        again
    }

    /// Puts orders back that were answered with the request to ask again.
    pub(super) fn send_again(&self, ids: &[u64]) {
        let mut orders = self.lock();
        let Orders { entries, waiting, .. } = &mut *orders;
        // One that moved to another line, or was sent in another conversation meanwhile, is not here to be sent.
        let is_here = |id: &&u64| entries.get(id).is_some_and(|entry| !entry.is_sent) && !waiting.contains(id);
        let back: Vec<u64> = ids.iter().filter(is_here).copied().collect();
        waiting.extend(back);
        let sender = orders.sender.take();
        drop(orders);
        sender.inspect(Waker::wake_by_ref);
    }

    /// Gives the orders of some branches to another line, unanswered ones too: they have their ids. `is_first` says
    /// which of the two comes first where both are locked. Returns how many they were.
    pub(super) fn give(&self, other: &Queue, is_first: bool, branches: u32, which: impl Fn(BranchId) -> bool) -> usize {
        let (mut from, mut to) = if is_first {
            let from = self.lock();
            (from, other.lock())
        } else {
            let to = other.lock();
            (self.lock(), to)
        };
        let is_meant = |entry: &Entry| entry.order.branch(branches).is_some_and(&which);
        let mut ids: Vec<u64> = from.entries.iter().filter(|(_, entry)| is_meant(entry)).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        for id in &ids {
            if let Some(mut entry) = from.entries.remove(id) {
                entry.lose_answer();
                to.entries.insert(*id, entry);
                to.waiting.push_back(*id);
            }
        }
        drop(from);
        let sender = to.sender.take();
        drop(to);
        sender.inspect(Waker::wake_by_ref);
        ids.len()
    }

    /// How many orders wait to be sent, and how many were sent and not answered.
    pub(super) fn depth(&self) -> (usize, usize) {
        let orders = self.lock();
        let sent = orders.entries.values().filter(|entry| entry.is_sent).count();
        (orders.entries.len() - sent, sent)
    }

    /// Takes an order back. None when it is answered already, else whether it was ever sent.
    fn withdraw(&self, id: u64) -> Option<bool> {
        let take = |queue: &Queue| queue.lock().entries.remove(&id).map(|entry| entry.was_ever_sent);
        match take(self) {
            None if self.routes.any_server() => self.routes.queues().find_map(|queue| take(&queue)),
            found => found,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        // No code that can panic runs under the lock.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Whatever was sent is not answered any more, and will be sent again.
    fn lose_answer(&mut self) {
        self.may_be_done |= self.is_sent && self.order.is_write();
        self.is_sent = false;
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
        if self.is_write && was_sent { Problem::new(ErrorCode::OutcomeUnknown, wire::UNKNOWN) } else { unavailable() }
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
