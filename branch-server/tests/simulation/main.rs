//! A whole bank from a seed: the real service, tellers, ledgers, journals, leases and couriers of five branches on
//! three servers, with disks of their own or with a database that they share, in one thread, on simulated time and a
//! simulated network that loses, delays and cuts, with servers that die before and after a group commit and clocks that
//! are wrong by an hour. docs/TESTING.md says how to use it.
//!
//! - `machine`: what a server gets instead of a machine: clock, chance, connections
//! - `witness`: what became durable, folded again beside the bank, and what must be true of it at every step
//! - `database`: what servers share, and how it loses answers
//! - `servers`: the servers, how they die and what is left of their disks
//! - `faults`: what goes wrong, drawn from the seed
//! - `outages`: what goes wrong between the servers and their database, and calms in which all must be well
//! - `onlooker`: who asks for balances meanwhile
//! - `places`: where the seeds must have been
//! - `clients`: who orders what, and what they were told
//! - `door`: the client API through which half of it goes
//! - `run`: one seed from beginning to end
//! - `scenarios`: stories of a shared database that seeds meet too rarely
//! - `seeds`: many seeds, each in a process of its own
//! - `teeth`: planted bugs, each of which must be caught

#![expect(clippy::expect_used, reason = "a test that cannot go on says why and stops")]

#[cfg(not(tokio_unstable))]
compile_error!(
    "A seed is the same story only with `--cfg tokio_unstable`, which .cargo/config.toml sets unless RUSTFLAGS is set: add it there."
);

mod clients;
mod database;
mod door;
mod faults;
mod machine;
mod onlooker;
mod outages;
mod places;
mod run;
mod scenarios;
mod seeds;
mod servers;
#[cfg(feature = "planted-bugs")]
mod teeth;
mod witness;

use run::{Kind, Tally, run};
use seeds::{SEED, outcomes};
use std::collections::BTreeSet;

/// The seeds that every run of the tests goes through. FLORIN_SIMULATION_SEEDS=0..1000 names others.
const SEEDS: std::ops::Range<u64> = 0..100;

/// The same for banks in a shared database.
const SHARED_SEEDS: std::ops::Range<u64> = 0..80;

/// Whether the history of a run is wanted.
fn tells_its_history() -> bool {
    std::env::var_os("FLORIN_SIMULATION_HISTORY").is_some()
}

#[test]
fn a_bank_keeps_every_promise_whatever_goes_wrong() {
    must_keep_every_promise(Kind::Own, SEEDS);
}

#[test]
fn a_bank_in_a_shared_database_keeps_every_promise_whatever_goes_wrong() {
    must_keep_every_promise(Kind::Shared, SHARED_SEEDS);
}

fn must_keep_every_promise(kind: Kind, seeds: std::ops::Range<u64>) {
    let chosen = std::env::var("FLORIN_SIMULATION_SEEDS").ok();
    let seeds = chosen.as_deref().map_or(seeds, |text| {
        let (first, end) = text.split_once("..").expect("FLORIN_SIMULATION_SEEDS is like 0..1000");
        first.parse().expect("a seed")..end.parse().expect("a seed")
    });
    let mut all = Tally::default();
    outcomes(kind, seeds.clone()).iter().for_each(|outcome| all.add(&outcome.tally));
    println!("{} seeds: {all:#?}", seeds.count());
    if chosen.is_none() {
        all.must_have_been_everywhere(kind);
    }
}

#[test]
fn the_same_seed_is_the_same_story() {
    must_tell_the_same_story(Kind::Own, 0..6);
}

#[test]
fn the_same_seed_is_the_same_story_in_a_shared_database() {
    must_tell_the_same_story(Kind::Shared, 0..3);
}

fn must_tell_the_same_story(kind: Kind, seeds: std::ops::Range<u64>) {
    let first = outcomes(kind, seeds.clone());
    assert_eq!(first, outcomes(kind, seeds));
    let stories: BTreeSet<_> = first.iter().map(|outcome| &outcome.trace).collect();
    assert_eq!(stories.len(), first.len(), "another seed is another story");
}

#[test]
#[ignore = "one seed, which FLORIN_SIMULATION_SEED names; the other tests run it in processes of its own"]
fn one_seed() {
    run(Kind::Own, seed()).print();
}

#[test]
#[ignore = "as one_seed, of a bank in a shared database"]
fn one_shared_seed() {
    run(Kind::Shared, seed()).print();
}

fn seed() -> u64 {
    std::env::var(SEED).expect("FLORIN_SIMULATION_SEED names the seed").parse().expect("a seed")
}
