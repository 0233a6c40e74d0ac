//! Ctrl-C and SIGTERM.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals by which a person (SIGINT) or a service manager (SIGTERM) asks for an end.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Takes the signals over from their default, which would end the process at once.
    ///
    /// # Errors
    /// The system refuses the handlers; the process would then not be stoppable in an orderly way.
    pub(crate) fn listen() -> io::Result<Interrupts> {
        Ok(Interrupts { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next signal. Cancel safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
