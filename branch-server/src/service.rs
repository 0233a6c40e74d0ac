//! The gRPC edge: the only place that names wire types.
//!
//! - [`inbound`]: wire messages -> the bank's own words, or a refusal that names the field
//! - [`outbound`]: answers -> wire messages and statuses
//! - [`sentence`]: refusals for people
//! - [`damage`]: why a branch does not serve, for everybody who asks
//! - [`hosted`]: a branch of this server, open or closed
//! - [`bank`]: which branch, hosted here or by a peer; one way for single calls, batches and streams
//! - [`forward`]: how a request came here, and its way on to another server
//! - [`traced`]: what a trace says of an operation at its branch
//! - [`waiting`]: answers to transfers that are still under way
//! - [`inter_branch`]: what branches say to each other
//! - [`copying`]: a branch's journal for whoever keeps a copy of it
//! - [`cut`]: the books of all branches together
//! - [`grpc`]: the service itself
//! - [`stream`]: a conversation of many operations
//! - [`measured`]: how many calls come, how they end, how long they take
//! - [`only_servers`]: who may call what is for branch servers alone
//! - [`own_words`]: the bank's codes for what tonic refuses by itself
//! - [`deadline`]: how long a caller waits
//! - [`follow`]: a branch's journal as a stream, for those who follow it
//! - [`history`]: an account's pages, read from the journal without disturbing the teller

mod bank;
mod copying;
mod cut;
mod damage;
mod deadline;
mod follow;
mod forward;
mod grpc;
mod history;
mod hosted;
mod inbound;
mod inter_branch;
mod measured;
mod only_servers;
mod outbound;
mod own_words;
mod placing;
mod sentence;
mod stream;
mod traced;
mod waiting;

pub(crate) use bank::{Bank, Resources};
pub(crate) use damage::told_to_callers;
pub(crate) use grpc::BankEdge;
pub(crate) use hosted::{Hosted, OpenBranch};
pub(crate) use inter_branch::{IncomingBooks, InterBranchEdge};
pub(crate) use measured::{Measured, Methods};
pub(crate) use only_servers::{Caller, OnlyServers};
pub(crate) use own_words::{HEADER_LIST_BYTES, OwnWords, nobody};
