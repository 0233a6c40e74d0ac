//! Books from a snapshot, account by account.

use super::{Account, Held, Ledger, OpenHold, Outgoing, PeerView};
use bank_proto::{AccountSerial, BranchId, CustomerId, TransactionKey};

impl Ledger {
    /// Books without accounts, to be filled in the order of their serials.
    #[must_use]
    pub fn restore(initialized: bool) -> Ledger {
        Ledger { initialized, ..Ledger::default() }
    }

    /// Puts the next account back, with its holders after the first.
    pub fn restore_account(&mut self, serial: AccountSerial, account: Account, joint_holders: Vec<CustomerId>) {
        self.accounts.push(account);
        match account.customer {
            Some(customer) => self.customers.entry(customer).or_insert(Held::None).push(serial),
            None => {
                self.house.insert((account.kind, account.currency), serial);
            }
        }
        for holder in &joint_holders {
            self.customers.entry(*holder).or_insert(Held::None).push(serial);
        }
        if !joint_holders.is_empty() {
            self.joint_holders.insert(serial, joint_holders);
        }
    }

    /// Puts a customer back who holds no account.
    pub fn restore_customer(&mut self, customer: CustomerId) {
        self.customers.entry(customer).or_insert(Held::None);
    }

    /// Puts an open hold back. False when there is no such account, or the sum of what it holds cannot be
    /// counted.
    #[must_use]
    pub fn restore_hold(&mut self, key: TransactionKey, hold: OpenHold) -> bool {
        let account = (hold.account.0 as usize).checked_sub(1).and_then(|place| self.accounts.get_mut(place));
        let Some(account) = account else { return false };
        let Some(held) = account.held.checked_add(hold.remaining) else { return false };
        let Some(open_holds) = account.open_holds.checked_add(1) else { return false };
        account.held = held;
        account.open_holds = open_holds;
        self.set_hold(key, Some(hold)).is_none()
    }

    /// Puts a transfer back that left for another branch and has not ended.
    pub fn restore_outgoing(&mut self, peer: BranchId, pair_sequence: u64, outgoing: Outgoing) {
        self.in_flight.insert(outgoing.transfer, (peer, pair_sequence));
        self.pairs.entry(peer).or_default().put(pair_sequence, outgoing);
    }

    /// Puts back what is known of a peer, but for the outbox.
    pub fn restore_peer(&mut self, view: PeerView) {
        let pair = self.pairs.entry(view.peer).or_default();
        pair.sent = view.sent;
        pair.peer_epoch = view.peer_epoch;
        pair.received_up_to = view.received_up_to;
        pair.received_beyond = view.received_beyond.into_iter().collect();
    }

    /// Whether two books are the same, whatever way led there.
    #[must_use]
    pub fn same_as(&self, other: &Ledger) -> bool {
        self.initialized == other.initialized
            && self.accounts == other.accounts
            && self.customers == other.customers
            && self.joint_holders == other.joint_holders
            && self.house == other.house
            && self.pairs == other.pairs
            && self.in_flight == other.in_flight
            && self.holds == other.holds
            && self.expiries == other.expiries
    }
}
