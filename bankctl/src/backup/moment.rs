//! One moment of all branches: where their journals end when nobody writes, or a cut through a running bank.

use super::manifest;
use crate::api::{Api, ApiError};
use crate::http::Trust;
use bank_proto::BranchId;
use branch_server::data_directory::branch_directory;
use branch_server::journal::lock::{BranchLock, LockError};
use std::path::Path;

/// Where every branch's copy ends.
pub(super) enum Moment {
    /// Nobody owns a branch, and nobody can while these are held: each journal's end.
    Stopped(#[expect(dead_code, reason = "held, not looked at")] Vec<BranchLock>),
    /// These rows.
    Cut(Vec<u64>),
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MomentError {
    #[error("{0}")]
    Lock(LockError),
    #[error("the bank is running, but {0}; name its client API with --api, or stop the bank")]
    NoAnswer(#[from] ApiError),
    #[error("the running bank names no moment of all its branches: {0}; try again when all of them are open")]
    NoCut(String),
    #[error("the client API at {api} is another bank's: it names {token}")]
    OtherBank { api: String, token: String },
}

impl Moment {
    /// The moment that there is now.
    pub(super) fn find(data: &Path, branches: &[BranchId], api: (&str, &Trust)) -> Result<Moment, MomentError> {
        let mut locks = Vec::new();
        for branch in branches {
            match BranchLock::take(&branch_directory(data, *branch)) {
                Ok(lock) => locks.push(lock),
                Err(LockError::Held { .. }) => {
                    // Somebody serves: those that are not open yet must not find theirs locked.
                    drop(locks);
                    return Moment::of_running(branches, api);
                }
                Err(error @ LockError::Io { .. }) => return Err(MomentError::Lock(error)),
            }
        }
        Ok(Moment::Stopped(locks))
    }

    /// The last row of the branch at this place; None for all there are.
    pub(super) fn row(&self, place: usize) -> Option<u64> {
        match self {
            Moment::Stopped(_) => None,
            Moment::Cut(rows) => rows.get(place).copied(),
        }
    }

    fn of_running(branches: &[BranchId], (api, trust): (&str, &Trust)) -> Result<Moment, MomentError> {
        let (status, answer) = Api::new(api, trust)?.json("/v1/trial-balance")?;
        let said = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        if status != 200 {
            return Err(MomentError::NoCut(format!("{status} {}: {}", said("code"), said("detail"))));
        }
        let token = said("token");
        let rows = manifest::rows(&token, u32::try_from(branches.len()).unwrap_or(u32::MAX));
        rows.map(Moment::Cut).ok_or_else(|| MomentError::OtherBank { api: api.to_owned(), token })
    }
}
