//! The ledger against a model of it that is too simple to be wrong: balances in a map.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Step {
    Deposit { customer: i64, minor: i64 },
    Withdraw { customer: i64, minor: i64 },
    Open { customer: i64, limit: i64 },
    Freeze { account: u32 },
    Unfreeze { account: u32 },
    Close { account: u32 },
    Hold { customer: i64, minor: i64, life: i64 },
    Capture { place: usize, to: i64, minor: Option<i64>, is_last: bool },
    Release { place: usize },
    RollBack,
}

fn step() -> impl Strategy<Value = Step> {
    let most = bank_proto::limits::TRANSACTION_MINOR_UNITS;
    let amount = prop_oneof![1_i64..50, Just(most), Just(most + 1), Just(i64::MAX)];
    prop_oneof![
        6 => (1_i64..4, amount.clone()).prop_map(|(customer, minor)| Step::Deposit { customer, minor }),
        6 => (1_i64..4, amount).prop_map(|(customer, minor)| Step::Withdraw { customer, minor }),
        1 => (1_i64..4, 0_i64..30).prop_map(|(customer, limit)| Step::Open { customer, limit }),
        1 => (1_u32..8).prop_map(|account| Step::Freeze { account }),
        1 => (1_u32..8).prop_map(|account| Step::Unfreeze { account }),
        1 => (1_u32..8).prop_map(|account| Step::Close { account }),
        4 => (1_i64..4, 1_i64..50, 1_i64..20)
            .prop_map(|(customer, minor, life)| Step::Hold { customer, minor, life }),
        4 => (0_usize..6, 1_i64..4, proptest::option::of(1_i64..50), any::<bool>())
            .prop_map(|(place, to, minor, is_last)| Step::Capture { place, to, minor, is_last }),
        1 => (0_usize..6).prop_map(|place| Step::Release { place }),
        1 => Just(Step::RollBack),
    ]
}

#[derive(Debug, Clone, Default)]
struct Model {
    /// By serial: owner (0 for the vault), balance, overdraft limit, state.
    accounts: BTreeMap<u32, (i64, i128, i128, AccountState)>,
    /// By key: account, what remains, when it ends.
    holds: BTreeMap<u128, (u32, i128, i64)>,
}

impl Model {
    fn chosen(&self, customer: i64) -> Option<u32> {
        let theirs = self.accounts.iter().filter(|(_, account)| account.0 == customer);
        theirs.map(|(serial, account)| (account.3, *serial)).min().map(|(_, serial)| serial)
    }

    fn held(&self, account: u32) -> (i128, u32) {
        let theirs = self.holds.values().filter(|hold| hold.0 == account);
        theirs.fold((0, 0), |(held, count), hold| (held + hold.1, count + 1))
    }

    /// The key of a hold that is open, in some order; one that never was when there are not so many.
    fn hold_at(&self, place: usize) -> u128 {
        self.holds.keys().nth(place).copied().unwrap_or(0)
    }

    fn covers(&self, account: u32, minor: i128) -> bool {
        let (_, balance, limit, state) = self.accounts[&account];
        state == AccountState::Open && balance - self.held(account).0 - minor >= -limit
    }

    fn next(&self) -> u32 {
        self.accounts.len() as u32 + 1
    }

    fn vault(&mut self) -> u32 {
        if let Some((serial, _)) = self.accounts.iter().find(|(_, account)| account.0 == 0) {
            return *serial;
        }
        let next = self.next();
        self.accounts.insert(next, (0, 0, i128::MAX / 2, AccountState::Open));
        next
    }

    /// Whether the step is accepted; changes the model only then.
    fn run(&mut self, step: &Step, now: i64) -> bool {
        let mut after = self.clone();
        let accepted = after.try_run(step, now);
        if accepted {
            *self = after;
        }
        accepted
    }

    fn try_run(&mut self, step: &Step, now: i64) -> bool {
        match *step {
            Step::Deposit { customer, minor } => {
                let account = self.chosen(customer).unwrap_or_else(|| {
                    let next = self.next();
                    self.accounts.insert(next, (customer, 0, 0, AccountState::Open));
                    next
                });
                self.transfer(account, i128::from(minor))
            }
            Step::Withdraw { customer, minor } => {
                self.chosen(customer).is_some_and(|account| self.transfer(account, -i128::from(minor)))
            }
            Step::Open { customer, limit } => {
                self.accounts.insert(self.next(), (customer, 0, i128::from(limit), AccountState::Open));
                true
            }
            Step::Freeze { account } => self.change(account, AccountState::Open, AccountState::Frozen),
            Step::Unfreeze { account } => self.change(account, AccountState::Frozen, AccountState::Open),
            Step::Close { account } => {
                self.accounts.get(&account).is_some_and(|found| found.1 == 0 && self.held(account).1 == 0)
                    && self.change(account, AccountState::Open, AccountState::Closed)
            }
            Step::Hold { customer, minor, life } => {
                let Some(account) = self.chosen(customer) else { return false };
                self.holds.insert(now as u128, (account, i128::from(minor), now + life));
                let (_, balance, limit, state) = self.accounts[&account];
                state == AccountState::Open && balance - self.held(account).0 >= -limit
            }
            Step::Capture { place, to, minor, is_last } => {
                let key = self.hold_at(place);
                let Some((account, remaining, ends)) = self.holds.remove(&key) else { return false };
                let Some(payee) = self.chosen(to) else { return false };
                let amount = minor.map_or(remaining, i128::from);
                if amount > remaining || payee == account {
                    return false;
                }
                if amount < remaining && !is_last {
                    self.holds.insert(key, (account, remaining - amount, ends));
                }
                if [account, payee].iter().any(|serial| self.accounts[serial].3 != AccountState::Open) {
                    return false;
                }
                self.accounts.get_mut(&account).expect("there").1 -= amount;
                self.accounts.get_mut(&payee).expect("there").1 += amount;
                i64::try_from(self.accounts[&payee].1).is_ok()
            }
            Step::Release { place } => self.holds.remove(&self.hold_at(place)).is_some(),
            Step::RollBack => false,
        }
    }

    fn transfer(&mut self, account: u32, minor: i128) -> bool {
        if minor.abs() > 1_000_000_000_000_000 {
            return false;
        }
        let vault = self.vault();
        let fits = |balance: i128| i64::try_from(balance).is_ok();
        let (_, balance, _, state) = self.accounts[&account];
        let vaults = self.accounts[&vault].1;
        if state != AccountState::Open || minor < 0 && !self.covers(account, -minor) {
            return false;
        }
        if !fits(balance + minor) || !fits(vaults - minor) {
            return false;
        }
        self.accounts.get_mut(&account).expect("there").1 += minor;
        self.accounts.get_mut(&vault).expect("there").1 -= minor;
        true
    }

    fn change(&mut self, account: u32, from: AccountState, to: AccountState) -> bool {
        match self.accounts.get_mut(&account) {
            Some(found) if found.0 != 0 && found.3 == from => {
                found.3 = to;
                true
            }
            _ => false,
        }
    }
}

fn order(step: &Step, model: &Model, now: i64) -> Option<Command> {
    let usd = |minor| AskedAmount::Money(Money::from_minor(minor, Currency::USD));
    let customer = |number| CustomerId::new(number).expect("a customer");
    Some(match *step {
        Step::Deposit { customer: who, minor } => {
            Command::Deposit { target: Target::Customer(customer(who)), amount: usd(minor) }
        }
        Step::Withdraw { customer: who, minor } => {
            Command::Withdraw { target: Target::Customer(customer(who)), amount: usd(minor) }
        }
        Step::Open { customer: who, limit } => Command::OpenAccount {
            customer: customer(who),
            product: Product::Checking,
            currency: Currency::USD,
            joint_holders: Vec::new(),
            overdraft_limit: limit,
        },
        Step::Freeze { account } => Command::Freeze(AccountSerial(account)),
        Step::Unfreeze { account } => Command::Unfreeze(AccountSerial(account)),
        Step::Close { account } => Command::Close(AccountSerial(account)),
        Step::Hold { customer: who, minor, life } => Command::Hold {
            hold: TransactionKey(now as u128),
            target: Target::Customer(customer(who)),
            amount: usd(minor),
            life_seconds: 0,
            expires_at: Timestamp(now + life),
        },
        Step::Capture { place, to, minor, is_last } => Command::Capture {
            hold: TransactionKey(model.hold_at(place)),
            payee: Payee::Here(Target::Customer(customer(to))),
            amount: minor.map(|minor| DecimalAmount::parse(&format!("0.{minor:02}")).expect("an amount")),
            is_last,
            ended: None,
        },
        Step::Release { place } => Command::Release { hold: TransactionKey(model.hold_at(place)), ended: None },
        Step::RollBack => return None,
    })
}

proptest! {
    #[test]
    fn the_books_say_what_the_model_says(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut ledger, mut model, mut sequence) = (Ledger::default(), Model::default(), 0);
        let mut durable = (ledger.clone(), model.clone());
        for (now, step) in (1..).zip(&steps) {
            // As the teller does: what is over ends before anything else is decided.
            for hold in ledger.overdue_holds(Timestamp(now), usize::MAX) {
                for entry in ledger.decide(&Command::Expire { hold }).expect("an end").0 {
                    sequence += 1;
                    ledger.apply(sequence, Timestamp(now), &entry);
                }
            }
            model.holds.retain(|_, hold| hold.2 > now);
            match order(step, &model, now) {
                None => {
                    ledger.roll_back();
                    prop_assert!(ledger.same_as(&durable.0), "after {step:?}");
                    model = durable.1.clone();
                }
                Some(order) => {
                    let decided = ledger.decide(&order);
                    prop_assert_eq!(decided.is_ok(), model.run(step, now), "{:?} -> {:?}", step, decided);
                    for entry in decided.iter().flat_map(|entries| &entries.0) {
                        sequence += 1;
                        ledger.apply(sequence, Timestamp(now), entry);
                    }
                    // Every third order closes a group commit, so that roll-backs have something to undo.
                    if sequence % 3 == 0 {
                        ledger.commit();
                        durable = (ledger.clone(), model.clone());
                    }
                }
            }
            prop_assert!(ledger.is_balanced());
            prop_assert_eq!(ledger.account_count(), model.accounts.len());
            for (serial, account) in ledger.accounts() {
                let (_, balance, _, state) = model.accounts[&serial.0];
                prop_assert_eq!((i128::from(account.balance), account.state), (balance, state), "{:?}", serial);
                prop_assert_eq!((i128::from(account.held), account.open_holds), model.held(serial.0), "{:?}", serial);
            }
            let open = ledger.open_holds().map(|(key, hold)| {
                (key.0, (hold.account.0, i128::from(hold.remaining), hold.expires_at.0))
            });
            prop_assert_eq!(open.collect::<BTreeMap<_, _>>(), model.holds.clone());
        }
    }
}
