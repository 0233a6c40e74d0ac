//! Where a branch is, and how operations find one that is on its way from one server to another.
//!
//! Where any server may serve any branch, a branch moves when its server stops, falls silent, or has too many. For
//! that moment what comes for it waits here, and what was sent to a server that has it no more is sent again: every
//! operation has an id by then, so it is done once, however often it is sent.

use super::bank::{ANSWER_MARGIN, Bank, Results, Tagged};
use super::forward::{Bundle, Journey, forward, is_write, unanswered};
use super::hosted::{Closed, Hosted, OpenBranch};
use super::inter_branch::Line;
use super::outbound;
use crate::teller::Declined;
use bank_proto::traces::{Kind, Trace};
use bank_proto::wire::bank_service_client::BankServiceClient;
use bank_proto::wire::operation_result::Kind as ResultKind;
use bank_proto::{BranchId, ErrorCode, metadata, wire};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

/// How soon a server that did not answer is asked again, when nothing is heard of the branch meanwhile.
const AGAIN: Duration = Duration::from_millis(100);

/// Where a branch is.
pub(super) enum Place<'a> {
    /// On this server.
    Here(OpenBranch),
    /// On the server with this ordinal.
    Peer(u32, &'a BankServiceClient<Channel>),
}

/// An operation for another server.
#[derive(Clone)]
pub(super) struct Forwarded {
    pub(super) branch: BranchId,
    pub(super) deadline: Instant,
    pub(super) operation: wire::Operation,
}

/// The branch serves nowhere just now, and will in a moment.
fn moving(branch: BranchId) -> Declined {
    Declined::new(ErrorCode::BranchUnavailable).with("branch_id", branch).with(metadata::MOVING, true)
}

/// Whether asking again in a moment will help.
pub(super) fn is_moving(declined: &Declined) -> bool {
    declined.metadata.contains_key(metadata::MOVING)
}

impl Bank {
    /// A branch if it is hosted here, else the peer that hosts it.
    pub(super) fn place(&self, branch: BranchId, journey: &Journey) -> Result<Place<'_>, Declined> {
        let home = self.assignment.server_of(branch).ok_or_else(|| Declined::new(ErrorCode::BranchNotFound))?;
        let unavailable = || Declined::new(ErrorCode::BranchUnavailable).with("branch_id", branch);
        let closed = match self.hosted.get(&branch).map(Hosted::get) {
            Some(Ok(branch)) => return Ok(Place::Here(branch)),
            Some(Err(closed)) => closed,
            None => return self.place_there(branch, home, metadata::MAXIMUM_HOPS, journey),
        };
        match closed {
            Closed { served_by: Some(owner), is_elsewhere: true, .. } => {
                self.place_there(branch, owner, metadata::MAXIMUM_HOPS, journey)
            }
            Closed { is_elsewhere: true, .. } => Err(moving(branch)),
            // Once only: when that server gives the books away, it sends whatever comes here.
            Closed { served_by: Some(owner), .. } if journey.hops == 0 => self.place_there(branch, owner, 1, journey),
            Closed { .. } => Err(unavailable()),
        }
    }

    fn place_there(&self, branch: BranchId, owner: u32, hops: u32, journey: &Journey) -> Result<Place<'_>, Declined> {
        if journey.hops >= hops {
            return Err(Declined::new(ErrorCode::WrongBranch).with("branch_id", branch).with("owner", owner));
        }
        match self.peer(owner) {
            Some(peer) => Ok(Place::Peer(owner, peer)),
            None => Err(Declined::new(ErrorCode::BranchUnavailable).with("branch_id", branch)),
        }
    }

    /// The server that hosts a branch, for what branches say to each other.
    pub(super) fn line(&self, branch: BranchId) -> Option<&Line> {
        let owner = match self.hosted.get(&branch).map(Hosted::get) {
            Some(Err(Closed { served_by, is_elsewhere: true, .. })) => served_by,
            _ => self.assignment.server_of(branch),
        };
        self.lines.get(owner? as usize)?.as_ref()
    }

    /// Says that a branch is another server's, or nobody's for the moment.
    pub(crate) fn show_elsewhere(&self, branch: BranchId, owner: Option<u32>) {
        let is_known = self
            .hosted
            .get(&branch)
            .is_some_and(|hosted| hosted.get().is_err_and(|closed| closed.is_elsewhere && closed.served_by == owner));
        if !is_known {
            self.change(branch, Hosted::elsewhere(owner));
        }
    }

    /// A branch, when it is on its way as soon as it has arrived.
    pub(super) async fn place_in_time(&self, branch: BranchId, journey: &Journey) -> Result<Place<'_>, Declined> {
        // The caller must hear that it was in vain before it gives up.
        let until = journey.deadline.checked_sub(ANSWER_MARGIN).unwrap_or(journey.deadline);
        let mut changes = self.changes.subscribe();
        loop {
            match self.place(branch, journey) {
                Err(declined) if is_moving(&declined) => {
                    match tokio::time::timeout_at(until, changes.changed()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) | Err(_) => return Err(declined),
                    }
                }
                place => return place,
            }
        }
    }

    /// Waits until something is heard of a branch, or for a moment. False when asking again is in vain: branches stay
    /// where they are, or there is no time left.
    pub(super) async fn until_moved(&self, deadline: Instant) -> bool {
        if !self.is_shared || self.now() + AGAIN + ANSWER_MARGIN >= deadline {
            return false;
        }
        let mut changes = self.changes.subscribe();
        // Whichever comes first.
        let _ = tokio::time::timeout(AGAIN, changes.changed()).await;
        true
    }

    /// Dispatches operations again when something is heard of their branches, or soon.
    pub(super) fn dispatch_later(
        self: &Arc<Bank>,
        operations: Vec<Tagged>,
        journey: Journey,
        results: mpsc::UnboundedSender<Results>,
    ) {
        let (bank, mut changes) = (self.clone(), self.changes.subscribe());
        tokio::spawn(async move {
            tokio::select! {
                // Nobody waits any more.
                () = results.closed() => return,
                _ = tokio::time::timeout(AGAIN, changes.changed()) => {}
            }
            let now = bank.now();
            let in_time =
                |operation: &Tagged| operation.deadline.checked_sub(ANSWER_MARGIN).is_some_and(|end| end > now);
            let (again, late): (Vec<Tagged>, Vec<Tagged>) = operations.into_iter().partition(in_time);
            if !late.is_empty() {
                let unavailable = || Declined::new(ErrorCode::BranchUnavailable).with(metadata::MOVING, true);
                let refused = late.into_iter().map(|operation| {
                    let refused = outbound::refused(&unavailable());
                    (operation.tag, if operation.may_be_done { doubtful(refused) } else { refused })
                });
                let _ = results.send(Results::Ready(refused.collect()));
            }
            let (doubted, others): (Vec<Tagged>, Vec<Tagged>) =
                again.into_iter().partition(|operation| operation.may_be_done);
            if !others.is_empty() {
                bank.dispatch(others, &journey, &results);
            }
            if !doubted.is_empty() {
                let (sender, mut receiver) = mpsc::unbounded_channel::<Results>();
                bank.dispatch(doubted, &journey, &sender);
                drop(sender);
                while let Some(said) = receiver.recv().await {
                    let said = said.into_messages().map(|(tag, result)| (tag, doubtful(result))).collect();
                    let _ = results.send(Results::Ready(said));
                }
            }
        });
    }

    /// Sends operations on to the server that has their branches.
    pub(super) fn send_on(
        self: &Arc<Bank>,
        ordinal: u32,
        peer: BankServiceClient<Channel>,
        bundle: Bundle<Forwarded>,
        journey: Journey,
        results: mpsc::UnboundedSender<Results>,
    ) {
        let bank = self.clone();
        tokio::spawn(async move {
            let copies: Vec<Tagged> = if bank.is_shared { copies(&bundle) } else { Vec::new() };
            let branches: Vec<BranchId> = bundle.items.iter().map(|forwarded| forwarded.branch).collect();
            let forwarding = forward(peer, plain(bundle), &journey, bank.is_shared);
            let mut told = tokio::select! {
                biased;
                told = forwarding => told,
                () = bank.have_left(&branches, ordinal) => Vec::new(),
            };
            let mut again = copies;
            if bank.is_shared {
                let is_certain = |result| !matches!(failure(result), Some((ErrorCode::OutcomeUnknown, _)));
                let untouched: BTreeSet<u64> =
                    told.iter().filter(|(_, result)| is_certain(result)).map(|(tag, _)| *tag).collect();
                told.retain(|(_, result)| !is_worth_another_try(result));
                let answered: BTreeSet<u64> = told.iter().map(|(tag, _)| *tag).collect();
                again.retain(|operation| !answered.contains(&operation.tag));
                for operation in &mut again {
                    operation.may_be_done = is_write(&operation.operation) && !untouched.contains(&operation.tag);
                }
            }
            // The asker may have gone; then nobody waits for this.
            let _ = results.send(Results::Ready(told));
            if !again.is_empty() {
                bank.dispatch_later(again, journey, results);
            }
        });
    }

    /// The same for one operation.
    pub(super) async fn send_one_on(
        self: &Arc<Bank>,
        ordinal: u32,
        peer: BankServiceClient<Channel>,
        branch: BranchId,
        operation: wire::Operation,
        journey: &Journey,
        trace: Option<&Trace>,
    ) -> wire::OperationResult {
        let is_write = is_write(&operation);
        let mut bundle = Bundle::with_room(1);
        bundle.push(0, Forwarded { branch, deadline: journey.deadline, operation });
        bundle.spans.extend(trace.map(|trace| (0, trace.begin("forward", Kind::Client))));
        if !self.is_shared {
            let mut told = forward(peer, plain(bundle), journey, false).await;
            return told.pop().map(|(_, result)| result).unwrap_or_default();
        }
        let (sender, mut receiver) = mpsc::unbounded_channel();
        self.send_on(ordinal, peer, bundle, journey.clone(), sender);
        while let Ok(Some(results)) = tokio::time::timeout_at(journey.deadline, receiver.recv()).await {
            if let Some((_, result)) = results.into_messages().next() {
                return result;
            }
        }
        outbound::refused(&Declined::new(unanswered(is_write)))
    }

    /// Which branches are served here, as it changes, until nobody listens or the server is told to stop.
    pub(super) fn served_branches(self: Arc<Bank>) -> ReceiverStream<Result<wire::ServedBranches, Status>> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut changes = self.changes.subscribe();
            let mut told = None;
            loop {
                let is_open = |(branch, state): (BranchId, Result<OpenBranch, Closed>)| state.is_ok().then_some(branch);
                let branch_ids: Vec<i64> =
                    self.hosted().filter_map(is_open).map(|branch| i64::from(branch.get())).collect();
                if told.as_ref() != Some(&branch_ids) {
                    told = Some(branch_ids.clone());
                    let now = wire::ServedBranches { any_server: self.is_shared, branch_ids };
                    if sender.send(Ok(now)).await.is_err() || !self.is_shared {
                        return;
                    }
                }
                tokio::select! {
                    biased;
                    () = self.drained() => return,
                    () = sender.closed() => return,
                    _ = changes.changed() => {}
                }
            }
        });
        ReceiverStream::new(receiver)
    }

    /// Becomes ready when one of these branches is known to be somewhere else than on this server.
    async fn have_left(&self, branches: &[BranchId], ordinal: u32) {
        if !self.is_shared {
            return std::future::pending().await;
        }
        let mut changes: watch::Receiver<u64> = self.changes.subscribe();
        let has_left = |branch: &BranchId| match self.hosted.get(branch).map(Hosted::get) {
            Some(Err(Closed { served_by, .. })) => served_by != Some(ordinal),
            _ => true,
        };
        while !branches.iter().any(has_left) {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// The operations again, should they have to be sent once more.
fn copies(bundle: &Bundle<Forwarded>) -> Vec<Tagged> {
    let pairs = bundle.tags.iter().zip(&bundle.items);
    let copy = |(tag, forwarded): (&u64, &Forwarded)| {
        let Forwarded { deadline, operation, .. } = forwarded.clone();
        Tagged { tag: *tag, operation, deadline, trace: None, may_be_done: false }
    };
    pairs.map(copy).collect()
}

fn plain(bundle: Bundle<Forwarded>) -> Bundle<wire::Operation> {
    let items = bundle.items.into_iter().map(|forwarded| forwarded.operation).collect();
    Bundle { tags: bundle.tags, items, spans: bundle.spans }
}

/// Whether the server that was asked is not the one to ask any more: it was not reached, has stopped, or sends
/// elsewhere.
fn is_worth_another_try(result: &wire::OperationResult) -> bool {
    failure(result).is_some_and(|(code, failure)| {
        failure.metadata.contains_key(metadata::MOVING) || code == ErrorCode::WrongBranch
    })
}

fn failure(result: &wire::OperationResult) -> Option<(ErrorCode, &wire::Failure)> {
    match &result.kind {
        Some(ResultKind::Failure(failure)) => Some((ErrorCode::from_text(&failure.code)?, failure)),
        Some(ResultKind::Linked(linked)) => linked.results.first().and_then(failure),
        _ => None,
    }
}

/// What is said of an operation that may have been done before: that nothing was done now is not known to be true of
/// it. Whatever comes from the books is: they know its id.
fn doubtful(result: wire::OperationResult) -> wire::OperationResult {
    use ErrorCode::{BranchUnavailable, DeadlineExceeded, Overloaded, WrongBranch};
    match failure(&result) {
        Some((BranchUnavailable | DeadlineExceeded | Overloaded | WrongBranch, _)) => {
            outbound::refused(&Declined::new(ErrorCode::OutcomeUnknown).with(metadata::MOVING, true))
        }
        _ => result,
    }
}
