//! A branch server that does what a test tells it, to play what a real one does only in bad weather.

use bank_proto::wire::bank_service_server::{BankService, BankServiceServer};
use bank_proto::wire::operation::Kind;
use bank_proto::wire::operation_result::Kind as Told;
use bank_proto::wire::*;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// What to do with an operation that has arrived.
pub(crate) enum Act {
    /// Answers it.
    Tell(Told),
    /// Answers it once the gate opens.
    Later(watch::Receiver<bool>, Told),
    /// Never answers it.
    Ignore,
    /// Ends the conversation with everybody.
    Hang,
}

type Script = Box<dyn Fn(&Operation) -> Act + Send + Sync>;

/// A scripted branch server and what it was asked, in order.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    script: Script,
    asked: watch::Sender<Vec<StreamOperation>>,
    messages: AtomicUsize,
    unary: Mutex<Option<Status>>,
    branches: Mutex<Option<ListBranchesResponse>>,
}

impl Scripted {
    pub(crate) async fn start(script: impl Fn(&Operation) -> Act + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Scripted::start_on(listener, script)
    }

    pub(crate) fn start_on(
        listener: TcpListener,
        script: impl Fn(&Operation) -> Act + Send + Sync + 'static,
    ) -> Scripted {
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            asked: watch::Sender::new(Vec::new()),
            messages: AtomicUsize::new(0),
            unary: Mutex::new(None),
            branches: Mutex::new(None),
        });
        let service = BankServiceServer::new(Service(Arc::clone(&shared)));
        let server = tonic::transport::Server::builder().add_service(service);
        let task = tokio::spawn(async move {
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("serving");
        });
        Scripted { address, shared, task }
    }

    /// Waits until so many operations have arrived and gives them.
    pub(crate) async fn asked(&self, count: usize) -> Vec<StreamOperation> {
        let mut asked = self.shared.asked.subscribe();
        asked.wait_for(|asked| asked.len() >= count).await.expect("the server lives").clone()
    }

    /// How many messages brought them.
    pub(crate) fn messages(&self) -> usize {
        self.shared.messages.load(Ordering::Relaxed)
    }

    /// Answers every call beside the conversation with this status from now on.
    pub(crate) fn refuse_calls(&self, status: Status) {
        *self.shared.unary.lock().expect("no panic") = Some(status);
    }

    /// Says this of its branches from now on.
    pub(crate) fn tell_branches(&self, branches: ListBranchesResponse) {
        *self.shared.branches.lock().expect("no panic") = Some(branches);
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A receipt for a deposit, as a branch would write it.
pub(crate) fn receipt(operation: &Operation) -> Act {
    let (id, amount) = match &operation.kind {
        Some(Kind::Deposit(deposit)) => (deposit.transaction_id.clone(), deposit.amount.clone()),
        Some(Kind::Withdraw(withdraw)) => (withdraw.transaction_id.clone(), withdraw.amount.clone()),
        _ => (None, String::new()),
    };
    Act::Tell(Told::Receipt(Receipt {
        transaction_id: id.unwrap_or_default(),
        customer_id: 1,
        branch_id: 1,
        account_number: "0001000000000145".to_owned(),
        r#type: "deposit".to_owned(),
        amount,
        currency: "USD".to_owned(),
        balance: "1.00".to_owned(),
        booked_at: None,
        replayed: false,
    }))
}

/// The same once the gate opens.
pub(crate) fn later(gate: watch::Receiver<bool>, act: Act) -> Act {
    match act {
        Act::Tell(kind) => Act::Later(gate, kind),
        other => other,
    }
}

type Answers = mpsc::Sender<Result<BatchStreamResponse, Status>>;

async fn tell(answers: &Answers, correlation_id: u64, kind: Told) {
    let result = OperationResult { kind: Some(kind) };
    let results = vec![StreamResult { correlation_id, result: Some(result) }];
    // The client may have gone.
    let _ = answers.send(Ok(BatchStreamResponse { results })).await;
}

struct Service(Arc<Shared>);

impl Service {
    fn call<T>(&self) -> Result<Response<T>, Status> {
        let status = self.0.unary.lock().expect("no panic").clone();
        Err(status.unwrap_or_else(|| Status::unimplemented("not scripted")))
    }
}

#[tonic::async_trait]
impl BankService for Service {
    type BatchStreamStream = Pin<Box<dyn Stream<Item = Result<BatchStreamResponse, Status>> + Send>>;

    async fn batch_stream(
        &self,
        request: Request<Streaming<BatchStreamRequest>>,
    ) -> Result<Response<Self::BatchStreamStream>, Status> {
        let mut incoming = request.into_inner();
        let shared = Arc::clone(&self.0);
        let (answers, outgoing) = mpsc::channel(1024);
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                shared.messages.fetch_add(1, Ordering::Relaxed);
                for operation in message.operations {
                    let wanted = operation.operation.clone().unwrap_or_default();
                    let correlation_id = operation.correlation_id;
                    shared.asked.send_modify(|asked| asked.push(operation));
                    let answers = answers.clone();
                    match (shared.script)(&wanted) {
                        Act::Ignore => {}
                        Act::Hang => return,
                        Act::Tell(kind) => tell(&answers, correlation_id, kind).await,
                        Act::Later(mut gate, kind) => {
                            tokio::spawn(async move {
                                gate.wait_for(|open| *open).await.expect("the test goes on");
                                tell(&answers, correlation_id, kind).await;
                            });
                        }
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn initialize_branch(
        &self,
        _: Request<InitializeBranchRequest>,
    ) -> Result<Response<InitializeBranchResponse>, Status> {
        self.call()
    }
    async fn create_customer(&self, _: Request<CreateCustomerRequest>) -> Result<Response<Customer>, Status> {
        self.call()
    }
    async fn get_customer(&self, _: Request<GetCustomerRequest>) -> Result<Response<Customer>, Status> {
        self.call()
    }
    async fn open_account(&self, _: Request<OpenAccountRequest>) -> Result<Response<Account>, Status> {
        self.call()
    }
    async fn get_account(&self, _: Request<GetAccountRequest>) -> Result<Response<Account>, Status> {
        self.call()
    }
    async fn freeze_account(&self, _: Request<ChangeAccountRequest>) -> Result<Response<Account>, Status> {
        self.call()
    }
    async fn unfreeze_account(&self, _: Request<ChangeAccountRequest>) -> Result<Response<Account>, Status> {
        self.call()
    }
    async fn close_account(&self, _: Request<ChangeAccountRequest>) -> Result<Response<Account>, Status> {
        self.call()
    }
    async fn deposit(&self, _: Request<DepositRequest>) -> Result<Response<Receipt>, Status> {
        self.call()
    }
    async fn withdraw(&self, _: Request<WithdrawRequest>) -> Result<Response<Receipt>, Status> {
        self.call()
    }
    async fn query(&self, _: Request<QueryRequest>) -> Result<Response<Balance>, Status> {
        self.call()
    }
    async fn transfer(&self, _: Request<TransferRequest>) -> Result<Response<Transfer>, Status> {
        self.call()
    }
    async fn reverse(&self, _: Request<ReverseRequest>) -> Result<Response<Reversal>, Status> {
        self.call()
    }
    async fn get_transfer(&self, _: Request<GetTransferRequest>) -> Result<Response<Transfer>, Status> {
        self.call()
    }
    async fn list_transactions(
        &self,
        _: Request<ListTransactionsRequest>,
    ) -> Result<Response<ListTransactionsResponse>, Status> {
        self.call()
    }
    async fn get_trial_balance(&self, _: Request<GetTrialBalanceRequest>) -> Result<Response<TrialBalance>, Status> {
        self.call()
    }

    async fn hold(&self, _: Request<HoldRequest>) -> Result<Response<Hold>, Status> {
        self.call()
    }

    async fn get_hold(&self, _: Request<GetHoldRequest>) -> Result<Response<Hold>, Status> {
        self.call()
    }

    async fn capture(&self, _: Request<CaptureRequest>) -> Result<Response<Transfer>, Status> {
        self.call()
    }

    async fn release(&self, _: Request<ReleaseRequest>) -> Result<Response<Hold>, Status> {
        self.call()
    }

    async fn get_bank_trial_balance(
        &self,
        _: Request<GetBankTrialBalanceRequest>,
    ) -> Result<Response<BankTrialBalance>, Status> {
        self.call()
    }

    async fn list_positions(
        &self,
        _: Request<ListPositionsRequest>,
    ) -> Result<Response<ListPositionsResponse>, Status> {
        self.call()
    }

    async fn describe_journal(
        &self,
        _: Request<DescribeJournalRequest>,
    ) -> Result<Response<JournalDescription>, Status> {
        self.call()
    }

    type CopyJournalStream = Pin<Box<dyn Stream<Item = Result<StoredRows, Status>> + Send>>;

    async fn copy_journal(&self, _: Request<CopyJournalRequest>) -> Result<Response<Self::CopyJournalStream>, Status> {
        self.call()
    }

    type FollowJournalStream = Pin<Box<dyn Stream<Item = Result<JournalRow, Status>> + Send>>;

    async fn follow_journal(
        &self,
        _: Request<FollowJournalRequest>,
    ) -> Result<Response<Self::FollowJournalStream>, Status> {
        self.call()
    }
    async fn list_branches(&self, _: Request<ListBranchesRequest>) -> Result<Response<ListBranchesResponse>, Status> {
        match self.0.branches.lock().expect("no panic").clone() {
            Some(branches) => Ok(Response::new(branches)),
            None => self.call(),
        }
    }
    type FollowServedBranchesStream = Pin<Box<dyn Stream<Item = Result<ServedBranches, Status>> + Send>>;

    async fn follow_served_branches(
        &self,
        _: Request<FollowServedBranchesRequest>,
    ) -> Result<Response<Self::FollowServedBranchesStream>, Status> {
        // As a server of a version before this call.
        Err(Status::unimplemented(""))
    }
    async fn batch(&self, _: Request<BatchRequest>) -> Result<Response<BatchResponse>, Status> {
        self.call()
    }
}
