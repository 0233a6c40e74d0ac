//! Where the branches of a server come from: disks of its own, or a database that all servers share.

use crate::branches::{Machine, Teller};
use crate::data_directory::{self, DataError};
use crate::environment::{Entropy, Environment};
use crate::hosting::{self, Attempt, Late, Opener};
use crate::journal::lock::{BranchLock, LockError};
use crate::journal::postgres::PostgresBooks;
use crate::journal::shared::{Founding, SharedStore, StoreError};
use crate::leases::{Keeper, LeaseTable, SharedOpener, Terms};
use crate::server::StartError;
use crate::service::{Bank, Hosted};
use crate::settings::{Settings, SettingsError, Store};
use crate::transfers::Courier;
use bank_proto::{Assignment, BranchId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// How long a start waits between two looks for the database: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long a stop waits for branches when nobody waits for the database any more.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The branches of a server before it serves.
pub(super) struct Books {
    /// Where its files are.
    pub(super) directory: PathBuf,
    /// Every branch that it may serve, and in which state each is.
    pub(super) hosted: BTreeMap<BranchId, Hosted>,
    /// Branches that were opened and are to be scrubbed.
    pub(super) opened: Vec<BranchId>,
    source: Source,
}

enum Source {
    Own { opener: Box<Opener>, serving: Vec<(Teller, Courier)>, late: Vec<Late> },
    Shared(Box<Shared>),
}

struct Shared {
    opener: SharedOpener,
    leases: Box<dyn LeaseTable>,
    terms: Terms,
    ended: mpsc::UnboundedReceiver<BranchId>,
    drain_timeout: Duration,
    cache_lock: BranchLock,
}

/// Tellers at work, each with its courier.
pub(super) type Serving = Vec<(Teller, JoinHandle<()>)>;

impl Books {
    /// Opens what can be opened before anything is served. Of a shared database that is nothing yet: it is looked for
    /// until it is there, and the branches are taken when the servers know of each other.
    ///
    /// # Errors
    /// The settings, the data directory or the machine do not allow it.
    pub(super) async fn open(
        settings: &Settings,
        assignment: &Assignment,
        environment: &Environment,
    ) -> Result<Books, StartError> {
        match (&settings.store, settings.postgres()?) {
            (Store::Sqlite(directory), _) => Books::own(directory, settings, assignment, environment).await,
            (Store::Postgres(_), Some(store)) => {
                let named = || Arc::new(PostgresBooks::new(store)) as Arc<dyn SharedStore>;
                let store = environment.shared_store.clone().unwrap_or_else(named);
                Books::shared(store, settings, assignment, environment).await
            }
            (Store::Postgres(_), None) => Err(SettingsError::Store("--store names no database".to_owned()).into()),
        }
    }

    async fn own(
        directory: &Path,
        settings: &Settings,
        assignment: &Assignment,
        environment: &Environment,
    ) -> Result<Books, StartError> {
        let server = settings.server_ordinal;
        data_directory::prepare(directory, assignment, server)?;
        let opener = Opener {
            clearing_limit: settings.clearing_limit_minor_units,
            directory: directory.to_owned(),
            assignment: assignment.clone(),
            server,
            asks_first: settings.assignment.is_some(),
            clock: environment.clock.clone(),
            machine: Machine { workers: environment.workers, end: environment.end.clone() },
            decorate: environment.decorate.clone(),
        };
        let (mut hosted, mut opened) = (BTreeMap::new(), Vec::new());
        let (mut serving, mut late) = (Vec::new(), Vec::new());
        for branch in assignment.branches_of(server) {
            let past = opener.past();
            let state = match opener.open(branch, past).await? {
                Attempt::Open(begun) => {
                    let (open, teller, courier) = *begun;
                    serving.push((teller, courier));
                    opened.push(branch);
                    Hosted::open(open)
                }
                Attempt::Damaged(reason) => {
                    hosting::refuse(branch, &reason.logged);
                    Hosted::damaged(reason.told)
                }
                Attempt::Unavailable(reason) => {
                    hosting::postpone(branch, &reason.logged);
                    let past = opener.past_of(branch, past);
                    late.push(Late { branch, logged: reason.logged, past, away: None });
                    Hosted::unavailable(reason.told)
                }
                Attempt::Away(reason) => {
                    let (logged, told) = hosting::ask_for(branch, past);
                    late.push(Late { branch, logged: logged.to_owned(), past, away: Some(reason) });
                    Hosted::unavailable(told.to_owned())
                }
            };
            hosted.insert(branch, state);
        }
        if late.is_empty() {
            opener.remember_founding()?;
        }
        let source = Source::Own { opener: Box::new(opener), serving, late };
        Ok(Books { directory: directory.to_owned(), hosted, opened, source })
    }

    async fn shared(
        store: Arc<dyn SharedStore>,
        settings: &Settings,
        assignment: &Assignment,
        environment: &Environment,
    ) -> Result<Books, StartError> {
        let (server, branches) = (settings.server_ordinal, assignment.branches());
        let cache = settings.cache.join(format!("server-{server}"));
        let unusable = |error| DataError::Io { path: cache.clone(), error };
        std::fs::create_dir_all(&cache).map_err(unusable)?;
        let cache_lock = BranchLock::take(&cache).map_err(|error| match error {
            LockError::Held { directory } => DataError::InUse { directory },
            LockError::Io { source, .. } => unusable(source),
        })?;
        found(&store, branches, environment).await?;
        let (end, ended) = mpsc::unbounded_channel();
        // A database that fails ends no process: the branch is opened anew, here or elsewhere.
        let end = Arc::new(move |branch| _ = end.send(branch));
        let opener = SharedOpener {
            store: store.clone(),
            cache: cache.clone(),
            server,
            clock: environment.clock.clone(),
            machine: Machine { workers: environment.workers, end },
            clearing_limit: settings.clearing_limit_minor_units,
        };
        let terms = Terms { server, instance: instance(&environment.entropy) };
        let leases = store.leases(server, terms.instance);
        let all = (1..=i64::from(branches)).filter_map(|number| BranchId::new(number).ok());
        let drain_timeout = Duration::from_millis(u64::from(settings.drain_timeout_ms));
        let source = Source::Shared(Box::new(Shared { opener, leases, terms, ended, drain_timeout, cache_lock }));
        let hosted = all.map(|branch| (branch, Hosted::elsewhere(None))).collect();
        Ok(Books { directory: cache, hosted, opened: Vec::new(), source })
    }
}

impl Books {
    /// What is left when the bank has taken the branches.
    pub(super) fn into_hosting(self) -> Hosting {
        Hosting(self.source)
    }
}

/// Keeps a server's branches while it serves.
pub(super) struct Hosting(Source);

impl Hosting {
    /// Goes on with what is not open yet, and with whatever becomes of the branches, until the server is told to stop.
    /// Returns the tellers that are to be closed then. `until` goes on until the branches are closed, `calls` until no
    /// call is under way any more.
    pub(super) fn begin(
        self,
        bank: &Arc<Bank>,
        opened: mpsc::UnboundedSender<BranchId>,
        until: watch::Receiver<()>,
        calls: watch::Receiver<()>,
    ) -> JoinHandle<Serving> {
        let bank = bank.clone();
        match self.0 {
            Source::Own { opener, serving, late } => {
                let spawn = |(teller, courier): (Teller, Courier)| {
                    (teller, tokio::spawn(courier.run(bank.clone(), until.clone())))
                };
                let mut all: Serving = serving.into_iter().map(spawn).collect();
                tokio::spawn(async move {
                    // A try that is under way ends first; it may have started a teller.
                    all.extend(opener.open_late(bank, late, opened, until).await);
                    all
                })
            }
            Source::Shared(shared) => tokio::spawn(async move {
                let Shared { opener, leases, terms, ended, drain_timeout, cache_lock } = *shared;
                let store = opener.store.clone();
                let stopping = bank.clone();
                let too_late = async move {
                    stopping.drained().await;
                    tokio::time::sleep(drain_timeout).await;
                    store.give_up();
                    tokio::time::sleep(LAST_WAIT).await;
                };
                tokio::select! {
                    () = Keeper::new(terms, leases, opener, bank, opened, ended).run(calls) => {}
                    () = too_late => tracing::warn!("the database does not answer; its branches were not given back"),
                }
                drop(cache_lock);
                Vec::new()
            }),
        }
    }
}

/// Looks for the database until it is there, and founds the bank in it or checks the one that is there.
async fn found(store: &Arc<dyn SharedStore>, branches: u32, environment: &Environment) -> Result<(), StartError> {
    let (mut pause, mut said) = (PAUSES.0, None);
    loop {
        let founding = store.clone();
        let founded = environment.workers.run(move || founding.found(branches)).await;
        let what = match founded.map_err(|error| StartError::System(error.to_string()))? {
            Ok(()) => return Ok(()),
            Err(Founding::Store(StoreError::Unavailable(what))) => what,
            Err(Founding::Store(StoreError::Setup(what))) => return Err(SettingsError::Store(what).into()),
            Err(error @ Founding::Branches { .. }) => return Err(SettingsError::Store(error.to_string()).into()),
            Err(error @ Founding::Newer { .. }) => return Err(DataError::Journal(error.to_string()).into()),
        };
        if said.as_ref() != Some(&what) {
            tracing::warn!(error = what, "waiting for the database");
            said = Some(what);
        }
        tokio::time::sleep(pause).await;
        pause = PAUSES.1.min(2 * pause);
    }
}

/// A number that no other process under the same ordinal draws. Without its highest bit: databases count with a sign.
fn instance(entropy: &Entropy) -> u64 {
    u64::try_from(entropy.transaction_key().0 & u128::from(u64::MAX >> 1)).unwrap_or_default()
}
