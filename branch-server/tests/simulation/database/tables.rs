//! What the database holds, and what each statement does to it.

use super::trouble::Trouble;
use crate::witness::Witness;
use bank_proto::{BranchId, CustomerId};
use branch_server::journal::shared::{Fence, Standing};
use branch_server::journal::{GroupCommit, PersonalName, Row, Sequence};
use branch_server::leases::{Lease, Seen, Sign};
use std::collections::{BTreeMap, BTreeSet};

/// Everything.
pub(crate) struct Tables {
    pub(super) branches: BTreeMap<BranchId, Books>,
    servers: BTreeMap<u32, Sign>,
    /// Servers that look for the database since they started.
    looking: BTreeSet<u32>,
    /// Every connection by which somebody owns a branch, or owned it.
    pub(super) links: BTreeMap<u64, Place>,
    links_made: u64,
    pub(crate) trouble: Trouble,
    pub(super) witness: Witness,
    /// How often each thing happened.
    pub(crate) tally: BTreeMap<&'static str, u64>,
}

/// One branch.
#[derive(Default)]
pub(super) struct Books {
    epoch: u64,
    session: i64,
    head: Sequence,
    owner: Option<u32>,
    /// Nothing was to be written since the last claim.
    is_fresh: bool,
    pub(super) rows: Vec<(Row, Option<GroupCommit>)>,
    pub(super) names: BTreeMap<CustomerId, String>,
}

/// Where a connection leads, and as whom its owner stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) server: u32,
    pub(super) branch: BranchId,
    /// Under which epoch it stands, and with which session.
    standing: Option<(u64, i64)>,
}

/// A statement that changes a branch.
#[derive(Debug, Clone)]
pub(super) enum Statement {
    Claim { owner: u32, seen_epoch: u64 },
    Stand { epoch: u64 },
    Append { fence: Fence, rows: Vec<Row>, closing: GroupCommit, names: Vec<PersonalName> },
    GiveBack { server: u32, epoch: u64 },
}

/// What it says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Epoch(Option<u64>),
    Standing(Option<Standing>),
    /// Whether there was a row to change.
    Changed(bool),
}

impl Tables {
    pub(super) fn new(seed: u64, witness: Witness) -> Tables {
        Tables {
            branches: BTreeMap::new(),
            servers: BTreeMap::new(),
            looking: BTreeSet::new(),
            links: BTreeMap::new(),
            links_made: 0,
            trouble: Trouble::new(seed),
            witness,
            tally: BTreeMap::new(),
        }
    }

    /// A server looks for the bank when it starts.
    pub(super) fn found(&mut self, server: u32, branches: u32) -> bool {
        if !self.trouble.admits(server) {
            self.looking.insert(server);
            return false;
        }
        self.looking.remove(&server);
        for branch in (1..=i64::from(branches)).filter_map(|number| BranchId::new(number).ok()) {
            self.branches.entry(branch).or_default();
        }
        true
    }

    /// Whether one of these servers has not found the database since it started.
    pub(crate) fn waits(&self, servers: &[u32]) -> bool {
        servers.iter().any(|server| self.looking.contains(server))
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    pub(super) fn books(&mut self, branch: BranchId) -> &mut Books {
        self.branches.get_mut(&branch).expect("a branch of the bank")
    }

    /// A server has connected for a branch.
    pub(super) fn link(&mut self, server: u32, branch: BranchId) -> u64 {
        self.links_made += 1;
        self.links.insert(self.links_made, Place { server, branch, standing: None });
        self.links_made
    }

    /// A connection now is its owner's, under this epoch.
    pub(super) fn stands(&mut self, link: u64, epoch: u64, session: i64) {
        if let Some(place) = self.links.get_mut(&link) {
            place.standing = Some((epoch, session));
        }
    }

    pub(super) fn served(&self) -> BTreeMap<BranchId, u32> {
        let newest = |place: &&Place| {
            let books = &self.branches[&place.branch];
            place.standing == Some((books.epoch, books.session))
        };
        self.links.values().filter(newest).map(|place| (place.branch, place.server)).collect()
    }

    pub(super) fn owners(&self) -> BTreeMap<BranchId, u32> {
        self.branches.iter().filter_map(|(branch, books)| Some((*branch, books.owner?))).collect()
    }

    /// Whether nobody believes to own what is another's.
    pub(super) fn is_alone(&self) -> bool {
        self.links.len() == self.branches.len()
    }

    /// Whether a branch's owner writes for the first time.
    pub(super) fn is_first_commit(&mut self, branch: BranchId) -> bool {
        std::mem::take(&mut self.books(branch).is_fresh)
    }

    pub(super) fn head(&self, branch: BranchId) -> (Sequence, u64) {
        let books = &self.branches[&branch];
        (books.head, books.epoch)
    }

    pub(super) fn matches(&self, branch: BranchId, fence: Fence) -> bool {
        let books = &self.branches[&branch];
        (books.epoch, books.session, books.head) == (fence.epoch, fence.session, fence.head)
    }

    /// Does a statement, whoever sent it whenever.
    pub(super) fn apply(&mut self, branch: BranchId, statement: &Statement) -> Answer {
        match statement {
            Statement::Claim { owner, seen_epoch } => Answer::Epoch(self.claim(branch, *owner, *seen_epoch)),
            Statement::Stand { epoch } => {
                let books = self.books(branch);
                let is_its_own = books.epoch == *epoch;
                books.session += i64::from(is_its_own);
                let standing = Standing { session: books.session, head: books.head };
                Answer::Standing(is_its_own.then_some(standing))
            }
            Statement::Append { fence, rows, closing, names } => {
                Answer::Changed(self.append(branch, *fence, rows, *closing, names))
            }
            Statement::GiveBack { server, epoch } => Answer::Changed(self.give_back(branch, *server, *epoch)),
        }
    }

    fn claim(&mut self, branch: BranchId, owner: u32, seen_epoch: u64) -> Option<u64> {
        let books = self.books(branch);
        if books.epoch != seen_epoch {
            self.count("claim that came too late");
            return None;
        }
        let before = books.owner.replace(owner);
        (books.epoch, books.session, books.is_fresh) = (books.epoch + 1, 0, true);
        let epoch = books.epoch;
        self.count(match before {
            None => "claim of a free branch",
            Some(before) if before == owner => "claim of an own branch",
            Some(_) => "claim of another's branch",
        });
        Some(epoch)
    }

    fn append(
        &mut self,
        branch: BranchId,
        fence: Fence,
        rows: &[Row],
        closing: GroupCommit,
        names: &[PersonalName],
    ) -> bool {
        let books = &self.branches[&branch];
        let (same_epoch, same_session) = (fence.epoch == books.epoch, fence.session == books.session);
        // What the newest owner's newest connection says is in order, or its owner has lost count.
        assert!(
            !(same_epoch && same_session) || fence.head == books.head,
            "I5: branch {branch}'s owner takes row {} for the last, and it is {}",
            fence.head,
            books.head
        );
        let is_in_order = (same_epoch || is_planted("FenceWithoutEpoch"))
            && (same_session || is_planted("FenceWithoutSession"))
            && fence.head == books.head;
        if !is_in_order {
            self.count(match (same_epoch, same_session) {
                (false, _) => "fenced by the epoch",
                (true, false) => "fenced by the session",
                (true, true) => "fenced by the head",
            });
            return false;
        }
        assert!(same_epoch, "I9: branch {branch} is written under epoch {}, and it is {}", fence.epoch, books.epoch);
        assert!(same_session, "I9: branch {branch} is written by a connection that was given up");
        let books = self.books(branch);
        books.head += rows.len() as u64;
        let (last, others) = rows.split_last().expect("a group has rows");
        books.rows.extend(others.iter().map(|row| (row.clone(), None)));
        books.rows.push((last.clone(), Some(closing)));
        books.names.extend(names.iter().map(|name| (name.customer, name.name.clone())));
        self.witness.take(branch, rows, closing);
        true
    }

    fn give_back(&mut self, branch: BranchId, server: u32, epoch: u64) -> bool {
        let is_served = self.served().contains_key(&branch);
        let books = self.books(branch);
        let is_its_own = books.owner == Some(server) && (books.epoch == epoch || is_planted("GiveBackWithoutEpoch"));
        if !is_its_own {
            self.count("give-back that came too late");
            return false;
        }
        assert!(!is_served, "I9: branch {branch} is given away while server {server} serves it");
        books.owner = None;
        self.count("give-back");
        true
    }

    /// A server's sign of life, when it still is that server.
    pub(super) fn beat(&mut self, server: u32, instance: u64, enters: bool, is_leaving: bool) -> Seen {
        if enters {
            self.servers.insert(server, Sign { instance, beats: 0, is_leaving: false });
        }
        if let Some(sign) = self.servers.get_mut(&server).filter(|sign| sign.instance == instance) {
            sign.beats += 1;
            sign.is_leaving = is_leaving;
        }
        let lease = |books: &Books| Lease { owner: books.owner, epoch: books.epoch };
        let branches = self.branches.iter().map(|(branch, books)| (*branch, lease(books))).collect();
        Seen { servers: self.servers.clone(), branches }
    }
}

/// Whether a bug is planted in what a statement asks for: in PostgreSQL it would be in its text.
#[cfg(feature = "planted-bugs")]
fn is_planted(bug: &str) -> bool {
    static PLANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("FLORIN_PLANTED_BUG").unwrap_or_default()) == bug
}

#[cfg(not(feature = "planted-bugs"))]
const fn is_planted(_: &str) -> bool {
    false
}
