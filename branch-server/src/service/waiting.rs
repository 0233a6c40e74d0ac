//! The waiting room: answers to transfers that are still under way, held back until they end or
//! their callers' patience does.

use super::bank::Results;
use crate::teller::{Answer, Answered, TransferState};
use crate::transfers::Watch;
use bank_proto::BranchId;
use bank_proto::traces::Span;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A caller who waits for a transfer's end.
pub(super) struct Held {
    /// Which of the answers is the transfer's.
    pub(super) place: usize,
    /// Hears of the end.
    pub(super) watch: Watch,
    /// When the caller's patience ends.
    pub(super) until: Instant,
    /// When it is sampled: ends when the caller has its answer.
    pub(super) span: Option<Span>,
}

/// Takes the answers out that must wait; each is sent by itself when it is time. Runs on the
/// teller's thread, so it does not wait.
pub(super) fn hold_back(
    runtime: &Handle,
    branch: BranchId,
    tags: Vec<u64>,
    answers: Vec<Answered>,
    held: Vec<Held>,
    results: &mpsc::UnboundedSender<Results>,
) -> (Vec<u64>, Vec<Answered>) {
    if held.is_empty() {
        return (tags, answers);
    }
    let mut held = held.into_iter().peekable();
    let mut ready = (Vec::with_capacity(tags.len()), Vec::with_capacity(tags.len()));
    for (place, (tag, answered)) in tags.into_iter().zip(answers).enumerate() {
        let held = held.next_if(|held| held.place == place);
        match held {
            Some(held) if is_under_way(&answered) => {
                runtime.spawn(wait(held, branch, tag, answered, results.clone()));
            }
            _ => {
                ready.0.push(tag);
                ready.1.push(answered);
            }
        }
    }
    ready
}

fn is_under_way(answered: &Answered) -> bool {
    matches!(&answered.answer, Answer::Transfer(view) if view.state == TransferState::Processing)
}

/// An answer, with the end of its transfer if that comes while its caller waits.
pub(super) async fn ended(held: Option<Held>, mut answered: Answered) -> Answered {
    if let Some(mut held) = held.filter(|_| is_under_way(&answered)) {
        let end = tokio::time::timeout_at(held.until, held.watch.ended()).await;
        if let (Ok(Some(end)), Answer::Transfer(view)) = (end, &mut answered.answer) {
            **view = view.as_ref().clone().ended(end);
        }
    }
    answered
}

async fn wait(held: Held, branch: BranchId, tag: u64, answered: Answered, results: mpsc::UnboundedSender<Results>) {
    let answered = ended(Some(held), answered).await;
    // The asker may have gone; then nobody waits for this.
    let _ = results.send(Results::Local { branch, tags: vec![tag], answers: vec![answered] });
}
