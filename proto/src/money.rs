//! Exact money: integers of a currency's smallest unit.

use crate::{Currency, limits};
use rust_decimal::Decimal;
use std::fmt;

/// An amount in one currency, counted in minor units (cents for USD, fils for KWD).
///
/// Inside the bank money is always this integer. It becomes decimal text only at the doors.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// Why a text is not an amount. Each says what the caller should send instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAmount {
    /// No text at all.
    #[error("is missing; give a decimal amount such as \"100.50\"")]
    Missing,
    /// Something else than digits with at most one point: words, exponents, signs in the middle.
    #[error("must be a plain decimal number such as 100 or \"100.50\", without exponent or separators")]
    Malformed,
    /// More decimals than the currency has; the bank never rounds.
    #[error("has more than {decimals} decimals, which is what {currency} has; amounts are never rounded")]
    TooPrecise {
        /// The currency meant.
        currency: Currency,
        /// How many decimals it has.
        decimals: u32,
    },
    /// More than one order may name, see [`limits::TRANSACTION_MINOR_UNITS`], or than 64 bits can count.
    #[error(
        "is too large or has too many digits; one order may name at most {} minor units, which is 10000000000000.00 in USD",
        limits::TRANSACTION_MINOR_UNITS
    )]
    TooLarge,
    /// Zero or less where only a positive amount makes sense.
    #[error("must be greater than zero")]
    NotPositive,
    /// Less than zero where zero is still allowed.
    #[error("must not be negative")]
    Negative,
}

impl Money {
    /// An amount counted in minor units: `Money::minor(10_050, Currency::USD)` is 100.50 USD.
    #[must_use]
    pub const fn from_minor(minor: i64, currency: Currency) -> Money {
        Money { minor, currency }
    }

    /// The amount in minor units.
    #[must_use]
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Reads decimal text in major units, exactly: "100", "100.5", "-3.25".
    ///
    /// # Errors
    /// What is wrong with the text and what to send instead; nothing is ever rounded.
    pub fn parse(text: &str, currency: Currency) -> Result<Money, InvalidAmount> {
        DecimalAmount::parse(text)?.count_in(currency)
    }

    /// Reads an amount of an order that must be greater than zero.
    ///
    /// # Errors
    /// As [`Money::parse`] and [`Money::within_order_limit`], and [`InvalidAmount::NotPositive`].
    pub fn parse_positive(text: &str, currency: Currency) -> Result<Money, InvalidAmount> {
        let money = Money::parse(text, currency)?;
        if money.minor > 0 { money.within_order_limit() } else { Err(InvalidAmount::NotPositive) }
    }

    /// Reads an amount of an order that may be zero but not less.
    ///
    /// # Errors
    /// As [`Money::parse`] and [`Money::within_order_limit`], and [`InvalidAmount::Negative`].
    pub fn parse_not_negative(text: &str, currency: Currency) -> Result<Money, InvalidAmount> {
        let money = Money::parse(text, currency)?;
        if money.minor >= 0 { money.within_order_limit() } else { Err(InvalidAmount::Negative) }
    }

    /// The amount, if one order may name so much.
    ///
    /// # Errors
    /// [`InvalidAmount::TooLarge`].
    pub const fn within_order_limit(self) -> Result<Money, InvalidAmount> {
        if self.minor <= limits::TRANSACTION_MINOR_UNITS { Ok(self) } else { Err(InvalidAmount::TooLarge) }
    }

    /// The amount in major units as a decimal, exact and with the currency's decimals.
    #[must_use]
    pub fn to_decimal(self) -> Decimal {
        Decimal::from_i128_with_scale(i128::from(self.minor), self.currency.decimals())
    }
}

/// An exact decimal number whose currency is not known yet: what a caller means by "100.50" when
/// only the account says in which currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DecimalAmount {
    digits: i64,
    decimals: u32,
}

impl DecimalAmount {
    /// Reads decimal text: digits with at most one point between them, and perhaps a minus before.
    ///
    /// # Errors
    /// The text is missing, malformed, or larger than 64 bits count.
    pub fn parse(text: &str) -> Result<DecimalAmount, InvalidAmount> {
        if text.is_empty() {
            return Err(InvalidAmount::Missing);
        }
        let (negative, number) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(InvalidAmount::Malformed),
            None => (number, ""),
        };
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return Err(InvalidAmount::Malformed);
        }
        // Counted downwards from zero when negative, so that i64::MIN can be read as well.
        let sign = if negative { -1 } else { 1 };
        let mut digits: i64 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            digits = shift_in(digits, sign * i64::from(byte - b'0'))?;
        }
        Ok(DecimalAmount { digits, decimals: u32::try_from(fraction.len()).map_err(|_| InvalidAmount::TooLarge)? })
    }

    /// The amount in a currency, exactly.
    ///
    /// # Errors
    /// It has more decimals than the currency, or is larger than 64 bits of minor units count.
    pub fn count_in(self, currency: Currency) -> Result<Money, InvalidAmount> {
        let decimals = currency.decimals();
        if self.decimals > decimals {
            return Err(InvalidAmount::TooPrecise { currency, decimals });
        }
        let mut minor = self.digits;
        for _ in self.decimals..decimals {
            minor = shift_in(minor, 0)?;
        }
        Ok(Money::from_minor(minor, currency))
    }

    /// Whether it is greater than zero, in any currency.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.digits > 0
    }

    /// The number without trailing zeros, as digits and decimals: "100" and "100.00" are the same.
    #[must_use]
    pub const fn normalized(self) -> (i64, u32) {
        let (mut digits, mut decimals) = (self.digits, self.decimals);
        while decimals > 0 && digits % 10 == 0 {
            digits /= 10;
            decimals -= 1;
        }
        (digits, decimals)
    }
}

/// `minor * 10 + digit`, or the refusal when 64 bits do not hold it.
fn shift_in(minor: i64, digit: i64) -> Result<i64, InvalidAmount> {
    minor.checked_mul(10).and_then(|minor| minor.checked_add(digit)).ok_or(InvalidAmount::TooLarge)
}

impl fmt::Display for Money {
    /// Decimal text with all the currency's decimals and without its code: "1050.00".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand and from the last digit, since every answer has two: at most 19 digits, a point and a minus.
        let mut text = [0; 22];
        let mut first = text.len();
        let mut put = |byte| {
            first -= 1;
            text[first] = byte;
        };
        let decimals = self.currency.decimals();
        let mut rest = self.minor.unsigned_abs();
        let mut digits = 0;
        while digits <= decimals || rest > 0 {
            if digits == decimals && decimals > 0 {
                put(b'.');
            }
            // The remainder of a division by ten is one digit.
            put(b'0' + (rest % 10) as u8);
            rest /= 10;
            digits += 1;
        }
        if self.minor < 0 {
            put(b'-');
        }
        f.write_str(std::str::from_utf8(&text[first..]).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {}", self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str, code: &str) -> Result<String, InvalidAmount> {
        let currency = code.parse().expect("a currency");
        Money::parse(text, currency).map(|money| money.to_string())
    }

    #[test]
    fn amounts_are_read_exactly_and_written_with_all_decimals() {
        for (text, code, written) in [
            ("100", "USD", "100.00"),
            ("100.5", "USD", "100.50"),
            ("0.01", "USD", "0.01"),
            ("-0.05", "USD", "-0.05"),
            ("000.10", "USD", "0.10"),
            ("7", "JPY", "7"),
            ("1.234", "KWD", "1.234"),
            ("92233720368547758.07", "USD", "92233720368547758.07"),
            ("-92233720368547758.08", "USD", "-92233720368547758.08"),
        ] {
            assert_eq!(parse(text, code).as_deref(), Ok(written), "{text} {code}");
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused_by_name() {
        let usd = Currency::USD;
        for text in ["1e2", "NaN", "inf", "+1", "1_000", "1,5", " 1", "1 ", ".5", "5.", "-", "1.2.3", "0x1", "١"] {
            assert_eq!(Money::parse(text, usd), Err(InvalidAmount::Malformed), "{text}");
        }
        assert_eq!(Money::parse("", usd), Err(InvalidAmount::Missing));
        assert_eq!(Money::parse("1.001", usd), Err(InvalidAmount::TooPrecise { currency: usd, decimals: 2 }));
        assert_eq!(Money::parse("1.000", usd), Err(InvalidAmount::TooPrecise { currency: usd, decimals: 2 }));
        assert_eq!(Money::parse("92233720368547758.08", usd), Err(InvalidAmount::TooLarge));
        assert_eq!(Money::parse(&"9".repeat(400), usd), Err(InvalidAmount::TooLarge));
        assert_eq!(
            Money::parse(&format!("0.{}", "0".repeat(400)), usd),
            Err(InvalidAmount::TooPrecise { currency: usd, decimals: 2 })
        );
        assert_eq!(Money::parse_positive("10000000000000", usd).map(Money::minor), Ok(1_000_000_000_000_000));
        assert_eq!(Money::parse_positive("10000000000000.01", usd), Err(InvalidAmount::TooLarge));
        assert_eq!(Money::parse_not_negative("10000000000000.01", usd), Err(InvalidAmount::TooLarge));
        assert_eq!(
            InvalidAmount::TooLarge.to_string(),
            "is too large or has too many digits; one order may name at most 1000000000000000 minor units, which is 10000000000000.00 in USD"
        );
        assert_eq!(Money::parse_positive("0", usd), Err(InvalidAmount::NotPositive));
        assert_eq!(Money::parse_positive("-1", usd), Err(InvalidAmount::NotPositive));
        assert_eq!(Money::parse_not_negative("-0.01", usd), Err(InvalidAmount::Negative));
    }

    proptest! {
        #[test]
        fn every_amount_survives_being_written_and_read(minor: i64, code in prop_oneof!["USD", "JPY", "KWD", "CLF"]) {
            let money = Money::from_minor(minor, code.parse().expect("a currency"));
            prop_assert_eq!(Money::parse(&money.to_string(), money.currency()), Ok(money));
            prop_assert_eq!(money.to_decimal().to_string(), money.to_string());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_panic() {
        bolero::check!().for_each(|bytes| {
            if let Ok(text) = std::str::from_utf8(bytes)
                && let Ok(money) = Money::parse(text, Currency::USD)
            {
                assert_eq!(Money::parse(&money.to_string(), Currency::USD), Ok(money));
            }
        });
    }
}
