//! The desk between ledger and journal: what it answers when the journal refuses or fails.

#![expect(clippy::expect_used, reason = "a test that cannot go on says why and stops")]

use bank_proto::{BranchId, Currency, CustomerId, Money, Timestamp, TransactionKey};
use branch_server::derived::write_snapshot;
use branch_server::environment::{Clock, SystemClock};
use branch_server::journal::{
    AppendError, ChainHash, Channel, Journal, PersonalName, ReadError, Row, Sequence, SqliteJournal,
};
use branch_server::ledger::{AskedAmount, Command, Target};
use branch_server::teller::opening::open_branch;
use branch_server::teller::{Answer, Answered, Asked, Caller, Desk, Job, Key, Order, Read, Request};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, mpsc};

const WORKS: u8 = 0;
const FULL: u8 = 1;
const BREAKS: u8 = 2;
const TAKEN: u8 = 3;

/// A journal that does what a test tells it.
struct Obedient {
    journal: SqliteJournal,
    orders: Arc<AtomicU8>,
}

impl Journal for Obedient {
    fn last_sequence(&self) -> Sequence {
        self.journal.last_sequence()
    }

    fn head(&self) -> ChainHash {
        self.journal.head()
    }

    fn epoch(&self) -> u64 {
        self.journal.epoch()
    }

    fn append(&mut self, rows: &[Row], names: &[PersonalName]) -> Result<(), AppendError> {
        match self.orders.load(Ordering::SeqCst) {
            FULL => Err(AppendError::StorageFull),
            BREAKS => Err(AppendError::Fatal("the sync failed".to_owned())),
            _ => self.journal.append(rows, names),
        }
    }

    fn confirm(&mut self) -> Result<(), AppendError> {
        match self.orders.load(Ordering::SeqCst) {
            TAKEN => Err(AppendError::Fatal("another owner has it".to_owned())),
            _ => self.journal.confirm(),
        }
    }

    fn read(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError> {
        self.journal.read(first, limit)
    }

    fn personal_name(&mut self, customer: CustomerId) -> Result<Option<String>, ReadError> {
        self.journal.personal_name(customer)
    }
}

fn branch() -> BranchId {
    BranchId::new(1).expect("a branch")
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::USD)
}

/// A desk in a directory; its journal obeys the returned switch.
fn desk(directory: &Path) -> (Desk, Arc<AtomicU8>) {
    let orders = Arc::new(AtomicU8::new(WORKS));
    let obey = orders.clone();
    let decorate = move |journal| Box::new(Obedient { journal, orders: obey }) as Box<dyn Journal>;
    let opened = open_branch(directory, branch(), 10, Arc::new(SystemClock), decorate).expect("a branch");
    (opened.desk, orders)
}

fn order(key: u128, command: Command) -> Request {
    Request::Write(Order {
        key: Key::Given(TransactionKey(key)),
        fingerprint: [key as u8; 16],
        command,
        caller: Caller { principal: "open".into(), channel: Channel::Grpc },
        detail: None,
        name: None,
    })
}

fn initialize() -> Request {
    order(1, Command::InitializeBranch { customer: branch().namesake(), initial_balance: usd(100_000) })
}

fn withdraw(key: u128, minor: i64) -> Request {
    let target = Target::Customer(branch().namesake());
    order(key, Command::Withdraw { target, amount: AskedAmount::Money(usd(minor)) })
}

fn balance() -> Request {
    Request::Read(Read::Balance { target: Target::Customer(branch().namesake()), currency: None })
}

/// One job for one batch; its answers arrive at the receiver.
fn job(requests: Vec<Request>) -> (Job, mpsc::Receiver<Vec<Answered>>) {
    let (sender, receiver) = mpsc::channel();
    let requests = requests.into_iter().map(|request| Asked { request, deadline: None }).collect();
    (Job { requests, reply: Box::new(move |answers, _| sender.send(answers).expect("the test waits")) }, receiver)
}

fn ask(desk: &mut Desk, requests: Vec<Request>) -> Vec<Answered> {
    let (job, answers) = job(requests);
    desk.serve(vec![job]).expect("served");
    answers.try_recv().expect("answered before the batch ended")
}

fn said(answered: &Answered) -> String {
    match &answered.answer {
        Answer::Receipt(receipt) => receipt.balance.to_string(),
        Answer::Balance(view) => view.account.balance_money().to_string(),
        Answer::Initialized { created, .. } => format!("created: {created}"),
        Answer::Refused(declined) => declined.code.to_string(),
        Answer::Linked(answers) => all_said(answers).join(" and "),
        other => format!("{other:?}"),
    }
}

fn all_said(answers: &[Answered]) -> Vec<String> {
    answers.iter().map(said).collect()
}

#[test]
fn a_full_disk_refuses_orders_goes_on_answering_questions_and_forgets_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut desk, journal) = desk(directory.path());
    assert_eq!(all_said(&ask(&mut desk, vec![initialize(), withdraw(2, 5_000)])), ["created: true", "950.00"]);
    journal.store(FULL, Ordering::SeqCst);
    // The question between the orders must not show what could not be stored.
    let answers = ask(&mut desk, vec![withdraw(3, 100), balance(), withdraw(4, 10_000_000), withdraw(2, 5_000)]);
    assert_eq!(all_said(&answers), ["STORAGE_FULL", "950.00", "STORAGE_FULL", "950.00"]);
    assert!(answers[3].replayed, "what is stored is told again, room or no room");
    journal.store(WORKS, Ordering::SeqCst);
    // Nothing was kept of the refused orders: the same ids work now.
    let answers = ask(&mut desk, vec![withdraw(3, 100), withdraw(4, 10_000_000), balance()]);
    assert_eq!(all_said(&answers), ["949.00", "INSUFFICIENT_FUNDS", "949.00"]);
    assert!(!answers[0].replayed);
}

fn linked(requests: Vec<Request>) -> Request {
    let orders = requests.into_iter().map(|request| match request {
        Request::Write(order) => order,
        other => panic!("{other:?}"),
    });
    Request::Linked(orders.collect())
}

#[test]
fn linked_orders_that_fail_leave_nothing_for_the_rest_of_their_batch() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut desk, _) = desk(directory.path());
    let failing = || linked(vec![withdraw(3, 100), withdraw(4, 10_000_000)]);
    let again = || withdraw(3, 100);
    let answers = ask(&mut desk, vec![initialize(), withdraw(2, 100), failing(), withdraw(5, 100), again(), balance()]);
    let said = ["created: true", "999.00", "LINKED_OPERATION_FAILED and INSUFFICIENT_FUNDS", "998.00"];
    assert_eq!(all_said(&answers[..4]), said);
    assert_eq!(all_said(&answers[4..]), ["LINKED_OPERATION_FAILED", "998.00"]);
    assert!(answers[4].replayed);
}

#[test]
fn linked_orders_on_a_full_disk_may_be_tried_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut desk, journal) = desk(directory.path());
    ask(&mut desk, vec![initialize(), withdraw(2, 100)]);
    let orders = || linked(vec![withdraw(2, 100), withdraw(3, 100), withdraw(4, 100)]);
    journal.store(FULL, Ordering::SeqCst);
    assert_eq!(all_said(&ask(&mut desk, vec![orders()])), ["999.00 and STORAGE_FULL and STORAGE_FULL"]);
    journal.store(WORKS, Ordering::SeqCst);
    assert_eq!(all_said(&ask(&mut desk, vec![orders(), balance()])), ["999.00 and 998.00 and 997.00", "997.00"]);
}

#[test]
fn when_a_sync_fails_nobody_gets_an_answer() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut desk, journal) = desk(directory.path());
    ask(&mut desk, vec![initialize()]);
    journal.store(BREAKS, Ordering::SeqCst);
    let (order, no_receipt) = job(vec![withdraw(2, 100)]);
    let (question, no_balance) = job(vec![balance()]);
    let fatal = desk.serve(vec![order, question]).expect_err("fatal");
    assert_eq!(fatal.to_string(), "the sync failed");
    assert!(no_receipt.try_recv().is_err());
    assert!(no_balance.try_recv().is_err(), "a balance that a crash could take back");
    assert!(desk.snapshot().is_none(), "the books in memory have an order that nobody stored");
}

#[test]
fn when_another_owner_has_the_branch_nobody_is_told_what_this_one_knew() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut desk, journal) = desk(directory.path());
    ask(&mut desk, vec![initialize()]);
    journal.store(TAKEN, Ordering::SeqCst);
    let (question, no_balance) = job(vec![balance()]);
    let fatal = desk.serve(vec![question]).expect_err("fatal");
    assert_eq!(fatal.to_string(), "another owner has it");
    assert!(no_balance.try_recv().is_err(), "a balance that may be an old one");
}

#[test]
fn one_batch_with_one_id_twice_moves_the_money_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut desk, _) = desk(directory.path());
    let answers = ask(&mut desk, vec![initialize(), withdraw(2, 100), withdraw(2, 100), balance()]);
    assert_eq!(all_said(&answers), ["created: true", "999.00", "999.00", "999.00"]);
    assert_eq!([answers[1].replayed, answers[2].replayed], [false, true]);
    let other = order(2, Command::Freeze(bank_proto::AccountSerial(1)));
    let Request::Write(mut other) = other else { unreachable!("an order") };
    other.fingerprint = [99; 16];
    let answers = ask(&mut desk, vec![Request::Write(other)]);
    assert_eq!(all_said(&answers), ["IDEMPOTENCY_KEY_REUSED"]);
}

#[test]
fn late_requests_are_refused_before_they_do_anything() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut desk, _) = desk(directory.path());
    ask(&mut desk, vec![initialize()]);
    let now = SystemClock.instant();
    let (mut late, answers) = job(vec![withdraw(2, 100), balance()]);
    late.requests.iter_mut().for_each(|asked| asked.deadline = Some(now));
    desk.serve(vec![late]).expect("served");
    assert_eq!(all_said(&answers.recv().expect("answers")), ["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"]);
    let answers = ask(&mut desk, vec![withdraw(2, 100)]);
    assert!(!answers[0].replayed && said(&answers[0]) == "999.00");
}

/// A clock that a test sets.
struct SetClock(Mutex<i64>);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(*self.0.lock().expect("a clock"))
    }

    fn instant(&self) -> tokio::time::Instant {
        SystemClock.instant()
    }
}

#[test]
fn booking_times_never_go_back_even_over_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(SetClock(Mutex::new(5_000)));
    let open = || {
        let decorate = |journal| Box::new(journal) as Box<dyn Journal>;
        open_branch(directory.path(), branch(), 10, clock.clone(), decorate).expect("a branch").desk
    };
    let booked_at = |answers: &[Answered]| match &answers[0].answer {
        Answer::Receipt(receipt) => receipt.booked_at.0,
        other => panic!("{other:?}"),
    };
    let mut first = open();
    ask(&mut first, vec![initialize()]);
    assert_eq!(booked_at(&ask(&mut first, vec![withdraw(2, 1)])), 5_000);
    *clock.0.lock().expect("a clock") = 1_000;
    assert_eq!(booked_at(&ask(&mut first, vec![withdraw(3, 1)])), 5_000);
    drop(first);
    let mut second = open();
    assert_eq!(booked_at(&ask(&mut second, vec![withdraw(4, 1)])), 5_000);
}

#[test]
fn a_snapshot_knows_no_later_time_than_the_rows_it_is_made_of() {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(SetClock(Mutex::new(5_000)));
    let open = || {
        let decorate = |journal| Box::new(journal) as Box<dyn Journal>;
        open_branch(directory.path(), branch(), 10, clock.clone(), decorate).map(|opened| opened.desk)
    };
    let mut first = open().expect("a branch");
    ask(&mut first, vec![initialize()]);
    // Of an owner whose clock is ahead, after a question.
    *clock.0.lock().expect("a clock") = 9_000;
    ask(&mut first, vec![balance()]);
    let (sequence, head) = (first.journal().last_sequence(), first.journal().head());
    let snapshot = first.snapshot().expect("a snapshot");
    drop(first);
    // The next owner goes by the rows.
    *clock.0.lock().expect("a clock") = 6_000;
    ask(&mut open().expect("a branch"), vec![withdraw(2, 1)]);
    write_snapshot(directory.path(), branch(), sequence, head, &snapshot).expect("written");
    let mut third = open().expect("the withdrawal stands behind the snapshot and is in order");
    assert_eq!(all_said(&ask(&mut third, vec![balance()])), ["999.99"]);
}

fn hold(key: u128, minor: i64, life_seconds: u32) -> Request {
    let target = Target::Customer(branch().namesake());
    let amount = AskedAmount::Money(usd(minor));
    order(key, Command::Hold { hold: TransactionKey(key), target, amount, life_seconds, expires_at: Timestamp(0) })
}

fn state(key: u128) -> Request {
    Request::Read(Read::Hold(TransactionKey(key)))
}

#[test]
fn a_hold_ends_at_its_time_before_anything_else_of_its_batch() {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(SetClock(Mutex::new(0)));
    let set = |seconds: i64| *clock.0.lock().expect("a clock") = seconds * 1_000_000;
    let open = || {
        let decorate = |journal| Box::new(journal) as Box<dyn Journal>;
        open_branch(directory.path(), branch(), 10, clock.clone(), decorate).expect("a branch").desk
    };
    let states = |answers: &[Answered]| -> Vec<String> {
        let state = |answered: &Answered| match &answered.answer {
            Answer::Hold(view) => view.end.map_or("HELD", |(end, _)| end.as_str()).to_owned(),
            _ => said(answered),
        };
        answers.iter().map(state).collect()
    };
    let mut desk = open();
    ask(&mut desk, vec![initialize(), hold(2, 60_000, 10), hold(3, 40_000, 20)]);
    set(9);
    assert_eq!(desk.until_expiry(), Some(std::time::Duration::from_secs(1)));
    let release = |key, hold| order(key, Command::Release { hold: TransactionKey(hold), ended: None });
    assert_eq!(states(&ask(&mut desk, vec![withdraw(4, 1), state(2)])), ["INSUFFICIENT_FUNDS", "HELD"]);
    set(10);
    // The order that comes at that very moment finds the money free.
    assert_eq!(states(&ask(&mut desk, vec![withdraw(5, 60_000), state(2), state(3)])), ["400.00", "EXPIRED", "HELD"]);
    assert_eq!(states(&ask(&mut desk, vec![release(6, 2)])), ["HOLD_EXPIRED"]);
    drop(desk);
    // Its end does not wait for the owner that saw it placed.
    set(20);
    let mut desk = open();
    assert_eq!(desk.until_expiry(), Some(std::time::Duration::ZERO));
    assert_eq!(states(&ask(&mut desk, vec![withdraw(7, 40_000), state(3)])), ["0.00", "EXPIRED"]);
    assert_eq!(desk.until_expiry(), None);
}

#[test]
fn a_full_disk_keeps_holds_as_they_are_until_there_is_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut desk, journal) = desk(directory.path());
    ask(&mut desk, vec![initialize()]);
    journal.store(FULL, Ordering::SeqCst);
    assert_eq!(
        all_said(&ask(&mut desk, vec![hold(2, 60_000, 10), balance(), state(2)])),
        ["STORAGE_FULL", "1000.00", "HOLD_NOT_FOUND"]
    );
    journal.store(WORKS, Ordering::SeqCst);
    let answers = ask(&mut desk, vec![hold(2, 60_000, 10), withdraw(3, 40_001), withdraw(4, 40_000)]);
    assert_eq!(all_said(&answers[1..]), ["INSUFFICIENT_FUNDS", "600.00"]);
}
