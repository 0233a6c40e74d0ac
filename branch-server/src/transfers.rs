//! Transfers on their way to other branches: sent again until the other branch has said how they end.
//!
//! - [`courier`]: one per branch hosted here: what the teller sent off goes to the lane of its peer
//! - [`lane`]: one per peer: deliver, book the outcomes, and try again
//! - [`greeting`]: two branches compare their pasts before anything passes between them
//! - [`message`]: what two branches say to each other, in the bank's own words
//! - [`orders`]: messages -> orders for the tellers of both ends
//! - [`watch`]: callers who wait for an end
//!
//! Everything here can be lost at any moment: the outbox in the payer's journal and the outcomes in
//! the payee's say all that is needed to go on. docs/TRANSFERS.md has the protocol.

mod courier;
mod greeting;
mod lane;
mod message;
mod orders;
mod watch;

pub(crate) use courier::Courier;
pub(crate) use greeting::{Greeted, ask_of_peer};
pub(crate) use message::{Heard, Message, Verdict};
pub(crate) use orders::{arrival, heard};
pub(crate) use watch::{Watch, Watchers};
