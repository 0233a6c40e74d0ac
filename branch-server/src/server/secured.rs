//! Connections whose other end has shown a certificate.

use crate::service::Caller;
use bank_proto::tls::{Identity, TlsStream};
use rustls::pki_types::ServerName;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// Callers before the end of their handshakes, the silent ones for two seconds each. More wait in the listener's backlog.
const HANDSHAKES: usize = 1024;

/// How long to leave a listener alone that cannot accept, as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection after its handshake.
pub(super) struct Secured {
    stream: TlsStream<TcpStream>,
    caller: Caller,
}

/// The connections that come in, each after its handshake; those whose certificate is for one of `servers` are branch
/// servers. Dropping the stream closes the listener and what has not come through its handshake.
pub(super) fn incoming(
    listener: TcpListener,
    identity: Identity,
    servers: Vec<ServerName<'static>>,
) -> impl Stream<Item = io::Result<Secured>> + Send + 'static {
    let (secured, connections) = mpsc::channel(1);
    tokio::spawn(accept(listener, identity, servers.into(), secured));
    ReceiverStream::new(connections)
}

async fn accept(
    listener: TcpListener,
    identity: Identity,
    servers: Arc<[ServerName<'static>]>,
    secured: mpsc::Sender<io::Result<Secured>>,
) {
    let mut handshakes = JoinSet::new();
    let mut renewing = pin!(identity.clone().keep_renewed());
    loop {
        tokio::select! {
            biased;
            () = secured.closed() => return,
            () = renewing.as_mut() => return,
            Some(_) = handshakes.join_next() => {}
            accepted = listener.accept(), if handshakes.len() < HANDSHAKES => match accepted {
                Ok((stream, _)) => {
                    let (identity, servers, secured) = (identity.clone(), Arc::clone(&servers), secured.clone());
                    handshakes.spawn(async move {
                        if let Some(connection) = handshake(stream, &identity, &servers).await {
                            // Nobody takes it when the server stops meanwhile.
                            let _ = secured.send(Ok(connection)).await;
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn handshake(stream: TcpStream, identity: &Identity, servers: &[ServerName<'_>]) -> Option<Secured> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    match identity.accept(stream).await {
        Ok(stream) => {
            let is_server = Identity::is_any_of(&stream, servers);
            Some(Secured { stream, caller: if is_server { Caller::BranchServer } else { Caller::Other } })
        }
        Err(error) => {
            tracing::debug!(%error, "a connection did not begin");
            None
        }
    }
}

impl Connected for Secured {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller
    }
}

impl AsyncRead for Secured {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
