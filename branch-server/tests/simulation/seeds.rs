//! Many seeds, each in a process of its own: what libraries keep in statics must not make a seed's story depend
//! on the seeds before it.

use crate::run::Outcome;
use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The environment variable that names the seed of a process.
pub(crate) const SEED: &str = "FLORIN_SIMULATION_SEED";

/// What came of every seed, in their order.
pub(crate) fn outcomes(seeds: Range<u64>) -> Vec<Outcome> {
    let (next, outcomes) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = outcome_of(seed);
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((seed, outcome));
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|(seed, _)| *seed);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// What came of one.
///
/// # Panics
/// It broke a promise; the message says how to see it again.
pub(crate) fn outcome_of(seed: u64) -> Outcome {
    let own = std::env::current_exe().expect("this program's path");
    let arguments = ["--exact", "one_seed", "--ignored", "--nocapture", "--test-threads=1"];
    let ran = Command::new(own).args(arguments).env(SEED, seed.to_string()).output().expect("a process");
    let (told, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    match told.lines().find_map(Outcome::read) {
        Some(outcome) if ran.status.success() => outcome,
        _ => panic!(
            "seed {seed} broke a promise:\n{complained}\nto see it again, with its history:\n    {SEED}={seed} \
             FLORIN_SIMULATION_HISTORY=1 cargo nextest run --workspace --run-ignored only --no-capture -E 'test(one_seed)'"
        ),
    }
}
