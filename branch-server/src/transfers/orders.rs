//! Messages -> orders for the tellers of both ends, and their answers -> verdicts.

use super::{Heard, Message, Verdict};
use crate::journal::Channel;
use crate::ledger::{Arrival, Command, Outcome, Past, Target};
use crate::teller::reason_detail;
use crate::teller::{Answer, Answered, Arrived, Asked, Caller, Declined, Delivery, Key, Order, Read, Request};
use bank_proto::{BranchId, ErrorCode, TransactionKey};
use std::sync::Arc;

/// The payee's branch: a message's transfers as what its teller is asked. The cut that the source has heard
/// of comes first.
pub(crate) fn arrival(message: &Message) -> Vec<Asked> {
    let asked = message.items.iter().map(|(delivery, cancel)| Asked {
        request: arrive(message, delivery, *cancel),
        // Its outcome is wanted whenever it comes.
        deadline: None,
    });
    std::iter::once(cut_heard(message.cut)).chain(asked).collect()
}

/// Either branch: what comes after this knows of a cut, so the branch's part in it comes before.
pub(super) fn cut_heard(cut: u64) -> Asked {
    Asked { request: Request::Read(Read::CutHeard(cut)), deadline: None }
}

fn arrive(message: &Message, delivery: &Delivery, cancel: bool) -> Request {
    let arrival = Arrival {
        source: message.source,
        transfer: delivery.transfer,
        payer: delivery.payer,
        payer_customer: delivery.payer_customer,
        pair_sequence: delivery.pair_sequence,
        epoch: message.epoch,
    };
    let command = if cancel {
        Command::Cancel(arrival)
    } else if let Some(original) = delivery.reverses {
        Command::Return { arrival, original, amount: delivery.amount, past: Past::Unknown }
    } else {
        Command::Receive { arrival, payee: delivery.payee, amount: delivery.amount }
    };
    let order = Order {
        key: Key::Given(delivery.transfer.arrival(message.source)),
        fingerprint: fingerprint(message.source, delivery),
        command,
        caller: Caller { principal: delivery.principal.clone(), channel: Channel::Branch },
        detail: memo(&delivery.memo),
        name: None,
    };
    Request::Arrive { order, arrival, lowest_outstanding: message.lowest_outstanding }
}

/// The same for crediting and for cancelling: they ask for the same transfer's one outcome.
fn fingerprint(source: BranchId, delivery: &Delivery) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("florin 2026 transfer arrival content");
    hasher.update(&source.get().to_le_bytes());
    hasher.update(&delivery.transfer.0.to_le_bytes());
    hasher.update(&delivery.pair_sequence.to_le_bytes());
    match delivery.payee {
        Target::Customer(customer) => hasher.update(b"c").update(&customer.get().to_le_bytes()),
        Target::Account(serial) => hasher.update(b"a").update(&serial.0.to_le_bytes()),
    };
    hasher.update(&delivery.amount.minor().to_le_bytes());
    hasher.update(delivery.amount.currency().code().as_bytes());
    if let Some(original) = delivery.reverses {
        hasher.update(b"r").update(&original.0.to_le_bytes());
    }
    let mut fingerprint = [0; 16];
    hasher.finalize_xof().fill(&mut fingerprint);
    fingerprint
}

fn memo(memo: &str) -> Option<Box<str>> {
    if memo.is_empty() {
        return None;
    }
    Some(serde_json::json!({ "memo": memo }).to_string().into_boxed_str())
}

/// The payee's branch: what its teller says of an arrival, for the payer's.
pub(crate) fn heard(epoch: u64, answers: Vec<Answered>) -> Heard {
    let mut answers = answers.into_iter();
    let cut = match answers.next().map(|first| first.answer) {
        Some(Answer::CutHeard(newest)) => newest,
        _ => 0,
    };
    Heard { epoch, cut, verdicts: answers.map(verdict).collect() }
}

fn verdict(answered: Answered) -> Verdict {
    match answered.answer {
        Answer::Arrived(Arrived::Credited { account, customer }) => Verdict::Credited { account, customer },
        // The money that was asked back is on its way.
        Answer::Transfer(view) => match view.payer {
            Some(account) => Verdict::Credited { account, customer: view.payer_customer },
            None => Verdict::Undecided(Declined::new(ErrorCode::Internal)),
        },
        Answer::Arrived(Arrived::Cancelled) => Verdict::Cancelled,
        Answer::Refused(declined) if is_undecided(declined.code) => Verdict::Undecided(declined),
        Answer::Refused(declined) => Verdict::Rejected(declined),
        _ => Verdict::Undecided(Declined::new(ErrorCode::Internal)),
    }
}

/// Whether a refusal leaves a transfer open: it was not stored under the arrival's key.
fn is_undecided(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::StaleEpoch
            | ErrorCode::PairSuspended
            | ErrorCode::StorageFull
            | ErrorCode::Overloaded
            | ErrorCode::BranchUnavailable
            | ErrorCode::DeadlineExceeded
            | ErrorCode::IdempotencyKeyReused
            | ErrorCode::Internal
    )
}

/// The payer's branch: the order that ends a transfer as the payee's branch said; None while it has
/// not said.
pub(super) fn settle(transfer: TransactionKey, peer: BranchId, peer_epoch: u64, verdict: &Verdict) -> Option<Asked> {
    // What the order says beside its id is which of the two ends it is.
    const CREDITED: [u8; 16] = [1; 16];
    const RETURNED: [u8; 16] = [2; 16];
    let expired = Declined::new(ErrorCode::TransferExpired);
    let (outcome, fingerprint, detail) = match verdict {
        Verdict::Credited { account, customer } => {
            (Outcome::Credited { account: *account, customer: *customer }, CREDITED, None)
        }
        Verdict::Rejected(declined) => (Outcome::Returned, RETURNED, reason_detail(declined)),
        Verdict::Cancelled => (Outcome::Returned, RETURNED, reason_detail(&expired)),
        Verdict::Undecided(_) => return None,
    };
    let order = Order {
        key: Key::Given(transfer.outcome()),
        fingerprint,
        command: Command::Settle { transfer, outcome, peer, peer_epoch },
        caller: Caller { principal: Arc::from(BANK), channel: Channel::Branch },
        detail,
        name: None,
    };
    Some(Asked { request: Request::Write(order), deadline: None })
}

/// The principal of what the bank does by itself.
const BANK: &str = "bank";
