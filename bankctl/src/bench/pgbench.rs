//! The yardsticks of a bank in PostgreSQL: PostgreSQL itself on the same server, driven by its own pgbench.

use super::BenchError;
use super::report::Measurement;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Accounts of the one-statement deposit.
pub(super) const ACCOUNTS: u64 = 100_000;

/// Client counts at which TPC-B is tried; the best counts.
pub(super) const TPC_B_CLIENTS: [u32; 3] = [8, 16, 32];

/// What pgbench is told to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Load {
    /// One statement that adds to the balance of one of many accounts, at 64 clients.
    Deposit,
    /// The same with one account.
    HotDeposit,
    /// pgbench's own TPC-B-like transaction, at so many clients.
    TpcB(u32),
}

impl Load {
    fn name(self) -> String {
        match self {
            Load::Deposit => format!("pgbench: one statement, {ACCOUNTS} accounts, 64 clients"),
            Load::HotDeposit => "pgbench: one statement, one account, 64 clients".to_owned(),
            Load::TpcB(clients) => format!("pgbench: TPC-B, {clients} clients"),
        }
    }

    fn clients(self) -> u32 {
        match self {
            Load::Deposit | Load::HotDeposit => 64,
            Load::TpcB(clients) => clients,
        }
    }

    /// The script that is run; None for pgbench's own.
    fn script(self) -> Option<String> {
        match self {
            Load::Deposit => Some(format!(
                "\\set account random(1, {ACCOUNTS})\n\
                 UPDATE florin_yardstick SET balance = balance + 1 WHERE account = :account;\n"
            )),
            Load::HotDeposit => {
                Some("UPDATE florin_yardstick SET balance = balance + 1 WHERE account = 7;\n".to_owned())
            }
            Load::TpcB(_) => None,
        }
    }
}

/// pgbench with its tables in a database.
pub(super) struct Pgbench {
    url: String,
    scripts: tempfile::TempDir,
}

impl Pgbench {
    /// Makes the tables of all loads in an empty database.
    pub(super) async fn prepare(url: String) -> Result<Pgbench, BenchError> {
        let scripts = tempfile::tempdir().map_err(BenchError::Runtime)?;
        let pgbench = Pgbench { url, scripts };
        pgbench.run(&["--initialize", "--quiet", "--scale=10"]).await?;
        let accounts = pgbench.scripts.path().join("accounts.sql");
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS florin_yardstick (account int PRIMARY KEY, balance bigint NOT NULL) WITH \
             (fillfactor = 80);\n\
             INSERT INTO florin_yardstick SELECT number, 0 FROM generate_series(1, {ACCOUNTS}) AS number;\n"
        );
        std::fs::write(&accounts, sql).map_err(BenchError::Runtime)?;
        let accounts = format!("--file={}", accounts.display());
        pgbench.run(&["--no-vacuum", "--transactions=1", &accounts]).await?;
        Ok(pgbench)
    }

    /// Runs a load for so long.
    pub(super) async fn measure(&self, load: Load, length: Duration) -> Result<Measurement, BenchError> {
        let clients = load.clients();
        let mut arguments = vec![
            "--no-vacuum".to_owned(),
            "--protocol=prepared".to_owned(),
            format!("--client={clients}"),
            "--jobs=2".to_owned(),
            format!("--time={}", length.as_secs().max(1)),
        ];
        if let Some(script) = load.script() {
            let path = self.scripts.path().join("load.sql");
            std::fs::write(&path, script).map_err(BenchError::Runtime)?;
            arguments.push(format!("--file={}", path.display()));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = self.run(&arguments).await?;
        let (count, latency_us) = figures(&said).ok_or_else(|| BenchError::Pgbench(said.clone()))?;
        let (p50, nothing) = (Duration::from_micros(latency_us), Duration::ZERO);
        Ok(Measurement {
            name: load.name(),
            operations: count,
            errors: 0,
            took: length,
            // It tells the mean, and no quantiles.
            p50,
            p99: nothing,
            p999: nothing,
            fsyncs: None,
            first_error: None,
        })
    }

    async fn run(&self, arguments: &[&str]) -> Result<String, BenchError> {
        let mut command = Command::new("pgbench");
        command.args(arguments).arg(&self.url).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.map_err(|error| BenchError::Pgbench(error.to_string()))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(BenchError::Pgbench(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
        }
    }
}

/// How many transactions there were, and how long one took on average, in microseconds.
fn figures(said: &str) -> Option<(u64, u64)> {
    let after = |words: &str| said.lines().find_map(|line| line.strip_prefix(words));
    let count = after("number of transactions actually processed: ")?;
    let count = count.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()?;
    let latency = after("latency average = ")?.strip_suffix(" ms")?;
    let latency: rust_decimal::Decimal = latency.parse().ok()?;
    let latency_us = (latency * rust_decimal::Decimal::from(1000)).trunc().try_into().ok()?;
    Some((count, latency_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_pgbench_says() {
        let said = "transaction type: load.sql\nnumber of transactions actually processed: 93416\n\
            number of failed transactions: 0 (0.000%)\nlatency average = 4.016 ms\n\
            tps = 15935.472066 (without initial connection time)\n";
        assert_eq!(figures(said), Some((93_416, 4_016)));
        assert_eq!(
            figures("number of transactions actually processed: 12/12\nlatency average = 1.000 ms\n"),
            Some((12, 1_000))
        );
        assert_eq!(figures("connection refused\n"), None);
    }
}
