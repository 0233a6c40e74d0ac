//! One courier per branch hosted here: what its teller sent off goes to the lane of its peer.

use super::lane::Lane;
use super::watch::Watchers;
use crate::service::Bank;
use crate::teller::{Parcel, TellerHandle};
use bank_proto::BranchId;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Takes the transfers of one branch to its peers.
pub(crate) struct Courier {
    /// The payers' branch.
    pub(crate) branch: BranchId,
    /// The epoch under which it writes.
    pub(crate) epoch: u64,
    /// Its teller.
    pub(crate) teller: TellerHandle,
    /// Who waits for its transfers.
    pub(crate) watchers: Arc<Watchers>,
    /// What the teller sends off. Its number is bounded by what the ledger lets be under way.
    pub(crate) parcels: mpsc::UnboundedReceiver<Vec<Parcel>>,
}

/// The payers' branch, as its lanes need it.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) branch: BranchId,
    pub(super) epoch: u64,
    pub(super) teller: TellerHandle,
    pub(super) watchers: Arc<Watchers>,
}

impl Courier {
    /// Sorts what the teller sends off into lanes, until the teller is gone or the other end of `until`.
    pub(crate) async fn run(self, bank: Arc<Bank>, mut until: watch::Receiver<()>) {
        let Courier { branch, epoch, teller, watchers, mut parcels } = self;
        let source = Source { branch, epoch, teller, watchers };
        let mut lanes: BTreeMap<BranchId, mpsc::UnboundedSender<Parcel>> = BTreeMap::new();
        let mut running = JoinSet::new();
        loop {
            let sent = tokio::select! {
                biased;
                Some(sent) = parcels.recv() => sent,
                _ = until.changed() => break,
                else => break,
            };
            for parcel in sent {
                let lane = lanes.entry(parcel.peer).or_insert_with(|| {
                    let (sender, receiver) = mpsc::unbounded_channel();
                    running.spawn(Lane::new(bank.clone(), source.clone(), parcel.peer).run(receiver));
                    sender
                });
                // A lane ends with its teller alone; then there is nothing to do for this one either.
                let _ = lane.send(parcel);
            }
        }
        // Whatever the lanes do: nothing of it outlives this, least of all a hold on the branches' files.
        running.shutdown().await;
    }
}
