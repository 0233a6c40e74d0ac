//! The service itself: every RPC, and how each call came here.

use super::bank::{Bank, Place, Results, Tagged};
use super::follow;
use super::forward::Journey;
use super::history;
use super::inbound;
use super::outbound;
use crate::teller::{Answer, Declined, Read, Request as Asked};
use bank_proto::wire::bank_service_server::BankService;
use bank_proto::wire::operation::Kind;
use bank_proto::wire::operation_result::Kind as ResultKind;
use bank_proto::{BranchId, ErrorCode, limits, metadata, wire};
use prost::Message as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::Stream;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// How long a call may take whose caller sets no deadline.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Operations of one stream that may wait for their answers.
const STREAM_OPERATIONS: usize = 2 * limits::BATCH_OPERATIONS;

/// Bytes at which a message of a stream is sent: with one more answer it stays below what a message may have.
const STREAM_MESSAGE_BYTES: usize = limits::GRPC_MESSAGE_BYTES / 4;

/// Groups of answers that travel in one message of a stream at most.
const STREAM_RESULTS: usize = 1024;

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
        let timeout = text("grpc-timeout").and_then(timeout).unwrap_or(DEFAULT_TIMEOUT).min(DEFAULT_TIMEOUT);
        Journey {
            // Something else than a number cannot come from a branch server: let it go no further.
            hops: text(metadata::HOPS).map_or(0, |hops| hops.parse().unwrap_or(u32::MAX)),
            request_id: text(metadata::REQUEST_ID).unwrap_or_default().chars().take(128).collect(),
            deadline: self.0.now() + timeout,
        }
    }

    async fn one<T>(&self, request: Request<T>, kind: impl FnOnce(T) -> Kind) -> Result<ResultKind, Status> {
        let journey = self.journey(&request);
        self.0.one(kind(request.into_inner()), &journey).await
    }

    async fn own_branches(&self, journey: &Journey) -> Vec<wire::Branch> {
        let mut branches = Vec::new();
        for (id, hosted) in self.0.hosted() {
            let mut branch = wire::Branch { branch_id: id.get(), ..wire::Branch::default() };
            let said = match hosted {
                Ok(open) => self.0.ask(&open, Asked::Read(Read::Status), journey.deadline).await,
                Err(what) => {
                    branch.set_state(wire::BranchState::Damaged);
                    branch.detail = what;
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

/// A grpc-timeout header: up to 8 digits and a unit (gRPC over HTTP/2, "Timeout").
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
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

    async fn list_transactions(
        &self,
        request: Request<wire::ListTransactionsRequest>,
    ) -> Result<Response<wire::ListTransactionsResponse>, Status> {
        let journey = self.journey(&request);
        let question = request.into_inner();
        let account = inbound::account_number(&question.account_number, self.0.assignment());
        let account = account.map_err(|declined| outbound::status_of(&declined))?;
        let place = self.0.place(account.branch(), &journey).map_err(|declined| outbound::status_of(&declined))?;
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
        let journey = self.journey(&request);
        let question = request.into_inner();
        let branch = inbound::branch_id(question.branch_id, self.0.assignment());
        let branch: BranchId = branch.map_err(|declined| outbound::status_of(&declined))?;
        let place = self.0.place(branch, &journey).map_err(|declined| outbound::status_of(&declined))?;
        match place {
            Place::Here(open) => {
                let said = self.0.ask(&open, Asked::Read(Read::TrialBalance), journey.deadline).await;
                outbound::trial_balance(branch, said.answer).map(Response::new)
            }
            Place::Peer(_, peer) => {
                let mut request = Request::new(question);
                journey.write(request.metadata_mut());
                forwarded(journey.deadline, peer.clone().get_trial_balance(request)).await
            }
        }
    }

    type FollowJournalStream = Pin<Box<dyn Stream<Item = Result<wire::JournalRow, Status>> + Send>>;

    async fn follow_journal(
        &self,
        request: Request<wire::FollowJournalRequest>,
    ) -> Result<Response<Self::FollowJournalStream>, Status> {
        let journey = self.journey(&request);
        let question = request.into_inner();
        let branch = inbound::branch_id(question.branch_id, self.0.assignment());
        let branch: BranchId = branch.map_err(|declined| outbound::status_of(&declined))?;
        let place = self.0.place(branch, &journey).map_err(|declined| outbound::status_of(&declined))?;
        match place {
            Place::Here(open) => {
                let rows = follow::rows(self.0.clone(), open, branch, question)?;
                Ok(Response::new(Box::pin(rows)))
            }
            Place::Peer(_, peer) => {
                let mut request = Request::new(question);
                journey.write(request.metadata_mut());
                let rows = forwarded(journey.deadline, peer.clone().follow_journal(request)).await?;
                Ok(Response::new(Box::pin(rows.into_inner())))
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
            branches.sort_by_key(|branch| branch.branch_id);
        }
        Ok(Response::new(wire::ListBranchesResponse { branches }))
    }

    async fn batch(&self, request: Request<wire::BatchRequest>) -> Result<Response<wire::BatchResponse>, Status> {
        let journey = self.journey(&request);
        let operations = request.into_inner().operations;
        check_size(operations.len())?;
        let results = self.0.batch(operations, &journey).await;
        Ok(Response::new(wire::BatchResponse { results }))
    }

    type BatchStreamStream = Pin<Box<dyn Stream<Item = Result<wire::BatchStreamResponse, Status>> + Send>>;

    async fn batch_stream(
        &self,
        request: Request<tonic::Streaming<wire::BatchStreamRequest>>,
    ) -> Result<Response<Self::BatchStreamStream>, Status> {
        let journey = self.journey(&request);
        let (answers, results) = mpsc::unbounded_channel();
        let (messages, outgoing) = mpsc::channel(8);
        // Each waiting operation holds a permit, so that what a stream can queue here is bounded.
        let room = Arc::new(Semaphore::new(STREAM_OPERATIONS));
        tokio::spawn(pump_in(self.0.clone(), request.into_inner(), journey, answers, room.clone(), messages.clone()));
        tokio::spawn(pump_out(results, room, messages));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

/// Takes operations off a stream until its caller ends it.
async fn pump_in(
    bank: Arc<Bank>,
    mut incoming: tonic::Streaming<wire::BatchStreamRequest>,
    mut journey: Journey,
    answers: mpsc::UnboundedSender<Results>,
    room: Arc<Semaphore>,
    messages: mpsc::Sender<Result<wire::BatchStreamResponse, Status>>,
) {
    loop {
        let message = tokio::select! {
            message = incoming.next() => message,
            () = bank.drained() => return,
        };
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(_)) => {
                // What was read before it is answered; the caller learns that this was not.
                let declined = Declined::new(ErrorCode::InvalidRequest);
                let declined =
                    declined.with("field", "message").with("reason", "cannot be read, or is larger than 4 MiB");
                let _ = messages.send(Err(outbound::status_of(&declined))).await;
                return;
            }
            None => return,
        };
        let count = message.operations.len();
        if let Err(status) = check_size(count) {
            let _ = messages.send(Err(status)).await;
            return;
        }
        let permits = u32::try_from(count).unwrap_or(u32::MAX);
        // Not reading on is how a stream tells its caller to slow down.
        match room.acquire_many(permits).await {
            Ok(permits) => permits.forget(),
            Err(_) => return,
        }
        let now = bank.now();
        journey.deadline = now + DEFAULT_TIMEOUT;
        let operations = message.operations.into_iter().map(|operation| {
            let timeout = Duration::from_millis(u64::from(operation.timeout_ms));
            let timeout = if timeout.is_zero() { DEFAULT_TIMEOUT } else { timeout.min(DEFAULT_TIMEOUT) };
            Tagged {
                tag: operation.correlation_id,
                operation: operation.operation.unwrap_or_default(),
                deadline: now + timeout,
            }
        });
        bank.dispatch(operations.collect(), &journey, &answers);
    }
}

/// Sends answers as they come, as many in one message as are there.
async fn pump_out(
    mut results: mpsc::UnboundedReceiver<Results>,
    room: Arc<Semaphore>,
    messages: mpsc::Sender<Result<wire::BatchStreamResponse, Status>>,
) {
    let mut ready = Vec::new();
    while results.recv_many(&mut ready, STREAM_RESULTS).await > 0 {
        let mut message = wire::BatchStreamResponse::default();
        let mut bytes = 0;
        for (correlation_id, result) in ready.drain(..).flat_map(Results::into_messages) {
            let result = wire::StreamResult { correlation_id, result: Some(result) };
            bytes += result.encoded_len();
            message.results.push(result);
            // A customer with many accounts makes a large answer; many of them make many messages.
            if bytes >= STREAM_MESSAGE_BYTES {
                bytes = 0;
                if send(&messages, &room, std::mem::take(&mut message)).await.is_err() {
                    return;
                }
            }
        }
        if !message.results.is_empty() && send(&messages, &room, message).await.is_err() {
            return;
        }
    }
}

/// Sends one message of a stream and gives the room of its operations back.
async fn send(
    messages: &mpsc::Sender<Result<wire::BatchStreamResponse, Status>>,
    room: &Semaphore,
    message: wire::BatchStreamResponse,
) -> Result<(), mpsc::error::SendError<Result<wire::BatchStreamResponse, Status>>> {
    room.add_permits(message.results.len());
    messages.send(Ok(message)).await
}

fn check_size(operations: usize) -> Result<(), Status> {
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
        // What a branch server refused, it refused in the bank's own codes.
        Ok(Err(status)) if ErrorCode::from_status(&status).is_some() => Err(status),
        Ok(Err(_)) | Err(_) => Err(outbound::status_of(&Declined::new(ErrorCode::BranchUnavailable))),
    }
}
