//! Entries -> balances, and the way back when a group of them could not be stored.

use super::{Account, AccountState, Arrival, Entry, Held, HoldEnd, Ledger, OpenHold, Outgoing, Target, transfer::Pair};
use bank_proto::{AccountSerial, BranchId, CustomerId, Money, Timestamp, TransactionKey};

/// What an entry did to its accounts: what its journal row says beside the entry itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Posted {
    /// The balance of the debited account, or of the one account that the entry is about.
    pub debit_balance: i64,
    /// The balance of the credited account; 0 when nothing moved.
    pub credit_balance: i64,
    /// The row before this one in the history of the debited (or only) account.
    pub debit_previous: u64,
    /// The row before this one in the history of the credited account.
    pub credit_previous: u64,
}

/// One step back.
#[derive(Debug, Clone)]
pub(super) enum Undo {
    Uninitialize,
    ForgetCustomer(CustomerId),
    RestoreAccount(AccountSerial, Account),
    RemoveAccount,
    RemoveHolder(AccountSerial, CustomerId),
    Unsend(BranchId),
    RestoreHold(TransactionKey, Option<OpenHold>),
    Forget { arrival: Arrival, received_up_to: u64, peer_epoch: u64 },
    Reopen { peer: BranchId, pair_sequence: u64, outgoing: Outgoing, peer_epoch: u64 },
}

impl Ledger {
    /// Carries out one entry as row `sequence` of the journal.
    ///
    /// # Panics
    /// The entry does not follow from these books: they were decided on other ones. That is a
    /// broken invariant; going on would lose money.
    pub fn apply(&mut self, sequence: u64, booked_at: Timestamp, entry: &Entry) -> Posted {
        match *entry {
            Entry::BranchInitialized => {
                assert!(!self.initialized, "row {sequence}: the branch is initialized twice");
                self.initialized = true;
                self.undo.push(Undo::Uninitialize);
                Posted::default()
            }
            Entry::BranchFoundOpen { account, state } => {
                assert!(self.initialized, "row {sequence}: the branch is not open");
                let found = self.expect_account(account);
                assert_eq!(found.state, state, "row {sequence}: the account is in another state");
                Posted { debit_balance: found.balance, ..Posted::default() }
            }
            Entry::CustomerRegistered(customer) => {
                let before = self.customers.insert(customer, Held::None);
                assert!(before.is_none(), "row {sequence}: customer {customer} is registered twice");
                self.undo.push(Undo::ForgetCustomer(customer));
                Posted::default()
            }
            Entry::AccountOpened { account, kind, currency, customer, overdraft_limit } => {
                assert_eq!(account.0 as usize, self.accounts.len() + 1, "row {sequence}: serials have a gap");
                assert!(overdraft_limit >= 0, "row {sequence}: the overdraft limit is negative");
                self.accounts.push(Account {
                    kind,
                    state: AccountState::Open,
                    currency,
                    customer,
                    balance: 0,
                    overdraft_limit,
                    held: 0,
                    open_holds: 0,
                    head: sequence,
                    opened_at: booked_at,
                });
                match customer {
                    Some(customer) => self.hold(sequence, customer, account),
                    None => {
                        let before = self.house.insert((kind, currency), account);
                        assert!(before.is_none(), "row {sequence}: the bank's own account is opened twice");
                    }
                }
                self.undo.push(Undo::RemoveAccount);
                Posted::default()
            }
            Entry::HolderAdded { account, customer } => {
                self.hold(sequence, customer, account);
                self.joint_holders.entry(account).or_default().push(customer);
                self.undo.push(Undo::RemoveHolder(account, customer));
                self.touch(sequence, account, |_| {})
            }
            Entry::StateChanged { account, state } => self.touch(sequence, account, |account| account.state = state),
            Entry::HoldPlaced { hold, account, amount, expires_at } => {
                assert!(amount > 0 && expires_at > booked_at, "row {sequence}: nothing is held, or for no time");
                let placed = OpenHold { account, amount, remaining: amount, expires_at };
                let before = self.set_hold(hold, Some(placed));
                assert_eq!(before, None, "row {sequence}: hold {hold} is placed twice");
                self.undo.push(Undo::RestoreHold(hold, None));
                self.keep(sequence, account, amount, 1)
            }
            Entry::HoldCaptured { hold, account, amount, released } => {
                let before = self.expect_hold(sequence, hold, account);
                assert!(booked_at < before.expires_at, "row {sequence}: the hold's time was over");
                assert!((1..=before.remaining).contains(&amount), "row {sequence}: more than is held");
                let rest = before.remaining - amount;
                match released {
                    Some(released) => assert_eq!(released, rest, "row {sequence}: another rest is let go"),
                    None => assert_ne!(rest, 0, "row {sequence}: nothing is left of the hold"),
                }
                let after = released.is_none().then_some(OpenHold { remaining: rest, ..before });
                self.set_hold(hold, after);
                self.undo.push(Undo::RestoreHold(hold, Some(before)));
                let ended = if released.is_some() { -1 } else { 0 };
                self.keep(sequence, account, -(amount + released.unwrap_or_default()), ended)
            }
            Entry::HoldEnded { hold, account, end, released } => {
                let before = self.expect_hold(sequence, hold, account);
                assert_eq!(released, before.remaining, "row {sequence}: another rest is let go");
                let is_over = booked_at >= before.expires_at;
                assert!(
                    end != HoldEnd::Captured && is_over == (end == HoldEnd::Expired),
                    "row {sequence}: no such end"
                );
                self.set_hold(hold, None);
                self.undo.push(Undo::RestoreHold(hold, Some(before)));
                self.keep(sequence, account, -released, -1)
            }
            Entry::Moved { movement: _, debit, credit, amount }
            | Entry::Reversed { original: _, movement: _, debit, credit, amount } => {
                self.post(sequence, debit, credit, amount)
            }
            Entry::Sent { transfer, peer, payee, pair_sequence, debit, credit, amount } => {
                let posted = self.post(sequence, debit, credit, amount);
                let amount = Money::from_minor(amount, self.expect_account(debit).currency);
                let (row, sent_at, original) = (sequence, booked_at, None);
                self.send(
                    peer,
                    pair_sequence,
                    Outgoing { transfer, payee, amount, debited: debit, row, sent_at, original },
                );
                posted
            }
            Entry::ReversalSent { reversal, original, attempt: _, peer, payee, pair_sequence, payer, amount } => {
                assert!(amount > 0, "row {sequence}: nothing is asked back");
                let account = self.expect_account(payer);
                let posted = Posted { debit_balance: account.balance, ..Posted::default() };
                let outgoing = Outgoing {
                    transfer: reversal,
                    payee: Target::Account(payee),
                    amount: Money::from_minor(amount, account.currency),
                    debited: payer,
                    row: sequence,
                    sent_at: booked_at,
                    original: Some(original),
                };
                self.send(peer, pair_sequence, outgoing);
                posted
            }
            Entry::ReversalAccepted(arrival) => {
                self.receive(sequence, arrival);
                Posted::default()
            }
            Entry::ReversalRefused { reversal, peer: _, peer_epoch } => {
                let outgoing = self.end(sequence, reversal, peer_epoch);
                assert!(outgoing.original.is_some(), "row {sequence}: money was sent, and does not come back");
                Posted::default()
            }
            Entry::Received { arrival, debit, credit, amount } => {
                self.receive(sequence, arrival);
                self.post(sequence, debit, credit, amount)
            }
            Entry::TurnedAway(arrival) => {
                self.receive(sequence, arrival);
                Posted::default()
            }
            Entry::Completed { transfer, peer_epoch, .. } => {
                self.end(sequence, transfer, peer_epoch);
                Posted::default()
            }
            Entry::Returned { transfer, peer: _, peer_epoch, debit, credit, amount } => {
                let outgoing = self.end(sequence, transfer, peer_epoch);
                let whole =
                    outgoing.debited == credit && outgoing.amount.minor() == amount && outgoing.original.is_none();
                assert!(whole, "row {sequence}: transfer {transfer} comes back as another");
                self.post(sequence, debit, credit, amount)
            }
        }
    }

    /// Moves money from one account to another.
    fn post(&mut self, sequence: u64, debit: AccountSerial, credit: AccountSerial, amount: i64) -> Posted {
        assert!(amount > 0 && debit != credit, "row {sequence}: nothing moves");
        let gives = self.touch(sequence, debit, |account| account.balance = sum(account.balance, -amount));
        let receives = self.touch(sequence, credit, |account| account.balance = sum(account.balance, amount));
        let (given, received) = (self.expect_account(debit), self.expect_account(credit));
        assert_eq!(given.currency, received.currency, "row {sequence}: two currencies");
        assert!(given.covers(0), "row {sequence}: below the floor");
        Posted {
            debit_balance: gives.debit_balance,
            credit_balance: receives.debit_balance,
            debit_previous: gives.debit_previous,
            credit_previous: receives.debit_previous,
        }
    }

    /// Changes what an account holds, and in how many holds.
    fn keep(&mut self, sequence: u64, account: AccountSerial, more: i64, more_holds: i32) -> Posted {
        let open_holds = self.expect_account(account).open_holds.checked_add_signed(more_holds);
        let Some(open_holds) = open_holds else { panic!("row {sequence}: the account has no such hold") };
        let posted = self.touch(sequence, account, |account| {
            account.held = sum(account.held, more);
            account.open_holds = open_holds;
        });
        let after = self.expect_account(account);
        assert!(after.kind.is_customer() && after.held >= 0, "row {sequence}: nobody's money is held");
        assert!(more < 0 || after.covers(0), "row {sequence}: more is held than there is");
        posted
    }

    /// A hold that a row says is open.
    fn expect_hold(&self, sequence: u64, hold: TransactionKey, account: AccountSerial) -> OpenHold {
        match self.holds.get(&hold) {
            Some(open) if open.account == account => *open,
            _ => panic!("row {sequence}: hold {hold} is not open on account {}", account.0),
        }
    }

    /// Puts something into the outbox.
    fn send(&mut self, peer: BranchId, pair_sequence: u64, outgoing: Outgoing) {
        let Outgoing { transfer, row, .. } = outgoing;
        let pair = self.pairs.entry(peer).or_default();
        assert_eq!(pair.sent + 1, pair_sequence, "row {row}: the transfers to {peer} have a gap");
        pair.sent = pair_sequence;
        pair.put(pair_sequence, outgoing);
        let before = self.in_flight.insert(transfer, (peer, pair_sequence));
        assert!(before.is_none(), "row {row}: transfer {transfer} is sent twice");
        self.undo.push(Undo::Unsend(peer));
    }

    /// Notes that a transfer from another branch has its outcome.
    fn receive(&mut self, sequence: u64, arrival: Arrival) {
        let fault = self.admit(&arrival, 0);
        assert_eq!(fault, Ok(()), "row {sequence}: an arrival that does not fit");
        let pair = self.pairs.entry(arrival.source).or_default();
        let (received_up_to, peer_epoch) = (pair.received_up_to, pair.peer_epoch);
        pair.receive(arrival.pair_sequence);
        pair.peer_epoch = arrival.epoch;
        self.undo.push(Undo::Forget { arrival, received_up_to, peer_epoch });
    }

    /// Takes a transfer out of the outbox: it has ended.
    fn end(&mut self, sequence: u64, transfer: TransactionKey, peer_epoch: u64) -> Outgoing {
        let ended = self.in_flight.remove(&transfer).and_then(|(peer, pair_sequence)| {
            let pair = self.pairs.get_mut(&peer)?;
            let outgoing = pair.take(pair_sequence)?;
            self.undo.push(Undo::Reopen { peer, pair_sequence, outgoing, peer_epoch: pair.peer_epoch });
            pair.peer_epoch = pair.peer_epoch.max(peer_epoch);
            Some(outgoing)
        });
        match ended {
            Some(outgoing) => outgoing,
            None => panic!("row {sequence}: transfer {transfer} is not under way"),
        }
    }

    /// The entries since the last call are durable: there is no way back behind here.
    pub fn commit(&mut self) {
        self.undo.clear();
    }

    /// How many steps back there are to the last [`Ledger::commit`]: names this moment for
    /// [`Ledger::roll_back_to`].
    #[must_use]
    pub fn steps_to_commit(&self) -> usize {
        self.undo.len()
    }

    /// Takes back every entry since the last [`Ledger::commit`]: they could not be stored.
    pub fn roll_back(&mut self) {
        self.roll_back_to(0);
    }

    /// Takes back every entry since a moment after the last [`Ledger::commit`].
    pub fn roll_back_to(&mut self, steps_to_commit: usize) {
        while self.undo.len() > steps_to_commit
            && let Some(step) = self.undo.pop()
        {
            match step {
                Undo::Uninitialize => self.initialized = false,
                Undo::ForgetCustomer(customer) => {
                    self.customers.remove(&customer);
                }
                Undo::RestoreAccount(serial, before) => {
                    if let Some(account) = self.accounts.get_mut(serial.0 as usize - 1) {
                        *account = before;
                    }
                }
                Undo::RemoveAccount => {
                    if let Some(account) = self.accounts.pop() {
                        match account.customer {
                            Some(customer) => self.release(customer),
                            None => {
                                self.house.remove(&(account.kind, account.currency));
                            }
                        }
                    }
                }
                Undo::RemoveHolder(serial, customer) => {
                    self.release(customer);
                    if let Some(holders) = self.joint_holders.get_mut(&serial) {
                        holders.pop();
                        if holders.is_empty() {
                            self.joint_holders.remove(&serial);
                        }
                    }
                }
                Undo::RestoreHold(hold, before) => {
                    self.set_hold(hold, before);
                }
                Undo::Unsend(peer) => self.with_pair(peer, |pair, in_flight| {
                    if let Some(outgoing) = pair.take(pair.sent) {
                        in_flight.remove(&outgoing.transfer);
                    }
                    pair.sent -= 1;
                }),
                Undo::Forget { arrival, received_up_to, peer_epoch } => self.with_pair(arrival.source, |pair, _| {
                    pair.forget(arrival.pair_sequence, received_up_to);
                    pair.peer_epoch = peer_epoch;
                }),
                Undo::Reopen { peer, pair_sequence, outgoing, peer_epoch } => {
                    self.with_pair(peer, |pair, in_flight| {
                        in_flight.insert(outgoing.transfer, (peer, pair_sequence));
                        pair.put(pair_sequence, outgoing);
                        pair.peer_epoch = peer_epoch;
                    });
                }
            }
        }
    }

    /// Takes something back that was exchanged with a peer; a peer without a past is no peer.
    fn with_pair(
        &mut self,
        peer: BranchId,
        change: impl FnOnce(&mut Pair, &mut super::FixedMap<TransactionKey, (BranchId, u64)>),
    ) {
        if let Some(pair) = self.pairs.get_mut(&peer) {
            change(pair, &mut self.in_flight);
            if *pair == Pair::default() {
                self.pairs.remove(&peer);
            }
        }
    }

    fn hold(&mut self, sequence: u64, customer: CustomerId, account: AccountSerial) {
        match self.customers.get_mut(&customer) {
            Some(held) => held.push(account),
            None => panic!("row {sequence}: customer {customer} is not registered"),
        }
    }

    fn release(&mut self, customer: CustomerId) {
        if let Some(held) = self.customers.get_mut(&customer) {
            held.pop();
        }
    }

    /// Changes one account and makes `sequence` the head of its history.
    fn touch(&mut self, sequence: u64, serial: AccountSerial, change: impl FnOnce(&mut Account)) -> Posted {
        let before = *self.expect_account(serial);
        assert!(before.head < sequence, "row {sequence}: history runs backwards");
        let mut after = before;
        change(&mut after);
        after.head = sequence;
        self.accounts[serial.0 as usize - 1] = after;
        self.undo.push(Undo::RestoreAccount(serial, before));
        Posted { debit_balance: after.balance, debit_previous: before.head, ..Posted::default() }
    }
}

/// Adds what [`Ledger::decide`] has found to fit.
fn sum(balance: i64, amount: i64) -> i64 {
    match balance.checked_add(amount) {
        Some(sum) => sum,
        None => panic!("a balance of {balance} cannot take {amount}"),
    }
}
