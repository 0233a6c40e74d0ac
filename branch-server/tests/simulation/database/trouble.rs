//! What goes wrong at a statement.

use super::tables::{Answer, Statement, Tables};
use crate::servers::SERVERS;
use crate::witness::Trap;
use bank_proto::BranchId;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};

/// Steps after which a statement that nobody waits for any more is done at the latest: longer than a lease.
const LONGEST_WAY: u64 = 3_000;

/// Who reaches the database, and what it loses.
pub(crate) struct Trouble {
    random: StdRng,
    /// The step of the simulation.
    now: u64,
    /// How likely a statement is lost, in millionths.
    pub(crate) loss: u32,
    /// How likely an owner is cut off at its first group commit, in millionths.
    pub(crate) first_loss: u32,
    /// Servers that do not reach the database, and the step at which they do again.
    away: BTreeMap<u32, u64>,
    /// Servers that stand still as far as others see: they neither beat nor look.
    asleep: BTreeMap<u32, u64>,
    /// How often all connections of a server broke.
    breaks: BTreeMap<u32, u64>,
    /// How many further connections of a server are refused.
    refusals: BTreeMap<u32, u32>,
    /// The database's server dies while a branch commits, and another takes its place.
    failover: Option<BranchId>,
    /// Statements on their way that nobody waits for any more.
    lingering: Vec<Lingering>,
    /// Servers that die at the end of this step.
    doomed: BTreeSet<u32>,
}

/// A statement on its way.
struct Lingering {
    branch: BranchId,
    statement: Statement,
    /// So many of the branch's statements overtake it.
    overtaken: u32,
    /// It arrives at this step at the latest.
    until: u64,
}

/// What becomes of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    /// It is done, and nobody hears of it.
    Unheard,
    /// It gets lost on the way.
    Lost,
    /// It is done later, when its sender has given it up.
    Later,
    /// The database says that it did not do it.
    NotDone,
}

/// Why a statement has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The database says so.
    NotDone,
    /// The connection broke.
    Unknown,
    /// There is no room.
    Full,
    /// The server dies.
    Death,
}

impl Trouble {
    pub(super) fn new(seed: u64) -> Trouble {
        Trouble {
            random: StdRng::seed_from_u64(seed ^ 0x5708E),
            now: 0,
            loss: 0,
            first_loss: 0,
            away: BTreeMap::new(),
            asleep: BTreeMap::new(),
            breaks: BTreeMap::new(),
            refusals: BTreeMap::new(),
            failover: None,
            lingering: Vec::new(),
            doomed: BTreeSet::new(),
        }
    }

    /// A server does not reach the database until a step. What it has under way may arrive all the same.
    pub(crate) fn cut_off(&mut self, server: u32, until: u64) {
        self.away.insert(server, until);
        self.break_connections(server);
    }

    /// A server stands still until a step, as far as others see; what it has under way then goes on as if nothing
    /// had been.
    pub(crate) fn put_to_sleep(&mut self, server: u32, until: u64) {
        self.asleep.insert(server, until);
    }

    /// The next group commit of a branch is the last word of the database's server.
    pub(crate) fn fail_over_at(&mut self, branch: BranchId) {
        self.failover = Some(branch);
    }

    /// Nothing goes wrong any more. What is under way arrives within a second.
    pub(crate) fn heal(&mut self) {
        self.lingering.iter_mut().for_each(|late| late.until = late.until.min(self.now + 500));
        (self.loss, self.first_loss) = (0, 0);
        self.failover = None;
        self.away.clear();
        self.asleep.clear();
        self.refusals.clear();
    }

    /// Those that must die now: at a group commit.
    pub(crate) fn doomed(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.doomed)
    }

    pub(crate) fn is_away(&self, server: u32) -> bool {
        self.away.get(&server).is_some_and(|until| *until > self.now)
    }

    /// The step of the simulation, and whether a server is away at it.
    pub(super) fn at(&self, server: u32) -> (u64, bool) {
        (self.now, self.is_away(server))
    }

    pub(crate) fn is_asleep(&self, server: u32) -> bool {
        self.asleep.get(&server).is_some_and(|until| *until > self.now)
    }

    /// Whether a server may connect now.
    pub(super) fn admits(&mut self, server: u32) -> bool {
        let refusals = self.refusals.entry(server).or_default();
        let is_refused = *refusals > 0;
        *refusals = refusals.saturating_sub(1);
        !is_refused && !self.is_away(server)
    }

    /// How often all connections of a server broke by now.
    pub(super) fn breaks(&self, server: u32) -> u64 {
        self.breaks.get(&server).copied().unwrap_or_default()
    }

    /// All connections of a server break, and the next few tries to connect are in vain.
    pub(crate) fn break_connections(&mut self, server: u32) {
        *self.breaks.entry(server).or_default() += 1;
        self.refusals.insert(server, self.random.random_range(0..4));
    }

    /// What becomes of a statement that a server sends by a connection which was made after so many breaks.
    /// Statements that are rare get lost more often, so many times.
    fn fate(&mut self, server: u32, breaks: u64, times: u32) -> Fate {
        let is_broken = breaks != self.breaks(server) || self.is_away(server);
        if !is_broken && self.random.random_range(0..1_000_000) >= times * self.loss {
            return Fate::Done;
        }
        self.refusals.insert(server, self.random.random_range(0..3));
        match self.random.random_range(0..10) {
            0..3 => Fate::Unheard,
            3..5 => Fate::Lost,
            5..9 => Fate::Later,
            _ => Fate::NotDone,
        }
    }
}

impl Tables {
    /// The next step begins.
    pub(crate) fn tick(&mut self, now: u64) {
        self.trouble.now = now;
        self.arrive(|late| late.until <= now);
    }

    /// A statement arrives by a connection that was made after so many breaks.
    pub(super) fn perform(
        &mut self,
        server: u32,
        branch: BranchId,
        breaks: u64,
        statement: Statement,
    ) -> Result<Answer, Failure> {
        self.let_overtaken_arrive(branch);
        if let Statement::Append { rows, .. } = &statement {
            match self.witness.spring(branch, rows) {
                Some(Trap::Full) => return Err(Failure::Full),
                Some(Trap::Before) => return Err(self.doom(server)),
                Some(Trap::After) => {
                    self.apply(branch, &statement);
                    return Err(self.doom(server));
                }
                None => {}
            }
            if self.is_first_commit(branch) && self.trouble.random.random_range(0..1_000_000) < self.trouble.first_loss
            {
                self.count("cut off at the first commit");
                let until = self.trouble.now + self.trouble.random.random_range(1..500);
                self.trouble.cut_off(server, until);
                return Err(Failure::Unknown);
            }
            if self.trouble.failover.take_if(|last| *last == branch).is_some() {
                self.fail_over(branch, &statement);
                return Err(Failure::Unknown);
            }
        }
        let times = match statement {
            Statement::Append { .. } => 1,
            Statement::Stand { .. } => 3,
            Statement::Claim { .. } | Statement::GiveBack { .. } => 10,
        };
        match self.trouble.fate(server, breaks, times) {
            Fate::Done => Ok(self.apply(branch, &statement)),
            Fate::Unheard => {
                self.count("answer lost, and done");
                self.apply(branch, &statement);
                Err(Failure::Unknown)
            }
            Fate::Lost => {
                self.count("answer lost, and not done");
                Err(Failure::Unknown)
            }
            Fate::Later => {
                self.count("answer lost, and done later");
                self.send_later(branch, statement);
                Err(Failure::Unknown)
            }
            Fate::NotDone => {
                self.count("not done");
                Err(Failure::NotDone)
            }
        }
    }

    /// Something is read by a connection that was made after so many breaks.
    pub(super) fn may_read(&mut self, server: u32, branch: BranchId, breaks: u64) -> bool {
        self.let_overtaken_arrive(branch);
        self.trouble.fate(server, breaks, 1) == Fate::Done
    }

    /// A branch is given back, by whatever connection: each is made when it is needed.
    pub(super) fn table_statement(&mut self, server: u32, branch: BranchId, statement: Statement) -> Option<()> {
        if self.trouble.is_asleep(server) || self.trouble.is_away(server) {
            return None;
        }
        let breaks = self.trouble.breaks(server);
        self.perform(server, branch, breaks, statement).ok().map(|_| ())
    }

    /// Whether a server's look at the table is answered, and whether its beat is heard.
    pub(super) fn look(&mut self, server: u32) -> (bool, bool) {
        if self.trouble.is_asleep(server) || self.trouble.is_away(server) {
            return (false, false);
        }
        let breaks = self.trouble.breaks(server);
        let fate = self.trouble.fate(server, breaks, 1);
        (fate == Fate::Done, matches!(fate, Fate::Done | Fate::Unheard))
    }

    fn doom(&mut self, server: u32) -> Failure {
        self.trouble.doomed.insert(server);
        Failure::Death
    }

    /// The database's server dies while it commits. Another takes its place, with all that was acknowledged: this one
    /// commit may be there too. What else was on its way went down with it.
    fn fail_over(&mut self, branch: BranchId, statement: &Statement) {
        self.trouble.lingering.clear();
        if self.trouble.random.random_range(0..2) == 0 {
            self.count("failover with the commit under way");
            self.apply(branch, statement);
        } else {
            self.count("failover without the commit under way");
        }
        // Either it takes the time of a few tries, or longer than anybody waits.
        let takes = [0, self.trouble.random.random_range(25..1_000)][self.trouble.random.random_range(0..2)];
        let until = self.trouble.now + takes;
        (0..SERVERS).for_each(|server| self.trouble.cut_off(server, until));
    }

    fn send_later(&mut self, branch: BranchId, statement: Statement) {
        let random = &mut self.trouble.random;
        // Just before or just after its sender has connected anew, or when there may be another owner.
        let overtaken = if random.random_range(0..2) == 0 { random.random_range(0..5) } else { u32::MAX };
        let until = self.trouble.now + random.random_range(1..LONGEST_WAY);
        self.trouble.lingering.push(Lingering { branch, statement, overtaken, until });
    }

    /// Another statement of a branch arrives: those that no more may overtake come first.
    fn let_overtaken_arrive(&mut self, branch: BranchId) {
        if self.trouble.lingering.is_empty() {
            return;
        }
        self.arrive(|late| late.branch == branch && late.overtaken == 0);
        for late in self.trouble.lingering.iter_mut().filter(|late| late.branch == branch) {
            late.overtaken = late.overtaken.saturating_sub(u32::from(late.overtaken != u32::MAX));
        }
    }

    fn arrive(&mut self, is_due: impl Fn(&Lingering) -> bool) {
        let due: Vec<Lingering> = self.trouble.lingering.extract_if(.., |late| is_due(late)).collect();
        for Lingering { branch, statement, .. } in due {
            let answer = self.apply(branch, &statement);
            let is_done = !matches!(answer, Answer::Epoch(None) | Answer::Standing(None) | Answer::Changed(false));
            self.count(match (statement, is_done) {
                (Statement::Append { .. }, true) => "late group commit done",
                (Statement::Append { .. }, false) => "late group commit turned away",
                (Statement::Claim { .. }, true) => "late claim done",
                (Statement::Claim { .. }, false) => "late claim turned away",
                (Statement::Stand { .. }, true) => "late standing done",
                (Statement::Stand { .. }, false) => "late standing turned away",
                (Statement::GiveBack { .. }, true) => "late give-back done",
                (Statement::GiveBack { .. }, false) => "late give-back turned away",
            });
        }
    }
}
