//! One batch at the desk: decide, apply, one group commit, and only then every answer.

mod cuts;
mod greetings;
mod holds;
mod linked;
mod read;
mod reversal;
mod tell;

use self::cuts::Cuts;
use super::answer::{Answer, Answered, Declined};
use super::fold::ids_of;
use super::parcel::Parcel;
use super::request::{Asked, Job, Key, Order, Request, Served};
use super::rows::{self, Books};
use crate::derived::{ById, TransactionIds};
use crate::environment::Clock;
use crate::journal::postgres::SharedFiles;
use crate::journal::{AppendError, Channel, Journal, PersonalName, Row, Sequence};
use crate::ledger::{Arrival, Command, Entries, Entry, Ledger, PairFault};
use crate::planted::{Bug, is_planted};
use bank_proto::{BranchId, ErrorCode, Timestamp, TransactionKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The single writer of one branch: its ledger, its ids and its journal.
pub struct Desk {
    branch: BranchId,
    ledger: Ledger,
    journal: Box<dyn Journal>,
    ids: TransactionIds,
    clock: Arc<dyn Clock>,
    /// When the last row was booked: booking times never go back, whatever the wall clock does.
    booked_at: Timestamp,
    /// When the last durable row was.
    row_booked_at: Timestamp,
    cuts: Cuts,
    /// The epochs under which other branches have greeted since this one was opened.
    greeted: BTreeMap<BranchId, u64>,
    group: Group,
    /// A batch failed: the books in memory are not those that are stored.
    has_failed: bool,
}

/// What the current batch adds to the journal.
#[derive(Default)]
struct Group {
    rows: Vec<Row>,
    names: Vec<PersonalName>,
    /// The row that each id of this batch leads to, as an index into `rows`.
    firsts: ById<usize>,
}

/// The branch can no longer be served by this process: what is on disk is not known, or cannot be
/// read. Nothing of the batch has been answered. End the process and recover on restart.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(pub String);

/// What one batch did: for the metrics, and for whoever takes transfers to other branches.
#[derive(Debug, Clone, Default)]
pub struct BatchReport {
    /// Rows that became durable.
    pub rows: usize,
    /// The disk was full and every write was refused.
    pub storage_full: bool,
    /// From taking the batch up to its last answer.
    pub elapsed: Duration,
    /// Of that, the group commit: writing it and syncing it.
    pub commit: Duration,
    /// The transfers that left for other branches, durable, in the order of their rows.
    pub parcels: Vec<Parcel>,
}

impl Desk {
    /// A desk over books that were opened and checked.
    #[must_use]
    pub fn new(
        branch: BranchId,
        ledger: Ledger,
        journal: Box<dyn Journal>,
        ids: TransactionIds,
        clock: Arc<dyn Clock>,
        booked_at: Timestamp,
    ) -> Desk {
        Desk {
            branch,
            ledger,
            journal,
            ids,
            clock,
            booked_at,
            row_booked_at: booked_at,
            cuts: Cuts::default(),
            greeted: BTreeMap::new(),
            group: Group::default(),
            has_failed: false,
        }
    }

    /// Lets no more money be under way to one other branch than so many minor units of each currency; 0 sets no
    /// such limit.
    pub fn limit_clearing(&mut self, minor_units: i64) {
        self.ledger.limit_clearing(minor_units);
    }

    /// Gives what is derived from here on to whoever serves the branch next, too.
    pub(crate) fn share(&mut self, shared: Option<SharedFiles>) {
        self.ids.share(shared);
    }

    /// The books as bytes, as the last group commit left them; None when a batch failed, for then what stands in memory
    /// is more than that.
    #[must_use]
    pub fn snapshot(&self) -> Option<Vec<u8>> {
        // Of the last row, not of a question after it: whoever goes on from this row without having heard that question may
        // book earlier, and a snapshot that said more than its rows would make those rows damage.
        (!self.has_failed).then(|| crate::derived::encode(&self.ledger, self.row_booked_at))
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &dyn Journal {
        &*self.journal
    }

    /// Serves one batch. When this returns Ok, every job has its answers and all that they tell
    /// is durable, refusals and questions included, so that nobody has seen a balance that a
    /// crash could take back.
    ///
    /// # Errors
    /// [`Fatal`]: nothing of the batch was answered and nothing may be served any more.
    pub fn serve(&mut self, jobs: Vec<Job>) -> Result<BatchReport, Fatal> {
        let served = self.serve_batch(jobs);
        self.has_failed |= served.is_err();
        served
    }

    fn serve_batch(&mut self, jobs: Vec<Job>) -> Result<BatchReport, Fatal> {
        let began = self.clock.instant();
        self.booked_at = self.booked_at.max(self.clock.now());
        self.take_cut_for(&jobs);
        self.expire_holds();
        let answers = self.answer_all(&jobs, true)?;
        let (jobs, answers) = if is_planted(Bug::AnswerBeforeCommit) {
            let served = Served { booked_at: self.booked_at, began, decided: began, durable: began, rows: 0 };
            jobs.into_iter().zip(answers).for_each(|(job, answers)| (job.reply)(answers, served));
            (Vec::new(), Vec::new())
        } else {
            (jobs, answers)
        };
        let rows = self.group.rows.len();
        let parcels = self.parcels_of(&self.group.rows)?;
        let mut report = BatchReport { rows, parcels, ..BatchReport::default() };
        let decided = self.clock.instant();
        let committed = self.commit();
        let durable = self.clock.instant();
        report.commit = durable.duration_since(decided);
        let answers = match committed {
            Ok(()) => answers,
            Err(AppendError::StorageFull) => {
                report = BatchReport { storage_full: true, ..BatchReport::default() };
                self.ledger.roll_back();
                self.answer_all(&jobs, false)?
            }
            Err(AppendError::Fatal(what)) => return Err(Fatal(what)),
        };
        let served = Served { booked_at: self.booked_at, began, decided, durable, rows: report.rows };
        for (job, answers) in jobs.into_iter().zip(answers) {
            (job.reply)(answers, served);
        }
        report.elapsed = self.clock.instant().duration_since(began);
        Ok(report)
    }

    /// The transfers that left for other branches and have not ended, as the journal records them:
    /// what an opened branch has to take up again.
    ///
    /// # Errors
    /// The journal cannot be read, or does not have what the books say.
    pub fn outbox(&mut self) -> Result<Vec<Parcel>, Fatal> {
        if is_planted(Bug::OutboxInMemory) {
            return Ok(Vec::new());
        }
        let rows: Vec<Sequence> = self.ledger.outbox().map(|(_, _, outgoing)| outgoing.row).collect();
        let mut parcels = Vec::with_capacity(rows.len());
        for row in rows {
            let read = self.journal.read(row, 1).map_err(|error| Fatal(error.to_string()))?;
            parcels.append(&mut self.parcels_of(&read)?);
        }
        Ok(parcels)
    }

    fn parcels_of(&self, rows: &[Row]) -> Result<Vec<Parcel>, Fatal> {
        let cut = self.cuts.newest();
        let parcels = rows.iter().filter_map(|row| Parcel::from_row(row, cut).transpose());
        parcels.collect::<Result<_, _>>().map_err(|error| Fatal(error.to_string()))
    }

    /// One group commit of all that the batch decided. The group is empty afterwards.
    fn commit(&mut self) -> Result<(), AppendError> {
        let Group { rows, names, firsts } = &mut self.group;
        // What is told without a group commit must be the newest all the same.
        let outcome = if rows.is_empty() { self.journal.confirm() } else { self.journal.append(rows, names) };
        if outcome.is_ok() {
            self.ledger.commit();
            self.row_booked_at = rows.last().map_or(self.row_booked_at, |row| row.booked_at);
            // Only what is durable becomes an id that outlives the process.
            for row in rows.iter().filter(|_| !is_planted(Bug::IdsInMemory)) {
                self.ids.insert(ids_of(row), row.sequence);
            }
        }
        rows.clear();
        names.clear();
        firsts.clear();
        outcome
    }

    /// Answers in memory. With `accepts_orders` false every new order is refused for want of room.
    fn answer_all(&mut self, jobs: &[Job], accepts_orders: bool) -> Result<Vec<Vec<Answered>>, Fatal> {
        let now = self.clock.instant();
        let mut all = Vec::with_capacity(jobs.len());
        for job in jobs {
            let mut answers = Vec::with_capacity(job.requests.len());
            for asked in &job.requests {
                answers.push(self.answer(asked, now, accepts_orders)?);
            }
            all.push(answers);
        }
        Ok(all)
    }

    fn answer(&mut self, asked: &Asked, now: Instant, accepts_orders: bool) -> Result<Answered, Fatal> {
        let is_late = asked.deadline.is_some_and(|deadline| deadline <= now);
        match &asked.request {
            Request::Read(_) if is_late => Ok(Answered {
                key: None,
                replayed: false,
                answer: Answer::Refused(Declined::new(ErrorCode::DeadlineExceeded)),
            }),
            Request::Read(read) => self.answer_read(*read),
            Request::Write(order) | Request::Arrive { order, .. } if is_late => {
                Ok(declined(order, ErrorCode::DeadlineExceeded))
            }
            Request::Write(order) => self.answer_order(order, accepts_orders),
            Request::Linked(orders) if is_late => {
                Ok(linked::together(orders.iter().map(|order| declined(order, ErrorCode::DeadlineExceeded)).collect()))
            }
            Request::Linked(orders) => self.answer_linked(orders, accepts_orders),
            Request::Arrive { order, arrival, lowest_outstanding } => {
                self.answer_arrival(order, arrival, *lowest_outstanding, accepts_orders)
            }
        }
    }

    /// The one outcome of a transfer from another branch: the stored one, whatever is asked now, or a
    /// new one if the two branches' pasts fit together.
    fn answer_arrival(
        &mut self,
        order: &Order,
        arrival: &Arrival,
        lowest_outstanding: u64,
        accepts_orders: bool,
    ) -> Result<Answered, Fatal> {
        if let Err(fault) = self.hear(arrival.source, arrival.epoch) {
            return Ok(unheard(order, fault));
        }
        if let Some(answered) = self.replay(order)? {
            return Ok(answered);
        }
        match self.ledger.admit(arrival, lowest_outstanding) {
            Ok(()) if is_planted(Bug::NoTombstone) && matches!(order.command, Command::Cancel(_)) => {
                Ok(Answered { key: None, replayed: false, answer: Answer::Arrived(crate::teller::Arrived::Cancelled) })
            }
            Ok(()) if accepts_orders => self.carry_out(order),
            Ok(()) => Ok(declined(order, ErrorCode::StorageFull)),
            Err(fault) => Ok(unheard(order, fault)),
        }
    }

    fn answer_order(&mut self, order: &Order, accepts_orders: bool) -> Result<Answered, Fatal> {
        if let Some(answered) = self.replay(order)? {
            return Ok(answered);
        }
        if !accepts_orders {
            return Ok(declined(order, ErrorCode::StorageFull));
        }
        let opens_books = matches!(order.command, Command::InitializeBranch { .. });
        if !self.ledger.is_initialized() && !opens_books {
            return Ok(declined(order, ErrorCode::BranchNotFound));
        }
        if let Command::Settle { peer, peer_epoch, .. } = order.command
            && let Err(fault) = self.hear(peer, peer_epoch)
        {
            return Ok(unheard(order, fault));
        }
        self.carry_out(order)
    }

    /// Decides, applies, and adds the rows to the group. Refusals are rows as well.
    fn carry_out(&mut self, order: &Order) -> Result<Answered, Fatal> {
        let first = self.group.rows.len();
        let command = self.informed(&order.command)?;
        match self.ledger.decide(&command) {
            Ok(entries) => {
                self.book(order, &entries);
                self.group.names.extend(order.name.clone());
            }
            // The end of a transfer is another branch's word: it is not this branch's to refuse for ever.
            Err(refusal) if matches!(order.command, Command::Settle { .. }) => {
                return Ok(Answered {
                    key: Some(order.key.get()),
                    replayed: false,
                    answer: Answer::Refused(refusal.into()),
                });
            }
            Err(refusal) if is_planted(Bug::RefusalsForgotten) && order.caller.channel != Channel::Branch => {
                let answer = Answer::Refused(refusal.into());
                return Ok(Answered { key: Some(order.key.get()), replayed: false, answer });
            }
            Err(refusal) => self.record_declined(order, refusal.into()),
        }
        self.keep(order, first)
    }

    /// Applies entries, and adds their rows to the group.
    fn book(&mut self, order: &Order, entries: &Entries) {
        for (place, entry) in entries.0.iter().enumerate() {
            let sequence = self.next_sequence();
            let posted = self.ledger.apply(sequence, self.booked_at, entry);
            let books = Books { branch: self.branch, ledger: &self.ledger };
            let row = rows::entry_row(order, sequence, self.booked_at, place == 0, entry, posted, books);
            self.group.rows.push(row);
        }
    }

    /// Makes the rows from `first` on known to the rest of the batch.
    fn remember(&mut self, first: usize) {
        for (place, row) in self.group.rows.iter().enumerate().skip(first) {
            self.group.firsts.extend(ids_of(row).map(|key| (key, place)));
        }
    }

    /// Answers an order from the rows that it has added, from `first` on.
    fn keep(&mut self, order: &Order, first: usize) -> Result<Answered, Fatal> {
        self.remember(first);
        let answer = match self.group.rows.last().map(rows::hold_of) {
            Some(Ok(Some(hold))) => self.hold_answer(hold)?,
            _ => self.tell(&self.group.rows[first..], order.name.as_ref())?,
        };
        Ok(Answered { key: Some(order.key.get()), replayed: false, answer })
    }

    /// Stores a refusal under the order's id.
    fn record_declined(&mut self, order: &Order, mut declined: Declined) {
        let sequence = self.next_sequence();
        if let Command::Receive { arrival, .. } | Command::Return { arrival, .. } = order.command {
            self.ledger.apply(sequence, self.booked_at, &Entry::TurnedAway(arrival));
        }
        if matches!(order.command, Command::Transfer { .. } | Command::Capture { .. }) {
            declined = declined.with(Declined::STATE, Declined::FAILED);
        }
        let row = rows::refusal_row(order, sequence, self.booked_at, &declined, self.branch);
        self.group.rows.push(row);
    }

    fn next_sequence(&self) -> Sequence {
        self.journal.last_sequence() + 1 + self.group.rows.len() as u64
    }

    /// The first answer again, if the order's id was used before; the refusal to reuse it, if it
    /// was used for something else.
    fn replay(&mut self, order: &Order) -> Result<Option<Answered>, Fatal> {
        // An id that this server made a moment ago can only stand in this batch, if anywhere.
        let rows = match order.key {
            Key::Given(key) => self.stored_rows(key)?,
            Key::Made(key) => self.group_rows(key),
        };
        let Some(rows) = rows else { return Ok(None) };
        let customer = order.name.as_ref().map(|name| name.customer);
        let same_content = rows.first().and_then(|row| row.fingerprint) == Some(order.fingerprint);
        // The fingerprint leaves the name out, so that it cannot be guessed from the journal.
        let name = match customer {
            Some(customer) => self.stored_name(customer)?,
            None => None,
        };
        let same_name = match (&name, &order.name) {
            (Some(stored), Some(asked)) => stored.name == asked.name,
            _ => true,
        };
        if !(same_content && same_name) {
            return Ok(Some(declined(order, ErrorCode::IdempotencyKeyReused)));
        }
        let answer = match rows.last().map(rows::hold_of) {
            Some(Ok(Some(hold))) => self.hold_answer(hold)?,
            _ => self.tell(&rows, name.as_ref())?,
        };
        let answer = self.with_end(answer)?;
        Ok(Some(Answered { key: Some(order.key.get()), replayed: true, answer }))
    }

    /// The rows of the transaction that an id leads to, from the row that it leads to on.
    fn stored_rows(&mut self, key: TransactionKey) -> Result<Option<Vec<Row>>, Fatal> {
        if let Some(rows) = self.group_rows(key) {
            return Ok(Some(rows));
        }
        match self.ids.get(key).map_err(|error| Fatal(error.to_string()))? {
            Some(first) => self.read_transaction(key, first).map(Some),
            None => Ok(None),
        }
    }

    /// The rows of a transaction of the current batch.
    fn group_rows(&self, key: TransactionKey) -> Option<Vec<Row>> {
        let rows = &self.group.rows[*self.group.firsts.get(&key)?..];
        let transaction = rows.first()?.transaction;
        Some(rows.iter().take_while(|row| row.transaction == transaction).cloned().collect())
    }

    fn stored_name(&mut self, customer: bank_proto::CustomerId) -> Result<Option<PersonalName>, Fatal> {
        if let Some(name) = self.group.names.iter().find(|name| name.customer == customer) {
            return Ok(Some(name.clone()));
        }
        let name = self.journal.personal_name(customer).map_err(|error| Fatal(error.to_string()))?;
        Ok(name.map(|name| PersonalName { customer, name, digest_key: [0; 32] }))
    }

    /// All rows of a stored transaction.
    fn read_transaction(&mut self, key: TransactionKey, first: Sequence) -> Result<Vec<Row>, Fatal> {
        const PAGE: usize = 8;
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let next = first + rows.len() as u64;
            let page = self.journal.read(next, PAGE).map_err(|error| Fatal(error.to_string()))?;
            let read = page.len();
            let transaction = rows.first().or(page.first()).map(|row| row.transaction);
            rows.extend(page.into_iter().take_while(|row| Some(row.transaction) == transaction));
            if read < PAGE || rows.len() as u64 != next - first + read as u64 {
                break;
            }
        }
        match rows.first() {
            Some(row) if ids_of(row).any(|id| id == key) => Ok(rows),
            _ => Err(Fatal(format!("row {first} is not where id {key} leads as the index of ids says"))),
        }
    }
}

/// A refusal that is not stored: the same id may be tried again.
fn declined(order: &Order, code: ErrorCode) -> Answered {
    Answered { key: Some(order.key.get()), replayed: false, answer: Answer::Refused(Declined::new(code)) }
}

/// What another branch says is not heard: nothing is stored.
fn unheard(order: &Order, fault: PairFault) -> Answered {
    let code = match fault {
        PairFault::StaleEpoch { .. } => ErrorCode::StaleEpoch,
        PairFault::SequenceUsed { .. } | PairFault::OutcomesLost { .. } => ErrorCode::PairSuspended,
    };
    let answer = Answer::Refused(Declined::new(code).with("reason", fault));
    Answered { key: Some(order.key.get()), replayed: false, answer }
}
