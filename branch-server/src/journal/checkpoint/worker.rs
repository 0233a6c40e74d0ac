//! The thread that copies beside the writer.

use super::{CheckpointError, FEW_FRAMES, checkpoint, progress};
use rusqlite::Connection;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Passes after which the thread leaves the rest to the writer, however much it is.
const PASSES: usize = 8;

/// A handle on the thread; dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Woken, or at work.
    Busy,
    /// The writer is gone.
    Ending,
    Failed(String),
}

impl Worker {
    pub(super) fn start(connection: Connection) -> io::Result<Worker> {
        let shared = Arc::new(Shared { state: Mutex::new(State::Idle), changed: Condvar::new() });
        let work = Arc::clone(&shared);
        let thread = Builder::new().name("checkpoint".to_owned()).spawn(move || work.run(&connection))?;
        Ok(Worker { shared, thread: Some(thread) })
    }

    /// Whether the thread waits for work.
    pub(super) fn is_idle(&self) -> Result<bool, CheckpointError> {
        match &*self.shared.lock() {
            State::Idle => Ok(true),
            State::Busy | State::Ending => Ok(false),
            State::Failed(error) => Err(CheckpointError::Worker(error.clone())),
        }
    }

    /// Sends the idle thread to work.
    pub(super) fn wake(&self) {
        self.shared.change(&State::Idle, State::Busy);
    }

    /// Waits until the thread is idle.
    pub(super) fn wait(&self) -> Result<(), CheckpointError> {
        let busy = |state: &mut State| matches!(state, State::Busy);
        let state = self.shared.changed.wait_while(self.shared.lock(), busy);
        match &*state.unwrap_or_else(PoisonError::into_inner) {
            State::Failed(error) => Err(CheckpointError::Worker(error.clone())),
            _ => Ok(()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        *self.shared.lock() = State::Ending;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It fails only when the thread panicked, which the hook has reported.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes from one state to another, unless the writer has ended it meanwhile.
    fn change(&self, from: &State, to: State) {
        let mut state = self.lock();
        if std::mem::discriminant(&*state) == std::mem::discriminant(from) {
            *state = to;
            self.changed.notify_all();
        }
    }

    fn run(&self, connection: &Connection) {
        while self.await_work() {
            match self.copy_most(connection) {
                Ok(()) => self.change(&State::Busy, State::Idle),
                Err(error) => self.change(&State::Busy, State::Failed(error.to_string())),
            }
        }
    }

    /// False when there will be no more.
    fn await_work(&self) -> bool {
        let waits = |state: &mut State| matches!(state, State::Idle | State::Failed(_));
        let state = self.changed.wait_while(self.lock(), waits);
        matches!(*state.unwrap_or_else(PoisonError::into_inner), State::Busy)
    }

    /// Copies until few frames remain, or until copying does not help.
    fn copy_most(&self, connection: &Connection) -> Result<(), CheckpointError> {
        let mut copied = 0;
        for _ in 0..PASSES {
            checkpoint(connection)?;
            let after = progress(connection)?;
            let ending = matches!(*self.lock(), State::Ending);
            if ending || after.copied <= copied || after.frames - after.copied.min(after.frames) <= FEW_FRAMES {
                break;
            }
            copied = after.copied;
        }
        Ok(())
    }
}
