//! Answers -> wire messages and statuses.

use super::sentence::sentence;
use crate::audit::Report;
use crate::cut::BranchCut;
use crate::ledger::{AccountKind, AccountState, HoldEnd, Product};
use crate::teller::{
    AccountView, Answer, Answered, Declined, HoldView, Receipt, Reversal, TransferState, TransferView,
};
use bank_proto::wire::{self, operation_result::Kind};
use bank_proto::{
    AccountNumber, AccountSerial, BranchId, Currency, ERROR_DOMAIN, ErrorCode, Money, TransactionId, TransactionKey,
    limits,
};
use prost::Message as _;
use std::collections::HashMap;
use std::fmt::{Display, Write as _};
use tonic_types::{ErrorDetails, StatusExt as _};

/// An answer as the result of an operation.
pub(super) fn result(branch: BranchId, answered: Answered) -> wire::OperationResult {
    let transaction_id = answered.key.map(|key| transaction_id(branch, key)).unwrap_or_default();
    let replayed = answered.replayed;
    let kind = match answered.answer {
        Answer::Receipt(moved) => Kind::Receipt(receipt(branch, moved, transaction_id, replayed)),
        Answer::Reversed(reversed) => match &reversed.state {
            TransferState::Failed(declined) => Kind::Failure(failure(declined, transaction_id, replayed)),
            _ => Kind::Reversal(reversal(branch, &reversed, transaction_id, replayed)),
        },
        Answer::Transfer(view) => match (&view.state, answered.key) {
            // Whoever ordered it meets a refusal; whoever asks for it gets it as it stands.
            (TransferState::Failed(reason), Some(_)) => {
                Kind::Failure(failed_transfer(&view, failure(reason, transaction_id, replayed)))
            }
            _ => Kind::Transfer(wire::Transfer { replayed, ..transfer(branch, &view) }),
        },
        Answer::Hold(view) => Kind::Hold(wire::Hold { transaction_id, replayed, ..hold(branch, &view) }),
        Answer::Account(view) => Kind::Account(wire::Account { transaction_id, replayed, ..account(branch, &view) }),
        Answer::Customer { customer, name, accounts } => Kind::Customer(wire::Customer {
            customer_id: customer_number(Some(customer)),
            branch_id: branch.get(),
            name: name.unwrap_or_default(),
            accounts: accounts.iter().map(|view| account(branch, view)).collect(),
            transaction_id,
            replayed,
        }),
        Answer::Initialized { created, account: view } => Kind::Branch(wire::InitializeBranchResponse {
            branch_id: branch.get(),
            created,
            account: view.map(|view| account(branch, &view)),
            transaction_id,
            replayed,
        }),
        Answer::Balance(view) => Kind::Balance(wire::Balance {
            customer_id: customer_number(view.account.customer),
            branch_id: branch.get(),
            account_number: AccountNumber::new(branch, view.serial).to_string(),
            currency: view.account.currency.code().to_owned(),
            balance: view.account.balance_money().to_string(),
            available: view.account.available().to_string(),
            state: state(view.account.state).into(),
        }),
        Answer::Refused(declined) => Kind::Failure(about_payee(failure(&declined, transaction_id, replayed))),
        Answer::Linked(answers) => Kind::Linked(wire::LinkedResults {
            results: answers.into_iter().map(|answered| result(branch, answered)).collect(),
        }),
        // Questions that no operation asks.
        Answer::TrialBalance(_)
        | Answer::CutHeard(_)
        | Answer::Peer(_)
        | Answer::Status { .. }
        | Answer::Arrived(_)
        | Answer::Ended(_) => Kind::Failure(failure(&Declined::new(ErrorCode::Internal), transaction_id, replayed)),
    };
    wire::OperationResult { kind: Some(kind) }
}

/// Makes results fit into one message, together with what travels beside them: large answers to
/// questions give way, so that the answers of orders always arrive.
pub(super) fn fit_into_message(results: &mut [wire::OperationResult]) {
    const BUDGET_BYTES: usize = limits::GRPC_MESSAGE_BYTES / 8 * 7;
    let gives_way = |result: &wire::OperationResult| match &result.kind {
        Some(Kind::Customer(customer)) => customer.transaction_id.is_empty(),
        _ => false,
    };
    if !results.iter().any(gives_way) {
        return;
    }
    let mut bytes: usize = results.iter().map(|result| result.encoded_len() + 8).sum();
    for result in results.iter_mut().rev() {
        if bytes <= BUDGET_BYTES {
            return;
        }
        if gives_way(result) {
            bytes -= result.encoded_len();
            let reason = "has an answer that does not fit into this batch's; ask for it alone";
            let declined = Declined::new(ErrorCode::PayloadTooLarge).with("field", "operation").with("reason", reason);
            *result = refused(&declined);
            bytes += result.encoded_len();
        }
    }
}

/// A refusal that no teller has seen.
pub(super) fn refused(declined: &Declined) -> wire::OperationResult {
    wire::OperationResult { kind: Some(Kind::Failure(failure(declined, String::new(), false))) }
}

pub(super) fn failure(declined: &Declined, transaction_id: String, replayed: bool) -> wire::Failure {
    wire::Failure {
        status: declined.code.grpc_code() as i32,
        code: declined.code.as_str().to_owned(),
        message: sentence(declined),
        metadata: declined.metadata.clone(),
        transaction_id,
        replayed,
    }
}

/// A refusal as a status with google.rpc details.
pub(super) fn status(failure: &wire::Failure) -> tonic::Status {
    let mut told: HashMap<String, String> = failure.metadata.clone().into_iter().collect();
    if !failure.transaction_id.is_empty() {
        told.insert("transaction_id".to_owned(), failure.transaction_id.clone());
        told.insert("replayed".to_owned(), failure.replayed.to_string());
    }
    let mut details = ErrorDetails::with_error_info(&failure.code, ERROR_DOMAIN, told);
    if let (Some(field), Some(reason)) = (failure.metadata.get("field"), failure.metadata.get("reason")) {
        details.add_bad_request_violation(field, reason);
    }
    let code = ErrorCode::from_text(&failure.code);
    if let Some(seconds) = code.and_then(ErrorCode::retry_after_seconds) {
        details.set_retry_info(Some(std::time::Duration::from_secs(seconds)));
    }
    tonic::Status::with_error_details(tonic::Code::from_i32(failure.status), &failure.message, details)
}

/// A refusal that no teller has seen, as a status.
pub(super) fn status_of(declined: &Declined) -> tonic::Status {
    status(&failure(declined, String::new(), false))
}

pub(super) fn transaction_id(branch: BranchId, key: TransactionKey) -> String {
    text(TransactionId { branch, key }, TRANSACTION_ID_BYTES)
}

/// The longest transaction id: 4 digits of a branch, a dash, 32 of the key.
const TRANSACTION_ID_BYTES: usize = 37;

/// As text, in a string that has its room from the start instead of growing into it.
fn text(value: impl Display, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes);
    // Writing into a string cannot fail.
    let _ = write!(text, "{value}");
    text
}

fn receipt(branch: BranchId, receipt: Receipt, transaction_id: String, replayed: bool) -> wire::Receipt {
    wire::Receipt {
        transaction_id,
        customer_id: customer_number(receipt.customer),
        branch_id: branch.get(),
        account_number: AccountNumber::new(branch, receipt.account).to_string(),
        r#type: receipt.movement.as_str().to_owned(),
        amount: receipt.amount.to_string(),
        currency: receipt.amount.currency().code().to_owned(),
        balance: receipt.balance.to_string(),
        booked_at: Some(receipt.booked_at.to_wire()),
        replayed,
    }
}

fn reversal(branch: BranchId, reversal: &Reversal, transaction_id: String, replayed: bool) -> wire::Reversal {
    let Reversal { original, receipt, .. } = reversal;
    wire::Reversal {
        state: transfer_state(&reversal.state).into(),
        transaction_id,
        original_transaction_id: original.to_string(),
        original_type: receipt.movement.as_str().to_owned(),
        customer_id: customer_number(receipt.customer),
        branch_id: branch.get(),
        account_number: AccountNumber::new(branch, receipt.account).to_string(),
        amount: receipt.amount.to_string(),
        currency: receipt.amount.currency().code().to_owned(),
        balance: receipt.balance.to_string(),
        booked_at: Some(receipt.booked_at.to_wire()),
        replayed,
    }
}

/// A transfer as it stands.
fn transfer(branch: BranchId, view: &TransferView) -> wire::Transfer {
    let reason = if let TransferState::Failed(declined) = &view.state { Some(declined) } else { None };
    let number = |branch, serial: Option<AccountSerial>| {
        serial.map(|serial| AccountNumber::new(branch, serial).to_string()).unwrap_or_default()
    };
    let money = |money: Option<Money>| money.map(|money| money.to_string()).unwrap_or_default();
    wire::Transfer {
        transaction_id: transaction_id(branch, view.transfer),
        state: transfer_state(&view.state).into(),
        reason: reason.map(|declined| declined.code.as_str().to_owned()).unwrap_or_default(),
        reason_detail: reason.map(sentence).unwrap_or_default(),
        customer_id: customer_number(view.payer_customer),
        branch_id: branch.get(),
        account_number: number(branch, view.payer),
        to_customer_id: customer_number(view.payee_customer),
        to_branch_id: view.payee_branch.get(),
        to_account_number: number(view.payee_branch, view.payee),
        amount: money(view.amount),
        currency: view.amount.map(|amount| amount.currency().code().to_owned()).unwrap_or_default(),
        balance: money(view.balance),
        booked_at: Some(view.booked_at.to_wire()),
        ended_at: view.ended_at.map(bank_proto::Timestamp::to_wire),
        replayed: false,
        hold_transaction_id: view.hold.map(|hold| transaction_id(branch, hold)).unwrap_or_default(),
    }
}

/// A hold as it stands.
fn hold(branch: BranchId, view: &HoldView) -> wire::Hold {
    let state = match view.end {
        None => wire::HoldState::Held,
        Some((HoldEnd::Captured, _)) => wire::HoldState::Captured,
        Some((HoldEnd::Released, _)) => wire::HoldState::Released,
        Some((HoldEnd::Expired, _)) => wire::HoldState::Expired,
    };
    wire::Hold {
        hold_transaction_id: transaction_id(branch, view.hold),
        state: state.into(),
        customer_id: customer_number(view.account.customer),
        branch_id: branch.get(),
        account_number: AccountNumber::new(branch, view.serial).to_string(),
        amount: view.amount.to_string(),
        remaining: view.remaining.to_string(),
        captured: view.captured.to_string(),
        currency: view.account.currency.code().to_owned(),
        balance: view.account.balance_money().to_string(),
        available: view.account.available().to_string(),
        expires_at: Some(view.expires_at.to_wire()),
        booked_at: Some(view.booked_at.to_wire()),
        ended_at: view.end.map(|(_, at)| at.to_wire()),
        transaction_id: String::new(),
        replayed: false,
    }
}

fn transfer_state(state: &TransferState) -> wire::TransferState {
    match state {
        TransferState::Processing => wire::TransferState::Processing,
        TransferState::Completed => wire::TransferState::Completed,
        TransferState::Failed(_) => wire::TransferState::Failed,
    }
}

/// Why a transfer failed, and how the payer stands now that the money is back.
fn failed_transfer(view: &TransferView, reason: wire::Failure) -> wire::Failure {
    let mut failure = about_payee(reason);
    let told = &mut failure.metadata;
    told.insert(Declined::STATE.to_owned(), Declined::FAILED.to_owned());
    if let Some(balance) = view.balance {
        told.entry("balance".to_owned()).or_insert_with(|| balance.to_string());
        told.entry("currency".to_owned()).or_insert_with(|| balance.currency().code().to_owned());
    }
    failure
}

/// Tells the currency of a payee's account under a name of its own: beside the payer's balance it would be
/// taken for the balance's. Branches tell each other, and store, the refusal as it is.
fn about_payee(mut failure: wire::Failure) -> wire::Failure {
    let told = &mut failure.metadata;
    if told.get(Declined::PARTY).is_some_and(|party| party == Declined::PAYEE)
        && let Some(currency) = told.remove("currency")
    {
        told.insert("payee_currency".to_owned(), currency);
    }
    failure
}

pub(super) fn account(branch: BranchId, view: &AccountView) -> wire::Account {
    let account = &view.account;
    wire::Account {
        account_number: AccountNumber::new(branch, view.serial).to_string(),
        branch_id: branch.get(),
        customer_id: customer_number(account.customer),
        joint_holders: view.joint_holders.iter().map(|holder| customer_number(Some(*holder))).collect(),
        product: product(account.kind).into(),
        state: state(account.state).into(),
        currency: account.currency.code().to_owned(),
        balance: account.balance_money().to_string(),
        available: account.available().to_string(),
        overdraft_limit: Money::from_minor(account.overdraft_limit, account.currency).to_string(),
        opened_at: Some(account.opened_at.to_wire()),
        transaction_id: String::new(),
        replayed: false,
    }
}

pub(super) fn customer_number(customer: Option<bank_proto::CustomerId>) -> i64 {
    // A customer's number is at most 2^53 - 1; 0 stands for none.
    customer.map_or(0, |customer| i64::try_from(customer.get()).unwrap_or(i64::MAX))
}

fn product(kind: AccountKind) -> wire::Product {
    match kind {
        AccountKind::Customer(Product::Checking) => wire::Product::Checking,
        AccountKind::Customer(Product::Savings) => wire::Product::Savings,
        AccountKind::Customer(Product::FixedDeposit) => wire::Product::FixedDeposit,
        AccountKind::Customer(Product::Investment) => wire::Product::Investment,
        _ => wire::Product::Unspecified,
    }
}

fn state(state: AccountState) -> wire::AccountState {
    match state {
        AccountState::Open => wire::AccountState::Open,
        AccountState::Frozen => wire::AccountState::Frozen,
        AccountState::Closed => wire::AccountState::Closed,
    }
}

/// The sums of a branch's books.
pub(super) fn trial_balance(branch: BranchId, books: &BranchCut) -> wire::TrialBalance {
    wire::TrialBalance {
        branch_id: branch.get(),
        lines: books.lines.iter().map(line).collect(),
        sequence: i64::try_from(books.sequence).unwrap_or(i64::MAX),
        // Before the first row nothing was booked at any time.
        as_of: (books.sequence > 0).then(|| books.as_of.to_wire()),
        balanced: books.is_balanced(),
    }
}

/// The auditor's last word.
pub(super) fn audit(report: Report) -> wire::Audit {
    wire::Audit {
        last_agreed_at: report.last_agreed_at.map(bank_proto::Timestamp::to_wire),
        violations: report.violations,
        incomplete: report.incomplete.unwrap_or_default(),
    }
}

/// A sum of minor units as a decimal of its currency. One of 2^32 accounts of 2^63 each still fits the 96
/// bits of a decimal.
pub(super) fn decimal(minor: i128, currency: Currency) -> String {
    rust_decimal::Decimal::from_i128_with_scale(minor, currency.decimals()).to_string()
}

fn line(line: &crate::ledger::TrialBalanceLine) -> wire::TrialBalanceLine {
    let peer_branch_id = match line.kind {
        AccountKind::Clearing(peer) => peer.get(),
        _ => 0,
    };
    wire::TrialBalanceLine {
        account_kind: line.kind.as_str().to_owned(),
        currency: line.currency.code().to_owned(),
        debit: decimal(line.debit, line.currency),
        credit: decimal(line.credit, line.currency),
        accounts: i64::try_from(line.accounts).unwrap_or(i64::MAX),
        peer_branch_id,
    }
}
