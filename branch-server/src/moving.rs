//! A branch's books on their way from the server that had it to the server that the assignment names now.
//!
//! Nobody gives an order: servers start with another assignment, and bring it about. A server that is assigned a branch
//! whose books it does not have asks all others for them, again and again. A server that has books which are not its
//! own any more, and does not serve them therefore, gives them to the one whose they are.
//!
//! - [`Leaving`]: at the server that had it
//! - [`arriving`]: at the server that gets it
//! - [`SeenBranches`]: what every server remembers of the whole bank
//!
//! Each step is durable before the next, so that at no moment two servers may open the branch, and a step that a crash
//! interrupts is done again: `journal::sqlite::retiring` has their order.

pub(crate) mod arriving;
mod leaving;
mod seen;

pub(crate) use leaving::{Answer, Leaving, Parcel, Whereabouts};
pub(crate) use seen::SeenBranches;
