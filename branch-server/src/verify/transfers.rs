//! What two branches say of the transfers between them must be the same story: invariants I3 and I4,
//! transfer by transfer, and with every amount the same, I2.

use crate::journal::{Row, Sequence};
use crate::ledger::Entry;
use crate::teller::{RowError, entry_of};
use bank_proto::{BranchId, Currency, TransactionId, TransactionKey};
use std::collections::{BTreeMap, HashMap};

/// What one branch's journal says of transfers to and from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossings {
    branch: BranchId,
    sent: BTreeMap<(BranchId, u64), Sent>,
    received: BTreeMap<(BranchId, u64), Received>,
    /// Where a transfer stands in `sent` that has not ended.
    under_way: HashMap<TransactionKey, (BranchId, u64)>,
}

/// A transfer at its payer's branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    transfer: TransactionKey,
    row: Sequence,
    amount: i64,
    currency: Option<Currency>,
    /// Whether the payee has it, and the row that says so.
    end: Option<(bool, Sequence)>,
}

/// A transfer at its payee's branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Received {
    transfer: TransactionKey,
    row: Sequence,
    /// What was credited; None when it was turned away.
    credited: Option<(i64, Option<Currency>)>,
}

/// What the branches' stories together say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Transfers between branches that have ended, with the same end at both.
    pub ended: u64,
    /// Transfers that have left and not ended at the payer's branch.
    pub in_flight: u64,
}

/// Two branches tell different stories.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("transfer {id}, number {number} from branch {} to branch {peer}: {what}", id.branch)]
pub struct Disagreement {
    /// Which transfer.
    pub id: TransactionId,
    /// Its number among those of the pair.
    pub number: u64,
    /// The payee's branch.
    pub peer: BranchId,
    /// What does not fit.
    pub what: String,
}

impl Crossings {
    /// Nothing yet.
    #[must_use]
    pub fn of(branch: BranchId) -> Crossings {
        Crossings { branch, sent: BTreeMap::new(), received: BTreeMap::new(), under_way: HashMap::new() }
    }

    /// Takes a row of the branch's journal. With `with_ends` false, ends are left out: see
    /// [`super::branch_later`].
    ///
    /// # Errors
    /// The row is not understood.
    pub(super) fn take(&mut self, row: &Row, with_ends: bool) -> Result<(), RowError> {
        if !row.kind.crosses_branches() && row.kind != crate::journal::RowKind::Refused {
            return Ok(());
        }
        match entry_of(row)? {
            Some(Entry::Sent { transfer, peer, pair_sequence, amount, .. }) => {
                let sent = Sent { transfer, row: row.sequence, amount, currency: row.currency, end: None };
                self.sent.insert((peer, pair_sequence), sent);
                self.under_way.insert(transfer, (peer, pair_sequence));
            }
            // A question: no money goes with it. What is sent back for it has a number of its own.
            Some(Entry::ReversalSent { reversal, peer, pair_sequence, .. }) => {
                let sent = Sent { transfer: reversal, row: row.sequence, amount: 0, currency: None, end: None };
                self.sent.insert((peer, pair_sequence), sent);
                self.under_way.insert(reversal, (peer, pair_sequence));
            }
            Some(Entry::ReversalAccepted(arrival)) => {
                let received = Received { transfer: arrival.transfer, row: row.sequence, credited: Some((0, None)) };
                self.received.insert((arrival.source, arrival.pair_sequence), received);
            }
            Some(Entry::ReversalRefused { reversal, .. }) if with_ends => self.end(reversal, false, row.sequence),
            Some(Entry::Received { arrival, amount, .. }) => {
                let credited = Some((amount, row.currency));
                let received = Received { transfer: arrival.transfer, row: row.sequence, credited };
                self.received.insert((arrival.source, arrival.pair_sequence), received);
            }
            Some(Entry::TurnedAway(arrival)) => {
                let received = Received { transfer: arrival.transfer, row: row.sequence, credited: None };
                self.received.insert((arrival.source, arrival.pair_sequence), received);
            }
            Some(Entry::Completed { transfer, .. }) if with_ends => self.end(transfer, true, row.sequence),
            Some(Entry::Returned { transfer, .. }) if with_ends => self.end(transfer, false, row.sequence),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, transfer: TransactionKey, completed: bool, row: Sequence) {
        if let Some(sent) = self.under_way.remove(&transfer).and_then(|place| self.sent.get_mut(&place)) {
            sent.end = Some((completed, row));
        }
    }
}

/// Whether all branches' stories fit together. Branches that are not among them are not asked.
///
/// # Errors
/// The first transfer whose two branches do not say the same.
pub fn agree(branches: &[Crossings]) -> Result<Agreement, Disagreement> {
    let by_branch: BTreeMap<BranchId, &Crossings> = branches.iter().map(|story| (story.branch, story)).collect();
    let mut agreement = Agreement::default();
    for story in branches {
        for ((peer, number), sent) in &story.sent {
            let Some(theirs) = by_branch.get(peer) else { continue };
            let received = theirs.received.get(&(story.branch, *number));
            let id = TransactionId { branch: story.branch, key: sent.transfer };
            let fits = fit(sent, received);
            fits.map_err(|what| Disagreement { id, number: *number, peer: *peer, what })?;
            if sent.end.is_some() {
                agreement.ended += 1;
            } else {
                agreement.in_flight += 1;
            }
        }
        for ((source, number), received) in &story.received {
            let Some(theirs) = by_branch.get(source) else { continue };
            if !theirs.sent.contains_key(&(story.branch, *number)) {
                let id = TransactionId { branch: *source, key: received.transfer };
                let what = format!("it arrived (row {}), but was never sent", received.row);
                return Err(Disagreement { id, number: *number, peer: story.branch, what });
            }
        }
    }
    Ok(agreement)
}

fn fit(sent: &Sent, received: Option<&Received>) -> Result<(), String> {
    let Some(received) = received else {
        return match sent.end {
            None => Ok(()),
            Some((completed, row)) => {
                let end = if completed { "completed" } else { "returned" };
                Err(format!("the payer's branch says {end} (row {row}), the payee's has no outcome of it"))
            }
        };
    };
    if received.transfer != sent.transfer {
        return Err(format!(
            "sent in row {}, but another one arrived under its number (row {})",
            sent.row, received.row
        ));
    }
    match (sent.end, received.credited) {
        (_, Some((amount, currency))) if (amount, currency) != (sent.amount, sent.currency) => Err(format!(
            "{} minor units were sent (row {}), {amount} were credited (row {})",
            sent.amount, sent.row, received.row
        )),
        (Some((true, row)), None) => Err(format!(
            "the payer's branch says completed (row {row}), the payee's turned it away (row {})",
            received.row
        )),
        (Some((false, row)), Some(_)) => Err(format!(
            "the money went back to the payer (row {row}), and the payee has it too (row {})",
            received.row
        )),
        _ => Ok(()),
    }
}
