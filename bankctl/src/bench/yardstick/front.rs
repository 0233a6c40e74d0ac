//! The first hop: an HTTP POST that calls the echo and answers with what came back.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use bank_proto::wire::{DepositRequest, Receipt};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use tonic::Status;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

pub(super) async fn serve(address: SocketAddr, echo: &str) -> Result<(), Box<dyn std::error::Error>> {
    let channel = Endpoint::from_shared(echo.to_owned())?.tcp_nodelay(true).connect_lazy();
    let router = axum::Router::new()
        .route("/transaction", post(transaction))
        .route("/readyz", get(ready))
        .with_state(Grpc::new(channel));
    let listener = tokio::net::TcpListener::bind(address).await?.tap_io(|stream| {
        // Without it the answers would only be slower; nothing to fail for.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, router).await?)
}

#[derive(Deserialize)]
struct Transaction {
    customer_id: i64,
    r#type: String,
    amount: u64,
}

/// The same fields as the bank's answer to a deposit.
#[derive(Serialize)]
struct Answer {
    result: &'static str,
    transaction_id: String,
    customer_id: i64,
    branch_id: u32,
    account_number: String,
    r#type: String,
    amount: String,
    balance: String,
    currency: String,
    booked_at: String,
}

async fn transaction(
    State(echo): State<Grpc<Channel>>,
    headers: HeaderMap,
    Json(body): Json<Transaction>,
) -> Result<Json<Answer>, StatusCode> {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let request = DepositRequest {
        customer_id: body.customer_id,
        amount: body.amount.to_string(),
        transaction_id: key.map(ToOwned::to_owned),
        ..DepositRequest::default()
    };
    let receipt = call(echo, request).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let booked_at = receipt.booked_at.as_ref().and_then(bank_proto::Timestamp::from_wire);
    Ok(Json(Answer {
        result: "success",
        transaction_id: receipt.transaction_id,
        customer_id: receipt.customer_id,
        branch_id: receipt.branch_id,
        account_number: receipt.account_number,
        r#type: body.r#type,
        amount: receipt.amount,
        balance: receipt.balance,
        currency: receipt.currency,
        booked_at: booked_at.map(|moment| moment.to_string()).unwrap_or_default(),
    }))
}

async fn ready(State(echo): State<Grpc<Channel>>) -> StatusCode {
    match call(echo, DepositRequest::default()).await {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn call(mut echo: Grpc<Channel>, request: DepositRequest) -> Result<Receipt, Status> {
    echo.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/bank.v1.BankService/Deposit");
    let answer = echo.unary(tonic::Request::new(request), path, ProstCodec::default()).await?;
    Ok(answer.into_inner())
}
