//! The rule by which branches are spread: evenly, with the fewest moves, and the same for all who see the same.

use bank_proto::BranchId;
use std::collections::{BTreeMap, BTreeSet};

/// Which server each branch shall be served by. `owners` has every branch, with the server that has it now if that one
/// is among `present`; `home` says where a branch is when all servers are there.
///
/// No server gets more than one branch more than another. A branch moves only when its server has too many, and where
/// it may choose, the rule sends a branch home.
pub(super) fn plan(
    owners: &BTreeMap<BranchId, Option<u32>>,
    present: &BTreeSet<u32>,
    home: impl Fn(BranchId) -> Option<u32>,
) -> BTreeMap<BranchId, u32> {
    let mut held: BTreeMap<u32, Vec<BranchId>> = present.iter().map(|server| (*server, Vec::new())).collect();
    if held.is_empty() {
        return BTreeMap::new();
    }
    let mut free = BTreeSet::new();
    for (branch, owner) in owners {
        match owner.and_then(|owner| held.get_mut(&owner)) {
            Some(branches) => branches.push(*branch),
            None => {
                free.insert(*branch);
            }
        }
    }
    let (share, more) = (owners.len() / held.len(), owners.len() % held.len());
    // So many servers have one more than the others: those that have the most now, so that few branches move.
    let mut by_count: Vec<(usize, u32)> = held.iter().map(|(server, branches)| (branches.len(), *server)).collect();
    by_count.sort_by_key(|(count, server)| (std::cmp::Reverse(*count), *server));
    let room: BTreeMap<u32, usize> =
        (0..).zip(by_count).map(|(place, (_, server))| (server, share + usize::from(place < more))).collect();
    for (server, branches) in &mut held {
        // Strangers go first, and of these those with the highest numbers.
        branches.sort_by_key(|branch| (home(*branch) != Some(*server), *branch));
        free.extend(branches.split_off(room[server].min(branches.len())));
    }
    let has_room = |held: &BTreeMap<u32, Vec<BranchId>>, server: u32| {
        held.get(&server).is_some_and(|branches| branches.len() < room[&server])
    };
    let mut homeless = Vec::new();
    for branch in free {
        match home(branch).filter(|server| has_room(&held, *server)) {
            Some(server) => held.entry(server).or_default().push(branch),
            None => homeless.push(branch),
        }
    }
    for branch in homeless {
        let emptiest = held.iter().filter(|(server, _)| has_room(&held, **server));
        if let Some(server) =
            emptiest.min_by_key(|(server, branches)| (branches.len(), **server)).map(|(server, _)| *server)
        {
            held.entry(server).or_default().push(branch);
        }
    }
    held.into_iter().flat_map(|(server, branches)| branches.into_iter().map(move |branch| (branch, server))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bank_proto::Assignment;

    fn branch(number: i64) -> BranchId {
        BranchId::new(number).expect("a branch")
    }

    fn owners(of: &[(i64, u32)], branches: i64) -> BTreeMap<BranchId, Option<u32>> {
        let mut owners: BTreeMap<_, _> = (1..=branches).map(|number| (branch(number), None)).collect();
        owners.extend(of.iter().map(|(number, server)| (branch(*number), Some(*server))));
        owners
    }

    fn plan_for(owners: &BTreeMap<BranchId, Option<u32>>, present: &[u32], servers: u32) -> BTreeMap<BranchId, u32> {
        let assignment = Assignment::new(u32::try_from(owners.len()).expect("few"), servers);
        plan(owners, &present.iter().copied().collect(), |branch| assignment.server_of(branch))
    }

    fn shown(plan: &BTreeMap<BranchId, u32>) -> Vec<(u32, Vec<u32>)> {
        let mut of: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        plan.iter().for_each(|(branch, server)| of.entry(*server).or_default().push(branch.get()));
        of.into_iter().collect()
    }

    #[test]
    fn a_new_bank_is_spread_as_one_whose_servers_have_disks_of_their_own() {
        let plan = plan_for(&owners(&[], 10), &[0, 1, 2], 3);
        assert_eq!(shown(&plan), [(0, vec![1, 4, 7, 10]), (1, vec![2, 5, 8]), (2, vec![3, 6, 9])]);
    }

    #[test]
    fn the_branches_of_a_server_that_is_gone_go_to_the_others_and_come_home_when_it_is_back() {
        let before = plan_for(&owners(&[], 10), &[0, 1, 2], 3);
        let orphaned: Vec<(i64, u32)> = before
            .iter()
            .filter(|(_, server)| **server != 1)
            .map(|(branch, server)| (branch.get().into(), *server))
            .collect();
        let without = plan_for(&owners(&orphaned, 10), &[0, 2], 3);
        assert_eq!(shown(&without), [(0, vec![1, 4, 5, 7, 10]), (2, vec![2, 3, 6, 8, 9])]);
        let all: Vec<(i64, u32)> = without.iter().map(|(branch, server)| (branch.get().into(), *server)).collect();
        assert_eq!(plan_for(&owners(&all, 10), &[0, 1, 2], 3), before);
    }

    #[test]
    fn a_further_server_gets_its_share_and_nothing_else_moves() {
        let before: Vec<(i64, u32)> = (1..=10).map(|number| (number, (number as u32 - 1) % 3)).collect();
        let plan = plan_for(&owners(&before, 10), &[0, 1, 2, 3], 4);
        let moved = before.iter().filter(|(number, server)| plan[&branch(*number)] != *server).count();
        assert_eq!(moved, 2, "{plan:?}");
    }

    #[test]
    fn nobody_serves_anything_when_nobody_is_there() {
        assert!(plan_for(&owners(&[(1, 0)], 3), &[], 3).is_empty());
    }

    #[test]
    fn every_branch_has_a_server_that_is_there_and_none_has_two_more_than_another() {
        bolero::check!().with_type::<(u8, u8, Vec<(u8, u8)>)>().for_each(|(branches, servers, given)| {
            let (branches, servers) = (i64::from(branches % 40) + 1, u32::from(servers % 7) + 1);
            let given: Vec<(i64, u32)> =
                given.iter().map(|(b, s)| (i64::from(*b) % branches + 1, u32::from(*s) % (servers + 2))).collect();
            let present: Vec<u32> = (0..servers).collect();
            let before = owners(&given, branches);
            let plan = plan_for(&before, &present, servers);
            assert_eq!(plan.len(), before.len());
            let count = |server: u32| plan.values().filter(|of| **of == server).count();
            let counts: Vec<usize> = present.iter().map(|server| count(*server)).collect();
            assert!(counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0) <= 1, "{counts:?}");
            // The fewest moves: a server that has not too many keeps all of them.
            let share = before.len() / present.len();
            for server in &present {
                let had: Vec<_> = before.iter().filter(|(_, owner)| **owner == Some(*server)).collect();
                let kept = had.iter().filter(|(branch, _)| plan[*branch] == *server).count();
                assert!(kept >= had.len().min(share), "server {server} kept {kept} of {}", had.len());
            }
            // What the plan made is what it makes of it.
            let settled: Vec<(i64, u32)> = plan.iter().map(|(branch, server)| (branch.get().into(), *server)).collect();
            assert_eq!(plan_for(&owners(&settled, branches), &present, servers), plan);
        });
    }
}
