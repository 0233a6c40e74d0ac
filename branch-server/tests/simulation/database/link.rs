//! One owner's connection.

use super::Database;
use super::tables::{Answer, Statement};
use super::trouble::Failure;
use bank_proto::{BranchId, CustomerId};
use branch_server::journal::shared::{Fence, Outcome, OwnerLink, Standing};
use branch_server::journal::{ChainHash, GroupCommit, PersonalName, ReadError, Row, Sequence};

/// A connection of a server's for one branch.
pub(super) struct Link {
    database: Database,
    id: u64,
    server: u32,
    branch: BranchId,
    /// How often all connections of the server had broken when this one was made.
    breaks: u64,
    /// Nothing is sent by it any more.
    is_broken: bool,
}

impl Link {
    pub(super) fn new(database: Database, server: u32, branch: BranchId) -> Link {
        let mut tables = database.tables();
        let (id, breaks) = (tables.link(server, branch), tables.trouble.breaks(server));
        drop(tables);
        Link { database, id, server, branch, breaks, is_broken: false }
    }

    fn perform(&mut self, statement: Statement) -> Result<Answer, Failure> {
        if self.is_broken {
            return Err(Failure::Unknown);
        }
        let done = self.database.tables().perform(self.server, self.branch, self.breaks, statement);
        self.is_broken = matches!(done, Err(Failure::Unknown | Failure::Death));
        done
    }

    fn read<T>(&mut self, read: impl FnOnce(&mut super::Tables) -> T) -> Result<T, String> {
        let mut tables = self.database.tables();
        self.is_broken = self.is_broken || !tables.may_read(self.server, self.branch, self.breaks);
        if self.is_broken { Err(BROKEN.to_owned()) } else { Ok(read(&mut tables)) }
    }
}

const BROKEN: &str = "the connection broke";

fn outcome(done: Result<Answer, Failure>) -> Outcome<bool> {
    match done {
        Ok(answer) => Outcome::Done(matches!(answer, Answer::Changed(true))),
        Err(Failure::NotDone) => Outcome::NotDone("it was told to stop".to_owned()),
        Err(Failure::Unknown) => Outcome::Unknown(BROKEN.to_owned()),
        Err(Failure::Full) => Outcome::Full,
        // It hears nothing any more; what it does until the step ends nobody sees.
        Err(Failure::Death) => Outcome::Refused("the server dies".to_owned()),
    }
}

impl OwnerLink for Link {
    fn shown(&self) -> String {
        format!("the simulated journal of branch {}", self.branch)
    }

    fn claim(&mut self, owner: u32, seen_epoch: u64) -> Result<Option<u64>, String> {
        match self.perform(Statement::Claim { owner, seen_epoch }) {
            Ok(Answer::Epoch(epoch)) => Ok(epoch),
            _ => Err(BROKEN.to_owned()),
        }
    }

    fn stand(&mut self, epoch: u64) -> Result<Option<Standing>, String> {
        match self.perform(Statement::Stand { epoch }) {
            Ok(Answer::Standing(standing)) => {
                if let Some(standing) = standing {
                    self.database.tables().stands(self.id, epoch, standing.session);
                }
                Ok(standing)
            }
            _ => Err(BROKEN.to_owned()),
        }
    }

    fn last_row(&mut self) -> Result<Option<(Sequence, ChainHash, u64)>, String> {
        let branch = self.branch;
        self.read(|tables| {
            let (row, closing) = tables.books(branch).rows.last()?;
            let (hash, epoch) = closing.map_or_else(Default::default, |closing| (closing.hash, closing.epoch));
            Some((row.sequence, hash, epoch))
        })
    }

    fn group_hash(&mut self, sequence: Sequence) -> Result<Option<ChainHash>, String> {
        let branch = self.branch;
        self.read(|tables| super::reader::group_hash(tables, branch, sequence))
    }

    fn append(&mut self, fence: Fence, rows: &[Row], closing: GroupCommit, names: &[PersonalName]) -> Outcome<bool> {
        let (rows, names) = (rows.to_vec(), names.to_vec());
        outcome(self.perform(Statement::Append { fence, rows, closing, names }))
    }

    fn confirm(&mut self, fence: Fence) -> Outcome<bool> {
        let branch = self.branch;
        match self.read(|tables| tables.matches(branch, fence)) {
            Ok(is_so) => Outcome::Done(is_so),
            Err(what) => Outcome::Unknown(what),
        }
    }

    fn rows(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError> {
        let branch = self.branch;
        self.read(|tables| super::reader::rows(tables, branch, first, limit)).map_err(ReadError::Unavailable)
    }

    fn personal_name(&mut self, customer: CustomerId) -> Result<Option<String>, ReadError> {
        let branch = self.branch;
        let found = self.read(|tables| tables.books(branch).names.get(&customer).cloned());
        found.map_err(ReadError::Unavailable)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A panic of the run is told as it is, and not by a second one.
        if let Ok(mut tables) = self.database.0.lock() {
            tables.links.remove(&self.id);
        }
    }
}
