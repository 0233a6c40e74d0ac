//! Money to and from other branches: what the books know of each peer.
//!
//! A transfer's money leaves the payer for the clearing account of the payee's branch, and stays
//! there until that branch has said how it ended. docs/TRANSFERS.md has the protocol.

use super::{Ledger, Target};
use crate::planted::{Bug, is_planted};
use bank_proto::{AccountSerial, BranchId, Currency, CustomerId, Money, Timestamp, TransactionKey, limits};
use std::collections::{BTreeMap, BTreeSet};

/// Who is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payee {
    /// An account of this branch.
    Here(Target),
    /// An account of another.
    At {
        /// Which branch.
        branch: BranchId,
        /// Which account there.
        target: Target,
        /// The transfer's key: under it the transfer stands in the outbox.
        transfer: TransactionKey,
    },
}

/// A transfer that left for another branch and has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// Its key.
    pub transfer: TransactionKey,
    /// Who is paid there.
    pub payee: Target,
    /// How much.
    pub amount: Money,
    /// The payer's account, where the money comes back to.
    pub debited: AccountSerial,
    /// The row that records it.
    pub row: u64,
    /// When it left.
    pub sent_at: Timestamp,
    /// The transfer whose money is asked back, when that is what is under way, and nothing has left.
    pub original: Option<TransactionKey>,
}

/// What a message from another branch says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The payer's branch.
    pub source: BranchId,
    /// The transfer's key there.
    pub transfer: TransactionKey,
    /// The payer's account there.
    pub payer: AccountSerial,
    /// Whose it is.
    pub payer_customer: Option<CustomerId>,
    /// The transfer's number among those from there to here.
    pub pair_sequence: u64,
    /// The epoch under which the source writes.
    pub epoch: u64,
}

/// How a transfer to another branch ended, as that branch said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The payee has the money.
    Credited {
        /// On this account there.
        account: AccountSerial,
        /// Whose it is.
        customer: Option<CustomerId>,
    },
    /// Refused or cancelled there: the payer gets it back.
    Returned,
}

/// Why nothing more may be exchanged with a peer, or with whoever speaks in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PairFault {
    /// An owner whose time is over: a later one was heard of.
    #[error("its epoch {epoch} is over; epoch {seen} was seen before")]
    StaleEpoch {
        /// The message's.
        epoch: u64,
        /// The highest that was seen.
        seen: u64,
    },
    /// Another transfer had the number: the source is an old copy that counts anew.
    #[error("its transfer {pair_sequence} was another one before: the source has lost what it sent")]
    SequenceUsed {
        /// The number.
        pair_sequence: u64,
    },
    /// The source has seen outcomes that are not here: this branch is an old copy.
    #[error("it has the outcome of transfer {missing}, which is not here: this branch has lost what it received")]
    OutcomesLost {
        /// The first transfer whose outcome is missing.
        missing: u64,
    },
}

/// What the books know of one peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pair {
    /// The number of the last transfer that left for there.
    pub(super) sent: u64,
    /// By number: those that have not ended.
    outbox: BTreeMap<u64, Outgoing>,
    /// The money among them, in minor units of each currency; no currency without any.
    exposure: BTreeMap<Currency, i128>,
    /// The highest epoch of the peer that was heard of.
    pub(super) peer_epoch: u64,
    /// Every transfer from there up to this number has its outcome here.
    pub(super) received_up_to: u64,
    /// Those above which have, too.
    pub(super) received_beyond: BTreeSet<u64>,
}

impl Pair {
    fn has_received(&self, pair_sequence: u64) -> bool {
        pair_sequence <= self.received_up_to || self.received_beyond.contains(&pair_sequence)
    }

    /// Puts something into the outbox.
    pub(super) fn put(&mut self, number: u64, outgoing: Outgoing) {
        if outgoing.original.is_none() {
            *self.exposure.entry(outgoing.amount.currency()).or_default() += i128::from(outgoing.amount.minor());
        }
        self.outbox.insert(number, outgoing);
    }

    /// Takes it out again.
    pub(super) fn take(&mut self, number: u64) -> Option<Outgoing> {
        let outgoing = self.outbox.remove(&number)?;
        let currency = outgoing.amount.currency();
        if let Some(exposure) = self.exposure.get_mut(&currency).filter(|_| outgoing.original.is_none()) {
            *exposure -= i128::from(outgoing.amount.minor());
            if *exposure == 0 {
                self.exposure.remove(&currency);
            }
        }
        Some(outgoing)
    }

    /// What would be under way to the peer with so much more, in minor units.
    pub(super) fn exposure_with(&self, money: Money) -> i128 {
        self.exposure.get(&money.currency()).copied().unwrap_or_default() + i128::from(money.minor())
    }

    /// Notes that a transfer from the peer has its outcome here.
    pub(super) fn receive(&mut self, pair_sequence: u64) {
        self.received_beyond.insert(pair_sequence);
        while self.received_beyond.remove(&(self.received_up_to + 1)) {
            self.received_up_to += 1;
        }
    }

    /// Takes [`Pair::receive`] back.
    pub(super) fn forget(&mut self, pair_sequence: u64, received_up_to: u64) {
        self.received_beyond.extend(received_up_to + 1..=self.received_up_to);
        self.received_up_to = received_up_to;
        self.received_beyond.remove(&pair_sequence);
    }

    /// Whether one more transfer may leave.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.len() < limits::TRANSFERS_IN_FLIGHT_PER_PAIR
    }
}

impl Ledger {
    /// The transfer with this key, if it left for another branch and has not ended.
    #[must_use]
    pub fn outgoing(&self, transfer: TransactionKey) -> Option<(BranchId, u64, &Outgoing)> {
        let (peer, pair_sequence) = *self.in_flight.get(&transfer)?;
        Some((peer, pair_sequence, self.pairs.get(&peer)?.outbox.get(&pair_sequence)?))
    }

    /// Lets no more money be under way to one other branch than so many minor units of each currency; 0 sets no
    /// such limit. No part of the books: another owner may set another.
    pub fn limit_clearing(&mut self, minor_units: i64) {
        self.clearing_limit = minor_units;
    }

    /// Every transfer that left and has not ended: peer, number, transfer.
    pub fn outbox(&self) -> impl Iterator<Item = (BranchId, u64, &Outgoing)> {
        self.pairs
            .iter()
            .flat_map(|(peer, pair)| pair.outbox.iter().map(|(number, outgoing)| (*peer, *number, outgoing)))
    }

    /// Every peer that money was ever exchanged with.
    pub fn peers(&self) -> impl Iterator<Item = PeerView> {
        self.pairs.iter().map(|(peer, pair)| PeerView {
            peer: *peer,
            sent: pair.sent,
            lowest_outstanding: pair.outbox.keys().next().map_or(pair.sent + 1, |first| *first),
            in_flight: pair.outbox.len(),
            peer_epoch: pair.peer_epoch,
            received_up_to: pair.received_up_to,
            received_beyond: pair.received_beyond.iter().copied().collect(),
        })
    }

    /// Whether a peer, or whoever speaks in its name, may be heard.
    ///
    /// # Errors
    /// [`PairFault::StaleEpoch`].
    pub fn hear(&self, peer: BranchId, epoch: u64) -> Result<(), PairFault> {
        match self.pairs.get(&peer) {
            Some(pair) if epoch < pair.peer_epoch && !is_planted(Bug::NoEpochCheck) => {
                Err(PairFault::StaleEpoch { epoch, seen: pair.peer_epoch })
            }
            _ => Ok(()),
        }
    }

    /// Whether a transfer that has no outcome here may get one. `lowest_outstanding` is the source's:
    /// everything below has ended there.
    ///
    /// # Errors
    /// The two branches' pasts do not fit together; nothing must be stored.
    pub fn admit(&self, arrival: &Arrival, lowest_outstanding: u64) -> Result<(), PairFault> {
        self.hear(arrival.source, arrival.epoch)?;
        let nothing = Pair::default();
        let pair = self.pairs.get(&arrival.source).unwrap_or(&nothing);
        if is_planted(Bug::NoNumberCheck) || is_planted(Bug::ExpiredInbox) || is_planted(Bug::RetryWithNewId) {
            return Ok(());
        }
        if pair.has_received(arrival.pair_sequence) {
            return Err(PairFault::SequenceUsed { pair_sequence: arrival.pair_sequence });
        }
        // `receive` keeps this number missing: it is the first without an outcome.
        let missing = pair.received_up_to + 1;
        if missing < lowest_outstanding {
            return Err(PairFault::OutcomesLost { missing });
        }
        Ok(())
    }
}

/// What the books know of one peer, for those who look after pairs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// The other branch.
    pub peer: BranchId,
    /// The number of the last transfer that left for there.
    pub sent: u64,
    /// Every transfer with a smaller number has ended.
    pub lowest_outstanding: u64,
    /// How many have not.
    pub in_flight: usize,
    /// The highest epoch of the peer that was heard of.
    pub peer_epoch: u64,
    /// Every transfer from there up to this number has its outcome here.
    pub received_up_to: u64,
    /// Those above which have, too.
    pub received_beyond: Vec<u64>,
}
