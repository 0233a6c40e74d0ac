//! `bankctl status`: the whole running bank at a glance.

use crate::api::{Api, ApiError};
use crate::exit::{self, Exit};
use crate::http::Trust;
use crate::output;
use indicatif::HumanBytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// Which bank, and how long to look.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The client API of the bank.
    #[arg(long, env = "FLORIN_API", default_value = "http://127.0.0.1:5002", value_name = "URL")]
    api: String,
    #[command(flatten)]
    trust: Trust,
    /// How long the rates are measured, in milliseconds.
    #[arg(long, env = "FLORIN_INTERVAL_MS", default_value_t = 1000, value_name = "MS",
          value_parser = clap::value_parser!(u32).range(1..=600_000))]
    interval_ms: u32,
}

/// What was seen.
struct Status {
    /// What `/health` says of each, in the order of their ordinals.
    servers: Vec<Value>,
    branches: Vec<Branch>,
    /// Sums of the customers' accounts, by kind and currency, as of one moment; or the status of an answer without.
    books: Result<Value, u16>,
    audit: Value,
    is_healthy: bool,
}

/// One branch.
struct Branch {
    /// What `/health` says.
    told: Value,
    rows_per_second: Option<u64>,
    /// Transfers that left it and have not ended, and those on their way to it; None where they are not told.
    under_way: Option<(u64, u64)>,
}

/// Looks at the bank.
pub(crate) fn run(arguments: &Arguments, as_json: bool) -> ExitCode {
    let status = match look(arguments) {
        Ok(status) => status,
        Err(error) => return exit::failed(error.exit(), &error),
    };
    if as_json {
        output::json(&status.json());
    } else {
        status.print();
    }
    if status.is_healthy { ExitCode::SUCCESS } else { Exit::Damage.into() }
}

fn look(arguments: &Arguments) -> Result<Status, ApiError> {
    let interval = Duration::from_millis(u64::from(arguments.interval_ms));
    let api = Api::new(&arguments.api, &arguments.trust)?;
    let before = health(&api)?;
    api.wait(interval);
    let health = health(&api)?;
    let whole = |(status, answer): (u16, Value)| if status == 200 { Ok(answer) } else { Err(status) };
    let positions = whole(api.json("/v1/positions")?).ok();
    let books = whole(api.json("/v1/trial-balance")?);
    let rows = |told: &Value| Some((number(told), told["sequence"].as_u64()?));
    let earlier: BTreeMap<u64, u64> = list(&before["branches"]).filter_map(rows).collect();
    let branches = list(&health["branches"]).map(|told| Branch {
        told: told.clone(),
        rows_per_second: rate(earlier.get(&number(told)).copied(), told["sequence"].as_u64(), interval),
        under_way: positions.as_ref().map(|positions| under_way(positions, number(told))),
    });
    Ok(Status {
        servers: list(&health["servers"]).cloned().collect(),
        branches: branches.collect(),
        books,
        audit: health["audit"].clone(),
        is_healthy: health["status"] == "healthy",
    })
}

/// How every branch is. Other programs answer with JSON too, and a door of the bank that is for something else with a
/// problem, whose detail says where to ask.
fn health(api: &Api) -> Result<Value, ApiError> {
    let (status, told) = api.json("/health")?;
    if told["branches"].is_array() {
        return Ok(told);
    }
    let nothing = || format!("/health answers {status} and tells of no branches");
    Err(api.no_bank(told["detail"].as_str().map_or_else(nothing, ToOwned::to_owned)))
}

/// Rows in a second; None of a branch that was away at the beginning or at the end.
fn rate(before: Option<u64>, after: Option<u64>, interval: Duration) -> Option<u64> {
    let rows = u128::from(after?.saturating_sub(before?));
    u64::try_from(rows * 1000 / interval.as_millis().max(1)).ok()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn number(told: &Value) -> u64 {
    told["branch_id"].as_u64().unwrap_or_default()
}

/// What an answer without books means, by its status.
fn without_books(status: u16) -> &'static str {
    match status {
        401 | 403 => "not shown to those who have not signed in",
        // The operations port, which knows how the branches are and no books.
        404 => "not told at this port",
        _ => "not known while a branch is away",
    }
}

/// Transfers from a branch, and to it. Positions are listed once for two branches, from the first one's side.
fn under_way(positions: &Value, branch: u64) -> (u64, u64) {
    let count = |position: &Value, name: &str| position[name].as_u64().unwrap_or_default();
    list(&positions["positions"]).fold((0, 0), |(from, to), position| {
        let (outgoing, incoming) = (count(position, "outgoing"), count(position, "incoming"));
        if count(position, "branch_id") == branch {
            (from + outgoing, to + incoming)
        } else if count(position, "peer_branch_id") == branch {
            (from + incoming, to + outgoing)
        } else {
            (from, to)
        }
    })
}

impl Status {
    fn print(&self) {
        let head = ["branch", "server", "state", "accounts", "rows", "rows a second", "epoch", "sent", "coming"];
        let rows: Vec<Vec<String>> = self.branches.iter().map(|branch| self.row(branch)).collect();
        output::result(&output::table(&head, &rows));
        let reached = self.servers.iter().filter(|server| server["reached"] == true).count();
        output::result(&format!("servers: {reached} of {} reached", self.servers.len()));
        for server in &self.servers {
            if let Some(free) = server["disk_free_bytes"].as_u64() {
                let full = if server["takes_orders"] == false { ": FULL, its branches take no orders" } else { "" };
                output::result(&format!("server {}: {} free on its disk{full}", server["server"], HumanBytes(free)));
            }
        }
        match &self.books {
            Ok(books) => self.print_books(books),
            Err(status) => output::result(&format!("books: {}", without_books(*status))),
        }
        for branch in &self.branches {
            if let Some(detail) = branch.told["detail"].as_str() {
                output::result(&format!("branch {}: {detail}", number(&branch.told)));
            }
        }
        let violations: Vec<&str> = list(&self.audit["violations"]).filter_map(Value::as_str).collect();
        match self.audit["last_agreed_at"].as_str() {
            _ if !violations.is_empty() => output::result(&format!("audit: {}", violations.join("; "))),
            Some(at) => output::result(&format!("audit: the books of all branches agreed at {at}")),
            None => output::result("audit: the books of all branches have not been compared yet"),
        }
    }

    fn row(&self, branch: &Branch) -> Vec<String> {
        let told = &branch.told;
        let count = |value: Option<u64>| value.map_or("-".to_owned(), output::grouped);
        vec![
            number(told).to_string(),
            count(told["server"].as_u64()),
            told["state"].as_str().unwrap_or("-").to_owned(),
            count(told["accounts"].as_u64()),
            count(told["sequence"].as_u64()),
            count(branch.rows_per_second),
            count(told["epoch"].as_u64()),
            count(branch.under_way.map(|(from, _)| from)),
            count(branch.under_way.map(|(_, to)| to)),
        ]
    }

    /// Customers' money, and what is between two branches.
    fn print_books(&self, books: &Value) {
        let text = |line: &Value, name: &str| line[name].as_str().unwrap_or("-").to_owned();
        let customers = ["checking", "savings", "fixed_deposit", "investment"];
        for line in list(&books["lines"]).filter(|line| customers.iter().any(|kind| line["account_kind"] == *kind)) {
            let accounts = output::grouped(line["accounts"].as_u64().unwrap_or_default());
            let (kind, currency) = (text(line, "account_kind"), text(line, "currency"));
            let (credit, debit) = (text(line, "credit"), text(line, "debit"));
            output::result(&format!("{kind}: {credit} {currency} in credit, {debit} overdrawn, {accounts} accounts"));
        }
        for line in list(&books["in_flight"]) {
            output::result(&format!("between branches: {} {}", text(line, "amount"), text(line, "currency")));
        }
    }

    fn json(&self) -> Value {
        let branches = self.branches.iter().map(|branch| {
            let mut told = branch.told.clone();
            told["rows_per_second"] = json!(branch.rows_per_second);
            told["sent_under_way"] = json!(branch.under_way.map(|(from, _)| from));
            told["coming_under_way"] = json!(branch.under_way.map(|(_, to)| to));
            told
        });
        let books = self.books.as_ref().ok();
        json!({
            "healthy": self.is_healthy,
            "servers": self.servers,
            "branches": branches.collect::<Vec<_>>(),
            "lines": books.map(|books| &books["lines"]),
            "in_flight": books.map(|books| &books["in_flight"]),
            "audit": self.audit,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_for_both_branches() {
        let position = |branch: u64, peer: u64, outgoing: u64, incoming: u64| json!({"branch_id": branch, "peer_branch_id": peer, "outgoing": outgoing, "incoming": incoming});
        let positions = json!({"positions": [position(1, 2, 3, 4), position(2, 3, 10, 20), position(1, 3, 100, 0)]});
        assert_eq!(under_way(&positions, 1), (103, 4));
        assert_eq!(under_way(&positions, 2), (14, 23));
        assert_eq!(under_way(&positions, 3), (20, 110));
    }

    #[test]
    fn books_are_missing_for_a_reason() {
        assert_eq!(without_books(401), without_books(403));
        let reasons = [401, 404, 503].map(without_books);
        assert!(reasons[0].contains("signed in") && reasons[1].contains("port") && reasons[2].contains("away"));
        assert_eq!(without_books(504), without_books(503));
    }

    #[test]
    fn a_branch_that_came_back_meanwhile_has_no_rate() {
        let interval = Duration::from_millis(500);
        assert_eq!(rate(Some(1_000), Some(1_100), interval), Some(200));
        assert_eq!((rate(None, Some(1_000_000), interval), rate(Some(5), None, interval)), (None, None));
    }
}
