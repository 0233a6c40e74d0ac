//! The bank under load: a temporary one, or one that runs already.

use super::BenchError;
use super::arguments::Arguments;
use super::grpc_load::Servers;
use crate::bank::Bank;
use crate::bank::addresses::Addresses;
use crate::bank::directory::Directory;
use crate::bank::screen::Screen;
use crate::interrupts::Interrupts;
use crate::shared_store::TemporaryStore;
use crate::verify;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

/// A bank with all its branches open.
pub(super) struct Target {
    /// Host and port of the client API.
    pub(super) http: String,
    /// Connections to the branch servers.
    pub(super) servers: Servers,
    grpc: Vec<String>,
    branches: u32,
    client: reqwest::Client,
    own: Option<Own>,
}

struct Own {
    bank: Bank,
    root: TempDir,
    /// Where the books are, when not in files.
    store: Option<TemporaryStore>,
}

/// What is left of a temporary bank.
pub(super) struct Remains {
    root: TempDir,
    store: Option<TemporaryStore>,
}

impl Remains {
    /// Whether the books agree; then they are deleted.
    pub(super) async fn verify(self) -> Result<String, String> {
        let verifying = tokio::task::spawn_blocking(move || match &self.store {
            Some(temporary) => verify::books_in(&temporary.store),
            None => verify::books(self.root.path()),
        });
        verifying.await.map_err(|error| error.to_string())?
    }
}

impl Target {
    /// Starts a temporary bank, or finds the one that was named, and opens all branches.
    pub(super) async fn open(arguments: &Arguments, interrupts: &mut Interrupts) -> Result<Target, BenchError> {
        let branches = arguments.branches;
        let (http, grpc, own) = match &arguments.api {
            Some(url) => (url.clone(), arguments.grpc.clone(), None),
            None => {
                let root = temporary_directory(arguments)?;
                let store = temporary_store(arguments).await?;
                let bank = start(&root, store.as_ref(), arguments, interrupts).await?;
                let addresses = bank.addresses();
                let grpc = addresses.grpc.iter().map(|address| format!("http://{address}")).collect();
                (addresses.http_url(), grpc, Some(Own { bank, root, store }))
            }
        };
        let client = crate::http::plain(Duration::from_secs(30))?;
        for branch in 1..=branches {
            let body = json!({"branch_id": branch, "initial_balance": "0"});
            client.post(format!("{http}/initialize_branch")).json(&body).send().await?.error_for_status()?;
        }
        let servers = Servers::connect(&grpc, branches).await?;
        let host = http.strip_prefix("http://").ok_or_else(|| BenchError::Url(http.clone()))?;
        let http = host.trim_end_matches('/').to_owned();
        Ok(Target { http, servers, grpc, branches, client, own })
    }

    /// How many group commits, each with its fsync, all branch servers have made so far; None when
    /// one cannot be asked or none of them says. One that hosts no branch has nothing to say.
    pub(super) async fn group_commits(&self) -> Option<u64> {
        let mut sum = None;
        for url in &self.grpc {
            let answer = self.client.get(format!("{url}/metrics")).send().await.ok()?;
            if let Some(commits) = count(&answer.text().await.ok()?) {
                sum = Some(sum.unwrap_or(0) + commits);
            }
        }
        sum
    }

    /// Ends every process at once and starts the bank again on what is left; how long it took
    /// until every service was ready.
    pub(super) async fn kill_and_reopen(
        self,
        arguments: &Arguments,
        interrupts: &mut Interrupts,
    ) -> Result<(Target, Duration), BenchError> {
        let own = self.own.ok_or(BenchError::NeedsOwnBank("opening a branch again"))?;
        own.bank.kill().await;
        let began = Instant::now();
        let bank = start(&own.root, own.store.as_ref(), arguments, interrupts).await?;
        let took = began.elapsed();
        let grpc = bank.addresses().grpc.iter().map(|address| format!("http://{address}")).collect::<Vec<_>>();
        let servers = Servers::connect(&grpc, self.branches).await?;
        let http = bank.addresses().http.to_string();
        let own = Some(Own { bank, root: own.root, store: own.store });
        Ok((Target { http, servers, grpc, own, ..self }, took))
    }

    /// Sends a signal to the server with this ordinal; one that ends is started again. False when there is none now.
    pub(super) fn signal_server(&self, ordinal: usize, signal: Signal) -> bool {
        let process = self.own.as_ref().and_then(|own| own.bank.server_process(ordinal));
        let process = process.and_then(|process| Pid::from_raw(process.cast_signed()));
        process.is_some_and(|process| kill_process(process, signal).is_ok())
    }

    /// Which server serves each branch now, as the client API says; None where none does.
    pub(super) async fn owners(&self) -> Result<Vec<Option<u32>>, BenchError> {
        let answer = self.client.get(format!("http://{}/health", self.http)).send().await?;
        let health: Value = answer.json().await?;
        let branches = health["branches"].as_array().cloned().unwrap_or_default();
        let owner = |branch: &Value| match branch["state"].as_str() {
            Some("open") => branch["server"].as_u64().and_then(|server| u32::try_from(server).ok()),
            _ => None,
        };
        Ok(branches.iter().map(owner).collect())
    }

    /// The resident memory of the server with this ordinal, in bytes; None when the system does
    /// not tell.
    pub(super) fn resident_bytes(&self, ordinal: usize) -> Option<u64> {
        resident_bytes(self.own.as_ref()?.bank.server_process(ordinal)?)
    }

    /// The same of the client API.
    pub(super) fn api_resident_bytes(&self) -> Option<u64> {
        resident_bytes(self.own.as_ref()?.bank.api_process()?)
    }

    /// The database of a temporary bank that has one.
    pub(super) fn store_url(&self) -> Option<String> {
        self.own.as_ref()?.store.as_ref().map(|temporary| temporary.store.url().to_owned())
    }

    /// Where the bank's data lies, when it is a temporary one.
    pub(super) fn directory(&self) -> Option<&std::path::Path> {
        self.own.as_ref().map(|own| own.bank.directory().path())
    }

    /// Stops a temporary bank in order and hands out its data.
    pub(super) async fn close(self, interrupts: &mut Interrupts) -> Option<Remains> {
        let Own { bank, root, store } = self.own?;
        bank.stop(interrupts).await;
        Some(Remains { root, store })
    }
}

fn resident_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn temporary_directory(arguments: &Arguments) -> Result<TempDir, BenchError> {
    let path = &arguments.dir;
    let root = tempfile::Builder::new().prefix("florin-bench-").tempdir_in(path);
    root.map_err(|error| BenchError::Directory { path: path.clone(), error })
}

async fn temporary_store(arguments: &Arguments) -> Result<Option<TemporaryStore>, BenchError> {
    let store = arguments.store.clone();
    let made = tokio::task::spawn_blocking(move || store.shared()?.map(|store| store.temporary()).transpose());
    Ok(made.await.map_err(|error| BenchError::Runtime(error.into()))??)
}

async fn start(
    root: &TempDir,
    store: Option<&TemporaryStore>,
    arguments: &Arguments,
    interrupts: &mut Interrupts,
) -> Result<Bank, BenchError> {
    let (path, branches) = (root.path().to_owned(), Some(arguments.branches));
    let store = store.map(|temporary| temporary.store.clone());
    let taking = tokio::task::spawn_blocking(move || Directory::take_for(&path, branches, store));
    let directory = taking.await.map_err(|error| BenchError::Runtime(error.into()))??;
    let addresses = Addresses::free(arguments.servers)?;
    Ok(Bank::start(directory, addresses, &Screen::silent(), interrupts).await?)
}

/// The sum of the counter over all branches of one server.
fn count(metrics: &str) -> Option<u64> {
    let values = metrics.lines().filter(|line| line.starts_with("florin_group_commits_total"));
    let values = values.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()));
    values.fold(None, |sum, value| Some(sum.unwrap_or(0) + value?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_summed_over_the_branches() {
        let metrics = "# TYPE florin_group_commits_total counter\n\
            florin_group_commits_total{branch=\"1\"} 40\nflorin_group_commits_total{branch=\"4\"} 2\nother 7\n";
        assert_eq!(count(metrics), Some(42));
        assert_eq!(count("other 7\n"), None, "a server without the counter is not one without commits");
    }
}
