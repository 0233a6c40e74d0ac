//! What makes the program stop.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Everybody who may ask the program to stop, listened to from the moment this is made.
pub(crate) struct StopSignals {
    /// Somebody pressed Ctrl-C.
    interrupt: Signal,
    /// The supervisor or Kubernetes wants the place back.
    terminate: Signal,
    /// Standard input has ended, and with it the parent process, however it ended. None when nobody watches.
    parent: Option<oneshot::Receiver<()>>,
}

impl StopSignals {
    /// Starts listening. Before this, a signal kills the program.
    ///
    /// # Errors
    /// The operating system does not let the process listen.
    pub(crate) fn listen(watch_parent: bool) -> std::io::Result<StopSignals> {
        Ok(StopSignals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            parent: watch_parent.then(end_of_standard_input),
        })
    }

    /// Waits until somebody asks, and says who.
    pub(crate) async fn asked(&mut self) -> &'static str {
        let parent_ended = async {
            match &mut self.parent {
                // The watching thread never goes without a word.
                Some(ended) => drop(ended.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            () = parent_ended => "the parent process has ended",
        }
    }
}

/// A thread of its own: a blocking read inside the runtime would keep it from shutting down.
fn end_of_standard_input() -> oneshot::Receiver<()> {
    let (sender, ended) = oneshot::channel();
    std::thread::spawn(move || {
        // An error ends the watch as the end of the stream does: either way there is no parent to listen to.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = sender.send(());
    });
    ended
}
