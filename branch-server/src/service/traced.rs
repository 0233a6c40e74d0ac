//! What a trace says of an operation at its branch: how long it waited for the teller, what deciding took, and the
//! group commit that made it durable.

use crate::teller::{Answer, Answered, Served};
use bank_proto::traces::{Span, Trace};
use bank_proto::{BranchId, Timestamp};
use std::time::Duration;
use tokio::time::Instant;

/// Where the steps of a sampled operation belong, and since when it waits.
#[derive(Clone)]
pub(super) struct Steps {
    trace: Trace,
    came: Instant,
}

/// One of the sampled operations of a message.
pub(super) struct Traced {
    /// Its place among those that go to the same teller.
    pub(super) place: usize,
    /// Ends with its answer.
    pub(super) span: Span,
    pub(super) steps: Steps,
}

impl Steps {
    /// Those of an operation that comes to a branch now.
    pub(super) fn begin(span: &mut Span, branch: BranchId, now: Instant) -> Steps {
        span.set("florin.branch", i64::from(branch.get()));
        Steps { trace: span.trace(), came: now }
    }

    /// Notes what the teller did.
    pub(super) fn note(&self, served: &Served) {
        // The teller tells the wall's time once for each batch; the rest is measured from there.
        let after = |since: Duration| Timestamp(served.booked_at.0.saturating_add(micros(since)));
        let waited = micros(served.began.saturating_duration_since(self.came));
        let decided = after(served.decided.saturating_duration_since(served.began));
        let durable = after(served.durable.saturating_duration_since(served.began));
        self.trace.note("wait for the teller", Timestamp(served.booked_at.0 - waited), served.booked_at, &[]);
        self.trace.note("decide", served.booked_at, decided, &[]);
        if served.rows > 0 {
            let rows = i64::try_from(served.rows).unwrap_or(i64::MAX);
            self.trace.note("group commit", decided, durable, &[("florin.rows", rows)]);
        }
    }
}

impl Traced {
    /// Notes what the teller did and said.
    pub(super) fn served(&mut self, answered: Option<&Answered>, served: &Served) {
        self.steps.note(served);
        if let Some(Answered { answer: Answer::Refused(declined), .. }) = answered {
            self.span.set("florin.code", declined.code.as_str());
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
