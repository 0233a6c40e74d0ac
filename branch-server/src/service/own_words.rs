//! The bank's own words for what tonic refuses before any of the bank's code sees it: a message that
//! cannot be read, one that is too large, a method that does not exist, a caller who waits no longer.

use super::deadline::Deadline;
use super::outbound;
use crate::environment::Clock;
use crate::teller::Declined;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use bank_proto::{ErrorCode, limits};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;

/// Bytes of a call's metadata, counted as HTTP/2 does: what servers commonly take, and far more than a
/// call to the bank needs.
const METADATA_BYTES: usize = 16 * 1024;

/// Bytes of metadata that are read at all, so that a call with too much can be refused in the bank's own
/// words. Beyond these HTTP/2 refuses it by itself, with status 431.
pub(crate) const HEADER_LIST_BYTES: u32 = 4 * METADATA_BYTES as u32;

/// What a refused compression is told beside the refusal: which ones are read.
const ACCEPTED_COMPRESSIONS: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// A gRPC service whose refusals all carry the bank's codes, tonic's own included. Every request
/// gets its [`Deadline`] as an extension.
#[derive(Clone)]
pub(crate) struct OwnWords<S> {
    inner: S,
    clock: Arc<dyn Clock>,
}

impl<S> OwnWords<S> {
    /// Around a generated service.
    pub(crate) fn new(inner: S, clock: Arc<dyn Clock>) -> OwnWords<S> {
        OwnWords { inner, clock }
    }
}

impl<S: NamedService> NamedService for OwnWords<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for OwnWords<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answering<S::Future> {
        if metadata_bytes(request.headers()) > METADATA_BYTES {
            let reason = format!("must have at most {METADATA_BYTES} bytes");
            let declined = Declined::new(ErrorCode::PayloadTooLarge).with("field", "metadata").with("reason", reason);
            return Answering::Refused(Some(outbound::status_of(&declined).into_http()));
        }
        let deadline = Deadline::of(request.headers(), self.clock.instant());
        request.extensions_mut().insert(deadline);
        let too_late = deadline.of_message.map(|moment| Box::pin(tokio::time::sleep_until(moment)));
        Answering::Called { inner: self.inner.call(request), too_late }
    }
}

/// HTTP/2's measure of a list of headers: each counts 32 bytes beside its text.
fn metadata_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

/// An answer on its way.
pub(crate) enum Answering<F> {
    /// Known before the service was called.
    Refused(Option<Response<Body>>),
    /// The service has the request.
    Called {
        /// What it says.
        inner: F,
        /// When its caller waits no longer.
        too_late: Option<Pin<Box<Sleep>>>,
    },
}

impl<F> Future for Answering<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>> + Unpin,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (inner, too_late) = match &mut *self {
            Answering::Refused(refusal) => {
                return refusal.take().map_or(Poll::Pending, |refusal| Poll::Ready(Ok(refusal)));
            }
            Answering::Called { inner, too_late } => (inner, too_late),
        };
        // The answer first: whoever has one gives it, however late.
        if let Poll::Ready(Ok(response)) = Pin::new(inner).poll(context) {
            return Poll::Ready(Ok(in_own_words(response)));
        }
        let Some(too_late) = too_late else { return Poll::Pending };
        // The timers' own clock lags a little behind; tonic's timer must not be the first to see the time.
        if too_late.as_mut().poll(context).is_pending() && Instant::now() < too_late.deadline() {
            return Poll::Pending;
        }
        let declined = Declined::new(ErrorCode::DeadlineExceeded);
        Poll::Ready(Ok(outbound::status_of(&declined).into_http()))
    }
}

/// Leaves alone what is no refusal, and what the bank's own code refused: that has details.
fn in_own_words(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    let Some(code) = headers.get(Status::GRPC_STATUS) else { return response };
    if headers.contains_key(Status::GRPC_STATUS_DETAILS) || code == "0" {
        return response;
    }
    let refused_compression = headers.contains_key(ACCEPTED_COMPRESSIONS);
    let declined = match Code::from_bytes(code.as_bytes()) {
        Code::Unimplemented if refused_compression => compressed(),
        Code::Unimplemented => Declined::new(ErrorCode::UnknownMethod),
        code => unreadable(code),
    };
    let mut response: Response<Body> = outbound::status_of(&declined).into_http();
    if refused_compression {
        response.headers_mut().insert(ACCEPTED_COMPRESSIONS, HeaderValue::from_static("identity"));
    }
    response
}

/// The refusal of a message for which tonic has this code.
pub(super) fn unreadable(code: Code) -> Declined {
    match code {
        Code::OutOfRange | Code::ResourceExhausted => {
            let reason = format!("must have at most {} bytes; send several smaller ones", limits::GRPC_MESSAGE_BYTES);
            Declined::new(ErrorCode::PayloadTooLarge).with("field", "message").with("reason", reason)
        }
        _ => {
            let reason = "is missing, or is not the message of this method in bank.v1";
            Declined::new(ErrorCode::InvalidRequest).with("field", "message").with("reason", reason)
        }
    }
}

fn compressed() -> Declined {
    let reason = "names a compression that is not known here; send messages uncompressed";
    Declined::new(ErrorCode::UnsupportedCompression).with("field", "grpc-encoding").with("reason", reason)
}

/// What is said on a path that nobody serves: over gRPC, that there is no such method.
pub(crate) async fn nobody(request: Request<axum::body::Body>) -> axum::response::Response {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        let refused = outbound::status_of(&Declined::new(ErrorCode::UnknownMethod));
        refused.into_http::<axum::body::Body>()
    } else {
        (axum::http::StatusCode::NOT_FOUND, "there is nothing here\n").into_response()
    }
}
