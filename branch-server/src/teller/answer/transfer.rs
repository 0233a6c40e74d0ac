//! What a teller says of a transfer.

use super::Declined;
use crate::ledger::Target;
use bank_proto::{AccountSerial, BranchId, CustomerId, Money, Timestamp, TransactionKey};

/// A transfer, as its payer's branch knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferView {
    /// Its key.
    pub transfer: TransactionKey,
    /// How it stands.
    pub state: TransferState,
    /// The payer's account; None when it was refused before one was found.
    pub payer: Option<AccountSerial>,
    /// Whose it is, or who was named.
    pub payer_customer: Option<CustomerId>,
    /// The payee's branch.
    pub payee_branch: BranchId,
    /// The payee's account there, as far as it is known.
    pub payee: Option<AccountSerial>,
    /// Whose it is, or who was named.
    pub payee_customer: Option<CustomerId>,
    /// How much; None when it was refused before its currency was known.
    pub amount: Option<Money>,
    /// The payer's balance right after the debit, or after the money came back; None when nothing moved.
    pub balance: Option<Money>,
    /// The hold that it was paid out of.
    pub hold: Option<TransactionKey>,
    /// When it was booked.
    pub booked_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// How a transfer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferState {
    /// The payer is debited; the payee's branch has not answered.
    Processing,
    /// The payee has the money.
    Completed,
    /// The payer has the money, again or still.
    Failed(Declined),
}

/// How a transfer to another branch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferEnd {
    /// The payee has the money.
    Completed {
        /// On this account of its branch.
        payee: AccountSerial,
        /// Whose it is.
        customer: Option<CustomerId>,
        /// When the payer's branch learned it.
        at: Timestamp,
    },
    /// Another branch does not send money back that it was asked for.
    Refused {
        /// Why.
        reason: Declined,
        /// When.
        at: Timestamp,
    },
    /// The payer has it again.
    Returned {
        /// Why.
        reason: Declined,
        /// The payer's balance right after.
        balance: Money,
        /// When.
        at: Timestamp,
    },
}

impl TransferView {
    /// With the payee as the payer named it.
    #[must_use]
    pub fn to(mut self, payee: Target) -> TransferView {
        match payee {
            Target::Account(serial) => self.payee = Some(serial),
            Target::Customer(customer) => self.payee_customer = Some(customer),
        }
        self
    }

    /// The transfer, now that it has ended.
    #[must_use]
    pub fn ended(mut self, end: TransferEnd) -> TransferView {
        match end {
            TransferEnd::Completed { payee, customer, at } => {
                self.state = TransferState::Completed;
                self.payee = Some(payee);
                self.payee_customer = customer.or(self.payee_customer);
                self.ended_at = Some(at);
            }
            TransferEnd::Refused { reason, at } => {
                self.state = TransferState::Failed(reason);
                self.ended_at = Some(at);
            }
            TransferEnd::Returned { reason, balance, at } => {
                self.state = TransferState::Failed(reason);
                self.balance = Some(balance);
                self.ended_at = Some(at);
            }
        }
        self
    }
}
