//! A branch is opened from an older copy of its journal: what each kind of contact can and cannot promise.
//!
//! Whatever the contact: customers and what is in flight are constant, no transfer is credited or returned twice in
//! the books of either branch, and no arrival is stored under an older epoch than one before. What the copy has
//! forgotten is forgotten; the promise is that nothing is made of it, and that people are told.

use crate::checking::{assert_breaks, assert_finds, assert_holds};
use crate::properties::name;
use crate::rules::{Contact, Place, Rules};

/// Two transfers from North to South, without crashes, with one of the two opened from an older copy.
fn restored(place: Place, contact: Contact) -> Rules {
    Rules::one_way().with_crashes(0).with_restored(place).with_contact(contact)
}

/// A late double of a credit, cancelled and returned long ago, meets a destination that has lost the tombstone.
#[test]
fn a_restored_destination_can_make_money_on_a_loose_network() {
    let broken = [name::NOT_MADE, name::NOT_RETURNED_AND_CREDITED, name::NOT_COMPLETED_AND_REFUSED, name::RECOGNISED];
    assert_breaks(&restored(Place::South, Contact::Loose), broken);
}

/// Epochs stand in rows: if the copy's first words are answered from the inbox, the destination does not remember
/// them, and credits what an earlier life had sent.
#[test]
fn a_restored_source_does_not_fence_its_earlier_life() {
    assert_finds(&restored(Place::North, Contact::Loose), name::FENCED);
}

#[test]
#[ignore = "136,854 states"]
fn a_restored_source_on_a_loose_network_breaks_nothing_but_the_fence() {
    assert_breaks(&restored(Place::North, Contact::Loose), [name::FENCED]);
}

/// Calls that die with the life they reach keep old requests away, but nobody notices what was lost.
#[test]
fn with_calls_alone_a_restored_destination_is_not_recognised() {
    assert_breaks(&restored(Place::South, Contact::Calls), [name::RECOGNISED]);
}

#[test]
#[ignore = "98,190 states"]
fn with_calls_alone_a_restored_source_is_not_recognised_and_does_not_fence() {
    assert_breaks(&restored(Place::North, Contact::Calls), [name::FENCED, name::RECOGNISED]);
}

#[test]
fn with_a_greeting_a_restored_source_is_recognised_and_makes_nothing() {
    assert_holds(&restored(Place::North, Contact::Greeting));
}

#[test]
fn with_a_greeting_a_restored_destination_is_recognised_and_makes_nothing() {
    assert_holds(&restored(Place::South, Contact::Greeting));
}

/// A zombie of the source calls the restored destination, which has forgotten the source's epoch too.
#[test]
#[ignore = "261,095 states"]
fn with_calls_alone_a_zombie_and_a_restored_destination_can_make_money() {
    let broken = [name::NOT_MADE, name::NOT_RETURNED_AND_CREDITED, name::NOT_COMPLETED_AND_REFUSED, name::RECOGNISED];
    assert_breaks(&restored(Place::South, Contact::Calls).with_crashes(1), broken);
}

#[test]
#[ignore = "4,294,954 states"]
fn every_state_of_two_transfers_one_way_with_a_greeting_two_crashes_and_a_restored_source() {
    assert_holds(&restored(Place::North, Contact::Greeting).with_crashes(2));
}

#[test]
#[ignore = "1,941,158 states"]
fn every_state_of_two_transfers_one_way_with_a_greeting_two_crashes_and_a_restored_destination() {
    assert_holds(&restored(Place::South, Contact::Greeting).with_crashes(2));
}

#[test]
#[ignore = "twice 1,509,056 states"]
fn every_state_of_a_transfer_each_way_with_a_greeting_a_crash_and_a_restored_branch() {
    let rules = Rules::each_way().with_contact(Contact::Greeting).with_crashes(1);
    for place in Place::BOTH {
        assert_holds(&rules.clone().with_restored(place));
    }
}
