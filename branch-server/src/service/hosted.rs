//! A branch that this server hosts: it serves, or it is closed and says why.

use crate::journal::{JournalReader, ReadError, Sequence};
use crate::teller::TellerHandle;
use crate::transfers::Watchers;
use bank_proto::wire::BranchState;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

/// A branch that this server hosts.
pub(crate) struct Hosted(RwLock<HostedState>);

enum HostedState {
    Open(OpenBranch),
    Closed(Closed),
}

/// Why a branch hosted here does not serve.
#[derive(Debug, Clone)]
pub(crate) struct Closed {
    /// For good, or until a later try.
    pub(crate) state: BranchState,
    /// What is wrong and where, for callers; the log knows more.
    pub(crate) told: String,
    /// The ordinal of the server that serves it until its books come here.
    pub(crate) served_by: Option<u32>,
    /// It is another server's, or will soon be somebody's: whoever asks finds it if he asks again.
    pub(crate) is_elsewhere: bool,
}

/// A branch that serves.
#[derive(Clone)]
pub(crate) struct OpenBranch {
    /// The way to its teller.
    pub(crate) teller: TellerHandle,
    /// Reads its journal beside the teller.
    pub(crate) reader: Arc<Mutex<Box<dyn JournalReader>>>,
    /// What readers for other threads are made of: nobody reads by this one.
    pub(crate) origin: Arc<Mutex<Box<dyn JournalReader>>>,
    /// The directory of what is derived from its journal.
    pub(crate) derived: Arc<Path>,
    /// The last row that is durable.
    pub(crate) synced: watch::Receiver<Sequence>,
    /// The epoch under which it writes.
    pub(crate) epoch: u64,
    /// Who waits for its transfers to other branches.
    pub(crate) watchers: Arc<Watchers>,
}

impl OpenBranch {
    /// A reader of its journal, for another thread: who reads for long must not keep others waiting.
    pub(crate) fn reader(&self) -> Result<Box<dyn JournalReader>, ReadError> {
        self.origin.lock().unwrap_or_else(PoisonError::into_inner).try_clone()
    }
}

impl Hosted {
    /// A branch that serves.
    #[must_use]
    pub(crate) fn open(branch: OpenBranch) -> Hosted {
        Hosted(RwLock::new(HostedState::Open(branch)))
    }

    /// A branch that refuses to serve, and why.
    #[must_use]
    pub(crate) fn damaged(told: String) -> Hosted {
        Hosted::closed(BranchState::Damaged, told, None)
    }

    /// A branch that cannot be opened now and is tried again, and why.
    #[must_use]
    pub(crate) fn unavailable(told: String) -> Hosted {
        Hosted::closed(BranchState::Unavailable, told, None)
    }

    /// A branch that moves here and that another server still serves.
    #[must_use]
    pub(crate) fn served_by(ordinal: u32) -> Hosted {
        let told = format!("server {ordinal} serves it until its books come here");
        Hosted::closed(BranchState::Unavailable, told, Some(ordinal))
    }

    /// A branch that any server may serve, and now another one does; None while nobody is known to.
    #[must_use]
    pub(crate) fn elsewhere(ordinal: Option<u32>) -> Hosted {
        let told = "it is on its way from one server to another".to_owned();
        Hosted(RwLock::new(HostedState::Closed(Closed {
            state: BranchState::Unavailable,
            told,
            served_by: ordinal,
            is_elsewhere: true,
        })))
    }

    /// Whether another server serves it.
    pub(crate) fn is_served_elsewhere(&self) -> bool {
        self.get().is_err_and(|closed| closed.served_by.is_some())
    }

    fn closed(state: BranchState, told: String, served_by: Option<u32>) -> Hosted {
        Hosted(RwLock::new(HostedState::Closed(Closed { state, told, served_by, is_elsewhere: false })))
    }

    /// The branch, or why it does not serve.
    pub(super) fn get(&self) -> Result<OpenBranch, Closed> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            HostedState::Open(branch) => Ok(branch.clone()),
            HostedState::Closed(closed) => Err(closed.clone()),
        }
    }

    /// Takes another's state in place of its own.
    pub(super) fn become_now(&self, other: Hosted) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) =
            other.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    }
}
