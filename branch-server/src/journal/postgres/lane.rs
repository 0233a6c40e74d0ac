//! The way by which all branches of a server write: the group commits that are ready at the same moment go in one
//! statement.
//!
//! Whoever comes when nothing is under way writes at once, with all that waits, on its own thread: a lone deposit
//! pays for no hop to another. Whoever comes meanwhile waits, and one of those who wait writes next. So the busier the
//! database is, the more commits share a statement; what a statement costs beyond its rows is then paid once for all.
//!
//! Each branch has its own fence in it, and its own answer: one that is another server's now holds up no other.

use super::append::{Line, Order};
use super::store::PostgresStore;
use crate::journal::shared::Outcome;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Statements that may be under way at the same time. More than one only helps when there is much to insert, which is
/// what the database does in a process for each connection.
const STATEMENTS: usize = 4;

/// So many rows that wait are worth a statement of their own beside those under way. Measured with 64 callers, who
/// never have as many: a second statement would only halve what shares the first.
const WORTH_A_STATEMENT: usize = 512;

/// Rows of one statement at most, unless a single group commit brings more: no statement takes long.
const ROWS_AT_MOST: usize = 16_384;

/// The least company in which a statement waits for others. A caller who is alone, or nearly so, pays for no wait.
const GATHERS_FROM: usize = 5;

/// How long it waits for them at most. Measured with 64 callers on two cores: statements of 4.7 deposits without a wait,
/// and a sixth more deposits a second with one of 0.6 to 1 ms; longer ones cost more than they save.
const GATHERING: Duration = Duration::from_micros(800);

/// The way of one server to its database.
#[derive(Default)]
pub(super) struct Lane {
    state: Mutex<State>,
    /// As many as last time wait.
    is_complete: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Ticket>>,
    under_way: usize,
    /// How many orders came in the time of the last statement: those that it took, and those that waited at its end.
    company: usize,
    idle: Vec<Line>,
}

/// An order that waits, or is under way.
struct Ticket {
    order: Order,
    word: Mutex<Option<Word>>,
    spoken: Condvar,
}

/// What somebody who waits is told.
enum Word {
    /// It is his turn to write.
    Lead,
    /// Another has written it: true when it was done, false when the branch's row is not as its writer knew it.
    Written(Outcome<bool>),
}

impl Ticket {
    fn say(&self, word: Word) {
        *self.word.lock().unwrap_or_else(PoisonError::into_inner) = Some(word);
        self.spoken.notify_one();
    }

    fn wait(&self) -> Word {
        let mut word = self.word.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match word.take() {
                Some(said) => return said,
                None => word = self.spoken.wait(word).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Lane {
    /// Writes a group commit. False when the branch's row is not as its writer knows it: nothing was written.
    ///
    /// Whatever else is answered may have happened to others' commits as well; each of them is told.
    pub(super) fn write(&self, store: &PostgresStore, order: Order) -> Outcome<bool> {
        let ticket = Arc::new(Ticket { order, word: Mutex::new(None), spoken: Condvar::new() });
        let mut state = self.state();
        if state.is_reason_to_write(&ticket) {
            state.under_way += 1;
        } else {
            state.waiting.push_back(ticket.clone());
            if state.is_complete() {
                self.is_complete.notify_one();
            }
            drop(state);
            match ticket.wait() {
                Word::Written(outcome) => return outcome,
                Word::Lead => state = self.state(),
            }
        }
        // From here on this one is in no queue: nobody else writes it.
        if state.under_way == 1 && state.company >= GATHERS_FROM {
            state = self.gather(state);
        }
        let others = state.take_beside(&ticket);
        state.company = 1 + others.len();
        let idle = state.idle.pop();
        drop(state);
        let mut lead = Lead { lane: self, others, line: None, outcomes: VecDeque::new() };
        let orders: Vec<&Order> = std::iter::once(&ticket).chain(&lead.others).map(|ticket| &ticket.order).collect();
        let (line, outcomes) = Line::write_by(store, idle, &orders);
        (lead.line, lead.outcomes) = (line, outcomes.into_iter().collect());
        lead.outcomes.pop_front().unwrap_or_else(nothing_said)
    }

    /// Waits a moment for those who will come anyway: as many as came last time, but not for long.
    fn gather<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.is_complete.wait_timeout_while(state, GATHERING, |state| !state.is_complete());
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a lead, however it comes: the next who waits is to write, and all who were written with are told.
struct Lead<'a> {
    lane: &'a Lane,
    others: Vec<Arc<Ticket>>,
    /// Of use for the next.
    line: Option<Line>,
    /// One for each of the others.
    outcomes: VecDeque<Outcome<bool>>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = self.lane.state();
        state.company += state.waiting.len();
        match self.line.take() {
            Some(line) => state.idle.push(line),
            // What became of no use to one may be of none to the others: they lead to the same server.
            None => state.idle.clear(),
        }
        // Out of the queue before anybody else looks at it: nobody leads twice, or is written by another as well.
        match state.waiting.pop_front() {
            Some(next) => next.say(Word::Lead),
            None => state.under_way -= 1,
        }
        drop(state);
        for other in &self.others {
            other.say(Word::Written(self.outcomes.pop_front().unwrap_or_else(nothing_said)));
        }
    }
}

/// Whoever wrote broke an invariant on the way.
fn nothing_said() -> Outcome<bool> {
    Outcome::Unknown("nobody said what became of it".to_owned())
}

impl State {
    /// Whether one who comes now writes at once, and does not wait for one who writes.
    fn is_reason_to_write(&self, own: &Ticket) -> bool {
        let rows = || self.waiting.iter().map(|ticket| ticket.order.rows.count()).sum::<usize>();
        let is_worth_it = || own.order.rows.count() + rows() >= WORTH_A_STATEMENT;
        self.under_way == 0 || (self.under_way < STATEMENTS && is_worth_it())
    }

    /// Whether with the one who gathers there are as many as last time.
    fn is_complete(&self) -> bool {
        1 + self.waiting.len() >= self.company
    }

    /// Takes those out of the queue that are written with this one.
    fn take_beside(&mut self, own: &Ticket) -> Vec<Arc<Ticket>> {
        let (mut rows, mut taken) = (own.order.rows.count(), Vec::new());
        while let Some(next) = self.waiting.front() {
            rows += next.order.rows.count();
            if rows > ROWS_AT_MOST {
                break;
            }
            taken.extend(self.waiting.pop_front());
        }
        taken
    }
}
