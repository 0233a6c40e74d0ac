//! The auditor: looks at the books of the whole bank again and again, and says at once when they do not agree.
//!
//! Every branch server has one, and each looks through all branches: there is none whose absence would
//! leave the bank unwatched. It sees what a cut shows (I1, I2, and the numbers of every pair: [`crate::cut`]);
//! `bankctl verify` reads every row.

use crate::cut::BankCut;
use crate::service::Bank;
use bank_proto::Timestamp;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long all branches together may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the auditor has to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// When the books agreed last; None before the first time.
    pub(crate) last_agreed_at: Option<Timestamp>,
    /// What was wrong when all branches were last seen together, in words.
    pub(crate) violations: Vec<String>,
    /// Why they were not seen together in the last round.
    pub(crate) incomplete: Option<String>,
}

/// The auditor's last word, for whoever asks how the bank is.
#[derive(Default)]
pub(crate) struct LastReport(Mutex<Report>);

impl LastReport {
    /// What it is.
    pub(crate) fn get(&self) -> Report {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, report: Report) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }
}

/// Audits the bank every `interval`, until the server stops. Begins after a random part of one, so that the
/// servers of a bank take turns.
pub(crate) async fn run(bank: Arc<Bank>, interval: Duration) {
    let mut pause = bank.part_of(interval);
    loop {
        tokio::select! {
            biased;
            () = bank.drained() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = interval;
        let cut = tokio::select! {
            biased;
            () = bank.drained() => return,
            cut = bank.cut(bank.now() + TIMEOUT) => cut,
        };
        let before = bank.last_audit().get();
        let report = match cut {
            Ok(cut) => {
                show(&cut);
                seen(&cut, &before, bank.wall_clock())
            }
            Err(declined) => {
                count("incomplete");
                let branch = declined.metadata.get("branch_id").map(|branch| format!(" (branch {branch})"));
                let why = format!("{}{}", declined.code, branch.unwrap_or_default());
                tracing::debug!(why, "not all branches answered the auditor");
                Report { incomplete: Some(why), ..before }
            }
        };
        bank.last_audit().set(report);
    }
}

/// What a cut shows; shouts what was not wrong before.
fn seen(cut: &BankCut, before: &Report, now: Timestamp) -> Report {
    let violations: Vec<String> = cut.violations().iter().map(ToString::to_string).collect();
    metrics::gauge!("florin_audit_violations").set(u32::try_from(violations.len()).unwrap_or(u32::MAX));
    for violation in violations.iter().filter(|violation| !before.violations.contains(violation)) {
        tracing::error!(violation, token = cut.token(), "the books of the bank do not agree");
    }
    if !violations.is_empty() {
        count("violated");
        return Report { last_agreed_at: before.last_agreed_at, violations, incomplete: None };
    }
    count("agrees");
    if !before.violations.is_empty() {
        tracing::info!("the books of the bank agree again");
    }
    metrics::gauge!("florin_audit_last_agreed_timestamp_seconds").set((now.0 / 1_000_000) as f64);
    Report { last_agreed_at: Some(now), violations, incomplete: None }
}

/// The bank's money, for dashboards. Money is exact everywhere else; a gauge can only be a float.
fn show(cut: &BankCut) {
    for ((currency, kind), sum) in cut.sums() {
        let labels = [("account_kind", kind), ("currency", currency.code())];
        metrics::gauge!("florin_bank_balance_minor_units", &labels).set((sum.credit - sum.debit) as f64);
    }
    for (currency, amount) in cut.in_flight() {
        metrics::gauge!("florin_in_flight_minor_units", "currency" => currency.code()).set(amount as f64);
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("florin_audit_rounds_total", "outcome" => outcome).increment(1);
}
