//! Running the checker.

use crate::rules::Rules;
use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::collections::BTreeSet;

/// The longest run that [`shortest_run_to`] looks for.
const LONGEST_RUN: usize = 30;

/// What the checker says after it has seen every state.
pub(crate) struct Findings {
    /// The properties that do not hold in some state.
    pub(crate) violated: BTreeSet<&'static str>,
    /// The states that should be reachable and are not.
    pub(crate) missed: BTreeSet<&'static str>,
}

pub(crate) fn findings(rules: &Rules) -> Findings {
    let checker = rules.clone().checker().spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    let found = checker.discoveries();
    let pick = |is_picked: fn(&Expectation, bool) -> bool| {
        let properties = rules.properties().into_iter();
        let picked = properties.filter(|property| is_picked(&property.expectation, found.contains_key(property.name)));
        picked.map(|property| property.name).collect()
    };
    Findings {
        violated: pick(|expectation, is_found| *expectation == Expectation::Always && is_found),
        missed: pick(|expectation, is_found| *expectation == Expectation::Sometimes && !is_found),
    }
}

/// Checks that everything holds that must, and that everything is reached that should be.
pub(crate) fn assert_holds(rules: &Rules) {
    let findings = findings(rules);
    if let Some(name) = findings.violated.first() {
        panic!("violated: {name}\n{}", shortest_run_to(rules, name));
    }
    assert_eq!(findings.missed, BTreeSet::new(), "not reached");
}

/// Checks that exactly these properties do not hold.
pub(crate) fn assert_breaks<const COUNT: usize>(rules: &Rules, names: [&'static str; COUNT]) {
    assert_eq!(findings(rules).violated, BTreeSet::from(names));
}

/// Checks that the checker finds a run which violates the property.
pub(crate) fn assert_finds(rules: &Rules, name: &'static str) {
    let only = HasDiscoveries::AnyOf(BTreeSet::from([name]));
    let checker = rules.clone().checker().finish_when(only).spawn_bfs().join();
    assert!(checker.discovery(name).is_some(), "{rules:?} does not violate: {name}");
}

/// The steps of a shortest run to a state that violates the property.
fn shortest_run_to(rules: &Rules, name: &'static str) -> String {
    let run = |depth| {
        let checker = rules.clone().checker().target_max_depth(depth).spawn_bfs().join();
        checker.discovery(name).map(stateright::Path::into_actions)
    };
    let steps = (2..LONGEST_RUN).find_map(run).unwrap_or_default();
    steps.iter().map(|step| format!("  {step:?}\n")).collect()
}
