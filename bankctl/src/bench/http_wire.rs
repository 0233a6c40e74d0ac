//! HTTP/1.1 as cheap as it gets: a prepared request, and a reader for what comes back.

use super::orders::Order;
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// JSON lets spaces stand before a number, so every request has the same length.
const CUSTOMER_DIGITS: usize = 16;

/// A deposit or a transfer of 1.00, in which only the customers and the id change.
#[derive(Clone)]
pub(super) struct Request {
    bytes: Vec<u8>,
    customer_at: usize,
    payee_at: Option<usize>,
    key_at: Option<usize>,
}

impl Request {
    pub(super) fn new(host: &str, with_key: bool, is_transfer: bool) -> Request {
        let what = if is_transfer {
            format!(r#""type":"transfer","amount":1,"to_customer_id":{:>CUSTOMER_DIGITS$}"#, 1)
        } else {
            r#""type":"deposit","amount":1"#.to_owned()
        };
        let body = format!(r#"{{"customer_id":{:>CUSTOMER_DIGITS$},{what}}}"#, 1);
        let key = if with_key { format!("idempotency-key: {}\r\n", "0".repeat(32)) } else { String::new() };
        let length = body.len();
        let head = format!(
            "POST /transaction HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{key}\r\n"
        );
        let key_at = if with_key { Some(head.len() - 32 - 4) } else { None };
        let customer_at = head.len() + r#"{"customer_id":"#.len();
        // The payee is the last thing in the body.
        let payee_at = is_transfer.then_some(head.len() + body.len() - 1 - CUSTOMER_DIGITS);
        Request { bytes: (head + &body).into_bytes(), customer_at, payee_at, key_at }
    }

    /// The bytes of this order.
    pub(super) fn fill(&mut self, order: Order) -> &[u8] {
        self.put(self.customer_at, order.customer);
        if let (Some(at), Some(payee)) = (self.payee_at, order.payee) {
            self.put(at, payee);
        }
        if let (Some(at), Some(key)) = (self.key_at, order.key) {
            self.bytes[at..at + key.len()].copy_from_slice(&key);
        }
        &self.bytes
    }

    fn put(&mut self, at: usize, customer: u64) {
        let mut rest = customer;
        for place in self.bytes[at..at + CUSTOMER_DIGITS].iter_mut().rev() {
            // The remainder of a division by ten is one digit.
            *place = if rest == 0 { b' ' } else { b'0' + (rest % 10) as u8 };
            rest /= 10;
        }
    }
}

/// One connection that is kept alive.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// The connection broke, or something else than HTTP/1.1 with a content-length came back;
    /// open a new one.
    pub(super) async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        loop {
            if let Some(answer) = answer(&self.buffer)? {
                self.buffer.drain(..answer.length);
                return Ok(answer);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// What came back, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// For how many seconds it asks to wait.
    pub(super) retry_after: Option<u64>,
    length: usize,
}

/// The answer at the start of the buffer, once all of it is there.
fn answer(buffer: &[u8]) -> io::Result<Option<Answer>> {
    let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let text = std::str::from_utf8(&buffer[..head]).map_err(|_| malformed())?;
    let status = text.get(9..12).and_then(|digits| digits.parse().ok()).ok_or_else(malformed)?;
    let header = |wanted: &str| {
        let mut headers = text.lines().skip(1).filter_map(|line| line.split_once(':'));
        headers.find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then_some(value.trim()))
    };
    let length = header("content-length").and_then(|value| value.parse::<usize>().ok());
    let length = head + 4 + length.ok_or_else(malformed)?;
    // Who is served does not ask.
    let retry_after = if status == 503 { header("retry-after").and_then(|value| value.parse().ok()) } else { None };
    Ok(if buffer.len() < length { None } else { Some(Answer { status, retry_after, length }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_its_length_whoever_pays_in() {
        let mut request = Request::new("127.0.0.1:5002", true, false);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let order = |customer, payee, key| Order { customer, payee, key };
        let first = text(request.fill(order(9_007_199_254_740_991, None, Some([b'a'; 32]))));
        let second = text(request.fill(order(42, None, Some([b'7'; 32]))));
        assert_eq!(first.len(), second.len());
        assert!(first.contains(&format!("idempotency-key: {}\r\n\r\n", "a".repeat(32))), "{first}");
        for (request, customer) in [(first, 9_007_199_254_740_991_u64), (second, 42)] {
            let (head, body) = request.split_once("\r\n\r\n").expect("head and body");
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
            let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(body, serde_json::json!({"customer_id": customer, "type": "deposit", "amount": 1}));
        }
        assert!(!text(Request::new("h", false, false).fill(order(1, None, None))).contains("idempotency-key"));
        let transfer = text(Request::new("h", false, true).fill(order(7, Some(12), None)));
        let body: serde_json::Value =
            transfer.split("\r\n\r\n").nth(1).and_then(|body| serde_json::from_str(body).ok()).expect("JSON");
        assert_eq!(body, serde_json::json!({"customer_id": 7, "type": "transfer", "amount": 1, "to_customer_id": 12}));
    }

    #[test]
    fn an_answer_counts_only_when_all_of_it_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: y\r\n\r\nhelloHTTP/1.1 5";
        for length in 0..whole.len() {
            let expected = if length < 49 { None } else { Some(Answer { status: 200, retry_after: None, length: 49 }) };
            assert_eq!(answer(&whole[..length]).expect("HTTP"), expected, "{length}");
        }
        let refused = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 3\r\ncontent-length: 0\r\n\r\n";
        let length = refused.len();
        assert_eq!(answer(refused).expect("HTTP"), Some(Answer { status: 503, retry_after: Some(3), length }));
        assert!(answer(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(answer(b"SSH-2.0\r\n\r\n").is_err());
    }
}
