//! Callers who wait for the end of a transfer.

use crate::teller::TransferEnd;
use bank_proto::TransactionKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

type Waiting = HashMap<TransactionKey, Vec<oneshot::Sender<TransferEnd>>>;

/// Who waits for which transfer of one branch.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<Waiting>);

/// One who waits. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Watch {
    watchers: Arc<Watchers>,
    transfer: TransactionKey,
    end: oneshot::Receiver<TransferEnd>,
}

impl Watchers {
    /// Waits for the end of a transfer. Begun before the transfer is ordered, so that its end cannot
    /// come in between.
    #[must_use]
    pub(crate) fn watch(self: &Arc<Self>, transfer: TransactionKey) -> Watch {
        let (sender, end) = oneshot::channel();
        self.lock().entry(transfer).or_default().push(sender);
        Watch { watchers: self.clone(), transfer, end }
    }

    /// Tells everybody who waits.
    pub(super) fn tell(&self, transfer: TransactionKey, end: &TransferEnd) {
        let waiting = self.lock().remove(&transfer);
        for sender in waiting.into_iter().flatten() {
            // Whoever has gone does not wait any more.
            let _ = sender.send(end.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics in between: a poisoned lock still holds whole entries.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The end; None when the server stops first.
    pub(crate) async fn ended(&mut self) -> Option<TransferEnd> {
        (&mut self.end).await.ok()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end.close();
        let mut waiting = self.watchers.lock();
        if let Some(senders) = waiting.get_mut(&self.transfer) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&self.transfer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bank_proto::{AccountSerial, Timestamp};

    #[tokio::test]
    async fn everybody_who_waits_is_told_and_nothing_is_left_behind() {
        let watchers = Arc::new(Watchers::default());
        let transfer = TransactionKey(1);
        let (mut first, mut second) = (watchers.watch(transfer), watchers.watch(transfer));
        drop(watchers.watch(transfer));
        drop(watchers.watch(TransactionKey(2)));
        assert_eq!(watchers.lock().len(), 1);
        let end = TransferEnd::Completed { payee: AccountSerial(1), customer: None, at: Timestamp(0) };
        watchers.tell(transfer, &end);
        assert_eq!((first.ended().await, second.ended().await), (Some(end.clone()), Some(end)));
        drop((first, second));
        assert!(watchers.lock().is_empty());
    }
}
