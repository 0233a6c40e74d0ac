//! Refusals for people: one sentence that says what is the matter.

use crate::teller::Declined;
use bank_proto::ErrorCode;

/// The sentence for a refusal. It is made from the code and what goes with it alone, so that a
/// refusal told again reads the same.
pub(super) fn sentence(declined: &Declined) -> String {
    let told = |name: &str| declined.metadata.get(name).map_or("", String::as_str);
    if !told("field").is_empty() {
        return format!("`{}` {}", told("field"), told("reason"));
    }
    match declined.code {
        ErrorCode::InsufficientFunds => {
            format!("only {} {} is available", told("available"), told("currency"))
        }
        ErrorCode::AccountNotEmpty => {
            format!("the balance is {} {}; only an account at zero can be closed", told("balance"), told("currency"))
        }
        ErrorCode::CurrencyMismatch => format!("the account is kept in {}", told("currency")),
        ErrorCode::BranchNotFound => "the branch is not initialized, or the bank has no such branch".to_owned(),
        ErrorCode::CustomerNotFound => "the customer is not known at this branch".to_owned(),
        ErrorCode::AccountNotFound => "there is no such account".to_owned(),
        ErrorCode::CustomerExists => "the customer is registered already".to_owned(),
        ErrorCode::AccountFrozen => "the account is frozen and takes no movements".to_owned(),
        ErrorCode::AccountClosed => "the account is closed for ever".to_owned(),
        ErrorCode::AccountNotFrozen => "the account is not frozen".to_owned(),
        ErrorCode::IdempotencyKeyReused => {
            "the id was used before for something else; use a new one for a new order".to_owned()
        }
        ErrorCode::Overloaded => "too many requests wait; nothing was done; try again with the same id".to_owned(),
        ErrorCode::OutcomeUnknown => {
            "the branch did not answer in time; retry with the same id to learn the outcome".to_owned()
        }
        ErrorCode::BranchUnavailable => "the branch cannot serve now; nothing was done".to_owned(),
        ErrorCode::StorageFull => "the branch's disk is full; nothing was done".to_owned(),
        ErrorCode::DeadlineExceeded => "the deadline passed before the work began; nothing was done".to_owned(),
        ErrorCode::WrongBranch => "another server owns the branch; its number is in the details".to_owned(),
        code => code.title().to_owned(),
    }
}
