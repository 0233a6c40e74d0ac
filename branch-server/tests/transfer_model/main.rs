//! The protocol for money between branches, as a model that is checked in every state it can reach.
//!
//! Two branches ([`branch`]) each keep a journal, and everything they know follows from its rows, so a crash loses
//! memory only and an older copy is the journal's first rows. A payer orders a transfer: the source ([`source`]) debits
//! and lists it in one commit, sends it until an outcome is heard, and cancels instead of crediting once the deadline
//! has passed. The destination ([`destination`]) stores one outcome for each id, for ever. Messages ([`message`]) are
//! heard in any order, many times or never. [`bank`] puts them together with everything that may happen at any moment:
//! a deadline passes, the payee's account closes, a branch crashes, a life of a branch runs on as a zombie beside the
//! next, a branch is opened from an older copy. [`properties`] says what must hold in every state.
//!
//! What a restored copy needs beyond ids, epochs and pair sequences is in [`greeting`]; [`older_copies`] shows which
//! promises break without it. [`planted_bugs`] leaves out one rule after the other and sees the checker find it.
//!
//! Liveness is checked without stateright's `eventually`, which is unsure where paths join: no run of the model is
//! endless, so it is enough that wherever the protocol's own steps have come to an end every transfer has ended too.
//!
//! Not modelled: more than two branches or transfers, several items in one message (they are heard one after the
//! other), and an original that goes on committing beside its copy.
//!
//! Small configurations run with all tests; the large ones by
//!
//! ```text
//! cargo test --release -p branch-server --test transfer_model -- --ignored --nocapture --test-threads 1
//! ```

mod as_specified;
mod bank;
mod branch;
mod checking;
mod destination;
mod greeting;
mod message;
mod older_copies;
mod planted_bugs;
mod properties;
mod rules;
mod source;
