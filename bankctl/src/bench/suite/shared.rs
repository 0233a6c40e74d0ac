//! The suite of a bank in PostgreSQL: beside PostgreSQL's own, on the same server, in one run.

use super::super::BenchError;
use super::super::floors::{self, Floor};
use super::super::grpc_load::Members;
use super::super::pgbench::{ACCOUNTS, Load, Pgbench, TPC_B_CLIENTS};
use super::super::report::Measurement;
use super::{HTTP_CONNECTIONS, QUICK_OPERATIONS, Run, push};

impl Run<'_> {
    /// Every figure next to its yardstick, round by round.
    pub(super) async fn shared_suite(&mut self, url: String) -> Result<(), BenchError> {
        self.bar.set_message("pgbench makes its tables");
        let pgbench = Pgbench::prepare(url).await?;
        let (mut http, mut deposit, mut hot) = (Vec::new(), Vec::new(), Vec::new());
        let mut tpc_b: Vec<Measurement> = Vec::new();
        let (mut of_deposit, mut of_hot, mut of_tpc_b) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=self.arguments.rounds {
            self.bar.set_prefix(format!("round {round} of {}: ", self.arguments.rounds));
            let own = self.http(HTTP_CONNECTIONS).await?;
            let one = self.pgbench(&pgbench, Load::Deposit).await?;
            let single = self.pgbench(&pgbench, Load::HotDeposit).await?;
            let mut best: Option<Measurement> = None;
            for clients in TPC_B_CLIENTS {
                let tried = self.pgbench(&pgbench, Load::TpcB(clients)).await?;
                if best.as_ref().is_none_or(|best| best.per_second() < tried.per_second()) {
                    best = Some(tried);
                }
            }
            let (speed, least) = (own.per_second(), floors::SHARED_OF_DEPOSIT_PERMILLE);
            let name = "durable HTTP deposits at 64 connections, of pgbench's one-statement deposit";
            of_deposit.push(Floor::throughput(name, speed, one.per_second(), least));
            let name = "the same, of pgbench's deposit into one account";
            of_hot.push(Floor::throughput(name, speed, single.per_second(), floors::SHARED_OF_HOT_PERMILLE));
            if let Some(best) = best {
                let name = "the same, of pgbench's TPC-B at its best client count";
                of_tpc_b.push(Floor::throughput(name, speed, best.per_second(), floors::SHARED_OF_TPC_B_PERMILLE));
                push(&mut tpc_b, best);
            }
            push(&mut http, own);
            push(&mut deposit, one);
            push(&mut hot, single);
        }
        self.bar.set_prefix("");
        self.report.floors.extend([of_deposit, of_hot, of_tpc_b].into_iter().filter_map(Floor::median));
        let medians = [http, deposit, hot, tpc_b].map(|rounds| Measurement::median(rounds, Measurement::per_second));
        self.report.measurements.extend(medians.into_iter().flatten());
        let drawn = Members::Drawn { customers: ACCOUNTS };
        let batches = self.run_batches("gRPC batches, ten branches", drawn, QUICK_OPERATIONS).await?;
        let name = "durable transactions in gRPC batches";
        self.report.floors.push(Floor::least(name, batches.per_second(), floors::SHARED_BATCH_PER_SECOND, "a second"));
        self.report.measurements.push(batches);
        let lone = self.http(1).await?;
        self.report.measurements.push(lone);
        Ok(())
    }

    async fn pgbench(&self, pgbench: &Pgbench, load: Load) -> Result<Measurement, BenchError> {
        self.bar.set_message("pgbench");
        pgbench.measure(load, self.length()).await
    }
}
