//! The JSON bodies of answers. Amounts are decimal strings with all the currency's decimals.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bank_proto::Timestamp;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use utoipa::ToSchema;

mod books;
mod hold;
mod reversal;

pub(crate) use books::{
    Audit, BankTrialBalance, InFlight, Position, PositionLine, Positions, TrialBalance, TrialBalanceLine,
};
pub(crate) use hold::{Hold, HoldState};
pub(crate) use reversal::Reversal;

/// `"result":"success"`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Success {
    /// It was done, or looked up.
    Success,
}

/// What a posted movement says. The balance is the one right after it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "result": "success", "transaction_id": "1-0123456789abcdef0123456789abcdef", "customer_id": 1, "branch_id": 1,
    "account_number": "0001000000000145", "type": "deposit", "amount": "100.00", "currency": "USD",
    "balance": "1100.00", "booked_at": "2026-11-21T09:00:00.000000Z"
}))]
pub(crate) struct Receipt {
    pub(crate) result: Success,
    pub(crate) transaction_id: String,
    pub(crate) customer_id: i64,
    pub(crate) branch_id: u32,
    pub(crate) account_number: String,
    /// `deposit` or `withdrawal`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) amount: String,
    pub(crate) currency: String,
    pub(crate) balance: String,
    /// RFC 3339 in UTC.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "rfc3339")]
    pub(crate) booked_at: Option<Timestamp>,
}

/// How a transfer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum TransferState {
    /// Accepted, and nothing is booked yet.
    Pending,
    /// The payer's account is debited; the payee's branch has not answered.
    Processing,
    /// The payee has the money, for ever.
    Completed,
    /// The payer has the money, again or still; `reason` says why. For ever.
    Failed,
}

/// The same in the words of the other answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TransferResult {
    Success,
    Pending,
    Failure,
}

/// A transfer as it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "result": "success", "transaction_id": "1-0123456789abcdef0123456789abcdef", "state": "COMPLETED",
    "customer_id": 1, "branch_id": 1, "account_number": "0001000000000145",
    "to_customer_id": 2, "to_branch_id": 2, "to_account_number": "0002000000000192",
    "amount": "25.00", "currency": "USD", "balance": "1025.00",
    "booked_at": "2026-11-21T09:00:00.000000Z", "ended_at": "2026-11-21T09:00:00.002000Z"
}))]
pub(crate) struct Transfer {
    pub(crate) result: TransferResult,
    pub(crate) transaction_id: String,
    pub(crate) state: TransferState,
    /// Why it failed: a stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The same in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    /// The payer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) customer_id: Option<i64>,
    pub(crate) branch_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account_number: Option<String>,
    /// The payee.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to_customer_id: Option<i64>,
    pub(crate) to_branch_id: u32,
    /// Known when it was given, or the transfer has completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to_account_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) currency: Option<String>,
    /// The payer's, right after the debit or after the money came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) balance: Option<String>,
    /// Of a capture: the hold that it was paid out of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hold_transaction_id: Option<String>,
    /// RFC 3339 in UTC.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "rfc3339")]
    pub(crate) booked_at: Option<Timestamp>,
    /// When it was completed or failed.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<Timestamp>,
}

/// An account's balance.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "result": "success", "customer_id": 1, "branch_id": 1, "account_number": "0001000000000145",
    "balance": "1050.00", "available": "1050.00", "currency": "USD", "state": "open"
}))]
pub(crate) struct Balance {
    pub(crate) result: Success,
    pub(crate) customer_id: i64,
    pub(crate) branch_id: u32,
    pub(crate) account_number: String,
    pub(crate) balance: String,
    /// What can be withdrawn now.
    pub(crate) available: String,
    pub(crate) currency: String,
    pub(crate) state: &'static str,
}

/// An account as it is now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "result": "success", "account_number": "0001000000000145", "branch_id": 1, "customer_id": 1, "joint_holders": [],
    "product": "checking", "state": "open", "currency": "USD", "balance": "1000.00", "available": "1000.00",
    "overdraft_limit": "0.00", "opened_at": "2026-11-21T09:00:00.000000Z"
}))]
pub(crate) struct Account {
    pub(crate) result: Success,
    /// 16 digits.
    pub(crate) account_number: String,
    pub(crate) branch_id: u32,
    /// The first holder.
    pub(crate) customer_id: i64,
    pub(crate) joint_holders: Vec<i64>,
    /// `checking`, `savings`, `fixed_deposit` or `investment`.
    pub(crate) product: &'static str,
    /// `open`, `frozen` or `closed`.
    pub(crate) state: &'static str,
    pub(crate) currency: String,
    pub(crate) balance: String,
    /// What can be withdrawn now.
    pub(crate) available: String,
    pub(crate) overdraft_limit: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "rfc3339", skip_serializing_if = "Option::is_none")]
    pub(crate) opened_at: Option<Timestamp>,
    /// Of the write that this answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transaction_id: Option<String>,
}

/// A customer with its accounts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Customer {
    pub(crate) result: Success,
    pub(crate) customer_id: i64,
    /// The home branch.
    pub(crate) branch_id: u32,
    /// Empty when none was given.
    pub(crate) name: String,
    pub(crate) accounts: Vec<Account>,
    /// Of the write that this answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transaction_id: Option<String>,
}

/// A branch whose books are open.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "result": "Branch initialized successfully", "branch_id": 1, "created": true, "customer_id": 1,
    "account_number": "0001000000000145", "balance": "1000.00", "currency": "USD",
    "transaction_id": "1-0123456789abcdef0123456789abcdef"
}))]
pub(crate) struct InitializedBranch {
    /// `Branch initialized successfully` or `Branch already exists`.
    pub(crate) result: &'static str,
    pub(crate) branch_id: u32,
    /// False when the branch already existed and nothing changed.
    pub(crate) created: bool,
    /// The customer whose number is the branch's; the account is theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) customer_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account_number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) balance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) currency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transaction_id: Option<String>,
}

/// What a branch answers to one operation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Reply {
    /// To a deposit or withdrawal.
    Receipt(Receipt),
    /// To a reversal.
    Reversal(Reversal),
    /// To a hold, its release, or the question for one.
    Hold(Hold),
    /// To a transfer, or to the question for one.
    Transfer(Transfer),
    /// To a query.
    Balance(Balance),
    /// To whatever concerns an account as such.
    Account(Account),
    /// To whatever concerns a customer as such.
    Customer(Customer),
    /// To the opening of a branch.
    Branch(InitializedBranch),
}

/// A reply, and whether it was given before.
#[derive(Debug)]
pub(crate) struct Replied {
    pub(crate) reply: Reply,
    pub(crate) replayed: bool,
}

/// One page of an account's history, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct History {
    pub(crate) account_number: String,
    pub(crate) transactions: Vec<HistoryEntry>,
    /// Ask again with `cursor` set to this; null on the last page. A page may be short, even empty, and
    /// still carry one.
    pub(crate) next_cursor: Option<String>,
}

/// One movement, seen from the account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryEntry {
    /// Of a transfer the same at both sides.
    pub(crate) transaction_id: String,
    /// `deposit`, `withdrawal`, `opening_balance`, `transfer` (within a branch), `transfer_sent`,
    /// `transfer_received` or `transfer_returned`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Negative when it lowered the balance.
    pub(crate) amount: String,
    pub(crate) currency: String,
    /// Right after the movement.
    pub(crate) balance: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "rfc3339")]
    pub(crate) booked_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) memo: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
    /// By which door the order came: `http`, `grpc` or, from another branch, `branch`.
    pub(crate) channel: String,
    /// The row of the branch's journal.
    pub(crate) sequence: i64,
    /// The other side of a transfer, as far as it is known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) counterparty_customer_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) counterparty_account_number: Option<String>,
    /// On a reversal: what it takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) original_transaction_id: Option<String>,
}

/// A branch as its server sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Branch {
    pub(crate) branch_id: u32,
    /// `open`, `uninitialized`, `damaged`, `unavailable` (its server tries again to open it) or `unreachable`.
    pub(crate) state: &'static str,
    /// What is wrong and where.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
    /// The ordinal of the branch server that keeps it.
    pub(crate) server: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) accounts: Option<i64>,
    /// The last row of its journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sequence: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<i64>,
}

/// One branch server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Server {
    /// Its ordinal.
    pub(crate) server: u32,
    /// Whether it answered.
    pub(crate) reached: bool,
    /// What is free on the disk of its branches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk_free_bytes: Option<u64>,
    /// False while so little is free that its branches refuse orders with STORAGE_FULL; they answer questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) takes_orders: Option<bool>,
}

/// Everything that serves.
pub(crate) struct WholeBank {
    /// In order; those whose server does not answer are unreachable.
    pub(crate) branches: Vec<Branch>,
    /// In the order of their ordinals.
    pub(crate) servers: Vec<Server>,
    /// What the servers' auditors say.
    pub(crate) audit: Audit,
}

impl WholeBank {
    /// Whether every branch serves, takes orders, and agrees with all others.
    pub(crate) fn is_healthy(&self) -> bool {
        self.branches.iter().all(Branch::is_served)
            && self.servers.iter().all(|server| server.takes_orders != Some(false))
            && self.audit.violations.is_empty()
    }
}

impl Branch {
    /// Whether its server can answer for it.
    pub(crate) fn is_served(&self) -> bool {
        matches!(self.state, "open" | "uninitialized")
    }
}

/// Every branch of the bank.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Branches {
    pub(crate) branches: Vec<Branch>,
}

/// Writes a value as the JSON body of an answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut answer = Response::new(Body::from(body));
            *answer.status_mut() = status;
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            answer
        }
        Err(failure) => {
            tracing::error!(error = %failure, "an answer could not be written as JSON");
            crate::problem::Problem::internal().into_response()
        }
    }
}

/// Writes what a branch replied. A transfer that is still under way is 202, with the place to ask for it.
pub(crate) fn reply(status: StatusCode, replied: &Replied) -> Response {
    let mut answer = json(status, &replied.reply);
    if let Reply::Transfer(Transfer { result: TransferResult::Pending, transaction_id, .. }) = &replied.reply {
        *answer.status_mut() = StatusCode::ACCEPTED;
        // An id is digits, a dash and letters: always a header value.
        if let Ok(place) = HeaderValue::from_str(&format!("/v1/transfers/{transaction_id}")) {
            answer.headers_mut().insert(header::LOCATION, place);
        }
    }
    if let Reply::Hold(Hold { hold_transaction_id, .. }) = &replied.reply
        && status == StatusCode::CREATED
        && let Ok(place) = HeaderValue::from_str(&format!("/v1/holds/{hold_transaction_id}"))
    {
        answer.headers_mut().insert(header::LOCATION, place);
    }
    if let Reply::Reversal(Reversal { result: TransferResult::Pending, .. }) = &replied.reply {
        *answer.status_mut() = StatusCode::ACCEPTED;
    }
    if replied.replayed {
        mark_replayed(&mut answer);
    }
    answer
}

/// Says that an answer was given before.
pub(crate) fn mark_replayed(answer: &mut Response) {
    answer.headers_mut().insert(crate::idempotency::IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
}

fn rfc3339<S: Serializer>(moment: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match moment {
        Some(moment) => serializer.collect_str(moment),
        None => serializer.serialize_none(),
    }
}
