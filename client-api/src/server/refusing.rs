//! [`Refusing`] stands between hyper and the socket, so that whoever is refused gets to read why.
//!
//! What is no HTTP at all never reaches a handler: hyper refuses it by itself, with an empty answer, and
//! here that becomes a problem like every other refusal. And a connection that is closed with bytes unread
//! is reset, which can destroy the answer on its way, so they are read and thrown away.
//!
//! Two are closed without a word, because hyper has none for them: who begins with the preface of HTTP/2, and
//! who does not send a whole head in time.

use crate::app::App;
use crate::problem::Problem;
use crate::request_id::REQUEST_ID;
use axum::http::{Method, StatusCode};
use bank_proto::ErrorCode;
use bytes::{Buf as _, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How much of what the caller still sends is thrown away before the connection is closed, and for how long.
const LINGER_BYTES: usize = 64 * 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Whose turn it is on one connection. While no request is being answered, whatever hyper writes is its own.
#[derive(Debug, Default)]
pub(super) struct Turn {
    state: AtomicU8,
    /// A handler let go of a body before its end.
    has_unread: AtomicBool,
}

/// A handler has the request.
const ASKED: u8 = 1;
/// The handler has answered; the answer is not yet flushed.
const ANSWERED: u8 = 2;
/// Nothing is owed.
const QUIET: u8 = 0;

impl Turn {
    /// A request goes to its handler.
    pub(super) fn ask(&self) {
        self.state.store(ASKED, Ordering::Relaxed);
    }

    /// The handler has answered.
    pub(super) fn answer(&self) {
        self.state.store(ANSWERED, Ordering::Relaxed);
    }

    /// The request's body, watched.
    pub(super) fn watch(self: Arc<Turn>, body: Incoming) -> Watched {
        Watched { body, turn: self }
    }

    fn flushed(&self) {
        // One task drives the connection and its handler, so nothing comes between.
        if self.state.load(Ordering::Relaxed) == ANSWERED {
            self.state.store(QUIET, Ordering::Relaxed);
        }
    }

    fn is_quiet(&self) -> bool {
        self.state.load(Ordering::Relaxed) == QUIET
    }
}

/// The body of a request; tells whether it was read to its end.
pub(super) struct Watched {
    body: Incoming,
    turn: Arc<Turn>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            self.turn.has_unread.store(true, Ordering::Relaxed);
        }
    }
}

/// A connection whose refusals are problems.
pub(super) struct Refusing<S> {
    inner: S,
    turn: Arc<Turn>,
    app: Arc<App>,
    /// What is left to write of a problem.
    refusal: Bytes,
    /// Set once the connection is being closed with bytes unread.
    linger: Option<Linger>,
}

/// Reading on after the last answer.
struct Linger {
    bytes: usize,
    until: Pin<Box<Sleep>>,
}

impl<S> Refusing<S> {
    pub(super) fn new(inner: S, turn: Arc<Turn>, app: Arc<App>) -> Refusing<S> {
        Refusing { inner, turn, app, refusal: Bytes::new(), linger: None }
    }

    /// Whether hyper is about to write a refusal of its own; from then on the problem is written in its place.
    fn is_refusing(&mut self, bytes: &[u8]) -> bool {
        if self.refusal.is_empty() && self.turn.is_quiet() {
            let Some((status, head)) = own_refusal(bytes) else { return false };
            let (code, text) = problem(&self.app, status, head);
            self.app.metrics.record(self.app.metrics.route(None, &Method::GET), code, Duration::ZERO);
            self.refusal = Bytes::from(text);
            self.turn.has_unread.store(true, Ordering::Relaxed);
        }
        !self.refusal.is_empty()
    }
}

/// The status and the head, without its end, of an empty answer that refuses.
fn own_refusal(bytes: &[u8]) -> Option<(u16, &str)> {
    let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "))?.get(..3)?;
    status.parse().ok().filter(|status| (400..500).contains(status)).map(|status| (status, head))
}

/// The whole answer in place of hyper's, keeping what its head says of date and connection.
fn problem(app: &App, status: u16, head: &str) -> (StatusCode, Vec<u8>) {
    let problem = match status {
        414 | 431 => Problem::new(
            ErrorCode::RequestHeadTooLarge,
            format!("the address and the headers may have {} bytes together; send less", super::BUFFER_BYTES),
        ),
        _ => Problem::new(
            ErrorCode::InvalidRequest,
            "this is not an HTTP/1.1 request: its first line, a header or its Content-Length is malformed",
        ),
    };
    let request_id = format!("{:032x}", app.entropy.draw());
    let body = serde_json::to_vec(&problem.body(Some(&request_id))).unwrap_or_default();
    let code = StatusCode::from_u16(problem.code().http_status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut text = format!("HTTP/1.1 {code}\r\n");
    let kept = head.lines().skip(1).filter(|line| !line.to_ascii_lowercase().starts_with("content-length:"));
    kept.for_each(|line| text.extend([line, "\r\n"]));
    let (length, id) = (body.len(), REQUEST_ID);
    text += &format!(
        "content-type: application/problem+json\r\ncache-control: no-store\r\n{id}: {request_id}\r\ncontent-length: {length}\r\n\r\n"
    );
    let mut text = text.into_bytes();
    text.extend(body);
    (code, text)
}

impl<S: AsyncWrite + Unpin> Refusing<S> {
    fn poll_refuse(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.refusal.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_write(context, &self.refusal))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.refusal.advance(bytes),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Refusing<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Refusing<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.is_refusing(bytes) {
            return Pin::new(&mut this.inner).poll_write(context, bytes);
        }
        ready!(this.poll_refuse(context))?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match parts.first() {
            Some(first) if this.is_refusing(first) => {
                ready!(this.poll_refuse(context))?;
                Poll::Ready(Ok(first.len()))
            }
            _ => Pin::new(&mut this.inner).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_flush(context))?;
        this.turn.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
        if !this.turn.has_unread.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let begin = || Linger { bytes: 0, until: Box::pin(tokio::time::sleep(LINGER_TIME)) };
        let linger = this.linger.get_or_insert_with(begin);
        while linger.bytes < LINGER_BYTES && linger.until.as_mut().poll(context).is_pending() {
            let mut bytes = [0; 16 * 1024];
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut this.inner).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => linger.bytes += buffer.filled().len(),
                // The end, or the caller is gone.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_answer_of_the_four_hundreds_is_a_refusal_of_hypers_own() {
        let head = "HTTP/1.1 400 Bad Request\r\nconnection: close";
        assert_eq!(own_refusal(format!("{head}\r\n\r\n").as_bytes()), Some((400, head)));
        for other in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 \u{20ac}\r\n\r\n",
            "HTTP/1.1 4",
            "{}",
            "",
        ] {
            assert_eq!(own_refusal(other.as_bytes()), None, "{other}");
        }
    }
}
