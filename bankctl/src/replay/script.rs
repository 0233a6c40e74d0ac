//! Runs an event file: opens the branches, then every event in the order of the ids.

use super::client::{Answer, Client, ClientError};
use super::event_file::{Event, EventFile, EventKind};
use crate::exit::Exit;
use indicatif::ProgressBar;
use serde_json::{Value, json};

/// From this many events on, a progress bar is worth its place.
const LONG_FILE: usize = 200;

/// What a customer received for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Received {
    /// The deposit or withdrawal was booked.
    Success,
    /// A query's balance, as decimal text.
    Balance(String),
    /// The bank refused.
    Failure,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ScriptError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the bank refuses to prepare the books: {0}")]
    NotPrepared(String),
    #[error("the bank's answer to event {event} lacks its {field}")]
    Incomplete { event: u64, field: &'static str },
}

impl ScriptError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            ScriptError::Client(error) => error.exit(),
            ScriptError::NotPrepared(_) => Exit::Unavailable,
            ScriptError::Incomplete { .. } => Exit::Internal,
        }
    }
}

/// Runs the file; the answers come in the order of its events.
pub(super) async fn run(file: &EventFile, client: &Client) -> Result<Vec<Received>, ScriptError> {
    for (branch, balance) in &file.branches {
        // In joint mode the money lies in the joint account alone.
        let balance = if file.joint { "0".to_owned() } else { balance.to_string() };
        let body = json!({"branch_id": branch.get(), "initial_balance": balance});
        prepare(client, "/initialize_branch", &format!("branch-{branch}"), &body).await?;
    }
    let account = if file.joint { Some(open_joint_account(file, client).await?) } else { None };

    let long = file.events.len() >= LONG_FILE && crate::output::is_watched();
    let bar = if long { ProgressBar::new(file.events.len() as u64) } else { ProgressBar::hidden() };
    let mut received = Vec::with_capacity(file.events.len());
    for event in &file.events {
        received.push(one(event, account.as_deref(), client).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(received)
}

/// Opens one account for all customers at the lowest branch and pays the opening balance in.
async fn open_joint_account(file: &EventFile, client: &Client) -> Result<String, ScriptError> {
    let (Some((first, others)), Some((_, balance))) = (file.holders(), file.lowest_branch()) else {
        return Err(ScriptError::NotPrepared("the file has no holders".to_owned()));
    };
    let others = others.iter().map(|customer| customer.get()).collect::<Vec<_>>();
    let body = json!({"customer_id": first.get(), "product": "checking", "joint_holders": others});
    let account = prepare(client, "/v1/accounts", "joint-account", &body).await?;
    let number = account["account_number"].as_str();
    let number = number.ok_or_else(|| ScriptError::NotPrepared("no account number came back".to_owned()))?;
    if balance.minor() > 0 {
        let body = json!({"amount": balance.to_string()});
        prepare(client, &format!("/v1/accounts/{number}/deposits"), "joint-opening", &body).await?;
    }
    Ok(number.to_owned())
}

async fn prepare(client: &Client, path: &str, id: &str, body: &Value) -> Result<Value, ScriptError> {
    match client.post(path, id, body).await? {
        Answer::Done(answer) => Ok(answer),
        Answer::Refused(problem) => Err(ScriptError::NotPrepared(format!("{path}: {}", problem["detail"]))),
    }
}

/// One event, by the customer's own account or by the number of the joint one.
async fn one(event: &Event, account: Option<&str>, client: &Client) -> Result<Received, ScriptError> {
    let id = event.id.to_string();
    let customer = event.customer.get();
    let transaction = |kind: &str| json!({"customer_id": customer, "type": kind});
    let with_amount = |kind: &str, amount: String| json!({"customer_id": customer, "type": kind, "amount": amount});
    let answer = match (event.kind, account) {
        (EventKind::Deposit(money), None) => {
            client.post("/transaction", &id, &with_amount("deposit", money.to_string())).await?
        }
        (EventKind::Withdraw(money), None) => {
            client.post("/transaction", &id, &with_amount("withdraw", money.to_string())).await?
        }
        (EventKind::Query, None) => client.post("/transaction", &id, &transaction("query")).await?,
        (EventKind::Deposit(money), Some(number)) => {
            let body = json!({"amount": money.to_string()});
            client.post(&format!("/v1/accounts/{number}/deposits"), &id, &body).await?
        }
        (EventKind::Withdraw(money), Some(number)) => {
            let body = json!({"amount": money.to_string()});
            client.post(&format!("/v1/accounts/{number}/withdrawals"), &id, &body).await?
        }
        (EventKind::Query, Some(number)) => client.get(&format!("/v1/accounts/{number}")).await?,
    };
    match (answer, event.kind) {
        (Answer::Refused(_), _) => Ok(Received::Failure),
        (Answer::Done(_), EventKind::Deposit(_) | EventKind::Withdraw(_)) => Ok(Received::Success),
        (Answer::Done(body), EventKind::Query) => match body["balance"].as_str() {
            Some(balance) => Ok(Received::Balance(balance.to_owned())),
            None => Err(ScriptError::Incomplete { event: event.id, field: "balance" }),
        },
    }
}
