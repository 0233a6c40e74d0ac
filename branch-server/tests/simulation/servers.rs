//! The servers, how they die and what is left of their disks.

use crate::database::{Database, SimulatedStore};
use crate::machine::{PORT, Wires, WrongClock, connect, incoming};
use crate::witness::Witness;
use bank_proto::traces::Traces;
use bank_proto::{Assignment, AssignmentFile, BranchId};
use branch_server::data_directory::branch_directory;
use branch_server::environment::{Entropy, Environment, Workers};
use branch_server::journal::SharedStore;
use branch_server::journal::sqlite::{Retirement, retirement};
use branch_server::{LogFormat, PostgresUrl, Settings, Store, TlsSettings, start_in};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use turmoil::Sim;

pub(crate) const SERVERS: u32 = 3;
pub(crate) const BRANCHES: u32 = 5;

/// The servers of a bank.
#[derive(Clone)]
pub(crate) struct Servers {
    directory: PathBuf,
    witness: Witness,
    /// What they share; None when each has a disk of its own.
    database: Option<Database>,
    pub(crate) wires: Wires,
    seed: u64,
    /// How wrong each server's wall clock is, in microseconds.
    pub(crate) clocks: Vec<Arc<AtomicI64>>,
    /// Servers that must die at the end of this step.
    doomed: Arc<Mutex<BTreeSet<u32>>>,
    starts: Arc<AtomicU64>,
    /// Tells each server to stop in good order.
    stops: Vec<watch::Sender<()>>,
    /// The branches that were moved, each with its server, in the order in which they were.
    moved: Arc<Mutex<Vec<(u32, u32)>>>,
    /// How many of these moves each server knew of when it started.
    known_moves: Vec<Arc<AtomicU64>>,
}

pub(crate) fn name(server: u32) -> String {
    format!("server-{server}")
}

impl Servers {
    pub(crate) fn new(directory: &Path, witness: Witness, database: Option<Database>, seed: u64) -> Servers {
        Servers {
            database,
            directory: directory.to_owned(),
            witness,
            wires: Wires::default(),
            seed,
            clocks: (0..SERVERS).map(|_| Arc::default()).collect(),
            doomed: Arc::default(),
            starts: Arc::default(),
            stops: (0..SERVERS).map(|_| watch::Sender::default()).collect(),
            moved: Arc::default(),
            known_moves: (0..SERVERS).map(|_| Arc::default()).collect(),
        }
    }

    /// Where a server keeps its branches.
    pub(crate) fn disk(&self, server: u32) -> PathBuf {
        self.directory.join(name(server))
    }

    /// Starts all of them.
    pub(crate) fn start(&self, sim: &mut Sim<'_>) {
        for server in 0..SERVERS {
            let servers = self.clone();
            sim.host(name(server), move || servers.clone().serve(server));
        }
    }

    fn moved(&self) -> Vec<(u32, u32)> {
        self.moved.lock().expect("nobody panicked").clone()
    }

    fn assignment_file(&self) -> AssignmentFile {
        let moved = self.moved().into_iter().collect::<BTreeMap<_, _>>();
        AssignmentFile { founding_servers: SERVERS, moved }
    }

    /// Which server every branch belongs to now, whoever knows it already.
    pub(crate) fn assignment(&self) -> Assignment {
        Assignment::with_file(BRANCHES, SERVERS, self.assignment_file()).expect("an assignment")
    }

    /// Gives a branch to another server; the servers hear of it when they start.
    pub(crate) fn move_branch(&self, branch: BranchId, to: u32) {
        self.moved.lock().expect("nobody panicked").push((branch.get(), to));
    }

    /// Whether a server has not heard of the last move.
    pub(crate) fn is_behind(&self, server: u32) -> bool {
        self.known_moves[server as usize].load(Ordering::Relaxed) < self.moved().len() as u64
    }

    /// The servers on whose disks a branch's books are in office: one, or none while they move.
    pub(crate) fn in_office(&self, branch: BranchId) -> Vec<u32> {
        let is_here = |server: &u32| {
            let directory = branch_directory(&self.disk(*server), branch);
            let found = directory.exists().then(|| retirement(&directory, branch, BRANCHES));
            matches!(found, Some(Ok((Retirement::InOffice, _)))) && !directory.join("handed-over-by").exists()
        };
        (0..SERVERS).filter(is_here).collect()
    }

    /// Those that must die now: a journal of theirs failed.
    pub(crate) fn doomed(&self) -> BTreeSet<u32> {
        let mut doomed = std::mem::take(&mut *self.doomed.lock().expect("nobody panicked"));
        if let Some(database) = &self.database {
            doomed.extend(database.tables().trouble.doomed());
        }
        doomed
    }

    /// Tells a server to stop: it answers what it has taken, and closes its files.
    pub(crate) fn stop(&self, server: u32) {
        self.stops[server as usize].send_replace(());
    }

    /// A process dies, between two commits, and leaves its files as they are. What closing them would have
    /// tidied up does not happen.
    pub(crate) fn kill(&self, sim: &mut Sim<'_>, server: u32) {
        let (disk, image) = (self.disk(server), self.directory.join("image"));
        copy(&disk, &image);
        sim.crash(name(server));
        std::fs::remove_dir_all(&disk).expect("removed");
        std::fs::rename(&image, &disk).expect("put back");
    }

    fn shared_store(&self, server: u32) -> Option<Arc<dyn SharedStore>> {
        let database = self.database.clone()?;
        Some(Arc::new(SimulatedStore::new(database, server)))
    }

    async fn serve(self, server: u32) -> turmoil::Result {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let (witness, doomed) = (self.witness.clone(), self.doomed.clone());
        let environment = Environment {
            clock: Arc::new(WrongClock(self.clocks[server as usize].clone())),
            entropy: Entropy::from_seed(self.seed << 16 | start),
            workers: Workers::Inline,
            connect: Box::new(connect(self.wires.clone(), name(server))),
            decorate: Arc::new(move |branch, journal| witness.watch(branch, journal)),
            shared_store: self.shared_store(server),
            free_bytes: Arc::new(|_| Ok(1 << 40)),
            traces: Traces::off(),
            end: Arc::new(move |_| {
                doomed.lock().expect("nobody panicked").insert(server);
            }),
        };
        let address = ([0, 0, 0, 0], PORT).into();
        let incoming = incoming(self.wires.clone(), name(server)).await?;
        std::fs::create_dir_all(self.disk(server)).expect("a directory");
        let assignment = self.directory.join(format!("assignment-{server}.json"));
        std::fs::write(&assignment, serde_json::to_string(&self.assignment_file()).expect("JSON")).expect("written");
        let settings = Settings {
            listen: address,
            store: match self.database {
                // Nobody connects to it.
                Some(_) => Store::Postgres(PostgresUrl("postgres://bank@simulated/books".to_owned())),
                None => Store::Sqlite(self.disk(server)),
            },
            store_authority: None,
            store_password_file: None,
            cache: self.disk(server),
            branches: BRANCHES,
            server_ordinal: server,
            operations_listen: None,
            tls: TlsSettings::default(),
            peers: (0..SERVERS).map(|server| format!("http://{}:{PORT}", name(server))).collect(),
            drain_timeout_ms: 1_000,
            otlp_endpoint: None,
            trace_ratio: 0.0,
            assignment: self.database.is_none().then_some(assignment),
            audit_interval_ms: 500,
            // Now and then something is refused for it.
            clearing_limit_minor_units: 200_000,
            log_format: LogFormat::Text,
            log: "off".to_owned(),
            exit_with_parent: false,
        };
        let moves = self.moved().len() as u64;
        self.known_moves[server as usize].store(moves, Ordering::Relaxed);
        let mut stop = self.stops[server as usize].subscribe();
        let running = start_in(environment, settings, address, incoming).await?;
        // The sender lives as long as this does.
        let _ = stop.changed().await;
        running.stop().await;
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}
