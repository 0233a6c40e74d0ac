//! Deposits over gRPC, each sent to the branch server that hosts the customer's branch.

use super::budget::Budget;
use super::grpc_wire::{self, BatchCodec};
use super::orders::{Order, Orders, Spread};
use super::tally::Tally;
use bank_proto::wire::bank_service_client::BankServiceClient;
use bank_proto::wire::{BatchRequest, DepositRequest, Operation, operation};
use bank_proto::{Assignment, BranchId, CustomerId, limits};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};

/// Connections to every branch server.
#[derive(Clone)]
pub(super) struct Servers {
    channels: Arc<[Channel]>,
    assignment: Assignment,
}

impl Servers {
    pub(super) async fn connect(urls: &[String], branches: u32) -> Result<Servers, tonic::transport::Error> {
        let mut channels = Vec::new();
        for url in urls {
            channels.push(Endpoint::from_shared(url.clone())?.tcp_nodelay(true).connect().await?);
        }
        let assignment = Assignment::new(branches, u32::try_from(channels.len()).unwrap_or(u32::MAX));
        Ok(Servers { channels: channels.into(), assignment })
    }

    fn of_customer(&self, customer: u64) -> Channel {
        let customer = i64::try_from(customer).ok().and_then(|number| CustomerId::new(number).ok());
        self.of_branch(customer.map(|customer| customer.home_branch(self.assignment.branches())))
    }

    fn of_branch(&self, branch: Option<BranchId>) -> Channel {
        let server = branch.and_then(|branch| self.assignment.server_of(branch)).unwrap_or_default();
        self.channels[server as usize].clone()
    }
}

/// A closed loop of single deposits.
pub(super) async fn single(servers: &Servers, connections: u32, budget: &Budget, draw: impl Fn() -> Orders) -> Tally {
    let mut running = JoinSet::new();
    for _ in 0..connections {
        let (servers, budget, mut deposits) = (servers.clone(), budget.clone(), draw());
        running.spawn(async move {
            let mut tally = Tally::new();
            while budget.draw(1) > 0 {
                let Order { customer, key, .. } = deposits.next();
                let request = DepositRequest {
                    customer_id: customer.cast_signed(),
                    amount: "1".to_owned(),
                    transaction_id: key.map(|key| String::from_utf8_lossy(&key).into_owned()),
                    ..DepositRequest::default()
                };
                let began = Instant::now();
                match BankServiceClient::new(servers.of_customer(customer)).deposit(request).await {
                    Ok(_) => tally.done(began, 1),
                    Err(status) => tally.failed(1, || status.to_string()),
                }
            }
            tally
        });
    }
    gather(running).await
}

/// Opens an account for each of these customers, with money to pay others from.
pub(super) async fn fund(servers: &Servers, customers: u64, amount: &str) -> Result<(), tonic::Status> {
    let customers: Vec<u64> = (1..=customers).collect();
    for some in customers.chunks(limits::BATCH_OPERATIONS) {
        let deposit = |customer: &u64| DepositRequest {
            customer_id: customer.cast_signed(),
            amount: amount.to_owned(),
            ..DepositRequest::default()
        };
        let operation = |customer| Operation { kind: Some(operation::Kind::Deposit(deposit(customer))) };
        let request = BatchRequest { operations: some.iter().map(operation).collect(), traces: vec![] };
        BankServiceClient::new(servers.of_branch(None)).batch(request).await?;
    }
    Ok(())
}

/// Who is in a batch.
#[derive(Debug, Clone, Copy)]
pub(super) enum Members {
    /// Each batch goes to one branch, the branches taking turns, to customers drawn from so many.
    Drawn { customers: u64 },
    /// Everything goes to one branch, to customers drawn from so many.
    OneBranch { branch: u32, customers: u64 },
    /// Every customer of one branch in turn, once each.
    Each { branch: u32 },
}

/// A closed loop of batches, so many of them waiting for their answers at the same time.
pub(super) async fn batches(
    servers: &Servers,
    in_flight: u32,
    size: u32,
    members: Members,
    budget: &Budget,
    draw: impl Fn(Spread) -> Orders,
) -> Tally {
    let mut running = JoinSet::new();
    let turn = Arc::new(AtomicU64::new(0));
    let all = servers.assignment.branches();
    for _ in 0..in_flight {
        let (servers, budget, turn) = (servers.clone(), budget.clone(), Arc::clone(&turn));
        let spread = match members {
            Members::Drawn { customers } => Spread::Uniform((customers / u64::from(all)).max(1)),
            Members::OneBranch { customers, .. } => Spread::Uniform(customers),
            Members::Each { .. } => Spread::Hot,
        };
        let mut deposits = draw(spread);
        running.spawn(async move {
            let mut tally = Tally::new();
            loop {
                let operations = budget.draw(u64::from(size));
                if operations == 0 {
                    return tally;
                }
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                let branch = match members {
                    // Below the number of branches, which is a u32.
                    Members::Drawn { .. } => u32::try_from(turn % u64::from(all)).unwrap_or(0) + 1,
                    Members::OneBranch { branch, .. } | Members::Each { branch } => branch,
                };
                let first = turn * u64::from(size);
                let places = (0..operations)
                    .map(|place| match members {
                        Members::Each { .. } => first + place,
                        Members::Drawn { .. } | Members::OneBranch { .. } => deposits.customer() - 1,
                    })
                    .collect::<Vec<_>>();
                let customers = places.into_iter().map(|place| Spread::customer_of(branch, place, all));
                let request = grpc_wire::batch(customers, &mut deposits);
                let channel = servers.of_branch(BranchId::new(i64::from(branch)).ok());
                send(channel, request, operations, &mut tally).await;
            }
        });
    }
    gather(running).await
}

async fn send(channel: Channel, request: Bytes, operations: u64, tally: &mut Tally) {
    let began = Instant::now();
    let mut client = tonic::client::Grpc::new(channel);
    let answer = match client.ready().await {
        Ok(()) => {
            let path = PathAndQuery::from_static("/bank.v1.BankService/Batch");
            client.unary(tonic::Request::new(request), path, BatchCodec).await
        }
        Err(error) => Err(tonic::Status::unavailable(error.to_string())),
    };
    match answer {
        Ok(answer) => {
            let outcome = answer.into_inner();
            tally.done(began, outcome.done);
            let failed = operations.saturating_sub(outcome.done);
            if failed > 0 {
                tally.failed(failed, || format!("{} of {operations} operations in a batch failed", outcome.failed));
            }
        }
        Err(status) => tally.failed(operations, || status.to_string()),
    }
}

async fn gather(mut running: JoinSet<Tally>) -> Tally {
    let mut all = Tally::new();
    while let Some(tally) = running.join_next().await {
        match tally {
            Ok(tally) => all.add(&tally),
            Err(error) => all.failed(1, || error.to_string()),
        }
    }
    all
}
