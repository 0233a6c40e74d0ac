//! What two branches owe each other, what is under way between them, and where they differ.

use super::{BranchCut, PeerRecord};
use bank_proto::{BranchId, Currency};
use std::collections::BTreeMap;

/// Two branches that ever exchanged money, as both their books say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The lower of the two numbers.
    pub first: BranchId,
    /// The other.
    pub second: BranchId,
    /// The money, by currency.
    pub lines: Vec<PositionLine>,
    /// Transfers from the first to the second that have not ended, reversals asked for included.
    pub outstanding_to_second: u64,
    /// The same the other way.
    pub outstanding_to_first: u64,
    /// What does not fit, the first transfer of each kind; empty in a bank that is well.
    pub differences: Vec<Difference>,
}

/// What two branches owe each other in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionLine {
    /// The currency.
    pub currency: Currency,
    /// What the first owes the second by the first's books, in minor units; below zero when it is owed.
    pub first_owes: i128,
    /// What the second owes the first by the second's books.
    pub second_owes: i128,
    /// What has left one of them and not arrived at the other: the sum of both.
    pub in_flight: i128,
}

/// Something on which two branches differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The receiver has an outcome of what the sender does not know.
    #[error(
        "number {number} from branch {from} to branch {to} has arrived and was never sent: branch {from} has lost rows"
    )]
    NeverSent {
        /// The sender.
        from: BranchId,
        /// The receiver.
        to: BranchId,
        /// The first such number.
        number: u64,
    },
    /// The sender has booked an end of what the receiver does not know.
    #[error(
        "number {number} from branch {from} to branch {to} has ended and has no outcome there: branch {to} has lost rows"
    )]
    NoOutcome {
        /// The sender.
        from: BranchId,
        /// The receiver.
        to: BranchId,
        /// The first such number.
        number: u64,
    },
    /// More has arrived than left.
    #[error("{amount} minor units of {currency} more have arrived than left")]
    Surplus {
        /// The currency.
        currency: Currency,
        /// How much, in its minor units, more than zero.
        amount: i128,
    },
    /// Nothing is under way, but money is.
    #[error("{amount} minor units of {currency} have left and not arrived, and no transfer is under way")]
    Lost {
        /// The currency.
        currency: Currency,
        /// How much, in its minor units, more than zero.
        amount: i128,
    },
}

impl Difference {
    /// What has an outcome at the receiver and is not known to the sender. The receiver must have been asked
    /// first.
    #[must_use]
    pub fn never_sent(sender: (BranchId, PeerRecord), receiver: (BranchId, PeerRecord)) -> Option<Difference> {
        let ((from, sender), (to, receiver)) = (sender, receiver);
        let number = sender.sent + 1;
        (receiver.received_last >= number).then_some(Difference::NeverSent { from, to, number })
    }

    /// What has ended at the sender and has no outcome at the receiver. The sender must have been asked first.
    #[must_use]
    pub fn no_outcome(sender: (BranchId, PeerRecord), receiver: (BranchId, PeerRecord)) -> Option<Difference> {
        let ((from, sender), (to, receiver)) = (sender, receiver);
        let number = receiver.received_up_to + 1;
        (sender.lowest_outstanding > number).then_some(Difference::NoOutcome { from, to, number })
    }
}

impl Position {
    /// The position of two branches; None when they never exchanged anything.
    pub(super) fn of(first: (BranchId, &BranchCut), second: (BranchId, &BranchCut)) -> Option<Position> {
        let (there, back) = (first.1.peer(second.0), second.1.peer(first.0));
        let (owed_there, owed_back) = (first.1.clearing(second.0), second.1.clearing(first.0));
        let nothing = there.sent + there.received_last + back.sent + back.received_last == 0;
        if nothing && owed_there.is_empty() && owed_back.is_empty() {
            return None;
        }
        let mut lines: BTreeMap<Currency, PositionLine> = BTreeMap::new();
        for currency in owed_there.keys().chain(owed_back.keys()) {
            let [first_owes, second_owes] =
                [&owed_there, &owed_back].map(|owed| owed.get(currency).copied().unwrap_or_default());
            let in_flight = first_owes + second_owes;
            lines.insert(*currency, PositionLine { currency: *currency, first_owes, second_owes, in_flight });
        }
        let lines: Vec<PositionLine> = lines.into_values().collect();
        let mut differences = Vec::new();
        for ((from, sender), (to, receiver)) in
            [((first.0, there), (second.0, back)), ((second.0, back), (first.0, there))]
        {
            differences.extend(Difference::never_sent((from, sender), (to, receiver)));
            differences.extend(Difference::no_outcome((from, sender), (to, receiver)));
        }
        let is_at_rest = there.outstanding + back.outstanding == 0;
        for PositionLine { currency, in_flight, .. } in &lines {
            if *in_flight < 0 {
                differences.push(Difference::Surplus { currency: *currency, amount: -in_flight });
            } else if *in_flight > 0 && is_at_rest {
                differences.push(Difference::Lost { currency: *currency, amount: *in_flight });
            }
        }
        Some(Position {
            first: first.0,
            second: second.0,
            lines,
            outstanding_to_second: there.outstanding,
            outstanding_to_first: back.outstanding,
            differences,
        })
    }
}
