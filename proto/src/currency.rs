//! ISO 4217 currencies that money can be counted in.

use std::fmt;
use std::str::FromStr;

/// A currency with a fixed number of decimals (ISO 4217's exponent).
///
/// Codes without an exponent, such as gold (XAU) or the test code (XTS), are not currencies here:
/// an amount in them has no smallest unit to count.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

/// The text is not the alphabetic code of an ISO 4217 currency with decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a three-letter ISO 4217 currency code such as USD")]
pub struct InvalidCurrency;

impl Currency {
    /// The currency that is meant where none is said.
    pub const USD: Currency = Currency(iso_currency::Currency::USD);

    /// The alphabetic code, such as "USD".
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals an amount has: 2 for USD, 0 for JPY, 3 for KWD.
    #[must_use]
    pub fn decimals(self) -> u32 {
        // Checked when the value was made: only currencies with an exponent get in.
        u32::from(self.0.exponent().unwrap_or(0))
    }

    /// The numeric code, such as 840: stable, small and ordered.
    #[must_use]
    pub fn numeric(self) -> u16 {
        self.0.numeric()
    }

    /// The currency with a numeric code; None when there is none with decimals.
    #[must_use]
    pub fn from_numeric(code: u16) -> Option<Currency> {
        iso_currency::Currency::from_numeric(code).filter(|currency| currency.exponent().is_some()).map(Currency)
    }

    /// Every currency that there is.
    pub fn all() -> impl Iterator<Item = Currency> {
        (0..=999).filter_map(Currency::from_numeric)
    }
}

impl FromStr for Currency {
    type Err = InvalidCurrency;

    fn from_str(text: &str) -> Result<Self, InvalidCurrency> {
        match iso_currency::Currency::from_code(text) {
            Some(currency) if currency.exponent().is_some() => Ok(Currency(currency)),
            _ => Err(InvalidCurrency),
        }
    }
}

impl Ord for Currency {
    /// Alphabetic, as reports list them.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code().cmp(other.code())
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_follow_iso_4217() {
        for (code, decimals) in [("USD", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("EUR", 2), ("ISK", 0)] {
            assert_eq!(code.parse::<Currency>().map(Currency::decimals), Ok(decimals), "{code}");
        }
    }

    #[test]
    fn what_cannot_be_counted_is_not_a_currency() {
        for code in ["", "usd", "US", "XAU", "XTS", "XXX", "BTC", "USD "] {
            assert_eq!(code.parse::<Currency>(), Err(InvalidCurrency), "{code}");
        }
    }
}
