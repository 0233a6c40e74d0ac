//! The moment something was booked.

use std::fmt;

/// Microseconds since 1970-01-01T00:00:00Z, written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// As a protobuf message.
    #[must_use]
    pub fn to_wire(self) -> prost_types::Timestamp {
        prost_types::Timestamp {
            seconds: self.0.div_euclid(1_000_000),
            // Below a thousand million.
            nanos: i32::try_from(self.0.rem_euclid(1_000_000) * 1000).unwrap_or(0),
        }
    }

    /// From a protobuf message; parts of a microsecond are dropped. None when it is out of range.
    #[must_use]
    pub fn from_wire(wire: &prost_types::Timestamp) -> Option<Timestamp> {
        let nanos = u32::try_from(wire.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        let micros = wire.seconds.checked_mul(1_000_000)?;
        micros.checked_add(i64::from(nanos / 1000)).map(Timestamp)
    }

    /// The time since an earlier moment; nothing when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> std::time::Duration {
        let micros = i128::from(self.0) - i128::from(earlier.0);
        std::time::Duration::from_micros(u64::try_from(micros.max(0)).unwrap_or(u64::MAX))
    }

    /// Reads RFC 3339 text with any offset. None when it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Timestamp> {
        // A zone's name in brackets would be read over, even where it contradicts the offset.
        let plain = Some(text).filter(|text| !text.contains('['));
        plain.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(|moment| Timestamp(moment.as_microsecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(moment) => write!(f, "{moment:.6}"),
            Err(_) => write!(f, "{} microseconds since 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc_with_microseconds() {
        let moment = Timestamp(1_795_000_000_000_001);
        assert_eq!(moment.to_string(), "2026-11-18T11:06:40.000001Z");
        assert_eq!(Timestamp::parse("2026-11-18T12:06:40.000001+01:00"), Some(moment));
        assert_eq!(Timestamp::from_wire(&moment.to_wire()), Some(moment));
        assert_eq!(Timestamp::parse("yesterday"), None);
        assert_eq!(Timestamp::parse("2026-11-18T11:06:40Z[Europe/Paris]"), None);
    }

    #[test]
    fn any_moment_that_is_read_is_written_so_that_it_is_read_again() {
        // The years 1 to 9999, which RFC 3339 can write.
        let years = -62_135_596_800_000_000..=253_402_207_200_000_000_i64;
        bolero::check!().with_type::<(Vec<u8>, i64, i32)>().for_each(|(bytes, number, nanos)| {
            let text = String::from_utf8_lossy(bytes);
            let wire = prost_types::Timestamp { seconds: *number, nanos: *nanos };
            let written = Timestamp(number % years.end());
            for moment in [Timestamp::parse(&text), Timestamp::from_wire(&wire), Some(written)].into_iter().flatten() {
                assert_eq!(Timestamp::from_wire(&moment.to_wire()), Some(moment));
                let shown = moment.to_string();
                assert!(!years.contains(&moment.0) || Timestamp::parse(&shown) == Some(moment), "{shown}");
            }
        });
    }
}
