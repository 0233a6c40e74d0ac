//! One server's part: it beats, takes the branches that are its own, and gives back those that are another's.

use super::opener::{SharedOpener, TakeError, Taken};
use super::plan::plan;
use super::watch::Watch;
use super::{Lease, LeaseError, LeaseTable, Seen};
use crate::branches::{Teller, report_state};
use crate::environment::Workers;
use crate::hosting::refuse;
use crate::planted::{Bug, is_planted};
use crate::service::{Bank, Hosted, told_to_callers};
use bank_proto::BranchId;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// How often a server says that it is there and looks at the others.
const BEAT: Duration = Duration::from_millis(250);

/// Branches that one server opens at the same time.
const OPENINGS: usize = 4;

/// A branch that could not be opened is not tried again sooner.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Who a server is among the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Its ordinal.
    pub(crate) server: u32,
    /// The number that this process of it drew.
    pub(crate) instance: u64,
}

/// Keeps the branches of one server.
pub(crate) struct Keeper {
    terms: Terms,
    /// None while a worker has it.
    table: Option<Box<dyn LeaseTable>>,
    opener: SharedOpener,
    bank: Arc<Bank>,
    workers: Workers,
    /// Is told each branch that opened.
    opened: mpsc::UnboundedSender<BranchId>,
    /// Tells of branches whose tellers have ended by themselves.
    ended: mpsc::UnboundedReceiver<BranchId>,
    watch: Watch,
    serving: BTreeMap<BranchId, Serving>,
    opening: JoinSet<(BranchId, io::Result<Result<Taken, TakeError>>)>,
    closing: JoinSet<Closed>,
    /// Branches on their way, either way.
    busy: BTreeSet<BranchId>,
    /// Branches on their way whose tellers have ended already.
    ended_early: BTreeSet<BranchId>,
    /// Branches that wait for their next try.
    not_before: BTreeMap<BranchId, Instant>,
    /// Branches whose journal was not what was written, at the last look.
    suspect: BTreeSet<BranchId>,
    /// Branches that must not serve, for good.
    damaged: BTreeSet<BranchId>,
    /// The table is not read, and the log knows.
    is_troubled: bool,
    /// Another process has this server's place, and the log knows.
    is_superseded: bool,
}

/// A branch that is not served here any more, and its files are free.
enum Closed {
    /// In order: it is to be given back, under the epoch that it had.
    InOrder(BranchId, u64),
    /// It is another's, or is taken again.
    Lost(BranchId),
}

/// A branch that this server serves.
struct Serving {
    epoch: u64,
    teller: Teller,
    courier: JoinHandle<()>,
    /// The courier runs until this is gone.
    courier_goes_on: watch::Sender<()>,
}

impl Keeper {
    pub(crate) fn new(
        terms: Terms,
        table: Box<dyn LeaseTable>,
        opener: SharedOpener,
        bank: Arc<Bank>,
        opened: mpsc::UnboundedSender<BranchId>,
        ended: mpsc::UnboundedReceiver<BranchId>,
    ) -> Keeper {
        let (workers, watch) = (bank.workers(), Watch::new(bank.now()));
        Keeper {
            terms,
            table: Some(table),
            opener,
            bank,
            workers,
            opened,
            ended,
            watch,
            serving: BTreeMap::new(),
            opening: JoinSet::new(),
            closing: JoinSet::new(),
            busy: BTreeSet::new(),
            ended_early: BTreeSet::new(),
            not_before: BTreeMap::new(),
            suspect: BTreeSet::new(),
            damaged: BTreeSet::new(),
            is_troubled: false,
            is_superseded: false,
        }
    }

    /// Keeps branches until the server is told to stop, and then gives all of them back. As long as the other end of
    /// `serving` is there calls are answered, and so this goes on looking where their branches are.
    pub(crate) async fn run(mut self, mut serving: watch::Receiver<()>) {
        let bank = self.bank.clone();
        let mut next_beat = Instant::now();
        let (mut goes_on, mut is_leaving, mut has_said_so) = (true, false, false);
        loop {
            if bank.is_draining() {
                // At once, whenever it was noticed: until the others know they count on this server.
                if !std::mem::replace(&mut is_leaving, true) {
                    next_beat = Instant::now();
                }
                let branches: Vec<BranchId> = self.serving.keys().copied().collect();
                branches.into_iter().for_each(|branch| self.close(branch));
            }
            let is_done = self.opening.is_empty() && self.closing.is_empty();
            if has_said_so && is_done && !goes_on {
                break;
            }
            tokio::select! {
                biased;
                () = bank.drained(), if !is_leaving => {}
                Some(branch) = self.ended.recv() => {
                    // Before its opening was taken in, or while it is closed.
                    if !self.lose(branch, "its journal failed") {
                        self.ended_early.insert(branch);
                    }
                    // Whoever has it now is in the table already.
                    next_beat = Instant::now();
                }
                Some(done) = self.opening.join_next() => self.take_in(done.map_err(io::Error::other)),
                Some(done) = self.closing.join_next() => self.hand_back(done.ok()).await,
                _ = serving.changed(), if goes_on => goes_on = false,
                () = tokio::time::sleep_until(next_beat) => {
                    next_beat = Instant::now() + BEAT;
                    self.round(is_leaving).await;
                    // Where the table cannot be written the others find out by its silence.
                    has_said_so |= is_leaving;
                }
            }
        }
        // Its connection ends in a worker.
        if let Some(table) = self.table.take() {
            let _ = self.workers.run(move || drop(table)).await;
        }
    }

    /// One look at the table, and what follows from it.
    async fn round(&mut self, is_leaving: bool) {
        let seen = match self.table_says(move |table| table.beat(is_leaving)).await {
            Ok(seen) => seen,
            Err(error) => {
                if !std::mem::replace(&mut self.is_troubled, true) {
                    tracing::warn!(%error, "which branch is whose cannot be read; it is tried again");
                }
                return;
            }
        };
        if std::mem::take(&mut self.is_troubled) {
            tracing::info!("which branch is whose can be read again");
        }
        let is_mine = seen.servers.get(&self.terms.server).is_some_and(|sign| sign.instance == self.terms.instance);
        if !is_mine {
            self.step_down();
            return;
        }
        let now = self.bank.now();
        self.watch.see(&seen, now);
        let target = if is_leaving { BTreeMap::new() } else { self.target(&seen, now) };
        let mut kept = Vec::new();
        for (branch, lease) in &seen.branches {
            let is_mine = target.get(branch) == Some(&self.terms.server);
            self.keep(*branch, *lease, is_mine, now);
            let is_here = self.serving.contains_key(branch) || self.busy.contains(branch);
            // It was to be given back, and the table did not hear of it.
            if lease.owner == Some(self.terms.server) && !is_mine && !is_here && !self.damaged.contains(branch) {
                kept.push((*branch, lease.epoch));
            }
        }
        for (branch, epoch) in kept {
            self.give_back(branch, epoch).await;
        }
    }

    /// Which server shall serve each branch, by the rule that all follow.
    fn target(&self, seen: &Seen, now: Instant) -> BTreeMap<BranchId, u32> {
        let assignment = self.bank.assignment();
        let mut present = self.watch.present(seen, 0..assignment.servers(), now);
        present.insert(self.terms.server);
        let owners = seen.branches.iter().map(|(branch, lease)| (*branch, lease.owner)).collect();
        plan(&owners, &present, |branch| assignment.server_of(branch))
    }

    /// Does what is to be done about one branch.
    fn keep(&mut self, branch: BranchId, lease: Lease, is_mine: bool, now: Instant) {
        if let Some(serving) = self.serving.get(&branch) {
            // A table that was read before the branch was taken says less than is known here.
            if lease.epoch > serving.epoch {
                self.lose(branch, "another server took it over");
            } else if lease.epoch == serving.epoch && !is_mine {
                tracing::info!(%branch, "the branch goes to another server");
                self.close(branch);
            }
            return;
        }
        if self.busy.contains(&branch) || self.damaged.contains(&branch) {
            return;
        }
        let owner = lease.owner.filter(|owner| *owner != self.terms.server && self.watch.is_alive(*owner, now));
        let may_try = self.not_before.get(&branch).is_none_or(|not_before| *not_before <= now);
        if !is_mine || owner.is_some() {
            self.not_before.remove(&branch);
            self.bank.show_elsewhere(branch, owner);
            report_state(branch, "away");
        } else if may_try && self.opening.len() < OPENINGS {
            self.busy.insert(branch);
            let (opener, workers) = (self.opener.clone(), self.workers);
            self.opening.spawn(async move { (branch, workers.run(move || opener.take(branch, lease.epoch)).await) });
        }
    }

    /// A try to take a branch has ended.
    fn take_in(&mut self, done: io::Result<(BranchId, io::Result<Result<Taken, TakeError>>)>) {
        let (branch, taken) = match done {
            Ok((branch, Ok(taken))) => (branch, taken),
            Ok((branch, Err(error))) => {
                tracing::error!(%branch, %error, "opening the branch broke an invariant");
                self.damage(branch, &error.to_string(), "it cannot be opened".to_owned());
                return;
            }
            Err(error) => {
                tracing::error!(%error, "opening a branch broke an invariant");
                return;
            }
        };
        match taken {
            Ok((open, teller, courier)) => {
                self.busy.remove(&branch);
                self.suspect.remove(&branch);
                self.not_before.remove(&branch);
                let (courier_goes_on, until) = watch::channel(());
                let courier = tokio::spawn(courier.run(self.bank.clone(), until));
                let epoch = teller.epoch();
                self.bank.change(branch, Hosted::open(open));
                self.serving.insert(branch, Serving { epoch, teller, courier, courier_goes_on });
                // The scrub ends before this does only when the server stops.
                let _ = self.opened.send(branch);
                if self.ended_early.remove(&branch) && !is_planted(Bug::EarlyEndForgotten) {
                    self.lose(branch, "its journal failed");
                }
            }
            // What a server of the database said that is not the primary any more is no damage: it is looked at again,
            // by new connections.
            Err(TakeError::Branch(error)) if !error.may_pass() && !self.suspect.insert(branch) => {
                self.damage(branch, &error.to_string(), told_to_callers(&error));
            }
            Err(error) => {
                self.busy.remove(&branch);
                self.not_before.insert(branch, self.bank.now() + RETRY_PAUSE);
                tracing::warn!(%branch, %error, "the branch cannot be opened now and is tried again");
            }
        }
    }

    fn damage(&mut self, branch: BranchId, logged: &str, told: String) {
        self.busy.remove(&branch);
        self.damaged.insert(branch);
        refuse(branch, logged);
        self.bank.close(branch, told);
    }

    /// Stops serving a branch whose teller can serve no more, or whose books are another's. Nothing is given back:
    /// either somebody has it, or this server takes it again.
    /// False when it is not served here.
    fn lose(&mut self, branch: BranchId, why: &str) -> bool {
        let was_served = self.wind_down(branch, false);
        if was_served {
            tracing::warn!(%branch, why, "the branch is not served here any more");
        }
        was_served
    }

    /// Begins to give a branch back: what waits for its teller is served, what comes meanwhile is told to ask again.
    fn close(&mut self, branch: BranchId) {
        self.wind_down(branch, true);
    }

    /// Beside the beats: a teller may wait for the database for long. False when the branch is not served here.
    fn wind_down(&mut self, branch: BranchId, in_order: bool) -> bool {
        let Some(serving) = self.serving.remove(&branch) else { return false };
        self.busy.insert(branch);
        self.bank.show_elsewhere(branch, None);
        report_state(branch, "away");
        self.closing.spawn(async move {
            drop(serving.courier_goes_on);
            // What is under way stands in the journal.
            let _ = serving.courier.await;
            if in_order {
                serving.teller.close().await;
                Closed::InOrder(branch, serving.epoch)
            } else {
                serving.teller.abandon().await;
                Closed::Lost(branch)
            }
        });
        true
    }

    /// A branch was closed; in order, it is nobody's from here on.
    async fn hand_back(&mut self, closed: Option<Closed>) {
        match closed {
            Some(Closed::InOrder(branch, epoch)) => {
                self.busy.remove(&branch);
                self.ended_early.remove(&branch);
                self.give_back(branch, epoch).await;
            }
            Some(Closed::Lost(branch)) => {
                self.busy.remove(&branch);
                self.ended_early.remove(&branch);
            }
            None => tracing::error!("closing a branch broke an invariant; it stays closed until this server restarts"),
        }
    }

    async fn give_back(&mut self, branch: BranchId, epoch: u64) {
        if let Err(error) = self.table_says(move |table| table.give_back(branch, epoch)).await {
            tracing::warn!(%branch, %error, "the branch was not given back; it is tried again");
        }
    }

    /// Another process has this server's place: it takes the branches over, and this one leaves them to it.
    fn step_down(&mut self) {
        if !std::mem::replace(&mut self.is_superseded, true) {
            tracing::error!(
                server = self.terms.server,
                "another process has this server's ordinal and takes its branches; this one serves nothing any more"
            );
        }
        let serving: Vec<BranchId> = self.serving.keys().copied().collect();
        for branch in serving {
            self.lose(branch, "another process has this server's ordinal");
        }
    }

    /// Uses the table, in a worker.
    async fn table_says<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn LeaseTable) -> Result<R, LeaseError> + Send + 'static,
    ) -> Result<R, LeaseError> {
        let Some(mut table) = self.table.take() else { return Err(LeaseError("the table is in use".to_owned())) };
        let done = self.workers.run(move || {
            let said = work(&mut *table);
            (table, said)
        });
        let (table, said) = done.await.map_err(|error| LeaseError(error.to_string()))?;
        self.table = Some(table);
        said
    }
}
