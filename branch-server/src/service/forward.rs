//! How a request came here, and how operations travel on to the server that hosts their branches.

use super::outbound;
use crate::teller::Declined;
use bank_proto::traces::{Span, Trace};
use bank_proto::wire::bank_service_client::BankServiceClient;
use bank_proto::{ErrorCode, metadata, wire};
use tokio::time::Instant;
use tonic::transport::Channel;

/// How a request travelled up to here.
#[derive(Debug, Clone)]
pub(super) struct Journey {
    /// How many branch servers forwarded it.
    pub(super) hops: u32,
    /// The front end's id for it.
    pub(super) request_id: String,
    /// When its caller gives up.
    pub(super) deadline: Instant,
    /// The step that it is part of, when it is sampled as a whole.
    pub(super) trace: Option<Trace>,
}

impl Journey {
    /// Writes the next leg into a call's metadata.
    pub(super) fn write(&self, map: &mut tonic::metadata::MetadataMap) {
        map.insert(metadata::HOPS, (self.hops + 1).into());
        if let Ok(request_id) = self.request_id.parse() {
            map.insert(metadata::REQUEST_ID, request_id);
        }
        if let Some(trace) = &self.trace {
            for (name, text) in trace.headers() {
                if let Ok(text) = text.parse() {
                    map.insert(name, text);
                }
            }
        }
    }
}

/// The operations of one message that go to the same place.
pub(super) struct Bundle<T> {
    pub(super) tags: Vec<u64>,
    pub(super) items: Vec<T>,
    /// The steps of those that are sampled, with their places. Each ends with this.
    pub(super) spans: Vec<(usize, Span)>,
}

impl<T> Bundle<T> {
    pub(super) fn with_room(items: usize) -> Bundle<T> {
        Bundle { tags: Vec::with_capacity(items), items: Vec::with_capacity(items), spans: Vec::new() }
    }

    pub(super) fn push(&mut self, tag: u64, item: T) {
        self.tags.push(tag);
        self.items.push(item);
    }
}

/// Sends operations to the server that hosts their branches, with one more hop on their journey. Where any server may
/// serve any branch, no answer means that they may be elsewhere by now.
pub(super) async fn forward(
    mut peer: BankServiceClient<Channel>,
    bundle: Bundle<wire::Operation>,
    journey: &Journey,
    is_shared: bool,
) -> Vec<(u64, wire::OperationResult)> {
    let writes: Vec<bool> = bundle.items.iter().map(is_write).collect();
    let traces = bundle.spans.iter().map(|(place, span)| span.trace().to_wire(*place)).collect();
    let mut request = tonic::Request::new(wire::BatchRequest { operations: bundle.items, traces });
    journey.write(request.metadata_mut());
    // The owner must know when to say how far it is with what takes a while.
    request.set_timeout(journey.deadline.saturating_duration_since(Instant::now()));
    let answer = tokio::time::timeout_at(journey.deadline, peer.batch(request)).await;
    let failure = match answer {
        Ok(Ok(answer)) => return bundle.tags.into_iter().zip(answer.into_inner().results).collect(),
        Ok(Err(status)) if was_never_sent(&status) => [ErrorCode::BranchUnavailable; 2],
        Ok(Err(status)) => {
            tracing::warn!(code = ?status.code(), "a peer did not answer a forwarded batch");
            [false, true].map(unanswered)
        }
        Err(_) => [false, true].map(unanswered),
    };
    let refusals = failure.map(|code| match Declined::new(code) {
        declined if is_shared => outbound::refused(&declined.with(metadata::MOVING, true)),
        declined => outbound::refused(&declined),
    });
    let pairs = bundle.tags.into_iter().zip(writes);
    pairs.map(|(tag, is_write)| (tag, refusals[usize::from(is_write)].clone())).collect()
}

/// Whether an operation is stored under an id.
pub(super) fn is_write(operation: &wire::Operation) -> bool {
    use wire::operation::Kind::{GetAccount, GetCustomer, GetHold, GetTransfer, Query};
    !matches!(&operation.kind, None | Some(Query(_) | GetAccount(_) | GetCustomer(_) | GetTransfer(_) | GetHold(_)))
}

/// Whether a call failed before anything of it left this machine.
fn was_never_sent(status: &tonic::Status) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What is said when a teller was asked and did not answer in time.
pub(super) fn unanswered(is_write: bool) -> ErrorCode {
    if is_write { ErrorCode::OutcomeUnknown } else { ErrorCode::BranchUnavailable }
}
