//! Which branch, hosted here or by a peer: one way for single calls, batches and streams.

use super::cut::Cuts;
use super::forward::{Bundle, Journey, is_write, unanswered};
use super::hosted::{Closed, Hosted, OpenBranch};
use super::inbound::{self, IdOrigin};
use super::inter_branch::Line;
use super::outbound;
use super::placing::{Forwarded, Place, is_moving};
use super::traced::{Steps, Traced};
use super::waiting::{self, Held};
use crate::audit::LastReport;
use crate::environment::{Clock, Entropy, Workers};
use crate::journal::sqlite::RESERVE_BYTES;
use crate::journal::{JournalReader, ReadError};
use crate::ledger::{Command, Payee};
use crate::moving::SeenBranches;
use crate::teller::{Answer, Answered, Asked, Declined, Job, Order, QueueFull, Request, TellerHandle};
use bank_proto::traces::{Kind, Span, Trace, Traces};
use bank_proto::wire::bank_service_client::BankServiceClient;
use bank_proto::wire::inter_branch_service_client::InterBranchServiceClient;
use bank_proto::wire::{self, operation_result::Kind as ResultKind};
use bank_proto::{Assignment, BranchId, ErrorCode, Timestamp, limits, metadata};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tonic::transport::Channel;

/// Followers of journals that one server has at a time.
const FOLLOWERS: usize = 64;

/// Of the operations of one message, so many are told one by one: the teller notes what they waited for.
const TRACED_OPERATIONS: usize = 64;

/// What is kept of a caller's deadline for the way back of an answer that says a transfer is under way.
pub(super) const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// The whole bank as one branch server sees it.
pub(crate) struct Bank {
    pub(super) assignment: Assignment,
    server: u32,
    pub(super) hosted: BTreeMap<BranchId, Hosted>,
    /// Counts how often a branch changed its state.
    pub(super) changes: watch::Sender<u64>,
    /// Whether any server may serve any branch.
    pub(super) is_shared: bool,
    /// By ordinal; None at this server's own.
    pub(super) peers: Vec<Option<BankServiceClient<Channel>>>,
    /// The same servers, for what branches say to each other.
    pub(super) lines: Vec<Option<Line>>,
    entropy: Entropy,
    clock: Arc<dyn Clock>,
    workers: Workers,
    principal: Arc<str>,
    /// A place for each follower of a journal: every one holds a connection to a store.
    followers: Arc<Semaphore>,
    /// The auditor's last word.
    last_audit: LastReport,
    /// Cuts through the whole bank, for those who ask at the same time.
    pub(super) cuts: Cuts,
    /// The place of whoever reads an earlier row's books: they stand in memory as a whole.
    past: Arc<Semaphore>,
    traces: Traces,
    /// Which branches were ever seen open.
    pub(super) seen: Arc<SeenBranches>,
    free_bytes: Box<dyn Fn() -> std::io::Result<u64> + Send + Sync>,
    /// True from the moment when the server was told to stop.
    draining: watch::Sender<bool>,
}

/// What the bank takes from the machine.
pub(crate) struct Resources {
    /// Whether any server may serve any branch.
    pub(crate) is_shared: bool,
    pub(crate) entropy: Entropy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) workers: Workers,
    /// Where sampled requests are told.
    pub(crate) traces: Traces,
    /// Which branches were ever seen open.
    pub(crate) seen: Arc<SeenBranches>,
    /// How much is free on the disk of all branches hosted here.
    pub(crate) free_bytes: Box<dyn Fn() -> std::io::Result<u64> + Send + Sync>,
}

/// The disk of the branches of a server.
pub(crate) struct Disk {
    pub(crate) free_bytes: u64,
    /// With less than this free, no branch takes orders.
    pub(crate) reserve_bytes: u64,
}

/// One of the operations that came in together.
pub(super) struct Tagged {
    /// Comes back with the result.
    pub(super) tag: u64,
    pub(super) operation: wire::Operation,
    pub(super) deadline: Instant,
    /// When it is sampled.
    pub(super) trace: Option<Box<Trace>>,
    /// It was sent to a server that did not answer: it may have been done.
    pub(super) may_be_done: bool,
}

/// Results on their way to whoever asked.
pub(super) enum Results {
    /// By a teller of this server, still in the bank's own words: turning them into messages is
    /// the asker's work, not the teller's.
    Local { branch: BranchId, tags: Vec<u64>, answers: Vec<Answered> },
    /// Ready to send.
    Ready(Vec<(u64, wire::OperationResult)>),
}

impl Results {
    /// As messages, each made when its turn comes.
    pub(super) fn into_messages(self) -> Box<dyn Iterator<Item = (u64, wire::OperationResult)> + Send> {
        match self {
            Results::Ready(results) => Box::new(results.into_iter()),
            Results::Local { branch, tags, answers } => {
                let pairs = tags.into_iter().zip(answers);
                Box::new(pairs.map(move |(tag, answer)| (tag, outbound::result(branch, answer))))
            }
        }
    }
}

impl Bank {
    /// A server of the bank with the branches that it hosts and the way to the other servers.
    #[must_use]
    pub(crate) fn new(
        assignment: Assignment,
        server: u32,
        hosted: BTreeMap<BranchId, Hosted>,
        peers: Vec<Option<Channel>>,
        resources: Resources,
    ) -> Bank {
        let Resources { is_shared, entropy, clock, workers, traces, seen, free_bytes } = resources;
        let client = |channel| {
            BankServiceClient::new(channel)
                .max_decoding_message_size(limits::GRPC_MESSAGE_BYTES)
                .max_encoding_message_size(limits::GRPC_MESSAGE_BYTES)
        };
        let lines = peers.iter().cloned().map(|peer| peer.map(Line::new)).collect();
        let peers = peers.into_iter().map(|peer| peer.map(client)).collect();
        let principal = inbound::OPEN_PRINCIPAL.into();
        Bank {
            assignment,
            server,
            hosted,
            changes: watch::Sender::new(0),
            is_shared,
            peers,
            lines,
            entropy,
            clock,
            workers,
            principal,
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
            last_audit: LastReport::default(),
            cuts: Cuts::default(),
            past: Arc::new(Semaphore::new(1)),
            traces,
            seen,
            free_bytes,
            draining: watch::Sender::new(false),
        }
    }

    pub(crate) fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// Who does what takes long.
    pub(crate) fn workers(&self) -> Workers {
        self.workers
    }

    /// Where sampled requests are told.
    pub(super) fn traces(&self) -> &Traces {
        &self.traces
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.instant()
    }

    /// How much room there is on the disk of the branches hosted here; None when it does not say.
    pub(crate) fn disk(&self) -> Option<Disk> {
        Some(Disk { free_bytes: (self.free_bytes)().ok()?, reserve_bytes: RESERVE_BYTES })
    }

    /// The time by the wall's clock; it decides nothing.
    pub(crate) fn wall_clock(&self) -> Timestamp {
        self.clock.now()
    }

    /// A random part of a time.
    pub(crate) fn part_of(&self, whole: Duration) -> Duration {
        self.entropy.part_of(whole)
    }

    /// The auditor's last word.
    pub(crate) fn last_audit(&self) -> &LastReport {
        &self.last_audit
    }

    /// All other servers, by ordinal, for what branches say to each other.
    pub(crate) fn all_inter_branch(&self) -> impl Iterator<Item = (u32, InterBranchServiceClient<Channel>)> {
        (0..).zip(&self.lines).filter_map(|(ordinal, line)| Some((ordinal, line.as_ref()?.client())))
    }

    /// This server's ordinal.
    pub(crate) fn server(&self) -> u32 {
        self.server
    }

    /// The place of the one who reads an earlier row's books, when it is free.
    pub(super) async fn admit_past(&self) -> Result<OwnedSemaphorePermit, Declined> {
        self.past.clone().acquire_owned().await.map_err(|_| Declined::new(ErrorCode::BranchUnavailable))
    }

    /// A place for one more follower of a journal, for as long as the permit lives.
    pub(super) fn admit_follower(&self) -> Result<OwnedSemaphorePermit, Declined> {
        self.followers.clone().try_acquire_owned().map_err(|_| Declined::new(ErrorCode::Overloaded))
    }

    /// Begins the end: streams take nothing more, answer what they took, and close.
    pub(crate) fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Whether the server was told to stop.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Becomes ready when the server is told to stop.
    pub(crate) async fn drained(&self) {
        // The sender lives as long as this does.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// The branches hosted here, and for each the branch or why it does not serve.
    pub(crate) fn hosted(&self) -> impl Iterator<Item = (BranchId, Result<OpenBranch, Closed>)> {
        let hosted = self.hosted.iter().map(|(branch, hosted)| (*branch, hosted.get()));
        hosted.filter(|(_, state)| !matches!(state, Err(Closed { is_elsewhere: true, .. })))
    }

    /// A reader of the journal of a branch that serves here, for another thread; None when it does not serve.
    pub(crate) fn reader(&self, branch: BranchId) -> Option<Result<Box<dyn JournalReader>, ReadError>> {
        Some(self.hosted.get(&branch)?.get().ok()?.reader())
    }

    /// Puts a branch into another state: one that could not be opened before serves now, or says
    /// another reason.
    pub(crate) fn change(&self, branch: BranchId, other: Hosted) {
        if let Some(hosted) = self.hosted.get(&branch) {
            hosted.become_now(other);
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Stops a branch for good: damage was found.
    pub(crate) fn close(&self, branch: BranchId, told: String) {
        self.change(branch, Hosted::damaged(told));
    }

    /// The other servers, by ordinal.
    pub(super) fn peers(&self) -> impl Iterator<Item = (u32, &BankServiceClient<Channel>)> {
        (0..).zip(&self.peers).filter_map(|(ordinal, peer)| Some((ordinal, peer.as_ref()?)))
    }

    pub(super) fn peer(&self, ordinal: u32) -> Option<&BankServiceClient<Channel>> {
        self.peers.get(ordinal as usize)?.as_ref()
    }

    /// Sends operations to where they belong. Every tag comes back through `results` exactly once,
    /// unless the server stops first.
    pub(super) fn dispatch(
        self: &Arc<Bank>,
        operations: Vec<Tagged>,
        journey: &Journey,
        results: &mpsc::UnboundedSender<Results>,
    ) {
        // What many operations share is found once for each message: a branch's place, and an Arc of the
        // message's own, whose count does not travel between the cores with every order.
        let mut places: BTreeMap<BranchId, Result<Place<'_>, Declined>> = BTreeMap::new();
        let principal: Arc<str> = Arc::from(&*self.principal);
        let mut here: BTreeMap<BranchId, Here> = BTreeMap::new();
        let mut there: BTreeMap<u32, Bundle<Forwarded>> = BTreeMap::new();
        let (mut refused, mut later) = (Vec::new(), Vec::new());
        let count = operations.len();
        for Tagged { tag, mut operation, deadline, trace, may_be_done } in operations {
            let (branch, id) = match self.route(&mut operation, journey) {
                Ok(routed) => routed,
                Err(declined) => {
                    refused.push((tag, outbound::refused(&declined)));
                    continue;
                }
            };
            match places.entry(branch).or_insert_with(|| self.place(branch, journey)) {
                Ok(Place::Here(open)) => {
                    let patience = inbound::patience(&operation);
                    let span = trace.map(|trace| trace.begin(inbound::describe(&operation).0, Kind::Server));
                    match self.request(operation, branch, id, &principal) {
                        Ok(request) => {
                            let Here { bundle, held, traced } =
                                here.entry(branch).or_insert_with(|| Here::with_room(count));
                            let place = bundle.tags.len();
                            held.extend(self.hold(&request, place, open, patience, deadline));
                            traced.extend(span.map(|mut span| {
                                let steps = Steps::begin(&mut span, branch, self.now());
                                Traced { place, span, steps }
                            }));
                            bundle.push(tag, Asked { request, deadline: Some(deadline) });
                        }
                        Err(declined) => refused.push((tag, outbound::refused(&declined))),
                    }
                }
                Ok(Place::Peer(ordinal, _)) => {
                    inbound::fill_in_id(&mut operation, branch, id);
                    let bundle = there.entry(*ordinal).or_insert_with(|| Bundle::with_room(count));
                    if let Some(trace) = trace {
                        bundle.spans.push((bundle.tags.len(), trace.begin("forward", Kind::Client)));
                    }
                    bundle.push(tag, Forwarded { branch, deadline, operation });
                }
                Err(declined) if is_moving(declined) => {
                    inbound::fill_in_id(&mut operation, branch, id);
                    later.push(Tagged { tag, operation, deadline, trace, may_be_done });
                }
                Err(declined) => refused.push((tag, outbound::refused(declined))),
            }
        }
        if !refused.is_empty() {
            // The asker may have gone; then nobody waits for this.
            let _ = results.send(Results::Ready(refused));
        }
        if !later.is_empty() {
            self.dispatch_later(later, journey.clone(), results.clone());
        }
        for (branch, place) in places {
            match place {
                Ok(Place::Here(open)) => {
                    if let Some(here) = here.remove(&branch) {
                        submit(branch, &open.teller, here, self.is_shared, results);
                    }
                }
                Ok(Place::Peer(ordinal, peer)) => {
                    // One message for all branches of a peer.
                    if let Some(bundle) = there.remove(&ordinal) {
                        self.send_on(ordinal, peer.clone(), bundle, journey.clone(), results.clone());
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// The branch that an operation belongs to, and its id.
    fn route(&self, operation: &mut wire::Operation, journey: &Journey) -> Result<(BranchId, IdOrigin), Declined> {
        let routed = inbound::route(operation, &self.assignment, &self.entropy);
        if tracing::enabled!(tracing::Level::DEBUG) {
            let branch = routed.as_ref().ok().map(|(branch, _)| branch.get());
            let (operation, request_id) = inbound::describe(operation);
            let request_id = request_id.unwrap_or(&journey.request_id);
            tracing::debug!(operation, branch, request_id, hops = journey.hops, "an operation arrived");
        }
        routed
    }

    /// A place in the waiting room for the answer to a transfer that may take a while.
    fn hold(
        &self,
        request: &Request,
        place: usize,
        open: &OpenBranch,
        patience: Option<Duration>,
        deadline: Instant,
    ) -> Option<Held> {
        let Request::Write(Order {
            key,
            command:
                Command::Transfer { payee: Payee::At { .. }, .. } | Command::Capture { payee: Payee::At { .. }, .. },
            ..
        }) = request
        else {
            return None;
        };
        // The caller must hear where the transfer stands before it gives up.
        let until = (self.now() + patience?).min(deadline.checked_sub(ANSWER_MARGIN)?);
        Some(Held { place, watch: open.watchers.watch(key.get()), until, span: None })
    }

    fn request(
        &self,
        operation: wire::Operation,
        branch: BranchId,
        id: IdOrigin,
        principal: &Arc<str>,
    ) -> Result<Request, Declined> {
        inbound::request(operation, branch, id, &self.assignment, &self.entropy, principal)
    }

    /// All results of one message, in the order of its operations.
    pub(super) async fn batch(
        self: &Arc<Bank>,
        request: wire::BatchRequest,
        journey: &Journey,
    ) -> Vec<wire::OperationResult> {
        let wire::BatchRequest { operations, traces } = request;
        if journey.deadline <= self.now() {
            return vec![outbound::refused(&Declined::new(ErrorCode::DeadlineExceeded)); operations.len()];
        }
        let codes: Vec<_> = operations.iter().map(|operation| unanswered(is_write(operation))).collect();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let tagged = (0..).zip(operations);
        let tagged = tagged.map(|(tag, operation)| Tagged {
            tag,
            operation,
            deadline: journey.deadline,
            trace: None,
            may_be_done: false,
        });
        let mut tagged: Vec<Tagged> = tagged.collect();
        self.join_traces(&mut tagged, &traces);
        self.dispatch(tagged, journey, &sender);
        drop(sender);
        let mut answers: Vec<Option<wire::OperationResult>> = vec![None; codes.len()];
        while let Ok(Some(results)) = tokio::time::timeout_at(journey.deadline, receiver.recv()).await {
            for (tag, result) in results.into_messages() {
                if let Some(answer) = answers.get_mut(tag as usize) {
                    *answer = Some(result);
                }
            }
        }
        let answers = answers.into_iter().zip(codes);
        let answers = answers.map(|(answer, code)| answer.unwrap_or_else(|| outbound::refused(&Declined::new(code))));
        let mut answers: Vec<_> = answers.collect();
        outbound::fit_into_message(&mut answers);
        answers
    }

    /// Finds which of the operations are sampled.
    pub(super) fn join_traces(&self, operations: &mut [Tagged], traces: &[wire::TraceContext]) {
        for context in traces.iter().take(TRACED_OPERATIONS) {
            if let Some(operation) = operations.get_mut(context.operation as usize) {
                operation.trace = self.traces.join(&context.traceparent, &context.tracestate).map(Box::new);
            }
        }
    }

    /// The result of one operation: of a branch hosted here straight from its teller. The span ends with it.
    pub(super) async fn one(
        self: &Arc<Bank>,
        mut operation: wire::Operation,
        journey: &Journey,
        mut span: Option<Span>,
    ) -> Result<ResultKind, tonic::Status> {
        let refuse = |declined: Declined| outbound::status_of(&declined);
        if journey.deadline <= self.now() {
            return Err(refuse(Declined::new(ErrorCode::DeadlineExceeded)));
        }
        let (branch, id) = self.route(&mut operation, journey).map_err(refuse)?;
        let result = match self.place_in_time(branch, journey).await.map_err(refuse)? {
            Place::Here(open) => {
                let patience = inbound::patience(&operation);
                let request = self.request(operation, branch, id, &self.principal).map_err(refuse)?;
                let held = self.hold(&request, 0, &open, patience, journey.deadline);
                let steps = span.as_mut().map(|span| Steps::begin(span, branch, self.now()));
                let answered = self.ask_traced(&open, request, journey.deadline, steps).await;
                outbound::result(branch, waiting::ended(held, answered).await)
            }
            Place::Peer(ordinal, peer) => {
                inbound::fill_in_id(&mut operation, branch, id);
                let trace = span.as_ref().map(Span::trace);
                self.send_one_on(ordinal, peer.clone(), branch, operation, journey, trace.as_ref()).await
            }
        };
        match result.kind {
            Some(ResultKind::Failure(failure)) => {
                if let Some(span) = &mut span {
                    span.set("florin.code", failure.code.clone());
                }
                Err(outbound::status(&failure))
            }
            Some(kind) => Ok(kind),
            None => Err(refuse(Declined::new(ErrorCode::OutcomeUnknown))),
        }
    }

    /// Asks a teller of this server one thing. Without an answer in time it is refused here, under the
    /// id that it has.
    pub(super) async fn ask(&self, branch: &OpenBranch, request: Request, deadline: Instant) -> Answered {
        self.ask_traced(branch, request, deadline, None).await
    }

    async fn ask_traced(
        &self,
        branch: &OpenBranch,
        request: Request,
        deadline: Instant,
        steps: Option<Steps>,
    ) -> Answered {
        let key = match &request {
            Request::Write(order) => Some(order.key.get()),
            Request::Arrive { order, .. } => Some(order.key.get()),
            Request::Read(_) | Request::Linked(_) => None,
        };
        let is_write = !matches!(request, Request::Read(_));
        let (sender, receiver) = oneshot::channel();
        let job = Job {
            requests: vec![Asked { request, deadline: Some(deadline) }],
            reply: Box::new(move |answers, served| {
                if let Some(steps) = steps {
                    steps.note(&served);
                }
                // The asker may have gone; then nobody waits for this.
                let _ = sender.send(answers);
            }),
        };
        let declined = match branch.teller.submit(job) {
            Ok(()) => match tokio::time::timeout_at(deadline, receiver).await {
                Ok(Ok(mut answers)) if answers.len() == 1 => return answers.remove(0),
                // A teller that stopped with the question in its hands has dropped the way back.
                Ok(_) => asked_again(Declined::new(unanswered(is_write)), self.is_shared),
                Err(_) => Declined::new(unanswered(is_write)),
            },
            Err(refusal) => {
                metrics::counter!("florin_shed_requests_total").increment(1);
                queue_refusal(refusal, self.is_shared)
            }
        };
        Answered { key, replayed: false, answer: Answer::Refused(declined) }
    }
}

pub(super) fn queue_refusal(refusal: QueueFull, is_shared: bool) -> Declined {
    match refusal {
        QueueFull::Full => Declined::new(ErrorCode::Overloaded),
        QueueFull::Stopped => asked_again(Declined::new(ErrorCode::BranchUnavailable), is_shared),
    }
}

/// Where any server may serve any branch, whoever asks again will find the one that does.
fn asked_again(declined: Declined, is_shared: bool) -> Declined {
    if is_shared { declined.with(metadata::MOVING, true) } else { declined }
}

/// The operations of one message for one branch of this server.
struct Here {
    bundle: Bundle<Asked>,
    /// Those whose answers may have to wait, by their places.
    held: Vec<Held>,
    /// Those that are sampled, by their places.
    traced: Vec<Traced>,
}

impl Here {
    fn with_room(operations: usize) -> Here {
        Here { bundle: Bundle::with_room(operations), held: Vec::new(), traced: Vec::new() }
    }
}

fn submit(
    branch: BranchId,
    teller: &TellerHandle,
    here: Here,
    is_shared: bool,
    results: &mpsc::UnboundedSender<Results>,
) {
    let Here { bundle, mut held, traced } = here;
    let is_write = |asked: &Asked| !matches!(asked.request, Request::Read(_));
    let writes = bundle.items.iter().map(is_write).collect();
    let owed = Arc::new(Owed { tags: Mutex::new(bundle.tags), writes, is_shared, results: results.clone() });
    let (runtime, sender, owing) = (tokio::runtime::Handle::current(), results.clone(), owed.clone());
    let reply = Box::new(move |answers: Vec<Answered>, served| {
        for mut traced in traced {
            traced.served(answers.get(traced.place), &served);
            if let Some(held) = held.iter_mut().find(|held| held.place == traced.place) {
                held.span = Some(traced.span);
            }
        }
        let (tags, answers) = waiting::hold_back(&runtime, branch, owing.take(), answers, held, &sender);
        // The asker may have gone; then nobody waits for this.
        let _ = sender.send(Results::Local { branch, tags, answers });
    });
    if let Err(refusal) = teller.submit(Job { requests: bundle.items, reply }) {
        let tags = owed.take();
        metrics::counter!("florin_shed_requests_total").increment(tags.len() as u64);
        let refused = outbound::refused(&queue_refusal(refusal, is_shared));
        let refused = tags.into_iter().map(|tag| (tag, refused.clone())).collect();
        let _ = results.send(Results::Ready(refused));
    }
}

/// Answers that are owed to an asker: a teller that ends with the questions in its hands owes them still.
struct Owed {
    tags: Mutex<Vec<u64>>,
    writes: Vec<bool>,
    is_shared: bool,
    results: mpsc::UnboundedSender<Results>,
}

impl Owed {
    /// Whoever takes the tags answers.
    fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.tags.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let tags = self.take();
        if tags.is_empty() {
            return;
        }
        let refused = |is_write| asked_again(Declined::new(unanswered(is_write)), self.is_shared);
        let refusals = [false, true].map(|is_write| outbound::refused(&refused(is_write)));
        let refused = tags.into_iter().zip(&self.writes);
        let refused = refused.map(|(tag, is_write)| (tag, refusals[usize::from(*is_write)].clone())).collect();
        // The asker may have gone; then nobody waits for this.
        let _ = self.results.send(Results::Ready(refused));
    }
}
