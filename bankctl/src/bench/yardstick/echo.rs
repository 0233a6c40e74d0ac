//! The second hop: a unary gRPC call that answers at once with a receipt of the usual size.

use bank_proto::wire::{DepositRequest, Receipt};
use std::convert::Infallible;
use std::future::Ready;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

pub(super) async fn serve(address: SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
    tonic::transport::Server::builder().tcp_nodelay(true).add_service(Echo).serve(address).await?;
    Ok(())
}

/// What the generated code of a service with one method would be.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "bank.v1.BankService";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(Echo, request).await) })
    }
}

impl UnaryService<DepositRequest> for Echo {
    type Response = Receipt;
    type Future = Ready<Result<Response<Receipt>, Status>>;

    fn call(&mut self, request: Request<DepositRequest>) -> Self::Future {
        let request = request.into_inner();
        let id = request.transaction_id.unwrap_or_else(|| "0".repeat(32));
        std::future::ready(Ok(Response::new(Receipt {
            transaction_id: format!("1-{id}"),
            customer_id: request.customer_id,
            branch_id: 1,
            account_number: "0001000000000123".to_owned(),
            r#type: "deposit".to_owned(),
            amount: request.amount,
            currency: "USD".to_owned(),
            balance: "1050.00".to_owned(),
            booked_at: Some(bank_proto::Timestamp(0).to_wire()),
            replayed: false,
        })))
    }
}
