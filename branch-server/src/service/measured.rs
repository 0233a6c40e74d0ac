//! How many calls come for each method, how they end, and how long they take.

use crate::environment::Clock;
use axum::http::{Request, Response};
use bank_proto::wire;
use metrics::{Counter, Histogram};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;

/// Every code that a call can end with, as the gRPC specification names them, in the order of their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The figures of every method of the contract, by path; whatever else is asked for counts together.
pub(crate) struct Methods {
    known: HashMap<String, Arc<Method>>,
    other: Arc<Method>,
}

struct Method {
    name: String,
    /// None of a stream: it lasts as long as its caller wants.
    duration: Option<Histogram>,
    ended: [OnceLock<Counter>; CODES.len()],
}

impl Methods {
    /// The methods of `bank.v1`.
    #[must_use]
    pub(crate) fn of_the_contract() -> Methods {
        // The compiler made it of the contract that everything here is compiled with.
        let files = FileDescriptorSet::decode(wire::FILE_DESCRIPTOR_SET).unwrap_or_default().file;
        let mut known = HashMap::new();
        for file in &files {
            for service in &file.service {
                for method in &service.method {
                    let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                    let is_stream = method.client_streaming() || method.server_streaming();
                    known.insert(format!("/{name}"), Arc::new(Method::new(name, is_stream)));
                }
            }
        }
        Methods { known, other: Arc::new(Method::new("other".to_owned(), true)) }
    }

    fn find(&self, path: &str) -> Arc<Method> {
        Arc::clone(self.known.get(path).unwrap_or(&self.other))
    }
}

impl Method {
    fn new(name: String, is_stream: bool) -> Method {
        let duration =
            (!is_stream).then(|| metrics::histogram!("florin_grpc_request_seconds", "method" => name.clone()));
        Method { name, duration, ended: std::array::from_fn(|_| OnceLock::new()) }
    }

    fn ended(&self, code: Code, began: Instant, ended: Instant) {
        let place = usize::try_from(i32::from(code)).unwrap_or_default().min(CODES.len() - 1);
        let register = || {
            let labels = [("method", self.name.clone()), ("code", CODES[place].to_owned())];
            metrics::counter!("florin_grpc_requests_total", &labels)
        };
        self.ended[place].get_or_init(register).increment(1);
        if let Some(duration) = &self.duration {
            duration.record(ended.duration_since(began));
        }
    }
}

/// A gRPC service whose calls are counted and timed.
#[derive(Clone)]
pub(crate) struct Measured<S> {
    inner: S,
    methods: Arc<Methods>,
    clock: Arc<dyn Clock>,
}

impl<S> Measured<S> {
    /// Around a service.
    pub(crate) fn new(inner: S, methods: Arc<Methods>, clock: Arc<dyn Clock>) -> Measured<S> {
        Measured { inner, methods, clock }
    }
}

impl<S: NamedService> NamedService for Measured<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Measured<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Counted<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Counted<S::Future> {
        let method = self.methods.find(request.uri().path());
        let clock = Arc::clone(&self.clock);
        Counted { began: clock.instant(), inner: self.inner.call(request), method, clock }
    }
}

/// A call under way. One whose caller has gone is not counted.
pub(crate) struct Counted<F> {
    inner: F,
    method: Arc<Method>,
    began: Instant,
    clock: Arc<dyn Clock>,
}

impl<F> Future for Counted<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>> + Unpin,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(answer) = Pin::new(&mut self.inner).poll(context) else { return Poll::Pending };
        let refused = answer.as_ref().ok().and_then(|response| response.headers().get(Status::GRPC_STATUS));
        // What is no refusal says so only after its message.
        let code = refused.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
        self.method.ended(code, self.began, self.clock.instant());
        Poll::Ready(answer)
    }
}
