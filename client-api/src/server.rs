//! Connections: accepted up to a limit, watched while they say who they are and send their heads, drained at the end.

mod crowd;
mod refusing;

pub(crate) use crowd::{Crowded, Refusals};

use crate::app::App;
use crate::problem::ToldToWait;
use crate::routes;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use bank_proto::tls::{Door, HANDSHAKE_TIMEOUT, HandshakeError};
use crowd::{EXTRA_CONNECTIONS, EXTRA_HEAD_TIMEOUT, EXTRA_PAUSE, Patience};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use refusing::{Refusing, Turn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::Service as _;

/// A connection that has not sent a whole head by then is closed, idle ones included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a request's head, and of one read.
const BUFFER_BYTES: usize = 64 * 1024;

/// How long to leave a listener alone that cannot accept, as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener and what is served there.
pub(crate) struct Port {
    pub(crate) listener: TcpListener,
    pub(crate) router: Router,
    /// With it HTTPS is spoken; without it plain HTTP.
    pub(crate) door: Option<Door>,
    /// How many connections are served at once.
    pub(crate) connections: usize,
}

/// Serves until `stopping` turns true, then lets requests in work finish for as long as `drain_timeout`.
pub(crate) async fn serve(port: Port, app: Arc<App>, mut stopping: watch::Receiver<bool>, drain_timeout: Duration) {
    let Port { listener, router, door, connections: limit } = port;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop_asked(&mut stopping) => break,
            Some(_) = connections.join_next() => {}
            // Even more wait in the listener's backlog.
            accepted = listener.accept(), if connections.len() < limit + EXTRA_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let is_crowded = connections.len() >= limit;
                    let welcome = if is_crowded { Welcome::Crowded } else { Welcome::Served };
                    let (router, app) = (router.clone(), Arc::clone(&app));
                    connections.spawn(admit(stream, door.clone(), router, app, stopping.clone(), welcome));
                    if is_crowded {
                        tokio::time::sleep(EXTRA_PAUSE).await;
                    }
                }
                Err(failure) => {
                    tracing::warn!(error = %failure, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let drained = tokio::time::timeout(drain_timeout, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!(connections = connections.len(), "requests still in work are cut off");
        connections.shutdown().await;
    }
}

/// Waits until `stopping` turns true.
pub(crate) async fn stop_asked(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stopping.wait_for(|asked| *asked).await;
}

/// How a connection is treated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Welcome {
    /// As long as it wants.
    Served,
    /// For one request, because all connections are taken.
    Crowded,
    /// For one refusal, because it speaks plain HTTP where HTTPS is spoken.
    Plain,
}

/// One connection: its requests, and before them the handshake where HTTPS is spoken.
async fn admit(
    stream: TcpStream,
    door: Option<Door>,
    router: Router,
    app: Arc<App>,
    stopping: watch::Receiver<bool>,
    welcome: Welcome,
) {
    // Answers are small and whole: waiting to fill a packet only delays them.
    if let Err(failure) = stream.set_nodelay(true) {
        tracing::debug!(error = %failure, "a connection keeps its delay");
    }
    match door {
        None => converse(stream, router, app, stopping, welcome).await,
        // Apart, because it is several times as large, and plain connections must not pay for it.
        Some(door) => Box::pin(begin(stream, door, router, app, stopping, welcome)).await,
    }
}

/// The handshake, and the requests after it.
async fn begin(
    stream: TcpStream,
    door: Door,
    router: Router,
    app: Arc<App>,
    mut stopping: watch::Receiver<bool>,
    welcome: Welcome,
) {
    let timeout = if welcome == Welcome::Crowded { EXTRA_HEAD_TIMEOUT } else { HANDSHAKE_TIMEOUT };
    let begun = tokio::select! {
        biased;
        () = stop_asked(&mut stopping) => return,
        begun = door.accept(stream, timeout) => begun,
    };
    match begun {
        Ok(stream) => converse(stream, router, app, stopping, welcome).await,
        Err(HandshakeError::Plain(stream)) => {
            converse(stream, routes::https_only(Arc::clone(&app)), app, stopping, Welcome::Plain).await;
        }
        Err(failure) => tracing::debug!(error = %failure, "a connection did not begin"),
    }
}

/// One connection, from its first request to its last.
async fn converse<S>(stream: S, router: Router, app: Arc<App>, mut stopping: watch::Receiver<bool>, welcome: Welcome)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let turn = Arc::new(Turn::default());
    let stream = Refusing::new(stream, Arc::clone(&turn), Arc::clone(&app));
    let patience = Arc::new(Patience::default());
    let stop = stopping.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        turn.ask();
        let (turn, patience, app) = (Arc::clone(&turn), Arc::clone(&patience), Arc::clone(&app));
        if welcome == Welcome::Crowded {
            request.extensions_mut().insert(Crowded);
        }
        let waits = !routes::is_operation(request.uri().path());
        let request = request.map(|body| Body::new(Arc::clone(&turn).watch(body)));
        let (mut router, mut stop) = (router.clone(), stop.clone());
        async move {
            if waits {
                // A stop does not wait for those who were told to wait.
                tokio::select! {
                    biased;
                    () = patience.over() => {}
                    () = stop_asked(&mut stop) => {}
                }
            }
            let answer = router.call(request).await;
            if let Ok(answer) = &answer {
                patience.answered(answer.extensions().get::<ToldToWait>(), &app.entropy);
            }
            turn.answer();
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(if welcome == Welcome::Served { HEAD_TIMEOUT } else { EXTRA_HEAD_TIMEOUT })
        .keep_alive(welcome == Welcome::Served)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop_asked(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(failure) = ended {
        tracing::debug!(error = %failure, "a connection ended early");
    }
}
