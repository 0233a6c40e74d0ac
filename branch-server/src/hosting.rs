//! The branches that a server hosts, opened: at its start, and again and again those that could not
//! be opened then for a reason that passes.

use crate::branches::{Machine, Teller, report_state};
use crate::data_directory::{self, DataError};
use crate::derived::DerivedFiles;
use crate::environment::Clock;
use crate::journal::{Journal, OpenError, SqliteJournal};
use crate::moving::arriving::{self, Arrival};
use crate::server::StartError;
use crate::service::{Bank, Hosted, OpenBranch, told_to_callers};
use crate::teller::Fatal;
use crate::teller::opening::{self, OpenBranchError, OpenedBranch};
use crate::transfers::{Courier, Watchers};
use bank_proto::{Assignment, BranchId};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How long a branch that could not be opened waits for the first next try. Each pause is twice the
/// one before.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause: so long a branch may stay closed after its disk has room again. A try costs a
/// few system calls, so the bank can afford one every few seconds for ever.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause while books are asked for: a part of the time for which nobody serves their branch.
const LONGEST_AWAY: Duration = Duration::from_secs(1);

/// What the log says first of a branch whose books are asked for.
const AWAY: &str = "its books are not here; the other servers are asked for them";

/// What is said of one that was never open here.
const NEW: &str = "it was never open here; the other servers are asked whether it was elsewhere";

/// What is known of a branch whose directory is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    /// It was open here: it is lost, or at another server.
    Founded,
    /// It was never open here. Elsewhere it may have been: this disk may be a new one in an old bank.
    Unknown,
    /// It was never open anywhere, as far as all servers know: it may be founded.
    None,
}

/// Opens branches of one server.
pub(crate) struct Opener {
    pub(crate) directory: PathBuf,
    pub(crate) assignment: Assignment,
    /// This server's ordinal.
    pub(crate) server: u32,
    /// Whether the servers have disks of their own: then nothing is founded before the others were asked.
    pub(crate) asks_first: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) machine: Machine,
    /// How much may be under way from one branch to one other.
    pub(crate) clearing_limit: i64,
    /// What stands between a teller and its journal.
    pub(crate) decorate: Arc<dyn Fn(BranchId, SqliteJournal) -> Box<dyn Journal> + Send + Sync>,
}

/// What came of a try.
pub(crate) enum Attempt {
    /// It serves, with its teller and the courier that takes its transfers to other branches.
    Open(Box<(OpenBranch, Teller, Courier)>),
    /// It must not serve, for good.
    Damaged(Reason),
    /// It cannot be opened now, and may be later.
    Unavailable(Reason),
    /// Its books are not here, or not to be opened before the server that had them knows that they are. The reason
    /// is for the case that no server has them.
    Away(Reason),
}

/// Why a branch does not serve.
#[derive(Clone)]
pub(crate) struct Reason {
    /// All of it, for operators.
    pub(crate) logged: String,
    /// A sentence for callers.
    pub(crate) told: String,
}

impl Reason {
    fn of(error: &OpenBranchError) -> Reason {
        Reason { logged: error.to_string(), told: told_to_callers(error) }
    }
}

/// A branch that could not be opened yet.
pub(crate) struct Late {
    pub(crate) branch: BranchId,
    /// Why not, as the log was told last.
    pub(crate) logged: String,
    /// What is known of it should its directory be missing.
    pub(crate) past: Past,
    /// Its books are to be asked for first; when no server has them, this is what is wrong.
    pub(crate) away: Option<Reason>,
}

impl Opener {
    /// What is known of a branch when this server starts.
    pub(crate) fn past(&self) -> Past {
        if data_directory::was_founded(&self.directory, self.server) { Past::Founded } else { Past::Unknown }
    }

    /// What is known of a branch that could not be opened: what was here and is gone later was founded.
    pub(crate) fn past_of(&self, branch: BranchId, past: Past) -> Past {
        if data_directory::branch_directory(&self.directory, branch).exists() { Past::Founded } else { past }
    }

    /// Opens one branch and starts its teller. One whose directory is missing is founded, when nobody can have its
    /// books; else it is at another server, or damaged when there is none.
    ///
    /// # Errors
    /// What stands in the way is not the branch's and not its disk's: the setup, or the system. The
    /// server must not start.
    pub(crate) async fn open(&self, branch: BranchId, past: Past) -> Result<Attempt, StartError> {
        let directory = data_directory::branch_directory(&self.directory, branch);
        if arriving::is_unconfirmed(&directory) {
            return Ok(Attempt::Away(missing()));
        }
        let is_here = match directory.try_exists() {
            Ok(is_here) => is_here,
            // A disk that does not answer is no disk without the directory.
            Err(error) => {
                let logged = format!("{} cannot be looked for: {error}", directory.display());
                let told = "its directory cannot be read".to_owned();
                return Ok(Attempt::Unavailable(Reason { logged, told }));
            }
        };
        let others = self.assignment.servers() > 1;
        let may_be_somewhere = match past {
            Past::Founded => true,
            Past::Unknown => others && (self.asks_first || self.assignment.was_moved(branch)),
            Past::None => false,
        };
        if !is_here && may_be_somewhere {
            return Ok(if others { Attempt::Away(missing()) } else { Attempt::Damaged(missing()) });
        }
        let opening = {
            let (directory, branches, clock) = (directory.clone(), self.assignment.branches(), self.clock.clone());
            let decorate = self.decorate.clone();
            self.machine.workers.run(move || {
                opening::open_branch(&directory, branch, branches, clock, |journal| decorate(branch, journal))
            })
        };
        let system = |error: &dyn std::fmt::Display| StartError::System(error.to_string());
        let opened = match opening.await.map_err(|error| system(&error))? {
            Ok(opened) => opened,
            Err(error) if error.may_pass() => return Ok(Attempt::Unavailable(Reason::of(&error))),
            Err(error @ OpenBranchError::Journal(OpenError::Retired { .. })) if self.assignment.servers() > 1 => {
                return Ok(Attempt::Away(Reason::of(&error)));
            }
            Err(error) => {
                return match data_directory::wrong_setup(&error) {
                    Some(wrong) => Err(wrong.into()),
                    None => Ok(Attempt::Damaged(Reason::of(&error))),
                };
            }
        };
        let files = DerivedFiles { directory, shared: None };
        let begun = begin(branch, opened, files, self.clearing_limit, self.machine.clone());
        let begun = begun.map_err(|error| system(&error))?;
        Ok(Attempt::Open(Box::new(begun)))
    }

    /// Remembers that every branch was opened here once.
    pub(crate) fn remember_founding(&self) -> Result<(), DataError> {
        if data_directory::was_founded(&self.directory, self.server) {
            return Ok(());
        }
        data_directory::remember_founding(&self.directory, self.server)
    }

    /// Tries again until no branch is late any more or the server is told to stop, and returns the
    /// tellers that it started, each with its courier. `opened` is told each branch that opened;
    /// the couriers run until the other end of `until` is gone.
    pub(crate) async fn open_late(
        self,
        bank: Arc<Bank>,
        mut late: Vec<Late>,
        opened: mpsc::UnboundedSender<BranchId>,
        until: watch::Receiver<()>,
    ) -> Vec<(Teller, JoinHandle<()>)> {
        let mut tellers = Vec::new();
        let mut pause = FIRST_PAUSE;
        while !late.is_empty() {
            tokio::select! {
                biased;
                () = bank.drained() => return tellers,
                () = tokio::time::sleep(pause) => {}
            }
            let before = late.len();
            for mut branch in std::mem::take(&mut late) {
                if bank.is_draining() {
                    return tellers;
                }
                let id = branch.branch;
                if let Some(reason) = branch.away.clone() {
                    let brought = tokio::select! {
                        biased;
                        // Half a copy is thrown away at the next start.
                        () = bank.drained() => return tellers,
                        brought = self.bring(&bank, &mut branch, reason) => brought,
                    };
                    match brought {
                        Brought::Here => {}
                        Brought::NotYet => {
                            late.push(branch);
                            continue;
                        }
                        Brought::Lost => continue,
                    }
                }
                let logged = match self.open(id, branch.past).await {
                    Ok(Attempt::Open(begun)) => {
                        let (open, teller, courier) = *begun;
                        bank.change(id, Hosted::open(open));
                        tellers.push((teller, tokio::spawn(courier.run(bank.clone(), until.clone()))));
                        // The scrub ends before this does only when the server stops.
                        let _ = opened.send(id);
                        continue;
                    }
                    Ok(Attempt::Damaged(reason)) => {
                        refuse(id, &reason.logged);
                        bank.close(id, reason.told);
                        continue;
                    }
                    Ok(Attempt::Unavailable(reason)) => {
                        bank.change(id, Hosted::unavailable(reason.told));
                        reason.logged
                    }
                    Ok(Attempt::Away(reason)) => {
                        branch.away = Some(reason);
                        AWAY.to_owned()
                    }
                    // The others serve already: not even a setup that is wrong may end the process now.
                    Err(error) => error.to_string(),
                };
                if logged != branch.logged {
                    postpone(id, &logged);
                    branch.logged = logged;
                }
                branch.past = self.past_of(id, branch.past);
                late.push(branch);
            }
            let longest = if late.iter().any(|branch| branch.away.is_some()) { LONGEST_AWAY } else { LONGEST_PAUSE };
            pause = if late.len() < before { FIRST_PAUSE } else { longest.min(2 * pause) };
        }
        if let Err(error) = self.remember_founding() {
            tracing::warn!(%error, "that every branch was opened is not remembered; the next start does it");
        }
        tellers
    }
}

impl Opener {
    /// Asks the other servers for a branch's books.
    async fn bring(&self, bank: &Bank, late: &mut Late, reason: Reason) -> Brought {
        let is_here = data_directory::branch_directory(&self.directory, late.branch).exists();
        let may_be_new = late.past == Past::Unknown && !is_here;
        let (state, logged) = match arriving::fetch(bank, &self.directory, late.branch).await {
            Arrival::Arrived => {
                late.away = None;
                late.past = Past::Founded;
                return Brought::Here;
            }
            Arrival::Nowhere { was_seen: false } if may_be_new => {
                late.away = None;
                late.past = Past::None;
                return Brought::Here;
            }
            Arrival::Nowhere { .. } => {
                let Reason { logged, told } = reason;
                let advice = if is_here { "let it move to where it was promised first" } else { "restore a backup" };
                refuse(late.branch, &format!("{logged}, and no other server has its books: {advice}"));
                bank.close(late.branch, told);
                return Brought::Lost;
            }
            Arrival::ServedBy(ordinal) => (
                Hosted::served_by(ordinal),
                format!("server {ordinal} serves it until it is told to give its books away"),
            ),
            Arrival::NotYet(told) => (Hosted::unavailable(told.clone()), told),
        };
        let is_served = state.is_served_elsewhere();
        bank.change(late.branch, state);
        if logged != late.logged {
            postpone(late.branch, &logged);
            late.logged = logged;
        }
        if is_served {
            report_state(late.branch, "away");
        }
        Brought::NotYet
    }
}

enum Brought {
    /// It can be opened.
    Here,
    NotYet,
    Lost,
}

fn missing() -> Reason {
    let missing = || "its directory is missing".to_owned();
    Reason { logged: missing(), told: missing() }
}

/// Starts the teller of a branch that was opened, and what goes with it.
///
/// # Errors
/// The system has no thread left, or the journal cannot be read.
pub(crate) fn begin(
    branch: BranchId,
    opened: OpenedBranch,
    files: DerivedFiles,
    clearing_limit: i64,
    machine: Machine,
) -> Result<(OpenBranch, Teller, Courier), Fatal> {
    let OpenedBranch { mut desk, reader, folded_rows } = opened;
    let opened_from = desk.journal().last_sequence() - folded_rows;
    let (sender, parcels) = mpsc::unbounded_channel();
    desk.limit_clearing(clearing_limit);
    desk.share(files.shared.clone());
    let derived = Arc::from(&*files.directory);
    let teller = Teller::start(branch, files, desk, opened_from, sender, machine)?;
    tracing::info!(%branch, folded_rows, "the branch is open");
    report_state(branch, "open");
    let (epoch, watchers) = (teller.epoch(), Arc::new(Watchers::default()));
    let courier = Courier { branch, epoch, teller: teller.handle(), watchers: watchers.clone(), parcels };
    let origin = reader.try_clone().map_err(|error| Fatal(error.to_string()))?;
    let [reader, origin] = [reader, origin].map(|reader| Arc::new(Mutex::new(reader)));
    let open =
        OpenBranch { teller: teller.handle(), reader, origin, derived, synced: teller.synced(), epoch, watchers };
    Ok((open, teller, courier))
}

/// Says that the other servers are asked for a branch's books, to the log and to callers.
pub(crate) fn ask_for(branch: BranchId, past: Past) -> (&'static str, &'static str) {
    if past == Past::Unknown {
        tracing::info!(%branch, "{NEW}");
        report_state(branch, "unavailable");
        return (NEW, NEW);
    }
    postpone(branch, AWAY);
    (AWAY, "its books are on another server, which is asked for them")
}

/// Says that a branch refuses to serve; the others go on.
pub(crate) fn refuse(branch: BranchId, reason: &str) {
    tracing::error!(%branch, error = reason, "the branch refuses to serve; the others go on");
    report_state(branch, "damaged");
}

/// Says that a branch cannot be opened now; the others go on.
pub(crate) fn postpone(branch: BranchId, reason: &str) {
    tracing::warn!(%branch, error = reason, "the branch cannot be opened now and is tried again; the others go on");
    report_state(branch, "unavailable");
}
