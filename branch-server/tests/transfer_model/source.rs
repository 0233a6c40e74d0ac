//! What a source does: it debits and lists in one commit, sends whatever its outbox holds, and books outcomes.

use crate::branch::{Branch, Row};
use crate::message::{Answer, Asked, Id, Request, Told};
use crate::rules::{Bug, Contact, Place, Rules, TRANSFERS};

/// The payer's order: the row to commit, or nothing if it is refused or was given before.
pub(crate) fn order(branch: &Branch, rules: &Rules, transfer: u8) -> Option<Row> {
    let amount = rules.transfers[usize::from(transfer)].amount;
    let is_covered = branch.payer_balance(rules) >= amount || rules.has(Bug::CheckOutsideCommit);
    if branch.is_debited(transfer) || branch.suspended || !is_covered {
        return None;
    }
    if rules.has(Bug::OutboxInSecondCommit) {
        return Some(Row::Debited { transfer });
    }
    Some(Row::Sent { transfer, pair_sequence: branch.sent() + 1 })
}

/// The second commit of a source with that bug. It knows of the debit only as long as it lives.
pub(crate) fn list(branch: &Branch, transfer: u8) -> Option<Row> {
    let this_life = branch.journal.rsplit(|row| *row == Row::Opened).next().unwrap_or(&[]);
    let is_due = this_life.contains(&Row::Debited { transfer }) && branch.pair_sequence(transfer).is_none();
    is_due.then(|| Row::Listed { transfer, pair_sequence: branch.sent() + 1 })
}

/// Everything that this branch may send as it stands: what its outbox holds.
pub(crate) fn requests(branch: &Branch, rules: &Rules, place: Place, is_late: &[bool; TRANSFERS]) -> Vec<Request> {
    let is_greeted = rules.contact != Contact::Greeting || branch.peer_life != 0;
    if branch.suspended || !is_greeted {
        return Vec::new();
    }
    let request = |(transfer, pair_sequence)| Request {
        from: place,
        epoch: branch.epoch(),
        lowest_outstanding: branch.lowest_outstanding(),
        life: branch.life,
        to_life: branch.peer_life,
        asked: item(branch, rules, transfer, pair_sequence, is_late),
    };
    branch.outbox().map(request).collect()
}

fn item(branch: &Branch, rules: &Rules, transfer: u8, pair_sequence: u8, is_late: &[bool; TRANSFERS]) -> Asked {
    let attempt = if rules.has(Bug::RetryWithNewId) { branch.epoch() - 1 } else { 0 };
    let id = Id { transfer, attempt };
    let pair_sequence = pair_sequence + attempt * TRANSFERS as u8;
    if is_late[usize::from(transfer)] {
        Asked::Cancel { id, pair_sequence }
    } else {
        Asked::Credit { id, pair_sequence }
    }
}

/// What an answer leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaction {
    Nothing,
    Store(Row),
    Suspend,
}

pub(crate) fn hear(branch: &Branch, rules: &Rules, answer: Answer) -> Reaction {
    // An answer of an older epoch is a zombie's.
    if branch.suspended || !is_listening(branch, rules, answer) || answer.epoch < branch.peer_epoch() {
        return Reaction::Nothing;
    }
    let Told::Outcome(Id { transfer, .. }, outcome) = answer.told else { return Reaction::Suspend };
    if branch.pair_sequence(transfer).is_none() {
        return Reaction::Suspend;
    }
    let times = branch.ends(transfer);
    if times == 2 || (times == 1 && !rules.has(Bug::SettleTwice)) {
        return Reaction::Nothing;
    }
    Reaction::Store(Row::Ended { transfer, outcome, peer_epoch: answer.epoch })
}

/// Whether the answer was asked for by this life, in the conversation that it is in.
pub(crate) fn is_listening(branch: &Branch, rules: &Rules, answer: Answer) -> bool {
    if rules.has(Bug::HearsOldAnswers) {
        return answer.to_life == branch.life;
    }
    (answer.to_life == 0 || answer.to_life == branch.life) && answer.life == branch.peer_life
}
