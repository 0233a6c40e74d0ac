//! Bugs that a test plants, to see that a checker catches them (docs/TESTING.md, Teeth).
//!
//! Only a build with the feature `planted-bugs` has them, and in it only the one that the environment variable
//! FLORIN_PLANTED_BUG names. In every other build [`is_planted`] is a constant, and nothing of them is left.

/// What can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Group commits are not synced.
    NoSync,
    /// The epoch of whoever speaks for a branch is not looked at.
    NoEpochCheck,
    /// Callers are answered before the group commit.
    AnswerBeforeCommit,
    /// What has left for another branch is known to memory only.
    OutboxInMemory,
    /// A cancelled transfer leaves no tombstone.
    NoTombstone,
    /// A transfer that takes long goes back to the payer without asking the payee's branch.
    VoidOnTimeout,
    /// A transfer that is delivered again has another id.
    RetryWithNewId,
    /// Outcomes of what arrived are forgotten when a branch opens.
    ExpiredInbox,
    /// The number of what arrives is not looked at.
    NoNumberCheck,
    /// Ids are remembered for as long as the process lives.
    IdsInMemory,
    /// A refusal is not stored.
    RefusalsForgotten,
    /// A withdrawal is checked against nothing.
    CheckOutsideCommit,
    /// What is held can be taken elsewhere.
    HoldsUncounted,
    /// The end of a transfer is told before it is booked, and not booked.
    EndOnlyTold,
    /// A server that gave a branch's books away may open its copy again.
    BooksKept,
    /// A group commit whose answer was lost is taken for one that was not made.
    LostIsUndone,
    /// A group commit whose answer was lost is taken for made.
    LostIsDone,
    /// Who takes a branch over goes by where its journal ended before.
    EndReadBefore,
    /// A teller that ends while its branch is still being opened is taken for one at work.
    EarlyEndForgotten,
}

#[cfg(feature = "planted-bugs")]
pub(crate) fn is_planted(bug: Bug) -> bool {
    static PLANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let planted = PLANTED.get_or_init(|| std::env::var("FLORIN_PLANTED_BUG").unwrap_or_default());
    *planted == format!("{bug:?}")
}

#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn is_planted(_: Bug) -> bool {
    false
}
