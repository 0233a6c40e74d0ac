//! Transfers: within branches, between them, one at a time, and between few accounts.

use super::{HTTP_CONNECTIONS, Run, end, plural, push};
use crate::bench::BenchError;
use crate::bench::floors::{self, Floor};
use crate::bench::orders::{Orders, Payees};
use crate::bench::report::Measurement;
use crate::bench::{grpc_load, http_load};

/// Customers of each branch who pay each other.
const PAYERS_PER_BRANCH: u64 = 100;

impl Run<'_> {
    /// Transfers within branches and between them, held against each other and against deposits.
    pub(super) async fn transfers_suite(&mut self) -> Result<(), BenchError> {
        self.fund().await?;
        let (mut own, mut some, mut all, mut lone, mut deposits, mut lone_deposits) = Default::default();
        let (mut against_deposits, mut mixed, mut crossing, mut latencies) = (vec![], vec![], vec![], vec![]);
        for round in 1..=self.arguments.rounds {
            self.bar.set_prefix(format!("transfers, round {round} of {}: ", self.arguments.rounds));
            push(&mut deposits, self.http(HTTP_CONNECTIONS).await?);
            push(&mut own, self.transfers(HTTP_CONNECTIONS, 0).await?);
            push(&mut some, self.transfers(HTTP_CONNECTIONS, 100).await?);
            push(&mut all, self.transfers(HTTP_CONNECTIONS, 1000).await?);
            push(&mut lone_deposits, self.http(1).await?);
            push(&mut lone, self.transfers(1, 1000).await?);
            if let (Some(deposits), Some(own), Some(some), Some(all)) =
                (deposits.last(), own.last(), some.last(), all.last())
            {
                let ratio = |name, value: &Measurement, of: &Measurement, least| {
                    Floor::throughput(name, value.per_second(), of.per_second(), least)
                };
                let name = "transfers within a branch at 64 connections, of deposits";
                against_deposits.push(ratio(name, own, deposits, floors::OWN_BRANCH_PERMILLE));
                let name = "transfers of which 10 % cross branches, of those that do not";
                mixed.push(ratio(name, some, own, floors::TENTH_CROSSING_PERMILLE));
                let name = "transfers that all cross branches, of those that do not";
                crossing.push(ratio(name, all, own, floors::ALL_CROSSING_PERMILLE));
            }
            if let (Some(lone), Some(deposit)) = (lone.last(), lone_deposits.last()) {
                let name = "p50 of one lone transfer across branches, of a lone deposit";
                latencies.push(Floor::latency(name, lone.p50, deposit.p50, floors::LONE_CROSSING_PERMILLE));
            }
        }
        self.bar.set_prefix("");
        let floors = [against_deposits, mixed, crossing, latencies];
        self.report.floors.extend(floors.into_iter().filter_map(Floor::median));
        let by_speed = |rounds| Measurement::median(rounds, Measurement::per_second);
        self.report.measurements.extend([own, some, all, lone].into_iter().filter_map(by_speed));
        let hot = self.transfers_to_one().await?;
        self.report.measurements.push(hot);
        Ok(())
    }

    /// Gives every customer money to pay others from.
    pub(super) async fn fund(&mut self) -> Result<(), BenchError> {
        self.bar.set_message("opening accounts to pay from");
        let customers = PAYERS_PER_BRANCH * u64::from(self.arguments.branches);
        let funded = grpc_load::fund(&self.target.servers, customers, "1000000").await;
        funded.map_err(|status| BenchError::AllFailed(status.to_string()))
    }

    pub(super) async fn transfers(&mut self, connections: u32, cross_permille: u32) -> Result<Measurement, BenchError> {
        let share = format!("{}.{} %", cross_permille / 10, cross_permille % 10);
        let name = format!("HTTP transfers, {share} across branches, {}", plural(connections));
        let payees =
            Payees { cross_permille, branches: self.arguments.branches, customers_per_branch: PAYERS_PER_BRANCH };
        self.transfer(name, connections, payees).await
    }

    /// Every branch has one customer, and those pay each other: accounts as hot as they get.
    async fn transfers_to_one(&mut self) -> Result<Measurement, BenchError> {
        let name = format!("HTTP transfers between ten hot accounts, {}", plural(HTTP_CONNECTIONS));
        let payees = Payees { cross_permille: 1000, branches: self.arguments.branches, customers_per_branch: 1 };
        self.transfer(name, HTTP_CONNECTIONS, payees).await
    }

    async fn transfer(&mut self, name: String, connections: u32, payees: Payees) -> Result<Measurement, BenchError> {
        let before = self.target.group_commits().await;
        let budget = self.begin(&name);
        let draw = || Orders::transfers(payees, self.arguments.ids);
        let tally = http_load::closed(&self.target.http, connections, &budget, draw).await;
        end(&name, &tally, &budget, self.since(before).await)
    }
}
