//! The greeting: before anything else, and whenever one of them was opened, two branches compare where they stand.

use crate::branch::Branch;
use crate::destination::has_lost_outcomes;
use crate::rules::{Bug, Rules};

/// Both ask and both answer. One step: until both halves are done neither takes anything from the other, so how long
/// they take makes no difference. Whoever greets is a branch at its own address, never a zombie.
pub(crate) fn greet(one: &mut Branch, two: &mut Branch, rules: &Rules) {
    if !(fit(one, two, rules) && fit(two, one, rules)) {
        one.suspended = true;
        two.suspended = true;
    }
    one.peer_life = two.life;
    two.peer_life = one.life;
}

/// Whether neither branch, as source and as destination, has forgotten what the other remembers.
fn fit(source: &Branch, destination: &Branch, rules: &Rules) -> bool {
    source.epoch() >= destination.peer_epoch()
        && (source.sent() >= destination.highest_received() || rules.has(Bug::NoSentCheck))
        && !has_lost_outcomes(destination, rules, source.lowest_outstanding())
}
