//! What a server gets instead of a machine.

use bank_proto::Timestamp;
use branch_server::environment::Clock;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Uri};

/// The port of every server.
pub(crate) const PORT: u16 = 50_051;

/// When every simulation begins: some day, in microseconds since 1970.
const BEGIN: i64 = 1_795_000_000_000_000;

/// A wall clock that is wrong, by so many microseconds.
pub(crate) struct WrongClock(pub(crate) Arc<AtomicI64>);

impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        Timestamp(BEGIN + micros(elapsed) + self.0.load(Ordering::Relaxed))
    }

    fn instant(&self) -> tokio::time::Instant {
        tokio::time::Instant::now()
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Which connections have lost something. The simulated network sends nothing again: what a cut swallowed is
/// gone, where TCP would repeat it. So when a cut ends, the connections that it went through are reset, as
/// those of a machine that had long given up on them.
#[derive(Clone, Default)]
pub(crate) struct Wires(Arc<Mutex<Resets>>);

/// How often the connections of each two hosts were reset.
type Resets = BTreeMap<(String, String), watch::Sender<u64>>;

impl Wires {
    /// Resets all connections between two hosts.
    pub(crate) fn reset(&self, one: &str, other: &str) {
        self.between(one, other).send_modify(|resets| *resets += 1);
    }

    fn between(&self, one: &str, other: &str) -> watch::Sender<u64> {
        let (first, second) = if one < other { (one, other) } else { (other, one) };
        let mut wires = self.0.lock().expect("nobody panicked");
        wires.entry((first.to_owned(), second.to_owned())).or_insert_with(|| watch::Sender::new(0)).clone()
    }

    fn wire(&self, one: &str, other: &str, stream: turmoil::net::TcpStream) -> Wire {
        let mut resets = self.between(one, other).subscribe();
        let reset = Box::pin(async move {
            // The sender lives as long as the bank.
            let _ = resets.changed().await;
        });
        Wire { stream, reset }
    }
}

/// The way from a host to others.
pub(crate) fn connect(wires: Wires, own: String) -> impl Fn(&Endpoint) -> Channel + Send + Sync {
    move |endpoint| {
        let (wires, own) = (wires.clone(), own.clone());
        endpoint.connect_with_connector_lazy(tower::service_fn(move |uri: Uri| {
            let (wires, own) = (wires.clone(), own.clone());
            async move {
                let host = uri.host().unwrap_or_default().to_owned();
                let stream = turmoil::net::TcpStream::connect((host.clone(), PORT)).await?;
                Ok::<_, io::Error>(TokioIo::new(wires.wire(&own, &host, stream)))
            }
        }))
    }
}

/// The connections that come in at a host.
pub(crate) async fn incoming(wires: Wires, own: String) -> io::Result<ReceiverStream<io::Result<Wire>>> {
    let listener = turmoil::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            let other = turmoil::reverse_lookup(from.ip()).unwrap_or_default();
            if sender.send(Ok(wires.wire(&own, &other, stream))).await.is_err() {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(receiver))
}

/// One connection.
pub(crate) struct Wire {
    stream: turmoil::net::TcpStream,
    reset: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Wire {
    fn look(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.reset.as_mut().poll(cx) {
            Poll::Ready(()) => {
                // It stays so.
                self.reset = Box::pin(std::future::ready(()));
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for Wire {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.look(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.look(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
