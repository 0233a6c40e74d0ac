//! How a program is asked whether it is ready, by itself: an image that holds nothing but the program has no other
//! that could ask it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long the connection and the answer may take together.
const PATIENCE: Duration = Duration::from_secs(3);

/// As much of an answer as tells its status.
const READY: &[u8] = b"HTTP/1.1 200";

/// Why a program does not count as ready. Whoever asked may ask again.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// Nobody listens, or the connection ended before an answer.
    #[error("{address} cannot be asked: {error}")]
    Unreachable {
        /// Who was asked.
        address: SocketAddr,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// It says that it is not ready, or it is another program.
    #[error("{address}/readyz answers {start:?}")]
    Otherwise {
        /// Who was asked.
        address: SocketAddr,
        /// How the answer begins.
        start: String,
    },
    /// It did not answer in time.
    #[error("{address} does not answer within {} seconds", PATIENCE.as_secs())]
    Silent {
        /// Who was asked.
        address: SocketAddr,
    },
    /// The question could not be put at all.
    #[error("{0}")]
    System(std::io::Error),
}

/// Asks the program that listens on this address of this machine for /readyz, over HTTP/1.1, and waits for
/// its answer a few seconds at most.
///
/// # Errors
/// It does not say that it is ready.
pub fn ask(listening: SocketAddr) -> Result<(), NotReady> {
    let address = from_inside(listening);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NotReady::System)?;
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, status(address)).await });
    match answer {
        Ok(Ok(start)) if start == READY => Ok(()),
        Ok(Ok(start)) => Err(NotReady::Otherwise { address, start: String::from_utf8_lossy(&start).into_owned() }),
        Ok(Err(error)) => Err(NotReady::Unreachable { address, error }),
        Err(_) => Err(NotReady::Silent { address }),
    }
}

/// Where a program that listens on an address is reached on its own machine: every address includes loopback.
fn from_inside(mut listening: SocketAddr) -> SocketAddr {
    match listening.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => listening.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => listening.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listening
}

/// The start of the answer, as long as [`READY`].
async fn status(address: SocketAddr) -> std::io::Result<[u8; READY.len()]> {
    let mut connection = TcpStream::connect(address).await?;
    let question = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(question.as_bytes()).await?;
    let mut start = [0; READY.len()];
    connection.read_exact(&mut start).await?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_on_every_address_is_asked_on_loopback() {
        for (listening, asked) in [
            ("0.0.0.0:50051", "127.0.0.1:50051"),
            ("[::]:50051", "[::1]:50051"),
            ("127.0.0.1:5002", "127.0.0.1:5002"),
            ("10.1.2.3:5002", "10.1.2.3:5002"),
        ] {
            let listening = listening.parse().expect("an address");
            assert_eq!(from_inside(listening).to_string(), asked);
        }
    }
}
