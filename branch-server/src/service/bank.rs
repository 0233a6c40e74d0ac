//! Which branch, hosted here or by a peer: one way for single calls, batches and streams.

use super::inbound::{self, IdOrigin};
use super::outbound;
use crate::environment::{Clock, Entropy};
use crate::journal::{JournalReader, Sequence};
use crate::teller::{Answered, Asked, Declined, Job, QueueFull, Request, TellerHandle};
use bank_proto::wire::bank_service_client::BankServiceClient;
use bank_proto::wire::{self, operation_result::Kind as ResultKind};
use bank_proto::{Assignment, BranchId, ErrorCode, limits, metadata};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tonic::transport::Channel;

/// Followers of journals that one server has at a time.
const FOLLOWERS: usize = 64;

/// The whole bank as one branch server sees it.
pub(crate) struct Bank {
    assignment: Assignment,
    server: u32,
    hosted: BTreeMap<BranchId, Hosted>,
    /// By ordinal; None at this server's own.
    peers: Vec<Option<BankServiceClient<Channel>>>,
    entropy: Entropy,
    clock: Arc<dyn Clock>,
    principal: Arc<str>,
    /// A place for each follower of a journal: every one holds a connection to a store.
    followers: Arc<Semaphore>,
    /// True from the moment when the server was told to stop.
    draining: watch::Sender<bool>,
}

/// A branch that this server hosts.
pub(crate) struct Hosted(RwLock<HostedState>);

enum HostedState {
    Open(OpenBranch),
    /// What is wrong and where, for operators.
    Damaged(String),
}

/// A branch that serves.
#[derive(Clone)]
pub(crate) struct OpenBranch {
    /// The way to its teller.
    pub(crate) teller: TellerHandle,
    /// Reads its journal beside the teller.
    pub(crate) reader: Arc<Mutex<JournalReader>>,
    /// The last row that is durable.
    pub(crate) synced: watch::Receiver<Sequence>,
}

impl Hosted {
    /// A branch that serves.
    #[must_use]
    pub(crate) fn open(branch: OpenBranch) -> Hosted {
        Hosted(RwLock::new(HostedState::Open(branch)))
    }

    /// A branch that refuses to serve, and why.
    #[must_use]
    pub(crate) fn damaged(what: String) -> Hosted {
        Hosted(RwLock::new(HostedState::Damaged(what)))
    }

    /// The branch, or what is wrong with it.
    fn get(&self) -> Result<OpenBranch, String> {
        match &*self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner) {
            HostedState::Open(branch) => Ok(branch.clone()),
            HostedState::Damaged(what) => Err(what.clone()),
        }
    }

    /// Stops serving: damage was found.
    fn close(&self, what: String) {
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = HostedState::Damaged(what);
    }
}

/// One of the operations that came in together.
pub(super) struct Tagged {
    /// Comes back with the result.
    pub(super) tag: u64,
    pub(super) operation: wire::Operation,
    pub(super) deadline: Instant,
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
    /// As messages.
    pub(super) fn into_messages(self) -> Vec<(u64, wire::OperationResult)> {
        match self {
            Results::Ready(results) => results,
            Results::Local { branch, tags, answers } => {
                tags.into_iter().zip(answers).map(|(tag, answer)| (tag, outbound::result(branch, answer))).collect()
            }
        }
    }
}

/// How a request travelled up to here.
#[derive(Debug, Clone)]
pub(super) struct Journey {
    /// How many branch servers forwarded it.
    pub(super) hops: u32,
    /// The front end's id for it.
    pub(super) request_id: String,
    /// When its caller gives up.
    pub(super) deadline: Instant,
}

/// The operations of one message that go to the same place.
struct Bundle<T> {
    tags: Vec<u64>,
    items: Vec<T>,
}

impl<T> Bundle<T> {
    fn empty() -> Bundle<T> {
        Bundle { tags: Vec::new(), items: Vec::new() }
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
        entropy: Entropy,
        clock: Arc<dyn Clock>,
    ) -> Bank {
        let client = |channel| {
            BankServiceClient::new(channel)
                .max_decoding_message_size(limits::GRPC_MESSAGE_BYTES)
                .max_encoding_message_size(limits::GRPC_MESSAGE_BYTES)
        };
        let peers = peers.into_iter().map(|peer| peer.map(client)).collect();
        let principal = inbound::OPEN_PRINCIPAL.into();
        Bank {
            assignment,
            server,
            hosted,
            peers,
            entropy,
            clock,
            principal,
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
            draining: watch::Sender::new(false),
        }
    }

    pub(super) fn assignment(&self) -> Assignment {
        self.assignment
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.instant()
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
    pub(super) async fn drained(&self) {
        // The sender lives as long as this does.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// The branches hosted here, and for each the branch or what is wrong with it.
    pub(crate) fn hosted(&self) -> impl Iterator<Item = (BranchId, Result<OpenBranch, String>)> {
        self.hosted.iter().map(|(branch, hosted)| (*branch, hosted.get()))
    }

    /// Stops a branch for good: damage was found while it served.
    pub(crate) fn close(&self, branch: BranchId, what: String) {
        if let Some(hosted) = self.hosted.get(&branch) {
            hosted.close(what);
        }
    }

    /// The other servers, by ordinal.
    pub(super) fn peers(&self) -> impl Iterator<Item = (u32, &BankServiceClient<Channel>)> {
        (0..).zip(&self.peers).filter_map(|(ordinal, peer)| Some((ordinal, peer.as_ref()?)))
    }

    /// A branch if it is hosted here, else the peer that hosts it.
    pub(super) fn place(&self, branch: BranchId, journey: &Journey) -> Result<Place<'_>, Declined> {
        let owner = self.assignment.server_of(branch).ok_or_else(|| Declined::new(ErrorCode::BranchNotFound))?;
        if owner == self.server {
            let hosted = self.hosted.get(&branch).ok_or_else(|| Declined::new(ErrorCode::BranchUnavailable))?;
            return match hosted.get() {
                Ok(branch) => Ok(Place::Here(branch)),
                Err(_) => Err(Declined::new(ErrorCode::BranchUnavailable).with("branch_id", branch)),
            };
        }
        if journey.hops >= metadata::MAXIMUM_HOPS {
            return Err(Declined::new(ErrorCode::WrongBranch).with("branch_id", branch).with("owner", owner));
        }
        match self.peers.get(owner as usize) {
            Some(Some(peer)) => Ok(Place::Peer(owner, peer)),
            _ => Err(Declined::new(ErrorCode::BranchUnavailable).with("branch_id", branch)),
        }
    }

    /// Sends operations to where they belong. Every tag comes back through `results` exactly once,
    /// unless the server stops first.
    pub(super) fn dispatch(
        &self,
        operations: Vec<Tagged>,
        journey: &Journey,
        results: &mpsc::UnboundedSender<Results>,
    ) {
        let mut here: BTreeMap<BranchId, (OpenBranch, Bundle<Asked>)> = BTreeMap::new();
        let mut there: BTreeMap<u32, (BankServiceClient<Channel>, Bundle<wire::Operation>)> = BTreeMap::new();
        let mut refused = Vec::new();
        for Tagged { tag, mut operation, deadline } in operations {
            let placed = inbound::route(&mut operation, self.assignment, &self.entropy)
                .and_then(|(branch, id)| Ok((branch, id, self.place(branch, journey)?)));
            if tracing::enabled!(tracing::Level::DEBUG) {
                let branch = placed.as_ref().ok().map(|(branch, ..)| branch.get());
                let (operation, request_id) = inbound::describe(&operation);
                let request_id = request_id.unwrap_or(&journey.request_id);
                tracing::debug!(operation, branch, request_id, hops = journey.hops, "an operation arrived");
            }
            match placed {
                Ok((branch, id, Place::Here(open))) => match self.request(operation, branch, id) {
                    Ok(request) => {
                        let (_, bundle) = here.entry(branch).or_insert_with(|| (open, Bundle::empty()));
                        bundle.tags.push(tag);
                        bundle.items.push(Asked { request, deadline: Some(deadline) });
                    }
                    Err(declined) => refused.push((tag, outbound::refused(&declined))),
                },
                Ok((branch, id, Place::Peer(ordinal, peer))) => {
                    if let IdOrigin::Made(key) = id {
                        inbound::fill_in_id(&mut operation, branch, key);
                    }
                    let (_, bundle) = there.entry(ordinal).or_insert_with(|| (peer.clone(), Bundle::empty()));
                    bundle.tags.push(tag);
                    bundle.items.push(operation);
                }
                Err(declined) => refused.push((tag, outbound::refused(&declined))),
            }
        }
        if !refused.is_empty() {
            // The asker may have gone; then nobody waits for this.
            let _ = results.send(Results::Ready(refused));
        }
        for (branch, (open, bundle)) in here {
            submit(branch, &open.teller, bundle, results);
        }
        for (_, (peer, bundle)) in there {
            tokio::spawn(forward(peer, bundle, journey.clone(), results.clone()));
        }
    }

    fn request(&self, operation: wire::Operation, branch: BranchId, id: IdOrigin) -> Result<Request, Declined> {
        inbound::request(operation, branch, id, self.assignment, &self.entropy, &self.principal)
    }

    /// All results of one message, in the order of its operations.
    pub(super) async fn batch(
        &self,
        operations: Vec<wire::Operation>,
        journey: &Journey,
    ) -> Vec<wire::OperationResult> {
        let count = operations.len();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let tagged = (0..).zip(operations);
        let tagged = tagged.map(|(tag, operation)| Tagged { tag, operation, deadline: journey.deadline }).collect();
        self.dispatch(tagged, journey, &sender);
        drop(sender);
        let mut answers: Vec<Option<wire::OperationResult>> = vec![None; count];
        while let Some(results) = receiver.recv().await {
            for (tag, result) in results.into_messages() {
                if let Some(answer) = answers.get_mut(tag as usize) {
                    *answer = Some(result);
                }
            }
        }
        // A teller that stopped with the question in its hands has dropped the way back.
        let unknown = || outbound::refused(&Declined::new(ErrorCode::OutcomeUnknown));
        let mut answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap_or_else(unknown)).collect();
        outbound::fit_into_message(&mut answers);
        answers
    }

    /// The result of one operation.
    pub(super) async fn one(
        &self,
        kind: wire::operation::Kind,
        journey: &Journey,
    ) -> Result<ResultKind, tonic::Status> {
        let results = self.batch(vec![wire::Operation { kind: Some(kind) }], journey).await;
        match results.into_iter().next().and_then(|result| result.kind) {
            Some(ResultKind::Failure(failure)) => Err(outbound::status(&failure)),
            Some(kind) => Ok(kind),
            None => Err(outbound::status_of(&Declined::new(ErrorCode::OutcomeUnknown))),
        }
    }

    /// Asks a teller of this server one question.
    pub(super) async fn ask(
        &self,
        branch: &OpenBranch,
        request: Request,
        deadline: Instant,
    ) -> Result<Answered, Declined> {
        let (sender, receiver) = oneshot::channel();
        let job = Job {
            requests: vec![Asked { request, deadline: Some(deadline) }],
            reply: Box::new(move |answers| {
                // The asker may have gone; then nobody waits for this.
                let _ = sender.send(answers);
            }),
        };
        branch.teller.submit(job).map_err(queue_refusal)?;
        let answers = receiver.await.unwrap_or_default();
        answers.into_iter().next().ok_or_else(|| Declined::new(ErrorCode::BranchUnavailable))
    }
}

/// Where a branch is.
pub(super) enum Place<'a> {
    /// On this server.
    Here(OpenBranch),
    /// On the server with this ordinal.
    Peer(u32, &'a BankServiceClient<Channel>),
}

fn queue_refusal(refusal: QueueFull) -> Declined {
    match refusal {
        QueueFull::Full => Declined::new(ErrorCode::Overloaded),
        QueueFull::Stopped => Declined::new(ErrorCode::BranchUnavailable),
    }
}

fn submit(branch: BranchId, teller: &TellerHandle, bundle: Bundle<Asked>, results: &mpsc::UnboundedSender<Results>) {
    let (tags, sender) = (bundle.tags.clone(), results.clone());
    let reply = Box::new(move |answers| {
        // The asker may have gone; then nobody waits for this.
        let _ = sender.send(Results::Local { branch, tags, answers });
    });
    if let Err(refusal) = teller.submit(Job { requests: bundle.items, reply }) {
        metrics::counter!("florin_shed_requests_total").increment(bundle.tags.len() as u64);
        let refused = outbound::refused(&queue_refusal(refusal));
        let refused = bundle.tags.into_iter().map(|tag| (tag, refused.clone())).collect();
        let _ = results.send(Results::Ready(refused));
    }
}

/// Sends operations to the server that hosts their branches, with one more hop on their journey.
async fn forward(
    mut peer: BankServiceClient<Channel>,
    bundle: Bundle<wire::Operation>,
    journey: Journey,
    results: mpsc::UnboundedSender<Results>,
) {
    let writes: Vec<bool> = bundle.items.iter().map(is_write).collect();
    let mut request = tonic::Request::new(wire::BatchRequest { operations: bundle.items });
    journey.write(request.metadata_mut());
    let answer = tokio::time::timeout_at(journey.deadline, peer.batch(request)).await;
    let failure = match answer {
        Ok(Ok(answer)) => {
            let results_of_peer = answer.into_inner().results;
            let pairs = bundle.tags.into_iter().zip(results_of_peer).collect();
            let _ = results.send(Results::Ready(pairs));
            return;
        }
        Ok(Err(status)) if was_never_sent(&status) => [ErrorCode::BranchUnavailable; 2],
        Ok(Err(status)) => {
            tracing::warn!(code = ?status.code(), "a peer did not answer a forwarded batch");
            [ErrorCode::BranchUnavailable, ErrorCode::OutcomeUnknown]
        }
        Err(_) => [ErrorCode::BranchUnavailable, ErrorCode::OutcomeUnknown],
    };
    let refusals = failure.map(|code| outbound::refused(&Declined::new(code)));
    let pairs = bundle.tags.into_iter().zip(writes);
    let pairs = pairs.map(|(tag, is_write)| (tag, refusals[usize::from(is_write)].clone())).collect();
    let _ = results.send(Results::Ready(pairs));
}

fn is_write(operation: &wire::Operation) -> bool {
    use wire::operation::Kind;
    !matches!(&operation.kind, None | Some(Kind::Query(_) | Kind::GetAccount(_) | Kind::GetCustomer(_)))
}

/// Whether a call failed before anything of it left this machine.
fn was_never_sent(status: &tonic::Status) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

impl Journey {
    /// Writes the next leg into a call's metadata.
    pub(super) fn write(&self, map: &mut tonic::metadata::MetadataMap) {
        map.insert(metadata::HOPS, (self.hops + 1).into());
        if let Ok(request_id) = self.request_id.parse() {
            map.insert(metadata::REQUEST_ID, request_id);
        }
    }
}
