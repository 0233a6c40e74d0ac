//! Orders that are carried out together or not at all.

use super::{IdOrigin, fill_in_id, invalid, order};
use crate::environment::Entropy;
use crate::teller::{Declined, Key, Request};
use bank_proto::wire::{self, operation::Kind};
use bank_proto::{Assignment, BranchId, ErrorCode, TransactionKey, limits};
use std::sync::Arc;

/// How many operations one is, with those that are linked in it.
pub(in crate::service) fn weight(operation: &wire::Operation) -> usize {
    match &operation.kind {
        Some(Kind::Linked(linked)) => linked.operations.len().max(1),
        _ => 1,
    }
}

/// Finds the one branch that all of them belong to, and writes an id into each that has none.
///
/// # Errors
/// What is wrong with one of them, naming its place; or with all of them together.
pub(super) fn route(
    linked: &mut wire::LinkedOperations,
    bank: &Assignment,
    entropy: &Entropy,
) -> Result<BranchId, Declined> {
    let count = linked.operations.len();
    if !(1..=limits::LINKED_OPERATIONS).contains(&count) {
        let reason = format!("must be 1 to {} when they are linked", limits::LINKED_OPERATIONS);
        return Err(invalid(ErrorCode::InvalidRequest, "operations", reason));
    }
    let mut owner = None;
    for (place, operation) in linked.operations.iter_mut().enumerate() {
        let (branch, id) = super::route(operation, bank, entropy).map_err(|declined| at(place, declined))?;
        if matches!(id, IdOrigin::None | IdOrigin::Linked) {
            let declined = invalid(ErrorCode::InvalidRequest, "operation", "must be an order when it is linked");
            return Err(at(place, declined));
        }
        if *owner.get_or_insert(branch) != branch {
            let declined =
                invalid(ErrorCode::InvalidRequest, "operation", "belongs to another branch than the first one");
            return Err(at(place, declined));
        }
        fill_in_id(operation, branch, id);
    }
    owner.ok_or_else(|| invalid(ErrorCode::InvalidRequest, "operations", "must not be empty"))
}

/// All of them for a branch hosted here.
///
/// # Errors
/// What is wrong with one of them, naming its place.
pub(super) fn request(
    operation: wire::Operation,
    owner: BranchId,
    bank: &Assignment,
    entropy: &Entropy,
    principal: &Arc<str>,
) -> Result<Request, Declined> {
    let Some(Kind::Linked(linked)) = operation.kind else {
        return Err(invalid(ErrorCode::InvalidRequest, "operation", "is not linked"));
    };
    let orders = linked.operations.into_iter().enumerate().map(|(place, mut operation)| {
        let key = match super::route(&mut operation, bank, entropy)?.1 {
            IdOrigin::Given(key) | IdOrigin::Made(key) => Ok(key),
            IdOrigin::None | IdOrigin::Linked => Err(invalid(ErrorCode::InvalidRequest, "operation", "has no id")),
        };
        let read =
            key.and_then(|key: TransactionKey| order(operation, owner, Key::Given(key), bank, entropy, principal));
        read.map_err(|declined| at(place, declined))
    });
    orders.collect::<Result<_, _>>().map(Request::Linked)
}

/// A refusal of the one at this place.
fn at(place: usize, mut declined: Declined) -> Declined {
    if let Some(field) = declined.metadata.get_mut("field") {
        let place = format!("operations[{place}]");
        *field = if field == "operation" { place } else { format!("{place}.{field}") };
    }
    declined
}
