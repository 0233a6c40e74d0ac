//! The variable parts of paths.

use crate::fields;
use crate::problem::Problem;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use bank_proto::{AccountNumber, BranchId, CustomerId, ErrorCode, InvalidCustomerId, TransactionId};

/// `{number}`: an account.
pub(crate) struct AccountPath(pub(super) AccountNumber);

/// `{id}`: a customer.
pub(crate) struct CustomerPath(pub(super) CustomerId);

/// `{id}`: a transfer.
pub(crate) struct TransferPath(pub(super) TransactionId);

/// `{id}`: a hold.
pub(crate) struct HoldPath(pub(super) TransactionId);

/// `{id}`: any transaction.
pub(crate) struct TransactionPath(pub(super) TransactionId);

/// `{id}`: a branch.
pub(crate) struct BranchPath(pub(super) BranchId);

impl<S: Send + Sync> FromRequestParts<S> for AccountPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<AccountPath, Problem> {
        let text = only_variable(parts, state, "number").await?;
        text.parse()
            .map(AccountPath)
            .map_err(|wrong| Problem::field(ErrorCode::InvalidAccountNumber, "account_number", wrong))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CustomerPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<CustomerPath, Problem> {
        let text = only_variable(parts, state, "id").await?;
        integer(&text)
            .and_then(|number| CustomerId::new(number).ok())
            .map(CustomerPath)
            .ok_or_else(|| Problem::field(ErrorCode::InvalidCustomerId, "customer_id", InvalidCustomerId))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TransferPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<TransferPath, Problem> {
        let text = only_variable(parts, state, "id").await?;
        text.parse().map(TransferPath).map_err(|_| {
            let what = "must be the transaction_id of a transfer: `<branch>-<32 hex digits>`";
            Problem::field(ErrorCode::InvalidTransactionId, "transaction_id", what)
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for HoldPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<HoldPath, Problem> {
        let text = only_variable(parts, state, "id").await?;
        transaction_id("hold_transaction_id", &text).map(HoldPath)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TransactionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<TransactionPath, Problem> {
        let text = only_variable(parts, state, "id").await?;
        transaction_id("transaction_id", &text).map(TransactionPath)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for BranchPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<BranchPath, Problem> {
        let text = only_variable(parts, state, "id").await?;
        let number = integer(&text)
            .ok_or_else(|| Problem::field(ErrorCode::InvalidBranchId, "branch_id", "must be a branch number"))?;
        fields::branch(number).map(BranchPath)
    }
}

/// The id of something that was posted.
pub(super) fn transaction_id(field: &str, text: &str) -> Result<TransactionId, Problem> {
    let what = "must be a transaction_id: `<branch>-<32 hex digits>`";
    text.parse().map_err(|_| Problem::field(ErrorCode::InvalidTransactionId, field, what))
}

async fn only_variable<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Result<String, Problem> {
    match Path::<String>::from_request_parts(parts, state).await {
        Ok(Path(text)) => Ok(text),
        Err(_) => Err(Problem::field(ErrorCode::InvalidRequest, name, "in the path is not readable text")),
    }
}

/// Digits and nothing else, so that one thing has one address.
fn integer(text: &str) -> Option<i64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if is_plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_a_path_has_one_spelling() {
        assert_eq!(integer("7"), Some(7));
        assert_eq!(integer("0"), Some(0));
        for text in ["", "+7", "-7", "07", "7.0", " 7", "7e0", "99999999999999999999", "٧"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }
}
