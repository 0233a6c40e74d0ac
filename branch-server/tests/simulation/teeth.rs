//! Planted bugs, each of which must break a promise within a few seeds: a checker that catches nothing proves nothing.

use crate::run::Kind;
use crate::seeds::{in_parallel, try_seed};

/// Seeds in which a bug must show. The rarest shows in one of four: forty without it are chance once in 100,000 times.
const SEEDS: u64 = 40;

/// Those that show here. What does not, and what shows it: docs/TESTING.md.
const BUGS: [&str; 12] = [
    "AnswerBeforeCommit",
    "OutboxInMemory",
    "NoTombstone",
    "VoidOnTimeout",
    "RetryWithNewId",
    "ExpiredInbox",
    "IdsInMemory",
    "RefusalsForgotten",
    "CheckOutsideCommit",
    "HoldsUncounted",
    "EndOnlyTold",
    "BooksKept",
];

/// Those that show where servers share a database. The last three are in what the simulated database does with a
/// statement: in PostgreSQL they would be in its text.
const SHARED_BUGS: [&str; 7] = [
    "LostIsUndone",
    "LostIsDone",
    "EndReadBefore",
    "EarlyEndForgotten",
    "FenceWithoutEpoch",
    "FenceWithoutSession",
    "GiveBackWithoutEpoch",
];

#[test]
fn every_planted_bug_is_caught() {
    let bugs = BUGS.map(|bug| (Kind::Own, bug)).into_iter().chain(SHARED_BUGS.map(|bug| (Kind::Shared, bug)));
    let bugs: Vec<(Kind, &str)> = bugs.collect();
    let mut missed = Vec::new();
    let caught = in_parallel(&bugs, |(kind, bug)| {
        (0..SEEDS).find_map(|seed| Some((seed, try_seed(*kind, seed, Some(bug)).err()?)))
    });
    for ((_, bug), caught) in bugs.into_iter().zip(caught) {
        match caught {
            Some((seed, what)) => {
                let line = what.lines().find(|line| is_complaint(line)).unwrap_or_default().trim();
                println!("| {bug} | {} | {line} |", seed + 1);
            }
            None => {
                println!("| {bug} | not in {SEEDS} | |");
                missed.push(bug);
            }
        }
    }
    assert!(missed.is_empty(), "nothing noticed: {missed:?}");
}

/// The line of a failed run that says which promise was broken.
fn is_complaint(line: &str) -> bool {
    ["I1", "I2", "I3", "I5", "I6", "I7", "I9", "after 6 seconds", "transfer ", "row "]
        .iter()
        .any(|start| line.trim().starts_with(start))
        || line.contains("assertion `")
}
