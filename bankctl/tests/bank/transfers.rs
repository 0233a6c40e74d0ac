//! Servers that are killed, stopped and continued under transfers. Every transfer that was accepted ends, in
//! one way, and the money of the whole bank stays the same to the cent.

use super::payers::{Order, check, open_bank, pay_while};
use super::support::{Bank, run};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

/// So many more transfers are answered before each kill.
const ANSWERED: u64 = 300;

/// What happens to the bank while everybody pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// kill -9 of one server.
    KillOne,
    /// SIGSTOP of one server, and SIGCONT when the others have gone on for a while: it wakes up in the middle of
    /// whatever it did, and everybody has given it up meanwhile.
    PauseOne,
    /// kill -9 of everything.
    KillAll,
}

#[tokio::test]
async fn transfers_survive_servers_that_are_killed_or_stand_still() {
    let data = tempfile::tempdir().expect("a directory");
    let mut bank = Bank::up(data.path());
    open_bank(&bank.door()).await;
    let mut orders = Vec::new();
    let mut next = 0;
    for fault in [Fault::KillOne, Fault::PauseOne, Fault::KillAll] {
        next = pay_through(fault, &mut bank, &mut orders, next).await;
        if fault == Fault::KillAll {
            drop(bank);
            bank = Bank::up(data.path());
        }
        check(&bank.door(), &orders).await;
    }
    let verified = run(&["verify", "--json", "--data", &data.path().to_string_lossy()]);
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stderr));
    let said: Value = serde_json::from_slice(&verified.stdout).expect("JSON");
    assert_eq!(said["transfers"]["in_flight"], 0, "{said}");
}

/// Every customer pays, and in the middle of it the fault happens.
async fn pay_through(fault: Fault, bank: &mut Bank, orders: &mut Vec<Order>, from: u64) -> u64 {
    let door = bank.door();
    pay_while(&door, orders, from, async |answered| {
        answered.more(ANSWERED).await;
        let one = bank.service("--server-ordinal 1").expect("a server");
        match fault {
            Fault::KillAll => bank.kill_everything(),
            Fault::KillOne => {
                kill_process(one, Signal::KILL).expect("killed");
                answered.more(ANSWERED / 2).await;
            }
            Fault::PauseOne => {
                kill_process(one, Signal::STOP).expect("stopped");
                // Whoever pays into its branches waits for two seconds, so not many.
                answered.more(ANSWERED / 6).await;
                kill_process(one, Signal::CONT).expect("continued");
                answered.more(ANSWERED / 2).await;
            }
        }
    })
    .await
}
