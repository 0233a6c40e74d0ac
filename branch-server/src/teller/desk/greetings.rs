//! Greetings between branches: who speaks for a branch now, and whether the two remember the same past.

use super::Desk;
use crate::cut::PeerRecord;
use crate::ledger::PairFault;
use crate::teller::answer::{Answer, Declined};
use bank_proto::{BranchId, ErrorCode};

impl Desk {
    /// What these books say of a branch that greets. From now on nobody speaks for it under an older epoch.
    pub(super) fn answer_greeting(&mut self, peer: BranchId, epoch: u64) -> Answer {
        if epoch > 0 {
            if let Err(PairFault::StaleEpoch { epoch, seen }) = self.hear(peer, epoch) {
                let reason = format!("epoch {epoch} is over since {seen} was heard of");
                return Answer::Refused(Declined::new(ErrorCode::StaleEpoch).with("reason", reason));
            }
            self.greeted.insert(peer, epoch);
        }
        let view = self.ledger.peers().find(|view| view.peer == peer);
        Answer::Peer(view.map_or(PeerRecord::NOTHING, PeerRecord::from))
    }

    /// Whether a peer, or whoever speaks in its name, may be heard: what the books say, and who has greeted.
    pub(super) fn hear(&self, peer: BranchId, epoch: u64) -> Result<(), PairFault> {
        match self.greeted.get(&peer) {
            Some(seen) if epoch < *seen => Err(PairFault::StaleEpoch { epoch, seen: *seen }),
            _ => self.ledger.hear(peer, epoch),
        }
    }
}
