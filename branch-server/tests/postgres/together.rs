//! Branches of one server, whose group commits go in one statement when they are ready at the same moment.

use crate::journal::{append, claim, founded, open_in};
use crate::server::Postgres;
use bank_proto::BranchId;
use branch_server::journal::postgres::{Pool, PostgresReader};
use branch_server::journal::shared::Claim;
use branch_server::journal::{
    AppendError, Journal as _, JournalReader as _, PersonalName, PostgresStore, Sequence, SharedJournal,
};
use std::thread;

const GROUPS: u64 = 40;

fn branch(number: i64) -> BranchId {
    BranchId::new(number).expect("a branch")
}

fn open(store: &PostgresStore, number: i64) -> SharedJournal {
    open_in(store, Claim { branch: branch(number), ..claim(0) }).expect("a journal")
}

fn last(store: &PostgresStore, number: i64) -> Sequence {
    PostgresReader::new(Pool::new(store.clone()), branch(number)).last_sequence().expect("an end")
}

/// Counts from here on the statements that move a branch's row on.
fn count_statements(postgres: &Postgres) {
    postgres.say(
        "bank",
        "CREATE SEQUENCE statements; \
         CREATE FUNCTION count_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM nextval('statements'); RETURN NULL; END $$; \
         CREATE TRIGGER count_statement AFTER UPDATE OF head ON florin.branch \
         FOR EACH STATEMENT EXECUTE FUNCTION count_statement()",
    );
}

/// Appends group by group, with names now and then, until one is not accepted: the last row that was.
fn write(mut journal: SharedJournal, rows_of: impl Fn(u64) -> usize) -> (Sequence, Result<(), AppendError>) {
    for group in 0..GROUPS {
        let rows = crate::rows::rows(journal.last_sequence(), rows_of(group));
        let customer = rows[0].customer.expect("a customer");
        let name = PersonalName { customer, name: format!("customer {group}"), digest_key: [7; 32] };
        let names = if group % 5 == 0 { vec![name] } else { Vec::new() };
        if let Err(error) = journal.append(&rows, &names) {
            return (journal.last_sequence(), Err(error));
        }
    }
    (journal.last_sequence(), Ok(()))
}

fn all_write(
    journals: Vec<SharedJournal>,
    rows_of: impl Fn(u64) -> usize + Copy + Send + 'static,
) -> Vec<(Sequence, Result<(), AppendError>)> {
    let threads: Vec<_> = journals.into_iter().map(|journal| thread::spawn(move || write(journal, rows_of))).collect();
    threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
}

#[test]
fn branches_share_statements_and_one_that_is_another_servers_now_holds_up_no_other() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let mut journals: Vec<SharedJournal> = (1..=8).map(|number| open(&store, number)).collect();
    append(&mut journals[7], 3).expect("an append");
    let elsewhere = founded(&postgres.url("bank"));
    let mut taken = open_in(&elsewhere, Claim { branch: branch(8), ..claim(1) }).expect("taken over");
    count_statements(&postgres);
    let mut outcomes = all_write(journals, |_| 3);
    let fenced = outcomes.pop().expect("an outcome");
    assert!(matches!(&fenced, (3, Err(AppendError::Fatal(what))) if what == "the branch is another server's now"));
    append(&mut taken, 3).expect("its new owner writes");
    assert_eq!(last(&store, 8), 6);
    for (number, outcome) in (1..).zip(outcomes) {
        assert!(matches!(outcome, (120, Ok(()))), "branch {number}: {outcome:?}");
        assert_eq!(last(&store, number), 120);
        let mut again = open_in(&store, Claim { branch: branch(number), ..claim(1) }).expect("opened again");
        assert_eq!(again.last_sequence(), 120, "the chain goes through all of it");
        assert_eq!(again.read(1, 200).expect("rows"), crate::rows::rows(0, 120));
    }
    let names = postgres.ask("bank", "SELECT count(*) FROM florin.personal_name WHERE branch < 8");
    assert_eq!(names, "56", "eight names of each branch");
    let statements: u64 = postgres.ask("bank", "SELECT last_value FROM statements").parse().expect("a number");
    assert!(statements < 7 * GROUPS, "{statements} statements for {} group commits", 7 * GROUPS);
}

#[test]
fn what_the_database_will_never_take_from_one_branch_is_taken_from_the_others() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let journals: Vec<SharedJournal> = (1..=4).map(|number| open(&store, number)).collect();
    postgres.say(
        "bank",
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.sequence > 30 THEN RAISE EXCEPTION 'never' USING ERRCODE = 'check_violation'; END IF; \
         RETURN NEW; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON florin.journal_0002 FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let outcomes = all_write(journals, |_| 3);
    for (number, outcome) in (1..).zip(outcomes) {
        match number {
            2 => assert!(matches!(&outcome, (30, Err(AppendError::Fatal(what))) if what.contains("never"))),
            _ => assert!(matches!(outcome, (120, Ok(()))), "branch {number}: {outcome:?}"),
        }
    }
    assert_eq!([1, 2, 3, 4].map(|number| last(&store, number)), [120, 30, 120, 120]);
}

#[test]
fn group_commits_that_are_worth_statements_of_their_own_go_beside_each_other_and_none_is_forgotten_or_written_twice() {
    let postgres = Postgres::start();
    let store = founded(&postgres.database("bank"));
    let journals: Vec<SharedJournal> = (1..=8).map(|number| open(&store, number)).collect();
    // Large and small ones by turns: some fill a statement, and some only go with others.
    let rows_of = |group: u64| if group.is_multiple_of(3) { 700 } else { 2 };
    let all: u64 = (0..GROUPS).map(|group| rows_of(group) as u64).sum();
    for (number, outcome) in (1..).zip(all_write(journals, rows_of)) {
        assert!(matches!(outcome, (last, Ok(())) if last == all), "branch {number}: {outcome:?}");
        assert_eq!(last(&store, number), all);
    }
    // And alone once more, when nobody is left who would write with others.
    let mut alone = open_in(&store, Claim { branch: branch(1), ..claim(1) }).expect("opened again");
    append(&mut alone, 1).expect("an append");
}
