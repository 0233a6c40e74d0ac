//! Holds as tables: placed, captured in parts, released, over.

use super::*;

/// `t1 c1 60 USD until 9`.
pub(super) fn place(words: &[&str]) -> Command {
    let [key, who, money @ .., "until", until] = words else { panic!("not a hold: {words:?}") };
    Command::Hold {
        hold: transfer(key),
        target: target(who),
        amount: amount(money),
        life_seconds: 0,
        expires_at: Timestamp(until.parse().expect("a moment")),
    }
}

/// `t1 c2 10 more`, `t1 c2 all last`, and to another branch `t1 c2 10 last as t8 b2`.
pub(super) fn capture(words: &[&str]) -> Command {
    let [hold, to, money, rest, elsewhere @ ..] = words else { panic!("not a capture: {words:?}") };
    let payee = match elsewhere {
        ["as", key, peer] => Payee::At { branch: branch(peer), target: target(to), transfer: transfer(key) },
        _ => Payee::Here(target(to)),
    };
    let amount = (*money != "all").then(|| DecimalAmount::parse(money).expect("an amount"));
    Command::Capture { hold: transfer(hold), payee, amount, is_last: *rest == "last", ended: None }
}

/// Customer 1 with 100.00 on account #1, customer 2 with nothing on #3; the vault is #2.
fn funded() -> Table {
    let mut table = Table { ledger: Ledger::restore(true), ..Table::default() };
    table.check("deposit c1 100 USD -> customer 1, #1 checking, #2 vault_cash, #2 -10000 #1 10000");
    table.check("open c2 checking USD 0 -> customer 2, #3 checking");
    table
}

#[test]
fn what_is_held_stays_and_cannot_be_taken_elsewhere() {
    let mut table = funded();
    table.check(
        "
        hold t1 c1 60 USD until 9        -> held 6000 until 9
        withdraw c1 40.01 USD            -> InsufficientFunds { balance: 100.00 USD, available: 40.00 USD }
        pay c1 c2 40.01 USD              -> InsufficientFunds { balance: 100.00 USD, available: 40.00 USD }
        hold t2 c1 40.01 USD until 9     -> InsufficientFunds { balance: 100.00 USD, available: 40.00 USD }
        hold t2 c1 40 USD until 9        -> held 4000 until 9
        withdraw c1 0.01 USD             -> InsufficientFunds { balance: 100.00 USD, available: 0.00 USD }
        release t1                       -> RELEASED 6000
        withdraw c1 60 USD               -> #1 4000 #2 -4000
        close #1                         -> AccountNotEmpty { balance: 40.00 USD }
        ",
    );
    assert_eq!(table.ledger.account(AccountSerial(1)).map(|account| account.held), Some(4_000));
}

#[test]
fn a_hold_is_captured_in_parts_until_it_is_used_up_or_let_go() {
    funded().check(
        "
        hold t1 c1 60 USD until 9        -> held 6000 until 9
        capture t1 c2 10 more            -> takes 1000, #1 9000 #3 1000
        capture t1 #3 0.01 more          -> takes 1, #1 8999 #3 1001
        capture t1 c2 50 more            -> HoldAmountExceeded { remaining: 49.99 USD }
        withdraw c1 40.01 USD            -> InsufficientFunds { balance: 89.99 USD, available: 40.00 USD }
        capture t1 c2 9.99 last          -> takes 999 lets 4000 go, #1 8000 #3 2000
        capture t1 c2 1 last             -> HoldNotFound
        release t1                       -> HoldNotFound
        withdraw c1 80 USD               -> #1 0 #2 -2000
        # All that is left ends a hold, whatever is to be kept of it.
        hold t2 c2 20 USD until 9        -> held 2000 until 9
        capture t2 c1 all more           -> takes 2000 lets 0 go, #3 0 #1 2000
        ",
    );
}

#[test]
fn a_capture_is_refused_by_name_and_changes_nothing() {
    let mut table = funded();
    table.check(
        "
        open c3 checking EUR 0           -> customer 3, #4 checking
        hold t1 c1 60 USD until 9        -> held 6000 until 9
        capture t7 c2 1 last             -> HoldNotFound
        capture t1 c9 1 last             -> Payee(CustomerNotFound)
        capture t1 #99 1 last            -> Payee(AccountNotFound)
        capture t1 #4 1 last             -> Payee(CurrencyMismatch { account: EUR })
        capture t1 c1 1 last             -> SameAccount
        capture t1 c2 60.01 last         -> HoldAmountExceeded { remaining: 60.00 USD }
        capture t1 c2 0.001 last         -> InvalidAmount(TooPrecise { currency: USD, decimals: 2 })
        freeze #3                        -> frozen
        capture t1 c2 1 last             -> Payee(AccountFrozen)
        freeze #1                        -> frozen
        capture t1 c2 1 last             -> AccountFrozen
        hold t2 c1 1 USD until 9         -> AccountFrozen
        release t1                       -> RELEASED 6000
        ",
    );
    let end = |end| Command::Release { hold: transfer("t1"), ended: Some(end) };
    assert_eq!(table.ledger.decide(&end(HoldEnd::Expired)), Err(Refusal::HoldEnded(HoldEnd::Expired)));
    assert_eq!(table.ledger.decide(&end(HoldEnd::Captured)), Err(Refusal::HoldEnded(HoldEnd::Captured)));
}

#[test]
fn a_capture_for_another_branch_leaves_like_any_transfer_and_comes_back_free() {
    let mut table = funded();
    table.check(
        "
        hold t1 c1 60 USD until 9        -> held 6000 until 9
        capture t1 c5 20 more as t8 b2   -> takes 2000, #4 clearing, to b2 1: #1 8000 #4 2000
        withdraw c1 40.01 USD            -> InsufficientFunds { balance: 80.00 USD, available: 40.00 USD }
        returned t8 b2 7                 -> returned: #4 0 #1 10000
        withdraw c1 60 USD               -> #1 4000 #2 -4000
        ",
    );
}

#[test]
fn a_hold_may_use_an_overdraft_and_keeps_its_account_from_closing() {
    funded().check(
        "
        open c3 checking USD 5000        -> customer 3, #4 checking
        hold t1 c3 50 USD until 9        -> held 5000 until 9
        hold t2 c3 0.01 USD until 9      -> InsufficientFunds { balance: 0.00 USD, available: 0.00 USD }
        close #4                         -> HoldsOpen { held: 50.00 USD }
        capture t1 c2 30 last            -> takes 3000 lets 2000 go, #4 -3000 #3 3000
        ",
    );
}

#[test]
fn holds_end_in_the_order_of_their_times_and_not_before() {
    let mut table = funded();
    table.check(
        "
        hold t1 c1 10 USD until 9        -> held 1000 until 9
        hold t2 c1 10 USD until 5        -> held 1000 until 5
        hold t3 c1 10 USD until 5        -> held 1000 until 5
        ",
    );
    let overdue = |table: &Table, now| table.ledger.overdue_holds(Timestamp(now), 9);
    assert_eq!(table.ledger.next_expiry(), Some(Timestamp(5)));
    assert_eq!(overdue(&table, 4), []);
    assert_eq!(overdue(&table, 5), [transfer("t2"), transfer("t3")]);
    table.now = 5;
    table.check("expire t2 -> EXPIRED 1000");
    table.check("expire t3 -> EXPIRED 1000");
    assert_eq!(overdue(&table, 8), []);
    assert_eq!(table.ledger.open_hold_count(), 1);
}

#[test]
fn what_could_not_be_stored_of_holds_is_taken_back_whole() {
    let mut table = funded();
    table.check("hold t1 c1 60 USD until 9 -> held 6000 until 9");
    let before = table.ledger.clone();
    for operation in ["hold t2 c1 40 USD until 7", "capture t1 c2 10 more", "capture t1 c2 5 last", "release t2"] {
        let words: Vec<&str> = operation.split_whitespace().collect();
        for entry in table.ledger.decide(&command(&words)).expect("entries").0 {
            table.sequence += 1;
            table.ledger.apply(table.sequence, Timestamp(0), &entry);
        }
    }
    assert_eq!(table.ledger.open_hold_count(), 0);
    table.ledger.roll_back();
    assert!(table.ledger.same_as(&before));
}

#[test]
fn one_account_has_only_so_many_open_holds_and_leaves_room_for_others() {
    let mut table = funded();
    table.check("deposit c2 1 USD -> #2 -10100 #3 100");
    for key in 1..=bank_proto::limits::OPEN_HOLDS_PER_ACCOUNT {
        table.check(&format!("hold t{key} c1 0.02 USD until 9 -> held 2 until 9"));
    }
    table.check(
        "
        # The money is looked at first.
        hold t9001 c1 99 USD until 9     -> InsufficientFunds { balance: 100.00 USD, available: 79.52 USD }
        hold t9001 c1 0.02 USD until 9   -> HoldLimitExceeded
        hold t9002 c2 0.02 USD until 9   -> held 2 until 9
        # A part that leaves something leaves the hold open; what ends one makes room.
        capture t1 c2 0.01 more          -> takes 1, #1 9999 #3 101
        hold t9001 c1 0.02 USD until 9   -> HoldLimitExceeded
        capture t1 c2 0.01 more          -> takes 1 lets 0 go, #1 9998 #3 102
        hold t9001 c1 0.02 USD until 9   -> held 2 until 9
        hold t9003 c1 0.02 USD until 9   -> HoldLimitExceeded
        release t2                       -> RELEASED 2
        hold t9003 c1 0.02 USD until 9   -> held 2 until 9
        ",
    );
    table.now = 9;
    table.check("expire t3 -> EXPIRED 2");
    let account = table.ledger.account(AccountSerial(1)).expect("an account");
    assert_eq!((account.open_holds, account.held), (1_023, 2_046));
}
