//! Where every simulation must have been: each kind of fault, of row and of answer, and the windows of the protocol.

use crate::run::Kind;

/// Whatever the books are in.
pub(crate) const EVERYWHERE: &[&str] = &[
    "death between commits",
    "death before a commit",
    "death after a commit",
    "full disk",
    "stop",
    // The payer's branch dies around the debit, the payee's around the outcome.
    "death before a commit with transfer_sent",
    "death after a commit with transfer_sent",
    "death before a commit with transfer_received",
    "death after a commit with transfer_received",
    "death after a commit with deposit",
    "partition",
    "one-way partition",
    "wrong clock",
    "row transfer_sent",
    "row transfer_received",
    "row transfer_completed",
    "row transfer_returned",
    "row transfer_cancelled",
    "row turned away",
    "row reversal",
    "row reversal_sent",
    "row reversal_accepted",
    "row hold_captured",
    "row hold_released",
    "row hold_expired",
    "told receipt",
    "told refusal",
    "told transfer",
    "told transfer that came back",
    "told reversal",
    "told door: done",
    "told door: hold",
    "told door: ended",
    "told door: came back",
    "told door: refused",
];

/// Where branches move with their books. The rarer windows of the protocol are looked for here only: leases have no
/// part in them.
const OWN: &[&str] = &[
    "move",
    // The payer's branch dies around the end.
    "death before a commit with transfer_completed",
    "death after a commit with transfer_completed",
    "death before a commit with transfer_returned",
    "death after a commit with transfer_returned",
    "death after a commit with reversal_sent",
    "death after a commit with reversal_accepted",
    "death after a commit with hold_captured",
    "death while stopping",
    "row reversal_refused",
];

/// Where any server takes any branch: what became of statements, which fence turned late ones away, who took what, and
/// what went wrong with the database.
const SHARED: &[&str] = &[
    "question",
    "answer lost, and done",
    "answer lost, and not done",
    "answer lost, and done later",
    "not done",
    "connection refused",
    "late group commit done",
    "late group commit turned away",
    "late claim done",
    "late claim turned away",
    "late standing done",
    "late give-back turned away",
    "fenced by the epoch",
    "fenced by the session",
    "claim of a free branch",
    "claim of an own branch",
    "claim of another's branch",
    "claim that came too late",
    "give-back",
    "cut off at the first commit",
    "connections broken",
    "server away for less than a lease",
    "server away for more than a lease",
    "database away",
    "failover with the commit under way",
    "failover without the commit under way",
    "sleep",
    "calm after a death",
    "calm without a death",
];

impl Kind {
    /// Where its simulations must have been besides.
    pub(crate) fn places(self) -> &'static [&'static str] {
        match self {
            Kind::Own => OWN,
            Kind::Shared => SHARED,
        }
    }
}
