//! A branch: its journal, and what follows from it.

use crate::message::{Id, Outcome};
use crate::rules::{Rules, TRANSFERS};

/// One commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Row {
    /// The journal was opened: its epoch is the number of these.
    Opened,
    /// transfer_sent: payer to clearing, and the outbox row with it.
    Sent { transfer: u8, pair_sequence: u8 },
    /// Half of `Sent`, under the bug that splits it: payer to clearing.
    Debited { transfer: u8 },
    /// The other half: the outbox row.
    Listed { transfer: u8, pair_sequence: u8 },
    /// transfer_received, refused or transfer_cancelled: the one outcome under the arrival key.
    Arrived { id: Id, pair_sequence: u8, peer_epoch: u8, outcome: Outcome },
    /// transfer_completed or transfer_returned: how the source's transfer ended.
    Ended { transfer: u8, outcome: Outcome, peer_epoch: u8 },
    /// The payee's account takes no more money.
    PayeeClosed,
    /// Under the bug of an inbox that forgets.
    Forgot { id: Id },
}

/// A branch. Only the journal outlives a crash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Branch {
    pub(crate) journal: Vec<Row>,
    /// Memory: nothing of the pair is taken or sent until people have reconciled it.
    pub(crate) suspended: bool,
    /// Memory: the life of the peer that this branch talks to; 0: it does not know, or does not look.
    pub(crate) peer_life: u8,
    /// How many times the branch was opened in truth; an older copy of the journal cannot know it. Stands for the
    /// random number that an opening would draw.
    pub(crate) life: u8,
}

impl Branch {
    pub(crate) fn founded() -> Self {
        Self { journal: vec![Row::Opened], suspended: false, peer_life: 0, life: 1 }
    }

    /// Ends this life and begins the next from the first rows of the journal (all of them after a crash).
    pub(crate) fn reopen(&mut self, rows: usize) {
        self.journal.truncate(rows);
        self.journal.push(Row::Opened);
        self.suspended = false;
        self.peer_life = 0;
        self.life += 1;
    }

    pub(crate) fn epoch(&self) -> u8 {
        count(&self.journal, |row| matches!(row, Row::Opened))
    }

    /// The highest epoch of the peer that stands in a row.
    pub(crate) fn peer_epoch(&self) -> u8 {
        let epoch = |row: &Row| match *row {
            Row::Arrived { peer_epoch, .. } | Row::Ended { peer_epoch, .. } => peer_epoch,
            _ => 0,
        };
        self.journal.iter().map(epoch).max().unwrap_or(0)
    }

    /// The last pair sequence given out.
    pub(crate) fn sent(&self) -> u8 {
        count(&self.journal, |row| matches!(row, Row::Sent { .. } | Row::Listed { .. }))
    }

    pub(crate) fn pair_sequence(&self, of: u8) -> Option<u8> {
        self.journal.iter().find_map(|row| match *row {
            Row::Sent { transfer, pair_sequence } | Row::Listed { transfer, pair_sequence } if transfer == of => {
                Some(pair_sequence)
            }
            _ => None,
        })
    }

    pub(crate) fn is_debited(&self, of: u8) -> bool {
        self.journal
            .iter()
            .any(|row| matches!(*row, Row::Sent { transfer, .. } | Row::Debited { transfer } if transfer == of))
    }

    /// How a transfer of this source ended.
    pub(crate) fn end(&self, of: u8) -> Option<Outcome> {
        self.journal.iter().find_map(|row| match *row {
            Row::Ended { transfer, outcome, .. } if transfer == of => Some(outcome),
            _ => None,
        })
    }

    pub(crate) fn ends(&self, of: u8) -> usize {
        self.journal.iter().filter(|row| matches!(**row, Row::Ended { transfer, .. } if transfer == of)).count()
    }

    /// What is sent and has not ended: the transfer and its pair sequence.
    pub(crate) fn outbox(&self) -> impl Iterator<Item = (u8, u8)> + '_ {
        (0..TRANSFERS as u8)
            .filter(|&transfer| self.end(transfer).is_none())
            .filter_map(|transfer| Some((transfer, self.pair_sequence(transfer)?)))
    }

    pub(crate) fn lowest_outstanding(&self) -> u8 {
        self.outbox().map(|(_, pair_sequence)| pair_sequence).min().unwrap_or(self.sent() + 1)
    }

    /// What has arrived here from the peer, in the journal's order: id, pair sequence, the peer's epoch, outcome.
    pub(crate) fn arrivals(&self) -> impl Iterator<Item = (Id, u8, u8, Outcome)> + '_ {
        self.journal.iter().filter_map(|row| match *row {
            Row::Arrived { id, pair_sequence, peer_epoch, outcome } => Some((id, pair_sequence, peer_epoch, outcome)),
            _ => None,
        })
    }

    /// What the inbox knows: every arrival, unless a bug has it forget.
    pub(crate) fn inbox(&self) -> impl Iterator<Item = (Id, u8, u8, Outcome)> + '_ {
        self.arrivals().filter(|arrival| !self.journal.contains(&Row::Forgot { id: arrival.0 }))
    }

    pub(crate) fn arrival(&self, of: Id) -> Option<Outcome> {
        self.inbox().find(|arrival| arrival.0 == of).map(|arrival| arrival.3)
    }

    pub(crate) fn has_received(&self, pair_sequence: u8) -> bool {
        self.inbox().any(|arrival| arrival.1 == pair_sequence)
    }

    pub(crate) fn received_up_to(&self) -> u8 {
        (1..).take_while(|&pair_sequence| self.has_received(pair_sequence)).last().unwrap_or(0)
    }

    pub(crate) fn highest_received(&self) -> u8 {
        self.inbox().map(|arrival| arrival.1).max().unwrap_or(0)
    }

    pub(crate) fn is_payee_closed(&self) -> bool {
        self.journal.contains(&Row::PayeeClosed)
    }

    pub(crate) fn payer_balance(&self, rules: &Rules) -> i8 {
        rules.opening_balance
            + self.sum(rules, |row| match *row {
                Row::Sent { transfer, .. } | Row::Debited { transfer } => Some((transfer, -1)),
                Row::Ended { transfer, outcome: Outcome::Rejected | Outcome::Cancelled, .. } => Some((transfer, 1)),
                _ => None,
            })
    }

    pub(crate) fn payee_balance(&self, rules: &Rules) -> i8 {
        self.sum(rules, |row| match *row {
            Row::Arrived { id, outcome: Outcome::Credited, .. } => Some((id.transfer, 1)),
            _ => None,
        })
    }

    /// Credits minus debits of the account that stands for the peer.
    pub(crate) fn clearing_balance(&self, rules: &Rules) -> i8 {
        self.sum(rules, |row| match *row {
            Row::Sent { transfer, .. } | Row::Debited { transfer } => Some((transfer, 1)),
            Row::Ended { transfer, outcome: Outcome::Rejected | Outcome::Cancelled, .. } => Some((transfer, -1)),
            Row::Arrived { id, outcome: Outcome::Credited, .. } => Some((id.transfer, -1)),
            _ => None,
        })
    }

    fn sum(&self, rules: &Rules, leg: fn(&Row) -> Option<(u8, i8)>) -> i8 {
        let amount = |transfer: u8| rules.transfers[usize::from(transfer)].amount;
        self.journal.iter().filter_map(leg).map(|(transfer, sign)| sign * amount(transfer)).sum()
    }
}

fn count(journal: &[Row], wanted: fn(&Row) -> bool) -> u8 {
    journal.iter().filter(|row| wanted(row)).fold(0, |count, _| count + 1)
}
