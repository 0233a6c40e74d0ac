//! A transfer on its way to another branch, with all that the other branch is told.

use super::detail::Detail;
use super::rows::{self, RowError};
use crate::journal::{Row, RowKind, Sequence};
use crate::ledger::{Entry, Target};
use bank_proto::{AccountSerial, BranchId, CustomerId, Money, Timestamp, TransactionKey};
use serde::Deserialize;
use std::sync::Arc;

/// What leaves for another branch, read from the durable row that records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The payee's branch.
    pub peer: BranchId,
    /// When it left.
    pub sent_at: Timestamp,
    /// The row.
    pub row: Sequence,
    /// The newest cut through the bank that the payer's branch had heard of by then, or later.
    pub cut: u64,
    /// What the payee's branch is told.
    pub delivery: Delivery,
}

/// What the payee's branch is told of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The transfer's key at the payer's branch.
    pub transfer: TransactionKey,
    /// Its number among the transfers from there to the payee's branch.
    pub pair_sequence: u64,
    /// Who is paid.
    pub payee: Target,
    /// How much.
    pub amount: Money,
    /// The transfer whose money is asked back; None when money is sent.
    pub reverses: Option<TransactionKey>,
    /// Whose account was debited.
    pub payer: AccountSerial,
    /// Whose that is.
    pub payer_customer: Option<CustomerId>,
    /// Free text for the payee's statement.
    pub memo: String,
    /// Who gave the order.
    pub principal: Arc<str>,
}

#[derive(Default, Deserialize)]
struct Memo {
    #[serde(default)]
    memo: String,
}

impl Parcel {
    /// The parcel that a row records; None for rows of other kinds.
    ///
    /// # Errors
    /// The row is not understood.
    pub fn from_row(row: &Row, cut: u64) -> Result<Option<Parcel>, RowError> {
        if !matches!(row.kind, RowKind::TransferSent | RowKind::ReversalSent) {
            return Ok(None);
        }
        let (transfer, peer, payee, pair_sequence, payer, amount, reverses) = match rows::entry_of(row)? {
            Some(Entry::Sent { transfer, peer, payee, pair_sequence, debit, amount, .. }) => {
                (transfer, peer, payee, pair_sequence, debit, amount, None)
            }
            Some(Entry::ReversalSent { reversal, original, peer, payee, pair_sequence, payer, amount, .. }) => {
                (reversal, peer, Target::Account(payee), pair_sequence, payer, amount, Some(original))
            }
            _ => return Ok(None),
        };
        let currency = row.currency.ok_or_else(|| RowError::new(row, "a transfer without a currency"))?;
        // The memo stands beside what `entry_of` has understood.
        let memo: Memo = row.detail.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let delivery = Delivery {
            transfer,
            pair_sequence,
            payee,
            amount: Money::from_minor(amount, currency),
            reverses,
            payer,
            payer_customer: row.customer,
            memo: memo.memo,
            principal: row.principal.clone(),
        };
        Ok(Some(Parcel { peer, sent_at: row.booked_at, row: row.sequence, cut, delivery }))
    }
}

/// What the journal keeps beside the end of a transfer that the payee's branch refused.
#[must_use]
pub fn reason_detail(declined: &super::Declined) -> Option<Box<str>> {
    Detail::of_refusal(declined).json()
}
