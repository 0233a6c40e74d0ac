//! The id that one request carries through logs, answers and branch servers.

use crate::environment::Entropy;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// `X-Request-Id`, in requests and answers.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static(bank_proto::metadata::REQUEST_ID);

/// Longer ids are replaced: they go into logs.
const MAXIMUM_BYTES: usize = 128;

/// The caller's id when it is sane, else a new one.
pub(crate) fn of(headers: &HeaderMap, entropy: &Entropy) -> HeaderValue {
    match headers.get(REQUEST_ID) {
        Some(id) if is_sane(id.as_bytes()) => id.clone(),
        _ => HeaderValue::from_maybe_shared(bytes::Bytes::from(format!("{:032x}", entropy.draw())))
            .unwrap_or(HeaderValue::from_static("unknown")),
    }
}

fn is_sane(id: &[u8]) -> bool {
    (1..=MAXIMUM_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// The id as text; every id here is visible ASCII.
pub(crate) fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(sent: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(sent).expect("a header value"));
        text(&of(&headers, &Entropy::always(10))).to_owned()
    }

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        let made = "0000000000000000000000000000000a";
        assert_eq!(id_for(b"order-17/b"), "order-17/b");
        assert_eq!(id_for(&[b'x'; 128]), "x".repeat(128));
        assert_eq!(id_for(&[b'x'; 129]), made);
        for sent in [b"".as_slice(), b"two words", "caf\u{e9}".as_bytes()] {
            assert_eq!(id_for(sent), made);
        }
        assert_eq!(text(&of(&HeaderMap::new(), &Entropy::always(10))), made);
    }
}
