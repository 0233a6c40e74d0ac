//! What travels between the branches.

use crate::rules::Place;

/// A transfer as both branches name it. The attempt is always 0, except under the bug of retrying with a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub(crate) transfer: u8,
    pub(crate) attempt: u8,
}

/// The one answer that a destination ever gives for an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Outcome {
    Credited,
    Rejected,
    Cancelled,
}

/// What a source asks of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Asked {
    Credit { id: Id, pair_sequence: u8 },
    Cancel { id: Id, pair_sequence: u8 },
}

/// From a source to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Request {
    pub(crate) from: Place,
    pub(crate) epoch: u8,
    pub(crate) lowest_outstanding: u8,
    /// The source's life. Only [`Contact::Greeting`](crate::rules::Contact::Greeting) has a destination look at it.
    pub(crate) life: u8,
    /// The life of the destination in whose conversation this is asked; 0: in none.
    pub(crate) to_life: u8,
    pub(crate) asked: Asked,
}

/// What a destination says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Told {
    Outcome(Id, Outcome),
    StaleEpoch,
    Suspended,
}

/// From a destination back to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Answer {
    pub(crate) from: Place,
    pub(crate) epoch: u8,
    /// The life of the destination in whose conversation this is said; 0: in none.
    pub(crate) life: u8,
    /// The life of the source that asked; 0: whichever hears it.
    pub(crate) to_life: u8,
    pub(crate) told: Told,
}

/// Everything that was ever sent. A message may be heard any number of times, in any order, at any time, or never:
/// being lost is not being heard, and being doubled is being heard twice. So nothing is ever taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    requests: Vec<Request>,
    answers: Vec<Answer>,
}

impl Network {
    pub(crate) fn requests(&self) -> &[Request] {
        &self.requests
    }

    pub(crate) fn answers(&self) -> &[Answer] {
        &self.answers
    }

    pub(crate) fn ask(&mut self, request: Request) {
        insert(&mut self.requests, request);
    }

    pub(crate) fn answer(&mut self, answer: Answer) {
        insert(&mut self.answers, answer);
    }

    /// Drops what nobody would listen to any more; it makes fewer states of the same.
    pub(crate) fn retain(&mut self, request: impl Fn(&Request) -> bool, answer: impl Fn(&Answer) -> bool) {
        self.requests.retain(request);
        self.answers.retain(answer);
    }

    /// Says again to other lives what was said before.
    pub(crate) fn send_again(&mut self, again: impl Fn(&Request) -> Option<Request>) {
        for request in self.requests.iter().filter_map(again).collect::<Vec<_>>() {
            self.ask(request);
        }
    }
}

/// Sorted and without doubles, so that two networks that hold the same are the same state.
fn insert<T: Ord>(set: &mut Vec<T>, message: T) {
    if let Err(place) = set.binary_search(&message) {
        set.insert(place, message);
    }
}
