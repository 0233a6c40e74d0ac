//! When a certificate expires: the one thing that is read of its inside here, because rustls does not tell.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Tags of ASN.1 in DER (X.690).
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// When a certificate in DER expires, in seconds since 1970; None when it is not one.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    // RFC 5280, 4.1: Certificate { TBSCertificate { version, serial, algorithm, issuer, validity, ... } ... }
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (mut fields, _) = expect(SEQUENCE, certificate)?;
    if let Some((_, rest)) = expect(VERSION, fields) {
        fields = rest;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        fields = expect(tag, fields)?.1;
    }
    let (validity, _) = expect(SEQUENCE, fields)?;
    let (_, _, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    seconds(tag, std::str::from_utf8(time).ok()?)
}

/// The content of the element with which bytes begin, if it has this tag, and what follows it.
fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// The element with which bytes begin: tag, content, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // So many bytes of length follow; more than four are no certificate's.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn seconds(tag: u8, text: &str) -> Option<i64> {
    let text = match (tag, text.get(..2)?.parse::<u8>().ok()?) {
        // Two digits of the year, from 1950 to 2049.
        (UTC_TIME, 50..) => format!("19{text}"),
        (UTC_TIME, _) => format!("20{text}"),
        (GENERALIZED_TIME, _) => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::certificates::Authority;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    fn certificate(year: i32) -> CertificateDer<'static> {
        let pem = Authority::new().issue_until("a", year).certificate;
        CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")
    }

    #[test]
    fn a_certificate_tells_when_it_expires() {
        // The last is written in the other form of time.
        for (year, seconds) in
            [(1999, 946_598_400), (2020, 1_609_372_800), (2049, 2_524_521_600), (4095, 67_090_032_000)]
        {
            assert_eq!(not_after(&certificate(year)), Some(seconds), "{year}");
        }
    }

    #[test]
    fn what_is_no_certificate_tells_nothing() {
        let whole = certificate(2030);
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length]), None, "{length}");
        }
        for broken in [&[0x30, 0x80][..], &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(not_after(broken), None);
        }
        assert_eq!(seconds(UTC_TIME, "300229000000Z"), None, "no such day");
        assert_eq!(seconds(UTC_TIME, "3"), None);
    }
}
