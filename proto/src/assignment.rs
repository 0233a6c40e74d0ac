//! Which branch server hosts which branch.

use crate::BranchId;

/// The assignment of branches to branch servers, the same in every part of the bank.
///
/// Servers are numbered from 0 (a StatefulSet's ordinals). Branch `b` is hosted by server
/// `(b - 1) mod servers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    branches: u32,
    servers: u32,
}

impl Assignment {
    /// A bank of so many branches spread over so many servers; both at least 1.
    #[must_use]
    pub fn new(branches: u32, servers: u32) -> Assignment {
        Assignment { branches: branches.max(1), servers: servers.max(1) }
    }

    /// How many branches the bank was founded with.
    #[must_use]
    pub const fn branches(self) -> u32 {
        self.branches
    }

    /// How many branch servers there are.
    #[must_use]
    pub const fn servers(self) -> u32 {
        self.servers
    }

    /// The ordinal of the server that hosts the branch; None when the bank has no such branch.
    #[must_use]
    pub const fn server_of(self, branch: BranchId) -> Option<u32> {
        if branch.get() > self.branches { None } else { Some((branch.get() - 1) % self.servers) }
    }

    /// The branches that a server hosts, in order.
    pub fn branches_of(self, server: u32) -> impl Iterator<Item = BranchId> {
        (1..=i64::from(self.branches))
            .filter_map(|number| BranchId::new(number).ok())
            .filter(move |branch| self.server_of(*branch) == Some(server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_branch_has_one_server() {
        let bank = Assignment::new(10, 3);
        let hosted = |server| bank.branches_of(server).map(BranchId::get).collect::<Vec<_>>();
        assert_eq!([hosted(0), hosted(1), hosted(2)], [vec![1, 4, 7, 10], vec![2, 5, 8], vec![3, 6, 9]]);
        assert_eq!(bank.server_of(BranchId::new(11).expect("a branch")), None);
    }
}
