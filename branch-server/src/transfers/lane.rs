//! One lane per pair of branches: deliver, book the outcomes, and try again for ever.

use super::courier::Source;
use super::message::{Message, Verdict};
use super::orders;
use crate::service::Bank;
use crate::teller::{Answer, Asked, Declined, Job, Parcel};
use bank_proto::{BranchId, ErrorCode, limits};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Past this age the payee's branch is asked to cancel. Clocks only choose when to ask: that branch
/// decides.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest pause before the first and before every later try (DESIGN.md, money between branches);
/// each pause is a random part of it, so that peers do not come back all at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Under way for longer than this, somebody should look (DESIGN.md).
const ALERT: Duration = Duration::from_secs(60);

/// The transfers from one branch to one other.
pub(super) struct Lane {
    bank: Arc<Bank>,
    source: Source,
    peer: BranchId,
    /// By their numbers: what has not ended.
    due: BTreeMap<u64, Parcel>,
    /// How often in a row nothing could be done.
    failures: u32,
}

impl Lane {
    pub(super) fn new(bank: Arc<Bank>, source: Source, peer: BranchId) -> Lane {
        Lane { bank, source, peer, due: BTreeMap::new(), failures: 0 }
    }

    /// Delivers whatever comes, until the courier is gone.
    pub(super) async fn run(mut self, mut parcels: mpsc::UnboundedReceiver<Parcel>) {
        loop {
            if self.due.is_empty() {
                let Some(parcel) = parcels.recv().await else { return };
                self.take(parcel);
            }
            while let Ok(parcel) = parcels.try_recv() {
                self.take(parcel);
            }
            match self.round().await {
                Ok(()) => self.recovered(),
                Err(declined) => {
                    self.failed(&declined);
                    tokio::time::sleep(self.pause()).await;
                }
            }
        }
    }

    fn take(&mut self, parcel: Parcel) {
        self.due.insert(parcel.delivery.pair_sequence, parcel);
    }

    /// One message, and the booking of what it brought.
    async fn round(&mut self) -> Result<(), Declined> {
        let message = self.message();
        let numbers: Vec<u64> = message.items.iter().map(|(delivery, _)| delivery.pair_sequence).collect();
        let heard = self.bank.deliver(message).await?;
        let mut undecided = None;
        let mut decided = Vec::new();
        for (number, verdict) in numbers.into_iter().zip(heard.verdicts) {
            match verdict {
                Verdict::Undecided(declined) => undecided = Some(declined),
                verdict => decided.push((number, verdict)),
            }
        }
        self.book(heard.epoch, decided).await?;
        match undecided {
            Some(declined) => Err(declined),
            None => Ok(()),
        }
    }

    fn message(&self) -> Message {
        let now = self.bank.wall_clock();
        let items = self.due.values().take(limits::DELIVERIES).map(|parcel| {
            let is_late = now.since(parcel.sent_at) > PATIENCE;
            (parcel.delivery.clone(), is_late)
        });
        Message {
            source: self.source.branch,
            destination: self.peer,
            epoch: self.source.epoch,
            lowest_outstanding: self.due.keys().next().copied().unwrap_or(u64::MAX),
            items: items.collect(),
        }
    }

    /// Ends transfers as the payee's branch said, in the payer's journal, and tells who waits.
    async fn book(&mut self, peer_epoch: u64, decided: Vec<(u64, Verdict)>) -> Result<(), Declined> {
        let mut numbers = Vec::with_capacity(decided.len());
        let mut requests: Vec<Asked> = Vec::with_capacity(decided.len());
        for (number, verdict) in decided {
            let Some(parcel) = self.due.get(&number) else { continue };
            if let Some(asked) = orders::settle(parcel.delivery.transfer, self.peer, peer_epoch, &verdict) {
                numbers.push(number);
                requests.push(asked);
            }
        }
        if requests.is_empty() {
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        let reply = Box::new(move |answers| {
            // Only a lane that is being dropped does not wait for this.
            let _ = sender.send(answers);
        });
        let refused = |_| Declined::new(ErrorCode::BranchUnavailable);
        self.source.teller.submit_settlement(Job { requests, reply }).map_err(refused)?;
        let answers = receiver.await.map_err(|_| Declined::new(ErrorCode::BranchUnavailable))?;
        let mut failure = None;
        for (number, answered) in numbers.into_iter().zip(answers) {
            match answered.answer {
                Answer::Ended(end) => {
                    if let Some(parcel) = self.due.remove(&number) {
                        self.source.watchers.tell(parcel.delivery.transfer, &end);
                    }
                }
                Answer::Refused(declined) => failure = Some(declined),
                _ => failure = Some(Declined::new(ErrorCode::Internal)),
            }
        }
        match failure {
            Some(declined) => Err(declined),
            None => Ok(()),
        }
    }

    fn recovered(&mut self) {
        if self.failures > 0 {
            tracing::info!(branch = %self.source.branch, peer = %self.peer, failures = self.failures, "transfers get through again");
        }
        self.failures = 0;
    }

    /// Says what is wrong when it begins, and again when a transfer is under way for too long.
    fn failed(&mut self, declined: &Declined) {
        self.failures = self.failures.saturating_add(1);
        metrics::counter!("florin_transfer_delivery_failures_total", "branch" => self.source.branch.to_string(), "peer" => self.peer.to_string())
            .increment(1);
        let (branch, peer, code) = (self.source.branch, self.peer, declined.code);
        let reason = declined.metadata.get("reason").map_or("", String::as_str);
        let waiting = self.due.len();
        match code {
            // Not a matter of waiting: one of the two branches is not what it was.
            ErrorCode::PairSuspended | ErrorCode::StaleEpoch | ErrorCode::IdempotencyKeyReused
                if self.failures == 1 =>
            {
                tracing::error!(%branch, %peer, %code, reason, waiting, "transfers to another branch are suspended; the two must be reconciled");
            }
            _ if self.failures == 1 => {
                tracing::warn!(%branch, %peer, %code, reason, waiting, "transfers do not get through; they are tried again");
            }
            _ => {}
        }
        let now = self.bank.wall_clock();
        let overdue = self.due.values().filter(|parcel| now.since(parcel.sent_at) > ALERT).count();
        metrics::gauge!("florin_transfers_overdue", "branch" => branch.to_string(), "peer" => peer.to_string())
            .set(u32::try_from(overdue).unwrap_or(u32::MAX));
    }

    /// A random part of a limit that doubles with every failure.
    fn pause(&self) -> Duration {
        let limit = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(10)).min(LONGEST_PAUSE);
        self.bank.part_of(limit)
    }
}
