//! That the bench runs, counts and verifies; its figures are no test's business.

use super::support::{complaint, run};
use serde_json::{Value, json};

fn measured(arguments: &[&str]) -> Value {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().to_string_lossy();
    let output = run(&[&["bench", "--json", "--dir", &place, "--seconds", "1"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(directory.path()).expect("the directory").count(), 0, "it leaves nothing behind");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn every_scenario_measures_without_errors_and_the_books_agree() {
    for scenario in ["http", "http-open", "grpc", "two-hop", "appenders"] {
        let report = measured(&[scenario, "--connections", "4", "--rate", "200", "--branches", "2"]);
        let measurement = &report["measurements"][0];
        assert!(measurement["operations"].as_u64() > Some(0), "{report}");
        assert_eq!(measurement["errors"], json!(0), "{report}");
        assert_eq!(report["books"]["agree"], json!(true), "{report}");
        let of_the_bank = !["two-hop", "appenders"].contains(&scenario);
        assert_eq!(measurement["fsyncs"].as_u64() > Some(0), of_the_bank, "{report}");
    }
}

#[test]
fn batches_run_exactly_as_many_operations_as_asked_for() {
    for spread in ["uniform", "branch", "hot"] {
        let report = measured(&["grpc-batch", "--operations", "2500", "--spread", spread, "--ids", "server"]);
        assert_eq!(report["measurements"][0]["operations"], json!(2500), "{report}");
        // Ten branches opened, and one more row for each account; rows are told apart from transactions.
        let books = report["books"]["detail"].as_str().expect("a detail");
        assert!(books.starts_with("2,510 transactions in "), "{books}");
    }
}

#[test]
fn takeovers_are_measured_where_there_are_others_to_take_over() {
    let postgres = super::postgres::Postgres::start();
    let store = postgres.url("postgres");
    let measured_in = |servers| {
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path().to_string_lossy().into_owned();
        run(&[
            "bench",
            "takeover",
            "--json",
            "--rounds",
            "1",
            "--servers",
            servers,
            "--store",
            &store,
            "--dir",
            &directory,
        ])
    };
    let alone = measured_in("1");
    assert_eq!(alone.status.code(), Some(64));
    assert!(complaint(&alone).contains("a bank in PostgreSQL of at least two servers"));
    let output = measured_in("2");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for kind in [0, 1] {
        let slowest = report["takeovers"][kind]["slowest_answers_ns"].as_array();
        assert_eq!(slowest.map(Vec::len), Some(2), "{report}");
        assert_eq!(report["measurements"][kind]["errors"], json!(0), "{report}");
    }
    assert_eq!(report["books"]["agree"], json!(true), "{report}");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let refused = run(&["bench", "http", "--dir", "/nowhere"]);
    assert_eq!(refused.status.code(), Some(69));
    assert!(complaint(&refused).contains("cannot write into /nowhere"));
}
