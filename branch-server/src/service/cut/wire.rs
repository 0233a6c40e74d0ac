//! Cuts <-> wire messages.

use super::Parts;
use crate::cut::{BankCut, BranchCut, PeerRecord, Position};
use crate::ledger::{AccountKind, TrialBalanceLine};
use crate::service::outbound::{self, decimal};
use crate::teller::Declined;
use bank_proto::wire;
use bank_proto::{BranchId, Currency, ErrorCode, Timestamp};
use rust_decimal::Decimal;

/// The whole bank's books.
pub(in crate::service) fn bank_trial_balance(cut: &BankCut) -> wire::BankTrialBalance {
    let lines = cut.sums().into_iter().map(|((currency, kind), sum)| wire::TrialBalanceLine {
        account_kind: kind.to_owned(),
        currency: currency.code().to_owned(),
        debit: decimal(sum.debit, currency),
        credit: decimal(sum.credit, currency),
        accounts: i64::try_from(sum.accounts).unwrap_or(i64::MAX),
        peer_branch_id: 0,
    });
    let in_flight = cut.in_flight().into_iter().map(|(currency, amount)| wire::Amount {
        amount: decimal(amount, currency),
        currency: currency.code().to_owned(),
    });
    wire::BankTrialBalance {
        token: cut.token(),
        balanced: cut.is_balanced(),
        lines: lines.collect(),
        in_flight: in_flight.collect(),
        branches: cut.0.iter().map(|(branch, part)| outbound::trial_balance(*branch, part)).collect(),
        violations: cut.violations().iter().map(ToString::to_string).collect(),
    }
}

/// What every two branches owe each other.
pub(in crate::service) fn positions(cut: &BankCut) -> wire::ListPositionsResponse {
    wire::ListPositionsResponse { token: cut.token(), positions: cut.positions().iter().map(position).collect() }
}

fn position(position: &Position) -> wire::Position {
    let lines = position.lines.iter().map(|line| wire::PositionLine {
        currency: line.currency.code().to_owned(),
        owes: decimal(line.first_owes, line.currency),
        owed: decimal(line.second_owes, line.currency),
        in_flight: decimal(line.in_flight, line.currency),
    });
    wire::Position {
        branch_id: position.first.get(),
        peer_branch_id: position.second.get(),
        lines: lines.collect(),
        outgoing: i64::try_from(position.outstanding_to_second).unwrap_or(i64::MAX),
        incoming: i64::try_from(position.outstanding_to_first).unwrap_or(i64::MAX),
        differences: position.differences.iter().map(ToString::to_string).collect(),
    }
}

/// The parts of this server's branches, for another server.
pub(in crate::service) fn take_cut_response(said: Parts) -> wire::TakeCutResponse {
    let parts = said.parts.into_iter().map(|(branch, part)| match part {
        Ok(part) => branch_cut(branch, &part),
        Err(declined) => wire::BranchCut {
            books: Some(wire::TrialBalance { branch_id: branch.get(), ..wire::TrialBalance::default() }),
            peers: Vec::new(),
            failure: Some(outbound::failure(&declined, String::new(), false)),
        },
    });
    wire::TakeCutResponse { newest: said.newest, parts: parts.collect() }
}

/// One part.
pub(in crate::service) fn branch_cut(branch: BranchId, part: &BranchCut) -> wire::BranchCut {
    let peers = part.peers.iter().map(|(peer, record)| peer_record(*peer, *record));
    wire::BranchCut { books: Some(outbound::trial_balance(branch, part)), peers: peers.collect(), failure: None }
}

/// What the books say of a peer.
pub(in crate::service) fn peer_record(peer: BranchId, record: PeerRecord) -> wire::PeerRecord {
    wire::PeerRecord {
        peer_branch_id: peer.get(),
        sent: record.sent,
        lowest_outstanding: record.lowest_outstanding,
        outstanding: record.outstanding,
        received_up_to: record.received_up_to,
        received_last: record.received_last,
    }
}

/// What a peer's books say.
pub(in crate::service) fn peer_record_from(record: wire::PeerRecord) -> PeerRecord {
    let wire::PeerRecord { sent, lowest_outstanding, outstanding, received_up_to, received_last, .. } = record;
    PeerRecord { sent, lowest_outstanding, outstanding, received_up_to, received_last }
}

/// Another server's part; None when it cannot be understood, which is as good as no answer.
pub(super) fn part(part: wire::BranchCut) -> Option<(BranchId, Result<BranchCut, Declined>)> {
    let books = part.books?;
    let branch = BranchId::new(i64::from(books.branch_id)).ok()?;
    if let Some(failure) = part.failure {
        return Some((
            branch,
            Err(Declined { code: ErrorCode::from_text(&failure.code)?, metadata: failure.metadata }),
        ));
    }
    let lines = books.lines.into_iter().map(line).collect::<Option<_>>()?;
    let peers = part.peers.into_iter().map(|record| {
        let peer = BranchId::new(i64::from(record.peer_branch_id)).ok()?;
        Some((peer, peer_record_from(record)))
    });
    let as_of = books.as_of.as_ref().and_then(Timestamp::from_wire).unwrap_or(Timestamp(i64::MIN));
    let sequence = u64::try_from(books.sequence).ok()?;
    Some((branch, Ok(BranchCut { sequence, as_of, lines, peers: peers.collect::<Option<_>>()? })))
}

fn line(line: wire::TrialBalanceLine) -> Option<TrialBalanceLine> {
    let currency: Currency = line.currency.parse().ok()?;
    let peer = BranchId::new(i64::from(line.peer_branch_id)).ok();
    let minor = |text: &str| {
        let mut decimal: Decimal = Decimal::from_str_exact(text).ok()?;
        decimal.rescale(currency.decimals());
        Some(decimal.mantissa())
    };
    Some(TrialBalanceLine {
        kind: AccountKind::from_text(&line.account_kind, peer)?,
        currency,
        debit: minor(&line.debit)?,
        credit: minor(&line.credit)?,
        accounts: u64::try_from(line.accounts).ok()?,
    })
}
