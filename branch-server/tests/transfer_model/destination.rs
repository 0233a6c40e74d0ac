//! What a destination does with a request: the rules in their order.

use crate::branch::{Branch, Row};
use crate::message::{Asked, Outcome, Request, Told};
use crate::rules::{Bug, Contact, Rules};

/// What a request leads to. What is stored is durable before the answer leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reaction {
    /// Not of this conversation.
    Nothing,
    Tell(Told),
    StoreAndTell(Row, Told),
    SuspendAndTell(Told),
}

pub(crate) fn receive(branch: &Branch, rules: &Rules, request: Request) -> Reaction {
    if !is_listening(branch, rules, request) {
        return Reaction::Nothing;
    }
    if request.epoch < branch.peer_epoch() && !rules.has(Bug::NoEpochCheck) {
        return Reaction::Tell(Told::StaleEpoch);
    }
    if branch.suspended {
        return Reaction::Tell(Told::Suspended);
    }
    let (Asked::Credit { id, pair_sequence } | Asked::Cancel { id, pair_sequence }) = request.asked;
    if let Some(outcome) = branch.arrival(id) {
        return Reaction::Tell(Told::Outcome(id, outcome));
    }
    if branch.has_received(pair_sequence) && !rules.has(Bug::NoSequenceCheck) {
        return Reaction::SuspendAndTell(Told::Suspended);
    }
    if has_lost_outcomes(branch, rules, request.lowest_outstanding) {
        return Reaction::SuspendAndTell(Told::Suspended);
    }
    let outcome = decide(branch, request.asked);
    let told = Told::Outcome(id, outcome);
    if outcome == Outcome::Cancelled && rules.has(Bug::NoTombstone) {
        return Reaction::Tell(told);
    }
    Reaction::StoreAndTell(Row::Arrived { id, pair_sequence, peer_epoch: request.epoch, outcome }, told)
}

/// Whether the request belongs to the conversation that the destination is in.
pub(crate) fn is_listening(branch: &Branch, rules: &Rules, request: Request) -> bool {
    match rules.contact {
        Contact::Loose => true,
        Contact::Calls => request.to_life == branch.life,
        Contact::Greeting if rules.has(Bug::TakesOldRequests) => true,
        Contact::Greeting => request.to_life == branch.life && request.life == branch.peer_life,
    }
}

/// The source has outcomes for everything below its lowest outstanding; if they are not here, this is an older copy.
pub(crate) fn has_lost_outcomes(branch: &Branch, rules: &Rules, lowest_outstanding: u8) -> bool {
    lowest_outstanding > branch.received_up_to() + 1 && !rules.has(Bug::NoLowestOutstandingCheck)
}

fn decide(branch: &Branch, asked: Asked) -> Outcome {
    match asked {
        Asked::Cancel { .. } => Outcome::Cancelled,
        Asked::Credit { .. } if branch.is_payee_closed() => Outcome::Rejected,
        Asked::Credit { .. } => Outcome::Credited,
    }
}
