//! Rows of holds that a forger has sealed anew: the chain fits, and the books must tell.

use super::*;
use crate::environment::{Clock, SystemClock};
use crate::journal::{Channel, Journal, JournalReader as _, SqliteReader};
use crate::ledger::{AskedAmount, Command, Payee, Product, Target};
use crate::teller::opening::open_branch;
use crate::teller::{Asked, Caller, Job, Key, Order, Request};
use bank_proto::{Currency, CustomerId, DecimalAmount, Money};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};

#[derive(Debug)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst) * 1_000_000)
    }

    fn instant(&self) -> tokio::time::Instant {
        SystemClock.instant()
    }
}

fn branch(number: i64) -> BranchId {
    BranchId::new(number).expect("a branch")
}

fn customer(number: i64) -> Target {
    Target::Customer(CustomerId::new(number).expect("a customer"))
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::USD)
}

fn hold(key: u128, minor: i64, life_seconds: u32) -> Command {
    let (target, amount) = (customer(1), AskedAmount::Money(usd(minor)));
    Command::Hold { hold: TransactionKey(key), target, amount, life_seconds, expires_at: Timestamp(0) }
}

fn capture(payee: Payee, amount: &str, is_last: bool) -> Command {
    let amount = Some(DecimalAmount::parse(amount).expect("an amount"));
    Command::Capture { hold: TransactionKey(3), payee, amount, is_last, ended: None }
}

/// The rows of a branch that has seen all that can happen to holds: of hold 3 two parts, one of them to another
/// branch, and a last one; 4 was released, the time of 5 was over.
fn rows() -> Vec<Row> {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(SetClock(AtomicI64::new(0)));
    let decorate = |journal| Box::new(journal) as Box<dyn Journal>;
    let mut desk = open_branch(directory.path(), branch(1), 10, clock.clone(), decorate).expect("a branch").desk;
    let second = CustomerId::new(11).expect("a customer");
    let away = |key| Payee::At { branch: branch(2), target: customer(2), transfer: TransactionKey(key) };
    let orders = [
        (0, Command::InitializeBranch { customer: branch(1).namesake(), initial_balance: usd(100_000) }),
        (
            0,
            Command::OpenAccount {
                customer: second,
                product: Product::Checking,
                currency: Currency::USD,
                joint_holders: Vec::new(),
                overdraft_limit: 0,
            },
        ),
        (0, hold(3, 10_000, 100)),
        (0, hold(4, 5_000, 100)),
        (0, hold(5, 2_000, 5)),
        (1, capture(Payee::Here(customer(11)), "30", false)),
        (2, capture(away(7), "20", false)),
        (3, Command::Release { hold: TransactionKey(4), ended: None }),
        (6, capture(Payee::Here(customer(11)), "40", true)),
    ];
    for (key, (seconds, command)) in (1..).zip(orders) {
        clock.0.store(seconds, Ordering::SeqCst);
        let request = Request::Write(Order {
            key: Key::Given(TransactionKey(key)),
            fingerprint: [1; 16],
            command,
            caller: Caller { principal: "open".into(), channel: Channel::Grpc },
            detail: None,
            name: None,
        });
        let (sender, answers) = mpsc::channel();
        let reply = Box::new(move |answers, _| sender.send(answers).expect("the test waits"));
        desk.serve(vec![Job { requests: vec![Asked { request, deadline: None }], reply }]).expect("served");
        let answers = answers.try_recv().expect("an answer");
        assert!(!matches!(answers[0].answer, crate::teller::Answer::Refused(_)), "order {key}: {answers:?}");
    }
    SqliteReader::open(directory.path()).and_then(|mut reader| reader.read(1, 99)).expect("rows")
}

/// Seals rows as one group commit and makes books of them.
fn fold(rows: &[Row]) -> Result<Folded, RowError> {
    let closing = GroupCommit::seal(branch(1), 1, ChainHash::default(), rows, &mut Vec::new());
    let mut fold = Fold::from(branch(1), Folded::empty());
    for row in rows {
        fold.take(row.clone(), (row.sequence == rows.len() as u64).then_some(closing))?;
    }
    fold.finish()
}

/// Rows in which the given one of a kind, counted from 0, was changed.
fn forged(rows: &[Row], kind: RowKind, place: usize, change: impl FnOnce(&mut Row)) -> Vec<Row> {
    let mut rows = rows.to_vec();
    change(rows.iter_mut().filter(|row| row.kind == kind).nth(place).expect("such a row"));
    rows
}

fn say(row: &mut Row, before: &str, after: &str) {
    let detail = row.detail.as_deref().expect("a detail");
    assert!(detail.contains(before), "{detail}");
    row.detail = Some(detail.replace(before, after).into());
}

#[test]
fn every_forgery_of_a_hold_is_found_though_the_chain_fits() {
    use RowKind::{HoldCaptured, HoldExpired, HoldPlaced, HoldReleased, Transfer, TransferSent};
    let rows = rows();
    let books = fold(&rows).expect("sound before");
    assert_eq!(books.ledger.open_hold_count(), 0);
    let broken = "it does not follow from the rows before it";
    let unpaid = "what it takes out of the hold is not what is paid";
    type Change = fn(&mut Row);
    // Which row is changed, how, and which is then found out.
    let forgeries: [(RowKind, usize, Change, RowKind, usize, &str); 20] = [
        (HoldPlaced, 0, |row| row.amount = 100_001, HoldPlaced, 0, broken),
        (HoldPlaced, 0, |row| row.amount = 0, HoldPlaced, 0, "a hold of nothing"),
        (HoldPlaced, 0, |row| row.amount += 1, HoldCaptured, 2, broken),
        (HoldPlaced, 0, |row| row.credit_account = Some(AccountSerial(3)), HoldPlaced, 0, "of two accounts"),
        (HoldPlaced, 0, |row| row.debit_account = Some(AccountSerial(2)), HoldPlaced, 0, broken),
        (HoldPlaced, 0, |row| say(row, "100000000", "0"), HoldPlaced, 0, broken),
        (HoldPlaced, 0, |row| say(row, "100000000", "1000000"), HoldCaptured, 0, broken),
        (HoldPlaced, 0, |row| row.detail = None, HoldPlaced, 0, "without a hold"),
        (HoldPlaced, 2, |row| row.transaction = TransactionKey(3), HoldPlaced, 2, broken),
        (HoldPlaced, 2, |row| say(row, "5000000", "7000000"), HoldExpired, 0, broken),
        (HoldCaptured, 0, |row| row.amount = 10_001, HoldCaptured, 0, broken),
        (HoldCaptured, 0, |row| row.amount -= 1, HoldCaptured, 0, unpaid),
        (HoldCaptured, 1, |row| row.amount -= 1, HoldCaptured, 1, unpaid),
        (HoldCaptured, 2, |row| say(row, "1000", "999"), HoldCaptured, 2, broken),
        (HoldCaptured, 0, |row| say(row, "03\"", "09\""), HoldCaptured, 0, broken),
        (HoldReleased, 0, |row| row.amount -= 1, HoldReleased, 0, broken),
        (HoldReleased, 0, |row| row.kind = HoldExpired, HoldReleased, 0, "under another id than its own"),
        (HoldExpired, 0, |row| row.kind = HoldReleased, HoldExpired, 0, broken),
        (HoldExpired, 0, |row| row.transaction = TransactionKey(99), HoldExpired, 0, "under another id than its own"),
        (
            Transfer,
            0,
            |row| (row.transaction, row.fingerprint) = (TransactionKey(99), Some([1; 16])),
            HoldCaptured,
            0,
            unpaid,
        ),
    ];
    for (number, (kind, place, change, found, found_place, what)) in forgeries.into_iter().enumerate() {
        let error = fold(&forged(&rows, kind, place, change)).expect_err(&format!("forgery {number}"));
        let at = rows.iter().filter(|row| row.kind == found).nth(found_place).expect("such a row").sequence;
        assert!(error.sequence == at && error.what.contains(what), "forgery {number}, row {at}: {error}");
    }
    // A capture behind which the journal ends, within the branch and to another one.
    for kind in [Transfer, TransferSent] {
        let end = rows.iter().position(|row| row.kind == kind).expect("such a row");
        let error = fold(&rows[..end]).expect_err("a capture pays");
        assert!(error.what.contains(unpaid), "{error}");
    }
}
