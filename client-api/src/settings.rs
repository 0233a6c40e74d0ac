//! The settings: each a flag and an environment variable.

mod tls;

pub use tls::TlsSettings;

use axum::http::Uri;
use bank_proto::tls::TlsError;
use bank_proto::traces::{self, InvalidCollector, TraceSettings, Traces};
use bank_proto::{Assignment, AssignmentFile};
use clap::{Args, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What the client API can be told.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Address and port on which HTTP is served, or HTTPS with --https-certificate.
    #[arg(long, env = "HTTP", value_name = "ADDRESS", default_value = "127.0.0.1:5002")]
    pub http: SocketAddr,

    /// Address and port of a second door, always plain HTTP, with nothing but /livez, /readyz, /health and /metrics
    /// [default: none].
    #[arg(long, env = "OPERATIONS_LISTEN", value_name = "ADDRESS")]
    pub operations_listen: Option<SocketAddr>,

    /// TLS on either side.
    #[command(flatten)]
    pub tls: TlsSettings,

    /// gRPC URLs of all branch servers, in the order of their ordinals, separated by commas.
    #[arg(
        long,
        env = "BRANCH_SERVERS",
        value_name = "URL,...",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:50051"
    )]
    pub branch_servers: Vec<Uri>,

    /// How many branches the bank was founded with.
    #[arg(long, env = "BRANCHES", value_name = "COUNT", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(bank_proto::limits::BRANCHES)))]
    pub branches: u32,

    /// File that says how many servers there were at the founding and which branches were moved since, the same for
    /// every part of the bank: {"founding_servers": 3, "moved": {"4": 3}} [default: as many as now, none moved].
    #[arg(long, env = "ASSIGNMENT", value_name = "FILE")]
    pub assignment: Option<PathBuf>,

    /// Whether callers must sign in. `open` is a demonstration: everybody may do everything.
    #[arg(long, env = "AUTH", value_enum, default_value_t = Auth::Required)]
    pub auth: Auth,

    /// Lets `--auth open` listen on other addresses than this machine's own.
    #[arg(long, env = "AUTH_OPEN_ANYWHERE")]
    pub auth_open_anywhere: bool,

    /// How long a request may take inside the bank, in milliseconds.
    #[arg(long, env = "REQUEST_TIMEOUT_MS", value_name = "MS", default_value_t = 5000,
          value_parser = clap::value_parser!(u32).range(1..=600_000))]
    pub request_timeout_ms: u32,

    /// How many requests may be in work at once; more are refused at once with OVERLOADED.
    #[arg(long, env = "MAX_IN_FLIGHT", value_name = "COUNT", default_value_t = 512,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_in_flight: u32,

    /// How many connections are served at once. Beyond them /livez, /readyz, /health and /metrics are answered, and
    /// everything else is refused with OVERLOADED.
    #[arg(long, env = "MAX_CONNECTIONS", value_name = "COUNT", default_value_t = 8192,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// How many operations may wait for one branch server; more are refused at once with OVERLOADED.
    #[arg(long, env = "QUEUE_OPERATIONS", value_name = "COUNT", default_value_t = 65_536,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub queue_operations: u32,

    /// How long requests in work may go on after a stop was asked for, in milliseconds.
    #[arg(long, env = "DRAIN_TIMEOUT_MS", value_name = "MS", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(0..=600_000))]
    pub drain_timeout_ms: u32,

    /// OpenTelemetry collector that is told what sampled requests did, over OTLP/gRPC [default: nobody].
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Which part of the requests that come without a trace of their own begins one, from 0 to 1.
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "RATIO", default_value_t = 0.01,
          value_parser = traces::ratio)]
    pub trace_ratio: f64,

    /// How log lines are written: text for people, json for machines.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged: a level, or directives such as `info,client_api=debug`.
    #[arg(long, env = "LOG", value_name = "DIRECTIVES", default_value = "info")]
    pub log: String,

    /// Stops when standard input reaches its end, as it does when the parent process ends.
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

/// Who may use the bank through this door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Only those who signed in.
    Required,
    /// Everybody, as the demonstration's operator.
    Open,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line each.
    Text,
    /// One JSON object each.
    Json,
}

/// Settings that do not go together. The program stops before it listens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// `--auth open` beyond this machine.
    #[error(
        "--auth open lets everybody who reaches {address} move money; listen on 127.0.0.1, or say --auth-open-anywhere"
    )]
    OpenToTheWorld {
        /// The address that was given.
        address: SocketAddr,
    },
    /// A branch server's URL that is not one.
    #[error("--branch-servers: `{url}` must look like http://host:50051")]
    BranchServerUrl {
        /// The URL that was given.
        url: String,
    },
    /// A branch server without TLS, beside certificates for it.
    #[error("--branch-servers: `{url}` is plain; with --tls-certificate every URL begins with https://")]
    PlainBranchServer {
        /// The URL that was given.
        url: String,
    },
    /// A branch server with TLS, and no certificates for it.
    #[error("--branch-servers: `{url}` needs --tls-certificate, --tls-key and --tls-authority")]
    SecureBranchServer {
        /// The URL that was given.
        url: String,
    },
    /// Certificates that cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An assignment file that cannot be read or used.
    #[error("--assignment {}: {reason}", path.display())]
    Assignment {
        /// The file that was given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A collector's address that is none.
    #[error("--otlp-endpoint: {0}")]
    Collector(#[from] InvalidCollector),
    /// Log directives that cannot be read.
    #[error("--log: `{directives}` is neither a level nor a list of directives such as info,client_api=debug")]
    Log {
        /// The directives that were given.
        directives: String,
    },
}

impl Settings {
    /// Checks what no single setting can tell by itself.
    ///
    /// # Errors
    /// Which setting is wrong and what to say instead.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.auth == Auth::Open && !self.auth_open_anywhere && !self.http.ip().is_loopback() {
            return Err(SettingsError::OpenToTheWorld { address: self.http });
        }
        self.check_branch_servers()?;
        self.tls.door()?;
        self.otlp_endpoint.as_deref().map_or(Ok(()), traces::check)?;
        self.assignment().map(|_| ())
    }

    /// Where sampled requests are told. Must be called inside the runtime.
    ///
    /// # Errors
    /// The collector's address is not one.
    pub(crate) fn traces(&self) -> Result<Traces, SettingsError> {
        let Some(collector) = self.otlp_endpoint.clone() else { return Ok(Traces::off()) };
        let settings =
            TraceSettings { collector, ratio: self.trace_ratio, service: "florin-client-api", instance: None };
        Ok(Traces::to(settings)?)
    }

    /// Which branch is on which server.
    ///
    /// # Errors
    /// The assignment file cannot be read, or does not fit the other settings.
    pub(crate) fn assignment(&self) -> Result<Assignment, SettingsError> {
        let servers = u32::try_from(self.branch_servers.len()).unwrap_or(u32::MAX);
        let Some(path) = &self.assignment else { return Ok(Assignment::new(self.branches, servers)) };
        let failed = |reason: &dyn std::fmt::Display| SettingsError::Assignment {
            path: path.clone(),
            reason: reason.to_string(),
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
        AssignmentFile::parse(&text)
            .and_then(|file| Assignment::with_file(self.branches, servers, file))
            .map_err(|error| failed(&error))
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.request_timeout_ms))
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.drain_timeout_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct CommandLine {
        #[command(flatten)]
        settings: Settings,
    }

    fn check(flags: &[&str]) -> Result<(), String> {
        let words = std::iter::once("client-api").chain(flags.iter().copied());
        let command_line = CommandLine::try_parse_from(words).map_err(|refusal| refusal.kind().to_string())?;
        command_line.settings.check().map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn the_defaults_go_together() {
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&["--auth", "open"]), Ok(()));
        assert_eq!(check(&["--branch-servers", "http://a:1,http://b:2"]), Ok(()));
    }

    #[test]
    fn an_open_bank_is_not_shown_to_the_world_by_accident() {
        let refusal = check(&["--auth", "open", "--http", "0.0.0.0:5002"]).expect_err("a refusal");
        assert!(refusal.contains("--auth-open-anywhere"), "{refusal}");
        assert_eq!(check(&["--auth", "open", "--http", "0.0.0.0:5002", "--auth-open-anywhere"]), Ok(()));
        assert_eq!(check(&["--http", "0.0.0.0:5002"]), Ok(()));
    }

    #[test]
    fn wrong_settings_are_named() {
        for flags in [
            ["--http", "5002"],
            ["--branches", "0"],
            ["--branches", "10000"],
            ["--auth", "maybe"],
            ["--request-timeout-ms", "0"],
            ["--branch-servers", "ftp://a"],
            ["--branch-servers", "localhost:50051"],
            ["--branch-servers", ""],
            ["--branch-servers", "https://a:1"],
            ["--tls-key", "/there/is/no/such/file"],
            ["--https-key", "/there/is/no/such/file"],
            ["--assignment", "/there/is/no/such/file"],
            ["--otlp-endpoint", "collector:4317"],
            ["--otlp-endpoint", "https://collector:4317"],
            ["--trace-ratio", "2"],
        ] {
            assert!(check(&flags).is_err(), "{flags:?}");
        }
    }
}
