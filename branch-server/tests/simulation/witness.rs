//! What became durable, folded again beside the bank, and what must be true of it at every step.

use bank_proto::{AccountNumber, AccountSerial, BranchId, Currency};
use branch_server::cut::{BankCut, BranchCut};
use branch_server::journal::{
    AppendError, ChainHash, GroupCommit, Journal, PersonalName, ReadError, Row, RowKind, Sequence, SqliteJournal,
};
use branch_server::ledger::Entry;
use branch_server::teller::{Fold, Folded, entry_of};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// What happens to the next group commit of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trap {
    /// The server dies before anything is written.
    Before,
    /// Everything is written, and the server dies before anybody hears of it.
    After,
    /// The disk is full.
    Full,
}

/// Sees every group commit of every branch.
#[derive(Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<Seen>>);

#[derive(Default)]
pub(crate) struct Seen {
    folds: BTreeMap<BranchId, Fold>,
    /// The balance of every account after each row that changed it, with the last row of its group commit: a question
    /// among orders hears what stands between them.
    balances: BTreeMap<(BranchId, AccountSerial), Vec<(Sequence, i64)>>,
    /// What was credited: sender, receiver, number.
    credited: BTreeSet<(BranchId, BranchId, u64)>,
    /// What happens to a branch's next group commit, or to its next one with a row of a kind.
    pub(crate) traps: BTreeMap<BranchId, (Trap, Option<RowKind>)>,
    /// How often each kind of row was written.
    pub(crate) rows: BTreeMap<&'static str, u64>,
    /// How often each trap was met.
    pub(crate) sprung: BTreeMap<String, u64>,
    /// Everything, for whoever compares two runs.
    pub(crate) trace: blake3::Hasher,
    /// Group commits since they were last looked at.
    is_new: bool,
}

impl Witness {
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("nobody panicked")
    }

    /// Puts a branch's journal under observation. What was durable before must still be there.
    pub(crate) fn watch(&self, branch: BranchId, journal: SqliteJournal) -> Box<dyn Journal> {
        let mut seen = self.seen();
        let fold = seen.folds.entry(branch).or_insert_with(|| Fold::from(branch, Folded::empty()));
        let (stored, known) = (journal.last_sequence(), fold.sequence());
        assert_eq!(stored, known, "I5: branch {branch} opens with {stored} rows, {known} were durable");
        Box::new(Watched { branch, journal, witness: self.clone() })
    }

    /// The trap that a group commit falls into.
    pub(crate) fn spring(&self, branch: BranchId, rows: &[Row]) -> Option<Trap> {
        let mut seen = self.seen();
        let trap = seen.trap(branch, rows)?;
        let what = match trap {
            Trap::Full => "full disk",
            Trap::Before => "death before a commit",
            Trap::After => "death after a commit",
        };
        *seen.sprung.entry(what.to_owned()).or_default() += 1;
        // Which window of the protocol that was: by what the group commit holds, or was to hold.
        for row in rows.iter().filter(|_| trap != Trap::Full) {
            *seen.sprung.entry(format!("{what} with {}", row.kind.as_str())).or_default() += 1;
        }
        Some(trap)
    }

    /// A group commit has become durable.
    pub(crate) fn take(&self, branch: BranchId, rows: &[Row], closing: GroupCommit) {
        let mut seen = self.seen();
        let Some((last, before)) = rows.split_last() else { return };
        for row in rows {
            *seen.rows.entry(row.kind.as_str()).or_default() += 1;
            if let Ok(Some(Entry::Received { arrival, .. })) = entry_of(row) {
                let is_new = seen.credited.insert((arrival.source, branch, arrival.pair_sequence));
                assert!(is_new, "I3: credited twice: {row:?}");
            }
            if row.kind == RowKind::Refused && row.channel == branch_server::journal::Channel::Branch {
                *seen.rows.entry("turned away").or_default() += 1;
            }
        }
        seen.trace.update(&branch.get().to_le_bytes());
        seen.trace.update(format!("{:?} {}", closing.hash, closing.epoch).as_bytes());
        seen.is_new = true;
        let fold = seen.folds.entry(branch).or_insert_with(|| Fold::from(branch, Folded::empty()));
        for row in before {
            fold.take(row.clone(), None).expect("I10: the row follows from the rows before it");
        }
        fold.take(last.clone(), Some(closing)).expect("I1, I7, I9, I10: the group commit follows from those before it");
        for row in rows {
            let (debit, credit) =
                (row.debit_account.zip(Some(row.debit_balance)), row.credit_account.zip(Some(row.credit_balance)));
            for (serial, balance) in [debit, credit].into_iter().flatten() {
                seen.balances.entry((branch, serial)).or_default().push((last.sequence, balance));
            }
        }
        if crate::tells_its_history() {
            for row in rows {
                let at = turmoil::sim_elapsed().unwrap_or_default().as_millis();
                let (sequence, kind) = (row.sequence, row.kind.as_str());
                println!("{at:>6} ms  branch {branch} row {sequence} {kind} {}", row.transaction);
            }
        }
    }

    /// What must be true whenever the bank stands still for a moment; says nothing when nothing was written.
    pub(crate) fn check(&self) {
        let mut seen = self.seen();
        if !std::mem::take(&mut seen.is_new) {
            return;
        }
        for (branch, fold) in &seen.folds {
            for (serial, account) in fold.ledger().accounts().filter(|(_, account)| account.kind.is_customer()) {
                let available = account.balance + account.overdraft_limit - account.held;
                assert!(available >= 0, "I7: account {} of branch {branch} is {available} below its floor", serial.0);
            }
        }
        let cut = BankCut(seen.folds.iter().map(|(branch, fold)| (*branch, cut(fold))).collect());
        assert_eq!(cut.violations(), [], "I1 and I2");
        for position in cut.positions() {
            let (first, second) = (position.first, position.second);
            let under_way = |from, to| seen.under_way(from, to);
            let mut expected = under_way(first, second);
            for (currency, amount) in under_way(second, first) {
                *expected.entry(currency).or_default() += amount;
            }
            for line in &position.lines {
                let expected = expected.get(&line.currency).copied().unwrap_or_default();
                assert_eq!(line.in_flight, expected, "I2: in flight between {first} and {second}");
            }
        }
    }

    /// The last row of each branch.
    pub(crate) fn heads(&self) -> BTreeMap<BranchId, Sequence> {
        self.seen().folds.iter().map(|(branch, fold)| (*branch, fold.sequence())).collect()
    }

    /// What an account had since a row was its branch's last, in minor units.
    pub(crate) fn balances(&self, account: AccountNumber, since: Sequence) -> Vec<i64> {
        let seen = self.seen();
        let all = seen.balances.get(&(account.branch(), account.serial())).map_or(&[][..], Vec::as_slice);
        let first = all.partition_point(|(sequence, _)| *sequence <= since).saturating_sub(1);
        all[first..].iter().map(|(_, balance)| *balance).collect()
    }

    /// How many transfers have not ended.
    pub(crate) fn outstanding(&self) -> usize {
        self.seen().folds.values().map(|fold| fold.ledger().outbox().count()).sum()
    }
}

fn cut(fold: &Fold) -> BranchCut {
    BranchCut::of(fold.ledger(), fold.sequence(), bank_proto::Timestamp(0))
}

impl Seen {
    fn trap(&mut self, branch: BranchId, rows: &[Row]) -> Option<Trap> {
        let (trap, kind) = *self.traps.get(&branch)?;
        if kind.is_some_and(|kind| rows.iter().all(|row| row.kind != kind)) {
            return None;
        }
        self.traps.remove(&branch);
        Some(trap)
    }

    /// The money that has left `from` for `to`, was not credited there, and did not come back.
    fn under_way(&self, from: BranchId, to: BranchId) -> BTreeMap<Currency, i128> {
        let mut amounts = BTreeMap::new();
        for (peer, number, outgoing) in self.folds[&from].ledger().outbox() {
            if peer == to && !self.credited.contains(&(from, to, number)) && outgoing.original.is_none() {
                *amounts.entry(outgoing.amount.currency()).or_default() += i128::from(outgoing.amount.minor());
            }
        }
        amounts
    }
}

struct Watched {
    branch: BranchId,
    journal: SqliteJournal,
    witness: Witness,
}

impl Watched {
    fn durable(&self, rows: &[Row]) {
        let closing = GroupCommit { epoch: self.journal.epoch(), hash: self.journal.head() };
        self.witness.take(self.branch, rows, closing);
    }
}

impl Journal for Watched {
    fn last_sequence(&self) -> Sequence {
        self.journal.last_sequence()
    }

    fn head(&self) -> ChainHash {
        self.journal.head()
    }

    fn epoch(&self) -> u64 {
        self.journal.epoch()
    }

    fn append(&mut self, rows: &[Row], names: &[PersonalName]) -> Result<(), AppendError> {
        match self.witness.spring(self.branch, rows) {
            Some(Trap::Full) => Err(AppendError::StorageFull),
            Some(Trap::Before) => Err(AppendError::Fatal("the server dies before the commit".to_owned())),
            Some(Trap::After) => {
                self.journal.append(rows, names)?;
                self.durable(rows);
                Err(AppendError::Fatal("the server dies after the commit".to_owned()))
            }
            None => {
                self.journal.append(rows, names)?;
                self.durable(rows);
                Ok(())
            }
        }
    }

    fn confirm(&mut self) -> Result<(), AppendError> {
        self.journal.confirm()
    }

    fn read(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError> {
        self.journal.read(first, limit)
    }

    fn personal_name(&mut self, customer: bank_proto::CustomerId) -> Result<Option<String>, ReadError> {
        self.journal.personal_name(customer)
    }
}
