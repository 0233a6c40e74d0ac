//! PostgreSQL servers of a test's own, on loopback, from the machine's packages: primaries and standbys that can be
//! stopped, killed, promoted, and told anything. Gone with the test.

use crate::certificates::Certificate;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Long enough for the slowest machine; nothing waits this long unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// A PostgreSQL server.
pub(crate) struct Postgres {
    root: TempDir,
    port: u16,
    server: Option<Child>,
}

impl Postgres {
    /// A new, empty server.
    pub(crate) fn start() -> Postgres {
        Postgres::start_with("trust", "")
    }

    /// A new, empty server that shows a certificate to whoever wants TLS.
    pub(crate) fn start_secure(shown: &Certificate) -> Postgres {
        let (root, data) = Postgres::initialize("trust");
        for (name, text) in [("server.crt", &shown.certificate), ("server.key", &shown.key)] {
            let path = data.join(name);
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its owner's only");
            own(&path);
        }
        Postgres::run(root, "ssl = on")
    }

    /// A new, empty server with a method of authentication and lines for its configuration.
    pub(crate) fn start_with(authentication: &str, configuration: &str) -> Postgres {
        let (root, _) = Postgres::initialize(authentication);
        Postgres::run(root, configuration)
    }

    fn initialize(authentication: &str) -> (TempDir, PathBuf) {
        let root = owned_directory();
        let data = root.path().join("data");
        let password = root.path().join("password");
        fs::write(&password, "secret").expect("written");
        own(&password);
        let mut initdb = program("initdb");
        initdb.arg("--pgdata").arg(&data).args(["--username=florin", "--no-sync", "--no-locale", "--encoding=UTF8"]);
        initdb.arg(format!("--auth={authentication}")).arg("--pwfile").arg(&password);
        succeed(&mut initdb);
        (root, data)
    }

    /// A standby that streams from this server from now on.
    pub(crate) fn standby(&self, configuration: &str) -> Postgres {
        let root = owned_directory();
        let mut copy = program("pg_basebackup");
        copy.arg("--pgdata").arg(root.path().join("data")).args(["--write-recovery-conf", "--checkpoint=fast"]);
        // The standby is known to the primary by the name that its configuration gives it.
        succeed(copy.arg("--no-sync").arg("--dbname").arg(self.url("postgres")));
        Postgres::run(root, configuration)
    }

    /// A standby that has everything that this server acknowledges from now on.
    pub(crate) fn synchronous_standby(&self) -> Postgres {
        let standby = self.standby("cluster_name = 'standby'");
        self.say("postgres", "ALTER SYSTEM SET synchronous_standby_names = '1 (standby)'");
        self.say("postgres", "SELECT pg_reload_conf()");
        self.wait_until("the standby is synchronous", |primary| {
            primary.ask("postgres", "SELECT coalesce(max(sync_state), '') FROM pg_stat_replication") == "sync"
        });
        standby
    }

    /// A new, empty server that archives its log; and where to.
    pub(crate) fn start_archiving() -> (Postgres, TempDir) {
        let archive = owned_directory();
        let (root, _) = Postgres::initialize("trust");
        let command = format!("archive_mode = on\narchive_command = 'cp \"%p\" \"{}/%f\"'", archive.path().display());
        (Postgres::run(root, &command), archive)
    }

    /// A copy of the whole server as it is now.
    pub(crate) fn base_backup(&self) -> TempDir {
        let root = owned_directory();
        let mut copy = program("pg_basebackup");
        copy.arg("--pgdata").arg(root.path().join("data")).args(["--checkpoint=fast", "--no-sync"]);
        succeed(copy.arg("--dbname").arg(self.url("postgres")));
        root
    }

    /// Waits until everything that was committed is in the archive.
    pub(crate) fn archive_all(&self, archive: &Path) {
        let last = self.ask("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
        self.wait_until("the log is archived", |_| archive.join(&last).exists());
    }

    /// A server made of a copy and of the log in an archive, up to its end.
    pub(crate) fn restore(backup: TempDir, archive: &Path) -> Postgres {
        let signal = backup.path().join("data/recovery.signal");
        fs::write(&signal, "").expect("written");
        own(&signal);
        let command = format!("archive_mode = off\nrestore_command = 'cp \"{}/%f\" \"%p\"'", archive.display());
        let restored = Postgres::run(backup, &command);
        restored.wait_until("it has all of the archive", |postgres| {
            postgres.ask("postgres", "SELECT pg_is_in_recovery()") == "f"
        });
        restored
    }

    /// Makes every commit from now on wait for a standby that is not there.
    pub(crate) fn miss_a_standby(&self) {
        self.say("postgres", "ALTER SYSTEM SET synchronous_standby_names = '1 (standby)'");
        self.say("postgres", "SELECT pg_reload_conf()");
        // A process of the server's own makes it known, some time later: so commits are made until one waits.
        let (url, is_known) = (self.url("postgres"), Arc::new(AtomicBool::new(false)));
        let known = is_known.clone();
        std::thread::spawn(move || {
            let mut client = postgres::Client::connect(&url, postgres::NoTls).expect("a connection");
            while !known.load(Ordering::SeqCst) {
                client.simple_query("SELECT pg_logical_emit_message(true, 'test', '')").expect("a commit");
            }
        });
        self.wait_until("commits wait", |postgres| {
            postgres.ask("postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") != "0"
        });
        is_known.store(true, Ordering::SeqCst);
        let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        assert_eq!(self.ask("postgres", cancel), "1");
        self.wait_until("it waits no more", |postgres| {
            postgres.ask("postgres", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "0"
        });
    }

    fn run(root: TempDir, configuration: &str) -> Postgres {
        let port = free_port();
        let data = root.path().join("data");
        let path = data.join("postgresql.conf");
        let mut file = fs::OpenOptions::new().append(true).open(path).expect("a configuration");
        let sockets = root.path().display();
        write!(
            file,
            "\nlisten_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{sockets}'\n\
             max_connections = 200\nlogging_collector = off\n{configuration}\n"
        )
        .expect("written");
        let mut postgres = Postgres { root, port, server: None };
        postgres.run_again();
        postgres
    }

    /// Starts it again on its data.
    pub(crate) fn run_again(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.root.path().join("log")).expect("a log");
        let mut server = program("postgres");
        server.arg("-D").arg(self.root.path().join("data"));
        server.stdin(Stdio::null()).stdout(log.try_clone().expect("a handle")).stderr(log);
        self.server = Some(server.spawn().expect("postgres starts"));
        self.wait_until("it answers", |postgres| {
            let client = postgres::Client::connect(&postgres.url("postgres"), postgres::NoTls);
            client.is_ok_and(|mut client| client.simple_query("SELECT 1").is_ok())
        });
    }

    /// Waits for a condition.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn(&Postgres) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            let log = || fs::read_to_string(self.root.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "waited in vain until {what}:\n{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The URL of a database on it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://florin:secret@127.0.0.1:{}/{database}", self.port)
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Says something to a database on it.
    pub(crate) fn say(&self, database: &str, sql: &str) -> Vec<postgres::SimpleQueryMessage> {
        let mut client = postgres::Client::connect(&self.url(database), postgres::NoTls).expect("a connection");
        client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// The one value that a question has.
    pub(crate) fn ask(&self, database: &str, sql: &str) -> String {
        let said = self.say(database, sql);
        let row = said.iter().find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        row.unwrap_or_else(|| panic!("{sql}: no row"))
    }

    /// A new, empty database, and its URL.
    pub(crate) fn database(&self, name: &str) -> String {
        self.say("postgres", &format!("CREATE DATABASE {name}"));
        self.url(name)
    }

    /// Ends every process of it at once.
    pub(crate) fn kill(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let processes = descendants(server.id());
        for process in processes.into_iter().chain([server.id()]) {
            let pid = rustix::process::Pid::from_raw(process.cast_signed()).expect("a process");
            // It may be gone already.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        server.wait().expect("it ends");
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        self.say("postgres", "SELECT pg_promote()");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// Whether anybody listens on a port.
pub(crate) fn is_open(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn descendants(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// PostgreSQL does not run as root: then its own user has the directory, and runs the programs.
fn owned_directory() -> TempDir {
    let root = tempfile::tempdir().expect("a directory");
    own(root.path());
    root
}

fn own(path: &Path) {
    if let Some((user, group)) = postgres_user() {
        chown(path, Some(user), Some(group)).expect("another owner");
    }
}

/// User and group that PostgreSQL's packages make; None when this process is not root and needs none.
fn postgres_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("users");
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("the user `postgres` of the packages");
    let mut fields = line.split(':').skip(2).map(|number| number.parse().expect("a number"));
    Some((fields.next().expect("a user"), fields.next().expect("a group")))
}

fn program(name: &str) -> Command {
    let path = programs().join(name);
    match postgres_user() {
        None => Command::new(path),
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={user}"), format!("--regid={group}")]);
            // Its parent ends it, however a test ends.
            command.args(["--clear-groups", "--pdeathsig", "KILL"]).arg(path).current_dir("/");
            command
        }
    }
}

/// Where the packages put the newest version.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is not installed; ./test tools installs it");
    let version = |entry: fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
    let newest = versions.filter_map(Result::ok).filter_map(version).max().expect("a version");
    PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"))
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
