//! What must always hold, and what must be reachable.

use crate::bank::Bank;
use crate::branch::{Branch, Row};
use crate::message::{Asked, Outcome, Told};
use crate::rules::{Contact, Place, Rules, TRANSFERS};
use stateright::Property;

/// The names of the properties, for the tests that expect one to fail.
pub(crate) mod name {
    pub(crate) const CONSTANT: &str = "I2 customers and what is in flight are constant";
    pub(crate) const NEVER_NEGATIVE: &str = "I2 never less than nothing is in flight";
    pub(crate) const NOTHING_IN_FLIGHT: &str = "I2 nothing is in flight when every transfer has ended";
    pub(crate) const ONE_OUTCOME: &str =
        "I3 one arrival and one end of a transfer, one transfer under a pair sequence, and no two answers differ";
    pub(crate) const AGREEMENT: &str = "I4 COMPLETED only if CREDITED, FAILED only if REJECTED or CANCELLED";
    pub(crate) const FLOOR: &str = "I7 no balance is below zero";
    pub(crate) const EPOCHS: &str = "I9 no arrival is stored under an older epoch than one before";
    pub(crate) const ENDS: &str = "I6 at rest every transfer has ended";
    pub(crate) const NO_FALSE_ALARM: &str = "no pair is suspended without an older copy";
    pub(crate) const NOT_MADE: &str = "no money is made, but for debits that the older copy forgot";
    pub(crate) const NOT_RETURNED_AND_CREDITED: &str = "no transfer is both returned and credited";
    pub(crate) const NOT_COMPLETED_AND_REFUSED: &str = "no transfer is both completed and refused";
    pub(crate) const FENCED: &str = "what a later life has forgotten is not credited once that life was heard";
    pub(crate) const RECOGNISED: &str = "at rest, books that differ are recognised";
}

pub(crate) fn of(rules: &Rules) -> Vec<Property<Rules>> {
    let mut properties = vec![
        Property::always(name::CONSTANT, is_constant),
        Property::always(name::FLOOR, no_balance_is_below_zero),
        Property::always(name::EPOCHS, epochs_never_fall),
        Property::sometimes("a transfer is completed", |rules, bank| ended(rules, bank, Outcome::Credited)),
        Property::sometimes("a transfer fails by rejection", |rules, bank| ended(rules, bank, Outcome::Rejected)),
        Property::sometimes("a cancel wins the race", |rules, bank| ended(rules, bank, Outcome::Cancelled)),
        Property::sometimes("a cancel loses the race", a_cancel_lost),
        Property::sometimes("both transfers are completed", both_completed),
    ];
    // With conversations the network keeps nothing of earlier ones, in which alone this could be seen.
    if rules.crashes > 0 && rules.contact == Contact::Loose {
        properties.push(Property::sometimes("a repeat is answered from the inbox", is_answered_again));
        properties.push(Property::sometimes("a zombie is turned away", is_turned_away));
    }
    properties.extend(if rules.restored.is_none() { without_older_copies() } else { with_an_older_copy() });
    properties
}

fn without_older_copies() -> Vec<Property<Rules>> {
    vec![
        Property::always(name::NEVER_NEGATIVE, |rules, bank| in_flight(rules, bank) >= 0),
        Property::always(name::NOTHING_IN_FLIGHT, |rules, bank| !all_ended(rules, bank) || in_flight(rules, bank) == 0),
        Property::always(name::ONE_OUTCOME, |rules, bank| {
            one_row_each(rules, bank) && one_transfer_per_pair_sequence(bank) && no_answers_differ(bank)
        }),
        Property::always(name::AGREEMENT, ends_agree_with_arrivals),
        Property::always(name::NO_FALSE_ALARM, |_, bank| !is_suspended(bank)),
        Property::always(name::ENDS, |rules, bank| all_ended(rules, bank) || !bank.is_at_rest(rules)),
    ]
}

fn with_an_older_copy() -> Vec<Property<Rules>> {
    vec![
        Property::always(name::ONE_OUTCOME, |rules, bank| {
            one_row_each(rules, bank) && one_transfer_per_pair_sequence(bank)
        }),
        Property::always(name::NOT_MADE, no_money_is_made),
        Property::always(name::NOT_RETURNED_AND_CREDITED, |rules, bank| {
            !meet(rules, bank, |end, arrival| end != Outcome::Credited && arrival == Outcome::Credited)
        }),
        Property::always(name::NOT_COMPLETED_AND_REFUSED, |rules, bank| {
            !meet(rules, bank, |end, arrival| end == Outcome::Credited && arrival != Outcome::Credited)
        }),
        Property::always(name::FENCED, |_, bank: &Bank| !bank.seen.credited_what_was_forgotten),
        Property::always(name::RECOGNISED, |rules, bank| {
            is_suspended(bank) || books_agree(rules, bank) || !bank.is_at_rest(rules)
        }),
        Property::sometimes("an older copy is recognised", |_, bank| is_suspended(bank)),
    ]
}

fn transfers() -> impl Iterator<Item = u8> {
    0..TRANSFERS as u8
}

fn in_flight(rules: &Rules, bank: &Bank) -> i8 {
    Place::BOTH.iter().map(|&place| bank.branch(place).clearing_balance(rules)).sum()
}

fn is_constant(rules: &Rules, bank: &Bank) -> bool {
    let customers = |branch: &Branch| branch.payer_balance(rules) + branch.payee_balance(rules);
    let total: i8 = Place::BOTH.iter().map(|&place| customers(bank.branch(place))).sum();
    total + in_flight(rules, bank) == 2 * rules.opening_balance
}

fn no_balance_is_below_zero(rules: &Rules, bank: &Bank) -> bool {
    Place::BOTH.iter().all(|&place| {
        let branch = bank.branch(place);
        branch.payer_balance(rules) >= 0 && branch.payee_balance(rules) >= 0
    })
}

fn epochs_never_fall(_: &Rules, bank: &Bank) -> bool {
    Place::BOTH.iter().all(|&place| bank.branch(place).arrivals().map(|arrival| arrival.2).is_sorted())
}

fn arrival(rules: &Rules, bank: &Bank, transfer: u8) -> Option<Outcome> {
    bank.destination(rules, transfer).arrivals().find(|arrival| arrival.0.transfer == transfer).map(|it| it.3)
}

fn end(rules: &Rules, bank: &Bank, transfer: u8) -> Option<Outcome> {
    bank.source(rules, transfer).end(transfer)
}

fn ended(rules: &Rules, bank: &Bank, outcome: Outcome) -> bool {
    transfers().any(|transfer| end(rules, bank, transfer) == Some(outcome))
}

fn both_completed(rules: &Rules, bank: &Bank) -> bool {
    transfers().all(|transfer| end(rules, bank, transfer) == Some(Outcome::Credited))
}

/// Whether every transfer whose money was taken has ended.
fn all_ended(rules: &Rules, bank: &Bank) -> bool {
    transfers().all(|transfer| {
        let source = bank.source(rules, transfer);
        !source.is_debited(transfer) || source.end(transfer).is_some()
    })
}

fn one_row_each(rules: &Rules, bank: &Bank) -> bool {
    transfers().all(|transfer| {
        let arrivals = bank.destination(rules, transfer).arrivals().filter(|arrival| arrival.0.transfer == transfer);
        let sent = |row: &&Row| matches!(**row, Row::Sent { transfer: sent, .. } if sent == transfer);
        let source = bank.source(rules, transfer);
        arrivals.count() <= 1 && source.ends(transfer) <= 1 && source.journal.iter().filter(sent).count() <= 1
    })
}

fn one_transfer_per_pair_sequence(bank: &Bank) -> bool {
    let arrivals = |place| bank.branch(place).arrivals();
    Place::BOTH
        .iter()
        .all(|&place| arrivals(place).all(|one| arrivals(place).all(|two| one.0 == two.0 || one.1 != two.1)))
}

fn no_answers_differ(bank: &Bank) -> bool {
    let outcomes = || {
        bank.network.answers().iter().filter_map(|answer| match answer.told {
            Told::Outcome(id, outcome) => Some((id, outcome)),
            _ => None,
        })
    };
    outcomes().all(|(id, outcome)| outcomes().all(|(other, told)| other != id || told == outcome))
}

fn ends_agree_with_arrivals(rules: &Rules, bank: &Bank) -> bool {
    transfers().all(|transfer| {
        let end = end(rules, bank, transfer);
        end.is_none() || end == arrival(rules, bank, transfer)
    })
}

/// Whether some transfer's end and arrival stand side by side in the way that is asked for.
fn meet(rules: &Rules, bank: &Bank, wanted: fn(Outcome, Outcome) -> bool) -> bool {
    transfers().any(|transfer| {
        let both = end(rules, bank, transfer).zip(arrival(rules, bank, transfer));
        both.is_some_and(|(end, arrival)| wanted(end, arrival))
    })
}

fn is_suspended(bank: &Bank) -> bool {
    Place::BOTH.iter().any(|&place| bank.branch(place).suspended)
}

/// What is in flight is less than nothing by no more than what was credited for debits that the copy does not know.
fn no_money_is_made(rules: &Rules, bank: &Bank) -> bool {
    let is_forgotten = |&transfer: &u8| {
        arrival(rules, bank, transfer) == Some(Outcome::Credited) && !bank.source(rules, transfer).is_debited(transfer)
    };
    let forgotten: i8 =
        transfers().filter(is_forgotten).map(|transfer| rules.transfers[usize::from(transfer)].amount).sum();
    in_flight(rules, bank) + forgotten >= 0
}

fn books_agree(rules: &Rules, bank: &Bank) -> bool {
    transfers().all(|transfer| {
        let is_sent = bank.source(rules, transfer).is_debited(transfer);
        end(rules, bank, transfer) == arrival(rules, bank, transfer) && is_sent == end(rules, bank, transfer).is_some()
    })
}

fn a_cancel_lost(rules: &Rules, bank: &Bank) -> bool {
    bank.network.requests().iter().any(|request| {
        matches!(request.asked, Asked::Cancel { id, .. } if end(rules, bank, id.transfer) == Some(Outcome::Credited))
    })
}

fn is_answered_again(_: &Rules, bank: &Bank) -> bool {
    let answers = bank.network.answers();
    answers.iter().any(|one| {
        matches!(one.told, Told::Outcome(..)) && answers.iter().any(|two| two.told == one.told && two.epoch > one.epoch)
    })
}

fn is_turned_away(_: &Rules, bank: &Bank) -> bool {
    bank.network.answers().iter().any(|answer| answer.told == Told::StaleEpoch)
}
