//! A connection that is lost at a commit: whether it was made is read, and never assumed.

use crate::journal::{all, append, founded, open};
use crate::proxy::{Cut, Proxy};
use crate::rows::rows;
use crate::server::Postgres;
use branch_server::journal::{AppendError, Journal as _, PostgresStore, SharedJournal};

/// The table's name is in the statement's text once, so the statement itself is known by what only it sends: the
/// kind of its rows, as a column.
const ROWS: &[u8] = b"deposit";

fn behind(proxy: &Proxy, seen_epoch: u64) -> SharedJournal {
    let store = PostgresStore::new(&proxy.url("bank"), None, None, "florin test").expect("a store");
    open(&store, seen_epoch)
}

#[test]
fn a_commit_that_never_arrived_is_made_and_one_whose_answer_was_lost_is_not_made_again() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let proxy = Proxy::to(postgres.port(), ROWS);
    let mut journal = behind(&proxy, 0);
    let mut count = 0;
    for cut in [Cut::Nothing, Cut::Before, Cut::After, Cut::After, Cut::Before] {
        proxy.cut(cut);
        append(&mut journal, 3).expect("an append");
        assert!(proxy.has_cut(), "{cut:?} was not made");
        count += 3;
        assert_eq!(all(&store), rows(0, count), "after {cut:?}");
        journal.confirm().expect("its own still");
    }
    let head = journal.head();
    drop(journal);
    let next = open(&store, 1);
    assert_eq!((next.last_sequence(), next.head()), (15, head), "the chain goes through all of it");
}

#[test]
fn a_writer_that_lost_its_connection_and_its_branch_finds_both_out() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let proxy = Proxy::to(postgres.port(), ROWS);
    for (cut, kept) in [(Cut::Before, 3), (Cut::After, 3)] {
        let epoch = postgres.ask("bank", "SELECT epoch FROM florin.branch WHERE branch = 7").parse().expect("a number");
        let mut former = behind(&proxy, epoch);
        append(&mut former, kept).expect("an append");
        let before = all(&store).len();
        // Another server takes the branch while the connection is away.
        let mut present = open(&store, epoch + 1);
        proxy.cut(cut);
        let lost = append(&mut former, 3);
        assert!(matches!(&lost, Err(AppendError::Fatal(what)) if what == "the branch is another server's now"));
        assert_eq!(all(&store).len(), before, "not one stale row after {cut:?}");
        append(&mut present, 1).expect("an append");
    }
}

#[test]
fn a_database_that_restarts_is_found_again_and_goes_on() {
    let mut postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let mut journal = open(&store, 0);
    append(&mut journal, 3).expect("an append");
    postgres.kill();
    let writing = std::thread::spawn(move || {
        append(&mut journal, 3).expect("an append");
        journal
    });
    postgres.run_again();
    let mut journal = writing.join().expect("a thread");
    assert_eq!(journal.epoch(), 1);
    append(&mut journal, 1).expect("an append");
    assert_eq!(all(&store), rows(0, 7));
}

#[test]
fn a_database_without_room_is_a_refusal_and_the_journal_goes_on() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let mut journal = open(&store, 0);
    append(&mut journal, 3).expect("an append");
    // What a full disk says, said by a trigger: the statement fails as a whole.
    postgres.say(
        "bank",
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$; \
         CREATE TRIGGER no_room BEFORE INSERT ON florin.journal_0007 FOR EACH ROW EXECUTE FUNCTION no_room()",
    );
    assert!(matches!(append(&mut journal, 3), Err(AppendError::StorageFull)));
    assert_eq!(journal.last_sequence(), 3);
    postgres.say("bank", "DROP TRIGGER no_room ON florin.journal_0007");
    append(&mut journal, 3).expect("an append");
    assert_eq!(all(&store), rows(0, 6));
}
