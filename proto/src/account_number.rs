//! Account numbers that route themselves and catch a mistyped digit.

use crate::BranchId;
use std::fmt;
use std::str::FromStr;

/// An account's place in its branch's books: 1 is the first account ever opened there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountSerial(pub u32);

/// An account's number: 4 digits of its branch, 10 of its serial, 2 check digits
/// (ISO 7064 MOD 97-10, as in an IBAN: every single wrong digit and every swap is caught).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountNumber {
    branch: BranchId,
    serial: AccountSerial,
}

/// The text is not an account number of this bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an account number of 16 digits with valid check digits")]
pub struct InvalidAccountNumber;

impl AccountNumber {
    /// The number of an account at a branch.
    #[must_use]
    pub const fn new(branch: BranchId, serial: AccountSerial) -> AccountNumber {
        AccountNumber { branch, serial }
    }

    /// The branch that keeps the account.
    #[must_use]
    pub const fn branch(self) -> BranchId {
        self.branch
    }

    /// The account's place in its branch's books.
    #[must_use]
    pub const fn serial(self) -> AccountSerial {
        self.serial
    }

    /// The first 14 digits as an integer.
    const fn body(self) -> u64 {
        self.branch.get() as u64 * 10_000_000_000 + self.serial.0 as u64
    }
}

/// ISO 7064 MOD 97-10: the two digits that make the whole number leave 1 when divided by 97.
const fn check_digits(body: u64) -> u64 {
    98 - body * 100 % 97
}

impl fmt::Display for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand, since every answer has one: padding through the formatter goes digit by digit.
        let mut rest = self.body() * 100 + check_digits(self.body());
        let mut digits = [0; 16];
        for digit in digits.iter_mut().rev() {
            // The remainder of a division by ten is one digit.
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for AccountNumber {
    type Err = InvalidAccountNumber;

    fn from_str(text: &str) -> Result<Self, InvalidAccountNumber> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidAccountNumber);
        }
        let number: u64 = text.parse().map_err(|_| InvalidAccountNumber)?;
        let body = number / 100;
        let branch = i64::try_from(body / 10_000_000_000).map_err(|_| InvalidAccountNumber)?;
        let branch = BranchId::new(branch).map_err(|_| InvalidAccountNumber)?;
        let serial = u32::try_from(body % 10_000_000_000).map_err(|_| InvalidAccountNumber)?;
        if serial == 0 || number % 100 != check_digits(body) {
            return Err(InvalidAccountNumber);
        }
        Ok(AccountNumber { branch, serial: AccountSerial(serial) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(branch: u32, serial: u32) -> AccountNumber {
        AccountNumber::new(BranchId::new(i64::from(branch)).expect("a branch"), AccountSerial(serial))
    }

    #[test]
    fn a_number_carries_its_branch_and_check_digits() {
        let text = number(7, 42).to_string();
        assert_eq!(text, "0007000000004210");
        // The check that every IBAN tool makes.
        assert_eq!(text.parse::<u64>().expect("digits") % 97, 1);
        assert_eq!(text.parse(), Ok(number(7, 42)));
    }

    proptest! {
        #[test]
        fn one_wrong_digit_or_one_swap_never_names_another_account(
            branch in 1_u32..=9999, serial in 1_u32.., place in 0_usize..16, digit in 0_u8..10,
        ) {
            let text = number(branch, serial).to_string();
            let mut wrong = text.clone().into_bytes();
            wrong[place] = b'0' + digit;
            let wrong = String::from_utf8(wrong).expect("digits");
            prop_assert_eq!(wrong.parse::<AccountNumber>().is_ok(), wrong == text);
            let mut swapped = text.clone().into_bytes();
            swapped.swap(place, (place + 1) % 16);
            let swapped = String::from_utf8(swapped).expect("digits");
            if place < 15 {
                prop_assert_eq!(swapped.parse::<AccountNumber>().is_ok(), swapped == text);
            }
        }
    }

    #[test]
    fn any_bytes_are_a_number_or_refused_without_panic() {
        bolero::check!().for_each(|bytes| {
            if let Ok(text) = std::str::from_utf8(bytes)
                && let Ok(number) = text.parse::<AccountNumber>()
            {
                assert_eq!(number.to_string(), text);
            }
        });
    }
}
