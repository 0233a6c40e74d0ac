//! The checker's teeth: a rule is left out, and the checker finds what comes of it.

use crate::checking::assert_finds;
use crate::properties::name;
use crate::rules::{Bug, Contact, Place, Rules};

/// One transfer's worth of trouble needs no crash; the second transfer is there all the same.
fn without_crashes() -> Rules {
    Rules::one_way().with_crashes(0)
}

fn with_a_crash() -> Rules {
    Rules::one_way().with_crashes(1)
}

fn restored(place: Place, contact: Contact) -> Rules {
    without_crashes().with_restored(place).with_contact(contact)
}

#[test]
fn without_a_tombstone_a_late_credit_makes_money() {
    assert_finds(&without_crashes().with_bug(Bug::NoTombstone), name::NEVER_NEGATIVE);
}

#[test]
fn a_return_at_the_deadline_without_asking_makes_money() {
    assert_finds(&without_crashes().with_bug(Bug::VoidOnTimeOut), name::NEVER_NEGATIVE);
}

#[test]
fn an_inbox_that_forgets_credits_twice() {
    assert_finds(&without_crashes().with_bug(Bug::InboxForgets), name::NEVER_NEGATIVE);
}

#[test]
fn a_retry_with_a_new_id_credits_twice() {
    assert_finds(&with_a_crash().with_bug(Bug::RetryWithNewId), name::NEVER_NEGATIVE);
}

#[test]
fn an_outbox_in_a_second_commit_leaves_money_in_flight_for_ever() {
    assert_finds(&with_a_crash().with_bug(Bug::OutboxInSecondCommit), name::ENDS);
}

#[test]
fn booking_an_outcome_twice_returns_twice() {
    assert_finds(&without_crashes().with_bug(Bug::SettleTwice), name::NEVER_NEGATIVE);
}

#[test]
fn an_answer_before_the_commit_is_durable_completes_what_was_never_credited() {
    assert_finds(&with_a_crash().with_bug(Bug::AnswerBeforeSync), name::AGREEMENT);
}

#[test]
fn a_check_outside_the_commit_overdraws() {
    let rules = without_crashes().with_opening_balance(2);
    assert_finds(&rules.with_bug(Bug::CheckOutsideCommit), name::FLOOR);
}

#[test]
fn without_the_epoch_check_an_earlier_life_is_believed_after_a_later_one() {
    let rules = restored(Place::North, Contact::Loose);
    assert_finds(&rules.with_bug(Bug::NoEpochCheck), name::EPOCHS);
}

#[test]
fn without_the_check_of_pair_sequences_two_transfers_of_a_restored_source_share_one() {
    let rules = restored(Place::North, Contact::Loose);
    assert_finds(&rules.with_bug(Bug::NoSequenceCheck), name::ONE_OUTCOME);
}

#[test]
fn without_the_check_of_what_is_outstanding_a_restored_destination_is_not_recognised() {
    let rules = restored(Place::South, Contact::Greeting);
    assert_finds(&rules.with_bug(Bug::NoLowestOutstandingCheck), name::RECOGNISED);
}

#[test]
fn without_comparing_what_was_sent_a_restored_source_is_not_recognised() {
    let rules = restored(Place::North, Contact::Greeting);
    assert_finds(&rules.with_bug(Bug::NoSentCheck), name::RECOGNISED);
}

#[test]
fn a_request_of_an_earlier_conversation_makes_money() {
    let rules = restored(Place::South, Contact::Greeting);
    assert_finds(&rules.with_bug(Bug::TakesOldRequests), name::NOT_MADE);
}

#[test]
fn an_answer_of_an_earlier_conversation_makes_money() {
    let rules = restored(Place::South, Contact::Greeting);
    assert_finds(&rules.with_bug(Bug::HearsOldAnswers), name::NOT_MADE);
}
