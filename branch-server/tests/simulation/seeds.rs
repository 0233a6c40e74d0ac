//! Many seeds, each in a process of its own: what libraries keep in statics must not make a seed's story depend
//! on the seeds before it.

use crate::run::{Kind, Outcome};
use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The environment variable that names the seed of a process.
pub(crate) const SEED: &str = "FLORIN_SIMULATION_SEED";

/// What came of every seed, in their order.
pub(crate) fn outcomes(kind: Kind, seeds: Range<u64>) -> Vec<Outcome> {
    in_parallel(&seeds.collect::<Vec<_>>(), |seed| outcome_of(kind, *seed))
}

/// Does something with each item, as many at a time as there are cores; what came of them, in their order.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(place) else { return };
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((place, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

/// What came of one.
///
/// # Panics
/// It broke a promise; the message says how to see it again.
fn outcome_of(kind: Kind, seed: u64) -> Outcome {
    let test = kind.test();
    try_seed(kind, seed, None).unwrap_or_else(|complained| {
        panic!(
            "seed {seed} broke a promise:\n{complained}\nto see it again, with its history:\n    {SEED}={seed} \
             FLORIN_SIMULATION_HISTORY=1 cargo nextest run --workspace --run-ignored only --no-capture -E 'test(={test})'"
        )
    })
}

/// What came of one, with a bug planted; or what it complained of.
pub(crate) fn try_seed(kind: Kind, seed: u64, bug: Option<&str>) -> Result<Outcome, String> {
    let own = std::env::current_exe().expect("this program's path");
    let arguments = ["--exact", kind.test(), "--ignored", "--nocapture", "--test-threads=1"];
    let mut command = Command::new(own);
    command.args(arguments).env(SEED, seed.to_string());
    if let Some(bug) = bug {
        command.env("FLORIN_PLANTED_BUG", bug);
    }
    let ran = command.output().expect("a process");
    let (told, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    match told.lines().find_map(Outcome::read) {
        Some(outcome) if ran.status.success() => Ok(outcome),
        _ => Err(complained.into_owned()),
    }
}
