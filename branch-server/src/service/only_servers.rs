//! What branches say to each other is for branch servers alone.

use super::outbound;
use crate::teller::Declined;
use axum::http::{Request, Response};
use bank_proto::ErrorCode;
use std::convert::Infallible;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;
use tower::Service;

/// Who is at the other end of a connection, as its certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// One of the branch servers.
    BranchServer,
    /// Somebody else whom the authority knows.
    Other,
}

/// A gRPC service that only branch servers may call.
#[derive(Clone)]
pub(crate) struct OnlyServers<S> {
    inner: S,
    is_on: bool,
}

impl<S> OnlyServers<S> {
    /// Around a generated service. Off, it lets everybody through: without certificates nobody can be told apart.
    pub(crate) fn new(inner: S, is_on: bool) -> OnlyServers<S> {
        OnlyServers { inner, is_on }
    }
}

impl<S: NamedService> NamedService for OnlyServers<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for OnlyServers<S>
where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<Response<Body>, Infallible>,
        >,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        if self.is_on && request.extensions().get() != Some(&Caller::BranchServer) {
            let refusal = outbound::status_of(&Declined::new(ErrorCode::PermissionDenied)).into_http();
            return Box::pin(std::future::ready(Ok(refusal)));
        }
        self.inner.call(request)
    }
}
