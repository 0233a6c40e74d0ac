//! The routing client: finds the branch that owns the money, keeps one conversation with every branch
//! server, and turns whatever goes wrong on the way into a problem with a stable code.
//!
//! - [`Operation`]: what can be asked of a branch, in the bank's words
//! - `queue`: what waits for one branch server and what it still owes an answer
//! - `conversation`: the stream that carries a queue to its server, opened again when it breaks
//! - `routes`: which line leads to which branch
//! - `reports`: the questions that are asked one by one: history, trial balance, branches
//! - `wire`: the only place that names the messages of `bank.proto`

mod conversation;
mod operation;
mod queue;
mod reports;
mod routes;
mod wire;

pub(crate) use operation::{AccountChange, Capture, Movement, Operation, Product, Target, Transfer};
pub(crate) use reports::HistoryQuestion;

use crate::answer::Replied;
use crate::app::Caller;
use crate::environment::Environment;
use crate::fields;
use crate::idempotency::OperationKey;
use crate::problem::Problem;
use crate::settings::Settings;
use bank_proto::{Assignment, BranchId, TransactionId};
use conversation::Line;
use operation::Order;
use queue::{Queue, Waiting};
use routes::Routes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Of the operations of one sampled request, so many are told one by one.
const TRACED_OPERATIONS: usize = 16;

/// The whole bank, as seen from here. The conversations end when it is dropped.
pub(crate) struct Bank {
    assignment: Assignment,
    lines: Vec<Line>,
    routes: Arc<Routes>,
    timeout: Duration,
}

/// The state of the way to one branch server, for metrics and readiness.
pub(crate) struct LineState {
    pub(crate) waiting: usize,
    pub(crate) unanswered: usize,
    pub(crate) connected: bool,
}

/// Linked operations of one branch, and their places among all that came with them.
#[derive(Default)]
struct Group {
    places: Vec<usize>,
    operations: Vec<(Operation, TransactionId)>,
}

impl Bank {
    /// Starts one conversation with every branch server of the settings. Servers that cannot be reached yet
    /// are tried again until they can.
    pub(crate) fn connect(settings: &Settings, assignment: Assignment, environment: &Environment) -> Bank {
        let capacity = settings.queue_operations as usize;
        let routes = Routes::new(assignment.branches());
        let lines: Vec<Line> = settings
            .branch_servers
            .iter()
            .enumerate()
            .map(|(place, url)| {
                // Connected when it is first needed, and again whenever it is lost.
                let channel = (environment.connect)(&conversation::endpoint(url));
                let queue = Arc::new(Queue::new(capacity, Arc::clone(&routes)));
                let place = (place, Arc::clone(&routes));
                Line::open(url.to_string(), channel, queue, environment.entropy.clone(), place)
            })
            .collect();
        routes.set_ways(lines.iter().map(Line::way).collect());
        Bank { assignment, lines, routes, timeout: settings.request_timeout() }
    }

    /// Sends one operation to the branch that owns the money and waits for the answer.
    ///
    /// # Errors
    /// The bank's refusal; OVERLOADED at once when too much waits for that server; BRANCH_UNAVAILABLE when
    /// it could not be asked in time; OUTCOME_UNKNOWN when a write was sent and no answer came in time.
    pub(crate) async fn execute(&self, operation: Operation, caller: &Caller) -> Result<Replied, Problem> {
        let (line, owner) = self.line_for(&operation)?;
        let id = caller.key.as_ref().map(|key| key.transaction_id(owner));
        let order = Order::new(operation, id, caller);
        line.queue().submit(order, Instant::now() + self.timeout)?.answer().await
    }

    /// Sends many operations, each under its own id, and waits for all answers, in the order given. What
    /// goes to one branch keeps its order; every operation has its own answer or refusal.
    pub(crate) async fn execute_all(
        &self,
        operations: Vec<Result<(Operation, OperationKey), Problem>>,
        caller: &Caller,
    ) -> Vec<Result<Replied, Problem>> {
        let deadline = Instant::now() + self.timeout;
        let mut answers: Vec<Result<Replied, Problem>> = Vec::with_capacity(operations.len());
        let mut orders: Vec<Vec<(usize, Order)>> = self.lines.iter().map(|_| Vec::new()).collect();
        // Thousands of them would hide what the trace is for.
        let untraced = Caller { trace: None, ..caller.clone() };
        for (index, operation) in operations.into_iter().enumerate() {
            let caller = if index < TRACED_OPERATIONS { caller } else { &untraced };
            let routed = operation.and_then(|(operation, key)| {
                let owner = operation.owner(self.assignment.branches());
                let server = self.server_of(owner)?;
                Ok((server, Order::new(operation, Some(key.transaction_id(owner)), caller)))
            });
            // Overwritten by the answer, unless it never gets that far.
            match routed {
                Ok((server, order)) => {
                    orders[server].push((index, order));
                    answers.push(Err(Problem::internal()));
                }
                Err(problem) => answers.push(Err(problem)),
            }
        }
        let mut waiting: Vec<(usize, Waiting)> = Vec::new();
        for (line, orders) in self.lines.iter().zip(orders) {
            let (places, orders): (Vec<usize>, Vec<Order>) = orders.into_iter().unzip();
            match line.queue().submit_all(orders, deadline) {
                Ok(accepted) => waiting.extend(places.into_iter().zip(accepted)),
                Err(refusal) => places.into_iter().for_each(|place| answers[place] = Err(refusal.clone())),
            }
        }
        for (place, waiting) in waiting {
            answers[place] = waiting.answer().await;
        }
        answers
    }

    /// Sends writes that are linked: those of one branch are carried out together or not at all. Each has its
    /// own answer or refusal, in the order given.
    pub(crate) async fn execute_linked(
        &self,
        operations: Vec<(Operation, OperationKey)>,
        caller: &Caller,
    ) -> Vec<Result<Replied, Problem>> {
        let deadline = Instant::now() + self.timeout;
        // Each overwritten by its answer.
        let mut answers = wire::refused(&Problem::internal(), operations.len());
        let mut groups: BTreeMap<BranchId, Group> = BTreeMap::new();
        for (place, (operation, key)) in operations.into_iter().enumerate() {
            let owner = operation.owner(self.assignment.branches());
            let group = groups.entry(owner).or_default();
            group.places.push(place);
            group.operations.push((operation, key.transaction_id(owner)));
        }
        let mut waiting = Vec::new();
        for (owner, Group { places, operations }) in groups {
            let submitted = self
                .server_of(owner)
                .and_then(|server| self.lines[server].queue().submit(Order::linked(operations, caller), deadline));
            match submitted {
                Ok(accepted) => waiting.push((places, accepted)),
                Err(refusal) => places.into_iter().for_each(|place| answers[place] = Err(refusal.clone())),
            }
        }
        for (places, waiting) in waiting {
            let told = waiting.answers(places.len()).await;
            places.into_iter().zip(told).for_each(|(place, answer)| answers[place] = answer);
        }
        answers
    }

    /// The state of the way to each branch server, in the order of their ordinals.
    pub(crate) fn lines(&self) -> Vec<LineState> {
        self.lines.iter().map(Line::state).collect()
    }

    fn line_for(&self, operation: &Operation) -> Result<(&Line, BranchId), Problem> {
        let owner = operation.owner(self.assignment.branches());
        self.server_of(owner).map(|server| (&self.lines[server], owner))
    }

    /// Which of `lines` leads to the branch.
    fn server_of(&self, branch: BranchId) -> Result<usize, Problem> {
        let server = self.assignment.server_of(branch).ok_or_else(|| fields::branch_not_found(branch))?;
        let home = usize::try_from(server).map_err(|_| Problem::internal())?;
        Ok(self.routes.line_of(branch, home))
    }
}
