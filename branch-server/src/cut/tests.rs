//! Cuts made by hand: what is said of branches that agree, and of each way in which two can differ.

use super::*;
use crate::ledger::TrialBalanceLine;
use bank_proto::Timestamp;
use std::fmt::Write as _;

/// A branch with so much cash, and so much owed to the other branch.
fn part(customers: i128, clearing: (i64, i128), record: PeerRecord) -> BranchCut {
    let line = |kind, balance: i128| TrialBalanceLine {
        kind,
        currency: Currency::USD,
        debit: (-balance).max(0),
        credit: balance.max(0),
        accounts: 1,
    };
    let peer = branch(clearing.0);
    let lines = vec![
        line(AccountKind::VaultCash, -customers - clearing.1),
        line(AccountKind::Capital, customers),
        line(AccountKind::Clearing(peer), clearing.1),
    ];
    BranchCut { sequence: 7, as_of: Timestamp(0), lines, peers: BTreeMap::from([(peer, record)]) }
}

fn branch(number: i64) -> BranchId {
    BranchId::new(number).expect("a branch")
}

fn record(sent: u64, lowest_outstanding: u64, received_up_to: u64) -> PeerRecord {
    let outstanding = sent + 1 - lowest_outstanding;
    PeerRecord { sent, lowest_outstanding, outstanding, received_up_to, received_last: received_up_to }
}

fn bank(first: (i128, PeerRecord), second: (i128, PeerRecord)) -> BankCut {
    BankCut(BTreeMap::from([
        (branch(1), part(500, (2, first.0), first.1)),
        (branch(2), part(700, (1, second.0), second.1)),
    ]))
}

fn said(cut: &BankCut) -> String {
    let mut said = String::new();
    for position in cut.positions() {
        for line in &position.lines {
            let PositionLine { first_owes, second_owes, in_flight, .. } = line;
            let _ = writeln!(said, "owes {first_owes}, is owed {second_owes}, in flight {in_flight}");
        }
    }
    for violation in cut.violations() {
        let _ = writeln!(said, "{violation}");
    }
    said
}

#[test]
fn a_pair_says_what_it_owes_and_what_is_under_way() {
    // 100 left and arrived, 30 more left and are under way; 20 came back the other way.
    let cut = bank((110, record(2, 2, 1)), (-80, record(1, 2, 1)));

    insta::assert_snapshot!(said(&cut), @"owes 110, is owed -80, in flight 30");
    assert_eq!(cut.in_flight(), BTreeMap::from([(Currency::USD, 30)]));
    assert!(cut.is_balanced());
}

#[test]
fn what_does_not_fit_is_named_with_its_first_transfer() {
    // Branch 1 was put back to before its second transfer, which branch 2 has credited.
    let sender_lost = bank((100, record(1, 2, 0)), (-130, record(0, 1, 2)));
    insta::assert_snapshot!(said(&sender_lost), @"
    owes 100, is owed -130, in flight -30
    branch 1 and branch 2: number 2 from branch 1 to branch 2 has arrived and was never sent: branch 1 has lost rows
    branch 1 and branch 2: 30 minor units of USD more have arrived than left
    ");

    // Branch 2 was put back to before the second transfer, which branch 1 knows to be completed.
    let receiver_lost = bank((130, record(2, 3, 0)), (-100, record(0, 1, 1)));
    insta::assert_snapshot!(said(&receiver_lost), @"
    owes 130, is owed -100, in flight 30
    branch 1 and branch 2: number 2 from branch 1 to branch 2 has ended and has no outcome there: branch 2 has lost rows
    branch 1 and branch 2: 30 minor units of USD have left and not arrived, and no transfer is under way
    ");

    let mut unbalanced = bank((0, PeerRecord::NOTHING), (0, PeerRecord::NOTHING));
    if let Some(line) = unbalanced.0.get_mut(&branch(2)).and_then(|part| part.lines.first_mut()) {
        line.debit += 1;
    }
    insta::assert_snapshot!(said(&unbalanced), @"
    owes 0, is owed 0, in flight 0
    the books of branch 2 do not balance
    ");
}

#[test]
fn a_token_is_the_rows_in_the_order_of_the_branches_and_nothing_else() {
    let cut = bank((0, PeerRecord::NOTHING), (0, PeerRecord::NOTHING));

    assert_eq!(cut.token(), "7.7");
    assert_eq!(BankCut::rows_of("7.12", 2), Some(vec![7, 12]));
    for wrong in ["7", "7.7.7", "", "7.", "7.-1", "7.+7", "07.7", "7,7", "7.18446744073709551616"] {
        assert_eq!(BankCut::rows_of(wrong, 2), None, "{wrong}");
    }
}
