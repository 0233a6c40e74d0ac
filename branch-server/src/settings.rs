//! Every setting of a branch server: flag, environment variable, unit and default.

mod tls;

pub use tls::TlsSettings;

use crate::journal::PostgresStore;
use bank_proto::tls::TlsError;
use bank_proto::traces::{self, InvalidCollector, TraceSettings, Traces};
use bank_proto::{Assignment, AssignmentError, AssignmentFile, limits};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Settings of a branch server.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Address for gRPC, and over HTTP/1.1 for /metrics, /livez and /readyz
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:50051")]
    pub listen: SocketAddr,

    /// Address for a second port, always plain, with nothing but gRPC health, /metrics, /livez and /readyz [default: none]
    #[arg(long, env = "OPERATIONS_LISTEN", value_name = "ADDRESS")]
    pub operations_listen: Option<SocketAddr>,

    /// Mutual TLS
    #[command(flatten)]
    pub tls: TlsSettings,

    /// Where the books are: `sqlite:DIR`, one directory per branch below DIR, or `postgres://USER@HOST/DATABASE`, one
    /// database that all branch servers share
    #[arg(long, env = "STORE", hide_env_values = true, default_value = "sqlite:./data", value_parser = parse_store)]
    pub store: Store,

    /// PEM file with the authorities whose certificate a PostgreSQL server must show; with it the database is reached
    /// by TLS alone [default: without TLS]
    #[arg(long, env = "STORE_AUTHORITY", value_name = "FILE")]
    pub store_authority: Option<PathBuf>,

    /// File that holds the password of the PostgreSQL user [default: what the URL says]
    #[arg(long, env = "STORE_PASSWORD_FILE", value_name = "FILE")]
    pub store_password_file: Option<PathBuf>,

    /// Directory for what is derived from the journals in PostgreSQL and may be deleted; each server has its own part
    #[arg(long, env = "CACHE", value_name = "DIR", default_value = "./cache")]
    pub cache: PathBuf,

    /// Number of branches the bank is founded with; it never changes afterwards
    #[arg(long, env = "BRANCHES", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::BRANCHES)))]
    pub branches: u32,

    /// Which of the branch servers this one is, counted from 0; branch b belongs to server (b - 1) mod servers
    /// unless --assignment says otherwise
    #[arg(long, env = "SERVER_ORDINAL", default_value_t = 0)]
    pub server_ordinal: u32,

    /// gRPC addresses of all branch servers in the order of their ordinals, this one included,
    /// separated by commas [default: this server alone]
    #[arg(long, env = "PEERS", value_delimiter = ',', value_name = "URL")]
    pub peers: Vec<String>,

    /// File that says how many servers there were at the founding and which branches were moved since, the same for
    /// every part of the bank: {"founding_servers": 3, "moved": {"4": 3}} [default: as many as now, none moved]
    #[arg(long, env = "ASSIGNMENT", value_name = "FILE")]
    pub assignment: Option<PathBuf>,

    /// How long calls under way may go on after a stop was asked for, in milliseconds
    #[arg(long, env = "DRAIN_TIMEOUT_MS", value_name = "MS", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(0..=600_000))]
    pub drain_timeout_ms: u32,

    /// How much may be under way to one other branch, in minor units of each currency (100 for one dollar); more is
    /// refused until that branch has answered. 0 sets no limit but that of 65536 transfers
    #[arg(long, env = "CLEARING_LIMIT_MINOR_UNITS", value_name = "MINOR_UNITS", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    pub clearing_limit_minor_units: i64,

    /// How often the auditor looks at the books of the whole bank, in milliseconds; 0 never
    #[arg(long, env = "AUDIT_INTERVAL_MS", value_name = "MS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=86_400_000))]
    pub audit_interval_ms: u32,

    /// OpenTelemetry collector that is told what sampled requests did, over OTLP/gRPC [default: nobody]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Which part of the requests that come without a trace of their own begins one, from 0 to 1
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "RATIO", default_value_t = 0.01, value_parser = traces::ratio)]
    pub trace_ratio: f64,

    /// Form of the log on standard error
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What to log: a level, or directives such as `info,branch_server=debug`
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,

    /// Stop when standard input ends: for a parent process that wants no orphans
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

/// Where a branch server keeps its books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// SQLite files below this directory.
    Sqlite(PathBuf),
    /// A PostgreSQL database, shared by all branch servers.
    Postgres(PostgresUrl),
}

/// Where a PostgreSQL database is, as a URL that may hold a password: so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(pub String);

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PostgresUrl")
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// A setting, or several together, that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no such server.
    #[error("--server-ordinal {ordinal} names none of the {servers} servers in --peers")]
    Ordinal {
        /// The ordinal given.
        ordinal: u32,
        /// How many servers --peers lists.
        servers: u32,
    },
    /// A peer's address is not one.
    #[error("--peers: `{0}` is not an address such as http://127.0.0.1:50051")]
    Peer(String),
    /// A peer without TLS, beside a server with it.
    #[error("--peers: `{0}` is plain; with --tls-certificate every address begins with https://")]
    PlainPeer(String),
    /// A peer with TLS, beside a server without it.
    #[error("--peers: `{0}` needs --tls-certificate, --tls-key and --tls-authority")]
    SecurePeer(String),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The assignment file cannot be used.
    #[error("--assignment {}: {error}", path.display())]
    Assignment {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: AssignmentError,
    },
    /// The assignment file cannot be read.
    #[error("--assignment {} cannot be read: {error}", path.display())]
    AssignmentFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The PostgreSQL database cannot be used as it is.
    #[error("{0}")]
    Store(String),
    /// Two ways to say which branch is where.
    #[error(
        "--assignment is for servers with disks of their own; with PostgreSQL the servers agree on it in the database"
    )]
    AssignmentOfShared,
    /// The collector's address is not one.
    #[error("--otlp-endpoint: {0}")]
    Collector(#[from] InvalidCollector),
    /// The log's directives are not understood.
    #[error("--log: {0}")]
    Log(String),
}

impl Settings {
    /// Which branch is on which server.
    ///
    /// # Errors
    /// The ordinal names no server, or the assignment file cannot be used.
    pub fn assignment(&self) -> Result<Assignment, SettingsError> {
        let servers = u32::try_from(self.peers.len()).unwrap_or(u32::MAX).max(1);
        if self.server_ordinal >= servers {
            return Err(SettingsError::Ordinal { ordinal: self.server_ordinal, servers });
        }
        let Some(path) = &self.assignment else { return Ok(Assignment::new(self.branches, servers)) };
        let text = std::fs::read_to_string(path)
            .map_err(|error| SettingsError::AssignmentFile { path: path.clone(), error })?;
        AssignmentFile::parse(&text)
            .and_then(|file| Assignment::with_file(self.branches, servers, file))
            .map_err(|error| SettingsError::Assignment { path: path.clone(), error })
    }

    /// The PostgreSQL database that holds the books; None when they are in files.
    ///
    /// # Errors
    /// What the settings say of it cannot be used.
    pub(crate) fn postgres(&self) -> Result<Option<PostgresStore>, SettingsError> {
        let Store::Postgres(PostgresUrl(url)) = &self.store else { return Ok(None) };
        if self.assignment.is_some() {
            return Err(SettingsError::AssignmentOfShared);
        }
        let password = self.store_password_file.as_deref().map(|path| {
            let text = std::fs::read_to_string(path);
            let text =
                text.map_err(|error| format!("--store-password-file {} cannot be read: {error}", path.display()));
            text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
        });
        let password = password.transpose().map_err(SettingsError::Store)?;
        let name = format!("florin branch-server-{}", self.server_ordinal);
        let store = PostgresStore::new(url, password.as_deref(), self.store_authority.as_deref(), &name);
        store.map(Some).map_err(|error| SettingsError::Store(error.to_string()))
    }

    /// Where sampled requests are told. Must be called inside the runtime.
    ///
    /// # Errors
    /// The collector's address is not one.
    pub(crate) fn traces(&self) -> Result<Traces, SettingsError> {
        let Some(collector) = self.otlp_endpoint.clone() else { return Ok(Traces::off()) };
        let instance = Some(format!("branch-server-{}", self.server_ordinal));
        let service = "florin-branch-server";
        Ok(Traces::to(TraceSettings { collector, ratio: self.trace_ratio, service, instance })?)
    }
}

fn parse_store(text: &str) -> Result<Store, String> {
    match text.strip_prefix("sqlite:") {
        Some(directory) if !directory.is_empty() => Ok(Store::Sqlite(PathBuf::from(directory))),
        None if ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) => {
            Ok(Store::Postgres(PostgresUrl(text.to_owned())))
        }
        _ => Err("must be sqlite:DIR or postgres://USER@HOST/DATABASE".to_owned()),
    }
}
