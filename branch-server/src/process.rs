//! The process: settings, log, bind, open, serve, drain.

use crate::data_directory::DataError;
use crate::{Settings, StartError, server, telemetry};
use bank_proto::readiness;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const EXIT_NOT_READY: u8 = 1;
const EXIT_SETTINGS: u8 = 64;
const EXIT_UNAVAILABLE: u8 = 69;
const EXIT_INTERNAL: u8 = 70;

/// Runs a branch server until SIGTERM or SIGINT. The exit code is 0 after a clean stop, 64 for
/// wrong settings (nothing was bound), 69 when the address or the data directory is taken, 70 for
/// anything else.
#[must_use]
pub fn run(settings: Settings) -> ExitCode {
    match try_run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when nobody takes the reason.
            let _ = writeln!(std::io::stderr(), "branch-server: {error}");
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Asks the branch server that runs with these settings whether it is ready: 0 when it is, 1 when not, 64 when
/// these settings leave no port where it could be asked, with the reason on standard error in one line.
#[must_use]
pub fn healthy(settings: &Settings) -> ExitCode {
    let (reason, code) = match settings.plain_address().map(readiness::ask) {
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(reason)) => (reason.to_string(), EXIT_NOT_READY),
        None => ("healthy asks without TLS; give the server, and it, --operations-listen".to_owned(), EXIT_SETTINGS),
    };
    // Nothing is left to do when nobody takes the reason.
    let _ = writeln!(std::io::stderr(), "branch-server: {reason}");
    ExitCode::from(code)
}

fn exit_code(error: &StartError) -> u8 {
    match error {
        StartError::Settings(_) => EXIT_SETTINGS,
        StartError::Data(
            DataError::Branches { .. } | DataError::BranchElsewhere { .. } | DataError::StoredElsewhere { .. },
        ) => EXIT_SETTINGS,
        StartError::Data(_) | StartError::Listen { .. } => EXIT_UNAVAILABLE,
        StartError::System(_) => EXIT_INTERNAL,
    }
}

fn try_run(settings: Settings) -> Result<(), StartError> {
    settings.assignment()?;
    settings.identity()?;
    settings.postgres()?;
    telemetry::start_log(&settings)?;
    let system = |error: std::io::Error| StartError::System(error.to_string());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(system)?;
    let ended = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(system)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system)?;
        let address = settings.listen;
        let listener = TcpListener::bind(address).await.map_err(|error| StartError::Listen { address, error })?;
        let parent = parent_gone(settings.exit_with_parent);
        let running = tokio::select! {
            running = server::start(settings, listener) => running?,
            // A start may wait for a database.
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        tracing::info!(address = %running.address(), "the branch server serves");
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = parent => {}
        }
        tracing::info!("the branch server stops");
        running.stop().await;
        Ok(())
    });
    // A teller may wait for a database that does not answer; what it was told to do is not acknowledged.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// Becomes ready when standard input ends, which it does when the parent process is gone.
async fn parent_gone(watched: bool) {
    if !watched {
        return std::future::pending().await;
    }
    let (gone, parent) = tokio::sync::oneshot::channel();
    let watch = move || {
        // An error means the same as the end: nobody holds the other side.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = gone.send(());
    };
    // A plain thread: a read of standard input would keep the runtime from ending.
    if std::thread::Builder::new().name("parent".to_owned()).spawn(watch).is_ok() {
        let _ = parent.await;
    } else {
        std::future::pending::<()>().await;
    }
}
