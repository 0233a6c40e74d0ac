//! What a row's `detail` holds, as compact JSON. Part of the file format: fields may be added.

use super::answer::Declined;
use super::rows::RowError;
use crate::journal::Row;
use crate::ledger::{AccountKind, AccountState, Arrival, Movement, Target};
use bank_proto::{AccountSerial, BranchId, CustomerId, ErrorCode, Timestamp, TransactionId, TransactionKey};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the columns have no room for. A memo and metadata stand beside these fields.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Detail {
    /// The account's kind, on the row that opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    /// The peer of a clearing account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<u32>,
    /// The account's state, on a row that only looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<String>,
    /// The code of a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    /// What a refusal told besides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) told: BTreeMap<String, String>,
    /// A transfer to or from another branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) transfer: Option<TransferDetail>,
    /// What is reversed, or was to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reversal: Option<ReversalDetail>,
    /// The hold that is placed, captured or ended, or was to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hold: Option<HoldDetail>,
}

/// What a row says of a hold.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct HoldDetail {
    /// Its id, on rows that stand under another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    /// When it ends by itself, in microseconds since 1970, on the row that places it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<i64>,
    /// The minor units that are let go, on the row of a capture that ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) released: Option<i64>,
}

impl HoldDetail {
    /// Of the row that places it.
    pub(super) fn until(expires_at: Timestamp) -> HoldDetail {
        HoldDetail { expires_at: Some(expires_at.0), ..HoldDetail::default() }
    }

    /// Of a row under another id.
    pub(super) fn of(branch: BranchId, hold: TransactionKey) -> HoldDetail {
        HoldDetail { id: Some(TransactionId { branch, key: hold }.to_string()), ..HoldDetail::default() }
    }

    pub(super) fn key(&self, row: &Row) -> Result<TransactionKey, RowError> {
        let id: Option<TransactionId> = self.id.as_deref().and_then(|id| id.parse().ok());
        id.map(|id| id.key).ok_or_else(|| RowError::new(row, "a hold without its id"))
    }

    pub(super) fn expires_at(&self, row: &Row) -> Result<Timestamp, RowError> {
        self.expires_at.map(Timestamp).ok_or_else(|| RowError::new(row, "a hold without an end"))
    }
}

/// The transaction that a reversal takes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ReversalDetail {
    /// Its id.
    original: String,
    /// What it was; absent when the reversal was refused.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    movement: Option<String>,
    /// How many reversals of it another branch had refused before.
    #[serde(default, skip_serializing_if = "is_none_before")]
    pub(super) attempt: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none_before(attempt: &u32) -> bool {
    *attempt == 0
}

impl ReversalDetail {
    pub(super) fn new(original: TransactionId, movement: Option<Movement>) -> ReversalDetail {
        let movement = movement.map(|movement| movement.as_str().to_owned());
        ReversalDetail { original: original.to_string(), movement, attempt: 0 }
    }

    /// After so many that another branch refused.
    pub(super) fn after(self, attempt: u32) -> ReversalDetail {
        ReversalDetail { attempt, ..self }
    }

    pub(super) fn original(&self, row: &Row) -> Result<TransactionId, RowError> {
        self.original.parse().map_err(|_| RowError::new(row, "a reversal of what has no id"))
    }

    pub(super) fn movement(&self, row: &Row) -> Result<Movement, RowError> {
        let movement = self.movement.as_deref().and_then(Movement::from_text);
        movement.ok_or_else(|| RowError::new(row, "a reversal of what is not known"))
    }
}

/// The other side of a transfer.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct TransferDetail {
    /// The transfer's id, on rows that stand under another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    /// The other branch; on a transfer within this one, this one.
    pub(super) peer: u32,
    /// The account there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<u32>,
    /// Whose it is, or who is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) customer: Option<u64>,
    /// The transfer's number among those of the pair, 0 when it never left.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) number: u64,
    /// The other branch's epoch, on rows that follow from what it said.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) epoch: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Detail {
    /// Of the row that opens an account.
    pub(super) fn of_account(kind: AccountKind) -> Detail {
        let peer = if let AccountKind::Clearing(peer) = kind { Some(peer.get()) } else { None };
        Detail { kind: Some(kind.as_str().to_owned()), peer, ..Detail::default() }
    }

    /// Of the row that finds an account as it is.
    pub(super) fn of_state(state: AccountState) -> Detail {
        Detail { state: Some(state.as_str().to_owned()), ..Detail::default() }
    }

    /// Of a refusal.
    pub(super) fn of_refusal(declined: &Declined) -> Detail {
        Detail { code: Some(declined.code.as_str().to_owned()), told: declined.metadata.clone(), ..Detail::default() }
    }

    pub(super) fn of_reversal(reversal: ReversalDetail) -> Detail {
        Detail { reversal: Some(reversal), ..Detail::default() }
    }

    pub(super) fn of_hold(hold: HoldDetail) -> Detail {
        Detail { hold: Some(hold), ..Detail::default() }
    }

    pub(super) fn of_transfer(transfer: TransferDetail) -> Detail {
        Detail { transfer: Some(transfer), ..Detail::default() }
    }

    /// What a row says.
    pub(super) fn read(row: &Row) -> Result<Detail, RowError> {
        let text = row.detail.as_deref().unwrap_or("{}");
        serde_json::from_str(text).map_err(|_| RowError::new(row, "its detail is not understood"))
    }

    /// The refusal that a row records.
    pub(super) fn declined(self, row: &Row) -> Result<Declined, RowError> {
        let code = self.code.as_deref().and_then(ErrorCode::from_text);
        let code = code.ok_or_else(|| RowError::new(row, "a refusal without a known code"))?;
        Ok(Declined { code, metadata: self.told })
    }

    /// As compact JSON.
    pub(super) fn json(&self) -> Option<Box<str>> {
        // Only texts, numbers and a map of texts: there is nothing in it that JSON cannot say.
        serde_json::to_string(self).ok().map(String::into_boxed_str)
    }

    /// As compact JSON, behind the fields of another object that has none of these.
    pub(super) fn json_behind(&self, other: Option<&str>) -> Option<Box<str>> {
        let own = self.json()?;
        Some(match other.and_then(|other| other.strip_suffix('}')) {
            Some(open) if open.len() > 1 && own.len() > 2 => format!("{open},{}", &own[1..]).into_boxed_str(),
            Some(open) if open.len() > 1 => format!("{open}}}").into_boxed_str(),
            _ => own,
        })
    }
}

impl TransferDetail {
    /// What the payer's branch says of the payee.
    pub(super) fn payee(branch: BranchId, target: Target) -> TransferDetail {
        let (account, customer) = match target {
            Target::Account(serial) => (Some(serial.0), None),
            Target::Customer(customer) => (None, Some(customer.get())),
        };
        TransferDetail { peer: branch.get(), account, customer, ..TransferDetail::default() }
    }

    /// What the payee's branch says of what arrived.
    pub(super) fn arrival(arrival: &Arrival) -> TransferDetail {
        TransferDetail {
            id: Some(TransactionId { branch: arrival.source, key: arrival.transfer }.to_string()),
            peer: arrival.source.get(),
            account: Some(arrival.payer.0),
            customer: arrival.payer_customer.map(CustomerId::get),
            number: arrival.pair_sequence,
            epoch: arrival.epoch,
        }
    }

    pub(super) fn peer(&self, row: &Row) -> Result<BranchId, RowError> {
        BranchId::new(i64::from(self.peer)).map_err(|_| RowError::new(row, "a transfer without another branch"))
    }

    pub(super) fn id(&self, row: &Row) -> Result<TransactionId, RowError> {
        let id = self.id.as_deref().and_then(|id| id.parse().ok());
        id.ok_or_else(|| RowError::new(row, "a transfer without its id"))
    }

    pub(super) fn account(&self) -> Option<AccountSerial> {
        self.account.map(AccountSerial)
    }

    pub(super) fn customer(&self) -> Option<CustomerId> {
        self.customer.and_then(|number| i64::try_from(number).ok()).and_then(|number| CustomerId::new(number).ok())
    }

    /// The account or the customer that is paid.
    pub(super) fn target(&self, row: &Row) -> Result<Target, RowError> {
        match (self.account(), self.customer()) {
            (Some(serial), _) => Ok(Target::Account(serial)),
            (None, Some(customer)) => Ok(Target::Customer(customer)),
            (None, None) => Err(RowError::new(row, "a transfer without a payee")),
        }
    }

    /// What arrived, as the payee's branch recorded it.
    pub(super) fn to_arrival(&self, row: &Row) -> Result<Arrival, RowError> {
        let id = self.id(row)?;
        let payer = self.account().ok_or_else(|| RowError::new(row, "a transfer without a payer"))?;
        Ok(Arrival {
            source: id.branch,
            transfer: id.key,
            payer,
            payer_customer: self.customer(),
            pair_sequence: self.number,
            epoch: self.epoch,
        })
    }
}
