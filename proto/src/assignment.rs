//! Which branch server hosts which branch.

use crate::BranchId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The assignment of branches to branch servers, the same in every part of the bank.
///
/// Servers are numbered from 0 (a StatefulSet's ordinals). Branch `b` is hosted by server
/// `(b - 1) mod servers`, with as many servers as there were at the founding, unless it was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    branches: u32,
    servers: u32,
    founding_servers: u32,
    moved: Arc<BTreeMap<u32, u32>>,
}

/// What an assignment file says: JSON such as `{"founding_servers": 3, "moved": {"4": 3}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignmentFile {
    /// How many branch servers there were when the bank was founded. It never changes.
    pub founding_servers: u32,
    /// The branches that are elsewhere than they were founded, each with the ordinal of its server.
    #[serde(default)]
    pub moved: BTreeMap<u32, u32>,
}

/// An assignment file that cannot be used: correct it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssignmentError {
    /// It is not JSON of the form that is expected.
    #[error(r#"it must look like {{"founding_servers": 3, "moved": {{"4": 3}}}}: {0}"#)]
    Malformed(String),
    /// No bank was founded without a server.
    #[error("founding_servers must be at least 1")]
    NoFoundingServer,
    /// It names a branch that the bank does not have.
    #[error("it moves branch {branch}, but the bank has {branches} branches")]
    NoSuchBranch {
        /// The branch.
        branch: u32,
        /// How many there are.
        branches: u32,
    },
    /// A branch is on a server that is not there.
    #[error(
        "branch {branch} is on server {server}, but there are only {servers} servers, counted from 0; move the branch, \
         or name all servers"
    )]
    NoSuchServer {
        /// The branch.
        branch: u32,
        /// Its server's ordinal.
        server: u32,
        /// How many servers there are.
        servers: u32,
    },
}

impl AssignmentFile {
    /// Reads the file's text.
    ///
    /// # Errors
    /// It is not understood.
    pub fn parse(text: &str) -> Result<AssignmentFile, AssignmentError> {
        let file: AssignmentFile =
            serde_json::from_str(text).map_err(|error| AssignmentError::Malformed(error.to_string()))?;
        if file.founding_servers == 0 { Err(AssignmentError::NoFoundingServer) } else { Ok(file) }
    }
}

impl Assignment {
    /// A bank of so many branches spread over so many servers, none of them moved; both at least 1.
    #[must_use]
    pub fn new(branches: u32, servers: u32) -> Assignment {
        let servers = servers.max(1);
        Assignment { branches: branches.max(1), servers, founding_servers: servers, moved: Arc::default() }
    }

    /// The same with what a file says of it.
    ///
    /// # Errors
    /// The file does not fit a bank of so many branches and servers.
    pub fn with_file(branches: u32, servers: u32, file: AssignmentFile) -> Result<Assignment, AssignmentError> {
        if file.founding_servers == 0 {
            return Err(AssignmentError::NoFoundingServer);
        }
        if let Some(branch) = file.moved.keys().copied().find(|branch| !(1..=branches).contains(branch)) {
            return Err(AssignmentError::NoSuchBranch { branch, branches });
        }
        let assignment = Assignment {
            branches: branches.max(1),
            servers: servers.max(1),
            founding_servers: file.founding_servers,
            moved: Arc::new(file.moved),
        };
        for branch in assignment.all_branches() {
            if let Some(server) = assignment.server_of(branch).filter(|server| *server >= assignment.servers) {
                return Err(AssignmentError::NoSuchServer { branch: branch.get(), server, servers });
            }
        }
        Ok(assignment)
    }

    /// How many branches the bank was founded with.
    #[must_use]
    pub const fn branches(&self) -> u32 {
        self.branches
    }

    /// How many branch servers there are.
    #[must_use]
    pub const fn servers(&self) -> u32 {
        self.servers
    }

    /// How many branch servers there were at the founding.
    #[must_use]
    pub const fn founding_servers(&self) -> u32 {
        self.founding_servers
    }

    /// Whether the branch is said to have been moved, wherever to.
    #[must_use]
    pub fn was_moved(&self, branch: BranchId) -> bool {
        self.moved.contains_key(&branch.get())
    }

    /// The ordinal of the server that hosts the branch; None when the bank has no such branch.
    #[must_use]
    pub fn server_of(&self, branch: BranchId) -> Option<u32> {
        if branch.get() > self.branches {
            return None;
        }
        Some(self.moved.get(&branch.get()).copied().unwrap_or((branch.get() - 1) % self.founding_servers))
    }

    /// The branches that a server hosts, in order.
    pub fn branches_of(&self, server: u32) -> impl Iterator<Item = BranchId> + '_ {
        self.all_branches().filter(move |branch| self.server_of(*branch) == Some(server))
    }

    fn all_branches(&self) -> impl Iterator<Item = BranchId> + use<> {
        (1..=i64::from(self.branches)).filter_map(|number| BranchId::new(number).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosted(bank: &Assignment) -> Vec<Vec<u32>> {
        (0..bank.servers()).map(|server| bank.branches_of(server).map(BranchId::get).collect()).collect()
    }

    #[test]
    fn every_branch_has_one_server() {
        let bank = Assignment::new(10, 3);
        assert_eq!(hosted(&bank), [vec![1, 4, 7, 10], vec![2, 5, 8], vec![3, 6, 9]]);
        assert_eq!(bank.server_of(BranchId::new(11).expect("a branch")), None);
    }

    #[test]
    fn more_servers_move_nothing_by_themselves() {
        let file = AssignmentFile::parse(r#"{"founding_servers": 3}"#).expect("a file");
        let bank = Assignment::with_file(10, 5, file).expect("an assignment");
        assert_eq!(hosted(&bank), [vec![1, 4, 7, 10], vec![2, 5, 8], vec![3, 6, 9], vec![], vec![]]);
    }

    #[test]
    fn what_was_moved_is_where_the_file_says() {
        let file = AssignmentFile::parse(r#"{"founding_servers": 3, "moved": {"4": 3, "8": 3}}"#).expect("a file");
        let bank = Assignment::with_file(10, 4, file).expect("an assignment");
        assert_eq!(hosted(&bank), [vec![1, 7, 10], vec![2, 5], vec![3, 6, 9], vec![4, 8]]);
        let [four, five] = [4, 5].map(|number| BranchId::new(number).expect("a branch"));
        assert!(bank.was_moved(four) && !bank.was_moved(five));
    }

    #[test]
    fn a_file_that_does_not_fit_is_refused_with_a_reason() {
        let refusal = |text: &str, servers| {
            let file = AssignmentFile::parse(text);
            file.and_then(|file| Assignment::with_file(10, servers, file)).expect_err(text).to_string()
        };
        assert!(refusal("", 3).contains("it must look like"));
        assert!(refusal(r#"{"founding_servers": 3, "moves": {}}"#, 3).contains("unknown field `moves`"));
        assert!(refusal(r#"{"founding_servers": 0}"#, 3).contains("at least 1"));
        assert!(refusal(r#"{"founding_servers": 3, "moved": {"11": 0}}"#, 3).contains("branch 11"));
        assert!(refusal(r#"{"founding_servers": 3, "moved": {"0": 0}}"#, 3).contains("branch 0"));
        assert!(refusal(r#"{"founding_servers": 3, "moved": {"4": 3}}"#, 3).contains("branch 4 is on server 3"));
        // Two of three servers, and branch 3 still on the third.
        assert!(refusal(r#"{"founding_servers": 3}"#, 2).contains("branch 3 is on server 2"));
    }
}
