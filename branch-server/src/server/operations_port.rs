//! The plain port for those who look after the process: health over gRPC, and /metrics, /livez and /readyz. A kubelet's
//! gRPC probes speak no TLS, and whoever collects metrics needs no certificate of the bank's.

use super::KEEPALIVE;
use axum::Router;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic_health::pb::health_server::{Health, HealthServer};

/// How long answers under way may take when it stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Calls that one connection may have under way: a probe or a scrape has one.
const STREAMS_PER_CONNECTION: u32 = 16;

/// How long a connection lasts, also one that says nothing: who looks again connects again.
const CONNECTION_AGE: Duration = Duration::from_secs(60);

/// A port that serves.
pub(super) struct OperationsPort {
    pub(super) address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl OperationsPort {
    /// Serves these pages and the health service on a listener.
    ///
    /// # Errors
    /// The listener has no address.
    pub(super) fn serve(
        listener: TcpListener,
        pages: Router,
        health: HealthServer<impl Health>,
    ) -> std::io::Result<OperationsPort> {
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let routes = tonic::service::Routes::from(pages).add_service(health);
        let told = async move {
            // The sender may be gone without a word: that means stop as well.
            let _ = stopped.await;
        };
        let server = tonic::transport::Server::builder()
            .accept_http1(true)
            .max_concurrent_streams(Some(STREAMS_PER_CONNECTION))
            .http2_keepalive_interval(Some(KEEPALIVE.0))
            .http2_keepalive_timeout(Some(KEEPALIVE.1))
            .max_connection_age(CONNECTION_AGE)
            .max_connection_age_grace(STOP_TIMEOUT)
            .add_routes(routes)
            .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), told);
        let served = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the operations port ended");
            }
        });
        Ok(OperationsPort { address, stop, served })
    }

    /// Stops it; whoever does not read its answer is not waited for.
    pub(super) async fn stop(self) {
        // Either end may be gone already; then it has stopped.
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(STOP_TIMEOUT, self.served).await;
    }
}
