//! Linked operations: all of them or none, each answered under its own id, now and at every repeat.

use crate::bank::{TestBank, code, deposit, withdraw};
use crate::transfers::{Client, balance, end_of, look_up, open_bank, without_waiting};
use bank_proto::wire::operation::Kind;
use bank_proto::wire::operation_result::Kind as Told;
use bank_proto::{ErrorCode, wire};

fn paid_in(customer: i64, amount: &str) -> Kind {
    Kind::Deposit(deposit(customer, amount))
}

fn paid_out(customer: i64, amount: &str) -> Kind {
    Kind::Withdraw(withdraw(customer, amount))
}

fn under(id: u32, kind: Kind) -> Kind {
    let id = Some(format!("{id:032x}"));
    match kind {
        Kind::Deposit(order) => Kind::Deposit(wire::DepositRequest { transaction_id: id, ..order }),
        Kind::Withdraw(order) => Kind::Withdraw(wire::WithdrawRequest { transaction_id: id, ..order }),
        other => panic!("{other:?}"),
    }
}

fn linked(kinds: Vec<Kind>) -> wire::Operation {
    let operations = kinds.into_iter().map(|kind| wire::Operation { kind: Some(kind) }).collect();
    wire::Operation { kind: Some(Kind::Linked(wire::LinkedOperations { operations })) }
}

async fn batch(client: &mut Client, operations: Vec<wire::Operation>) -> Vec<Told> {
    let answer = client.batch(wire::BatchRequest { operations, traces: vec![] }).await.expect("an answer").into_inner();
    answer.results.into_iter().map(|result| result.kind.expect("a result")).collect()
}

/// What each of some linked operations is answered, in a word: its balance or its code; "again" when replayed.
async fn ask(client: &mut Client, kinds: Vec<Kind>) -> String {
    let told = batch(client, vec![linked(kinds)]).await.remove(0);
    let word = |word: String, replayed| if replayed { format!("{word} again") } else { word };
    let words: Vec<String> = match told {
        Told::Linked(linked) => linked
            .results
            .into_iter()
            .map(|result| match result.kind.expect("a result") {
                Told::Receipt(receipt) => word(receipt.balance, receipt.replayed),
                Told::Failure(failure) => word(failure.code, failure.replayed),
                Told::Transfer(transfer) => word(format!("{:?}", transfer.state()), transfer.replayed),
                Told::Account(account) => word(format!("{:?}", account.state()), account.replayed),
                other => panic!("{other:?}"),
            })
            .collect(),
        Told::Failure(failure) => {
            vec![format!("{} {}", failure.code, failure.metadata.get("field").map_or("", String::as_str))]
        }
        other => panic!("{other:?}"),
    };
    words.join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_done_or_none_and_a_repeat_says_the_same() {
    let (bank, mut client) = open_bank(2).await;
    let done = vec![under(1, paid_in(2, "1")), under(2, paid_out(2, "500")), under(3, paid_in(12, "7"))];
    let undone = vec![under(4, paid_in(2, "1")), under(5, paid_out(2, "502.01")), under(6, paid_in(12, "7"))];

    assert_eq!(ask(&mut client, done.clone()).await, "1001.00, 501.00, 7.00");
    assert_eq!(
        ask(&mut client, undone.clone()).await,
        "LINKED_OPERATION_FAILED, INSUFFICIENT_FUNDS, LINKED_OPERATION_FAILED"
    );

    // Branch 2 is the other server's.
    let bank: TestBank = bank.restart().await;
    let mut client = bank.client(0).await;
    assert_eq!(balance(&mut client, 2).await, "501.00");
    assert_eq!(balance(&mut client, 12).await, "7.00");
    assert_eq!(ask(&mut client, done).await, "1001.00 again, 501.00 again, 7.00 again");
    assert_eq!(
        ask(&mut client, undone).await,
        "LINKED_OPERATION_FAILED again, INSUFFICIENT_FUNDS again, LINKED_OPERATION_FAILED again"
    );
    // Alone it is not tried again either: a failed id stays failed.
    let refusal = client.deposit(match under(4, paid_in(2, "1")) {
        Kind::Deposit(order) => order,
        other => panic!("{other:?}"),
    });
    let refusal = refusal.await.expect_err("failed");
    assert_eq!(code(&refusal), Some(ErrorCode::LinkedOperationFailed));
    assert!(refusal.message().contains(&format!("2-{:032x}", 5)), "{}", refusal.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_they_opened_registered_or_sent_is_taken_back_with_them() {
    let (_bank, mut client) = open_bank(2).await;
    let account = crate::transfers::account_of(&mut client, 1).await;
    let freeze = || {
        let account_number = account.clone();
        Kind::FreezeAccount(wire::ChangeAccountRequest { account_number, ..wire::ChangeAccountRequest::default() })
    };
    let send = || Kind::Transfer(without_waiting(1, 2, "100"));
    let too_much = || paid_out(21, "8");

    // Customer 21 is new; what is sent to branch 2 must not leave; the last one fails.
    let said = ask(&mut client, vec![paid_in(21, "7"), send(), freeze(), too_much()]).await;

    let failed = ["LINKED_OPERATION_FAILED"; 3].join(", ");
    assert_eq!(said, format!("{failed}, INSUFFICIENT_FUNDS"));
    let unknown = client.query(crate::bank::query(21)).await.expect_err("nobody");
    assert_eq!(code(&unknown), Some(ErrorCode::CustomerNotFound));
    assert_eq!(balance(&mut client, 1).await, "1000.00");

    // The same without the last one, and all of it is done.
    let said = ask(&mut client, vec![paid_in(21, "7"), send(), freeze()]).await;
    assert_eq!(said, "7.00, Processing, Frozen");
    while balance(&mut client, 2).await != "1100.00" {
        tokio::task::yield_now().await;
    }
    crate::transfers::check_books(&mut client, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_used_before_is_answered_and_not_done_again() {
    let (_bank, mut client) = open_bank(1).await;
    let Kind::Deposit(first) = under(1, paid_in(1, "1")) else { panic!("a deposit") };
    client.deposit(first).await.expect("a receipt");

    assert_eq!(
        ask(&mut client, vec![under(1, paid_in(1, "1")), under(2, paid_in(1, "1"))]).await,
        "1001.00 again, 1002.00"
    );
    // Twice among them is once.
    assert_eq!(
        ask(&mut client, vec![under(3, paid_in(1, "1")), under(3, paid_in(1, "1"))]).await,
        "1003.00, 1003.00 again"
    );
    // With other content it is nobody's: nothing is done, and nothing is stored, so that a new id mends it.
    let reused = vec![under(4, paid_in(1, "1")), under(1, paid_in(1, "2"))];
    assert_eq!(ask(&mut client, reused).await, "LINKED_OPERATION_FAILED, IDEMPOTENCY_KEY_REUSED");
    assert_eq!(ask(&mut client, vec![under(4, paid_in(1, "1")), under(5, paid_in(1, "2"))]).await, "1004.00, 1006.00");
    assert_eq!(balance(&mut client, 1).await, "1006.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn linked_groups_answer_in_their_places_and_do_not_touch_what_stands_beside_them() {
    let (_bank, mut client) = open_bank(2).await;
    let plain = |kind| wire::Operation { kind: Some(kind) };
    let operations = vec![
        plain(paid_in(1, "1")),
        linked(vec![paid_in(1, "10"), paid_out(1, "5000")]),
        linked(vec![paid_in(1, "100"), paid_out(1, "0.50")]),
        linked(vec![paid_in(2, "1"), paid_in(2, "1")]),
        plain(paid_in(1, "1")),
    ];

    let told = batch(&mut client, operations).await;

    let kinds: Vec<String> = told
        .iter()
        .map(|told| match told {
            Told::Receipt(receipt) => receipt.balance.clone(),
            Told::Linked(linked) => format!("{} linked", linked.results.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["1001.00", "2 linked", "2 linked", "2 linked", "1101.50"]);
    assert_eq!(balance(&mut client, 2).await, "1002.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_linked_is_refused_as_a_whole_and_names_the_place() {
    let (_bank, mut client) = open_bank(2).await;
    let question = Kind::Query(crate::bank::query(1));
    let nested = linked(vec![paid_in(1, "1")]).kind.expect("linked");
    for (kinds, refusal) in [
        (vec![], "INVALID_REQUEST operations"),
        (vec![paid_in(1, "1"); 257], "INVALID_REQUEST operations"),
        (vec![paid_in(1, "1"), question], "INVALID_REQUEST operations[1]"),
        (vec![paid_in(1, "1"), paid_in(2, "1")], "INVALID_REQUEST operations[1]"),
        (vec![paid_in(1, "1"), nested], "INVALID_REQUEST operations[1]"),
        (vec![paid_in(1, "1"), paid_in(1, "-1")], "INVALID_AMOUNT operations[1].amount"),
        (vec![paid_in(0, "1")], "INVALID_CUSTOMER_ID operations[0].customer_id"),
    ] {
        assert_eq!(ask(&mut client, kinds).await, refusal);
    }
    assert_eq!(balance(&mut client, 1).await, "1000.00");
    // Linked operations count one by one.
    let many = vec![linked(vec![paid_in(1, "1"); 256]); 33];
    let refusal = client.batch(wire::BatchRequest { operations: many, traces: vec![] }).await.expect_err("too many");
    assert_eq!(code(&refusal), Some(ErrorCode::InvalidRequest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_transfer_has_an_id_that_tells_its_end() {
    let (_bank, mut client) = open_bank(2).await;
    let told =
        batch(&mut client, vec![linked(vec![paid_in(1, "1"), Kind::Transfer(without_waiting(1, 22, "5"))])]).await;
    let Told::Linked(answers) = &told[0] else { panic!("{told:?}") };
    let Some(Told::Transfer(sent)) = &answers.results[1].kind else { panic!("{answers:?}") };

    // There is no customer 22: the money comes back, and what it was linked to stays done.
    let end = end_of(&mut client, &sent.transaction_id).await;

    assert_eq!(
        (end.reason.as_str(), look_up(&mut client, &sent.transaction_id).await),
        ("CUSTOMER_NOT_FOUND", end.clone())
    );
    assert_eq!(balance(&mut client, 1).await, "1001.00");
}
