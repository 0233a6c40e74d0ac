//! What is modelled in one run of the checker: the transfers, the faults, and the protocol's rules or a planted bug.

/// One of the two branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    North,
    South,
}

impl Place {
    pub(crate) const BOTH: [Self; 2] = [Self::North, Self::South];

    pub(crate) fn peer(self) -> Self {
        match self {
            Self::North => Self::South,
            Self::South => Self::North,
        }
    }
}

/// How many transfers a model has.
pub(crate) const TRANSFERS: usize = 2;

/// What a payer may order: the money goes from the payer's account at `from` to the payee's at the other branch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) from: Place,
    pub(crate) amount: i8,
}

/// A rule of the protocol left out, to see that the checker misses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A cancel of a transfer that has not arrived is answered CANCELLED, and not stored.
    NoTombstone,
    /// Past the deadline the source returns the money without asking.
    VoidOnTimeOut,
    /// The destination may forget what has arrived.
    InboxForgets,
    /// After a restart the source sends what is in its outbox as new transfers.
    RetryWithNewId,
    /// The debit is one commit, the outbox row another.
    OutboxInSecondCommit,
    /// A message of an older epoch is taken like any other.
    NoEpochCheck,
    /// An outcome is booked each time it is heard.
    SettleTwice,
    /// The destination answers before its commit is durable, so that a crash can lose it.
    AnswerBeforeSync,
    /// The payer's balance is looked at before, and not in, the commit that debits it.
    CheckOutsideCommit,
    /// A pair sequence that another transfer had is taken again.
    NoSequenceCheck,
    /// Nobody compares lowest_outstanding with what has arrived.
    NoLowestOutstandingCheck,
    /// A greeting does not compare what was sent with what has arrived.
    NoSentCheck,
    /// The destination takes requests of earlier conversations too.
    TakesOldRequests,
    /// The source takes answers of earlier conversations too.
    HearsOldAnswers,
}

/// What ties messages together. A life of a branch is the time from one opening to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contact {
    /// Nothing: any life of a branch may hear what was said to an earlier one. The most hostile network.
    Loose,
    /// Remote calls over connections, one at a time: a request reaches only the life of the destination to which it was
    /// sent, and an answer only the life that asked, while the one that answered lives. Requests outlive their sender.
    Calls,
    /// Calls that begin with a greeting, in which both branches compare where they stand; each takes only what was said
    /// in the conversation so begun.
    Greeting,
}

/// One configuration of the model.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) transfers: [Transfer; TRANSFERS],
    /// What each payer has at first.
    pub(crate) opening_balance: i8,
    /// How many times a branch may crash, both together.
    pub(crate) crashes: u8,
    /// The branch that may once be opened from an older copy of its journal.
    pub(crate) restored: Option<Place>,
    pub(crate) contact: Contact,
    pub(crate) bug: Option<Bug>,
}

impl Rules {
    /// Both transfers from North to South.
    pub(crate) fn one_way() -> Self {
        Self {
            transfers: [Transfer { from: Place::North, amount: 1 }, Transfer { from: Place::North, amount: 2 }],
            opening_balance: 3,
            crashes: 2,
            restored: None,
            contact: Contact::Loose,
            bug: None,
        }
    }

    /// One transfer each way, so that each branch is source and destination.
    pub(crate) fn each_way() -> Self {
        let mut rules = Self::one_way();
        rules.transfers[1].from = Place::South;
        rules
    }

    pub(crate) fn with_crashes(self, crashes: u8) -> Self {
        Self { crashes, ..self }
    }

    pub(crate) fn with_opening_balance(self, opening_balance: i8) -> Self {
        Self { opening_balance, ..self }
    }

    pub(crate) fn with_restored(self, place: Place) -> Self {
        Self { restored: Some(place), ..self }
    }

    pub(crate) fn with_contact(self, contact: Contact) -> Self {
        Self { contact, ..self }
    }

    pub(crate) fn with_bug(self, bug: Bug) -> Self {
        Self { bug: Some(bug), ..self }
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}
