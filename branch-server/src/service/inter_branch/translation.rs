//! What branches say to each other: wire types <-> the bank's own words, at both ends.

use super::super::{inbound, outbound};
use crate::ledger::Target;
use crate::teller::{Declined, Delivery};
use crate::transfers::{Heard, Message, Verdict};
use bank_proto::wire::{self, delivery_outcome::Kind};
use bank_proto::{AccountNumber, Assignment, BranchId, Currency, CustomerId, ErrorCode, Money, TransactionId, limits};

/// Bank's words -> wire, at the payers' branch.
pub(super) fn message(message: Message) -> wire::PairMessage {
    let Message { source, destination, epoch, lowest_outstanding, cut, items } = message;
    let deliveries = items.into_iter().map(|(delivery, cancel)| {
        let (to_customer_id, to_account_number) = match delivery.payee {
            Target::Customer(customer) => (outbound::customer_number(Some(customer)), String::new()),
            Target::Account(serial) => (0, AccountNumber::new(destination, serial).to_string()),
        };
        wire::Delivery {
            transaction_id: outbound::transaction_id(source, delivery.transfer),
            pair_sequence: delivery.pair_sequence,
            to_customer_id,
            to_account_number,
            amount: delivery.amount.to_string(),
            currency: delivery.amount.currency().code().to_owned(),
            from_customer_id: outbound::customer_number(delivery.payer_customer),
            from_account_number: AccountNumber::new(source, delivery.payer).to_string(),
            memo: delivery.memo,
            principal: delivery.principal.to_string(),
            cancel,
            reverses_transaction_id: delivery
                .reverses
                .map(|original| outbound::transaction_id(source, original))
                .unwrap_or_default(),
        }
    });
    wire::PairMessage {
        correlation_id: 0,
        source_branch_id: source.get(),
        destination_branch_id: destination.get(),
        source_epoch: epoch,
        lowest_outstanding,
        cut,
        deliveries: deliveries.collect(),
    }
}

/// Wire -> bank's words, at the payees' branch.
pub(super) fn message_from(message: wire::PairMessage, bank: &Assignment) -> Result<Message, Declined> {
    let source = branch(message.source_branch_id, "source_branch_id", bank)?;
    let destination = branch(message.destination_branch_id, "destination_branch_id", bank)?;
    if source == destination {
        return Err(inbound::invalid(ErrorCode::InvalidRequest, "destination_branch_id", "must not be the source"));
    }
    if message.deliveries.len() > limits::DELIVERIES {
        let reason = format!("must hold at most {}", limits::DELIVERIES);
        return Err(inbound::invalid(ErrorCode::InvalidRequest, "deliveries", reason));
    }
    let items = message.deliveries.into_iter().map(|item| {
        let cancel = item.cancel;
        delivery(item, source, destination, bank).map(|delivery| (delivery, cancel))
    });
    Ok(Message {
        source,
        destination,
        epoch: message.source_epoch,
        lowest_outstanding: message.lowest_outstanding,
        cut: message.cut,
        items: items.collect::<Result<_, _>>()?,
    })
}

pub(super) fn branch(number: u32, field: &str, bank: &Assignment) -> Result<BranchId, Declined> {
    let branch = BranchId::new(i64::from(number)).ok().filter(|branch| branch.get() <= bank.branches());
    branch.ok_or_else(|| inbound::invalid(ErrorCode::InvalidBranchId, field, "must be a branch of this bank"))
}

fn delivery(
    item: wire::Delivery,
    source: BranchId,
    destination: BranchId,
    bank: &Assignment,
) -> Result<Delivery, Declined> {
    let bad = |field: &str, reason: &str| inbound::invalid(ErrorCode::InvalidRequest, field, reason);
    let id: TransactionId = item
        .transaction_id
        .parse()
        .map_err(|error| inbound::invalid(ErrorCode::InvalidTransactionId, "transaction_id", error))?;
    if id.branch != source {
        return Err(bad("transaction_id", "must be the source's"));
    }
    if item.pair_sequence == 0 {
        return Err(bad("pair_sequence", "must be at least 1"));
    }
    let payee = match item.to_account_number.as_str() {
        "" => Target::Customer(inbound::customer_id(item.to_customer_id, "to_customer_id")?),
        text => Target::Account(account(text, "to_account_number", destination, bank)?),
    };
    let currency: Currency =
        item.currency.parse().map_err(|error| inbound::invalid(ErrorCode::InvalidCurrency, "currency", error))?;
    let amount = Money::parse_positive(&item.amount, currency)
        .map_err(|error| inbound::invalid(ErrorCode::InvalidAmount, "amount", error))?;
    if item.memo.len() > limits::MEMO_BYTES {
        return Err(bad("memo", "is too long"));
    }
    if item.principal.len() > limits::PRINCIPAL_BYTES {
        return Err(bad("principal", "is too long"));
    }
    let reverses = match item.reverses_transaction_id.as_str() {
        "" => None,
        text => match text.parse::<TransactionId>() {
            Ok(original) if original.branch == source => Some(original.key),
            _ => return Err(bad("reverses_transaction_id", "must be the source's")),
        },
    };
    Ok(Delivery {
        reverses,
        transfer: id.key,
        pair_sequence: item.pair_sequence,
        payee,
        amount,
        payer: account(&item.from_account_number, "from_account_number", source, bank)?,
        payer_customer: CustomerId::new(item.from_customer_id).ok(),
        memo: item.memo,
        principal: item.principal.into(),
    })
}

fn account(
    text: &str,
    field: &str,
    branch: BranchId,
    bank: &Assignment,
) -> Result<bank_proto::AccountSerial, Declined> {
    let number = inbound::account_number_in(text, field, bank)?;
    if number.branch() == branch {
        return Ok(number.serial());
    }
    Err(inbound::invalid(ErrorCode::InvalidAccountNumber, field, "must be an account of that branch"))
}

/// Bank's words -> wire, at the payees' branch.
pub(super) fn answer(destination: BranchId, heard: Heard) -> wire::PairAnswer {
    let outcomes = heard.verdicts.into_iter().map(|verdict| outcome(destination, verdict)).collect();
    wire::PairAnswer { destination_epoch: heard.epoch, cut: heard.cut, outcomes, ..wire::PairAnswer::default() }
}

/// A message that decided nothing.
pub(super) fn refused(declined: &Declined) -> wire::PairAnswer {
    wire::PairAnswer { failure: Some(outbound::failure(declined, String::new(), false)), ..wire::PairAnswer::default() }
}

fn outcome(destination: BranchId, verdict: Verdict) -> wire::DeliveryOutcome {
    let kind = match verdict {
        Verdict::Credited { account, customer } => Kind::Credited(wire::Credited {
            account_number: AccountNumber::new(destination, account).to_string(),
            customer_id: outbound::customer_number(customer),
        }),
        Verdict::Rejected(declined) => Kind::Rejected(outbound::failure(&declined, String::new(), false)),
        Verdict::Cancelled => Kind::Cancelled(wire::Cancelled {}),
        Verdict::Undecided(declined) => Kind::Undecided(outbound::failure(&declined, String::new(), false)),
    };
    wire::DeliveryOutcome { kind: Some(kind) }
}

/// Wire -> bank's words, at the payers' branch. A peer that does not make sense has decided nothing.
pub(super) fn heard(answer: wire::PairAnswer, destination: BranchId, expected: usize) -> Result<Heard, Declined> {
    if let Some(failure) = answer.failure {
        return Err(declined(failure).unwrap_or_else(|| Declined::new(ErrorCode::Internal)));
    }
    if answer.outcomes.len() != expected {
        return Err(Declined::new(ErrorCode::Internal).with("reason", "the peer answered for another message"));
    }
    let verdicts = answer.outcomes.into_iter().map(|outcome| match outcome.kind {
        Some(Kind::Credited(credited)) => match credited.account_number.parse::<AccountNumber>() {
            Ok(number) if number.branch() == destination => {
                Verdict::Credited { account: number.serial(), customer: CustomerId::new(credited.customer_id).ok() }
            }
            _ => not_understood(),
        },
        Some(Kind::Rejected(failure)) => declined(failure).map_or_else(not_understood, Verdict::Rejected),
        Some(Kind::Cancelled(_)) => Verdict::Cancelled,
        Some(Kind::Undecided(failure)) => declined(failure).map_or_else(not_understood, Verdict::Undecided),
        None => not_understood(),
    });
    Ok(Heard { epoch: answer.destination_epoch, cut: answer.cut, verdicts: verdicts.collect() })
}

fn not_understood() -> Verdict {
    Verdict::Undecided(Declined::new(ErrorCode::Internal).with("reason", "the peer's answer is not understood"))
}

fn declined(failure: wire::Failure) -> Option<Declined> {
    Some(Declined { code: ErrorCode::from_text(&failure.code)?, metadata: failure.metadata })
}
