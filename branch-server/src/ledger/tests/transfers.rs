//! Transfers as tables, at the payer's branch and at the payee's.

use super::*;

/// Customer 1 with 10.00 on account #1, out of the vault #2.
const FUNDED: &str = "deposit c1 10 USD -> customer 1, #1 checking, #2 vault_cash, #2 -1000 #1 1000";

fn funded() -> Table {
    let mut table = Table { ledger: Ledger::restore(true), ..Table::default() };
    table.check(FUNDED);
    table
}

#[test]
fn within_a_branch_the_payee_has_the_money_at_once() {
    funded().check(
        "
        open c2 checking USD 0     -> customer 2, #3 checking
        open c2 savings USD 500    -> #4 savings
        pay c1 c2 2.50 USD         -> #1 750 #3 250
        pay #1 #3 2.50             -> #1 500 #3 500
        pay #4 c1 5 USD            -> #4 -500 #1 1000
        pay #4 c1 0.01 USD         -> InsufficientFunds { balance: -5.00 USD, available: 0.00 USD }
        pay c1 c2 10.01 USD        -> InsufficientFunds { balance: 10.00 USD, available: 10.00 USD }
        ",
    );
}

#[test]
fn a_transfer_is_refused_by_name_and_opens_no_account() {
    funded().check(
        "
        open c2 checking USD 0     -> customer 2, #3 checking
        open c2 savings JPY 0      -> #4 savings
        register c3                -> customer 3
        # The payer first, then the payee, then the money.
        pay c7 c8 1 USD            -> CustomerNotFound
        pay c1 c8 1 EUR            -> AccountNotFound
        pay #1 c2 1 EUR            -> CurrencyMismatch { account: USD }
        pay c1 c8 99 USD           -> Payee(CustomerNotFound)
        pay c1 c3 1 USD            -> Payee(AccountNotFound)
        pay c1 #99 1 USD           -> Payee(AccountNotFound)
        pay c1 #2 1 USD            -> Payee(AccountNotFound)
        pay c1 #4 1 USD            -> Payee(CurrencyMismatch { account: JPY })
        pay c1 c1 99 USD           -> SameAccount
        pay c1 #1 1 USD            -> SameAccount
        freeze #3                  -> frozen
        pay c1 c2 1 USD            -> Payee(AccountFrozen)
        pay c2 c1 1 USD            -> AccountFrozen
        unfreeze #3                -> open
        close #3                   -> closed
        pay c1 c2 1 USD            -> Payee(AccountClosed)
        pay c2 c1 1 USD            -> AccountClosed
        ",
    );
}

#[test]
fn money_for_another_branch_waits_on_the_clearing_account_until_that_branch_has_answered() {
    funded().check(
        "
        send t1 c1 b2 c2 3 USD     -> #3 clearing, to b2 1: #1 700 #3 300
        send t2 #1 b2 #7 2         -> to b2 2: #1 500 #3 500
        send t3 c1 b3 c3 1 USD     -> #4 clearing, to b3 1: #1 400 #4 100
        send t4 c1 b2 c2 4.01 USD  -> InsufficientFunds { balance: 4.00 USD, available: 4.00 USD }
        credited t1 b2 1           -> completed
        balance #3                 -> 5.00
        credited t1 b2 1           -> NotInFlight
        returned t1 b2 1           -> NotInFlight
        returned t2 b2 1           -> returned: #3 300 #1 600
        returned t9 b2 1           -> NotInFlight
        send t5 c1 b2 c2 1 USD     -> to b2 3: #1 500 #3 400
        ",
    );
}

#[test]
fn money_comes_back_to_a_frozen_account_and_keeps_one_from_being_closed() {
    funded().check(
        "
        send t1 c1 b2 c2 10 USD    -> #3 clearing, to b2 1: #1 0 #3 1000
        close #1                   -> TransfersInFlight
        freeze #1                  -> frozen
        returned t1 b2 1           -> returned: #3 0 #1 1000
        unfreeze #1                -> open
        send t2 c1 b2 c2 10 USD    -> to b2 2: #1 0 #3 1000
        credited t2 b2 1           -> completed
        close #1                   -> closed
        ",
    );
}

#[test]
fn a_payees_branch_credits_or_refuses_and_opens_no_account() {
    let mut table = Table::default();
    table.check(
        "
        receive b2 1 5 c1 1 USD    -> Payee(BranchNotFound)
        initialize c1 0            -> initialized, customer 1, #1 checking
        receive b2 1 5 c1 1 USD    -> #2 clearing, from b2: #2 -100 #1 100
        receive b2 2 5 #1 1 USD    -> from b2: #2 -200 #1 200
        receive b2 3 5 c4 1 USD    -> Payee(CustomerNotFound)
        receive b2 3 5 c1 1 EUR    -> Payee(AccountNotFound)
        receive b2 3 5 #1 1 EUR    -> Payee(CurrencyMismatch { account: USD })
        cancel b2 3 5              -> turned away b2 3
        freeze #1                  -> frozen
        receive b2 4 5 c1 1 USD    -> Payee(AccountFrozen)
        ",
    );
}

#[test]
fn arrivals_fit_the_past_of_the_pair_or_are_not_admitted() {
    let mut table = Table::default();
    table.check(
        "
        initialize c1 0            -> initialized, customer 1, #1 checking
        receive b2 1 5 c1 1 USD    -> #2 clearing, from b2: #2 -100 #1 100
        receive b2 4 6 c1 1 USD    -> from b2: #2 -200 #1 200
        cancel b2 3 6              -> turned away b2 3
        ",
    );
    let admit = |table: &Table, number: &str, epoch: &str, lowest: u64| {
        table.ledger.admit(&arrival("b2", number, epoch), lowest).map_err(|fault| format!("{fault:?}"))
    };
    // 2 may still come; 1, 3 and 4 have been; 5 has not; the source's epoch is 6 by now.
    assert_eq!(admit(&table, "2", "6", 2), Ok(()));
    assert_eq!(admit(&table, "5", "7", 2), Ok(()));
    assert_eq!(admit(&table, "5", "5", 2), Err("StaleEpoch { epoch: 5, seen: 6 }".to_owned()));
    for used in ["1", "3", "4"] {
        assert_eq!(admit(&table, used, "6", 1), Err(format!("SequenceUsed {{ pair_sequence: {used} }}")));
    }
    // The source has an outcome of 2, and it is not here.
    assert_eq!(admit(&table, "5", "6", 3), Err("OutcomesLost { missing: 2 }".to_owned()));
    table.check("receive b2 2 6 c1 1 USD -> from b2: #2 -300 #1 300");
    assert_eq!(admit(&table, "5", "6", 5), Ok(()));
    assert_eq!(admit(&table, "6", "6", 6), Err("OutcomesLost { missing: 5 }".to_owned()));
    assert!(table.ledger.hear(branch("b2"), 5).is_err());
    assert_eq!(table.ledger.hear(branch("b3"), 0), Ok(()));
}

#[test]
fn a_pair_has_so_many_transfers_under_way_at_most() {
    let mut table = Table::default();
    table.check("deposit c1 1000000 USD -> customer 1, #1 checking, #2 vault_cash, #2 -100000000 #1 100000000");
    for number in 1..=bank_proto::limits::TRANSFERS_IN_FLIGHT_PER_PAIR {
        table.run(&format!("send t{number} c1 b2 c2 0.01 USD"));
    }
    table.check(
        "
        send t99991 c1 b2 c2 0.01 USD -> ClearingLimitExceeded
        send t99991 c1 b3 c3 0.01 USD -> #4 clearing, to b3 1: #1 99934463 #4 1
        credited t7 b2 1              -> completed
        send t99992 c1 b2 c2 0.01 USD -> to b2 65537: #1 99934462 #3 65537
        ",
    );
}

#[test]
fn transfers_that_could_not_be_stored_are_taken_back_whole() {
    let mut table = funded();
    table.check(
        "
        send t1 c1 b2 c2 1 USD     -> #3 clearing, to b2 1: #1 900 #3 100
        receive b2 3 1 c1 1 USD    -> from b2: #3 0 #1 1000
        ",
    );
    let before = table.ledger.clone();
    let steps = [
        "send t2 c1 b2 c2 1 USD",
        "send t3 c1 b4 c2 1 USD",
        "credited t1 b2 2",
        "receive b2 1 2 c1 1 USD",
        "receive b2 2 2 c1 1 USD",
        "receive b3 1 2 c1 1 USD",
        "cancel b2 5 2",
        "returned t2 b2 2",
    ];
    for undone in 1..=steps.len() {
        for operation in &steps[..undone] {
            let words: Vec<&str> = operation.split_whitespace().collect();
            for entry in &table.ledger.decide(&command(&words)).expect("accepted").0 {
                table.sequence += 1;
                table.ledger.apply(table.sequence, Timestamp(0), entry);
            }
        }
        assert!(!table.ledger.same_as(&before));
        table.ledger.roll_back();
        assert!(table.ledger.same_as(&before), "after {}: {:?} is not {before:?}", steps[undone - 1], table.ledger);
    }
}

#[test]
fn no_more_than_the_limit_is_under_way_to_one_branch() {
    let mut table = funded();
    table.ledger.limit_clearing(500);
    table.check(
        "
        send t1 c1 b2 c5 3 USD       -> #3 clearing, to b2 1: #1 700 #3 300
        send t2 c1 b2 c5 2.01 USD    -> ClearingLimitExceeded
        send t2 c1 b2 c5 2 USD       -> to b2 2: #1 500 #3 500
        send t3 c1 b2 c5 0.01 USD    -> ClearingLimitExceeded
        # To another branch is another matter, and so is what has ended.
        send t3 c1 b3 c5 1 USD       -> #4 clearing, to b3 1: #1 400 #4 100
        credited t1 b2 7             -> completed
        send t4 c1 b2 c5 3.01 USD    -> ClearingLimitExceeded
        send t4 c1 b2 c5 3 USD       -> to b2 3: #1 100 #3 800
        returned t2 b2 7             -> returned: #3 600 #1 300
        send t5 c1 b2 c5 2 USD       -> to b2 4: #1 100 #3 800
        ",
    );
    let before = table.ledger.clone();
    for operation in ["credited t4 b2 7", "send t6 c1 b2 c5 1 USD"] {
        let words: Vec<&str> = operation.split_whitespace().collect();
        for entry in table.ledger.decide(&command(&words)).expect("entries").0 {
            table.sequence += 1;
            table.ledger.apply(table.sequence, Timestamp(0), &entry);
        }
    }
    table.ledger.roll_back();
    assert!(table.ledger.same_as(&before));
    table.check("send t6 c1 b2 c5 0.01 USD -> ClearingLimitExceeded");
}
