//! The database: where it is, and how it is reached.

use super::client::{Client, ConnectError};
use super::lane::Lane;
use crate::journal::shared::StoreError;
use bank_proto::tls;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The oldest PostgreSQL that is served by: the one that the tests run on.
pub const MINIMUM_VERSION: u32 = 15;

/// How long one server of the database may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that is silent for so long is asked whether it is still there, and how often before it is given up.
/// With [`UNACKNOWLEDGED`], a server that vanished without a word is noticed within 5 seconds.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(2), Duration::from_secs(1), 3);

/// How long what was sent may go unacknowledged by the other end's network.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// What every connection is told. A statement that takes longer than this waits for something that does not come. A
/// commit that waits for its standbys is not among them: PostgreSQL lets it wait for as long as it takes, so
/// [`Client`] ends that.
const SESSION: &str = "
    SET statement_timeout = '10s';
    SET lock_timeout = '10s';
    SET idle_in_transaction_session_timeout = '30s';
    SET idle_session_timeout = 0;
    SET client_min_messages = warning;
    SET jit = off;
    SET plan_cache_mode = force_generic_plan;
    SET bytea_output = 'hex';
";

/// What is asked of every connection.
const ABOUT: &str = "SELECT current_setting('server_version_num')::int / 10000, pg_is_in_recovery(), \
    current_setting('fsync') = 'on', current_setting('synchronous_commit') <> 'off', \
    current_setting('synchronous_standby_names') <> ''";

/// A PostgreSQL database that holds a bank. Cheap to clone.
#[derive(Clone)]
pub struct PostgresStore(Arc<Database>);

struct Database {
    /// One for each server that was named, in their order.
    servers: Vec<Config>,
    /// Whose certificates are accepted; None without TLS.
    authority: Option<PathBuf>,
    shown: String,
    /// Whoever waits for the database stops waiting.
    given_up: (Mutex<bool>, Condvar),
    /// By which the branches of this process write.
    lane: Lane,
}

impl PostgresStore {
    /// The database at a URL or in a connection string, reached with TLS when the certificates of an authority are
    /// named. `password` is used in the place of the URL's; `name` is how the database's own views call the connections.
    ///
    /// # Errors
    /// The URL or the file cannot be used.
    pub fn new(
        url: &str,
        password: Option<&str>,
        authority: Option<&Path>,
        name: &str,
    ) -> Result<PostgresStore, StoreError> {
        let setup = |what: String| StoreError::Setup(what);
        let wrong = |error: &dyn std::error::Error| setup(format!("--store: {}", causes(error)));
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| wrong(&error))?;
        if let Some(password) = password {
            config.password(password);
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(setup("--store names no host".to_owned()));
        }
        if config.get_dbname().is_none() {
            return Err(setup("--store names no database".to_owned()));
        }
        match (authority, config.get_ssl_mode()) {
            (Some(path), _) => {
                tls::caller_that_trusts("--store-authority", path).map_err(|error| setup(error.to_string()))?;
                config.ssl_mode(SslMode::Require);
            }
            (None, SslMode::Require) => {
                return Err(setup(
                    "--store wants TLS (sslmode=require); say in --store-authority whose certificate \
                    the database must show"
                        .to_owned(),
                ));
            }
            (None, _) => {
                config.ssl_mode(SslMode::Disable);
            }
        }
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.application_name(name);
        config.connect_timeout(config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT));
        let shown = shown(&config);
        let authority = authority.map(Path::to_owned);
        let (given_up, lane) = Default::default();
        Ok(PostgresStore(Arc::new(Database { servers: one_by_one(&config), authority, shown, given_up, lane })))
    }

    /// A connection to the one server that takes writes.
    ///
    /// # Errors
    /// There is none now, or the settings do not allow one.
    pub(super) fn connect(&self) -> Result<Connection, StoreError> {
        let Database { servers, authority, shown, .. } = &*self.0;
        let tls = match authority {
            None => None,
            Some(path) => {
                let caller = tls::caller_that_trusts("--store-authority", path);
                let caller = caller.map_err(|error| StoreError::Unavailable(error.to_string()))?;
                Some(MakeRustlsConnect::new(caller))
            }
        };
        let at = |what: String| format!("PostgreSQL at {shown}: {what}");
        let sorted = |error: tokio_postgres::Error| match sort(&error) {
            StoreError::Setup(what) => StoreError::Setup(at(what)),
            StoreError::Unavailable(what) => StoreError::Unavailable(at(what)),
        };
        let mut failure = StoreError::Unavailable(at("no server is named".to_owned()));
        let mut connected = None;
        for server in servers {
            match Client::connect(server, tls.clone()) {
                Ok(client) => {
                    connected = Some(client);
                    break;
                }
                Err(ConnectError::Database(error)) => failure = sorted(error),
                Err(error) => failure = StoreError::Unavailable(at(error.to_string())),
            }
        }
        let Some(mut client) = connected else { return Err(failure) };
        let about = client.query_one(ABOUT, &[]).map_err(sorted)?;
        let (version, is_standby): (i32, bool) = (about.get(0), about.get(1));
        let (syncs, waits): (bool, bool) = (about.get(2), about.get(3));
        if version < MINIMUM_VERSION.cast_signed() {
            let what = format!("version {version} is too old; Florin needs {MINIMUM_VERSION} or newer");
            return Err(StoreError::Setup(at(what)));
        }
        if !syncs {
            let what = "it runs with fsync = off, so nothing that it acknowledges would survive a power failure; \
                turn fsync on";
            return Err(StoreError::Setup(at(what.to_owned())));
        }
        if is_standby {
            return Err(StoreError::Unavailable(at("it is a standby, which takes no writes".to_owned())));
        }
        client.batch_execute(SESSION).map_err(sorted)?;
        if !waits {
            // Whoever runs the database may ask for more than its own disk, but not for less.
            client.batch_execute("SET synchronous_commit = local").map_err(sorted)?;
        }
        let has_standbys = about.get(4);
        Ok(Connection { client, has_standbys })
    }

    /// By which the branches of this process write.
    pub(super) fn lane(&self) -> &Lane {
        &self.0.lane
    }

    /// What a connection of this store's has for one of PostgreSQL's settings.
    ///
    /// # Errors
    /// The database cannot be used.
    pub fn setting(&self, name: &str) -> Result<String, StoreError> {
        let row = self.connect()?.client().query_one("SELECT current_setting($1)", &[&name]);
        Ok(row.map_err(|error| sort(&error))?.get(0))
    }

    /// Makes an empty database beside this one.
    ///
    /// # Errors
    /// The server does not allow it.
    pub fn create_database(&self, name: &str) -> Result<(), StoreError> {
        self.connect()?.client().batch_execute(&format!("CREATE DATABASE {name}")).map_err(|error| sort(&error))
    }

    /// Deletes a database beside this one with all that is in it, whoever is connected.
    ///
    /// # Errors
    /// The server does not allow it.
    pub fn drop_database(&self, name: &str) -> Result<(), StoreError> {
        let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        self.connect()?.client().batch_execute(&sql).map_err(|error| sort(&error))
    }

    /// Where the database is, without any secret.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.0.shown
    }

    /// Waits before the next try. False when nobody wants to wait any longer.
    pub(crate) fn pause(&self, pause: Duration) -> bool {
        let (given_up, changed) = &self.0.given_up;
        let given_up = given_up.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(given_up, pause, |given_up| !*given_up);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Nobody waits for the database any longer: the process ends.
    pub(crate) fn give_up(&self) {
        *self.0.given_up.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.given_up.1.notify_all();
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PostgresStore").field(&self.0.shown).finish()
    }
}

/// A connection to the one server that takes writes.
pub(super) struct Connection {
    client: Client,
    /// Its commits wait for standbys.
    pub(super) has_standbys: bool,
}

impl Connection {
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// The servers that a configuration names, each by itself: one that accepts connections and then says nothing has a
/// limit of its own, and the next one a turn.
fn one_by_one(all: &Config) -> Vec<Config> {
    let (hosts, addresses, ports) = (all.get_hosts(), all.get_hostaddrs(), all.get_ports());
    let server = |place: usize| {
        let mut one = Config::new();
        one.ssl_mode(all.get_ssl_mode()).ssl_negotiation(all.get_ssl_negotiation());
        one.channel_binding(all.get_channel_binding()).target_session_attrs(all.get_target_session_attrs());
        one.keepalives(true).keepalives_idle(KEEPALIVE.0).keepalives_interval(KEEPALIVE.1);
        one.keepalives_retries(KEEPALIVE.2).tcp_user_timeout(UNACKNOWLEDGED);
        all.get_user().map(|user| one.user(user));
        all.get_password().map(|password| one.password(password));
        all.get_dbname().map(|name| one.dbname(name));
        all.get_options().map(|options| one.options(options));
        all.get_application_name().map(|name| one.application_name(name));
        all.get_connect_timeout().map(|timeout| one.connect_timeout(*timeout));
        match hosts.get(place) {
            Some(Host::Tcp(name)) => _ = one.host(name),
            Some(Host::Unix(path)) => _ = one.host_path(path),
            None => {}
        }
        addresses.get(place).map(|address| one.hostaddr(*address));
        // One port is for all of them.
        ports.get(place).or(ports.first()).map(|port| one.port(*port));
        one
    };
    (0..hosts.len().max(addresses.len())).map(server).collect()
}

/// Sorts an error by whether waiting helps.
pub(super) fn sort(error: &tokio_postgres::Error) -> StoreError {
    let what = causes(error);
    match error.code() {
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            StoreError::Setup(format!("{what}; the database's owner must grant it"))
        }
        Some(code)
            if [
                SqlState::INVALID_PASSWORD,
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                SqlState::INVALID_CATALOG_NAME,
            ]
            .contains(code) =>
        {
            StoreError::Setup(what)
        }
        _ => StoreError::Unavailable(what),
    }
}

/// An error in one line, with what caused it.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text.replace('\n', " ")
}

/// Host, port and database.
fn shown(config: &Config) -> String {
    let mut ports = config.get_ports().iter().copied().cycle();
    let host = |host: &Host| match host {
        Host::Tcp(name) => format!("{name}:{}", ports.next().unwrap_or(5432)),
        Host::Unix(path) => path.display().to_string(),
    };
    let hosts: Vec<String> = config.get_hosts().iter().map(host).collect();
    let hosts = if hosts.is_empty() { "its address".to_owned() } else { hosts.join(",") };
    format!("{hosts}/{}", config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        match PostgresStore::new(url, None, None, "test") {
            Err(StoreError::Setup(what)) => what,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn a_url_that_cannot_work_is_refused_with_a_sentence_and_without_its_password() {
        assert_eq!(refused("postgres://bank@db/"), "--store names no database");
        assert_eq!(refused("postgres:///bank?user=bank"), "--store names no host");
        assert!(refused("postgres://bank:secret@db:port/bank").contains("port"));
        assert!(refused("postgres://bank:secret@db/bank?sslmode=require").contains("--store-authority"));
        assert!(!refused("postgres://bank:secret@db:port/bank").contains("secret"));
    }

    #[test]
    fn what_is_shown_of_a_database_has_no_secret() {
        let store =
            PostgresStore::new("postgres://bank:secret@one:1,two:2/books", None, None, "test").expect("a store");
        assert_eq!(store.shown(), "one:1,two:2/books");
        assert_eq!(format!("{store:?}"), r#"PostgresStore("one:1,two:2/books")"#);
    }

    #[test]
    fn whoever_waits_for_the_database_is_told_when_nobody_wants_to_any_longer() {
        let store = PostgresStore::new("postgres://bank@db/books", None, None, "test").expect("a store");
        assert!(store.pause(Duration::from_millis(1)));
        let waiting = store.clone();
        let thread = std::thread::spawn(move || waiting.pause(Duration::from_secs(3600)));
        store.give_up();
        assert!(!thread.join().expect("a thread"));
    }
}
