//! Log lines: text for a terminal, JSON when told.

use crate::settings::{LogFormat, Settings, SettingsError};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Starts logging to standard error. A second start in one process keeps the first.
///
/// # Errors
/// The directives cannot be read.
pub(crate) fn start(settings: &Settings) -> Result<(), SettingsError> {
    let filter =
        EnvFilter::try_new(&settings.log).map_err(|_| SettingsError::Log { directives: settings.log.clone() })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // Reporting a failed write to standard error would panic when standard error itself is gone, as when
        // the parent process has ended.
        .log_internal_errors(false);
    // Already started by the program around this one: its choice stands.
    let _ = match settings.log_format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    Ok(())
}
