//! Logs and metrics.

use crate::settings::{LogFormat, Settings, SettingsError};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// Seconds; group commits take from a tenth of a millisecond to a few, and seconds when a disk is ill.
const COMMIT_SECONDS: [f64; 12] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0];

/// Sends the log to standard error.
///
/// # Errors
/// The directives are not understood.
pub(crate) fn start_log(settings: &Settings) -> Result<(), SettingsError> {
    let filter = EnvFilter::try_new(&settings.log).map_err(|error| SettingsError::Log(error.to_string()))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // When the parent process is gone, so may standard error be; saying so on it would panic.
        .log_internal_errors(false);
    // A process that hosts several services has a log already; then that one is used.
    let _ = match settings.log_format {
        LogFormat::Text => log.with_target(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// The process's metrics, made when first asked for.
///
/// # Errors
/// The recorder's settings are not accepted, which no caller can mend.
pub(crate) fn metrics() -> Result<&'static PrometheusHandle, BuildError> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle);
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(metrics_exporter_prometheus::Matcher::Suffix("_seconds".to_owned()), &COMMIT_SECONDS)?
        .build_recorder();
    let handle = HANDLE.get_or_init(|| recorder.handle());
    // In tests several servers share one process; the first one's recorder serves them all.
    let _ = metrics::set_global_recorder(recorder);
    describe();
    Ok(handle)
}

fn describe() {
    metrics::describe_counter!("florin_group_commits_total", "Group commits, each synced to disk once");
    metrics::describe_counter!("florin_journal_rows_total", "Rows made durable in the journal");
    metrics::describe_histogram!("florin_batch_seconds", "Time to decide, store and answer one batch");
    metrics::describe_counter!("florin_shed_requests_total", "Requests refused because a queue was full");
    metrics::describe_counter!("florin_storage_full_total", "Batches refused because the disk was full");
    metrics::describe_gauge!("florin_teller_queue_requests", "Requests that wait for a branch's teller");
    metrics::describe_counter!("florin_audit_rounds_total", "Times the books of the whole bank were looked at");
    metrics::describe_gauge!("florin_audit_violations", "What was wrong with them the last time");
    metrics::describe_gauge!("florin_audit_last_agreed_timestamp_seconds", "When they agreed last");
    metrics::describe_gauge!("florin_bank_balance_minor_units", "Credits minus debits of the whole bank");
    metrics::describe_gauge!("florin_in_flight_minor_units", "Money that has left a branch and not arrived at another");
    metrics::describe_gauge!("florin_open_holds", "Holds of a branch that have not ended");
    metrics::describe_gauge!("florin_journal_sequence", "The last row of a branch's journal");
    metrics::describe_gauge!("florin_journal_wal_bytes", "Size of a journal's write-ahead log");
    metrics::describe_gauge!(
        "florin_branch_state",
        "1 for the state that a branch is in: open, damaged, or unavailable and tried again"
    );
}
