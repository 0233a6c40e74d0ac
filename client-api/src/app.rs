//! What every handler shares.

use crate::bank::Bank;
use crate::environment::Entropy;
use crate::idempotency::IdempotencyKey;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::server::Refusals;
use crate::settings::Auth;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use bank_proto::tls::{Door, Identity};
use bank_proto::traces::{Trace, Traces};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Semaphore;

/// One running client API.
pub(crate) struct App {
    pub(crate) bank: Bank,
    pub(crate) metrics: Metrics,
    pub(crate) auth: Auth,
    pub(crate) entropy: Entropy,
    /// Where sampled requests are told.
    pub(crate) traces: Traces,
    /// The OpenAPI description, written once.
    pub(crate) openapi: Bytes,
    /// How many requests are in work, and how many may be.
    pub(crate) in_flight: InFlight,
    /// How many were refused lately because of that.
    pub(crate) refusals: Refusals,
    /// Who it is before the branch servers, and what callers are shown; None without TLS.
    pub(crate) identity: Option<Identity>,
    pub(crate) door: Option<Door>,
    /// How many connections are served at once.
    pub(crate) connections: usize,
    /// How many refused bodies may be read to their end at once; see `json`.
    pub(crate) discards: Arc<Semaphore>,
}

/// Who asks, as far as the bank needs to know: put into each request by the envelope.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Goes with the request into every log.
    pub(crate) request_id: Arc<str>,
    /// Makes a write repeatable; reads have none.
    pub(crate) key: Option<IdempotencyKey>,
    /// When the request is sampled.
    pub(crate) trace: Option<Trace>,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _app: &Arc<App>) -> Result<Caller, Problem> {
        // Every route is inside the envelope.
        parts.extensions.remove::<Caller>().ok_or_else(Problem::internal)
    }
}

/// Counts the requests in work against a limit.
#[derive(Debug)]
pub(crate) struct InFlight {
    count: AtomicU32,
    limit: u32,
}

/// One request in work; ends when dropped.
pub(crate) struct Place<'a>(&'a InFlight);

impl InFlight {
    pub(crate) fn new(limit: u32) -> InFlight {
        InFlight { count: AtomicU32::new(0), limit }
    }

    pub(crate) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// A place for one more request; None when all are taken.
    pub(crate) fn enter(&self) -> Option<Place<'_>> {
        let place = Place(self);
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        (before < self.limit).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let in_flight = InFlight::new(1);
        let first = in_flight.enter();
        assert!(first.is_some());
        assert!(in_flight.enter().is_none());
        drop(first);
        assert_eq!(in_flight.count(), 0);
        assert!(in_flight.enter().is_some());
    }
}
