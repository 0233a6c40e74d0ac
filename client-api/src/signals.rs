//! What makes the program stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Waits until somebody asks the program to stop and says who.
///
/// - SIGINT: somebody pressed Ctrl-C.
/// - SIGTERM: the supervisor or Kubernetes wants the place back.
/// - the end of standard input, when asked to watch it: the parent process has ended, however it ended.
///
/// # Errors
/// The operating system does not let the process listen to signals.
pub(crate) async fn stop_asked(watch_parent: bool) -> std::io::Result<&'static str> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let parent_ended = async {
        if watch_parent {
            end_of_standard_input().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = interrupt.recv() => Ok("SIGINT"),
        _ = terminate.recv() => Ok("SIGTERM"),
        () = parent_ended => Ok("the parent process has ended"),
    }
}

/// A thread of its own: a blocking read inside the runtime would keep it from shutting down.
async fn end_of_standard_input() {
    let (sender, ended) = oneshot::channel();
    std::thread::spawn(move || {
        // An error ends the watch as the end of the stream does: either way there is no parent to listen to.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = sender.send(());
    });
    let _ = ended.await;
}
