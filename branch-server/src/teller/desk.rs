//! One batch at the desk: decide, apply, one group commit, and only then every answer.

use super::answer::{AccountView, Answer, Answered, Declined, Receipt};
use super::request::{Asked, Job, Key, Order, Read, Request};
use super::rows;
use crate::derived::{ById, TransactionIds};
use crate::environment::Clock;
use crate::journal::{AppendError, Journal, PersonalName, Row, RowKind, Sequence};
use crate::ledger::{Command, Entry, Ledger};
use bank_proto::{AccountSerial, ErrorCode, Money, Timestamp, TransactionKey};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The single writer of one branch: its ledger, its ids and its journal.
pub struct Desk {
    ledger: Ledger,
    journal: Box<dyn Journal>,
    ids: TransactionIds,
    clock: Arc<dyn Clock>,
    /// When the last row was booked: booking times never go back, whatever the wall clock does.
    booked_at: Timestamp,
    group: Group,
}

/// What the current batch adds to the journal.
#[derive(Default)]
struct Group {
    rows: Vec<Row>,
    names: Vec<PersonalName>,
    /// The first row of each transaction of this batch, as an index into `rows`.
    firsts: ById<usize>,
}

/// The branch can no longer be served by this process: what is on disk is not known, or cannot be
/// read. Nothing of the batch has been answered. End the process and recover on restart.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(pub String);

/// What one batch did, for the metrics.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchReport {
    /// Rows that became durable.
    pub rows: usize,
    /// The disk was full and every write was refused.
    pub storage_full: bool,
    /// From taking the batch up to its last answer.
    pub elapsed: Duration,
}

impl Desk {
    /// A desk over books that were opened and checked.
    #[must_use]
    pub fn new(
        ledger: Ledger,
        journal: Box<dyn Journal>,
        ids: TransactionIds,
        clock: Arc<dyn Clock>,
        booked_at: Timestamp,
    ) -> Desk {
        Desk { ledger, journal, ids, clock, booked_at, group: Group::default() }
    }

    /// The books as bytes, as the last group commit left them.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        crate::derived::encode(&self.ledger, self.booked_at)
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
        let begin = self.clock.instant();
        self.booked_at = self.booked_at.max(self.clock.now());
        let answers = self.answer_all(&jobs, true)?;
        let rows = self.group.rows.len();
        let mut report = BatchReport { rows, ..BatchReport::default() };
        let answers = match self.commit() {
            Ok(()) => answers,
            Err(AppendError::StorageFull) => {
                report = BatchReport { storage_full: true, ..BatchReport::default() };
                self.ledger.roll_back();
                self.answer_all(&jobs, false)?
            }
            Err(AppendError::Fatal(what)) => return Err(Fatal(what)),
        };
        for (job, answers) in jobs.into_iter().zip(answers) {
            (job.reply)(answers);
        }
        report.elapsed = self.clock.instant().duration_since(begin);
        Ok(report)
    }

    /// One group commit of all that the batch decided. The group is empty afterwards.
    fn commit(&mut self) -> Result<(), AppendError> {
        let Group { rows, names, firsts } = &mut self.group;
        let outcome = if rows.is_empty() { Ok(()) } else { self.journal.append(rows, names) };
        if outcome.is_ok() {
            self.ledger.commit();
            // Only what is durable becomes an id that outlives the process.
            for row in rows.iter().filter(|row| row.fingerprint.is_some()) {
                self.ids.insert(row.transaction, row.sequence);
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
            Request::Write(order) if is_late => Ok(declined(order, ErrorCode::DeadlineExceeded)),
            Request::Write(order) => self.answer_order(order, accepts_orders),
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
        let first = self.group.rows.len();
        match self.ledger.decide(&order.command) {
            Ok(entries) => {
                for entry in &entries.0 {
                    let sequence = self.next_sequence();
                    let posted = self.ledger.apply(sequence, self.booked_at, entry);
                    let is_first = self.group.rows.len() == first;
                    let row = rows::entry_row(order, sequence, self.booked_at, is_first, entry, posted, &self.ledger);
                    self.group.rows.push(row);
                }
                self.group.names.extend(order.name.clone());
            }
            Err(refusal) => {
                let row = rows::refusal_row(order, self.next_sequence(), self.booked_at, &Declined::from(refusal));
                self.group.rows.push(row);
            }
        }
        self.group.firsts.insert(order.key.get(), first);
        let answer = self.tell(&self.group.rows[first..], order.name.as_ref())?;
        Ok(Answered { key: Some(order.key.get()), replayed: false, answer })
    }

    fn next_sequence(&self) -> Sequence {
        self.journal.last_sequence() + 1 + self.group.rows.len() as u64
    }

    /// The first answer again, if the order's id was used before; the refusal to reuse it, if it
    /// was used for something else.
    fn replay(&mut self, order: &Order) -> Result<Option<Answered>, Fatal> {
        let key = order.key.get();
        let stored;
        let rows = if let Some(first) = self.group.firsts.get(&key) {
            let rows = &self.group.rows[*first..];
            let length = rows.iter().take_while(|row| row.transaction == key).count();
            &rows[..length]
        } else if let Key::Given(key) = order.key
            && let Some(first) = self.ids.get(key).map_err(|error| Fatal(error.to_string()))?
        {
            stored = self.read_transaction(key, first)?;
            &stored
        } else {
            return Ok(None);
        };
        let customer = order.name.as_ref().map(|name| name.customer);
        let same_content = rows.first().and_then(|row| row.fingerprint) == Some(order.fingerprint);
        let rows = rows.to_vec();
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
        let answer = self.tell(&rows, name.as_ref())?;
        Ok(Some(Answered { key: Some(key), replayed: true, answer }))
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
            rows.extend(page.into_iter().take_while(|row| row.transaction == key));
            if read < PAGE || rows.len() as u64 != next - first + read as u64 {
                break;
            }
        }
        match rows.first() {
            Some(_) => Ok(rows),
            None => Err(Fatal(format!("row {first} does not hold transaction {key} as the index of ids says"))),
        }
    }

    /// What a transaction's rows say to whoever ordered it: now or at any later time the same.
    fn tell(&self, rows: &[Row], name: Option<&PersonalName>) -> Result<Answer, Fatal> {
        let damaged = |error: rows::RowError| Fatal(error.to_string());
        let Some(last) = rows.last() else { return Err(Fatal("a transaction without rows".to_owned())) };
        if last.kind == RowKind::Refused {
            return rows::declined_of(last).map(Answer::Refused).map_err(damaged);
        }
        if rows.first().is_some_and(|row| row.kind == RowKind::BranchInitialized) {
            let account = self.view_after(rows).map_err(damaged)?;
            return Ok(Answer::Initialized { created: true, account });
        }
        match rows::entry_of(last).map_err(damaged)? {
            Some(Entry::BranchFoundOpen { .. }) => {
                let account = self.view_after(rows).map_err(damaged)?;
                Ok(Answer::Initialized { created: false, account })
            }
            Some(Entry::Moved { movement, debit, credit, amount }) => {
                let account = rows::customers_side(movement, debit, credit);
                let balance = if account == debit { last.debit_balance } else { last.credit_balance };
                let currency = last.currency.unwrap_or(bank_proto::Currency::USD);
                Ok(Answer::Receipt(Receipt {
                    movement,
                    account,
                    customer: last.customer,
                    amount: Money::from_minor(amount, currency),
                    balance: Money::from_minor(balance, currency),
                    booked_at: last.booked_at,
                }))
            }
            Some(Entry::CustomerRegistered(customer)) => {
                let name = name.map(|name| name.name.clone());
                Ok(Answer::Customer { customer, name, accounts: Vec::new() })
            }
            _ => match self.view_after(rows).map_err(damaged)? {
                Some(view) => Ok(Answer::Account(view)),
                None => Err(Fatal(format!("row {} tells of no account", last.sequence))),
            },
        }
    }

    /// The customer's account that rows are about, as they left it.
    fn view_after(&self, rows: &[Row]) -> Result<Option<AccountView>, rows::RowError> {
        let mut view: Option<AccountView> = None;
        for row in rows {
            match rows::entry_of(row)? {
                Some(Entry::AccountOpened { account, customer: Some(_), .. }) => {
                    view = self.view(account).map(|mut view| {
                        view.account.balance = 0;
                        view.account.state = crate::ledger::AccountState::Open;
                        view
                    });
                }
                Some(Entry::StateChanged { account, state } | Entry::BranchFoundOpen { account, state }) => {
                    view = self.view(account).map(|mut view| {
                        view.account.balance = row.debit_balance;
                        view.account.state = state;
                        view
                    });
                }
                Some(Entry::Moved { .. }) => {
                    if let Some(view) = &mut view {
                        view.account.balance = row.credit_balance;
                    }
                }
                _ => {}
            }
        }
        Ok(view)
    }

    fn view(&self, serial: AccountSerial) -> Option<AccountView> {
        let account = *self.ledger.account(serial)?;
        Some(AccountView { serial, account, joint_holders: self.ledger.joint_holders(serial).to_vec() })
    }

    fn answer_read(&mut self, read: Read) -> Result<Answered, Fatal> {
        let answer = match read {
            Read::Status => Answer::Status {
                initialized: self.ledger.is_initialized(),
                accounts: self.ledger.account_count() as u64,
                sequence: self.journal.last_sequence() + self.group.rows.len() as u64,
                epoch: self.journal.epoch(),
            },
            _ if !self.ledger.is_initialized() => Answer::Refused(Declined::new(ErrorCode::BranchNotFound)),
            Read::Balance { target, currency } => match self.ledger.find_queried(target, currency) {
                Ok(serial) => self.view(serial).map_or_else(no_account, Answer::Balance),
                Err(refusal) => Answer::Refused(refusal.into()),
            },
            Read::Account(serial) => match self.view(serial) {
                Some(view) if view.account.kind.is_customer() => Answer::Account(view),
                _ => no_account(),
            },
            Read::Customer(customer) if !self.ledger.knows(customer) => {
                Answer::Refused(Declined::new(ErrorCode::CustomerNotFound))
            }
            Read::Customer(customer) => {
                let accounts = self.ledger.accounts_of(customer).iter();
                let accounts = accounts.filter_map(|serial| self.view(*serial)).collect();
                let name = self.stored_name(customer)?.map(|name| name.name);
                Answer::Customer { customer, name, accounts }
            }
            Read::TrialBalance => Answer::TrialBalance {
                lines: self.ledger.trial_balance(),
                balanced: self.ledger.is_balanced(),
                sequence: self.journal.last_sequence() + self.group.rows.len() as u64,
                as_of: self.booked_at,
            },
        };
        Ok(Answered { key: None, replayed: false, answer })
    }
}

fn no_account() -> Answer {
    Answer::Refused(Declined::new(ErrorCode::AccountNotFound))
}

/// A refusal that is not stored: the same id may be tried again.
fn declined(order: &Order, code: ErrorCode) -> Answered {
    Answered { key: Some(order.key.get()), replayed: false, answer: Answer::Refused(Declined::new(code)) }
}
