//! `bankctl verify`: re-derives everything from the journals and says whether the books agree.

use crate::exit::{self, Exit};
use crate::output;
use crate::shared_store::{SharedStore, SharedStoreError, StoreArguments};
use bank_proto::BranchId;
use branch_server::data_directory::{BankFile, branch_directory};
use branch_server::journal::sqlite::{Retirement, retirement};
use branch_server::verify::{self, Agreement, Report};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to verify.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The data directory of a bank, stopped or running.
    #[arg(long, env = "FLORIN_DATA", default_value = "./data", value_name = "DIR")]
    data: PathBuf,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Debug, thiserror::Error)]
enum VerifyError {
    #[error("there is no bank in {path}: {error}")]
    NoBank { path: PathBuf, error: std::io::Error },
    #[error("{path} is damaged: {error}")]
    BankFile { path: PathBuf, error: serde_json::Error },
    #[error(transparent)]
    Store(#[from] SharedStoreError),
}

impl VerifyError {
    fn exit(&self) -> Exit {
        match self {
            VerifyError::NoBank { .. } => Exit::Unavailable,
            VerifyError::BankFile { .. } => Exit::Damage,
            VerifyError::Store(error) => error.exit(),
        }
    }
}

/// What was found in a data directory.
struct Books {
    findings: Vec<Finding>,
    /// Whether the branches tell the same story of the transfers between them.
    transfers: Result<Agreement, String>,
}

/// What was found at one branch.
struct Finding {
    branch: BranchId,
    found: Found,
}

enum Found {
    /// Its directory is not below this one.
    NotHere,
    /// What is here is an old copy: the branch moved to the server with this ordinal.
    Moved(u32),
    /// Its books, and whether they agree.
    Books(Box<Result<Report, verify::VerifyError>>),
}

/// Verifies every branch.
pub(crate) fn run(arguments: &Arguments, as_json: bool) -> ExitCode {
    let examined = arguments.store.shared().map_err(VerifyError::from).and_then(|shared| match shared {
        Some(shared) => examine_shared(&shared),
        None => examine(&arguments.data),
    });
    let findings = match examined {
        Ok(findings) => findings,
        Err(error) => return exit::failed(error.exit(), &error),
    };
    let Books { findings, transfers } = findings;
    // Of a branch that is not here, or not whole, nothing can be said together with others.
    let left_out: Vec<u32> =
        findings.iter().filter(|finding| finding.report().is_none()).map(|finding| finding.branch.get()).collect();
    let first_wrong = findings.iter().find_map(Finding::wrong).or_else(|| transfers.as_ref().err().cloned());
    if as_json {
        let branches = findings.iter().map(Finding::json).collect::<Vec<_>>();
        let transfers = match &transfers {
            Ok(transfers) => json!({
                "verdict": "agrees",
                "ended": transfers.ended,
                "in_flight": transfers.in_flight,
                "branches_left_out": left_out,
            }),
            Err(what) => json!({"verdict": "wrong", "detail": what, "branches_left_out": left_out}),
        };
        output::json(&json!({"agree": first_wrong.is_none(), "branches": branches, "transfers": transfers}));
    } else {
        let head = ["branch", "rows", "transactions", "group commits", "accounts", "verdict"];
        output::result(&output::table(&head, &findings.iter().map(Finding::row).collect::<Vec<_>>()));
        if let Ok(transfers) = &transfers {
            let [ended, in_flight] = [transfers.ended, transfers.in_flight].map(output::grouped);
            output::result(&format!("between branches: {ended} transfers ended alike at both, {in_flight} under way"));
            if !left_out.is_empty() {
                let left_out = left_out.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                output::result(&format!("not compared with any other: the transfers of branches {left_out}"));
            }
        }
    }
    match first_wrong {
        Some(wrong) => exit::failed(Exit::Damage, &format!("the books do not agree: {wrong}")),
        None => ExitCode::SUCCESS,
    }
}

/// Whether the books in this data directory agree: what was checked, or what is wrong first.
pub(crate) fn books(data: &Path) -> Result<String, String> {
    summary(examine(data))
}

/// The same of the books in a database.
pub(crate) fn books_in(shared: &SharedStore) -> Result<String, String> {
    summary(examine_shared(shared))
}

/// What books that agree hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proved {
    pub(crate) branches: u32,
    pub(crate) rows: u64,
    pub(crate) transactions: u64,
}

/// Proves all branches of a bank that nobody writes to: every one must be there, and all must agree.
pub(crate) fn prove(books: &verify::Books, branches: u32) -> Result<Proved, String> {
    let Books { findings, transfers } = examine_books(books, branches, |_| None);
    if let Some(wrong) = findings.iter().find_map(Finding::wrong) {
        return Err(wrong);
    }
    transfers?;
    let sum = |of: fn(&Report) -> u64| findings.iter().filter_map(Finding::report).map(of).sum();
    Ok(Proved { branches, rows: sum(|report| report.rows), transactions: sum(|report| report.transactions) })
}

fn summary(examined: Result<Books, VerifyError>) -> Result<String, String> {
    let Books { findings, transfers } = examined.map_err(|error| error.to_string())?;
    if let Some(wrong) = findings.iter().find_map(Finding::wrong) {
        return Err(wrong);
    }
    transfers?;
    let reports = findings.iter().filter_map(Finding::report);
    let (branches, rows, transactions) = reports
        .fold((0_u64, 0_u64, 0_u64), |(branches, rows, transactions), report| {
            (branches + 1, rows + report.rows, transactions + report.transactions)
        });
    let [rows, transactions] = [rows, transactions].map(output::grouped);
    Ok(format!("{transactions} transactions in {rows} rows of {branches} branches"))
}

fn examine(data: &Path) -> Result<Books, VerifyError> {
    let path = data.join("bank.json");
    let text = std::fs::read(&path).map_err(|error| VerifyError::NoBank { path: data.to_owned(), error })?;
    let bank: BankFile = serde_json::from_slice(&text).map_err(|error| VerifyError::BankFile { path, error })?;
    let absent = |branch| match (branch_directory(data, branch).is_dir(), successor(data, branch, bank.branches)) {
        (false, _) => Some(Found::NotHere),
        (true, Some(server)) => Some(Found::Moved(server)),
        (true, None) => None,
    };
    Ok(examine_books(&verify::Books::Directory(data.to_owned()), bank.branches, absent))
}

fn examine_shared(shared: &SharedStore) -> Result<Books, VerifyError> {
    let branches = shared.founded()?.ok_or_else(|| SharedStoreError::NoBank(shared.shown().to_owned()))?;
    Ok(examine_books(&verify::Books::Database(shared.database()), branches, |_| None))
}

/// `absent` says of a branch whose books are not there where they are.
fn examine_books(books: &verify::Books, count: u32, absent: impl Fn(BranchId) -> Option<Found>) -> Books {
    let branches = (1..=i64::from(count)).filter_map(|number| BranchId::new(number).ok());
    let bar = output::rows_bar();
    let findings = branches.map(|branch| {
        bar.set_message(format!("branch {branch}"));
        let progress = |rows, all| {
            bar.set_length(all);
            bar.set_position(rows);
        };
        let proved = || Found::Books(Box::new(books.verify(branch, count, progress)));
        Finding { branch, found: absent(branch).unwrap_or_else(proved) }
    });
    let mut findings: Vec<Finding> = findings.collect();
    bar.finish_and_clear();
    let transfers = compare(books, &mut findings);
    Books { findings, transfers }
}

/// The server to which a branch moved; None when its books are here, or nothing can be said of them.
fn successor(data: &Path, branch: BranchId, branches: u32) -> Option<u32> {
    match retirement(&branch_directory(data, branch), branch, branches).ok()?.0 {
        Retirement::InOffice => None,
        Retirement::Promised(server) | Retirement::Delivered(server) => Some(server),
    }
}

/// Whether the branches that are here and whole tell the same story.
fn compare(books: &verify::Books, findings: &mut [Finding]) -> Result<Agreement, String> {
    let mut stories = Vec::new();
    for finding in findings {
        if let Found::Books(found) = &mut finding.found
            && let Ok(report) = &mut **found
        {
            let later = books.verify_later(report);
            later.map_err(|error| format!("branch {}: {error}", finding.branch))?;
            stories.push(report.crossings.clone());
        }
    }
    verify::agree(&stories).map_err(|disagreement| disagreement.to_string())
}

impl Finding {
    fn report(&self) -> Option<&Report> {
        match &self.found {
            Found::Books(books) => books.as_ref().as_ref().ok(),
            Found::NotHere | Found::Moved(_) => None,
        }
    }

    fn wrong(&self) -> Option<String> {
        match &self.found {
            Found::Books(books) => Some(format!("branch {}: {}", self.branch, books.as_ref().as_ref().err()?)),
            Found::NotHere | Found::Moved(_) => None,
        }
    }

    fn row(&self) -> Vec<String> {
        let branch = self.branch.to_string();
        let without_figures = |verdict: String| [vec![branch.clone()], vec!["-".to_owned(); 4], vec![verdict]].concat();
        match &self.found {
            Found::Books(books) => match &**books {
                Ok(report) => {
                    let counts = [report.rows, report.transactions, report.group_commits, report.accounts];
                    [vec![branch], counts.map(output::grouped).to_vec(), vec!["agrees".to_owned()]].concat()
                }
                Err(_) => without_figures("WRONG".to_owned()),
            },
            Found::Moved(server) => without_figures(format!("moved to server {server}")),
            Found::NotHere => without_figures("not here".to_owned()),
        }
    }

    fn json(&self) -> Value {
        let branch = self.branch.get();
        match &self.found {
            Found::Books(books) => match &**books {
                Ok(report) => json!({
                    "branch_id": branch,
                    "verdict": "agrees",
                    "rows": report.rows,
                    "transactions": report.transactions,
                    "group_commits": report.group_commits,
                    "accounts": report.accounts,
                    "indexed_ids": report.indexed_ids,
                    "snapshot_row": report.snapshot,
                    "tide_row": report.tide,
                    "head": report.head,
                }),
                Err(error) => json!({"branch_id": branch, "verdict": "wrong", "detail": error.to_string()}),
            },
            Found::Moved(server) => json!({"branch_id": branch, "verdict": "moved", "server": server}),
            Found::NotHere => json!({"branch_id": branch, "verdict": "not here"}),
        }
    }
}
