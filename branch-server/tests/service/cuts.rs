//! The books of the whole bank, taken while money moves through it.

use crate::bank::{TestBank, code, deposit};
use crate::transfers::{Client, end_of, open_bank, transfer, without_waiting};
use bank_proto::wire::inter_branch_service_client::InterBranchServiceClient;
use bank_proto::{ErrorCode, wire};
use tokio::task::JoinSet;
use tonic_types::StatusExt as _;

async fn books(client: &mut Client, token: &str) -> wire::BankTrialBalance {
    let question = wire::GetBankTrialBalanceRequest { token: token.to_owned() };
    client.get_bank_trial_balance(question).await.expect("books").into_inner()
}

async fn positions(client: &mut Client, token: &str) -> Vec<wire::Position> {
    let question = wire::ListPositionsRequest { token: token.to_owned() };
    let answer = client.list_positions(question).await.expect("positions").into_inner();
    assert!(token.is_empty() || answer.token == token);
    answer.positions
}

fn minor(text: &str) -> i64 {
    text.replace('.', "").parse().expect("an amount")
}

/// Customers' money and what is in flight, in minor units.
fn money(books: &wire::BankTrialBalance) -> (i64, i64) {
    let customers = books.lines.iter().filter(|line| line.account_kind == "checking");
    let customers = customers.map(|line| minor(&line.credit) - minor(&line.debit)).sum();
    (customers, books.in_flight.iter().map(|amount| minor(&amount.amount)).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cut_through_a_busy_bank_has_all_its_money_once() {
    let (bank, _) = open_bank(3).await;
    let mut orders = JoinSet::new();
    for worker in 0..8_i64 {
        let mut client = bank.client(worker as usize % 3).await;
        orders.spawn(async move {
            for round in 0..60 {
                let (from, to) = ((worker + round) % 10 + 1, (worker + round * 7 + 3) % 10 + 1);
                if from != to {
                    client.transfer(without_waiting(from, to, "1")).await.expect("accepted");
                }
            }
        });
    }
    // Through every server in turn, while the orders go on.
    let (mut cuts, mut busy) = (Vec::new(), 0);
    while !orders.is_empty() || cuts.len() < 10 {
        let mut client = bank.client(cuts.len() % 3).await;
        let cut = books(&mut client, "").await;
        let (customers, in_flight) = money(&cut);
        assert_eq!(customers + in_flight, 1_000_000, "{cut:?}");
        assert!(cut.balanced && cut.violations.is_empty() && in_flight >= 0, "{cut:?}");
        busy += usize::from(in_flight > 0);
        cuts.push(cut);
        while orders.try_join_next().is_some_and(|order| order.is_ok()) {}
    }
    assert!(busy > 0, "no cut met money under way");

    // The same books again by their tokens, also from the journals, after the branches were opened anew.
    let bank = bank.restart().await;
    let mut client = bank.client(1).await;
    for cut in [cuts.first(), cuts.last()].into_iter().flatten() {
        assert_eq!(&books(&mut client, &cut.token).await, cut);
        let owed = positions(&mut client, &cut.token).await;
        let in_flight: i64 = owed.iter().flat_map(|pair| &pair.lines).map(|line| minor(&line.in_flight)).sum();
        assert_eq!(in_flight, money(cut).1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_branches_show_what_they_owe_each_other() {
    let (_bank, mut client) = open_bank(2).await;
    assert_eq!(positions(&mut client, "").await, []);
    for (from, to, amount) in [(1, 2, "10"), (2, 1, "2.50"), (3, 2, "1")] {
        let done = client.transfer(transfer(from, to, amount)).await.expect("a transfer").into_inner();
        end_of(&mut client, &done.transaction_id).await;
    }

    let shown: Vec<String> = positions(&mut client, "")
        .await
        .iter()
        .map(|pair| {
            let lines: Vec<_> = pair.lines.iter().map(|line| (&*line.owes, &*line.owed, &*line.in_flight)).collect();
            format!(
                "{} {}: {lines:?} {} {} {:?}",
                pair.branch_id, pair.peer_branch_id, pair.outgoing, pair.incoming, pair.differences
            )
        })
        .collect();

    insta::assert_snapshot!(shown.join("\n"), @r#"
    1 2: [("7.50", "-7.50", "0.00")] 0 0 []
    2 3: [("-1.00", "1.00", "0.00")] 0 0 []
    "#);
    // Every branch's own books say of which peer they speak.
    let books = client.get_trial_balance(wire::GetTrialBalanceRequest { branch_id: 2 }).await.expect("books");
    let clearing = books.into_inner().lines.into_iter().filter(|line| line.account_kind == "clearing");
    assert_eq!(clearing.map(|line| line.peer_branch_id).collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_not_given_out_is_refused() {
    let (_bank, mut client) = open_bank(2).await;
    let cut = books(&mut client, "").await;
    let ends: Vec<u64> = cut.token.split('.').map(|row| row.parse().expect("a row")).collect();
    let with_row_of = |branch: usize, row: u64| {
        let mut rows = ends.clone();
        rows[branch - 1] = row;
        rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
    };
    // Of branches of both servers: rows that are not there yet, and one in the middle of a group commit.
    for token in ["1.2".to_owned(), "x".to_owned(), with_row_of(1, 1_000), with_row_of(2, 1_000), with_row_of(2, 1)] {
        let question = wire::GetBankTrialBalanceRequest { token: token.clone() };
        let refusal = client.get_bank_trial_balance(question).await.expect_err("no token");
        assert_eq!(code(&refusal), Some(ErrorCode::InvalidRequest), "{token}");
        assert_eq!(refusal.get_details_error_info().expect("an info").metadata["field"], "token");
    }
    // Books before the first row are books as well.
    assert_eq!(books(&mut client, &with_row_of(2, 0)).await.branches[1].lines, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_books_of_a_bank_without_one_of_its_branches() {
    let mut bank = TestBank::start(2).await;
    let mut client = bank.client(0).await;
    client.deposit(deposit(1, "5")).await.expect_err("not open yet");
    assert!(books(&mut client, "").await.lines.is_empty());

    bank.servers.remove(1).stop().await;

    let question = wire::GetBankTrialBalanceRequest::default();
    let refusal = client.get_bank_trial_balance(question).await.expect_err("a branch is missing");
    assert_eq!(code(&refusal), Some(ErrorCode::BranchUnavailable));
    assert_eq!(refusal.get_details_error_info().expect("an info").metadata["branch_id"], "2");
}

/// What a branch's part in a cut says that it owes another branch, in minor units. Only its server is asked.
async fn owed_in_cut(bank: &TestBank, number: u64, branch: u32, peer: u32) -> i64 {
    let server = (branch as usize - 1) % bank.servers.len();
    let url = format!("http://{}", bank.servers[server].address());
    let mut client = InterBranchServiceClient::connect(url).await.expect("a connection");
    let said = client.take_cut(wire::TakeCutRequest { number }).await.expect("a part").into_inner();
    let books = said.parts.into_iter().filter_map(|part| part.books).find(|books| books.branch_id == branch);
    let lines = books.expect("the branch's part").lines;
    let owed = lines.iter().filter(|line| line.peer_branch_id == peer);
    owed.map(|line| minor(&line.credit) - minor(&line.debit)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_takes_part_in_a_cut_before_it_books_what_a_message_brings_that_knows_of_it() {
    let (bank, mut client) = open_bank(2).await;
    client.transfer(transfer(1, 2, "10")).await.expect("a transfer");

    // The payer's branch is asked first. What it sends after that must not be in the payee's part.
    assert_eq!(owed_in_cut(&bank, 1000, 1, 2).await, 1000);
    client.transfer(transfer(1, 2, "5")).await.expect("a transfer");
    assert_eq!(owed_in_cut(&bank, 1000, 2, 1).await, -1000);

    // The payee's branch is asked first. The end that it tells of after that must not be in the payer's part.
    assert_eq!(owed_in_cut(&bank, 2000, 2, 1).await, -1500);
    let refusal = client.transfer(transfer(1, 22, "3")).await.expect_err("nobody there");
    assert_eq!(code(&refusal), Some(ErrorCode::CustomerNotFound));
    assert_eq!(owed_in_cut(&bank, 2000, 1, 2).await, 1800, "the money is back, but was under way in this cut");
    assert_eq!(owed_in_cut(&bank, 3000, 1, 2).await, 1500);
}
