//! The beginning of a connection: bounded in time, because until it is over nobody knows who is at the other end.

use rustls::ServerConfig;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a handshake may take: two round trips, and the time that a busy machine needs for its signatures.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a caller may be silent before it begins: whoever has connected has everything it needs for that.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(2);

/// The first byte of every handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// Why a connection did not begin. It is over, and the caller may come again; worth a line in the log at debug, because
/// anybody can cause as many as they like.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The caller speaks something else than TLS; nothing was read yet.
    #[error("the caller does not speak TLS")]
    Plain(TcpStream),
    /// The handshake was not over in time.
    #[error("the handshake took longer than {} s", .0.as_secs())]
    Slow(Duration),
    /// The two do not agree, or one does not accept the other's certificate.
    #[error("{0}")]
    Failed(#[from] std::io::Error),
}

/// The whole handshake at the listening end.
pub(super) async fn accept(
    config: Arc<ServerConfig>,
    stream: TcpStream,
    timeout: Duration,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    let handshake = async {
        let mut first = [0];
        let began = tokio::time::timeout(SILENCE_TIMEOUT, stream.peek(&mut first)).await;
        if began.map_err(|_| HandshakeError::Slow(SILENCE_TIMEOUT))?? == 1 && first[0] != HANDSHAKE_RECORD {
            return Err(HandshakeError::Plain(stream));
        }
        Ok(TlsAcceptor::from(config).accept(stream).await?)
    };
    tokio::time::timeout(timeout, handshake).await.unwrap_or(Err(HandshakeError::Slow(timeout)))
}
