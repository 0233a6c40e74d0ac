use super::*;

const THREE_AT_400: &str = r#"[
    {"id": 1, "type": "customer", "events": [{"id": 1, "interface": "query", "money": 400}]},
    {"id": 2, "type": "customer", "events": [{"id": 2, "interface": "deposit", "money": 170}, {"id": 3, "interface": "query"}]},
    {"id": 3, "type": "customer", "branch_id": 3, "events": [{"id": 4, "interface": "withdraw", "money": 70.5}]},
    {"id": 1, "type": "branch", "balance": 400}, {"id": 2, "type": "branch", "balance": 400.00}, {"id": 3, "type": "branch", "balance": "400"}
]"#;

fn refusal(text: &str, joint: bool) -> String {
    let error = EventFile::parse(text.as_bytes(), joint).expect_err("a refusal");
    assert_eq!(error.exit(), Exit::Data, "{error}");
    error.to_string()
}

#[test]
fn events_of_all_customers_come_in_the_order_of_their_ids() {
    let text = r#"[{"id": 2, "type": "branch", "balance": 1}, {"id": 1, "type": "branch", "balance": 0},
        {"id": 2, "type": "customer", "events": [{"id": 9, "interface": "query"}, {"id": 1, "interface": "deposit", "money": 0.01}]},
        {"id": 1, "type": "customer", "events": [{"id": 4, "interface": "withdraw", "money": "5"}]}]"#;
    let file = EventFile::parse(text.as_bytes(), false).expect("a file");
    let order = file.events.iter().map(|event| (event.id, event.customer.get())).collect::<Vec<_>>();
    assert_eq!(order, [(1, 2), (4, 1), (9, 2)]);
    assert_eq!(file.events[0].kind, EventKind::Deposit(Money::from_minor(1, Currency::USD)));
    assert_eq!(file.customers.iter().map(|customer| customer.get()).collect::<Vec<_>>(), [2, 1], "as in the file");
    assert_eq!(file.highest_branch(), 2);
}

#[test]
fn equal_balances_however_they_are_written_make_a_joint_account() {
    let file = EventFile::parse(THREE_AT_400.as_bytes(), true).expect("a file");
    let (branch, balance) = file.lowest_branch().expect("a branch");
    assert_eq!((branch.get(), balance.to_string().as_str()), (1, "400.00"));
    let (first, others) = file.holders().expect("holders");
    assert_eq!((first.get(), others.len()), (1, 2));
    let single = EventFile::parse(THREE_AT_400.as_bytes(), false).expect("a file");
    assert_ne!(file.fingerprint, single.fingerprint, "the two ways of running a file share no ids");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let customer = |events: &str| {
        format!(
            r#"[{{"id": 1, "type": "branch", "balance": 5}}, {{"id": 1, "type": "customer", "events": [{events}]}}]"#
        )
    };
    for (text, expected) in [
        (
            customer(r#"{"id": 1, "interface": "steal", "money": 1}"#),
            r#"event 1 has the interface "steal"; it must be"#,
        ),
        (customer(r#"{"id": 1, "interface": "deposit"}"#), "the money of event 1 is missing"),
        (customer(r#"{"id": 1, "interface": "deposit", "money": null}"#), "the money of event 1 is missing"),
        (customer(r#"{"id": 7, "interface": "deposit", "money": true}"#), "the money of event 7 must be a plain"),
        (customer(r#"{"id": 7, "interface": "deposit", "money": 1e2}"#), "the money of event 7 must be a plain"),
        (customer(r#"{"id": 1, "interface": "deposit", "money": 1.001}"#), "the money of event 1 has more than 2"),
        (customer(r#"{"id": 1, "interface": "withdraw", "money": 0}"#), "the money of event 1 must be greater"),
        (customer(r#"{"id": 1, "interface": "withdraw", "money": -3}"#), "the money of event 1 must be greater"),
        (customer(r#"{"id": 1, "interface": "query"}, {"id": 1, "interface": "query"}"#), "two entries for event 1"),
        (customer(r#"{"id": 1, "interface": "query", "mony": 3}"#), "not an event file: unknown field `mony`"),
        (customer(r#"{"id": -1, "interface": "query"}"#), "not an event file: invalid value: integer `-1`"),
        (r#"[{"id": 1, "type": "branch", "balance": -1}]"#.into(), "the balance of branch 1 must not be negative"),
        (r#"[{"id": 1, "type": "branch"}]"#.into(), "the balance of branch 1 is missing"),
        (r#"[{"id": 0, "type": "branch", "balance": 1}]"#.into(), "branch 0 must be a branch number"),
        (r#"[{"id": 3, "type": "teller"}]"#.into(), r#"entry 3 of type "teller" has neither"#),
        (
            r#"[{"id": 1, "type": "branch", "balance": 1}, {"id": 0, "type": "customer"}]"#.into(),
            "customer 0 must be a customer number",
        ),
        (
            r#"[{"id": 3, "type": "branch", "balance": 1}, {"id": 2, "type": "customer"}]"#.into(),
            "customer 2 has no branch: the file lists no branch 2",
        ),
        (
            r#"[{"id": 3, "type": "branch", "balance": 1}, {"id": 3, "type": "customer", "branch_id": 9}]"#.into(),
            "customer 3 has no branch: the file lists no branch 9",
        ),
        ("[]".into(), "the file lists no branches"),
        ("{}".into(), "not an event file: invalid type: map"),
        ("null".into(), "not an event file: invalid type: null"),
        ("[".into(), "not an event file: EOF"),
    ] {
        let refusal = refusal(&text, false);
        assert!(refusal.contains(expected), "{text}\n{refusal}");
    }
}

#[test]
fn a_joint_account_needs_equal_balances_and_a_customer_of_its_branch() {
    let unequal = r#"[{"id": 1, "type": "branch", "balance": 5}, {"id": 2, "type": "branch", "balance": 6}]"#;
    assert_eq!(
        refusal(unequal, true),
        "with --joint all branches must have the same balance; branch 1 has 5.00, branch 2 has 6.00"
    );
    EventFile::parse(unequal.as_bytes(), false).expect("without --joint it is a file like any other");
    let nobody = r#"[{"id": 1, "type": "branch", "balance": 5}, {"id": 2, "type": "branch", "balance": 5},
        {"id": 2, "type": "customer", "events": []}]"#;
    assert!(refusal(nobody, true).starts_with("with --joint a customer of branch 1"));
    let many = (1..=17).map(|id| {
        format!(r#"{{"id": {id}, "type": "branch", "balance": 5}}, {{"id": {id}, "type": "customer", "events": []}}"#)
    });
    let many = format!("[{}]", many.collect::<Vec<_>>().join(","));
    assert!(refusal(&many, true).ends_with("at most 16 customers can hold the account; the file has 17"));
}

#[test]
fn any_bytes_are_a_file_or_refused_without_panic() {
    type Entries = Vec<(bool, u8, u8, u8)>;
    bolero::check!().with_type::<(Entries, Vec<(u16, u8)>, Vec<u8>, bool)>().for_each(
        |(entries, patches, alone, joint)| {
            // Few numbers, so that they meet: a file of any entries, one with any bytes in it, and any bytes.
            let entries = entries.iter().map(|(is_branch, id, money, event)| match is_branch {
            true => format!(r#"{{"id":{},"type":"branch","balance":{}}}"#, id % 3, money % 2),
            false => format!(
                r#"{{"id":{},"type":"customer","events":[{{"id":{event},"interface":"deposit","money":{money}}}]}}"#,
                id % 5
            ),
        });
            let generated = format!("[{}]", entries.collect::<Vec<_>>().join(",")).into_bytes();
            let mut patched = THREE_AT_400.as_bytes().to_vec();
            for (place, byte) in patches {
                let place = usize::from(*place) % patched.len();
                patched[place] = *byte;
            }
            for bytes in [alone, &patched, &generated] {
                let Ok(file) = EventFile::parse(bytes, *joint) else { continue };
                assert!(file.events.is_sorted_by(|one, next| one.id < next.id), "each once, in order");
                assert!(file.events.iter().all(|event| file.customers.contains(&event.customer)));
                assert!(file.branches.values().all(|balance| balance.minor() >= 0));
                assert!(!joint || file.holders().is_some(), "{}", String::from_utf8_lossy(bytes));
            }
        },
    );
}
