//! The sums that must be zero.

use super::{Account, AccountKind, Ledger};
use bank_proto::Currency;
use std::collections::BTreeMap;

/// All accounts of one kind and currency together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialBalanceLine {
    /// The kind.
    pub kind: AccountKind,
    /// The currency.
    pub currency: Currency,
    /// The sum of the balances on the debit side, in minor units, not negative.
    pub debit: i128,
    /// The sum of the balances on the credit side, in minor units, not negative.
    pub credit: i128,
    /// How many accounts.
    pub accounts: u64,
}

impl Ledger {
    /// The branch's trial balance: per kind and currency, in a fixed order.
    #[must_use]
    pub fn trial_balance(&self) -> Vec<TrialBalanceLine> {
        let mut lines: BTreeMap<(Currency, AccountKind), TrialBalanceLine> = BTreeMap::new();
        // Accounts of one kind come in long runs: looked up once for each run, a million take milliseconds.
        let alike = |one: &Account, next: &Account| one.kind == next.kind && one.currency == next.currency;
        for run in self.accounts.chunk_by(alike) {
            let Some(Account { kind, currency, .. }) = run.first().copied() else { continue };
            let nothing = TrialBalanceLine { kind, currency, debit: 0, credit: 0, accounts: 0 };
            let line = lines.entry((currency, kind)).or_insert(nothing);
            for account in run {
                let balance = i128::from(account.balance);
                line.debit += (-balance).max(0);
                line.credit += balance.max(0);
            }
            line.accounts += run.len() as u64;
        }
        lines.into_values().collect()
    }

    /// Whether debits equal credits in every currency (invariant I1).
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
        for account in &self.accounts {
            *sums.entry(account.currency).or_default() += i128::from(account.balance);
        }
        sums.values().all(|sum| *sum == 0)
    }
}
