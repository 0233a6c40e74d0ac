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
    if told(Declined::PARTY) == Declined::PAYEE {
        return payee(declined.code, told("currency"));
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
        ErrorCode::SameAccount => "payer and payee are the same account".to_owned(),
        ErrorCode::ClearingLimitExceeded => {
            "too many transfers to the payee's branch are under way; try again later with a new id".to_owned()
        }
        ErrorCode::TransfersInFlight => {
            "transfers are still under way; try again when they have ended, with a new id".to_owned()
        }
        ErrorCode::TransferExpired => {
            "the payee's branch could not be reached in time; the money is back on the payer's account".to_owned()
        }
        ErrorCode::TransactionNotFound => "nothing was posted under this id".to_owned(),
        ErrorCode::NotReversible => "it moved no money that could be moved back, or is a reversal itself".to_owned(),
        ErrorCode::AlreadyReversed => format!("it was reversed before, by {}", told("reversal")),
        ErrorCode::ReversalRefused => {
            format!("the payee's branch did not send the money back: {}", told(Declined::CAUSE))
        }
        ErrorCode::HoldNotFound => "no hold has this id".to_owned(),
        ErrorCode::HoldExpired => "the hold's time is over; what was left of it is not held any more".to_owned(),
        ErrorCode::HoldClosed => match (told(Declined::HOLD_STATE), told(Declined::STATE)) {
            // Stored when both had one name: then a capture's own end stands where the hold's did.
            ("", Declined::FAILED) => "the hold has ended".to_owned(),
            ("", state) | (state, _) => format!("the hold has ended: {state}"),
        },
        ErrorCode::HoldAmountExceeded => {
            format!("only {} {} is left of the hold", told("remaining"), told("currency"))
        }
        ErrorCode::HoldLimitExceeded => {
            "the account or its branch has as many open holds as it may; try again later with a new id".to_owned()
        }
        ErrorCode::HoldsOpen => format!("{} {} is held; release it first", told("held"), told("currency")),
        ErrorCode::LinkedOperationFailed => {
            format!("{} failed, which it is linked to; nothing of both was done", told(Declined::FAILED_ID))
        }
        ErrorCode::PermissionDenied => {
            "only branch servers may call this, and the certificate is for none of their hosts".to_owned()
        }
        ErrorCode::TransferNotFound => "no transfer has this id".to_owned(),
        code => code.title().to_owned(),
    }
}

/// A payee who cannot be paid.
fn payee(code: ErrorCode, currency: &str) -> String {
    match code {
        ErrorCode::BranchNotFound => "the payee's branch is not initialized".to_owned(),
        ErrorCode::CustomerNotFound => "the payee is not known at their branch".to_owned(),
        ErrorCode::AccountNotFound => "the payee has no such account".to_owned(),
        ErrorCode::AccountFrozen => "the payee's account is frozen and takes no movements".to_owned(),
        ErrorCode::AccountClosed => "the payee's account is closed for ever".to_owned(),
        ErrorCode::CurrencyMismatch => format!("the payee's account is kept in {currency}"),
        ErrorCode::BalanceLimitExceeded => "the payee's balance would be too large".to_owned(),
        code => code.title().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_hold_ended_is_said_as_well_as_the_refusal_knows_it() {
        let closed = || Declined::new(ErrorCode::HoldClosed);
        for (declined, said) in [
            (closed().with(Declined::HOLD_STATE, "RELEASED"), "the hold has ended: RELEASED"),
            (
                closed().with(Declined::HOLD_STATE, "CAPTURED").with(Declined::STATE, Declined::FAILED),
                "the hold has ended: CAPTURED",
            ),
            // Of journals that are older than the name.
            (closed().with(Declined::STATE, "CAPTURED"), "the hold has ended: CAPTURED"),
            (closed().with(Declined::STATE, Declined::FAILED), "the hold has ended"),
        ] {
            assert_eq!(sentence(&declined), said);
        }
    }
}
