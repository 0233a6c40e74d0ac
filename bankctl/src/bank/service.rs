//! One child process: started, watched, started again when it ends by itself, stopped.

use super::StartError;
use super::backoff::Backoff;
use super::log::Log;
use super::screen::Screen;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::Instant;

/// How many threads a service has for the network; tokio reads it, and without it takes one per core.
const NETWORK_THREADS: &str = "TOKIO_WORKER_THREADS";

/// Variables that make a service by itself speak TLS, listen once more, or keep its books in a database.
const OWN_TO_A_SERVICE: [&str; 9] = [
    "TLS_CERTIFICATE",
    "TLS_KEY",
    "TLS_AUTHORITY",
    "HTTPS_CERTIFICATE",
    "HTTPS_KEY",
    "OPERATIONS_LISTEN",
    "STORE",
    "STORE_AUTHORITY",
    "STORE_PASSWORD_FILE",
];

/// How to start a child.
pub(crate) struct Launch {
    name: String,
    address: SocketAddr,
    arguments: Vec<OsString>,
    logs: std::path::PathBuf,
    network_threads: Option<usize>,
    variables: Vec<(&'static str, String)>,
}

impl Launch {
    /// This executable again, in the given role.
    pub(crate) fn new(
        role: &str,
        name: String,
        address: SocketAddr,
        logs: &Path,
        settings: &[(&str, String)],
    ) -> Launch {
        let mut arguments = vec![OsString::from(role)];
        for (flag, value) in settings {
            arguments.extend([OsString::from(flag), OsString::from(value)]);
        }
        // Read from pipes, so that a child learns of the end of its parent, however that ends.
        arguments.extend(["--exit-with-parent", "--log-format", "text"].map(OsString::from));
        Launch { name, address, arguments, logs: logs.to_owned(), network_threads: None, variables: Vec::new() }
    }

    /// With so many threads for the network, unless the environment says TOKIO_WORKER_THREADS.
    pub(crate) fn with_network_threads(self, threads: usize) -> Launch {
        Launch { network_threads: Some(threads), ..self }
    }

    /// With variables of its own: what may be secret is no argument.
    pub(crate) fn with_variables(self, variables: Vec<(&'static str, String)>) -> Launch {
        Launch { variables, ..self }
    }

    fn spawn(&self) -> io::Result<Child> {
        // On Linux the running image itself, even when the file was replaced by a newer build meanwhile.
        let executable = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe()? };
        let mut command = Command::new(executable);
        command.arg0("bankctl").args(&self.arguments).env("NO_COLOR", "1");
        // What the settings of one service would be for all of them; here they speak plainly, each on its own port.
        for variable in OWN_TO_A_SERVICE {
            command.env_remove(variable);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(threads) = self.network_threads
            && std::env::var_os(NETWORK_THREADS).is_none()
        {
            command.env(NETWORK_THREADS, threads.to_string());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Of its own group, so that Ctrl-C on the terminal reaches the parent alone, which stops in order.
        command.process_group(0).kill_on_drop(true).spawn()
    }
}

/// What the watching task should do. Later ones include the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Run it; when it ends, leave it.
    Start,
    /// Run it; when it ends, run it again.
    Keep,
    /// Ask it to end, and insist after the grace.
    Stop(Duration),
    /// End it at once.
    Kill,
}

#[derive(Debug, Clone)]
enum State {
    Starting,
    Running(u32),
    Ended(Ending),
}

/// How a child ended.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// Its exit code; None when a signal ended it or it never started.
    pub(crate) code: Option<i32>,
    text: String,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A child and the task that watches it. Dropping it ends the child.
pub(crate) struct Service {
    name: String,
    address: SocketAddr,
    orders: Arc<watch::Sender<Order>>,
    state: watch::Receiver<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Service {
    pub(crate) fn start(launch: Launch, screen: &Screen) -> Service {
        let (orders, receiver) = watch::channel(Order::Start);
        let (sender, state) = watch::channel(State::Starting);
        let (name, address) = (launch.name.clone(), launch.address);
        let log = Log::new(&name, &launch.logs, screen);
        let watcher = Watcher { launch, log, screen: screen.clone(), orders: receiver, state: sender };
        Service { name, address, orders: Arc::new(orders), state, task: tokio::spawn(watcher.watch()) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process; None while there is none.
    pub(crate) fn process(&self) -> Option<u32> {
        match *self.state.borrow() {
            State::Running(process) => Some(process),
            State::Starting | State::Ended(_) => None,
        }
    }

    /// Waits until the service says that it is ready.
    ///
    /// # Errors
    /// It ended before.
    pub(crate) async fn ready(&self, client: &reqwest::Client) -> Result<(), StartError> {
        let url = format!("http://{}/readyz", self.address);
        let mut state = self.state.clone();
        loop {
            if let State::Ended(ending) = state.borrow_and_update().clone() {
                return Err(StartError::Ended { name: self.name.clone(), ending });
            }
            let attempt = async {
                let ready = client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success());
                if !ready {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                ready
            };
            tokio::select! {
                ready = attempt => if ready { return Ok(()) },
                _ = state.changed() => {}
            }
        }
    }

    /// From now on the child is started again whenever it ends by itself.
    pub(crate) fn keep(&self) {
        self.orders.send_if_modified(|order| {
            let changes = *order == Order::Start;
            if changes {
                *order = Order::Keep;
            }
            changes
        });
    }

    /// A handle by which the child can be told to hurry while [`Service::stop`] waits.
    pub(crate) fn orders(&self) -> Arc<watch::Sender<Order>> {
        Arc::clone(&self.orders)
    }

    /// Asks the child to end (SIGTERM), insists after the grace (SIGKILL), and waits for it.
    pub(crate) async fn stop(self, grace: Duration) {
        self.orders.send_if_modified(|order| {
            let changes = *order < Order::Stop(grace);
            if changes {
                *order = Order::Stop(grace);
            }
            changes
        });
        // Fails only when the task panicked, and then its child is killed on drop.
        let _ = self.task.await;
    }
}

/// Ends a child at once.
pub(crate) fn kill(orders: &Arc<watch::Sender<Order>>) {
    orders.send_replace(Order::Kill);
}

struct Watcher {
    launch: Launch,
    log: Log,
    screen: Screen,
    orders: watch::Receiver<Order>,
    state: watch::Sender<State>,
}

impl Watcher {
    async fn watch(mut self) {
        let mut backoff = Backoff::new(rand::make_rng());
        loop {
            let began = Instant::now();
            let ending = match self.launch.spawn() {
                Ok(child) => self.run(child).await,
                Err(error) => Ending { code: None, text: format!("cannot be started: {error}") },
            };
            self.state.send_replace(State::Ended(ending.clone()));
            if self.ordered(Order::Keep).await > Order::Keep {
                return;
            }
            let pause = backoff.next(began.elapsed());
            let name = &self.launch.name;
            self.screen.line(&format!("{name} ended: {ending}; starting it again in {} ms", pause.as_millis()));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = self.ordered(Order::Stop(Duration::ZERO)) => return,
            }
        }
    }

    /// Runs the child until it ends, by itself or by order.
    async fn run(&mut self, mut child: Child) -> Ending {
        let process = child.id().unwrap_or_default();
        if matches!(*self.state.borrow(), State::Ended(_)) {
            self.screen.line(&format!("{} runs again as process {process}", self.launch.name));
        }
        self.state.send_replace(State::Running(process));
        // Held open as long as the child lives: its end is the child's sign that the parent is gone.
        let parent_lives = child.stdin.take();
        let output = child.stdout.take().map(|pipe| tokio::spawn(self.log.clone().follow(pipe)));
        let errors = child.stderr.take().map(|pipe| tokio::spawn(self.log.clone().follow(pipe)));
        let status = tokio::select! {
            status = child.wait() => status,
            order = self.ordered(Order::Stop(Duration::ZERO)) => self.end(&mut child, process, order).await,
        };
        drop(parent_lives);
        for reader in [output, errors].into_iter().flatten() {
            let _ = reader.await;
        }
        self.ending(status)
    }

    async fn end(&mut self, child: &mut Child, process: u32, order: Order) -> io::Result<ExitStatus> {
        if let Order::Stop(grace) = order {
            signal(process, Signal::TERM);
            tokio::select! {
                status = child.wait() => return status,
                () = tokio::time::sleep(grace) => {}
                _ = self.ordered(Order::Kill) => {}
            }
        }
        signal(process, Signal::KILL);
        child.wait().await
    }

    /// Waits until at least this much is ordered. A service that was dropped is to end at once.
    async fn ordered(&mut self, least: Order) -> Order {
        self.orders.wait_for(|order| *order >= least).await.map_or(Order::Kill, |order| *order)
    }

    fn ending(&self, status: io::Result<ExitStatus>) -> Ending {
        let (code, text) = match status {
            Ok(status) => (status.code(), status.to_string()),
            Err(error) => (None, format!("cannot be waited for: {error}")),
        };
        let words = self.log.last_words();
        Ending { code, text: if words.is_empty() { text } else { format!("{text} ({words})") } }
    }
}

fn signal(process: u32, signal: Signal) {
    let group = i32::try_from(process).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // It may have ended by itself already.
        let _ = kill_process_group(group, signal);
    }
}
