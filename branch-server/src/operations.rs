//! What operators ask over HTTP/1.1, on the same port: /livez, /readyz, /metrics.

use crate::service::Bank;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bank_proto::tls::Identity;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::{Arc, PoisonError};

#[derive(Clone)]
struct Operations {
    metrics: &'static PrometheusHandle,
    bank: Arc<Bank>,
    identity: Option<Identity>,
}

/// The pages.
pub(crate) fn pages(metrics: &'static PrometheusHandle, bank: Arc<Bank>, identity: Option<Identity>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .with_state(Operations { metrics, bank, identity })
}

/// Ready for requests. A damaged branch does not make the server unready: the others go on.
async fn readyz(State(operations): State<Operations>) -> impl IntoResponse {
    if operations.bank.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

async fn metrics_page(State(operations): State<Operations>) -> impl IntoResponse {
    for (branch, open) in operations.bank.hosted() {
        if let Ok(open) = open {
            let waiting = u32::try_from(open.teller.waiting()).unwrap_or(u32::MAX);
            metrics::gauge!("florin_teller_queue_requests", "branch" => branch.to_string()).set(waiting);
            let look = move || {
                let mut reader = open.reader.lock().unwrap_or_else(PoisonError::into_inner);
                (reader.wal_bytes(), reader.journal_bytes())
            };
            // Without an answer the gauges stay as they are.
            if let Ok((wal_bytes, journal_bytes)) = operations.bank.workers().run(look).await {
                metrics::gauge!("florin_journal_wal_bytes", "branch" => branch.to_string()).set(wal_bytes as f64);
                metrics::gauge!("florin_journal_bytes", "branch" => branch.to_string()).set(journal_bytes as f64);
            }
        }
    }
    if let Some(disk) = operations.bank.disk() {
        metrics::gauge!("florin_disk_free_bytes").set(disk.free_bytes as f64);
        metrics::gauge!("florin_disk_reserve_bytes").set(disk.reserve_bytes as f64);
    }
    if let Some(expires_at) = operations.identity.as_ref().and_then(Identity::expires_at) {
        let gauge = metrics::gauge!("florin_certificate_expiry_timestamp_seconds", "certificate" => "tls");
        gauge.set(expires_at as f64);
    }
    operations.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], operations.metrics.render())
}
