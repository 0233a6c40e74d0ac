//! What every part of Florin shares: the wire contract `bank.v1` and the bank's words.
//!
//! - [`Money`], [`Currency`], [`Timestamp`]: exact amounts and the moment they were booked
//! - [`CustomerId`], [`BranchId`], [`AccountNumber`], [`TransactionId`]: who and what
//! - [`ErrorCode`]: every stable code with its HTTP status and gRPC code, in one table
//! - [`Assignment`]: which branch server hosts which branch, and the file that says which were moved
//! - [`readiness`]: how a program is asked whether it is ready
//! - [`tls`]: certificates from files, read again when they change
//! - [`traces`]: what a sampled request did, told to an OpenTelemetry collector
//! - [`wire`]: the messages, clients and servers generated from `bank.proto`

#![forbid(unsafe_code)]

mod account_number;
mod assignment;
mod currency;
mod error_code;
mod ids;
mod money;
pub mod readiness;
mod timestamp;
pub mod tls;
pub mod traces;

pub use account_number::{AccountNumber, AccountSerial, InvalidAccountNumber};
pub use assignment::{Assignment, AssignmentError, AssignmentFile};
pub use currency::{Currency, InvalidCurrency};
pub use error_code::{ERROR_DOMAIN, ErrorCode};
pub use ids::{BranchId, CustomerId, InvalidBranchId, InvalidCustomerId};
pub use ids::{InvalidTransactionId, TransactionId, TransactionKey};
pub use money::{DecimalAmount, InvalidAmount, Money};
pub use timestamp::Timestamp;

/// Request metadata that travels between the parts of the bank.
pub mod metadata {
    /// The front end's request id, in HTTP and gRPC alike.
    pub const REQUEST_ID: &str = "x-request-id";
    /// How many branch servers have already forwarded this request.
    pub const HOPS: &str = "florin-hops";
    /// Beyond this many forwards a request is refused with WRONG_BRANCH, so that servers that
    /// disagree on who owns a branch cannot send it in circles.
    pub const MAXIMUM_HOPS: u32 = 2;
    /// In the details of BRANCH_UNAVAILABLE and OUTCOME_UNKNOWN: `true` when the branch is on its way from one server
    /// to another, and the same request under the same id will be answered in a moment.
    pub const MOVING: &str = "moving";
}

/// Limits of the public interface, the same at every door.
pub mod limits {
    /// Operations in one batch.
    pub const BATCH_OPERATIONS: usize = 8192;
    /// Minor units of one order's amount, initial balance or overdraft limit: ten trillion dollars, more than
    /// any payment needs. Some 9,000 of them fit into the 64 bits of a balance; without a limit a single
    /// deposit could fill the vault's, and every later one in its currency would be refused.
    pub const TRANSACTION_MINOR_UNITS: i64 = 1_000_000_000_000_000;
    /// Holds that may be open at one branch: each takes memory until it ends.
    pub const OPEN_HOLDS: usize = 262_144;
    /// Holds that may be open on one account: more than any customer needs, and few enough that nobody takes the
    /// branch's room from all others.
    pub const OPEN_HOLDS_PER_ACCOUNT: u32 = 1024;
    /// How long a hold lasts when its caller does not say, in seconds: a week, as card payments have it.
    pub const DEFAULT_HOLD_SECONDS: u32 = 7 * 24 * 3600;
    /// How long a hold may last at most, in seconds: 31 days, as lodging and car hire have it.
    pub const HOLD_SECONDS: u32 = 31 * 24 * 3600;
    /// Operations that are linked: one writer carries them out while all others wait, and one message holds them.
    pub const LINKED_OPERATIONS: usize = 256;
    /// Bytes of one gRPC message.
    pub const GRPC_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
    /// Bytes of an HTTP body.
    pub const HTTP_BODY_BYTES: usize = 1024 * 1024;
    /// Bytes of a memo, as in ISO 20022's unstructured remittance information (140 characters).
    pub const MEMO_BYTES: usize = 140;
    /// Bytes of a transaction's metadata, keys and values together.
    pub const METADATA_BYTES: usize = 1024;
    /// Bytes of a customer's name (ISO 20022 Max140Text).
    pub const NAME_BYTES: usize = 140;
    /// Holders of one account, the first included.
    pub const ACCOUNT_HOLDERS: usize = 16;
    /// Accounts that one customer may hold at a branch, closed ones included: an order looks through them.
    pub const ACCOUNTS_PER_CUSTOMER: usize = 1000;
    /// Bytes of a principal's name.
    pub const PRINCIPAL_BYTES: usize = 255;
    /// Bytes of an Idempotency-Key.
    pub const IDEMPOTENCY_KEY_BYTES: usize = 255;
    /// Entries of one page of history.
    pub const PAGE_SIZE: u32 = 100;
    /// Entries of one page when the caller does not say.
    pub const DEFAULT_PAGE_SIZE: u32 = 20;
    /// Transfers from one branch to another that may be under way: an unreachable branch must not fill
    /// its peers' memory, nor leave more to redo than minutes can.
    pub const TRANSFERS_IN_FLIGHT_PER_PAIR: usize = 65_536;
    /// Transfers in one message between two branches.
    pub const DELIVERIES: usize = 512;
    /// Reversals of one transfer between branches that may be refused by its payee's branch, each under an
    /// id of its own; a limit, because every further one looks at all before it.
    pub const REVERSAL_ATTEMPTS: u32 = 32;
    /// How long a caller of a transfer waits for its end when it does not say, in milliseconds.
    pub const DEFAULT_TRANSFER_WAIT_MS: u32 = 2_000;
    /// How long a caller of a transfer may wait at most, in milliseconds.
    pub const TRANSFER_WAIT_MS: u32 = 30_000;
    /// Branches a bank may be founded with: as many as four digits of an account number name.
    pub const BRANCHES: u32 = 9999;
}

/// The messages, clients and servers generated from `bank/v1/bank.proto`.
pub mod wire {
    #![allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::unwrap_used,
        reason = "generated; documented in bank.proto"
    )]
    tonic::include_proto!("bank.v1");

    /// The compiled `bank.proto`, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("bank_descriptor");
}
