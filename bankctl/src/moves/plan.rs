//! Which branches move.

use bank_proto::{Assignment, BranchId};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// One branch's move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) branch: BranchId,
    /// The ordinal of the server that has it.
    pub(super) from: u32,
    /// The ordinal of the server that gets it.
    pub(super) to: u32,
}

/// The move of one branch, if it is not there already; None when the bank has no such branch.
pub(super) fn one(present: &Assignment, branch: u32, to: u32) -> Option<Vec<Move>> {
    let branch = BranchId::new(i64::from(branch)).ok()?;
    let from = present.server_of(branch)?;
    Some(if from == to { Vec::new() } else { vec![Move { branch, from, to }] })
}

/// The fewest moves after which every one of the first so many servers has as many branches as any other, or one
/// more, and no other server has any.
pub(super) fn spread(present: &Assignment, servers: u32) -> Vec<Move> {
    let mut kept: BTreeMap<u32, Vec<BranchId>> = (0..servers).map(|server| (server, Vec::new())).collect();
    let branches = (1..=i64::from(present.branches())).filter_map(|number| BranchId::new(number).ok());
    for (branch, server) in branches.filter_map(|branch| Some((branch, present.server_of(branch)?))) {
        kept.entry(server).or_default().push(branch);
    }
    let (share, mut extras) = (present.branches() / servers, present.branches() % servers);
    // One more for those that have the most: it spares a move.
    let mut by_size: Vec<u32> = (0..servers).collect();
    by_size.sort_by_key(|server| Reverse(kept.get(server).map_or(0, Vec::len)));
    let mut shares: BTreeMap<u32, usize> = BTreeMap::new();
    for server in by_size {
        let extra = u32::from(extras > 0);
        extras -= extra;
        shares.insert(server, (share + extra) as usize);
    }
    let mut moving = Vec::new();
    for (server, branches) in &mut kept {
        let share = shares.get(server).copied().unwrap_or(0).min(branches.len());
        moving.extend(branches.drain(share..).map(|branch| (branch, *server)));
    }
    moving.sort_unstable();
    let mut moving = moving.into_iter();
    let mut moves = Vec::new();
    for (server, share) in shares {
        let room = share - kept.get(&server).map_or(0, Vec::len);
        moves.extend(moving.by_ref().take(room).map(|(branch, from)| Move { branch, from, to: server }));
    }
    moves.sort_by_key(|planned| planned.branch);
    moves
}

#[cfg(test)]
mod tests {
    use super::*;
    use bank_proto::AssignmentFile;

    fn bank(branches: u32, founding_servers: u32, moved: &[(u32, u32)]) -> Assignment {
        let file = AssignmentFile { founding_servers, moved: moved.iter().copied().collect() };
        Assignment::with_file(branches, u32::MAX, file).expect("an assignment")
    }

    fn planned(present: &Assignment, servers: u32) -> Vec<(u32, u32, u32)> {
        spread(present, servers).iter().map(|planned| (planned.branch.get(), planned.from, planned.to)).collect()
    }

    #[test]
    fn new_servers_get_their_share_and_nothing_else_moves() {
        assert_eq!(planned(&bank(10, 3, &[]), 5), [(7, 0, 3), (8, 1, 3), (9, 2, 4), (10, 0, 4)]);
        assert_eq!(planned(&bank(10, 3, &[]), 4), [(9, 2, 3), (10, 0, 3)]);
    }

    #[test]
    fn servers_that_go_leave_theirs_to_the_others() {
        assert_eq!(planned(&bank(10, 3, &[]), 1).len(), 6);
        assert_eq!(planned(&bank(4, 4, &[]), 2), [(3, 2, 0), (4, 3, 1)]);
    }

    #[test]
    fn what_is_spread_already_stays() {
        assert_eq!(planned(&bank(10, 3, &[]), 3), []);
        assert_eq!(planned(&bank(10, 3, &[(4, 3), (7, 3)]), 4), []);
    }

    #[test]
    fn every_plan_is_even_and_moves_no_more_than_it_must() {
        for branches in 1..=24 {
            for before in 1..=7 {
                for after in 1..=7 {
                    let present = bank(branches, before, &[]);
                    let moves = spread(&present, after);
                    let moved: Vec<_> = moves.iter().map(|planned| (planned.branch.get(), planned.to)).collect();
                    let later = bank(branches, before, &moved);
                    let counts = |bank: &Assignment, servers| {
                        (0..servers).map(|server| bank.branches_of(server).count()).collect::<Vec<_>>()
                    };
                    let now = counts(&later, before.max(after));
                    let (used, unused) = now.split_at(after as usize);
                    let (least, most) = (used.iter().min().expect("one"), used.iter().max().expect("one"));
                    assert!(most - least <= 1, "{branches} branches from {before} to {after} servers: {now:?}");
                    assert!(unused.iter().all(|count| *count == 0), "{now:?}");
                    // Whoever has fewer than before has given the difference away, and nobody both gives and takes.
                    let given: usize = counts(&present, before.max(after))
                        .iter()
                        .zip(&now)
                        .map(|(had, has)| had.saturating_sub(*has))
                        .sum();
                    assert_eq!(moves.len(), given, "{branches} branches from {before} to {after} servers: {moves:?}");
                }
            }
        }
    }

    #[test]
    fn one_branch_moves_alone_or_not_at_all() {
        let present = bank(10, 3, &[]);
        let branch = BranchId::new(4).expect("a branch");
        assert_eq!(one(&present, 4, 2), Some(vec![Move { branch, from: 0, to: 2 }]));
        assert_eq!(one(&present, 4, 0), Some(vec![]));
        assert_eq!((one(&present, 11, 0), one(&present, 0, 0)), (None, None));
    }
}
