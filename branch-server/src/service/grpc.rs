//! The service itself: every RPC, and how each call came here.

use super::bank::{Bank, Disk};
use super::copying;
use super::cut;
use super::deadline::{DEFAULT_TIMEOUT, Deadline};
use super::follow;
use super::forward::Journey;
use super::history;
use super::inbound;
use super::outbound;
use super::placing::Place;
use super::stream;
use crate::cut::BankCut;
use crate::teller::{Answer, Declined, Read, Request as Asked};
use bank_proto::traces::{Span, TRACEPARENT, TRACESTATE};
use bank_proto::wire::bank_service_server::BankService;
use bank_proto::wire::operation::Kind;
use bank_proto::wire::operation_result::Kind as ResultKind;
use bank_proto::{BranchId, ErrorCode, limits, metadata, wire};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

/// The gRPC face of a branch server.
#[derive(Clone)]
pub(crate) struct BankEdge(Arc<Bank>);

impl BankEdge {
    /// The face of this bank.
    #[must_use]
    pub(crate) fn new(bank: Arc<Bank>) -> BankEdge {
        BankEdge(bank)
    }

    /// How a call came here: hops, request id, deadline.
    fn journey<T>(&self, request: &Request<T>) -> Journey {
        let text = |name| request.metadata().get(name).and_then(|value| value.to_str().ok());
        let deadline = request.extensions().get().map(|deadline: &Deadline| deadline.of_work);
        Journey {
            // Something else than a number cannot come from a branch server: let it go no further.
            hops: text(metadata::HOPS).map_or(0, |hops| hops.parse().unwrap_or(u32::MAX)),
            request_id: text(metadata::REQUEST_ID).unwrap_or_default().chars().take(128).collect(),
            deadline: deadline.unwrap_or_else(|| self.0.now() + DEFAULT_TIMEOUT),
            trace: None,
        }
    }

    /// The step that a call is, when it is sampled. What comes through a front end or another server is sampled
    /// there or not at all.
    fn enter(&self, map: &MetadataMap, name: &'static str) -> Option<Span> {
        let text = |name: &str| map.get(name).and_then(|value| value.to_str().ok());
        let came_through = [metadata::HOPS, metadata::REQUEST_ID].iter().any(|name| text(name).is_some());
        match text(TRACEPARENT) {
            None if came_through => None,
            traceparent => self.0.traces().enter(name, traceparent, text(TRACESTATE)),
        }
    }

    /// How a call that is no order came here, and the step that it is.
    fn entered<T>(&self, request: &Request<T>, name: &'static str) -> (Journey, Option<Span>) {
        let span = self.enter(request.metadata(), name);
        let trace = span.as_ref().map(Span::trace);
        (Journey { trace, ..self.journey(request) }, span)
    }

    async fn one<T>(&self, request: Request<T>, kind: impl FnOnce(T) -> Kind) -> Result<ResultKind, Status> {
        let journey = self.journey(&request);
        let (metadata, _, asked) = request.into_parts();
        let operation = wire::Operation { kind: Some(kind(asked)) };
        let span = self.enter(&metadata, inbound::describe(&operation).0);
        self.0.one(operation, &journey, span).await
    }

    /// A branch by its number, and where it is.
    async fn branch(&self, number: i64, journey: &Journey) -> Result<(BranchId, Place<'_>), Status> {
        let branch = inbound::branch_id(number, self.0.assignment());
        let placed = match branch {
            Ok(branch) => self.0.place_in_time(branch, journey).await.map(|place| (branch, place)),
            Err(declined) => Err(declined),
        };
        placed.map_err(|declined| outbound::status_of(&declined))
    }

    /// The cut that a token names, or one now.
    async fn cut(&self, token: &str, journey: &Journey) -> Result<Arc<BankCut>, Status> {
        let cut = match token {
            "" => self.0.cut(journey.deadline).await,
            token => self.0.cut_again(token, journey.deadline).await.map(Arc::new),
        };
        cut.map_err(|declined| outbound::status_of(&declined))
    }

    async fn own_branches(&self, journey: &Journey) -> Vec<wire::Branch> {
        let mut branches = Vec::new();
        for (id, hosted) in self.0.hosted() {
            let mut branch = wire::Branch { branch_id: id.get(), ..wire::Branch::default() };
            let said = match hosted {
                Ok(open) => self.0.ask(&open, Asked::Read(Read::Status), journey.deadline).await,
                Err(closed) => {
                    branch.set_state(closed.state);
                    branch.detail = closed.told;
                    branches.push(branch);
                    continue;
                }
            };
            match said.answer {
                Answer::Status { initialized, accounts, sequence, epoch } => {
                    let state = if initialized { wire::BranchState::Open } else { wire::BranchState::Uninitialized };
                    branch.set_state(state);
                    branch.accounts = i64::try_from(accounts).unwrap_or(i64::MAX);
                    branch.sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
                    branch.epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
                }
                // A busy teller is alive; its figures are not worth waiting for.
                Answer::Refused(Declined { code: ErrorCode::Overloaded, .. }) => {
                    branch.set_state(wire::BranchState::Open);
                }
                _ => branch.set_state(wire::BranchState::Unreachable),
            }
            branches.push(branch);
        }
        branches
    }
}

/// An answer of another kind than the question asks for: a fault of Florin's own.
fn confused() -> Status {
    outbound::status_of(&Declined::new(ErrorCode::Internal))
}

#[tonic::async_trait]
impl BankService for BankEdge {
    async fn initialize_branch(
        &self,
        request: Request<wire::InitializeBranchRequest>,
    ) -> Result<Response<wire::InitializeBranchResponse>, Status> {
        match self.one(request, Kind::InitializeBranch).await? {
            ResultKind::Branch(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn create_customer(
        &self,
        request: Request<wire::CreateCustomerRequest>,
    ) -> Result<Response<wire::Customer>, Status> {
        match self.one(request, Kind::CreateCustomer).await? {
            ResultKind::Customer(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn get_customer(
        &self,
        request: Request<wire::GetCustomerRequest>,
    ) -> Result<Response<wire::Customer>, Status> {
        match self.one(request, Kind::GetCustomer).await? {
            ResultKind::Customer(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn open_account(
        &self,
        request: Request<wire::OpenAccountRequest>,
    ) -> Result<Response<wire::Account>, Status> {
        match self.one(request, Kind::OpenAccount).await? {
            ResultKind::Account(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn get_account(&self, request: Request<wire::GetAccountRequest>) -> Result<Response<wire::Account>, Status> {
        match self.one(request, Kind::GetAccount).await? {
            ResultKind::Account(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn freeze_account(
        &self,
        request: Request<wire::ChangeAccountRequest>,
    ) -> Result<Response<wire::Account>, Status> {
        match self.one(request, Kind::FreezeAccount).await? {
            ResultKind::Account(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn unfreeze_account(
        &self,
        request: Request<wire::ChangeAccountRequest>,
    ) -> Result<Response<wire::Account>, Status> {
        match self.one(request, Kind::UnfreezeAccount).await? {
            ResultKind::Account(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn close_account(
        &self,
        request: Request<wire::ChangeAccountRequest>,
    ) -> Result<Response<wire::Account>, Status> {
        match self.one(request, Kind::CloseAccount).await? {
            ResultKind::Account(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn deposit(&self, request: Request<wire::DepositRequest>) -> Result<Response<wire::Receipt>, Status> {
        match self.one(request, Kind::Deposit).await? {
            ResultKind::Receipt(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn withdraw(&self, request: Request<wire::WithdrawRequest>) -> Result<Response<wire::Receipt>, Status> {
        match self.one(request, Kind::Withdraw).await? {
            ResultKind::Receipt(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn query(&self, request: Request<wire::QueryRequest>) -> Result<Response<wire::Balance>, Status> {
        match self.one(request, Kind::Query).await? {
            ResultKind::Balance(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn transfer(&self, request: Request<wire::TransferRequest>) -> Result<Response<wire::Transfer>, Status> {
        match self.one(request, Kind::Transfer).await? {
            ResultKind::Transfer(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn reverse(&self, request: Request<wire::ReverseRequest>) -> Result<Response<wire::Reversal>, Status> {
        match self.one(request, Kind::Reverse).await? {
            ResultKind::Reversal(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn hold(&self, request: Request<wire::HoldRequest>) -> Result<Response<wire::Hold>, Status> {
        match self.one(request, Kind::Hold).await? {
            ResultKind::Hold(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn get_hold(&self, request: Request<wire::GetHoldRequest>) -> Result<Response<wire::Hold>, Status> {
        match self.one(request, Kind::GetHold).await? {
            ResultKind::Hold(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn capture(&self, request: Request<wire::CaptureRequest>) -> Result<Response<wire::Transfer>, Status> {
        match self.one(request, Kind::Capture).await? {
            ResultKind::Transfer(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn release(&self, request: Request<wire::ReleaseRequest>) -> Result<Response<wire::Hold>, Status> {
        match self.one(request, Kind::Release).await? {
            ResultKind::Hold(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn get_transfer(
        &self,
        request: Request<wire::GetTransferRequest>,
    ) -> Result<Response<wire::Transfer>, Status> {
        match self.one(request, Kind::GetTransfer).await? {
            ResultKind::Transfer(answer) => Ok(Response::new(answer)),
            _ => Err(confused()),
        }
    }

    async fn list_transactions(
        &self,
        request: Request<wire::ListTransactionsRequest>,
    ) -> Result<Response<wire::ListTransactionsResponse>, Status> {
        let (journey, _span) = self.entered(&request, "list_transactions");
        let question = request.into_inner();
        let account = inbound::account_number(&question.account_number, self.0.assignment());
        let account = account.map_err(|declined| outbound::status_of(&declined))?;
        let place = self
            .0
            .place_in_time(account.branch(), &journey)
            .await
            .map_err(|declined| outbound::status_of(&declined))?;
        match place {
            Place::Here(branch) => history::page(&self.0, branch, account, question, journey.deadline).await,
            Place::Peer(_, peer) => {
                let mut request = Request::new(question);
                journey.write(request.metadata_mut());
                forwarded(journey.deadline, peer.clone().list_transactions(request)).await
            }
        }
    }

    async fn get_trial_balance(
        &self,
        request: Request<wire::GetTrialBalanceRequest>,
    ) -> Result<Response<wire::TrialBalance>, Status> {
        let (journey, _span) = self.entered(&request, "get_trial_balance");
        let question = request.into_inner();
        let (branch, place) = self.branch(question.branch_id, &journey).await?;
        match place {
            Place::Here(open) => {
                let said = self.0.ask(&open, Asked::Read(Read::TrialBalance), journey.deadline).await;
                match said.answer {
                    Answer::TrialBalance(books) => Ok(Response::new(outbound::trial_balance(branch, &books))),
                    Answer::Refused(declined) => Err(outbound::status_of(&declined)),
                    _ => Err(confused()),
                }
            }
            Place::Peer(_, peer) => {
                let mut request = Request::new(question);
                journey.write(request.metadata_mut());
                forwarded(journey.deadline, peer.clone().get_trial_balance(request)).await
            }
        }
    }

    async fn get_bank_trial_balance(
        &self,
        request: Request<wire::GetBankTrialBalanceRequest>,
    ) -> Result<Response<wire::BankTrialBalance>, Status> {
        let (journey, _span) = self.entered(&request, "get_bank_trial_balance");
        let cut = self.cut(&request.into_inner().token, &journey).await?;
        Ok(Response::new(cut::bank_trial_balance(&cut)))
    }

    async fn list_positions(
        &self,
        request: Request<wire::ListPositionsRequest>,
    ) -> Result<Response<wire::ListPositionsResponse>, Status> {
        let (journey, _span) = self.entered(&request, "list_positions");
        let cut = self.cut(&request.into_inner().token, &journey).await?;
        Ok(Response::new(cut::positions(&cut)))
    }

    type FollowJournalStream = Pin<Box<dyn Stream<Item = Result<wire::JournalRow, Status>> + Send>>;

    async fn follow_journal(
        &self,
        request: Request<wire::FollowJournalRequest>,
    ) -> Result<Response<Self::FollowJournalStream>, Status> {
        let journey = self.journey(&request);
        let question = request.into_inner();
        let (branch, place) = self.branch(question.branch_id, &journey).await?;
        match place {
            Place::Here(open) => {
                let rows = follow::rows(self.0.clone(), open, branch, question)?;
                Ok(Response::new(Box::pin(rows)))
            }
            Place::Peer(_, peer) => {
                let mut request = Request::new(question);
                journey.write(request.metadata_mut());
                let rows = forwarded(journey.deadline, peer.clone().follow_journal(request)).await?;
                Ok(Response::new(Box::pin(follow::relay(self.0.clone(), rows.into_inner()))))
            }
        }
    }

    async fn describe_journal(
        &self,
        request: Request<wire::DescribeJournalRequest>,
    ) -> Result<Response<wire::JournalDescription>, Status> {
        let journey = self.journey(&request);
        let question = request.into_inner();
        let (branch, place) = self.branch(question.branch_id, &journey).await?;
        match place {
            Place::Here(open) => Ok(Response::new(copying::describe(&self.0, &open, branch, question).await?)),
            Place::Peer(_, peer) => {
                let mut request = Request::new(question);
                journey.write(request.metadata_mut());
                forwarded(journey.deadline, peer.clone().describe_journal(request)).await
            }
        }
    }

    type CopyJournalStream = Pin<Box<dyn Stream<Item = Result<wire::StoredRows, Status>> + Send>>;

    async fn copy_journal(
        &self,
        request: Request<wire::CopyJournalRequest>,
    ) -> Result<Response<Self::CopyJournalStream>, Status> {
        let journey = self.journey(&request);
        let question = request.into_inner();
        let (branch, place) = self.branch(question.branch_id, &journey).await?;
        match place {
            Place::Here(open) => {
                let rows = copying::rows(self.0.clone(), &open, branch, &question)?;
                Ok(Response::new(Box::pin(rows)))
            }
            Place::Peer(_, peer) => {
                let mut request = Request::new(question);
                journey.write(request.metadata_mut());
                let rows = forwarded(journey.deadline, peer.clone().copy_journal(request)).await?;
                Ok(Response::new(Box::pin(copying::relay(self.0.clone(), rows.into_inner()))))
            }
        }
    }

    async fn list_branches(
        &self,
        request: Request<wire::ListBranchesRequest>,
    ) -> Result<Response<wire::ListBranchesResponse>, Status> {
        let journey = self.journey(&request);
        let mut branches = self.own_branches(&journey).await;
        if !request.into_inner().local_only {
            for (ordinal, peer) in self.0.peers() {
                let mut question = Request::new(wire::ListBranchesRequest { local_only: true });
                journey.write(question.metadata_mut());
                match forwarded(journey.deadline, peer.clone().list_branches(question)).await {
                    Ok(answer) => branches.extend(answer.into_inner().branches),
                    Err(_) => branches.extend(self.0.assignment().branches_of(ordinal).map(|branch| wire::Branch {
                        branch_id: branch.get(),
                        state: wire::BranchState::Unreachable.into(),
                        ..wire::Branch::default()
                    })),
                }
            }
            // While a branch moves, two servers speak of it: the one that serves it knows.
            let serves = |branch: &wire::Branch| {
                matches!(branch.state(), wire::BranchState::Open | wire::BranchState::Uninitialized)
            };
            branches.sort_by_key(|branch| (branch.branch_id, !serves(branch)));
            branches.dedup_by_key(|branch| branch.branch_id);
            // One that is on its way from one server to another is nobody's to tell of.
            let told: BTreeSet<u32> = branches.iter().map(|branch| branch.branch_id).collect();
            branches.extend((1..=self.0.assignment().branches()).filter(|branch| !told.contains(branch)).map(
                |branch| wire::Branch {
                    branch_id: branch,
                    state: wire::BranchState::Unavailable.into(),
                    detail: "it is on its way from one server to another".to_owned(),
                    ..wire::Branch::default()
                },
            ));
            branches.sort_by_key(|branch| branch.branch_id);
        }
        Ok(Response::new(wire::ListBranchesResponse {
            branches,
            audit: Some(outbound::audit(self.0.last_audit().get())),
            disk: self.0.disk().map(|Disk { free_bytes, reserve_bytes }| wire::Disk { free_bytes, reserve_bytes }),
        }))
    }

    type FollowServedBranchesStream = ReceiverStream<Result<wire::ServedBranches, Status>>;

    async fn follow_served_branches(
        &self,
        _: Request<wire::FollowServedBranchesRequest>,
    ) -> Result<Response<Self::FollowServedBranchesStream>, Status> {
        Ok(Response::new(self.0.clone().served_branches()))
    }

    async fn batch(&self, request: Request<wire::BatchRequest>) -> Result<Response<wire::BatchResponse>, Status> {
        let (journey, _span) = self.entered(&request, "batch");
        let request = request.into_inner();
        check_size(request.operations.iter().map(inbound::weight).sum())?;
        let results = self.0.batch(request, &journey).await;
        Ok(Response::new(wire::BatchResponse { results }))
    }

    type BatchStreamStream = Pin<Box<dyn Stream<Item = Result<wire::BatchStreamResponse, Status>> + Send>>;

    async fn batch_stream(
        &self,
        request: Request<tonic::Streaming<wire::BatchStreamRequest>>,
    ) -> Result<Response<Self::BatchStreamStream>, Status> {
        let journey = self.journey(&request);
        Ok(Response::new(Box::pin(stream::answers(self.0.clone(), request.into_inner(), journey))))
    }
}

pub(super) fn check_size(operations: usize) -> Result<(), Status> {
    if operations <= limits::BATCH_OPERATIONS {
        return Ok(());
    }
    let reason = format!("must hold at most {} operations", limits::BATCH_OPERATIONS);
    let declined = Declined::new(ErrorCode::InvalidRequest).with("field", "operations").with("reason", reason);
    Err(outbound::status_of(&declined))
}

/// The answer of a peer; without one within the deadline, the branch is not available.
async fn forwarded<T>(
    deadline: tokio::time::Instant,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<Response<T>, Status> {
    match tokio::time::timeout_at(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(in_own_words(status)),
        Err(_) => Err(outbound::status_of(&Declined::new(ErrorCode::BranchUnavailable))),
    }
}

/// What a peer refused, it refused in the bank's own codes; anything else says that it is not there.
pub(super) fn in_own_words(status: Status) -> Status {
    match ErrorCode::from_status(&status) {
        Some(_) => status,
        None => outbound::status_of(&Declined::new(ErrorCode::BranchUnavailable)),
    }
}
