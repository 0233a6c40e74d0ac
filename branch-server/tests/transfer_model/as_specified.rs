//! The protocol, on the most hostile network and with crashes, but without older copies.

use crate::checking::assert_holds;
use crate::rules::{Contact, Rules};

#[test]
fn two_transfers_one_way_survive_a_crash() {
    assert_holds(&Rules::one_way().with_crashes(1));
}

#[test]
fn a_transfer_each_way_needs_no_crash_to_race() {
    assert_holds(&Rules::each_way().with_crashes(0));
}

#[test]
fn a_greeting_takes_nothing_away() {
    assert_holds(&Rules::one_way().with_crashes(1).with_contact(Contact::Greeting));
}

#[test]
#[ignore = "625,374 states"]
fn every_state_of_two_transfers_one_way_and_two_crashes() {
    assert_holds(&Rules::one_way());
}

#[test]
#[ignore = "3,159,978 states"]
fn every_state_of_a_transfer_each_way_and_two_crashes() {
    assert_holds(&Rules::each_way());
}

#[test]
#[ignore = "269,785 states"]
fn every_state_of_two_transfers_one_way_and_two_crashes_with_a_greeting() {
    assert_holds(&Rules::one_way().with_contact(Contact::Greeting));
}

#[test]
#[ignore = "1,264,146 states"]
fn every_state_of_a_transfer_each_way_and_two_crashes_with_a_greeting() {
    assert_holds(&Rules::each_way().with_contact(Contact::Greeting));
}
