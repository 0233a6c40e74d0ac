//! The desk of a payee's branch: one outcome for each transfer that arrives, whatever is asked, how
//! often, in what order, and through which crash.

#![expect(clippy::expect_used, reason = "a test that cannot go on says why and stops")]

use bank_proto::{AccountSerial, BranchId, Currency, CustomerId, Money, TransactionKey};
use branch_server::environment::SystemClock;
use branch_server::journal::{Channel, Journal};
use branch_server::ledger::{Arrival, Command, Past, Target};
use branch_server::teller::opening::open_branch;
use branch_server::teller::{Answer, Answered, Arrived, Asked, Caller, Desk, Job, Key, Order, Read, Request};
use std::path::Path;
use std::sync::{Arc, mpsc};
use tempfile::TempDir;

const CREDIT: bool = true;
const CANCEL: bool = false;

fn branch(number: i64) -> BranchId {
    BranchId::new(number).expect("a branch")
}

/// Branch 2, the payees', in a directory.
struct Destination {
    directory: TempDir,
    desk: Option<Desk>,
}

/// What branch 1 says of a transfer: its key, its number, whether to credit it, the source's epoch and
/// the lowest number that has not ended there.
#[derive(Clone, Copy)]
struct Told {
    key: u128,
    number: u64,
    credit: bool,
    minor: i64,
    epoch: u64,
    lowest: u64,
}

fn told(number: u64, credit: bool) -> Told {
    Told { key: u128::from(number), number, credit, minor: 1_000, epoch: 5, lowest: 1 }
}

impl Destination {
    /// With 1000.00 of customer 2.
    fn open() -> Destination {
        let directory = tempfile::tempdir().expect("a directory");
        let desk = desk(directory.path());
        let mut destination = Destination { directory, desk: Some(desk) };
        let customer = CustomerId::new(2).expect("a customer");
        let initial_balance = Money::from_minor(100_000, Currency::USD);
        let command = Command::InitializeBranch { customer, initial_balance };
        destination.ask(Request::Write(order(TransactionKey(u128::MAX), [0; 16], command)));
        destination
    }

    fn reopened(mut self) -> Destination {
        self.desk = None;
        self.desk = Some(desk(self.directory.path()));
        self
    }

    fn ask(&mut self, request: Request) -> Answered {
        let (sender, receiver) = mpsc::channel();
        let reply = Box::new(move |answers, _| sender.send(answers).expect("the test waits"));
        let job = Job { requests: vec![Asked { request, deadline: None }], reply };
        self.desk.as_mut().expect("open").serve(vec![job]).expect("served");
        receiver.try_recv().expect("answered before the batch ended").remove(0)
    }

    /// What becomes of a transfer, in a word; "again" when that was told before.
    fn hear(&mut self, told: Told) -> String {
        self.hear_of(told, None)
    }

    /// The same for the question for the money of transfer `original`.
    fn hear_asked_back(&mut self, told: Told, original: u128) -> String {
        self.hear_of(told, Some(TransactionKey(original)))
    }

    fn hear_of(&mut self, told: Told, original: Option<TransactionKey>) -> String {
        let arrival = Arrival {
            source: branch(1),
            transfer: TransactionKey(told.key),
            payer: AccountSerial(1),
            payer_customer: CustomerId::new(1).ok(),
            pair_sequence: told.number,
            epoch: told.epoch,
        };
        let payee = Target::Customer(CustomerId::new(2).expect("a customer"));
        let amount = Money::from_minor(told.minor, Currency::USD);
        let command = match original {
            _ if !told.credit => Command::Cancel(arrival),
            Some(original) => Command::Return { arrival, original, amount, past: Past::Unknown },
            None => Command::Receive { arrival, payee, amount },
        };
        let fingerprint = [u8::try_from(told.minor % 251).expect("small"); 16];
        let order = order(TransactionKey(told.key).arrival(branch(1)), fingerprint, command);
        let answered = self.ask(Request::Arrive { order, arrival, lowest_outstanding: told.lowest });
        let word = match &answered.answer {
            Answer::Arrived(Arrived::Credited { .. }) => "credited".to_owned(),
            Answer::Arrived(Arrived::Cancelled) => "cancelled".to_owned(),
            Answer::Transfer(_) => "sent back".to_owned(),
            Answer::Refused(declined) => declined.code.to_string(),
            other => panic!("{other:?}"),
        };
        if answered.replayed { format!("{word} again") } else { word }
    }

    fn balance(&mut self) -> String {
        let target = Target::Customer(CustomerId::new(2).expect("a customer"));
        match self.ask(Request::Read(Read::Balance { target, currency: None })).answer {
            Answer::Balance(view) => view.account.balance_money().to_string(),
            other => panic!("{other:?}"),
        }
    }
}

fn desk(directory: &Path) -> Desk {
    let decorate = |journal| Box::new(journal) as Box<dyn Journal>;
    open_branch(directory, branch(2), 10, Arc::new(SystemClock), decorate).expect("a branch").desk
}

fn order(key: TransactionKey, fingerprint: [u8; 16], command: Command) -> Order {
    Order {
        key: Key::Given(key),
        fingerprint,
        command,
        caller: Caller { principal: "open".into(), channel: Channel::Branch },
        detail: None,
        name: None,
    }
}

#[test]
fn a_delivery_that_comes_again_is_credited_once() {
    let mut destination = Destination::open();
    assert_eq!(destination.hear(told(1, CREDIT)), "credited");
    assert_eq!(destination.hear(told(1, CREDIT)), "credited again");
    let mut destination = destination.reopened();
    assert_eq!(destination.hear(told(1, CREDIT)), "credited again");
    assert_eq!(destination.balance(), "1010.00");
}

#[test]
fn a_cancel_that_comes_too_late_changes_nothing() {
    let mut destination = Destination::open();
    assert_eq!(destination.hear(told(1, CREDIT)), "credited");
    assert_eq!(destination.hear(told(1, CANCEL)), "credited again");
    assert_eq!(destination.balance(), "1010.00");
}

#[test]
fn a_late_delivery_meets_the_tombstone_even_after_a_restart() {
    let mut destination = Destination::open();
    assert_eq!(destination.hear(told(1, CANCEL)), "cancelled");
    let mut destination = destination.reopened();
    assert_eq!(destination.hear(told(1, CREDIT)), "cancelled again");
    assert_eq!(destination.hear(told(1, CANCEL)), "cancelled again");
    assert_eq!(destination.balance(), "1000.00");
}

#[test]
fn another_amount_under_the_same_id_is_no_outcome_of_either() {
    let mut destination = Destination::open();
    assert_eq!(destination.hear(told(1, CREDIT)), "credited");
    let other = Told { minor: 2_000, ..told(1, CREDIT) };
    assert_eq!(destination.hear(other), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(destination.balance(), "1010.00");
}

#[test]
fn a_sender_whose_time_is_over_is_not_heard_and_nothing_of_it_is_kept() {
    let mut destination = Destination::open();
    assert_eq!(destination.hear(Told { epoch: 6, ..told(1, CREDIT) }), "credited");
    let mut destination = destination.reopened();
    assert_eq!(destination.hear(told(2, CREDIT)), "STALE_EPOCH");
    assert_eq!(destination.hear(told(1, CREDIT)), "STALE_EPOCH");
    // The owner of today sends the same, and it is as if it had never come.
    assert_eq!(destination.hear(Told { epoch: 7, ..told(2, CREDIT) }), "credited");
    assert_eq!(destination.balance(), "1020.00");
}

#[test]
fn numbers_that_do_not_fit_the_past_suspend_the_pair() {
    let mut destination = Destination::open();
    assert_eq!(destination.hear(told(2, CREDIT)), "credited");
    // Number 2 is another transfer now; number 1 has ended there, and nobody here knows it.
    assert_eq!(destination.hear(Told { key: 77, ..told(2, CREDIT) }), "PAIR_SUSPENDED");
    assert_eq!(destination.hear(Told { lowest: 3, ..told(3, CREDIT) }), "PAIR_SUSPENDED");
    assert_eq!(destination.balance(), "1010.00");
    // What fits goes on.
    assert_eq!(destination.hear(told(1, CREDIT)), "credited");
    assert_eq!(destination.hear(Told { lowest: 3, ..told(3, CREDIT) }), "credited");
    assert_eq!(destination.balance(), "1030.00");
}

#[test]
fn money_that_is_asked_back_is_sent_once_however_often_it_is_asked() {
    let mut destination = Destination::open();
    assert_eq!(destination.hear(told(1, CREDIT)), "credited");
    assert_eq!(destination.hear_asked_back(told(2, CREDIT), 1), "sent back");
    assert_eq!(destination.hear_asked_back(told(2, CREDIT), 1), "sent back again");
    let mut destination = destination.reopened();
    assert_eq!(destination.hear_asked_back(told(2, CREDIT), 1), "sent back again");
    // Too late to give up.
    assert_eq!(destination.hear_asked_back(told(2, CANCEL), 1), "sent back again");
    assert_eq!(destination.balance(), "1000.00");
}

#[test]
fn what_was_given_up_is_not_sent_back_when_the_question_comes_after_all() {
    let mut destination = Destination::open();
    assert_eq!(destination.hear(told(1, CREDIT)), "credited");
    assert_eq!(destination.hear_asked_back(told(2, CANCEL), 1), "cancelled");
    let mut destination = destination.reopened();
    assert_eq!(destination.hear_asked_back(told(2, CREDIT), 1), "cancelled again");
    assert_eq!(destination.balance(), "1010.00");
}

#[test]
fn only_what_was_credited_is_sent_back_and_no_refusal_is_forgotten() {
    let mut destination = Destination::open();
    assert_eq!(destination.hear(told(1, CANCEL)), "cancelled");
    assert_eq!(destination.hear(told(2, CREDIT)), "credited");
    assert_eq!(destination.hear_asked_back(told(3, CREDIT), 1), "TRANSACTION_NOT_FOUND");
    assert_eq!(destination.hear_asked_back(told(4, CREDIT), 77), "TRANSACTION_NOT_FOUND");
    assert_eq!(destination.hear_asked_back(Told { minor: 1_001, ..told(5, CREDIT) }, 2), "NOT_REVERSIBLE");
    let mut destination = destination.reopened();
    assert_eq!(destination.hear_asked_back(told(3, CREDIT), 1), "TRANSACTION_NOT_FOUND again");
    // A number that was another message's: the source has forgotten a reversal, and gets no second one.
    assert_eq!(destination.hear_asked_back(Told { key: 99, ..told(4, CREDIT) }, 2), "PAIR_SUSPENDED");
    assert_eq!(destination.balance(), "1010.00");
}

#[test]
fn whoever_has_greeted_is_heard_and_nobody_before_it() {
    let mut destination = Destination::open();
    let greet = |destination: &mut Destination, epoch| match destination
        .ask(Request::Read(Read::Greeting { peer: branch(1), epoch }))
        .answer
    {
        Answer::Peer(record) => format!("{} received", record.received_last),
        Answer::Refused(declined) => declined.code.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(greet(&mut destination, 5), "0 received");
    assert_eq!(destination.hear(told(1, CREDIT)), "credited");
    assert_eq!(greet(&mut destination, 9), "1 received");
    // What the owner before had sent comes late.
    assert_eq!(destination.hear(told(2, CREDIT)), "STALE_EPOCH");
    assert_eq!(destination.hear(told(1, CREDIT)), "STALE_EPOCH");
    assert_eq!(greet(&mut destination, 8), "STALE_EPOCH");
    assert_eq!(destination.hear(Told { epoch: 9, ..told(2, CREDIT) }), "credited");
    // To be asked is not to be greeted.
    assert_eq!(greet(&mut destination, 0), "2 received");
    assert_eq!(destination.balance(), "1020.00");
}
