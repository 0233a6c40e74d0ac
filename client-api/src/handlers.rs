//! One file per resource: parse, ask the bank, answer.

pub(crate) mod accounts;
pub(crate) mod batches;
pub(crate) mod books;
pub(crate) mod branches;
pub(crate) mod customers;
pub(crate) mod history;
pub(crate) mod holds;
pub(crate) mod movements;
pub(crate) mod operations;
mod path;
pub(crate) mod reversals;
pub(crate) mod transaction;
pub(crate) mod transfers;

/// Reads a body as each handler would; see [`crate::untrusted`].
pub(crate) fn any_accepts(body: &[u8]) -> bool {
    [
        transaction::accepts(body),
        branches::accepts(body),
        customers::accepts(body),
        accounts::accepts(body),
        movements::accepts(body),
        transfers::accepts(body),
        reversals::accepts(body),
        holds::accepts(body),
        batches::accepts(body),
    ]
    .contains(&true)
}
