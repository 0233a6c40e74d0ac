//! Every code that a caller can meet, with its HTTP status and gRPC code, in one table.

/// The `domain` of every ErrorInfo that Florin sends.
pub const ERROR_DOMAIN: &str = "florin.bank";

macro_rules! error_codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $http:literal, $grpc:ident, $title:literal;)+) => {
        /// A stable code: its text never changes, and callers may decide by it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[doc = $doc])+ $name,)+ }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)+];

            /// The text that travels: UPPER_SNAKE, stable.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$name => $text,)+ }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(ErrorCode::$name => $http,)+ }
            }

            /// The gRPC code that goes with it.
            #[must_use]
            pub const fn grpc_code(self) -> tonic::Code {
                match self { $(ErrorCode::$name => tonic::Code::$grpc,)+ }
            }

            /// A short title for people, the same for every occurrence (RFC 9457).
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(ErrorCode::$name => $title,)+ }
            }
        }
    };
}

error_codes! {
    /// The request is malformed; `field` in the details names the place. Send it corrected.
    InvalidRequest = "INVALID_REQUEST", 400, InvalidArgument, "The request is malformed";
    /// An amount is missing, malformed, over-precise, too large or not positive.
    InvalidAmount = "INVALID_AMOUNT", 400, InvalidArgument, "The amount is not acceptable";
    /// The customer number is missing or out of range.
    InvalidCustomerId = "INVALID_CUSTOMER_ID", 400, InvalidArgument, "The customer number is not acceptable";
    /// The branch number is missing or out of range.
    InvalidBranchId = "INVALID_BRANCH_ID", 400, InvalidArgument, "The branch number is not acceptable";
    /// The account number has wrong check digits or is not of this bank.
    InvalidAccountNumber = "INVALID_ACCOUNT_NUMBER", 400, InvalidArgument, "The account number is not acceptable";
    /// Not an ISO 4217 currency with decimals.
    InvalidCurrency = "INVALID_CURRENCY", 400, InvalidArgument, "The currency is not known";
    /// The transaction id is empty, malformed, or names a branch that does not own the account.
    InvalidTransactionId = "INVALID_TRANSACTION_ID", 400, InvalidArgument, "The transaction id is not acceptable";
    /// The Idempotency-Key is empty, longer than 255 bytes or not printable text.
    InvalidIdempotencyKey = "INVALID_IDEMPOTENCY_KEY", 400, InvalidArgument, "The Idempotency-Key is not acceptable";
    /// Sign in first.
    Unauthenticated = "UNAUTHENTICATED", 401, Unauthenticated, "Sign in first";
    /// Signed in, but not allowed to do this.
    PermissionDenied = "PERMISSION_DENIED", 403, PermissionDenied, "Not allowed";
    /// No such page or route.
    NotFound = "NOT_FOUND", 404, NotFound, "There is nothing here";
    /// The bank has no such customer, or the customer no such account.
    CustomerNotFound = "CUSTOMER_NOT_FOUND", 404, NotFound, "The customer is not known";
    /// No such account.
    AccountNotFound = "ACCOUNT_NOT_FOUND", 404, NotFound, "The account is not known";
    /// No transfer has this id.
    TransferNotFound = "TRANSFER_NOT_FOUND", 404, NotFound, "The transfer is not known";
    /// Nothing was posted under this id at the branch that it names.
    TransactionNotFound = "TRANSACTION_NOT_FOUND", 404, NotFound, "The transaction is not known";
    /// The branch is not initialized, or above the bank's number of branches.
    BranchNotFound = "BRANCH_NOT_FOUND", 404, NotFound, "The branch is not open";
    /// The route exists, but not for this verb.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, Unimplemented, "The method is not allowed here";
    /// The id was used before for something else. Use a new one.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", 409, AlreadyExists, "The id was used for something else";
    /// The customer is registered already.
    CustomerExists = "CUSTOMER_EXISTS", 409, AlreadyExists, "The customer is registered already";
    /// The service has no such method, or the server no such service. Ask for another.
    UnknownMethod = "UNKNOWN_METHOD", 501, Unimplemented, "There is no such method";
    /// The message is compressed in a way that is not read here. Send it uncompressed.
    UnsupportedCompression = "UNSUPPORTED_COMPRESSION", 501, Unimplemented, "The compression is not known";
    /// The body or message is larger than allowed; sent again it would be refused again.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", 413, InvalidArgument, "The body is too large";
    /// Address and headers of the HTTP request are larger than allowed. Send less.
    RequestHeadTooLarge = "REQUEST_HEAD_TOO_LARGE", 431, InvalidArgument, "The head of the request is too large";
    /// The body is not application/json.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 415, InvalidArgument, "The body must be application/json";
    /// Less is available than the amount.
    InsufficientFunds = "INSUFFICIENT_FUNDS", 422, FailedPrecondition, "Not enough money";
    /// The account is frozen.
    AccountFrozen = "ACCOUNT_FROZEN", 422, FailedPrecondition, "The account is frozen";
    /// The account is closed, for ever.
    AccountClosed = "ACCOUNT_CLOSED", 422, FailedPrecondition, "The account is closed";
    /// The account is not frozen, so it cannot be unfrozen.
    AccountNotFrozen = "ACCOUNT_NOT_FROZEN", 422, FailedPrecondition, "The account is not frozen";
    /// Only an account at zero can be closed.
    AccountNotEmpty = "ACCOUNT_NOT_EMPTY", 422, FailedPrecondition, "The account is not empty";
    /// The amount's currency is not the account's.
    CurrencyMismatch = "CURRENCY_MISMATCH", 422, FailedPrecondition, "The currency is not the account's";
    /// A balance would leave what 64 bits of minor units can count.
    BalanceLimitExceeded = "BALANCE_LIMIT_EXCEEDED", 422, FailedPrecondition, "The balance would be too large";
    /// The customer holds 1000 accounts at the branch, or the branch has given out all its numbers.
    AccountLimitExceeded = "ACCOUNT_LIMIT_EXCEEDED", 422, FailedPrecondition, "No more accounts can be opened";
    /// Payer and payee are the same account.
    SameAccount = "SAME_ACCOUNT", 422, FailedPrecondition, "A transfer needs two accounts";
    /// No hold has this id.
    HoldNotFound = "HOLD_NOT_FOUND", 404, NotFound, "The hold is not known";
    /// The hold's time is over. Place a new one.
    HoldExpired = "HOLD_EXPIRED", 422, FailedPrecondition, "The hold's time is over";
    /// The hold was captured or released; `hold_state` in the details says which.
    HoldClosed = "HOLD_CLOSED", 422, FailedPrecondition, "The hold has ended";
    /// More was to be captured than is left; `remaining` in the details says how much that is.
    HoldAmountExceeded = "HOLD_AMOUNT_EXCEEDED", 422, FailedPrecondition, "More than is held";
    /// The account (1,024) or its branch has as many open holds as it may. Let some of the account's go, or try again
    /// later; under a new id.
    HoldLimitExceeded = "HOLD_LIMIT_EXCEEDED", 422, FailedPrecondition, "No more holds can be placed";
    /// An account with open holds cannot be closed. Release them, and try again under a new id.
    HoldsOpen = "HOLDS_OPEN", 422, FailedPrecondition, "Holds are open";
    /// Too many transfers to the payee's branch are still under way. Try again later, under a new id.
    ClearingLimitExceeded = "CLEARING_LIMIT_EXCEEDED", 422, FailedPrecondition, "Too much is under way to that branch";
    /// An account whose transfers are still under way cannot be closed. Try again, under a new id.
    TransfersInFlight = "TRANSFERS_IN_FLIGHT", 422, FailedPrecondition, "Transfers are still under way";
    /// The transaction moved no money that could be moved back, or is a reversal itself.
    NotReversible = "NOT_REVERSIBLE", 422, FailedPrecondition, "The transaction cannot be reversed";
    /// The transaction was reversed before; `reversal` in the details is the id of what did.
    AlreadyReversed = "ALREADY_REVERSED", 422, FailedPrecondition, "The transaction was reversed before";
    /// The payee's branch did not send the money back; `cause` in the details says why. Try again under a new id.
    ReversalRefused = "REVERSAL_REFUSED", 422, FailedPrecondition, "The money was not given back";
    /// An operation that this one is linked to was refused; `failed_transaction_id` in the details names it, and
    /// nothing of both was done. Try all of them again, under new ids.
    LinkedOperationFailed = "LINKED_OPERATION_FAILED", 422, FailedPrecondition, "A linked operation failed";
    /// The payee's branch was not reached in time, and the money is back.
    TransferExpired = "TRANSFER_EXPIRED", 422, FailedPrecondition, "The transfer was not delivered in time";
    /// Between branches: the sender's epoch is over; another owner has taken its place.
    StaleEpoch = "STALE_EPOCH", 503, FailedPrecondition, "The sender's time is over";
    /// Between branches: the two disagree on their past, so that one of them is an old copy. Operators reconcile.
    PairSuspended = "PAIR_SUSPENDED", 503, FailedPrecondition, "The two branches must be reconciled";
    /// The caller's own limit. Retry later.
    RateLimited = "RATE_LIMITED", 429, ResourceExhausted, "Too many requests";
    /// A fault of the bank's own. Tell the operator the request id.
    Internal = "INTERNAL", 500, Internal, "The bank made a mistake";
    /// The queue is full; nothing was done. Retry after a moment, with the same id.
    Overloaded = "OVERLOADED", 503, ResourceExhausted, "The bank is busy";
    /// Whether it was done is not known. Retry with the same id to learn it.
    OutcomeUnknown = "OUTCOME_UNKNOWN", 503, Unavailable, "The outcome is not known yet";
    /// The branch cannot be reached or refuses to serve; nothing was done. Retry later, with the same id.
    BranchUnavailable = "BRANCH_UNAVAILABLE", 503, Unavailable, "The branch is not available";
    /// The disk is full; nothing was done. Retry when the operator has made room.
    StorageFull = "STORAGE_FULL", 503, Unavailable, "The bank's disk is full";
    /// The caller's deadline passed before the work began; nothing was done.
    DeadlineExceeded = "DEADLINE_EXCEEDED", 504, DeadlineExceeded, "Too late";
    /// This server does not own the branch and may not forward again; the owner is in the details.
    WrongBranch = "WRONG_BRANCH", 503, FailedPrecondition, "Another server owns the branch";
}

impl ErrorCode {
    /// The code that a text stands for.
    #[must_use]
    pub fn from_text(text: &str) -> Option<ErrorCode> {
        ErrorCode::ALL.iter().copied().find(|code| code.as_str() == text)
    }

    /// The code in a gRPC status that Florin sent; None when something else on the way sent it.
    #[must_use]
    pub fn from_status(status: &tonic::Status) -> Option<ErrorCode> {
        use tonic_types::StatusExt as _;
        status.get_details_error_info().and_then(|info| ErrorCode::from_text(&info.reason))
    }

    /// How long a caller should wait before it tries again; None when a retry does not help.
    #[must_use]
    pub const fn retry_after_seconds(self) -> Option<u64> {
        match self {
            ErrorCode::RateLimited
            | ErrorCode::Overloaded
            | ErrorCode::OutcomeUnknown
            | ErrorCode::BranchUnavailable => Some(1),
            ErrorCode::StorageFull => Some(30),
            _ => None,
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_upper_snake_text() {
        for code in ErrorCode::ALL {
            assert!(code.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'), "{code}");
            assert_eq!(ErrorCode::from_text(code.as_str()), Some(*code));
        }
    }
}
