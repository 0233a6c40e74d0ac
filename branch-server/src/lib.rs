//! The process that owns branches. One deposit, from top to bottom:
//!
//! 1. [`service`]: the wire message becomes a command, at the branch that owns the money
//! 2. [`teller`]: the branch's one writer takes it from its queue, with whatever else waits
//! 3. [`ledger`]: decides, purely, and says which entries follow
//! 4. [`journal`]: stores the batch as one group commit and syncs it
//! 5. [`service`]: the answer becomes a wire message
//!
//! Beside that path: [`transfers`] (money on its way to other branches), [`moving`] (a branch on its way to another
//! server), [`cut`] (the books of all branches
//! together, which the auditor looks at), [`derived`] (snapshots and ids, made from the journal and deletable),
//! [`verify`] (proves all of it again), and the process itself: [`Settings`], [`start`], [`run`],
//! [`healthy`].

#![forbid(unsafe_code)]

mod audit;
mod branches;
pub mod cut;
pub mod data_directory;
pub mod derived;
pub mod environment;
mod hosting;
pub mod journal;
pub mod leases;
pub mod ledger;
mod moving;
mod operations;
mod planted;
mod process;
mod server;
mod service;
mod settings;
mod telemetry;
pub mod teller;
mod transfers;
pub mod verify;

pub use process::{healthy, run};
pub use server::{Running, StartError, start, start_in};
pub use settings::{LogFormat, PostgresUrl, Settings, SettingsError, Store, TlsSettings};
