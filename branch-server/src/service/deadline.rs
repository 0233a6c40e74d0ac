//! How long a caller waits, counted from the moment when its call arrives.

use axum::http::HeaderMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long a call may take whose caller sets no deadline, and any call at most.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long before its caller gives up the bank gives up on a message that does not come. The work
/// gives up as long before that: whoever knows more about the call speaks first, and tonic, which
/// knows nothing of the bank's codes, never. A timer counts in milliseconds.
const AHEAD: Duration = Duration::from_millis(1);

/// When a call must be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deadline {
    /// Without an answer by then the caller is told that there is none.
    pub(super) of_work: Instant,
    /// Without the whole message by then nothing was done; None when its caller waits for ever.
    pub(super) of_message: Option<Instant>,
}

impl Deadline {
    /// The deadline of a call that arrives now. A timeout that cannot be read is none.
    pub(super) fn of(headers: &HeaderMap, now: Instant) -> Deadline {
        let asked = headers.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(timeout);
        let of_work = asked.map_or(DEFAULT_TIMEOUT, |asked| asked.saturating_sub(2 * AHEAD).min(DEFAULT_TIMEOUT));
        let of_message = asked.map(|asked| now + asked.saturating_sub(AHEAD));
        Deadline { of_work: now + of_work, of_message }
    }
}

/// A grpc-timeout header: up to 8 digits and a unit (gRPC over HTTP/2, "Timeout").
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_gives_up_before_the_message_and_both_before_the_caller() {
        let now = Instant::now();
        let deadline = |text: &'static str| {
            let headers = [("grpc-timeout".parse().expect("a name"), text.parse().expect("a value"))];
            let Deadline { of_work, of_message } = Deadline::of(&headers.into_iter().collect(), now);
            (of_work - now, of_message.map(|moment| moment - now))
        };
        let milliseconds = Duration::from_millis;
        assert_eq!(deadline("50m"), (milliseconds(48), Some(milliseconds(49))));
        assert_eq!(deadline("1n"), (milliseconds(0), Some(milliseconds(0))));
        assert_eq!(deadline("99999999H"), (DEFAULT_TIMEOUT, Some(Duration::from_secs(99_999_999 * 3600) - AHEAD)));
        for unreadable in ["", "S", "1", "123456789S", "1 S", "-1S", "1s"] {
            assert_eq!(deadline(unreadable), (DEFAULT_TIMEOUT, None), "{unreadable}");
        }
    }
}
