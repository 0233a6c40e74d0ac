//! POST /v1/batches: many operations in one request, each with its own answer.

use crate::answer::{self, Replied, Reply};
use crate::app::{App, Caller};
use crate::bank::Operation;
use crate::idempotency::{IdempotencyKey, OperationKey};
use crate::json::{self, JsonBody};
use crate::openapi::{WriteHeaders, WriteProblems};
use crate::problem::{Problem, ProblemBody};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bank_proto::{ErrorCode, limits};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;

mod item;

/// Many operations.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BatchRequest, example = json!({"operations": [
    {"type": "deposit", "customer_id": 1, "amount": "100"},
    {"type": "withdraw", "account_number": "0001000000000145", "amount": 50, "idempotency_key": "order 17"},
    {"type": "transfer", "customer_id": 1, "to_customer_id": 2, "amount": "25"},
    {"type": "query", "customer_id": 1}
]}))]
struct Body<'a> {
    /// Up to 8192. Those of one branch are done in this order.
    #[schema(value_type = Vec<item::Item>)]
    #[serde(borrow)]
    operations: Vec<&'a RawValue>,
    /// All of one branch or none of them: at the first refusal all that this batch did at the branch is taken back, and
    /// the others are refused with LINKED_OPERATION_FAILED. Up to 256 of one branch, and no queries. False when absent.
    #[serde(default)]
    linked: bool,
}

/// The answers, in the order of the operations.
#[derive(Serialize, ToSchema)]
struct BatchAnswer<'a> {
    results: Vec<OperationAnswer<'a>>,
}

/// What the operation alone would have been answered, a refusal included.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum OperationAnswer<'a> {
    #[schema(value_type = Reply)]
    Done(&'a Reply),
    #[schema(value_type = ProblemBody)]
    Refused(ProblemBody<'a>),
}

/// Does many operations
///
/// Each answers for itself: a refused or malformed one does not stop the others, unless they are `linked`; then those of
/// one branch are all done or none of them, and a malformed one refuses the whole batch. The answer comes when no
/// transfer of it is waited for any more. A write without an
/// `idempotency_key` of its own gets one from the batch's Idempotency-Key and its place, so a repeated
/// batch does nothing twice: its answer is the first one again, and when all writes of it were given again
/// it says so by the header Idempotent-Replayed.
#[utoipa::path(
    post, path = "/v1/batches", tag = "Batches", params(WriteHeaders), request_body = Body,
    responses((status = 200, description = "One answer per operation", body = BatchAnswer), WriteProblems)
)]
pub(crate) async fn run(State(app): State<Arc<App>>, caller: Caller, body: JsonBody) -> Result<Response, Problem> {
    let batch_key = caller.key.clone().ok_or_else(Problem::internal)?;
    let body: Body<'_> = body.parse()?;
    let operations = operations(&body, &batch_key)?;
    let is_write = |asked: &Asked| asked.as_ref().is_ok_and(|(operation, _)| operation.is_write());
    let writes: Vec<bool> = operations.iter().map(is_write).collect();
    let answers = if body.linked {
        app.bank.execute_linked(linked(operations)?, &caller).await
    } else {
        app.bank.execute_all(operations, &caller).await
    };
    let mut written =
        writes.iter().zip(&answers).filter(|(is_write, _)| **is_write).map(|(_, answer)| answer).peekable();
    let is_replay = written.peek().is_some()
        && written.all(|answer| match answer {
            Ok(replied) => replied.replayed,
            Err(problem) => problem.is_replayed(),
        });
    let results = answers.iter().map(|answer| match answer {
        Ok(Replied { reply, .. }) => OperationAnswer::Done(reply),
        Err(problem) => OperationAnswer::Refused(problem.body(None)),
    });
    let mut batch = answer::json(StatusCode::OK, &BatchAnswer { results: results.collect() });
    if is_replay {
        answer::mark_replayed(&mut batch);
    }
    Ok(batch)
}

/// An operation with its key, or why it is none.
type Asked = Result<(Operation, OperationKey), Problem>;

fn operations(body: &Body<'_>, batch_key: &IdempotencyKey) -> Result<Vec<Asked>, Problem> {
    let count = body.operations.len();
    if count > limits::BATCH_OPERATIONS {
        let what = format!("has {count} entries, at most {} are allowed", limits::BATCH_OPERATIONS);
        return Err(Problem::field(ErrorCode::InvalidRequest, "operations", what));
    }
    let asked = body.operations.iter().enumerate().map(|(index, raw)| {
        let (operation, own_key) = item::read(raw.get())?;
        let key = match own_key {
            Some(key) => OperationKey::Own(key),
            None => OperationKey::Place { batch: batch_key.clone(), index },
        };
        Ok((operation, key))
    });
    Ok(asked.collect())
}

/// The operations of a linked batch.
///
/// # Errors
/// One of them is malformed or asks a question, or there are too many: nothing is done.
fn linked(operations: Vec<Asked>) -> Result<Vec<(Operation, OperationKey)>, Problem> {
    let orders = operations.into_iter().enumerate().map(|(place, asked)| {
        match asked {
            Ok((operation, _)) if !operation.is_write() => {
                Err(Problem::field(ErrorCode::InvalidRequest, "type", "must be a write when operations are linked"))
            }
            asked => asked,
        }
        .map_err(|problem| problem.within(&format!("operations[{place}]")))
    });
    orders.collect()
}

pub(super) fn accepts(body: &[u8]) -> bool {
    let Ok(key) = IdempotencyKey::parse("batch") else { return false };
    json::parse(body)
        .and_then(|body: Body<'_>| operations(&body, &key))
        .is_ok_and(|operations| operations.iter().any(Result::is_ok))
}
