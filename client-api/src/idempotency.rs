//! The Idempotency-Key: what makes a repeated write harmless.

use crate::environment::Entropy;
use crate::problem::Problem;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bank_proto::{BranchId, ErrorCode, TransactionId, TransactionKey, limits};

/// `Idempotency-Key`, in requests and answers to writes.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// `Idempotent-Replayed: true` marks an answer that was given before.
pub(crate) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Whose keys they are while nobody signs in.
const OPEN_PRINCIPAL: &str = "open";

/// A caller's key for one write: 1 to 255 bytes of printable text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(HeaderValue);

impl IdempotencyKey {
    /// The key of a request: the caller's own, or a new one, so that even a request without a key can be
    /// repeated with the one that comes back in the answer.
    ///
    /// # Errors
    /// INVALID_IDEMPOTENCY_KEY: the header is empty, too long, not printable, or there are several.
    pub(crate) fn of(headers: &HeaderMap, entropy: &Entropy) -> Result<IdempotencyKey, Problem> {
        let mut sent = headers.get_all(IDEMPOTENCY_KEY).iter();
        match (sent.next(), sent.next()) {
            (None, _) => Ok(IdempotencyKey::made(entropy)),
            (Some(key), None) if is_acceptable(key.as_bytes()) => Ok(IdempotencyKey(key.clone())),
            (Some(_), None) => Err(refusal()),
            (Some(_), Some(_)) => Err(Problem::new(
                ErrorCode::InvalidIdempotencyKey,
                "there are several Idempotency-Key headers; send one",
            )),
        }
    }

    /// A key given inside a body.
    ///
    /// # Errors
    /// INVALID_IDEMPOTENCY_KEY, as for the header.
    pub(crate) fn parse(text: &str) -> Result<IdempotencyKey, Problem> {
        match HeaderValue::from_str(text) {
            Ok(key) if is_acceptable(text.as_bytes()) => Ok(IdempotencyKey(key)),
            _ => Err(refusal()),
        }
    }

    fn made(entropy: &Entropy) -> IdempotencyKey {
        let key = bytes::Bytes::from(format!("{:032x}", entropy.draw()));
        // Hex digits are always a header value.
        IdempotencyKey(HeaderValue::from_maybe_shared(key).unwrap_or(HeaderValue::from_static("")))
    }

    /// The key as it comes back in the answer.
    pub(crate) fn header(&self) -> &HeaderValue {
        &self.0
    }

    /// The id under which the branch that owns the money keeps the write for ever.
    pub(crate) fn transaction_id(&self, owner: BranchId) -> TransactionId {
        TransactionId { branch: owner, key: TransactionKey::from_idempotency_key(OPEN_PRINCIPAL, self.text()) }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(self.0.as_bytes()).unwrap_or("")
    }
}

/// What makes one operation of a batch repeatable.
#[derive(Debug, Clone)]
pub(crate) enum OperationKey {
    /// A key of its own, as good as a header: the same operation sent alone meets the same id.
    Own(IdempotencyKey),
    /// Its place in a batch that has a key.
    Place {
        /// The batch's.
        batch: IdempotencyKey,
        /// From 0.
        index: usize,
    },
}

impl OperationKey {
    /// The id under which the branch that owns the money keeps the write for ever.
    pub(crate) fn transaction_id(&self, owner: BranchId) -> TransactionId {
        match self {
            OperationKey::Own(key) => key.transaction_id(owner),
            OperationKey::Place { batch, index } => {
                // A line feed, which no key can hold, keeps these apart from all that a caller can spell.
                let text = format!("{}\n{index}", batch.text());
                TransactionId { branch: owner, key: TransactionKey::from_idempotency_key(OPEN_PRINCIPAL, &text) }
            }
        }
    }
}

fn is_acceptable(key: &[u8]) -> bool {
    (1..=limits::IDEMPOTENCY_KEY_BYTES).contains(&key.len())
        && std::str::from_utf8(key).is_ok_and(|text| !text.chars().any(char::is_control))
}

fn refusal() -> Problem {
    Problem::new(ErrorCode::InvalidIdempotencyKey, "the Idempotency-Key must be 1 to 255 bytes of printable text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_for(sent: &[&[u8]]) -> Result<String, ErrorCode> {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).expect("a header value"));
        }
        IdempotencyKey::of(&headers, &Entropy::always(255))
            .map(|key| key.text().to_owned())
            .map_err(|problem| problem.code())
    }

    #[test]
    fn any_printable_text_up_to_255_bytes_is_a_key() {
        assert_eq!(key_for(&[b"order 17"]), Ok("order 17".to_owned()));
        assert_eq!(key_for(&["\u{20ac}".as_bytes()]), Ok("\u{20ac}".to_owned()));
        assert_eq!(key_for(&[&[b'k'; 255]]), Ok("k".repeat(255)));
        assert_eq!(key_for(&[]), Ok("000000000000000000000000000000ff".to_owned()));
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let refused = Err(ErrorCode::InvalidIdempotencyKey);
        assert_eq!(key_for(&[b""]), refused);
        assert_eq!(key_for(&[&[b'k'; 256]]), refused);
        assert_eq!(key_for(&[b"\xff"]), refused);
        assert_eq!(key_for(&[b"a\tb"]), refused);
        assert_eq!(key_for(&[b"a", b"b"]), refused);
        for text in ["", "a\nb", "a\0"] {
            assert_eq!(
                IdempotencyKey::parse(text).map_err(|problem| problem.code()),
                Err(ErrorCode::InvalidIdempotencyKey)
            );
        }
    }

    #[test]
    fn any_header_is_a_printable_key_or_refused() {
        bolero::check!().for_each(|bytes| {
            let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
            match key_for(&[value.as_bytes()]) {
                Ok(text) => {
                    assert_eq!(text.as_bytes(), bytes, "nothing is lost on the way");
                    assert!((1..=255).contains(&text.len()) && !text.chars().any(char::is_control), "{text:?}");
                }
                Err(code) => assert_eq!(code, ErrorCode::InvalidIdempotencyKey),
            }
            // Alone or inside a batch, the same key is the same id.
            let owner = BranchId::new(1).expect("a branch");
            let id = |key: &IdempotencyKey| key.transaction_id(owner);
            if let Ok(key) =
                std::str::from_utf8(bytes).map_err(drop).and_then(|text| IdempotencyKey::parse(text).map_err(drop))
            {
                assert_eq!(key_for(&[bytes]).as_deref().map(str::as_bytes), Ok(bytes));
                assert_eq!(id(&key), id(&IdempotencyKey(value)));
            }
        });
    }

    #[test]
    fn the_operations_of_a_batch_have_ids_of_their_own() {
        let owner = BranchId::new(1).expect("a branch");
        let key = IdempotencyKey::parse("k").expect("a key");
        let at = |index| OperationKey::Place { batch: key.clone(), index }.transaction_id(owner);
        let own = OperationKey::Own(key.clone()).transaction_id(owner);
        assert_eq!(own, key.transaction_id(owner));
        assert!(own != at(0) && at(0) != at(1));
        assert_eq!(at(0), at(0));
    }
}
