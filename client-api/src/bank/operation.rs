//! What can be asked of a branch, in the bank's words.

use crate::app::Caller;
use bank_proto::traces::{Kind, Span};
use bank_proto::{AccountNumber, BranchId, Currency, CustomerId, Money, TransactionId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One thing that one branch is asked to do or to tell.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// Opens a branch's books.
    InitializeBranch {
        branch: BranchId,
        /// None leaves it to the branch.
        initial_balance: Option<Money>,
    },
    /// Registers a customer by name.
    CreateCustomer { customer: CustomerId, name: String },
    /// Tells a customer's name and accounts.
    GetCustomer { customer: CustomerId },
    /// Opens an account at zero.
    OpenAccount {
        customer: CustomerId,
        product: Product,
        currency: Currency,
        joint_holders: Vec<CustomerId>,
        overdraft_limit: Option<Money>,
    },
    /// Tells an account as it is now.
    GetAccount { account: AccountNumber },
    /// Freezes, unfreezes or closes an account.
    ChangeAccount { account: AccountNumber, change: AccountChange },
    /// Pays cash in.
    Deposit(Movement),
    /// Pays cash out.
    Withdraw(Movement),
    /// Pays another account.
    Transfer(Transfer),
    /// Holds money of an account.
    Hold {
        /// Whose, how much, and what the journal says about it.
        movement: Movement,
        /// None leaves it to the branch.
        expires_in_seconds: Option<u32>,
    },
    /// Pays another account out of a hold.
    Capture(Capture),
    /// Lets a hold go.
    Release { hold: TransactionId, memo: String },
    /// Tells how a hold stands.
    GetHold { hold: TransactionId },
    /// Takes a transaction back.
    Reverse { original: TransactionId, memo: String },
    /// Tells how a transfer stands.
    GetTransfer { transfer: TransactionId },
    /// Tells a balance.
    Query { target: Target, currency: Option<Currency> },
}

/// What an account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Product {
    Checking,
    Savings,
    FixedDeposit,
    Investment,
}

/// What becomes of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountChange {
    Freeze,
    Unfreeze,
    Close,
}

/// Which account is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The customer's oldest open checking account in the currency.
    Customer(CustomerId),
    /// This one.
    Account(AccountNumber),
}

/// Cash in or out.
#[derive(Debug, Clone)]
pub(crate) struct Movement {
    pub(crate) target: Target,
    /// Positive decimal text; the branch checks its decimals again.
    pub(crate) amount: String,
    /// None means USD, or the currency of the account that is named.
    pub(crate) currency: Option<Currency>,
    pub(crate) memo: String,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Money for another account.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    /// The payer, the amount and what the statements say.
    pub(crate) movement: Movement,
    /// Who is paid.
    pub(crate) payee: Target,
    /// How long to wait for the end; None leaves it to the branch.
    pub(crate) wait_ms: Option<u32>,
}

/// Money out of a hold.
#[derive(Debug, Clone)]
pub(crate) struct Capture {
    /// The hold.
    pub(crate) hold: TransactionId,
    /// Who is paid.
    pub(crate) payee: Target,
    /// Positive decimal text in the hold's currency; empty for all that is left.
    pub(crate) amount: String,
    /// Whether the rest stays held.
    pub(crate) keep_rest: bool,
    pub(crate) memo: String,
    pub(crate) metadata: BTreeMap<String, String>,
    /// How long to wait for the end; None leaves it to the branch.
    pub(crate) wait_ms: Option<u32>,
}

impl Operation {
    /// The branch that keeps what this is about, in a bank of so many branches.
    pub(crate) fn owner(&self, branches: u32) -> BranchId {
        match self {
            Operation::InitializeBranch { branch, .. } => *branch,
            Operation::CreateCustomer { customer, .. }
            | Operation::GetCustomer { customer }
            | Operation::OpenAccount { customer, .. } => customer.home_branch(branches),
            Operation::GetAccount { account } | Operation::ChangeAccount { account, .. } => account.branch(),
            Operation::Deposit(movement) | Operation::Withdraw(movement) => movement.target.owner(branches),
            Operation::Transfer(transfer) => transfer.movement.target.owner(branches),
            Operation::GetTransfer { transfer } => transfer.branch,
            Operation::Hold { movement, .. } => movement.target.owner(branches),
            Operation::Capture(capture) => capture.hold.branch,
            Operation::Release { hold, .. } | Operation::GetHold { hold } => hold.branch,
            Operation::Reverse { original, .. } => original.branch,
            Operation::Query { target, .. } => target.owner(branches),
        }
    }

    /// Whether it changes anything, so that its outcome matters even when nobody waits any more.
    pub(crate) fn is_write(&self) -> bool {
        match self {
            Operation::GetCustomer { .. }
            | Operation::GetAccount { .. }
            | Operation::GetTransfer { .. }
            | Operation::GetHold { .. }
            | Operation::Query { .. } => false,
            Operation::InitializeBranch { .. }
            | Operation::CreateCustomer { .. }
            | Operation::OpenAccount { .. }
            | Operation::ChangeAccount { .. }
            | Operation::Deposit(_)
            | Operation::Withdraw(_)
            | Operation::Transfer(_)
            | Operation::Hold { .. }
            | Operation::Capture(_)
            | Operation::Release { .. }
            | Operation::Reverse { .. } => true,
        }
    }
}

impl Target {
    fn owner(self, branches: u32) -> BranchId {
        match self {
            Target::Customer(customer) => customer.home_branch(branches),
            Target::Account(account) => account.branch(),
        }
    }
}

/// What is on its way: with its id and who asks.
#[derive(Debug)]
pub(crate) struct Order {
    pub(super) asked: Asked,
    pub(super) request_id: Arc<str>,
    /// When the request is sampled: ends when nobody waits for the answer any more.
    pub(super) span: Option<Box<Span>>,
}

/// One operation, or some that are linked.
#[derive(Debug)]
pub(super) enum Asked {
    /// With an id when it is a write. Made before the first sending and the same at every repeat.
    One(Operation, Option<TransactionId>),
    /// Writes of one branch that are carried out together or not at all.
    Linked(Vec<(Operation, TransactionId)>),
}

impl Order {
    /// Reads lose the id: they have no use for it.
    pub(super) fn new(operation: Operation, id: Option<TransactionId>, caller: &Caller) -> Order {
        let id = id.filter(|_| operation.is_write());
        Order { asked: Asked::One(operation, id), request_id: Arc::clone(&caller.request_id), span: asking(caller) }
    }

    /// Writes of one branch that are carried out together or not at all.
    pub(super) fn linked(operations: Vec<(Operation, TransactionId)>, caller: &Caller) -> Order {
        Order { asked: Asked::Linked(operations), request_id: Arc::clone(&caller.request_id), span: asking(caller) }
    }

    pub(super) fn is_write(&self) -> bool {
        match &self.asked {
            Asked::One(_, id) => id.is_some(),
            Asked::Linked(_) => true,
        }
    }

    /// The branch that carries it out, in a bank of so many; None when there is nothing to carry out.
    pub(super) fn branch(&self, branches: u32) -> Option<BranchId> {
        match &self.asked {
            Asked::One(operation, _) => Some(operation.owner(branches)),
            Asked::Linked(operations) => operations.first().map(|(operation, _)| operation.owner(branches)),
        }
    }

    /// How many operations it is.
    pub(super) fn weight(&self) -> usize {
        match &self.asked {
            Asked::One(..) => 1,
            Asked::Linked(operations) => operations.len(),
        }
    }
}

/// The step of asking a branch.
fn asking(caller: &Caller) -> Option<Box<Span>> {
    caller.trace.as_ref().map(|trace| Box::new(trace.begin("ask the branch", Kind::Client)))
}
