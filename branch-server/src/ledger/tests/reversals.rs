//! Reversals as tables. What the journal says of the original stands in the line.

use super::*;
use bank_proto::TransactionId;

/// "deposit #2 #1 1000": a deposit moved 1000 minor units from #2 to #1.
fn past(words: &[&str]) -> Past {
    match words {
        ["unknown"] => Past::Unknown,
        ["irreversible"] => Past::Irreversible,
        ["by", key] => Past::Reversed { by: TransactionId { branch: branch("b1"), key: transfer(key) } },
        ["under_way"] => Past::UnderWay,
        ["crossed", peer, payer, payee, minor, attempt] => Past::Crossed {
            peer: branch(peer),
            payer: serial(payer),
            payee: serial(payee),
            amount: minor.parse().expect("minor units"),
            attempt: attempt.parse().expect("a number"),
        },
        [movement, debit, credit, minor] => Past::Moved {
            movement: Movement::from_text(movement).expect("a movement"),
            debit: serial(debit),
            credit: serial(credit),
            amount: minor.parse().expect("minor units"),
        },
        _ => panic!("not a past: {words:?}"),
    }
}

/// The reversal has the key of the original, and a thousand.
pub(super) fn order(key: &str, what: &[&str]) -> Command {
    let original = transfer(key);
    Command::Reverse { original, reversal: TransactionKey(original.0 + 1000), past: past(what) }
}

/// Another branch asks for US dollars, of a transfer of which the journal says the rest of the line.
pub(super) fn back(arrival: Arrival, words: &[&str]) -> Command {
    let (minor, what) = words.split_first().expect("an amount");
    let amount = Money::from_minor(minor.parse().expect("minor units"), Currency::USD);
    Command::Return { arrival, original: TransactionKey(7), amount, past: past(what) }
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

/// Customer 1 has paid 3.00 to account #9 of branch 2, and that branch has credited it.
fn paid_abroad() -> Table {
    let mut table = Table { ledger: Ledger::restore(true), ..Table::default() };
    table.check(
        "
        deposit c1 10 USD                       -> customer 1, #1 checking, #2 vault_cash, #2 -1000 #1 1000
        send t1 c1 b2 #9 3 USD                  -> #3 clearing, to b2 1: #1 700 #3 300
        credited t1 b2 1                        -> completed
        ",
    );
    table
}

#[test]
fn another_branch_is_asked_and_nothing_moves_before_it_has_answered() {
    paid_abroad().check(
        "
        reverse t1 under_way                    -> TransfersInFlight
        reverse t1 crossed b2 #1 #9 300 0       -> asks b2 #9 2 0
        balance #1                              -> 7.00
        # The account may yet get money: it stays.
        withdraw #1 7                           -> #1 0 #2 -300
        close #1                                -> TransfersInFlight
        returned t1001 b2 1                     -> refused there
        returned t1001 b2 1                     -> NotInFlight
        reverse t1 crossed b2 #1 #9 300 1       -> asks b2 #9 3 1
        credited t1001 b2 1                     -> completed
        receive b2 1 1 #1 3 USD                 -> from b2: #3 0 #1 300
        freeze #1                               -> frozen
        reverse t1 crossed b2 #1 #9 300 1       -> Payee(AccountFrozen)
        ",
    );
}

#[test]
fn a_payees_branch_sends_back_what_it_has_credited_and_what_is_there() {
    Table { ledger: Ledger::restore(true), ..Table::default() }.check(
        "
        open c1 checking USD 0                  -> customer 1, #1 checking
        receive b2 1 1 c1 3 USD                 -> #2 clearing, from b2: #2 -300 #1 300
        return b2 2 1 300 unknown               -> TransactionNotFound
        return b2 2 1 301 transfer #2 #1 300    -> NotReversible
        freeze #1                               -> frozen
        return b2 2 1 300 transfer #2 #1 300    -> AccountFrozen
        unfreeze #1                             -> open
        withdraw c1 1 USD                       -> #3 vault_cash, #1 200 #3 100
        return b2 2 1 300 transfer #2 #1 300    -> InsufficientFunds { balance: 2.00 USD, available: 2.00 USD }
        deposit c1 1 USD                        -> #3 0 #1 300
        return b2 2 1 300 transfer #2 #1 300    -> accepted b2, to b2 1: #1 0 #2 0
        ",
    );
}

#[test]
fn what_was_asked_and_granted_but_not_stored_is_taken_back_whole() {
    let mut table = paid_abroad();
    table.check("receive b3 1 1 c1 3 USD -> #4 clearing, from b3: #4 -300 #1 1000");
    let before = table.ledger.clone();
    let steps = [
        "reverse t1 crossed b2 #1 #9 300 0",
        "returned t1001 b2 4",
        "reverse t2 crossed b2 #1 #9 300 0",
        "return b3 2 5 300 transfer #4 #1 300",
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
