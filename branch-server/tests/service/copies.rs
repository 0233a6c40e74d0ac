//! A branch's journal for whoever keeps a copy of it.

use crate::bank::{TestBank, code, deposit, initialize};
use bank_proto::{ErrorCode, wire};

#[tokio::test]
async fn a_copy_of_a_journal_with_large_rows_comes_in_messages_that_can_be_sent() {
    let bank = TestBank::start(1).await;
    let mut client = bank.client(0).await;
    client.initialize_branch(initialize(1)).await.expect("opened");
    // Stored as JSON, each of these letters takes six bytes.
    let key =
        |n: u32| [1 + n / 16 % 16, 1 + n % 16].map(|code| char::from_u32(code).expect("a letter")).iter().collect();
    let metadata: std::collections::BTreeMap<String, String> =
        (0..256).map(|n| (key(n), "\u{1}\u{1}".to_owned())).collect();
    let order = wire::DepositRequest { metadata, ..deposit(1, "1") };
    let operations = vec![wire::Operation { kind: Some(wire::operation::Kind::Deposit(order)) }; 1_000];
    let results = client.batch(wire::BatchRequest { operations, traces: vec![] }).await.expect("results").into_inner();
    assert!(results.results.iter().all(|result| matches!(result.kind, Some(wire::operation_result::Kind::Receipt(_)))));
    let described = wire::DescribeJournalRequest { branch_id: 1, sequences: vec![1_000_000] };
    let described = client.describe_journal(described).await.expect("a description").into_inner();
    assert_eq!((described.branches, described.hashes), (10, vec![vec![0; 32]]));
    let asked = wire::CopyJournalRequest {
        branch_id: 1,
        table: wire::StoredTable::Journal.into(),
        first: 1,
        last: described.last_sequence,
    };
    let mut messages = client.copy_journal(asked).await.expect("a stream").into_inner();
    let (mut rows, mut most) = (0, 0);
    while let Some(message) = messages.message().await.expect("it can be sent") {
        rows += message.rows.len();
        most = most.max(prost::Message::encoded_len(&message));
    }
    assert_eq!(rows, usize::try_from(described.last_sequence).expect("small"));
    assert!((1 << 20..bank_proto::limits::GRPC_MESSAGE_BYTES).contains(&most), "{most}");
    let refused = client.copy_journal(wire::CopyJournalRequest { table: 0, ..asked }).await.expect_err("no table");
    assert_eq!(code(&refused), Some(ErrorCode::InvalidRequest));
    let too_many = wire::DescribeJournalRequest { branch_id: 1, sequences: vec![1; 17] };
    assert_eq!(code(&client.describe_journal(too_many).await.expect_err("too many")), Some(ErrorCode::InvalidRequest));
}
