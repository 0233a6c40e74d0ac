//! Cuts through the whole bank: asking every branch for its part, and giving the parts of those hosted here.

mod past;
mod wire;

use self::wire as edge;
use super::bank::Bank;
use super::forward::Journey;
use super::placing::Place;
use crate::cut::{BankCut, BranchCut};
use crate::teller::{Answer, Declined, Read, Request};
use bank_proto::wire::{GetBranchCutRequest, TakeCutRequest};
use bank_proto::{BranchId, ErrorCode};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic_types::StatusExt as _;

pub(super) use edge::{bank_trial_balance, branch_cut, peer_record, peer_record_from, positions, take_cut_response};

/// How often a cut is begun again whose parts do not fit: a branch that was opened while the cut went through
/// the bank has forgotten what it had heard of it.
const TRIES: usize = 3;

/// Cuts for callers who ask at the same time: one that began after a caller had asked is as good as its own.
#[derive(Default)]
pub(super) struct Cuts {
    last: tokio::sync::Mutex<Option<(Instant, Arc<BankCut>)>>,
}

/// What one server says of the branches that it hosts.
pub(super) struct Parts {
    /// The newest cut that any of them has heard of.
    pub(super) newest: u64,
    /// Their parts.
    pub(super) parts: BTreeMap<BranchId, Result<Arc<BranchCut>, Declined>>,
}

impl Bank {
    /// The books of all branches at moments that fit together, all of them after the call.
    ///
    /// # Errors
    /// A branch does not answer: there is no trial balance of a bank without one of its branches.
    pub(crate) async fn cut(&self, deadline: Instant) -> Result<Arc<BankCut>, Declined> {
        let asked_at = self.now();
        let late = |_| Declined::new(ErrorCode::DeadlineExceeded);
        let mut last = tokio::time::timeout_at(deadline, self.cuts.last.lock()).await.map_err(late)?;
        match &*last {
            Some((began, cut)) if *began >= asked_at => return Ok(cut.clone()),
            _ => {}
        }
        let began = self.now();
        let mut cut = self.cut_in_time(deadline).await?;
        for _ in 1..TRIES {
            if cut.violations().is_empty() {
                break;
            }
            cut = self.cut_in_time(deadline).await?;
        }
        let cut = Arc::new(cut);
        *last = Some((began, cut.clone()));
        Ok(cut)
    }

    /// The books that a token names.
    ///
    /// # Errors
    /// It is none, or a branch does not answer or has lost rows since.
    pub(super) async fn cut_again(&self, token: &str, deadline: Instant) -> Result<BankCut, Declined> {
        let rows = BankCut::rows_of(token, self.assignment().branches());
        let rows = rows.ok_or_else(|| not_a_token("is not one that this bank gave out"))?;
        let branches = (1..=i64::from(self.assignment().branches())).filter_map(|number| BranchId::new(number).ok());
        let mut parts = BTreeMap::new();
        // One after the other: each may read a whole journal.
        for (branch, sequence) in branches.zip(rows) {
            let journey = Journey { hops: 0, request_id: String::new(), deadline, trace: None };
            let part = match self.place_in_time(branch, &journey).await? {
                Place::Here(open) => past::books(self, open, branch, sequence).await?,
                Place::Peer(..) => {
                    let unreachable = || Declined::new(ErrorCode::BranchUnavailable).with("branch_id", branch);
                    let mut peer = self.line(branch).ok_or_else(unreachable)?.client();
                    let question = GetBranchCutRequest { branch_id: branch.get(), sequence };
                    match tokio::time::timeout_at(deadline, peer.get_branch_cut(question)).await {
                        Ok(Ok(part)) => {
                            edge::part(part.into_inner()).map(|(_, part)| part).unwrap_or_else(|| Err(unreachable()))?
                        }
                        Ok(Err(status)) => return Err(declined(&status).unwrap_or_else(unreachable)),
                        Err(_) => return Err(unreachable()),
                    }
                }
            };
            parts.insert(branch, part);
        }
        Ok(BankCut(parts))
    }

    /// The part of one branch hosted here at an earlier row.
    pub(super) async fn branch_cut(&self, branch: BranchId, sequence: u64) -> Result<BranchCut, Declined> {
        let journey = Journey { hops: u32::MAX, request_id: String::new(), deadline: self.now(), trace: None };
        match self.place(branch, &journey)? {
            Place::Here(open) => past::books(self, open, branch, sequence).await,
            Place::Peer(..) => Err(Declined::new(ErrorCode::WrongBranch)),
        }
    }

    /// A cut, when branches are on their way from one server to another as soon as they have arrived.
    async fn cut_in_time(&self, deadline: Instant) -> Result<BankCut, Declined> {
        loop {
            match self.try_cut(deadline).await {
                Err(declined) if declined.code == ErrorCode::BranchUnavailable && self.until_moved(deadline).await => {}
                cut => return cut,
            }
        }
    }

    /// Which cut comes next, and then that one.
    async fn try_cut(&self, deadline: Instant) -> Result<BankCut, Declined> {
        let (newest, _) = self.ask_all(0, deadline).await;
        let (_, mut said) = self.ask_all(newest + 1, deadline).await;
        // Also when some are missing: those that are there were founded.
        let open = said.iter().filter(|(_, part)| part.is_ok()).map(|(branch, _)| branch);
        self.seen.note(self.workers(), open).await;
        let mut parts = BTreeMap::new();
        for branch in (1..=i64::from(self.assignment().branches())).filter_map(|number| BranchId::new(number).ok()) {
            let unreachable = || Err(Declined::new(ErrorCode::BranchUnavailable).with("branch_id", branch));
            let part = said.remove(&branch).unwrap_or_else(unreachable)?;
            parts.insert(branch, Arc::unwrap_or_clone(part));
        }
        Ok(BankCut(parts))
    }

    /// Asks every server of the bank, this one included.
    async fn ask_all(
        &self,
        number: u64,
        deadline: Instant,
    ) -> (u64, BTreeMap<BranchId, Result<Arc<BranchCut>, Declined>>) {
        let mut asked = JoinSet::new();
        for (_, mut peer) in self.all_inter_branch() {
            asked.spawn(
                async move { tokio::time::timeout_at(deadline, peer.take_cut(TakeCutRequest { number })).await },
            );
        }
        let Parts { mut newest, mut parts } = self.take_cut(number, deadline).await;
        while let Some(answer) = asked.join_next().await {
            // A server that does not answer leaves its branches out, and that is seen there.
            if let Ok(Ok(Ok(answer))) = answer {
                let answer = answer.into_inner();
                newest = newest.max(answer.newest);
                parts.extend(
                    answer.parts.into_iter().filter_map(edge::part).map(|(branch, part)| (branch, part.map(Arc::new))),
                );
            }
        }
        (newest, parts)
    }

    /// The parts of the branches hosted here; with number 0 only which cut is the newest.
    pub(super) async fn take_cut(&self, number: u64, deadline: Instant) -> Parts {
        let mut said = Parts { newest: 0, parts: BTreeMap::new() };
        for (branch, hosted) in self.hosted() {
            let closed = |_| Declined::new(ErrorCode::BranchUnavailable).with("branch_id", branch);
            let open = match hosted.map_err(closed) {
                Ok(open) => open,
                Err(declined) => {
                    said.parts.insert(branch, Err(declined));
                    continue;
                }
            };
            let read = if number == 0 { Read::CutHeard(0) } else { Read::Cut(number) };
            match self.ask(&open, Request::Read(read), deadline).await.answer {
                Answer::CutHeard(newest) => said.newest = said.newest.max(newest),
                Answer::TrialBalance(part) => {
                    said.parts.insert(branch, Ok(part));
                }
                Answer::Refused(declined) => {
                    said.parts.insert(branch, Err(declined.with("branch_id", branch)));
                }
                _ => {
                    said.parts.insert(branch, Err(Declined::new(ErrorCode::Internal)));
                }
            }
        }
        said
    }
}

fn not_a_token(reason: &str) -> Declined {
    Declined::new(ErrorCode::InvalidRequest).with("field", "token").with("reason", reason)
}

/// What a peer refused, in the bank's own codes; None when it is not there.
fn declined(status: &tonic::Status) -> Option<Declined> {
    let code = ErrorCode::from_status(status)?;
    let info = status.get_details_error_info()?;
    Some(Declined { code, metadata: info.metadata.into_iter().collect() })
}
