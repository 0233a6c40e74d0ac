//! The messages that tell of books.

use super::moment;
use crate::answer;
use bank_proto::wire as proto;

/// A branch's books.
pub(in crate::bank) fn trial_balance(wire: proto::TrialBalance) -> answer::TrialBalance {
    answer::TrialBalance {
        branch_id: wire.branch_id,
        balanced: wire.balanced,
        sequence: wire.sequence,
        as_of: moment(wire.as_of),
        lines: wire.lines.into_iter().map(line).collect(),
    }
}

/// The whole bank's books.
pub(in crate::bank) fn bank_trial_balance(wire: proto::BankTrialBalance) -> answer::BankTrialBalance {
    let amount = |wire: proto::Amount| answer::InFlight { amount: wire.amount, currency: wire.currency };
    answer::BankTrialBalance {
        token: wire.token,
        balanced: wire.balanced,
        lines: wire.lines.into_iter().map(line).collect(),
        in_flight: wire.in_flight.into_iter().map(amount).collect(),
        branches: wire.branches.into_iter().map(trial_balance).collect(),
        violations: wire.violations,
    }
}

/// What every two branches owe each other.
pub(in crate::bank) fn positions(wire: proto::ListPositionsResponse) -> answer::Positions {
    let line = |wire: proto::PositionLine| answer::PositionLine {
        currency: wire.currency,
        owes: wire.owes,
        owed: wire.owed,
        in_flight: wire.in_flight,
    };
    let position = |wire: proto::Position| answer::Position {
        branch_id: wire.branch_id,
        peer_branch_id: wire.peer_branch_id,
        lines: wire.lines.into_iter().map(line).collect(),
        outgoing: wire.outgoing,
        incoming: wire.incoming,
        differences: wire.differences,
    };
    answer::Positions { token: wire.token, positions: wire.positions.into_iter().map(position).collect() }
}

/// What a server's auditor says; nothing when it has said nothing.
pub(in crate::bank) fn audit(wire: Option<proto::Audit>) -> answer::Audit {
    let wire = wire.unwrap_or_default();
    answer::Audit { last_agreed_at: moment(wire.last_agreed_at), violations: wire.violations }
}

fn line(wire: proto::TrialBalanceLine) -> answer::TrialBalanceLine {
    answer::TrialBalanceLine {
        account_kind: wire.account_kind,
        peer_branch_id: (wire.peer_branch_id > 0).then_some(wire.peer_branch_id),
        currency: wire.currency,
        debit: wire.debit,
        credit: wire.credit,
        accounts: wire.accounts,
    }
}
