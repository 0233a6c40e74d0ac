//! Branches that move between servers with directories of their own, because the servers start with another assignment.

use crate::bank::{code, deposit, initialize, query, settings};
use crate::small_disk::SmallDisk;
use crate::transfers::{Client, balance, end_of, transfer, without_waiting};
use bank_proto::wire::bank_service_client::BankServiceClient;
use bank_proto::wire::{self, BranchState, TransferState};
use bank_proto::{BranchId, ErrorCode};
use branch_server::journal::sqlite::{self, Retirement};
use branch_server::{Running, Settings, Store, start};
use rusqlite::Connection;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Founded on two servers: 0 has the odd branches, 1 the even ones. Server 2 comes later.
const FOUNDED: &str = r#"{"founding_servers": 2}"#;

/// Branches 1 and 4 belong to server 2.
const MOVED: &str = r#"{"founding_servers": 2, "moved": {"1": 2, "4": 2}}"#;

struct Servers {
    root: TempDir,
    peers: Vec<String>,
    running: Vec<Option<Running>>,
}

impl Servers {
    /// Addresses for three servers, none of which runs.
    async fn prepare() -> Servers {
        let mut peers = Vec::new();
        let mut held = Vec::new();
        for _ in 0..3 {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            peers.push(format!("http://{}", listener.local_addr().expect("an address")));
            // Held until all have one, so that they differ.
            held.push(listener);
        }
        let running = (0..3).map(|_| None).collect();
        Servers { root: tempfile::tempdir().expect("a directory"), peers, running }
    }

    fn data(&self, server: usize) -> PathBuf {
        self.root.path().join(format!("server-{server}"))
    }

    fn branch(&self, server: usize, branch: u32) -> PathBuf {
        self.data(server).join(format!("branch-{branch:04}"))
    }

    async fn start(&mut self, server: usize, assignment: &str) {
        let file = self.root.path().join(format!("assignment-{server}.json"));
        std::fs::write(&file, assignment).expect("written");
        let address = self.peers[server].trim_start_matches("http://");
        let listener = TcpListener::bind(address).await.expect("its port");
        let settings = Settings {
            store: Store::Sqlite(self.data(server)),
            server_ordinal: u32::try_from(server).expect("a small number"),
            peers: self.peers.clone(),
            assignment: Some(file),
            audit_interval_ms: 300,
            ..settings()
        };
        self.running[server] = Some(start(settings, listener).await.expect("a server"));
    }

    async fn stop(&mut self, server: usize) {
        self.running[server].take().expect("it runs").stop().await;
    }

    async fn restart(&mut self, server: usize, assignment: &str) {
        self.stop(server).await;
        self.start(server, assignment).await;
    }

    async fn client(&self, server: usize) -> Client {
        BankServiceClient::connect(self.peers[server].clone()).await.expect("a connection")
    }

    fn retirement(&self, server: usize, branch: u32) -> Retirement {
        let id = BranchId::new(i64::from(branch)).expect("a branch");
        sqlite::retirement(&self.branch(server, branch), id, 10).expect("a journal").0
    }

    /// Two servers with all branches open, and customer 1 has paid 10.00 to customer 2.
    async fn founded() -> Servers {
        let mut servers = Servers::prepare().await;
        servers.start(0, FOUNDED).await;
        servers.start(1, FOUNDED).await;
        // All are asked before anything is founded. This one keeps nothing yet, and comes later on an empty disk.
        servers.start(2, FOUNDED).await;
        let mut client = servers.client(0).await;
        for branch in 1..=10 {
            // First the servers ask each other whether they have books of it.
            while client.initialize_branch(initialize(branch)).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
        client.transfer(transfer(1, 2, "10")).await.expect("a transfer");
        servers.stop(2).await;
        std::fs::remove_dir_all(servers.data(2)).expect("removed");
        servers
    }

    async fn all_start_with(&mut self, assignment: &str) {
        for server in 0..3 {
            if self.running[server].is_some() {
                self.stop(server).await;
            }
        }
        for server in 0..3 {
            self.start(server, assignment).await;
        }
    }
}

/// What a server says of a branch that it hosts.
async fn said(client: &mut Client, branch: u32) -> Option<wire::Branch> {
    let question = wire::ListBranchesRequest { local_only: true };
    let branches = client.list_branches(question).await.expect("a list").into_inner().branches;
    branches.into_iter().find(|said| said.branch_id == branch)
}

/// Waits until a server says something of a branch. The test's own runner ends it if this never happens.
async fn says(client: &mut Client, branch: u32, expected: impl Fn(&wire::Branch) -> bool) -> wire::Branch {
    loop {
        match said(client, branch).await {
            Some(branch) if expected(&branch) => return branch,
            _ => tokio::task::yield_now().await,
        }
    }
}

async fn opens(client: &mut Client, branch: u32) {
    says(client, branch, |branch| branch.state() == BranchState::Open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_move_with_every_cent_and_their_old_copies_never_open_again() {
    let mut servers = Servers::founded().await;
    // One more transfer is on its way while branch 2 is out of reach.
    servers.stop(1).await;
    let mut client = servers.client(0).await;
    let sent = client.transfer(without_waiting(1, 2, "5")).await.expect("accepted").into_inner();

    servers.all_start_with(MOVED).await;

    let mut client = servers.client(2).await;
    opens(&mut client, 1).await;
    opens(&mut client, 4).await;
    // On a disk that takes half a minute for this the transfer is cancelled by then.
    let expected = match end_of(&mut client, &sent.transaction_id).await.state() {
        TransferState::Completed => ("985.00", "1015.00"),
        TransferState::Failed => ("990.00", "1010.00"),
        state => panic!("{state:?} is no end"),
    };
    let mut other = servers.client(0).await;
    let balances = (balance(&mut other, 1).await, balance(&mut other, 2).await);
    assert_eq!((balances.0.as_str(), balances.1.as_str()), expected);
    let back = other.transfer(transfer(4, 1, "15")).await.expect("a transfer").into_inner();
    assert_eq!(back.state(), TransferState::Completed);
    assert_eq!(servers.retirement(0, 1), Retirement::Delivered(2));
    assert_eq!(servers.retirement(1, 4), Retirement::Delivered(2));
    assert_eq!(servers.retirement(2, 1), Retirement::InOffice);

    // Whoever starts with the old assignment does not get the old books.
    servers.stop(2).await;
    servers.restart(0, FOUNDED).await;
    let mut client = servers.client(0).await;
    let closed = said(&mut client, 1).await.expect("its branch");
    assert_eq!(closed.state(), BranchState::Unavailable, "{closed:?}");
    let refused = client.query(query(1)).await.expect_err("no books");
    assert_eq!(code(&refused), Some(ErrorCode::BranchUnavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn until_the_old_owner_gives_a_branch_away_the_new_one_sends_its_callers_there() {
    let mut servers = Servers::founded().await;
    servers.start(2, MOVED).await;
    let mut client = servers.client(2).await;
    says(&mut client, 1, |branch| branch.detail.contains("server 0 serves it")).await;
    let receipt = client.deposit(deposit(1, "10")).await.expect("server 0 serves it").into_inner();
    assert_eq!(receipt.balance, "1000.00");
    let whole = client.list_branches(wire::ListBranchesRequest::default()).await.expect("a list").into_inner();
    let states: Vec<_> = whole.branches.iter().map(|branch| (branch.branch_id, branch.state())).collect();
    assert_eq!(states, (1..=10).map(|branch| (branch, BranchState::Open)).collect::<Vec<_>>());

    servers.restart(0, MOVED).await;
    opens(&mut client, 1).await;
    assert_eq!(balance(&mut servers.client(0).await, 1).await, "1000.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_moves_back_and_its_old_copy_steps_aside() {
    let mut servers = Servers::founded().await;
    servers.all_start_with(MOVED).await;
    let mut client = servers.client(2).await;
    opens(&mut client, 1).await;
    client.deposit(deposit(1, "10")).await.expect("a receipt");

    servers.all_start_with(FOUNDED).await;

    let mut client = servers.client(0).await;
    opens(&mut client, 1).await;
    assert_eq!(balance(&mut client, 1).await, "1000.00");
    assert_eq!(servers.retirement(2, 1), Retirement::Delivered(0));
    assert!(servers.data(0).join("branch-0001.retired/journal.db").exists());
}

/// Stopped in the middle of two moves to server 2.
async fn interrupted() -> Servers {
    let mut servers = Servers::founded().await;
    for server in 0..2 {
        servers.stop(server).await;
    }
    // Branch 1 was promised, and half of it had arrived.
    let sql = "UPDATE branch SET retired = 3";
    Connection::open(servers.branch(0, 1).join("journal.db")).and_then(|file| file.execute(sql, [])).expect(sql);
    let half = servers.data(2).join("branch-0001.arriving");
    std::fs::create_dir_all(&half).expect("a directory");
    std::fs::write(half.join("journal.db"), b"SQLite format 3").expect("written");
    std::fs::write(half.join("journal.db-wal"), b"of another time").expect("written");
    // Branch 4 had arrived, and its old owner had not heard of it.
    Connection::open(servers.branch(1, 4).join("journal.db")).and_then(|file| file.execute(sql, [])).expect(sql);
    std::fs::create_dir_all(servers.branch(2, 4)).expect("a directory");
    std::fs::copy(servers.branch(1, 4).join("journal.db"), servers.branch(2, 4).join("journal.db")).expect("copied");
    let four = BranchId::new(4).expect("a branch");
    sqlite::accept(&servers.branch(2, 4), four, 10, 2).expect("in office");
    std::fs::write(servers.branch(2, 4).join("handed-over-by"), "1").expect("written");
    servers
}

#[tokio::test(flavor = "multi_thread")]
async fn books_that_have_just_come_are_not_given_on_before_the_giver_knows() {
    let mut servers = interrupted().await;
    servers.start(2, FOUNDED).await;
    let url = servers.peers[2].clone();
    let mut peer = wire::inter_branch_service_client::InterBranchServiceClient::connect(url).await.expect("a server");
    let asked = wire::HandOverRequest { branch_id: 4, server: 1, room_bytes: None };
    let answer = peer.hand_over(asked).await.expect("an answer").into_inner().message().await.expect("a part");
    let unusable = wire::hand_over_response::Part::Whereabouts(wire::Whereabouts::Unusable.into());
    assert_eq!(answer.expect("a part").part, Some(unusable));
    assert_eq!(servers.retirement(2, 4), Retirement::InOffice);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_a_crash_interrupted_goes_on_where_it_was() {
    let mut servers = interrupted().await;
    // It must not open before that one has.
    servers.start(2, MOVED).await;
    let mut client = servers.client(2).await;
    says(&mut client, 4, |branch| branch.detail.contains("server 1, which must hear of it first")).await;
    assert_eq!(servers.retirement(1, 4), Retirement::Promised(2));

    servers.start(0, MOVED).await;
    servers.start(1, MOVED).await;
    opens(&mut client, 1).await;
    opens(&mut client, 4).await;
    assert_eq!(
        (servers.retirement(0, 1), servers.retirement(1, 4)),
        (Retirement::Delivered(2), Retirement::Delivered(2))
    );
    assert_eq!((balance(&mut client, 1).await, balance(&mut client, 4).await), ("990.00".into(), "1000.00".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_copy_is_not_given_again_when_the_moved_books_are_lost() {
    let mut servers = Servers::founded().await;
    servers.all_start_with(MOVED).await;
    let mut client = servers.client(2).await;
    opens(&mut client, 1).await;
    opens(&mut client, 4).await;
    client.deposit(deposit(1, "10")).await.expect("a receipt");
    servers.stop(2).await;
    // The disk is lost, and the server comes back with an empty one.
    std::fs::remove_dir_all(servers.data(2)).expect("removed");
    servers.start(2, MOVED).await;
    let mut client = servers.client(2).await;
    let closed = says(&mut client, 1, |branch| branch.state() == BranchState::Damaged).await;
    assert_eq!(closed.detail, "its directory is missing");
    assert!(!servers.branch(2, 1).exists(), "it was neither founded anew nor brought back as it was before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_an_empty_disk_does_not_found_branches_that_others_have_seen() {
    let mut servers = Servers::founded().await;
    // Its first look may come before branch 2 is open: then it remembers only what was.
    let has_seen = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        serde_json::from_str::<Vec<u32>>(&text).is_ok_and(|branches| branches.contains(&2))
    };
    while !has_seen(&servers.data(0).join("server-0.seen")) {
        tokio::task::yield_now().await;
    }
    servers.stop(1).await;
    std::fs::remove_dir_all(servers.data(1)).expect("removed");
    servers.start(2, FOUNDED).await;
    servers.start(1, FOUNDED).await;
    let mut client = servers.client(1).await;
    let closed = says(&mut client, 2, |branch| branch.state() == BranchState::Damaged).await;
    assert_eq!(closed.detail, "its directory is missing");
    assert!(!servers.branch(1, 2).exists());

    // Nor does it when nobody answers.
    servers.stop(0).await;
    servers.restart(1, FOUNDED).await;
    let mut client = servers.client(1).await;
    says(&mut client, 2, |branch| branch.detail.contains("server 0 does not say whether it has its books")).await;
    assert!(!servers.branch(1, 2).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_bank_can_be_founded_with_branches_that_an_old_one_had_moved() {
    let mut servers = Servers::prepare().await;
    servers.all_start_with(MOVED).await;
    let mut client = servers.client(2).await;
    for branch in [1, 4] {
        says(&mut client, branch, |branch| branch.state() == BranchState::Uninitialized).await;
    }
    client.initialize_branch(initialize(1)).await.expect("opened");
    assert_eq!(balance(&mut servers.client(0).await, 1).await, "1000.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_books_are_not_given_away_and_stay_where_they_are() {
    let mut servers = Servers::founded().await;
    servers.stop(0).await;
    let path = servers.branch(0, 1).join("journal.db");
    let sql = "DROP TRIGGER journal_is_never_deleted_from;
               DELETE FROM journal WHERE sequence = (SELECT max(sequence) FROM journal)";
    Connection::open(&path).and_then(|file| file.execute_batch(sql)).expect(sql);

    servers.start(0, MOVED).await;
    servers.start(2, MOVED).await;

    let mut client = servers.client(2).await;
    says(&mut client, 1, |branch| branch.detail.contains("server 0 has its books and cannot give them away")).await;
    assert_eq!(servers.retirement(0, 1), Retirement::InOffice);
}

#[tokio::test(flavor = "multi_thread")]
async fn books_come_only_when_there_is_room_for_them() {
    // Less than what every branch keeps free.
    let Some(disk) = SmallDisk::mount(48) else { return };
    let mut servers = Servers::founded().await;
    std::os::unix::fs::symlink(disk.path(), servers.data(2)).expect("a link");
    servers.restart(0, MOVED).await;
    servers.start(2, MOVED).await;

    let mut client = servers.client(2).await;
    says(&mut client, 1, |branch| branch.detail.contains("there is no room for its")).await;
    assert_eq!(servers.retirement(0, 1), Retirement::InOffice, "it may still go elsewhere");
    let larger = Command::new("mount").args(["-o", "remount,size=256m"]).arg(disk.path()).status();
    assert!(larger.expect("mount runs").success());
    opens(&mut client, 1).await;
    assert_eq!(balance(&mut client, 1).await, "990.00");
    servers.stop(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_gets_a_branchs_books() {
    use wire::hand_over_response::Part;
    let mut servers = Servers::founded().await;
    servers.restart(0, MOVED).await;
    let ask = async |branch_id, server| {
        let url = servers.peers[0].clone();
        let mut peer =
            wire::inter_branch_service_client::InterBranchServiceClient::connect(url).await.expect("a server");
        let answer =
            peer.hand_over(wire::HandOverRequest { branch_id, server, room_bytes: None }).await.expect("an answer");
        answer.into_inner().message().await.expect("a part").expect("a part").part
    };
    let said = |whereabouts: wire::Whereabouts| Some(Part::Whereabouts(whereabouts.into()));
    // Branch 1 is for server 2, branch 3 its own, and branch 2 was never here.
    assert_eq!(ask(1, 1).await, said(wire::Whereabouts::ForAnother));
    assert_eq!(ask(3, 2).await, said(wire::Whereabouts::Served));
    // As long as its auditor has not seen it there.
    let nothing = [wire::Whereabouts::Absent, wire::Whereabouts::Seen].map(said);
    assert!(nothing.contains(&ask(2, 2).await));
    assert_eq!(servers.retirement(0, 1), Retirement::InOffice);
    assert!(matches!(ask(1, 2).await, Some(Part::Books(_))));
    assert_eq!(servers.retirement(0, 1), Retirement::Promised(2));
    // The books that nobody took are still on their way out for a moment.
    let mut asked = ask(1, 1).await;
    while asked == said(wire::Whereabouts::Leaving) {
        asked = ask(1, 1).await;
    }
    assert_eq!(asked, said(wire::Whereabouts::ForAnother));
}
