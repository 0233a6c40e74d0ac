//! The curl lines of README.md, run as they stand there, and those that `up` says.

use super::support::Bank;
use std::process::Command;

/// The address that the README names; the test's bank listens elsewhere.
const ADDRESS: &str = "http://localhost:5002";

/// What a text shows to type and to be answered: every curl line, and the answers in the same order.
struct Shown {
    commands: Vec<String>,
    answers: Vec<String>,
}

fn shown(text: &str) -> Shown {
    let mut shown = Shown { commands: Vec::new(), answers: Vec::new() };
    for line in text.lines() {
        // Both the README's code and the greeting's are set in.
        let code = line.trim_start();
        if code.starts_with("curl ") {
            shown.commands.push(code.to_owned());
        } else if code.starts_with('{') {
            shown.answers.push(code.to_owned());
        }
    }
    shown
}

/// Runs a line as a shell would and gives what it prints.
fn printed(command: &str) -> String {
    let quiet = command.replacen("curl ", "curl --silent --show-error --noproxy '*' --max-time 60 ", 1);
    let output = Command::new("sh").args(["-c", &quiet]).output().expect("a shell");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Whether a text is as shown, where `...` stands for anything.
fn is_as_shown(text: &str, shown: &str) -> bool {
    let mut parts = shown.split("...");
    let Some(mut rest) = parts.next().and_then(|start| text.strip_prefix(start)) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            let Some(place) = rest.find(middle) else { return false };
            rest = &rest[place + middle.len()..];
        }
    }
    last.map_or(rest.is_empty(), |end| rest.ends_with(end))
}

#[test]
fn three_dots_stand_for_anything_and_all_else_for_itself() {
    let shown = r#"{"a":1,...,"b":"2-09f8...","c":3,...}"#;
    for (text, is_so) in [
        (r#"{"a":1,"x":0,"b":"2-09f8aa","c":3,"y":0}"#, true),
        (r#"{"a":1,"x":0,"b":"2-0000aa","c":3,"y":0}"#, false),
        (r#"{"a":2,"x":0,"b":"2-09f8aa","c":3,"y":0}"#, false),
        (r#"{"a":1,"x":0,"b":"2-09f8aa","c":4,"y":0}"#, false),
        (r#"{"a":1,"x":0,"b":"2-09f8aa","c":3,"y":0"#, false),
    ] {
        assert_eq!(is_as_shown(text, shown), is_so, "{text}");
    }
    assert!(is_as_shown("{}", "{}") && !is_as_shown("{} ", "{}"));
}

#[test]
fn the_readme_shows_what_the_bank_answers() {
    let readme = include_str!("../../../README.md");
    let (_, over_http) = readme.split_once("\n## Over HTTP\n").expect("the section");
    let (over_http, _) = over_http.split_once("\n## ").expect("its end");
    let Shown { commands, answers } = shown(over_http);
    assert_eq!(commands.len(), answers.len(), "every line has its answer");
    assert!(commands.len() >= 5, "{commands:?}");

    let data = tempfile::tempdir().expect("a directory");
    let bank = Bank::up(data.path());
    for (command, answer) in commands.iter().zip(&answers) {
        assert!(command.contains(ADDRESS), "{command}");
        let printed = printed(&command.replace(ADDRESS, &bank.http));
        assert!(is_as_shown(&printed, answer), "{command}\n  prints {printed}\n  README {answer}");
    }
}

#[test]
fn the_lines_that_the_greeting_says_to_try_work() {
    let data = tempfile::tempdir().expect("a directory");
    let (_bank, greeting) = Bank::up_for_people(data.path());
    let commands = shown(&greeting).commands;
    assert_eq!(commands.len(), 3, "{greeting}");
    let answers = [
        r#"{"result":"Branch initialized successfully","branch_id":1,...,"balance":"1000.00",...}"#,
        r#"{"result":"success",...,"amount":"100.00",...,"balance":"1100.00",...}"#,
        r#"{"result":"success",...,"balance":"1100.00",...}"#,
    ];
    for (command, answer) in commands.iter().zip(answers) {
        let printed = printed(command);
        assert!(is_as_shown(&printed, answer), "{command}\n  prints {printed}");
    }
}
