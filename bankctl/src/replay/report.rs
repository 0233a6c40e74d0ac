//! The JSON array that a replay prints: one customer a line, in the order of the file.

use super::event_file::EventFile;
use super::script::Received;
use std::fmt::Write as _;

/// Writes the array. Balances are JSON numbers with exactly the digits that count.
pub(super) fn render(file: &EventFile, received: &[Received]) -> String {
    let mut text = String::from("[");
    for (index, customer) in file.customers.iter().enumerate() {
        let own = file.events.iter().zip(received).filter(|(event, _)| event.customer == *customer);
        let own = own.map(|(event, received)| entry(event.kind.interface(), received)).collect::<Vec<_>>();
        let separator = if index == 0 { "\n" } else { ",\n" };
        let _ = write!(text, "{separator}  {{\"id\":{customer},\"recv\":[{}]}}", own.join(","));
    }
    text.push_str("\n]");
    text
}

fn entry(interface: &str, received: &Received) -> String {
    match received {
        Received::Success => format!(r#"{{"interface":"{interface}","result":"success"}}"#),
        Received::Failure => format!(r#"{{"interface":"{interface}","result":"failure"}}"#),
        Received::Balance(balance) => format!(r#"{{"interface":"{interface}","balance":{}}}"#, number(balance)),
    }
}

/// "570.00" as 570 and "570.50" as 570.5: text all the way, so that no digit is lost.
fn number(decimal: &str) -> &str {
    match decimal.contains('.') {
        true => decimal.trim_end_matches('0').trim_end_matches('.'),
        false => decimal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balances_keep_the_digits_that_count_and_no_others() {
        for (decimal, expected) in [
            ("570.00", "570"),
            ("570.25", "570.25"),
            ("570.50", "570.5"),
            ("0.00", "0"),
            ("100", "100"),
            ("-3.10", "-3.1"),
            ("90071992547409930.07", "90071992547409930.07"),
        ] {
            assert_eq!(number(decimal), expected);
        }
    }

    #[test]
    fn the_report_is_json_with_a_line_for_every_customer() {
        let text = r#"[{"id": 2, "type": "customer", "events": [{"id": 3, "interface": "query"}]},
            {"id": 1, "type": "customer", "events": [{"id": 1, "interface": "withdraw", "money": 9}, {"id": 4, "interface": "query"}]},
            {"id": 1, "type": "branch", "balance": 5}, {"id": 2, "type": "branch", "balance": 5}]"#;
        let file = EventFile::parse(text.as_bytes(), false).expect("a file");
        let received = [Received::Failure, Received::Balance("5.00".into()), Received::Balance("5.25".into())];
        let report = render(&file, &received);
        insta::assert_snapshot!(report, @r#"
        [
          {"id":2,"recv":[{"interface":"query","balance":5}]},
          {"id":1,"recv":[{"interface":"withdraw","result":"failure"},{"interface":"query","balance":5.25}]}
        ]
        "#);
        serde_json::from_str::<serde_json::Value>(&report).expect("JSON");
    }
}
