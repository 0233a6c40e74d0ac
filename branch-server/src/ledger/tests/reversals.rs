//! Reversals as tables. What the journal says of the original stands in the line.

use super::*;
use bank_proto::TransactionId;

/// "deposit #2 #1 1000": a deposit moved 1000 minor units from #2 to #1.
pub(super) fn past(words: &[&str]) -> Past {
    match words {
        ["unknown"] => Past::Unknown,
        ["irreversible"] => Past::Irreversible,
        ["by", key] => Past::Reversed { by: TransactionId { branch: branch("b1"), key: transfer(key) } },
        [movement, debit, credit, minor] => Past::Moved {
            movement: Movement::from_text(movement).expect("a movement"),
            debit: serial(debit),
            credit: serial(credit),
            amount: minor.parse().expect("minor units"),
        },
        _ => panic!("not a past: {words:?}"),
    }
}

#[test]
fn the_same_money_moves_the_other_way() {
    Table::default().check(
        "
        initialize c1 10                        -> initialized, customer 1, #1 checking, #2 capital, #2 -1000 #1 1000
        deposit c1 5 USD                        -> #3 vault_cash, #3 -500 #1 1500
        reverse t1 deposit #3 #1 500            -> back: #1 1000 #3 0
        withdraw c1 4 USD                       -> #1 600 #3 400
        reverse t2 withdrawal #1 #3 400         -> back: #3 0 #1 1000
        open c2 checking USD 0                  -> customer 2, #4 checking
        pay c1 c2 10 USD                        -> #1 0 #4 1000
        reverse t3 transfer #1 #4 1000          -> back: #4 0 #1 1000
        reverse t4 opening_balance #2 #1 1000   -> back: #1 0 #2 0
        ",
    );
}

#[test]
fn a_reversal_is_refused_by_the_first_thing_that_is_wrong() {
    Table::default().check(
        "
        deposit c1 10 USD                       -> customer 1, #1 checking, #2 vault_cash, #2 -1000 #1 1000
        open c2 checking USD 0                  -> customer 2, #3 checking
        pay c1 c2 10 USD                        -> #1 0 #3 1000
        freeze #1                               -> frozen
        freeze #3                               -> frozen
        reverse t1 unknown                      -> TransactionNotFound
        reverse t1 irreversible                 -> NotReversible
        reverse t1 by t255                      -> AlreadyReversed { by: TransactionId { branch: BranchId(1), key: TransactionKey(255) } }
        # Who must give, who gets, and then the money.
        reverse t1 transfer #1 #3 1001          -> AccountFrozen
        unfreeze #3                             -> open
        reverse t1 transfer #1 #3 1001          -> Payee(AccountFrozen)
        unfreeze #1                             -> open
        reverse t1 transfer #1 #3 1001          -> InsufficientFunds { balance: 10.00 USD, available: 10.00 USD }
        reverse t1 deposit #2 #1 1000           -> InsufficientFunds { balance: 0.00 USD, available: 0.00 USD }
        close #1                                -> closed
        reverse t1 transfer #1 #3 1000          -> Payee(AccountClosed)
        reverse t1 deposit #2 #1 1000           -> AccountClosed
        # A withdrawal's only customer is the one who gets the money back.
        reverse t1 withdrawal #1 #2 1000        -> AccountClosed
        balance #3                              -> 10.00
        ",
    );
}

#[test]
fn an_overdraft_limit_covers_what_must_be_given_back() {
    Table::default().check(
        "
        open c1 checking USD 500                -> customer 1, #1 checking
        deposit c1 5 USD                        -> #2 vault_cash, #2 -500 #1 500
        withdraw c1 5 USD                       -> #1 0 #2 0
        reverse t1 deposit #2 #1 500            -> back: #1 -500 #2 500
        reverse t2 deposit #2 #1 1              -> InsufficientFunds { balance: -5.00 USD, available: 0.00 USD }
        ",
    );
}

#[test]
fn a_reversal_that_could_not_be_stored_is_taken_back_whole() {
    let mut table = Table::default();
    table.check("deposit c1 10 USD -> customer 1, #1 checking, #2 vault_cash, #2 -1000 #1 1000");
    let before = table.ledger.clone();
    let words = ["reverse", "t1", "deposit", "#2", "#1", "1000"];
    for entry in &table.ledger.decide(&command(&words)).expect("accepted").0 {
        table.sequence += 1;
        table.ledger.apply(table.sequence, Timestamp(0), entry);
    }
    assert!(!table.ledger.same_as(&before));
    table.ledger.roll_back();
    assert!(table.ledger.same_as(&before), "{:?} is not {before:?}", table.ledger);
}
