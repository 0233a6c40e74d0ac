//! What the books say: of a branch, of the whole bank, and of what branches owe each other.

use super::rfc3339;
use bank_proto::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// A branch's books: the sums of all accounts by kind and currency.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrialBalance {
    pub(crate) branch_id: u32,
    /// True when debits equal credits in every currency.
    pub(crate) balanced: bool,
    /// The journal's row at which these sums hold.
    pub(crate) sequence: i64,
    /// When; null before the first row.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "rfc3339")]
    pub(crate) as_of: Option<Timestamp>,
    pub(crate) lines: Vec<TrialBalanceLine>,
}

/// The sums of one kind of account in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrialBalanceLine {
    /// `checking`, `savings`, `vault_cash`, `capital`, `clearing` and so on.
    pub(crate) account_kind: String,
    /// Of `clearing` at one branch: the other branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer_branch_id: Option<u32>,
    pub(crate) currency: String,
    pub(crate) debit: String,
    pub(crate) credit: String,
    /// How many accounts.
    pub(crate) accounts: i64,
}

/// The books of the whole bank.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "token": "1042.993", "balanced": true,
    "lines": [{"account_kind": "checking", "currency": "USD", "debit": "0.00", "credit": "1999.50", "accounts": 2},
              {"account_kind": "capital", "currency": "USD", "debit": "2000.00", "credit": "0.00", "accounts": 2},
              {"account_kind": "clearing", "currency": "USD", "debit": "24.50", "credit": "25.00", "accounts": 2}],
    "in_flight": [{"amount": "0.50", "currency": "USD"}], "branches": [], "violations": []
}))]
pub(crate) struct BankTrialBalance {
    /// Names these books: with `?token=` they are told again.
    pub(crate) token: String,
    /// True when debits equal credits in every currency at every branch.
    pub(crate) balanced: bool,
    /// By kind and currency over all branches.
    pub(crate) lines: Vec<TrialBalanceLine>,
    /// What has left one branch and not yet arrived at another, which is what the `clearing` lines hold
    /// together; never below zero.
    pub(crate) in_flight: Vec<InFlight>,
    /// Each branch's part; one whose books are not open has no lines.
    pub(crate) branches: Vec<TrialBalance>,
    /// What must not be, in words; empty in a bank that is well.
    pub(crate) violations: Vec<String>,
}

/// What is in flight in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InFlight {
    pub(crate) amount: String,
    pub(crate) currency: String,
}

/// What every two branches owe each other.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Positions {
    /// Names the books that say so: with `?token=` they are told again.
    pub(crate) token: String,
    /// Every two branches that ever exchanged money, the lower number first.
    pub(crate) positions: Vec<Position>,
}

/// Two branches, as both their books say.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Position {
    pub(crate) branch_id: u32,
    pub(crate) peer_branch_id: u32,
    pub(crate) lines: Vec<PositionLine>,
    /// Transfers that have left `branch_id` for `peer_branch_id` and not ended.
    pub(crate) outgoing: i64,
    /// The same the other way.
    pub(crate) incoming: i64,
    /// On what the two differ, the first transfer of each kind; empty when they agree.
    pub(crate) differences: Vec<String>,
}

/// What two branches owe each other in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PositionLine {
    pub(crate) currency: String,
    /// What `branch_id` owes `peer_branch_id` by its own books; negative when it is owed.
    pub(crate) owes: String,
    /// What `peer_branch_id` owes `branch_id` by its own books.
    pub(crate) owed: String,
    /// What has left one and not arrived at the other: the sum of both, never below zero.
    pub(crate) in_flight: String,
}

/// What the branch servers' auditors say, who look at the books of the whole bank again and again.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Audit {
    /// When the books agreed last; null before the first time.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "rfc3339")]
    pub(crate) last_agreed_at: Option<Timestamp>,
    /// What was wrong when all branches were last seen together, in words; empty in a bank that is well.
    pub(crate) violations: Vec<String>,
}

impl Audit {
    /// What two of them say.
    pub(crate) fn and(self, other: Audit) -> Audit {
        let last_agreed_at = self.last_agreed_at.max(other.last_agreed_at);
        let mut violations = self.violations;
        violations.extend(other.violations);
        violations.sort();
        violations.dedup();
        Audit { last_agreed_at, violations }
    }
}
