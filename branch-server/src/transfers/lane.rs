//! One lane per pair of branches: deliver, book the outcomes, and try again for ever.

use super::courier::Source;
use super::message::{Message, Verdict};
use super::{greeting, orders};
use crate::planted::{Bug, is_planted};
use crate::service::Bank;
use crate::teller::{Answer, Asked, Declined, Job, Parcel};
use bank_proto::{BranchId, ErrorCode, limits};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

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
    due: BTreeMap<u64, Due>,
    /// The epoch under which the other branch answered a greeting; None before that.
    greeted: Option<u64>,
    /// How often in a row the other branch was not heard.
    failures: u32,
    /// Something does not get through, and the log knows.
    is_troubled: bool,
}

/// A transfer that has not ended.
struct Due {
    parcel: Parcel,
    /// How often in a row it was left undecided.
    undecided: u32,
    /// Not before: what is not decided must not keep others waiting.
    next: Instant,
}

impl Lane {
    pub(super) fn new(bank: Arc<Bank>, source: Source, peer: BranchId) -> Lane {
        Lane { bank, source, peer, due: BTreeMap::new(), greeted: None, failures: 0, is_troubled: false }
    }

    /// Delivers whatever comes, until the courier is gone.
    pub(super) async fn run(mut self, mut parcels: mpsc::UnboundedReceiver<Parcel>) {
        loop {
            let next = self.due.values().map(|due| due.next).min();
            tokio::select! {
                biased;
                parcel = parcels.recv() => match parcel {
                    Some(parcel) => self.take(parcel),
                    None => return,
                },
                () = until(next) => {}
            }
            while let Ok(parcel) = parcels.try_recv() {
                self.take(parcel);
            }
            match self.round().await {
                Ok(()) => {
                    self.failures = 0;
                    self.recovered();
                }
                Err(declined) => {
                    self.failures = self.failures.saturating_add(1);
                    self.report(&declined);
                    tokio::time::sleep(self.pause(self.failures)).await;
                }
            }
        }
    }

    fn take(&mut self, parcel: Parcel) {
        let due = Due { next: self.bank.now(), undecided: 0, parcel };
        self.due.insert(due.parcel.delivery.pair_sequence, due);
    }

    /// One message, and the booking of what it brought.
    async fn round(&mut self) -> Result<(), Declined> {
        if self.due.is_empty() {
            return Ok(());
        }
        if self.greeted.is_none() {
            self.greeted = Some(greeting::greet(&self.bank, &self.source, self.peer).await?);
        }
        let message = self.message();
        let numbers: Vec<u64> = message.items.iter().map(|(delivery, _)| delivery.pair_sequence).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let heard = if is_planted(Bug::VoidOnTimeout) && message.items.iter().any(|(_, is_late)| *is_late) {
            let verdicts = message.items.iter().map(|_| Verdict::Cancelled).collect();
            super::Heard { epoch: self.greeted.unwrap_or_default(), cut: 0, verdicts }
        } else {
            self.bank.deliver(message).await?
        };
        if self.greeted != Some(heard.epoch) {
            // Another owner speaks: it is greeted first, and asked again.
            self.greeted = None;
            return Box::pin(self.round()).await;
        }
        let (mut decided, mut undecided) = (Vec::new(), Vec::new());
        for (number, verdict) in numbers.into_iter().zip(heard.verdicts) {
            match verdict {
                Verdict::Undecided(declined) => undecided.push((number, declined)),
                verdict => decided.push((number, verdict)),
            }
        }
        self.book(heard.epoch, heard.cut, decided, &mut undecided).await?;
        for (number, _) in &undecided {
            self.postpone(*number);
        }
        if let Some((_, declined)) = undecided.first() {
            self.report(declined);
        }
        Ok(())
    }

    /// Asks for a transfer again later, and meanwhile for the others.
    fn postpone(&mut self, number: u64) {
        let Some(undecided) = self.due.get(&number).map(|due| due.undecided.saturating_add(1)) else { return };
        let next = self.bank.now() + self.pause(undecided);
        if let Some(due) = self.due.get_mut(&number) {
            (due.undecided, due.next) = (undecided, next);
        }
    }

    fn message(&self) -> Message {
        let now = self.bank.wall_clock();
        let instant = self.bank.now();
        let ready = self.due.values().filter(|due| due.next <= instant).take(limits::DELIVERIES);
        let mut cut = 0;
        let items = ready.map(|Due { parcel, .. }| {
            cut = cut.max(parcel.cut);
            let is_late = now.since(parcel.sent_at) > PATIENCE;
            let mut delivery = parcel.delivery.clone();
            if is_planted(Bug::RetryWithNewId) {
                delivery.transfer.0 ^= u128::from(self.failures);
            }
            (delivery, is_late)
        });
        let items = items.collect();
        Message {
            source: self.source.branch,
            destination: self.peer,
            epoch: self.source.epoch,
            lowest_outstanding: self.due.keys().next().copied().unwrap_or(u64::MAX),
            cut,
            items,
        }
    }

    /// Ends transfers as the payee's branch said, in the payer's journal, and tells who waits. What cannot
    /// be ended now is left undecided.
    async fn book(
        &mut self,
        peer_epoch: u64,
        cut: u64,
        decided: Vec<(u64, Verdict)>,
        undecided: &mut Vec<(u64, Declined)>,
    ) -> Result<(), Declined> {
        let mut numbers = Vec::with_capacity(decided.len());
        let mut requests: Vec<Asked> = Vec::with_capacity(1 + decided.len());
        // The other branch may have heard of a cut that this one has not.
        requests.push(orders::cut_heard(cut));
        for (number, verdict) in decided {
            let Some(Due { parcel, .. }) = self.due.get(&number) else { continue };
            if let Some(asked) = orders::settle(parcel.delivery.transfer, self.peer, peer_epoch, &verdict) {
                numbers.push(number);
                requests.push(asked);
            }
        }
        if numbers.is_empty() {
            return Ok(());
        }
        if is_planted(Bug::EndOnlyTold) {
            let now = self.bank.wall_clock();
            for number in numbers {
                if let Some(Due { parcel, .. }) = self.due.remove(&number) {
                    let (payee, customer) = (bank_proto::AccountSerial(1), None);
                    let end = crate::teller::TransferEnd::Completed { payee, customer, at: now };
                    self.source.watchers.tell(parcel.delivery.transfer, &end);
                }
            }
            return Ok(());
        }
        let (sender, receiver) = oneshot::channel();
        let reply = Box::new(move |answers, _| {
            // Only a lane that is being dropped does not wait for this.
            let _ = sender.send(answers);
        });
        let refused = |_| Declined::new(ErrorCode::BranchUnavailable);
        self.source.teller.submit_settlement(Job { requests, reply }).map_err(refused)?;
        let answers = receiver.await.map_err(|_| Declined::new(ErrorCode::BranchUnavailable))?;
        for (number, answered) in numbers.into_iter().zip(answers.into_iter().skip(1)) {
            match answered.answer {
                Answer::Ended(end) => {
                    if let Some(Due { parcel, .. }) = self.due.remove(&number) {
                        self.source.watchers.tell(parcel.delivery.transfer, &end);
                    }
                }
                Answer::Refused(declined) => undecided.push((number, declined)),
                _ => undecided.push((number, Declined::new(ErrorCode::Internal))),
            }
        }
        Ok(())
    }

    /// Says so when everything gets through again.
    fn recovered(&mut self) {
        if self.is_troubled && self.due.values().all(|due| due.undecided == 0) {
            self.is_troubled = false;
            self.measure();
            tracing::info!(branch = %self.source.branch, peer = %self.peer, "transfers get through again");
        }
    }

    /// Says what is wrong when it begins: once, however many transfers it holds up and for however long.
    fn report(&mut self, declined: &Declined) {
        let (branch, peer, code) = (self.source.branch, self.peer, declined.code);
        let labels = [("branch", branch.to_string()), ("peer", peer.to_string())];
        metrics::counter!("florin_transfer_delivery_failures_total", &labels).increment(1);
        self.measure();
        if std::mem::replace(&mut self.is_troubled, true) {
            return;
        }
        let reason = declined.metadata.get("reason").map_or("", String::as_str);
        let waiting = self.due.len();
        match code {
            // Not a matter of waiting: one of the two branches is not what it was.
            ErrorCode::PairSuspended | ErrorCode::StaleEpoch | ErrorCode::IdempotencyKeyReused => {
                tracing::error!(%branch, %peer, %code, reason, waiting, "transfers to another branch are suspended; the two must be reconciled");
            }
            _ => {
                tracing::warn!(%branch, %peer, %code, reason, waiting, "transfers do not get through; they are tried again");
            }
        }
    }

    /// How many transfers are under way for too long.
    fn measure(&self) {
        let now = self.bank.wall_clock();
        let overdue = self.due.values().filter(|due| now.since(due.parcel.sent_at) > ALERT).count();
        let labels = [("branch", self.source.branch.to_string()), ("peer", self.peer.to_string())];
        metrics::gauge!("florin_transfers_overdue", &labels).set(u32::try_from(overdue).unwrap_or(u32::MAX));
    }

    /// A random part of a limit that doubles with every time.
    fn pause(&self, times: u32) -> Duration {
        let limit = FIRST_PAUSE.saturating_mul(1 << times.saturating_sub(1).min(10)).min(LONGEST_PAUSE);
        self.bank.part_of(limit)
    }
}

/// Becomes ready at a moment, or never without one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
