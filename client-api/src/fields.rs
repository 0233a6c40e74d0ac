//! The fields that requests have in common: from JSON to the bank's words.

use crate::bank::Target;
use crate::problem::Problem;
use bank_proto::{BranchId, Currency, CustomerId, ErrorCode, InvalidAmount, Money, limits};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IntoDeserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// What belongs into a field of a body, going on after its name, and the code of its refusal. No two
/// requests give one name to different things.
pub(crate) fn rule_of(path: &str) -> (ErrorCode, &'static str) {
    // Whatever stands inside a field is the field's: its name may be anything.
    let field = path.split(['.', '[']).next().unwrap_or(path);
    match field {
        "customer_id" | "from_customer_id" | "to_customer_id" => (ErrorCode::InvalidCustomerId, CUSTOMER_ID),
        "joint_holders" if path == field => {
            (ErrorCode::InvalidCustomerId, "must be a list of customer numbers, such as [2, 3]")
        }
        "joint_holders" => (ErrorCode::InvalidCustomerId, CUSTOMER_ID),
        "branch_id" => (ErrorCode::InvalidBranchId, "must be a branch number: an integer such as 1, without quotes"),
        "amount" | "initial_balance" | "overdraft_limit" => {
            (ErrorCode::InvalidAmount, "must be a plain decimal number such as 100 or \"100.50\"")
        }
        "wait_ms" => (ErrorCode::InvalidRequest, "must be a number of milliseconds from 0 to 30000, without quotes"),
        "account_number" | "from_account_number" | "to_account_number" => {
            (ErrorCode::InvalidAccountNumber, "must be an account number: 16 digits in quotes")
        }
        "currency" => (ErrorCode::InvalidCurrency, "must be an ISO 4217 code in quotes, such as \"USD\""),
        "idempotency_key" => (ErrorCode::InvalidIdempotencyKey, "must be 1 to 255 bytes of printable text, in quotes"),
        "type" | "product" => (ErrorCode::InvalidRequest, "must be a word in quotes; /docs lists them"),
        "metadata" if path == field => {
            (ErrorCode::InvalidRequest, "must be an object of texts in quotes, in which no key is there twice")
        }
        "operations" => (ErrorCode::InvalidRequest, "must be a list of operations"),
        "memo" | "name" | "metadata" => (ErrorCode::InvalidRequest, "must be a text in quotes"),
        _ => (ErrorCode::InvalidRequest, "must be as /docs describes it"),
    }
}

const CUSTOMER_ID: &str = "must be a customer number: an integer from 1 to 9007199254740991, without quotes";

/// A customer's number: a JSON integer, nothing that only looks like one.
pub(crate) fn customer_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CustomerId, D::Error> {
    deserializer.deserialize_i64(Integer).and_then(|number| CustomerId::new(number).map_err(D::Error::custom))
}

/// A customer's number that may be absent or null.
pub(crate) fn optional_customer_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<CustomerId>, D::Error> {
    struct Optional;

    impl<'de> Visitor<'de> for Optional {
        type Value = Option<CustomerId>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an integer or null")
        }

        fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            customer_id(deserializer).map(Some)
        }
    }

    deserializer.deserialize_option(Optional)
}

/// One of the words that a field may hold.
pub(crate) fn word<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    // Through a string, because derived enums also take objects.
    // What is no string is as wrong as no word at all, and refused with the list of words like it.
    let word = String::deserialize(deserializer).unwrap_or_default();
    T::deserialize(word.into_deserializer())
}

/// One of the words that a field may hold, or nothing.
pub(crate) fn optional_word<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    match Option::<String>::deserialize(deserializer).unwrap_or_else(|_| Some(String::new())) {
        Some(word) => T::deserialize(word.into_deserializer()).map(Some),
        None => Ok(None),
    }
}

/// A branch's number as it was given: any integer, judged later, because one above the bank's number is
/// merely not found.
pub(crate) fn branch_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_i64(Integer)
}

/// A branch by number.
///
/// # Errors
/// INVALID_BRANCH_ID below 1, BRANCH_NOT_FOUND above what any bank can have.
pub(crate) fn branch(number: i64) -> Result<BranchId, Problem> {
    BranchId::new(number).map_err(|wrong| {
        if number < 1 {
            Problem::field(ErrorCode::InvalidBranchId, "branch_id", wrong)
        } else {
            branch_not_found(number)
        }
    })
}

/// The refusal of a branch that the bank does not have.
pub(crate) fn branch_not_found(number: impl fmt::Display) -> Problem {
    Problem::new(ErrorCode::BranchNotFound, format!("the bank has no branch {number}"))
}

/// A customer's checking account, or one by its number: what two fields of these names say.
///
/// # Errors
/// Neither or both are there, or the number is none.
pub(crate) fn target(
    [customer_field, account_field]: [&str; 2],
    customer: Option<CustomerId>,
    account: Option<&str>,
) -> Result<Target, Problem> {
    match (customer, account) {
        (Some(customer), None) => Ok(Target::Customer(customer)),
        (None, Some(number)) => number
            .parse()
            .map(Target::Account)
            .map_err(|wrong| Problem::field(ErrorCode::InvalidAccountNumber, account_field, wrong)),
        (None, None) => {
            let what = format!("is missing; give it or `{account_field}`");
            Err(Problem::field(ErrorCode::InvalidCustomerId, customer_field, what))
        }
        (Some(_), Some(_)) => {
            let what = format!("and `{customer_field}` exclude each other");
            Err(Problem::field(ErrorCode::InvalidRequest, account_field, what))
        }
    }
}

/// How long to wait for a transfer's end.
///
/// # Errors
/// INVALID_REQUEST naming the field.
pub(crate) fn wait_ms(number: Option<i64>) -> Result<Option<u32>, Problem> {
    let Some(number) = number else { return Ok(None) };
    match u32::try_from(number) {
        Ok(wait_ms @ 0..=limits::TRANSFER_WAIT_MS) => Ok(Some(wait_ms)),
        _ => {
            let (code, what) = rule_of("wait_ms");
            Err(Problem::field(code, "wait_ms", what))
        }
    }
}

/// The currency that was asked for; None when none was.
///
/// # Errors
/// INVALID_CURRENCY.
pub(crate) fn currency(text: Option<&str>) -> Result<Option<Currency>, Problem> {
    text.map(|text| text.parse().map_err(|wrong| Problem::field(ErrorCode::InvalidCurrency, "currency", wrong)))
        .transpose()
}

/// A positive amount, a JSON number or a decimal string, exactly as it was written. Where the currency is
/// the account's and only the branch knows it, the branch judges the number of decimals.
///
/// # Errors
/// INVALID_AMOUNT: what is wrong with it.
pub(crate) fn positive_amount(raw: Option<&RawValue>, currency: Option<Currency>) -> Result<String, Problem> {
    /// No amount in any currency is written longer, unless with zeros in front.
    const LONGEST: usize = 40;

    let text = decimal_text("amount", raw)?;
    match Money::parse_positive(&text, currency.unwrap_or(Currency::USD)) {
        Ok(_) => Ok(text.into_owned()),
        Err(InvalidAmount::TooPrecise { .. } | InvalidAmount::TooLarge)
            if currency.is_none() && text.len() <= LONGEST =>
        {
            Ok(text.into_owned())
        }
        Err(wrong) => Err(Problem::field(ErrorCode::InvalidAmount, "amount", wrong)),
    }
}

/// An amount of zero or more, or None when there is none.
///
/// # Errors
/// INVALID_AMOUNT: what is wrong with it.
pub(crate) fn amount_or_zero(
    field: &str,
    raw: Option<&RawValue>,
    currency: Currency,
) -> Result<Option<Money>, Problem> {
    if raw.is_none() {
        return Ok(None);
    }
    let text = decimal_text(field, raw)?;
    Money::parse_not_negative(&text, currency)
        .map(Some)
        .map_err(|wrong| Problem::field(ErrorCode::InvalidAmount, field, wrong))
}

/// Refuses an amount where none belongs; a zero says the same as nothing.
///
/// # Errors
/// INVALID_AMOUNT.
pub(crate) fn no_amount(raw: Option<&RawValue>) -> Result<(), Problem> {
    match amount_or_zero("amount", raw, Currency::USD)? {
        None => Ok(()),
        Some(money) if money.minor() == 0 => Ok(()),
        Some(_) => Err(Problem::field(ErrorCode::InvalidAmount, "amount", "must be absent or zero in a query")),
    }
}

/// The digits of a JSON number, or the text of a JSON string.
fn decimal_text<'a>(field: &str, raw: Option<&'a RawValue>) -> Result<Cow<'a, str>, Problem> {
    let wrong = |what: InvalidAmount| Problem::field(ErrorCode::InvalidAmount, field, what);
    let text = raw.ok_or_else(|| wrong(InvalidAmount::Missing))?.get();
    match text.as_bytes() {
        [b'"', plain @ .., b'"'] if !plain.contains(&b'\\') => Ok(Cow::Borrowed(&text[1..text.len() - 1])),
        [b'"', ..] => serde_json::from_str(text).map(Cow::Owned).map_err(|_| wrong(InvalidAmount::Malformed)),
        [b'-' | b'0'..=b'9', ..] => Ok(Cow::Borrowed(text)),
        _ => Err(wrong(InvalidAmount::Malformed)),
    }
}

/// A text of up to so many bytes, without control characters.
///
/// # Errors
/// INVALID_REQUEST naming the field.
pub(crate) fn bounded(field: &str, text: Option<String>, bytes: usize) -> Result<String, Problem> {
    let text = text.unwrap_or_default();
    let wrong = |what: String| Err(Problem::field(ErrorCode::InvalidRequest, field, what));
    if text.len() > bytes {
        return wrong(format!("has {} bytes, at most {bytes} are allowed", text.len()));
    }
    if text.chars().any(char::is_control) {
        return wrong("must not hold control characters".to_owned());
    }
    Ok(text)
}

/// Free data of a transaction.
///
/// # Errors
/// INVALID_REQUEST naming the field.
pub(crate) fn metadata(entries: Option<Entries>) -> Result<BTreeMap<String, String>, Problem> {
    let Entries(entries) = entries.unwrap_or_default();
    let bytes: usize = entries.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > limits::METADATA_BYTES {
        let what = format!("has {bytes} bytes, at most {} are allowed", limits::METADATA_BYTES);
        return Err(Problem::field(ErrorCode::InvalidRequest, "metadata", what));
    }
    Ok(entries)
}

/// A JSON object of texts in which no key comes twice.
#[derive(Debug, Default)]
pub(crate) struct Entries(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries, D::Error> {
        struct Strict;

        impl<'de> Visitor<'de> for Strict {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object whose values are strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if entries.insert(key, value).is_some() {
                        return Err(A::Error::custom("a key comes twice"));
                    }
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Strict)
    }
}

/// Reads a JSON integer.
struct Integer;

impl Visitor<'_> for Integer {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i64, E> {
        i64::try_from(number).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(json: &str, currency: Option<Currency>) -> Result<String, ErrorCode> {
        let raw: Box<RawValue> = serde_json::from_str(json).expect("JSON");
        positive_amount(Some(&raw), currency).map_err(|problem| problem.code())
    }

    #[test]
    fn amounts_are_read_exactly_from_numbers_and_strings() {
        for (json, text) in [("100", "100"), ("100.10", "100.10"), ("\"0.01\"", "0.01"), (r#""\u0031""#, "1")] {
            assert_eq!(amount(json, Some(Currency::USD)), Ok(text.to_owned()), "{json}");
        }
        let most = "10000000000000.00";
        assert_eq!(amount(most, Some(Currency::USD)), Ok(most.to_owned()));
    }

    #[test]
    fn what_is_not_a_positive_amount_is_refused() {
        let huge = "9".repeat(1000);
        for json in [
            "0",
            "-0",
            "-1",
            "0.00",
            "1e2",
            "1E400",
            "1.001",
            "\"\"",
            "\"1e2\"",
            "\"NaN\"",
            "\" 1\"",
            "true",
            "[1]",
            "{}",
            "\"1,000\"",
            &huge,
        ] {
            assert_eq!(amount(json, Some(Currency::USD)), Err(ErrorCode::InvalidAmount), "{json}");
        }
        assert_eq!(positive_amount(None, None).map_err(|problem| problem.code()), Err(ErrorCode::InvalidAmount));
    }

    #[test]
    fn decimals_of_an_unsaid_currency_are_left_to_the_branch() {
        assert_eq!(amount("1.234", None), Ok("1.234".to_owned()));
        for json in ["-1.00", "1e2", &"9".repeat(1000)] {
            assert_eq!(amount(json, None), Err(ErrorCode::InvalidAmount), "{json}");
        }
    }

    #[test]
    fn a_query_may_say_zero() {
        let judge = |json: &str| {
            let raw: Box<RawValue> = serde_json::from_str(json).expect("JSON");
            no_amount(Some(&raw)).map_err(|problem| problem.code())
        };
        assert!(no_amount(None).is_ok());
        assert_eq!(judge("0"), Ok(()));
        assert_eq!(judge("\"0.00\""), Ok(()));
        for json in ["1", "-1", "\"x\"", "1e0"] {
            assert_eq!(judge(json), Err(ErrorCode::InvalidAmount), "{json}");
        }
    }

    #[test]
    fn metadata_has_no_key_twice() {
        assert!(serde_json::from_str::<Entries>(r#"{"a":"1","b":"2"}"#).is_ok());
        for json in [r#"{"a":"1","a":"2"}"#, r#"{"a":1}"#, r#"["a"]"#, r#"{"a":null}"#] {
            assert!(serde_json::from_str::<Entries>(json).is_err(), "{json}");
        }
    }
}
