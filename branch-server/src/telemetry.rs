//! Logs and metrics.

use crate::settings::{LogFormat, Settings, SettingsError};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// Seconds; group commits take from a tenth of a millisecond to a few, and seconds when a disk is ill.
const COMMIT_SECONDS: [f64; 12] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0];

/// Rows of a group commit: one when nothing else waits, thousands under load.
const COMMIT_ROWS: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0, 20_000.0];

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
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &COMMIT_SECONDS)?
        .set_buckets_for_metric(Matcher::Full("florin_group_commit_rows".to_owned()), &COMMIT_ROWS)?
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
    metrics::describe_histogram!("florin_group_commit_seconds", "Time to write one group commit and sync it");
    metrics::describe_histogram!("florin_group_commit_rows", "Rows of one group commit");
    metrics::describe_counter!(
        "florin_grpc_requests_total",
        "Calls by method and status; a stream counts when it begins, and what goes wrong in it later is in its messages"
    );
    metrics::describe_histogram!("florin_grpc_request_seconds", "Time to answer a call that is no stream, by method");
    metrics::describe_counter!("florin_shed_requests_total", "Requests refused because a queue was full");
    metrics::describe_counter!("florin_storage_full_total", "Batches refused because the disk was full");
    metrics::describe_gauge!("florin_teller_queue_requests", "Requests that wait for a branch's teller");
    metrics::describe_counter!("florin_audit_rounds_total", "Times the books of the whole bank were looked at");
    metrics::describe_gauge!("florin_audit_violations", "What was wrong with them the last time");
    metrics::describe_gauge!("florin_audit_last_agreed_timestamp_seconds", "When they agreed last");
    metrics::describe_gauge!("florin_bank_balance_minor_units", "Credits minus debits of the whole bank");
    metrics::describe_gauge!("florin_in_flight_minor_units", "Money that has left a branch and not arrived at another");
    metrics::describe_gauge!("florin_certificate_expiry_timestamp_seconds", "When the certificate in use expires");
    metrics::describe_gauge!("florin_open_holds", "Holds of a branch that have not ended");
    metrics::describe_gauge!("florin_journal_sequence", "The last row of a branch's journal");
    metrics::describe_gauge!("florin_snapshot_sequence", "The row up to which an opening has nothing to fold");
    metrics::describe_gauge!("florin_journal_bytes", "Size of a branch's journal, without its write-ahead log");
    metrics::describe_gauge!("florin_disk_free_bytes", "What is free on the disk of the branches");
    metrics::describe_gauge!("florin_disk_reserve_bytes", "With less than this free, no branch takes orders");
    metrics::describe_gauge!("florin_journal_wal_bytes", "Size of a journal's write-ahead log");
    metrics::describe_gauge!(
        "florin_branch_state",
        "1 for the state that a branch is in: open, damaged, unavailable and tried again, or away and served by another server"
    );
}
