//! What can be asked of `bankctl bench`.

use crate::shared_store::StoreArguments;
use clap::ValueEnum;
use std::path::PathBuf;

/// What to measure, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to run. The suite runs everything next to its yardsticks and judges the floors.
    #[arg(value_enum, default_value_t = Scenario::Suite)]
    pub(super) scenario: Scenario,
    /// The suite at full length: 5 million transactions on one branch, 1 million accounts, and how
    /// long that branch takes to open again after a kill.
    #[arg(long)]
    pub(super) full: bool,
    /// Exit with 1 when a floor is missed, not only when the books do not agree.
    #[arg(long)]
    pub(super) strict: bool,
    /// How many rounds the suite interleaves. The medians count: of each figure in the table, and of
    /// each round's own ratio to its yardstick for a floor.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) rounds: u32,
    /// How long each measurement runs, in seconds.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) seconds: u64,
    /// How many connections wait for an answer at the same time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) connections: u32,
    /// Requests a second of the open loop.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(super) rate: u64,
    /// Operations in one gRPC batch.
    #[arg(long, default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=bank_proto::limits::BATCH_OPERATIONS as i64))]
    pub(super) batch: u32,
    /// Batches that wait for an answer at the same time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) in_flight: u32,
    /// How many operations the batch scenario runs [default: 1000000, with --full 5000000].
    #[arg(long)]
    pub(super) operations: Option<u64>,
    /// Whose accounts the money goes to.
    #[arg(long, value_enum, default_value_t = SpreadName::Uniform)]
    pub(super) spread: SpreadName,
    /// How many customers a spread has; with `branch` all of them at branch 1.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(super) customers: u64,
    /// Who makes the transaction ids.
    #[arg(long, value_enum, default_value_t = Ids::Client)]
    pub(super) ids: Ids,
    /// Of a thousand transfers, how many go to another branch.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(super) cross_permille: u32,
    /// How many branches the bank has.
    #[arg(long, default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(bank_proto::limits::BRANCHES)))]
    pub(super) branches: u32,
    /// How many branch servers the temporary bank runs.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) servers: u32,
    /// Measure this running bank instead of a temporary one. Its books grow by what is paid in.
    #[arg(long, env = "FLORIN_API", value_name = "URL", requires = "grpc")]
    pub(super) api: Option<String>,
    /// The running bank's branch servers in the order of their ordinals.
    #[arg(long, value_name = "URL", value_delimiter = ',', requires = "api")]
    pub(super) grpc: Vec<String>,
    /// A PostgreSQL server: the temporary bank has its books in a new database there, which goes with it.
    #[command(flatten)]
    pub(super) store: StoreArguments,
    /// Where the temporary bank keeps its data meanwhile; its disk is what is measured.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(super) dir: PathBuf,
}

/// What to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Scenario {
    /// Everything, interleaved with the yardsticks.
    Suite,
    /// Single deposits over HTTP; each connection sends when it has its answer.
    Http,
    /// Single deposits over HTTP at a fixed rate, each timed from the moment it was due.
    HttpOpen,
    /// Single deposits over gRPC.
    Grpc,
    /// Deposits over gRPC in batches, each batch for one branch.
    GrpcBatch,
    /// Transfers over HTTP; each connection sends when its transfer has arrived.
    Transfers,
    /// Twice and ten times as many callers over HTTP as are served at once, who wait as they are told and who do not.
    Overload,
    /// Deposits while every branch server of a bank in PostgreSQL is killed, and stopped in its tracks, once a round.
    Takeover,
    /// The bare axum to tonic echo.
    TwoHop,
    /// Appends with fdatasync, one file and thread for each branch.
    Appenders,
}

/// Whose accounts the money goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SpreadName {
    /// Customers of all branches alike.
    Uniform,
    /// Customers of branch 1.
    Branch,
    /// One account.
    Hot,
}

/// Who makes the transaction ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Ids {
    /// The client: 128 random bits each.
    Client,
    /// The server that first sees the request.
    Server,
}
