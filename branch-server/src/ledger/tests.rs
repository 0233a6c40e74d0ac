//! The ledger as tables: one line per operation, its answer behind the arrow. Refusals are listed
//! in the order in which they are checked.

mod holds;
mod model;
mod reversals;
mod transfers;

use super::*;
use bank_proto::{DecimalAmount, Money, Timestamp};

/// Books that lines of text operate.
#[derive(Default)]
struct Table {
    ledger: Ledger,
    sequence: u64,
    /// In microseconds.
    now: i64,
}

impl Table {
    /// Runs every line and compares its answer; blank lines and comments are passed over.
    fn check(&mut self, table: &str) {
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (operation, expected) = line.split_once("->").expect("a line with an arrow");
            let answer = self.run(operation.trim());
            assert_eq!(answer, expected.trim(), "{line}");
            assert!(self.ledger.is_balanced(), "{line}: the books do not balance");
        }
    }

    fn run(&mut self, operation: &str) -> String {
        let words: Vec<&str> = operation.split_whitespace().collect();
        if let ["balance", account] = words[..] {
            return self
                .ledger
                .account(serial(account))
                .map_or("none".into(), |found| found.balance_money().to_string());
        }
        match self.ledger.decide(&command(&words)) {
            Ok(entries) => {
                let mut said = Vec::new();
                for entry in &entries.0 {
                    self.sequence += 1;
                    let posted = self.ledger.apply(self.sequence, Timestamp(self.now), entry);
                    said.push(match entry {
                        Entry::BranchInitialized => "initialized".to_owned(),
                        Entry::BranchFoundOpen { account, state } => {
                            format!("found #{} {} {}", account.0, state.as_str(), posted.debit_balance)
                        }
                        Entry::CustomerRegistered(customer) => format!("customer {customer}"),
                        Entry::AccountOpened { account, kind, .. } => format!("#{} {}", account.0, kind.as_str()),
                        Entry::HolderAdded { customer, .. } => format!("holder {customer}"),
                        Entry::StateChanged { state, .. } => state.as_str().to_owned(),
                        Entry::HoldPlaced { amount, expires_at, .. } => format!("held {amount} until {}", expires_at.0),
                        Entry::HoldCaptured { amount, released, .. } => {
                            let end = released.map(|rest| format!(" lets {rest} go")).unwrap_or_default();
                            format!("takes {amount}{end}")
                        }
                        Entry::HoldEnded { end, released, .. } => format!("{} {released}", end.as_str()),
                        Entry::Moved { debit, credit, .. } => movement("", *debit, *credit, posted),
                        Entry::Reversed { debit, credit, .. } => movement("back: ", *debit, *credit, posted),
                        Entry::ReversalSent { peer, payee, pair_sequence, attempt, .. } => {
                            format!("asks b{peer} #{} {pair_sequence} {attempt}", payee.0)
                        }
                        Entry::ReversalAccepted(arrival) => format!("accepted b{}", arrival.source),
                        Entry::ReversalRefused { .. } => "refused there".to_owned(),
                        Entry::Sent { debit, credit, peer, pair_sequence, .. } => {
                            movement(&format!("to b{peer} {pair_sequence}: "), *debit, *credit, posted)
                        }
                        Entry::Received { debit, credit, arrival, .. } => {
                            movement(&format!("from b{}: ", arrival.source), *debit, *credit, posted)
                        }
                        Entry::TurnedAway(arrival) => {
                            format!("turned away b{} {}", arrival.source, arrival.pair_sequence)
                        }
                        Entry::Completed { .. } => "completed".to_owned(),
                        Entry::Returned { debit, credit, .. } => movement("returned: ", *debit, *credit, posted),
                    });
                }
                self.ledger.commit();
                said.join(", ")
            }
            Err(refusal) => format!("{refusal:?}"),
        }
    }
}

fn movement(what: &str, debit: AccountSerial, credit: AccountSerial, posted: Posted) -> String {
    format!("{what}#{} {} #{} {}", debit.0, posted.debit_balance, credit.0, posted.credit_balance)
}

fn serial(text: &str) -> AccountSerial {
    AccountSerial(text.trim_start_matches('#').parse().expect("a serial"))
}

fn customer(text: &str) -> CustomerId {
    CustomerId::new(text.trim_start_matches('c').parse().expect("a number")).expect("a customer")
}

fn target(text: &str) -> Target {
    if text.starts_with('#') { Target::Account(serial(text)) } else { Target::Customer(customer(text)) }
}

fn amount(words: &[&str]) -> AskedAmount {
    match words {
        [amount, currency] => {
            let currency = currency.parse().expect("a currency");
            AskedAmount::Money(Money::parse(amount, currency).expect("an amount"))
        }
        [amount] => AskedAmount::InAccountCurrency(DecimalAmount::parse(amount).expect("an amount")),
        _ => panic!("not an amount: {words:?}"),
    }
}

fn branch(text: &str) -> BranchId {
    BranchId::new(text.trim_start_matches('b').parse().expect("a number")).expect("a branch")
}

fn transfer(text: &str) -> TransactionKey {
    TransactionKey(text.trim_start_matches('t').parse().expect("a number"))
}

/// Transfer `number` of a source has the key of the same number there.
fn arrival(source: &str, number: &str, epoch: &str) -> Arrival {
    let pair_sequence: u64 = number.parse().expect("a number");
    Arrival {
        source: branch(source),
        transfer: TransactionKey(u128::from(pair_sequence)),
        payer: AccountSerial(1),
        payer_customer: None,
        pair_sequence,
        epoch: epoch.parse().expect("an epoch"),
    }
}

fn settle(key: &str, peer: &str, epoch: &str, outcome: Outcome) -> Command {
    let peer_epoch = epoch.parse().expect("an epoch");
    Command::Settle { transfer: transfer(key), outcome, peer: branch(peer), peer_epoch }
}

fn command(words: &[&str]) -> Command {
    match words {
        ["initialize", who, amount] => Command::InitializeBranch {
            customer: customer(who),
            initial_balance: Money::parse(amount, Currency::USD).expect("an amount"),
        },
        ["register", who] => Command::RegisterCustomer { customer: customer(who) },
        ["open", who, product, currency, limit, joint @ ..] => Command::OpenAccount {
            customer: customer(who),
            product: Product::from_text(product).expect("a product"),
            currency: currency.parse().expect("a currency"),
            joint_holders: joint.iter().map(|who| customer(who)).collect(),
            overdraft_limit: limit.parse().expect("minor units"),
        },
        ["deposit", to, money @ ..] => Command::Deposit { target: target(to), amount: amount(money) },
        ["withdraw", from, money @ ..] => Command::Withdraw { target: target(from), amount: amount(money) },
        ["pay", from, to, money @ ..] => {
            Command::Transfer { payer: target(from), payee: Payee::Here(target(to)), amount: amount(money) }
        }
        ["send", key, from, peer, to, money @ ..] => {
            let payee = Payee::At { branch: branch(peer), target: target(to), transfer: transfer(key) };
            Command::Transfer { payer: target(from), payee, amount: amount(money) }
        }
        ["receive", source, number, epoch, to, money @ ..] => match amount(money) {
            AskedAmount::Money(amount) => {
                Command::Receive { arrival: arrival(source, number, epoch), payee: target(to), amount }
            }
            AskedAmount::InAccountCurrency(_) => panic!("a currency is missing: {words:?}"),
        },
        ["cancel", source, number, epoch] => Command::Cancel(arrival(source, number, epoch)),
        ["credited", key, peer, epoch] => {
            settle(key, peer, epoch, Outcome::Credited { account: serial("#1"), customer: None })
        }
        ["returned", key, peer, epoch] => settle(key, peer, epoch, Outcome::Returned),
        ["return", source, number, epoch, what @ ..] => reversals::back(arrival(source, number, epoch), what),
        ["reverse", key, what @ ..] => reversals::order(key, what),
        ["hold", what @ ..] => holds::place(what),
        ["capture", what @ ..] => holds::capture(what),
        ["release", key] => Command::Release { hold: transfer(key), ended: None },
        ["expire", key] => Command::Expire { hold: transfer(key) },
        ["freeze", account] => Command::Freeze(serial(account)),
        ["unfreeze", account] => Command::Unfreeze(serial(account)),
        ["close", account] => Command::Close(serial(account)),
        _ => panic!("not an operation: {words:?}"),
    }
}

#[test]
fn a_branch_is_opened_once_with_money_from_its_capital() {
    Table::default().check(
        "
        initialize c1 1000        -> initialized, customer 1, #1 checking, #2 capital, #2 -100000 #1 100000
        initialize c1 1000        -> found #1 open 100000
        initialize c1 7           -> found #1 open 100000
        deposit c1 0.01 USD       -> #3 vault_cash, #3 -1 #1 100001
        freeze #1                 -> frozen
        initialize c1 7           -> found #1 frozen 100001
        ",
    );
    Table::default().check("initialize c3 0 -> initialized, customer 3, #1 checking");
}

#[test]
fn a_first_deposit_opens_a_checking_account_per_currency() {
    Table::default().check(
        "
        deposit c5 10 USD         -> customer 5, #1 checking, #2 vault_cash, #2 -1000 #1 1000
        deposit c5 10 USD         -> #2 -2000 #1 2000
        deposit c5 10 JPY         -> #3 checking, #4 vault_cash, #4 -10 #3 10
        deposit c6 0.5 KWD        -> customer 6, #5 checking, #6 vault_cash, #6 -500 #5 500
        withdraw c5 10 EUR        -> AccountNotFound
        withdraw c7 10 USD        -> CustomerNotFound
        withdraw #9 10 USD        -> AccountNotFound
        withdraw #2 10 USD        -> AccountNotFound
        ",
    );
}

#[test]
fn no_balance_goes_below_its_floor() {
    Table::default().check(
        "
        deposit c1 10 USD         -> customer 1, #1 checking, #2 vault_cash, #2 -1000 #1 1000
        withdraw c1 10.01 USD     -> InsufficientFunds { balance: 10.00 USD, available: 10.00 USD }
        withdraw c1 10 USD        -> #1 0 #2 0
        withdraw c1 0.01 USD      -> InsufficientFunds { balance: 0.00 USD, available: 0.00 USD }
        open c1 savings USD 500   -> #3 savings
        withdraw #3 5.00 USD      -> #3 -500 #2 500
        withdraw #3 0.01 USD      -> InsufficientFunds { balance: -5.00 USD, available: 0.00 USD }
        deposit #3 5              -> #2 0 #3 0
        ",
    );
}

#[test]
fn frozen_and_closed_accounts_refuse_and_never_reopen() {
    Table::default().check(
        "
        deposit c1 10 USD         -> customer 1, #1 checking, #2 vault_cash, #2 -1000 #1 1000
        unfreeze #1               -> AccountNotFrozen
        close #1                  -> AccountNotEmpty { balance: 10.00 USD }
        freeze #1                 -> frozen
        freeze #1                 -> AccountFrozen
        close #1                  -> AccountFrozen
        deposit c1 1 USD          -> AccountFrozen
        deposit #1 1              -> AccountFrozen
        withdraw c1 1 USD         -> AccountFrozen
        unfreeze #1               -> open
        withdraw c1 10 USD        -> #1 0 #2 0
        close #1                  -> closed
        close #1                  -> AccountClosed
        freeze #1                 -> AccountClosed
        unfreeze #1               -> AccountClosed
        deposit c1 1 USD          -> AccountClosed
        freeze #2                 -> AccountNotFound
        # A new account takes over; the closed one stays closed.
        open c1 checking USD 0    -> #3 checking
        deposit c1 1 USD          -> #2 -100 #3 100
        balance #1                -> 0.00
        ",
    );
}

#[test]
fn the_oldest_open_checking_account_is_meant() {
    Table::default().check(
        "
        open c1 savings USD 0     -> customer 1, #1 savings
        open c1 checking USD 0    -> #2 checking
        open c1 checking USD 0    -> #3 checking
        deposit c1 1 USD          -> #4 vault_cash, #4 -100 #2 100
        freeze #2                 -> frozen
        deposit c1 1 USD          -> #4 -200 #3 100
        unfreeze #2               -> open
        deposit c1 1 USD          -> #4 -300 #2 200
        ",
    );
}

#[test]
fn joint_holders_share_one_account() {
    Table::default().check(
        "
        open c1 checking USD 0 c2 c13  -> customer 1, #1 checking, customer 2, holder 2, customer 13, holder 13
        deposit c2 5 USD               -> #2 vault_cash, #2 -500 #1 500
        withdraw c13 5 USD             -> #1 0 #2 0
        register c13                   -> CustomerExists
        register c14                   -> customer 14
        withdraw c14 1 USD             -> AccountNotFound
        ",
    );
}

#[test]
fn currencies_never_mix() {
    Table::default().check(
        "
        open c1 checking JPY 0    -> customer 1, #1 checking
        deposit #1 5 USD          -> CurrencyMismatch { account: JPY }
        deposit #1 5.5            -> InvalidAmount(TooPrecise { currency: JPY, decimals: 0 })
        deposit #1 5              -> #2 vault_cash, #2 -5 #1 5
        deposit c1 5 USD          -> #3 checking, #4 vault_cash, #4 -500 #3 500
        ",
    );
}

#[test]
fn an_order_may_name_ten_trillion_dollars_and_no_more() {
    Table::default().check(
        "
        deposit c1 10000000000000.01 USD        -> InvalidAmount(TooLarge)
        deposit c1 92233720368547758.07 USD     -> InvalidAmount(TooLarge)
        deposit c1 10000000000000 USD           -> customer 1, #1 checking, #2 vault_cash, #2 -1000000000000000 #1 1000000000000000
        withdraw c1 10000000000000.01 USD       -> InvalidAmount(TooLarge)
        deposit #1 10000000000000.01            -> InvalidAmount(TooLarge)
        open c1 savings USD 1000000000000001    -> InvalidAmount(TooLarge)
        initialize c2 10000000000000.01         -> InvalidAmount(TooLarge)
        # What is left of 64 bits is the vault's for thousands of orders more.
        deposit c1 10000000000000 USD           -> #2 -2000000000000000 #1 2000000000000000
        ",
    );
}

#[test]
fn a_balance_never_leaves_64_bits() {
    let mut table = Table::default();
    for _ in 0..9_223 {
        table.run("deposit c1 10000000000000 USD");
    }
    table.check(
        "
        balance #1                       -> 92230000000000000.00
        deposit c1 3720368547758.07 USD  -> #2 -9223372036854775807 #1 9223372036854775807
        deposit c1 0.01 USD              -> BalanceLimitExceeded
        deposit c2 0.02 USD              -> BalanceLimitExceeded
        deposit c2 0.01 USD              -> customer 2, #3 checking, #2 -9223372036854775808 #3 1
        withdraw c1 10000000000000 USD   -> #1 9222372036854775807 #2 -9222372036854775808
        ",
    );
}

#[test]
fn a_customer_holds_a_thousand_accounts_at_most() {
    let mut table = Table::default();
    for _ in 0..bank_proto::limits::ACCOUNTS_PER_CUSTOMER {
        table.run("open c1 savings USD 0");
    }
    table.check(
        "
        open c1 checking USD 0    -> AccountLimitExceeded
        open c2 checking USD 0 c1 -> AccountLimitExceeded
        deposit c1 1 USD          -> AccountLimitExceeded
        open c2 checking USD 0    -> customer 2, #1001 checking
        ",
    );
}

#[test]
fn what_could_not_be_stored_is_taken_back_whole() {
    let mut table = Table::default();
    table.check(
        "
        deposit c1 10 USD              -> customer 1, #1 checking, #2 vault_cash, #2 -1000 #1 1000
        open c1 savings USD 0 c2       -> #3 savings, customer 2, holder 2
        ",
    );
    let before = table.ledger.clone();
    for operation in
        ["initialize c3 5", "deposit c1 1 USD", "open c1 checking JPY 0 c2 c9", "deposit c4 1 EUR", "freeze #3"]
    {
        let words: Vec<&str> = operation.split_whitespace().collect();
        let entries = table.ledger.decide(&command(&words)).expect("accepted");
        for entry in &entries.0 {
            table.sequence += 1;
            table.ledger.apply(table.sequence, Timestamp(0), entry);
        }
    }
    assert!(!table.ledger.same_as(&before));
    table.ledger.roll_back();
    assert!(table.ledger.same_as(&before), "{:?} is not {before:?}", table.ledger);
}

#[test]
#[should_panic(expected = "below the floor")]
fn applying_what_was_never_decided_is_a_broken_invariant() {
    let mut table = Table::default();
    table.check("deposit c1 10 USD -> customer 1, #1 checking, #2 vault_cash, #2 -1000 #1 1000");
    let theft = Entry::Moved {
        movement: Movement::Withdrawal,
        debit: AccountSerial(1),
        credit: AccountSerial(2),
        amount: 1001,
    };
    table.ledger.apply(99, Timestamp(0), &theft);
}
