//! Reads an event file and checks all of it before anything is run.

use crate::exit::Exit;
use bank_proto::{BranchId, Currency, CustomerId, InvalidAmount, InvalidBranchId, InvalidCustomerId, Money};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// A file whose every entry makes sense.
#[derive(Debug)]
pub(super) struct EventFile {
    /// In the order of the file, since the report keeps it.
    pub(super) customers: Vec<CustomerId>,
    /// Every customer's events, in the order of their ids: the order in which they run.
    pub(super) events: Vec<Event>,
    /// Every branch's opening balance.
    pub(super) branches: BTreeMap<BranchId, Money>,
    /// Whether all customers hold one joint account.
    pub(super) joint: bool,
    /// What every id is made from: the hash of the file and how it is run.
    pub(super) fingerprint: String,
}

/// One thing that a customer does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: u64,
    pub(super) customer: CustomerId,
    pub(super) kind: EventKind,
}

/// What the customer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EventKind {
    Deposit(Money),
    Withdraw(Money),
    Query,
}

impl EventKind {
    /// The word that names it in the file and in the report.
    pub(super) fn interface(self) -> &'static str {
        match self {
            EventKind::Deposit(_) => "deposit",
            EventKind::Withdraw(_) => "withdraw",
            EventKind::Query => "query",
        }
    }
}

/// What is wrong with a file, and where. Nothing was run.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("cannot read {path}: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("not an event file: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("{0} has neither \"type\":\"customer\" nor \"type\":\"branch\"")]
    UnknownType(String),
    #[error("{kind} {id} {reason}")]
    OutOfRange { kind: &'static str, id: i64, reason: String },
    #[error("there are two entries for {kind} {id}")]
    Repeated { kind: &'static str, id: u64 },
    #[error("customer {customer} has no branch: the file lists no branch {branch}")]
    MissingBranch { customer: CustomerId, branch: BranchId },
    #[error("customer {customer} names branch {named}, but the home branch of that number is {home}")]
    OtherBranch { customer: CustomerId, named: BranchId, home: BranchId },
    #[error("event {event} has the interface \"{interface}\"; it must be deposit, withdraw or query")]
    UnknownInterface { event: u64, interface: String },
    #[error("{place} {reason}")]
    Amount { place: String, reason: InvalidAmount },
    #[error("the file lists no branches")]
    NoBranches,
    #[error("with --joint all branches must have the same balance; branch {first} has {one}, branch {other} has {two}")]
    UnequalBalances { first: BranchId, one: Money, other: BranchId, two: Money },
    #[error("with --joint a customer of branch {0}, where the account is kept, must be among the customers")]
    NoFirstHolder(BranchId),
    #[error("with --joint at most {most} customers can hold the account; the file has {customers}")]
    TooManyHolders { customers: usize, most: usize },
}

impl FileError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            FileError::Unreadable { .. } => Exit::Unavailable,
            _ => Exit::Data,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    id: i64,
    r#type: String,
    branch_id: Option<i64>,
    #[serde(borrow)]
    events: Option<Vec<EventEntry<'a>>>,
    #[serde(borrow)]
    balance: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventEntry<'a> {
    id: u64,
    interface: String,
    /// Without meaning for a query, which some files give it all the same.
    #[serde(borrow)]
    money: Option<&'a RawValue>,
}

impl EventFile {
    pub(super) fn read(path: &Path, joint: bool) -> Result<EventFile, FileError> {
        let text = std::fs::read(path).map_err(|error| FileError::Unreadable { path: path.to_owned(), error })?;
        EventFile::parse(&text, joint)
    }

    pub(super) fn parse(text: &[u8], joint: bool) -> Result<EventFile, FileError> {
        let entries: Vec<Entry> = serde_json::from_slice(text)?;
        let branches = branches(&entries)?;
        let mut customers = Vec::new();
        let mut events = BTreeMap::new();
        let of_customers = |entry: &&Entry| entry.r#type == "customer";
        for entry in entries.iter().filter(of_customers) {
            let customer = customer(entry, &branches)?;
            if customers.contains(&customer) {
                return Err(FileError::Repeated { kind: "customer", id: customer.get() });
            }
            customers.push(customer);
            for event in entry.events.iter().flatten() {
                let kind = kind(event)?;
                if events.insert(event.id, Event { id: event.id, customer, kind }).is_some() {
                    return Err(FileError::Repeated { kind: "event", id: event.id });
                }
            }
        }
        let mode = if joint { "joint" } else { "single" };
        let fingerprint = format!("replay-{mode}-{}", &blake3::hash(text).to_hex()[..32]);
        let file = EventFile { customers, events: events.into_values().collect(), branches, joint, fingerprint };
        if joint {
            file.check_joint()?;
        }
        Ok(file)
    }

    /// So many branches a bank needs to run this file.
    pub(super) fn highest_branch(&self) -> u32 {
        self.branches.keys().next_back().map_or(1, |branch| branch.get())
    }

    /// The lowest branch with its balance: where a joint account is kept, and what opens it.
    pub(super) fn lowest_branch(&self) -> Option<(BranchId, Money)> {
        self.branches.first_key_value().map(|(branch, balance)| (*branch, *balance))
    }

    /// The holders of the joint account; the first is a customer of the branch that keeps it.
    pub(super) fn holders(&self) -> Option<(CustomerId, Vec<CustomerId>)> {
        let (branch, _) = self.lowest_branch()?;
        let is_first = |customer: &&CustomerId| customer.home_branch(self.highest_branch()) == branch;
        let first = *self.customers.iter().find(is_first)?;
        Some((first, self.customers.iter().copied().filter(|customer| *customer != first).collect()))
    }

    fn check_joint(&self) -> Result<(), FileError> {
        let (first, one) = self.lowest_branch().ok_or(FileError::NoBranches)?;
        if let Some((other, two)) = self.branches.iter().find(|(_, balance)| **balance != one) {
            return Err(FileError::UnequalBalances { first, one, other: *other, two: *two });
        }
        self.holders().ok_or(FileError::NoFirstHolder(first))?;
        let (customers, most) = (self.customers.len(), bank_proto::limits::ACCOUNT_HOLDERS);
        if customers > most { Err(FileError::TooManyHolders { customers, most }) } else { Ok(()) }
    }
}

fn branches(entries: &[Entry]) -> Result<BTreeMap<BranchId, Money>, FileError> {
    let mut branches = BTreeMap::new();
    for entry in entries {
        match entry.r#type.as_str() {
            "customer" => {}
            "branch" => {
                let branch = branch(entry.id)?;
                let place = || format!("the balance of branch {branch}");
                let balance = amount(entry.balance, Money::parse_not_negative, place)?;
                if branches.insert(branch, balance).is_some() {
                    return Err(FileError::Repeated { kind: "branch", id: u64::from(branch.get()) });
                }
            }
            other => return Err(FileError::UnknownType(format!("entry {} of type \"{other}\"", entry.id))),
        }
    }
    if branches.is_empty() { Err(FileError::NoBranches) } else { Ok(branches) }
}

fn branch(id: i64) -> Result<BranchId, FileError> {
    let reason = |error: InvalidBranchId| FileError::OutOfRange { kind: "branch", id, reason: error.to_string() };
    BranchId::new(id).map_err(reason)
}

fn customer(entry: &Entry, branches: &BTreeMap<BranchId, Money>) -> Result<CustomerId, FileError> {
    let id = entry.id;
    let reason = |error: InvalidCustomerId| FileError::OutOfRange { kind: "customer", id, reason: error.to_string() };
    let customer = CustomerId::new(id).map_err(reason)?;
    let bank = branches.keys().next_back().map_or(1, |branch| branch.get());
    let home = customer.home_branch(bank);
    let named = entry.branch_id.map(branch).transpose()?;
    match named {
        Some(named) if !branches.contains_key(&named) => Err(FileError::MissingBranch { customer, branch: named }),
        Some(named) if named != home => Err(FileError::OtherBranch { customer, named, home }),
        None if !branches.contains_key(&home) => Err(FileError::MissingBranch { customer, branch: home }),
        Some(_) | None => Ok(customer),
    }
}

fn kind(event: &EventEntry) -> Result<EventKind, FileError> {
    let money = || amount(event.money, Money::parse_positive, || format!("the money of event {}", event.id));
    match event.interface.as_str() {
        "deposit" => money().map(EventKind::Deposit),
        "withdraw" => money().map(EventKind::Withdraw),
        "query" => Ok(EventKind::Query),
        other => Err(FileError::UnknownInterface { event: event.id, interface: other.to_owned() }),
    }
}

/// An amount as a JSON number or a decimal string, read from its very text: never through a float.
fn amount(
    value: Option<&RawValue>,
    parse: fn(&str, Currency) -> Result<Money, InvalidAmount>,
    place: impl Fn() -> String,
) -> Result<Money, FileError> {
    let text = value.map_or("", RawValue::get);
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    parse(text, Currency::USD).map_err(|reason| FileError::Amount { place: place(), reason })
}

#[cfg(test)]
mod tests;
