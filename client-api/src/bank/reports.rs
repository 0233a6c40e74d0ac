//! Questions that are asked one by one, beside the conversation.

use super::conversation::Line;
use super::{Bank, wire};
use crate::answer::{Audit, BankTrialBalance, Branch, History, Positions, Server, TrialBalance, WholeBank};
use crate::app::Caller;
use crate::problem::Problem;
use bank_proto::traces::Trace;
use bank_proto::{AccountNumber, BranchId, ErrorCode, Timestamp, metadata};
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::metadata::AsciiMetadataValue;

/// A branch server that has not told its branches by then counts as unreachable.
const BRANCHES_TIMEOUT: Duration = Duration::from_secs(2);

/// Which part of an account's history is asked for.
#[derive(Debug)]
pub(crate) struct HistoryQuestion {
    pub(crate) account: AccountNumber,
    pub(crate) page_size: u32,
    /// Empty for the newest page.
    pub(crate) cursor: String,
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
    /// Empty for all.
    pub(crate) kind: String,
}

impl Bank {
    /// One page of an account's history, newest first.
    ///
    /// # Errors
    /// The bank's refusal, or BRANCH_UNAVAILABLE.
    pub(crate) async fn history(&self, question: HistoryQuestion, caller: &Caller) -> Result<History, Problem> {
        let line = self.line_of(question.account.branch())?;
        let account_number = question.account.to_string();
        let request = wire::ListTransactionsRequest {
            account_number: account_number.clone(),
            page_size: i32::try_from(question.page_size).unwrap_or(i32::MAX),
            page_token: question.cursor,
            from: question.from.map(Timestamp::to_wire),
            to: question.to.map(Timestamp::to_wire),
            r#type: question.kind,
        };
        match line.client().list_transactions(request_for(request, self.timeout, caller)).await {
            Ok(page) => Ok(wire::history(account_number, page.into_inner())),
            Err(status) => Err(wire::problem_of(&status)),
        }
    }

    /// A branch's books.
    ///
    /// # Errors
    /// The bank's refusal, or BRANCH_UNAVAILABLE.
    pub(crate) async fn trial_balance(&self, branch: BranchId, caller: &Caller) -> Result<TrialBalance, Problem> {
        let line = self.line_of(branch)?;
        let request = wire::GetTrialBalanceRequest { branch_id: i64::from(branch.get()) };
        match line.client().get_trial_balance(request_for(request, self.timeout, caller)).await {
            Ok(books) => Ok(wire::trial_balance(books.into_inner())),
            Err(status) => Err(wire::problem_of(&status)),
        }
    }

    /// The books of the whole bank: those that a token names, or as they are when it is empty.
    ///
    /// # Errors
    /// The token is none, or BRANCH_UNAVAILABLE: every branch is needed.
    pub(crate) async fn bank_trial_balance(&self, token: String, caller: &Caller) -> Result<BankTrialBalance, Problem> {
        let request = request_for(wire::GetBankTrialBalanceRequest { token }, self.timeout, caller);
        match self.any_line()?.client().get_bank_trial_balance(request).await {
            Ok(books) => Ok(wire::bank_trial_balance(books.into_inner())),
            Err(status) => Err(wire::problem_of(&status)),
        }
    }

    /// What every two branches owe each other, in the books that a token names or as they are.
    ///
    /// # Errors
    /// As [`Bank::bank_trial_balance`].
    pub(crate) async fn positions(&self, token: String, caller: &Caller) -> Result<Positions, Problem> {
        let request = request_for(wire::ListPositionsRequest { token }, self.timeout, caller);
        match self.any_line()?.client().list_positions(request).await {
            Ok(positions) => Ok(wire::positions(positions.into_inner())),
            Err(status) => Err(wire::problem_of(&status)),
        }
    }

    /// Every branch and server of the bank, and what the servers' auditors say.
    pub(crate) async fn whole(&self, caller: &Caller) -> WholeBank {
        let mut answers = JoinSet::new();
        for (server, line) in (0..).zip(&self.lines) {
            let mut client = line.client();
            let request = wire::ListBranchesRequest { local_only: true };
            let request = request_for(request, self.timeout.min(BRANCHES_TIMEOUT), caller);
            answers.spawn(async move { client.list_branches(request).await.map(|told| (server, told)) });
        }
        let mut branches: Vec<Branch> = (1..=i64::from(self.assignment.branches()))
            .filter_map(|number| BranchId::new(number).ok())
            .filter_map(|branch| Some(wire::unreachable_branch(branch, self.assignment.server_of(branch)?)))
            .collect();
        let mut servers: Vec<Server> = (0..).zip(&self.lines).map(|(server, _)| wire::silent_server(server)).collect();
        let mut audit = Audit::default();
        while let Some(answer) = answers.join_next().await {
            match answer {
                Ok(Ok((server, told))) => {
                    let told = told.into_inner();
                    audit = audit.and(wire::audit(told.audit));
                    if let Some(place) = servers.get_mut(server as usize) {
                        *place = wire::server(server, told.disk);
                    }
                    for branch in told.branches {
                        let place = usize::try_from(branch.branch_id).ok().and_then(|number| number.checked_sub(1));
                        // While a branch moves, two servers speak of it: the one that serves it knows.
                        if let Some(place) = place.and_then(|place| branches.get_mut(place))
                            && !place.is_served()
                        {
                            *place = wire::branch(branch, server);
                        }
                    }
                }
                Ok(Err(status)) => {
                    tracing::debug!(code = %status.code(), message = status.message(), "a server told no branches");
                }
                Err(failure) => tracing::error!(error = %failure, "asking a server for its branches failed"),
            }
        }
        WholeBank { branches, servers, audit }
    }

    /// Any server can ask all others.
    fn any_line(&self) -> Result<&Line, Problem> {
        let connected = self.lines.iter().find(|line| line.state().connected);
        connected
            .or(self.lines.first())
            .ok_or_else(|| Problem::new(ErrorCode::BranchUnavailable, "no branch server is known"))
    }

    fn line_of(&self, branch: BranchId) -> Result<&Line, Problem> {
        self.server_of(branch).map(|server| &self.lines[server])
    }
}

fn request_for<T>(message: T, timeout: Duration, caller: &Caller) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(timeout);
    let mut write = |name, text: &str| {
        if let Ok(text) = AsciiMetadataValue::try_from(text) {
            request.metadata_mut().insert(name, text);
        }
    };
    write(metadata::REQUEST_ID, &caller.request_id);
    for (name, text) in caller.trace.iter().flat_map(Trace::headers) {
        write(name, &text);
    }
    request
}
