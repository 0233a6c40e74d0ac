//! What one row of the journal says.

use super::sqlite::MAXIMUM_GROUP_ROWS;
use bank_proto::{AccountSerial, Currency, CustomerId, Timestamp, TransactionKey};
use std::sync::Arc;

/// A row's place in its branch's journal: 1 is the first. 0 means "none".
pub type Sequence = u64;

/// One row: one amount moved from one account to another, or one other fact of the books.
///
/// Everything derived (balances, ids, history) is a fold over rows in the order of `sequence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The place in the journal.
    pub sequence: Sequence,
    /// When it was booked; never before the row before it.
    pub booked_at: Timestamp,
    /// The transaction that the row belongs to. Rows of one transaction stand side by side.
    pub transaction: TransactionKey,
    /// A digest of what was asked, on the first row of a transaction only: the same id with
    /// another fingerprint is another request.
    pub fingerprint: Option<[u8; 16]>,
    /// What happened.
    pub kind: RowKind,
    /// The account that gives (a movement), or that the row is about.
    pub debit_account: Option<AccountSerial>,
    /// The account that receives; None when the row moves nothing.
    pub credit_account: Option<AccountSerial>,
    /// Minor units moved, or asked for (a refusal), or the overdraft limit (an opening).
    pub amount: i64,
    /// The currency of the row's accounts; None when the row is about no account.
    pub currency: Option<Currency>,
    /// The balance of `debit_account` after the row.
    pub debit_balance: i64,
    /// The balance of `credit_account` after the row.
    pub credit_balance: i64,
    /// The previous row in `debit_account`'s history; 0 at its first.
    pub debit_previous: Sequence,
    /// The previous row in `credit_account`'s history; 0 at its first.
    pub credit_previous: Sequence,
    /// The customer whom the row is about.
    pub customer: Option<CustomerId>,
    /// Who gave the order: a signed-in principal, or `open` in the open demo.
    pub principal: Arc<str>,
    /// By which door the order came.
    pub channel: Channel,
    /// What the other columns have no room for, as compact JSON: memo, metadata, the code of a refusal.
    pub detail: Option<Box<str>>,
}

/// Whether rows follow a journal's last one without a gap; there is at least one, and no more than a group may have.
pub(super) fn follow(last: Sequence, rows: &[Row]) -> bool {
    (1..=MAXIMUM_GROUP_ROWS).contains(&rows.len())
        && (last + 1..).zip(rows).all(|(expected, row)| row.sequence == expected)
}

/// Texts of principals, one for a run of rows that have the same: most have.
#[derive(Debug, Clone, Default)]
pub(super) struct Principals(Option<Arc<str>>);

impl Principals {
    /// The shared text.
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        match &self.0 {
            Some(known) if **known == *text => Arc::clone(known),
            _ => Arc::clone(self.0.insert(Arc::from(text))),
        }
    }
}

macro_rules! texts {
    ($(#[doc = $doc:literal])+ $type:ident { $($(#[doc = $variant_doc:literal])+ $name:ident = $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type { $($(#[doc = $variant_doc])+ $name,)+ }

        impl $type {
            /// As it stands in the journal; part of the file format.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($type::$name => $text,)+ }
            }

            /// The value that a text stands for.
            #[must_use]
            pub fn from_text(text: &str) -> Option<$type> {
                match text { $($text => Some($type::$name),)+ _ => None }
            }
        }
    };
}

texts! {
    /// What a row records.
    RowKind {
        /// The branch's books were opened.
        BranchInitialized = "branch_initialized",
        /// The branch was asked to open its books and had done so before. The row is about the account that
        /// was opened with them and says its balance; `detail` says its state. It moves nothing and stands in
        /// no account's history.
        BranchFoundOpen = "branch_found_open",
        /// A customer became known. `detail` may hold a keyed digest of the name.
        CustomerRegistered = "customer_registered",
        /// An account was opened. `detail` says its kind and product.
        AccountOpened = "account_opened",
        /// A further holder of an account.
        HolderAdded = "holder_added",
        /// An account was frozen.
        AccountFrozen = "account_frozen",
        /// A freeze was taken back.
        AccountUnfrozen = "account_unfrozen",
        /// An account was closed.
        AccountClosed = "account_closed",
        /// Capital became an account's opening balance.
        OpeningBalance = "opening_balance",
        /// Cash paid in.
        Deposit = "deposit",
        /// Cash paid out.
        Withdrawal = "withdrawal",
        /// An account of this branch paid another.
        Transfer = "transfer",
        /// Money moved back that another transaction had moved. `detail` names that transaction and what it was.
        Reversal = "reversal",
        /// Money left for another branch, and stands on the clearing account. `detail` names the
        /// payee and the transfer's number among those to that branch.
        TransferSent = "transfer_sent",
        /// Money came from another branch. `detail` names the transfer, its number and its payer.
        TransferReceived = "transfer_received",
        /// A transfer from another branch will never be credited: it came too late.
        TransferCancelled = "transfer_cancelled",
        /// A transfer to another branch has reached the payee.
        TransferCompleted = "transfer_completed",
        /// A transfer to another branch came back to the payer. `detail` says why.
        TransferReturned = "transfer_returned",
        /// The payee's branch is asked to send the money of a transfer back. `detail` names that transfer, the
        /// branch, the payee's account and the message's number. The row is about the payer's account, moves
        /// nothing and stands in no account's history.
        ReversalSent = "reversal_sent",
        /// The payer's branch asked for the money of a transfer, and an ordinary transfer back follows in the
        /// same transaction. `detail` names the reversal and its number.
        ReversalAccepted = "reversal_accepted",
        /// The payee's branch did not send the money of a transfer back. `detail` says why.
        ReversalRefused = "reversal_refused",
        /// Money of an account is held. `detail` says until when; the row moves nothing.
        HoldPlaced = "hold_placed",
        /// Part of a hold is not held any more: it is paid out in the rows that follow in the same transaction.
        /// `detail` names the hold and, when this ends it, what is let go besides.
        HoldCaptured = "hold_captured",
        /// A hold was let go. `detail` names it.
        HoldReleased = "hold_released",
        /// A hold's time was over. `detail` names it.
        HoldExpired = "hold_expired",
        /// The branch refused. `detail` says why; the refusal stands for ever under its id.
        Refused = "refused",
    }
}

texts! {
    /// By which door an order came.
    Channel {
        /// The client API.
        Http = "http",
        /// A branch server's gRPC port.
        Grpc = "grpc",
        /// Another branch.
        Branch = "branch",
        /// None: the bank did it by itself.
        Bank = "bank",
    }
}

impl RowKind {
    /// Whether the row belongs to a transfer between branches.
    #[must_use]
    pub const fn crosses_branches(self) -> bool {
        matches!(
            self,
            RowKind::TransferSent
                | RowKind::TransferReceived
                | RowKind::TransferCancelled
                | RowKind::TransferCompleted
                | RowKind::TransferReturned
                | RowKind::ReversalSent
                | RowKind::ReversalAccepted
                | RowKind::ReversalRefused
        )
    }
}

impl Row {
    /// Adds the bytes that the hash chain covers: every column in one fixed order, little endian,
    /// texts with their length, absent values as zero. Part of the file format: never change it,
    /// add a new one beside it.
    pub fn hash_into(&self, bytes: &mut Vec<u8>) {
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.booked_at.0.to_le_bytes());
        bytes.extend_from_slice(&self.transaction.0.to_le_bytes());
        bytes.push(u8::from(self.fingerprint.is_some()));
        bytes.extend_from_slice(&self.fingerprint.unwrap_or_default());
        text(bytes, self.kind.as_str());
        bytes.extend_from_slice(&self.debit_account.map_or(0, |serial| serial.0).to_le_bytes());
        bytes.extend_from_slice(&self.credit_account.map_or(0, |serial| serial.0).to_le_bytes());
        bytes.extend_from_slice(&self.amount.to_le_bytes());
        bytes.extend_from_slice(&self.currency.map_or(0, Currency::numeric).to_le_bytes());
        bytes.extend_from_slice(&self.debit_balance.to_le_bytes());
        bytes.extend_from_slice(&self.credit_balance.to_le_bytes());
        bytes.extend_from_slice(&self.debit_previous.to_le_bytes());
        bytes.extend_from_slice(&self.credit_previous.to_le_bytes());
        bytes.extend_from_slice(&self.customer.map_or(0, CustomerId::get).to_le_bytes());
        text(bytes, &self.principal);
        text(bytes, self.channel.as_str());
        bytes.push(u8::from(self.detail.is_some()));
        text(bytes, self.detail.as_deref().unwrap_or_default());
    }
}
