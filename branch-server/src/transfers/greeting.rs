//! Two branches compare their pasts before one delivers anything to the other.

use super::courier::Source;
use crate::cut::{Difference, PeerRecord};
use crate::service::Bank;
use crate::teller::{Answer, Asked, Declined, Job, Read, Request, TellerHandle};
use bank_proto::{BranchId, ErrorCode};
use tokio::sync::oneshot;

/// What a branch answers that is greeted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Greeted {
    /// The epoch under which it writes.
    pub(crate) epoch: u64,
    /// What its books say of the one that greets.
    pub(crate) record: PeerRecord,
}

/// Greets a peer; the epoch under which it writes.
///
/// Nobody stands still meanwhile, so each question must come at the right moment: what is compared with a
/// number that only grows is asked for before it. So the own books are asked before the peer and again after.
///
/// # Errors
/// The peer is not heard, or PAIR_SUSPENDED: one of the two is an old copy of itself, and nothing may pass
/// between them before they are reconciled. The reason names the first transfer.
pub(super) async fn greet(bank: &Bank, source: &Source, peer: BranchId) -> Result<u64, Declined> {
    let own = source.branch;
    let before = ask_of_peer(&source.teller, peer, 0).await?;
    let Greeted { epoch, record: theirs } = bank.greet(own, peer, source.epoch).await?;
    let after = ask_of_peer(&source.teller, peer, epoch).await?;
    let differences = [
        Difference::never_sent((own, after), (peer, theirs)),
        Difference::no_outcome((own, before), (peer, theirs)),
        Difference::never_sent((peer, theirs), (own, before)),
        Difference::no_outcome((peer, theirs), (own, after)),
    ];
    match differences.into_iter().flatten().next() {
        None => Ok(epoch),
        Some(difference) => Err(Declined::new(ErrorCode::PairSuspended).with("reason", difference)),
    }
}

/// What a branch's books say of a peer; with an epoch, that peer has greeted.
pub(crate) async fn ask_of_peer(teller: &TellerHandle, peer: BranchId, epoch: u64) -> Result<PeerRecord, Declined> {
    let unavailable = || Declined::new(ErrorCode::BranchUnavailable);
    let (sender, receiver) = oneshot::channel();
    let reply = Box::new(move |answers, _| {
        // The asker may have gone; then nobody waits for this.
        let _ = sender.send(answers);
    });
    let request = Request::Read(Read::Greeting { peer, epoch });
    let job = Job { requests: vec![Asked { request, deadline: None }], reply };
    teller.submit_settlement(job).map_err(|_| unavailable())?;
    let mut answers = receiver.await.map_err(|_| unavailable())?;
    match answers.pop().map(|answered| answered.answer) {
        Some(Answer::Peer(record)) => Ok(record),
        Some(Answer::Refused(declined)) => Err(declined),
        _ => Err(Declined::new(ErrorCode::Internal)),
    }
}
