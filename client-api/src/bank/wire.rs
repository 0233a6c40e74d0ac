//! Between the bank's words and the messages of `bank.proto`: the only file here that names them.

use super::operation::{self, AccountChange, Movement, Operation, Order, Product, Target, Transfer};
use super::queue;
use crate::answer::{self, Replied, Reply, Success, TransferResult, TransferState};
use crate::problem::Problem;
use bank_proto::wire as proto;
use bank_proto::{BranchId, ErrorCode, Timestamp, TransactionId};
use proto::operation::Kind as Asked;
use proto::operation_result::Kind as Told;
use std::collections::BTreeMap;
use std::time::Duration;

mod books;
mod holds;

pub(super) type Client = proto::bank_service_client::BankServiceClient<tonic::transport::Channel>;
pub(super) type Message = proto::BatchStreamRequest;
pub(super) type Answers = proto::BatchStreamResponse;
pub(super) type Answered = Option<proto::OperationResult>;
pub(super) use books::{audit, bank_trial_balance, positions, trial_balance};
pub(super) use proto::FollowServedBranchesRequest;
pub(super) use proto::{GetBankTrialBalanceRequest, GetTrialBalanceRequest, ListPositionsRequest};
pub(super) use proto::{ListBranchesRequest, ListTransactionsRequest};

/// Whether a branch was on its way from one server to another, so that the order is to be sent again.
pub(super) fn is_moving(result: Option<&proto::OperationResult>) -> bool {
    failure(result).is_some_and(|failure| failure.metadata.contains_key(bank_proto::metadata::MOVING))
}

/// Whether it is not known what became of an order.
pub(super) fn is_unknown(result: Option<&proto::OperationResult>) -> bool {
    failure(result).is_some_and(|failure| failure.code == ErrorCode::OutcomeUnknown.as_str())
}

/// The answer to an order that may have been done when it was sent before: a server that did nothing now does not know
/// of that, but whatever comes from the books is true of it, for they know its id.
pub(super) fn doubtful(result: Answered) -> Answered {
    use ErrorCode::{BranchUnavailable, DeadlineExceeded, Overloaded, WrongBranch};
    let code = failure(result.as_ref()).and_then(|failure| ErrorCode::from_text(&failure.code));
    match code {
        Some(BranchUnavailable | DeadlineExceeded | Overloaded | WrongBranch) => {
            let failure = proto::Failure {
                code: ErrorCode::OutcomeUnknown.as_str().to_owned(),
                message: UNKNOWN.to_owned(),
                ..proto::Failure::default()
            };
            Some(proto::OperationResult { kind: Some(proto::operation_result::Kind::Failure(failure)) })
        }
        _ => result,
    }
}

/// Why an order, or the first of some that are linked, was not done.
fn failure(result: Option<&proto::OperationResult>) -> Option<&proto::Failure> {
    match result?.kind.as_ref()? {
        proto::operation_result::Kind::Failure(failure) => Some(failure),
        proto::operation_result::Kind::Linked(linked) => failure(linked.results.first()),
        _ => None,
    }
}

/// What a caller is told of a write that nobody knows the outcome of.
pub(super) const UNKNOWN: &str = "the branch did not answer in time; it may or may not have done this; \
    repeat the request with the same Idempotency-Key to learn it";

/// The door by which all of these came in.
const CHANNEL: &str = "http";

/// An order as it travels.
pub(super) fn stream_operation(correlation_id: u64, order: &Order, remaining: Duration) -> proto::StreamOperation {
    // Zero would mean no limit.
    let timeout_ms = u32::try_from(remaining.as_millis()).unwrap_or(u32::MAX).max(1);
    let asked = match &order.asked {
        operation::Asked::One(one, id) => operation(one, *id, &order.request_id),
        operation::Asked::Linked(linked) => {
            let operations = linked.iter().map(|(one, id)| operation(one, Some(*id), &order.request_id)).collect();
            proto::Operation { kind: Some(Asked::Linked(proto::LinkedOperations { operations })) }
        }
    };
    proto::StreamOperation { correlation_id, operation: Some(asked), timeout_ms }
}

fn operation(operation: &Operation, id: Option<TransactionId>, request_id: &str) -> proto::Operation {
    let caller = || Some(proto::Caller { channel: CHANNEL.to_owned(), request_id: request_id.to_owned() });
    let transaction_id = || id.map(|id| id.to_string());
    let kind = match operation {
        Operation::InitializeBranch { branch, initial_balance } => {
            Asked::InitializeBranch(proto::InitializeBranchRequest {
                branch_id: i64::from(branch.get()),
                initial_balance: initial_balance.map(|money| money.to_string()),
                transaction_id: transaction_id(),
                caller: caller(),
            })
        }
        Operation::CreateCustomer { customer, name } => Asked::CreateCustomer(proto::CreateCustomerRequest {
            customer_id: number(customer.get()),
            name: name.clone(),
            transaction_id: transaction_id(),
            caller: caller(),
        }),
        Operation::GetCustomer { customer } => {
            Asked::GetCustomer(proto::GetCustomerRequest { customer_id: number(customer.get()) })
        }
        Operation::OpenAccount { customer, product, currency, joint_holders, overdraft_limit } => {
            Asked::OpenAccount(proto::OpenAccountRequest {
                customer_id: number(customer.get()),
                product: product_to_wire(*product).into(),
                currency: currency.code().to_owned(),
                joint_holders: joint_holders.iter().map(|holder| number(holder.get())).collect(),
                overdraft_limit: overdraft_limit.map(|money| money.to_string()).unwrap_or_default(),
                transaction_id: transaction_id(),
                caller: caller(),
            })
        }
        Operation::GetAccount { account } => {
            Asked::GetAccount(proto::GetAccountRequest { account_number: account.to_string() })
        }
        Operation::ChangeAccount { account, change } => {
            let request = proto::ChangeAccountRequest {
                account_number: account.to_string(),
                transaction_id: transaction_id(),
                caller: caller(),
            };
            match change {
                AccountChange::Freeze => Asked::FreezeAccount(request),
                AccountChange::Unfreeze => Asked::UnfreezeAccount(request),
                AccountChange::Close => Asked::CloseAccount(request),
            }
        }
        Operation::Deposit(movement) => Asked::Deposit(deposit(movement, transaction_id(), caller())),
        Operation::Withdraw(movement) => {
            let like = deposit(movement, transaction_id(), caller());
            Asked::Withdraw(proto::WithdrawRequest {
                customer_id: like.customer_id,
                amount: like.amount,
                currency: like.currency,
                transaction_id: like.transaction_id,
                account_number: like.account_number,
                memo: like.memo,
                metadata: like.metadata,
                caller: like.caller,
            })
        }
        Operation::Transfer(order) => Asked::Transfer(transfer(order, transaction_id(), caller())),
        Operation::Reverse { original, memo } => Asked::Reverse(proto::ReverseRequest {
            original_transaction_id: original.to_string(),
            transaction_id: transaction_id(),
            memo: memo.clone(),
            caller: caller(),
        }),
        Operation::Hold { movement, expires_in_seconds } => {
            Asked::Hold(holds::place(movement, *expires_in_seconds, transaction_id(), caller()))
        }
        Operation::Capture(capture) => Asked::Capture(holds::capture(capture, transaction_id(), caller())),
        Operation::Release { hold, memo } => Asked::Release(proto::ReleaseRequest {
            hold_transaction_id: hold.to_string(),
            transaction_id: transaction_id(),
            memo: memo.clone(),
            caller: caller(),
        }),
        Operation::GetHold { hold } => Asked::GetHold(proto::GetHoldRequest { hold_transaction_id: hold.to_string() }),
        Operation::GetTransfer { transfer } => {
            Asked::GetTransfer(proto::GetTransferRequest { transaction_id: transfer.to_string() })
        }
        Operation::Query { target, currency } => {
            let (customer_id, account_number) = target_to_wire(*target);
            let currency = currency.map(|currency| currency.code().to_owned()).unwrap_or_default();
            Asked::Query(proto::QueryRequest { customer_id, currency, account_number })
        }
    };
    proto::Operation { kind: Some(kind) }
}

fn deposit(
    movement: &Movement,
    transaction_id: Option<String>,
    caller: Option<proto::Caller>,
) -> proto::DepositRequest {
    let (customer_id, account_number) = target_to_wire(movement.target);
    proto::DepositRequest {
        customer_id,
        amount: movement.amount.clone(),
        currency: movement.currency.map(|currency| currency.code().to_owned()).unwrap_or_default(),
        transaction_id,
        account_number,
        memo: movement.memo.clone(),
        metadata: movement.metadata.clone(),
        caller,
    }
}

fn transfer(order: &Transfer, transaction_id: Option<String>, caller: Option<proto::Caller>) -> proto::TransferRequest {
    let like = deposit(&order.movement, transaction_id, caller);
    let (to_customer_id, to_account_number) = target_to_wire(order.payee);
    proto::TransferRequest {
        customer_id: like.customer_id,
        account_number: like.account_number,
        to_customer_id,
        to_account_number,
        amount: like.amount,
        currency: like.currency,
        transaction_id: like.transaction_id,
        memo: like.memo,
        metadata: like.metadata,
        wait_ms: order.wait_ms,
        caller: like.caller,
    }
}

fn target_to_wire(target: Target) -> (i64, String) {
    match target {
        Target::Customer(customer) => (number(customer.get()), String::new()),
        Target::Account(account) => (0, account.to_string()),
    }
}

/// A customer's number; always below 2^53.
fn number(customer: u64) -> i64 {
    i64::try_from(customer).unwrap_or(i64::MAX)
}

fn product_to_wire(product: Product) -> proto::Product {
    match product {
        Product::Checking => proto::Product::Checking,
        Product::Savings => proto::Product::Savings,
        Product::FixedDeposit => proto::Product::FixedDeposit,
        Product::Investment => proto::Product::Investment,
    }
}

/// What a branch answered.
///
/// # Errors
/// Its refusal; INTERNAL when the answer is none.
pub(super) fn reply(answered: Answered) -> Result<Replied, Problem> {
    let success = |reply, replayed| Ok(Replied { reply, replayed });
    match answered.and_then(|result| result.kind) {
        Some(Told::Receipt(receipt)) => {
            let replayed = receipt.replayed;
            success(Reply::Receipt(receipt_from_wire(receipt)), replayed)
        }
        Some(Told::Balance(balance)) => success(Reply::Balance(balance_from_wire(balance)), false),
        Some(Told::Account(account)) => {
            let replayed = account.replayed;
            success(Reply::Account(account_from_wire(account)), replayed)
        }
        Some(Told::Customer(customer)) => {
            let replayed = customer.replayed;
            success(Reply::Customer(customer_from_wire(customer)), replayed)
        }
        Some(Told::Branch(branch)) => {
            let replayed = branch.replayed;
            success(Reply::Branch(branch_from_wire(branch)), replayed)
        }
        Some(Told::Transfer(transfer)) => {
            let replayed = transfer.replayed;
            success(Reply::Transfer(transfer_from_wire(transfer)), replayed)
        }
        Some(Told::Hold(hold)) => {
            let replayed = hold.replayed;
            success(Reply::Hold(holds::hold(hold)), replayed)
        }
        Some(Told::Reversal(reversal)) => {
            let replayed = reversal.replayed;
            success(Reply::Reversal(reversal_from_wire(reversal)), replayed)
        }
        Some(Told::Failure(failure)) => Err(refusal(failure)),
        Some(Told::Linked(_)) | None => {
            tracing::error!("a branch server answered with a result that says nothing of what was asked");
            Err(Problem::internal())
        }
    }
}

/// What a branch answered to so many linked operations, in their order.
pub(super) fn replies(answered: Answered, count: usize) -> Vec<Result<Replied, Problem>> {
    match answered.and_then(|result| result.kind) {
        Some(Told::Linked(linked)) if linked.results.len() == count => {
            linked.results.into_iter().map(|result| reply(Some(result))).collect()
        }
        // Refused as a whole: nothing was done.
        Some(Told::Failure(failure)) => refused(&refusal(failure), count),
        _ => {
            tracing::error!("a branch server answered with another number of results than it was asked");
            refused(&Problem::internal(), count)
        }
    }
}

/// One refusal for so many operations.
pub(super) fn refused(problem: &Problem, count: usize) -> Vec<Result<Replied, Problem>> {
    std::iter::repeat_with(|| Err(problem.clone())).take(count).collect()
}

fn receipt_from_wire(wire: proto::Receipt) -> answer::Receipt {
    answer::Receipt {
        result: Success::Success,
        transaction_id: wire.transaction_id,
        customer_id: wire.customer_id,
        branch_id: wire.branch_id,
        account_number: wire.account_number,
        kind: wire.r#type,
        amount: wire.amount,
        currency: wire.currency,
        balance: wire.balance,
        booked_at: moment(wire.booked_at),
    }
}

fn transfer_state(state: proto::TransferState) -> (TransferResult, TransferState) {
    match state {
        proto::TransferState::Completed => (TransferResult::Success, TransferState::Completed),
        proto::TransferState::Failed => (TransferResult::Failure, TransferState::Failed),
        proto::TransferState::Processing => (TransferResult::Pending, TransferState::Processing),
        proto::TransferState::Pending | proto::TransferState::Unspecified => {
            (TransferResult::Pending, TransferState::Pending)
        }
    }
}

fn reversal_from_wire(wire: proto::Reversal) -> answer::Reversal {
    let (result, state) = transfer_state(wire.state());
    answer::Reversal {
        result,
        state,
        transaction_id: wire.transaction_id,
        kind: "reversal",
        original_transaction_id: wire.original_transaction_id,
        original_type: wire.original_type,
        customer_id: wire.customer_id,
        branch_id: wire.branch_id,
        account_number: wire.account_number,
        amount: wire.amount,
        currency: wire.currency,
        balance: wire.balance,
        booked_at: moment(wire.booked_at),
    }
}

fn transfer_from_wire(wire: proto::Transfer) -> answer::Transfer {
    let (result, state) = transfer_state(wire.state());
    answer::Transfer {
        result,
        transaction_id: wire.transaction_id,
        state,
        reason: present(wire.reason),
        detail: present(wire.reason_detail),
        customer_id: (wire.customer_id > 0).then_some(wire.customer_id),
        branch_id: wire.branch_id,
        account_number: present(wire.account_number),
        to_customer_id: (wire.to_customer_id > 0).then_some(wire.to_customer_id),
        to_branch_id: wire.to_branch_id,
        to_account_number: present(wire.to_account_number),
        amount: present(wire.amount),
        currency: present(wire.currency),
        balance: present(wire.balance),
        hold_transaction_id: present(wire.hold_transaction_id),
        booked_at: moment(wire.booked_at),
        ended_at: moment(wire.ended_at),
    }
}

fn balance_from_wire(wire: proto::Balance) -> answer::Balance {
    answer::Balance {
        result: Success::Success,
        state: state(wire.state()),
        customer_id: wire.customer_id,
        branch_id: wire.branch_id,
        account_number: wire.account_number,
        balance: wire.balance,
        available: wire.available,
        currency: wire.currency,
    }
}

fn account_from_wire(wire: proto::Account) -> answer::Account {
    answer::Account {
        result: Success::Success,
        product: product(wire.product()),
        state: state(wire.state()),
        account_number: wire.account_number,
        branch_id: wire.branch_id,
        customer_id: wire.customer_id,
        joint_holders: wire.joint_holders,
        currency: wire.currency,
        balance: wire.balance,
        available: wire.available,
        overdraft_limit: wire.overdraft_limit,
        opened_at: moment(wire.opened_at),
        transaction_id: present(wire.transaction_id),
    }
}

fn customer_from_wire(wire: proto::Customer) -> answer::Customer {
    answer::Customer {
        result: Success::Success,
        customer_id: wire.customer_id,
        branch_id: wire.branch_id,
        name: wire.name,
        accounts: wire.accounts.into_iter().map(account_from_wire).collect(),
        transaction_id: present(wire.transaction_id),
    }
}

fn branch_from_wire(wire: proto::InitializeBranchResponse) -> answer::InitializedBranch {
    let account = wire.account;
    answer::InitializedBranch {
        result: if wire.created { "Branch initialized successfully" } else { "Branch already exists" },
        branch_id: wire.branch_id,
        created: wire.created,
        customer_id: account.as_ref().map(|account| account.customer_id),
        account_number: account.as_ref().map(|account| account.account_number.clone()),
        balance: account.as_ref().map(|account| account.balance.clone()),
        currency: account.map(|account| account.currency),
        transaction_id: present(wire.transaction_id),
    }
}

/// One page of history.
pub(super) fn history(account_number: String, wire: proto::ListTransactionsResponse) -> answer::History {
    let entry = |wire: proto::StatementEntry| answer::HistoryEntry {
        transaction_id: wire.transaction_id,
        kind: wire.r#type,
        amount: wire.amount,
        currency: wire.currency,
        balance: wire.balance,
        booked_at: moment(wire.booked_at),
        memo: wire.memo,
        metadata: wire.metadata,
        channel: wire.channel,
        sequence: wire.sequence,
        counterparty_customer_id: (wire.counterparty_customer_id > 0).then_some(wire.counterparty_customer_id),
        counterparty_account_number: present(wire.counterparty_account_number),
        original_transaction_id: present(wire.original_transaction_id),
    };
    answer::History {
        account_number,
        transactions: wire.entries.into_iter().map(entry).collect(),
        next_cursor: present(wire.next_page_token),
    }
}

/// A branch as its server sees it.
pub(super) fn branch(wire: proto::Branch, server: u32) -> answer::Branch {
    let state = match wire.state() {
        proto::BranchState::Uninitialized => "uninitialized",
        proto::BranchState::Open => "open",
        proto::BranchState::Damaged => "damaged",
        proto::BranchState::Unreachable => "unreachable",
        proto::BranchState::Unavailable => "unavailable",
        proto::BranchState::Unspecified => "unknown",
    };
    answer::Branch {
        branch_id: wire.branch_id,
        state,
        detail: wire.detail,
        server,
        accounts: Some(wire.accounts),
        sequence: Some(wire.sequence),
        epoch: Some(wire.epoch),
    }
}

/// A server that answered.
pub(super) fn server(server: u32, disk: Option<proto::Disk>) -> answer::Server {
    answer::Server {
        server,
        reached: true,
        disk_free_bytes: disk.map(|disk| disk.free_bytes),
        takes_orders: disk.map(|disk| disk.free_bytes >= disk.reserve_bytes),
    }
}

/// A server that did not.
pub(super) fn silent_server(server: u32) -> answer::Server {
    answer::Server { server, reached: false, disk_free_bytes: None, takes_orders: None }
}

/// A branch whose server does not answer.
pub(super) fn unreachable_branch(branch: BranchId, server: u32) -> answer::Branch {
    answer::Branch {
        branch_id: branch.get(),
        state: "unreachable",
        detail: "its server does not answer".to_owned(),
        server,
        accounts: None,
        sequence: None,
        epoch: None,
    }
}

fn refusal(failure: proto::Failure) -> Problem {
    match ErrorCode::from_text(&failure.code) {
        Some(code) => told(code, failure.message, failure.metadata.into_iter().collect())
            .with_transaction_id(present(failure.transaction_id))
            .with_replayed(failure.replayed),
        None => {
            tracing::error!(code = failure.code, "a branch refused with a code that is not known here");
            Problem::internal()
        }
    }
}

/// The problem for a status that answered a call which only reads. Text of a status that Florin did not
/// make stays here.
pub(super) fn problem_of(status: &tonic::Status) -> Problem {
    use tonic_types::StatusExt as _;
    if let Some(info) = status.get_details_error_info()
        && let Some(code) = ErrorCode::from_text(&info.reason)
    {
        return told(code, status.message().to_owned(), info.metadata.into_iter().collect());
    }
    match status.code() {
        tonic::Code::Unavailable | tonic::Code::DeadlineExceeded | tonic::Code::Cancelled | tonic::Code::Unknown => {
            tracing::warn!(code = %status.code(), message = status.message(), "a branch server could not be asked");
            queue::unavailable()
        }
        _ => {
            tracing::error!(code = %status.code(), message = status.message(), "a branch server answered a foreign status");
            Problem::internal()
        }
    }
}

/// A refusal in the bank's own words.
fn told(code: ErrorCode, message: String, mut facts: BTreeMap<String, String>) -> Problem {
    if code == ErrorCode::Internal {
        return Problem::internal();
    }
    let field = facts.remove("field").zip(facts.remove("reason"));
    // Members that a problem has anyway.
    for name in ["type", "title", "status", "detail", "code", "success", "result", "request_id", "transaction_id"] {
        facts.remove(name);
    }
    if facts.get("state").is_some_and(|state| state == "FAILED") {
        // What a transfer that failed is called, whoever asks for it.
        facts.insert("reason".to_owned(), code.as_str().to_owned());
    }
    let problem = match field {
        // Told anew, because the branch's sentence has the field by its gRPC name.
        Some((field, reason)) => Problem::field(code, http_name(&field), reason),
        None => Problem::new(code, message),
    };
    problem.with_facts(facts)
}

/// What a field of `bank.proto` is called over HTTP, where that is something else.
fn http_name(field: &str) -> &str {
    match field {
        "page_size" => "limit",
        "page_token" => "cursor",
        field => field,
    }
}

fn state(state: proto::AccountState) -> &'static str {
    match state {
        proto::AccountState::Open => "open",
        proto::AccountState::Frozen => "frozen",
        proto::AccountState::Closed => "closed",
        proto::AccountState::Unspecified => "unknown",
    }
}

fn product(product: proto::Product) -> &'static str {
    match product {
        proto::Product::Checking | proto::Product::Unspecified => "checking",
        proto::Product::Savings => "savings",
        proto::Product::FixedDeposit => "fixed_deposit",
        proto::Product::Investment => "investment",
    }
}

fn moment(wire: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    wire.as_ref().and_then(Timestamp::from_wire)
}

fn present(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}
