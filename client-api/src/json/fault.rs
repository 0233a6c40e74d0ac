//! What is wrong with JSON that could not be read, in Florin's own words: never in the parser's.

use crate::fields;
use crate::problem::Problem;
use bank_proto::ErrorCode;
use serde::Deserialize;
use serde_json::error::Category;

/// Reads a text once more, slowly, to tell where it is wrong.
pub(super) fn problem<'a, T: Deserialize<'a>>(text: &'a str, wrong: &serde_json::Error) -> Problem {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let (path, wrong) = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => return malformed(format!("the JSON object ends before {}; send nothing after it", place(wrong))),
        Err(wrong) => (wrong.path().to_string(), wrong.into_inner()),
    };
    let path = if path == "." || path == "?" { None } else { Some(path) };
    match (wrong.classify(), path) {
        (Category::Data, path) => of_field(path, &wrong.to_string()),
        (Category::Syntax | Category::Eof | Category::Io, Some(field)) => {
            let (code, rule) = fields::rule_of(&field);
            Problem::field(code, &field, format_args!("is not written as JSON at {}; it {rule}", place(&wrong)))
        }
        (Category::Eof, None) => malformed(format!("the JSON object is cut off at {}; send it whole", place(&wrong))),
        (Category::Syntax | Category::Io, None) => {
            malformed(format!("the body stops being JSON at {}; send one JSON object", place(&wrong)))
        }
    }
}

fn malformed(detail: String) -> Problem {
    Problem::new(ErrorCode::InvalidRequest, detail)
}

fn place(wrong: &serde_json::Error) -> String {
    format!("line {}, column {}", wrong.line(), wrong.column())
}

/// JSON, but not what belongs there. Serde tells names of fields and words in its text only, between
/// backticks; they are all that is taken from it.
fn of_field(path: Option<String>, text: &str) -> Problem {
    let named = |kind: &str| text.strip_prefix(kind)?.split_once('`').map(|(name, _)| name);
    let at = |name: &str| match &path {
        Some(path) if path != name && !path.ends_with(&format!(".{name}")) => format!("{path}.{name}"),
        _ => name.to_owned(),
    };
    if let Some(name) = named("missing field `") {
        let field = at(name);
        let (code, rule) = fields::rule_of(&field);
        return Problem::field(code, &field, format_args!("is missing; it {rule}"));
    }
    if let Some(name) = named("duplicate field `") {
        let field = at(name);
        return Problem::field(fields::rule_of(&field).0, &field, "is there twice; send it once");
    }
    if text.starts_with("unknown field `") {
        // The name itself may hold backticks; the path has it whole.
        let field = path.unwrap_or_default();
        let what = match expected(text) {
            known if known.is_empty() => "is not known here; no field is".to_owned(),
            known => format!("is not known here; the fields are {known}"),
        };
        return Problem::field(ErrorCode::InvalidRequest, &field, what);
    }
    let Some(field) = path else { return malformed("send one JSON object, in braces".to_owned()) };
    let (code, rule) = fields::rule_of(&field);
    if text.starts_with("unknown variant `") {
        return Problem::field(code, &field, format_args!("must be one of {}", expected(text)));
    }
    Problem::field(code, &field, rule)
}

/// The names of ours that would have been right, as serde lists them last.
fn expected(text: &str) -> String {
    let list = text.rsplit_once(", expected ").map_or("", |(_, list)| list);
    let names: Vec<String> = list.split('`').skip(1).step_by(2).map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
