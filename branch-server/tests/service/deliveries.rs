//! What branches say to each other, as a peer on the wire sees it.

use crate::bank::{TestBank, code};
use crate::transfers::{balance, open_bank};
use bank_proto::wire::delivery_outcome::Kind;
use bank_proto::wire::inter_branch_service_client::InterBranchServiceClient;
use bank_proto::{AccountNumber, AccountSerial, BranchId, ErrorCode, TransactionId, TransactionKey, limits, wire};
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// A conversation with the first server of a bank of two.
struct Conversation {
    says: mpsc::UnboundedSender<wire::DeliverRequest>,
    hears: tonic::Streaming<wire::DeliverResponse>,
}

impl Conversation {
    async fn begin(bank: &TestBank) -> Conversation {
        let address = format!("http://{}", bank.servers[0].address());
        let mut client = InterBranchServiceClient::connect(address).await.expect("a connection");
        let (says, stream) = mpsc::unbounded_channel();
        let hears = client.deliver(UnboundedReceiverStream::new(stream)).await.expect("a conversation").into_inner();
        Conversation { says, hears }
    }

    /// Says all of it in one message, and waits for an answer to each: a code, or what became of the deliveries.
    async fn say(&mut self, messages: Vec<wire::PairMessage>) -> BTreeMap<u64, String> {
        let count = messages.len();
        self.says.send(wire::DeliverRequest { messages }).expect("it listens");
        let mut heard = BTreeMap::new();
        while heard.len() < count {
            for answer in self.hears.message().await.expect("an answer").expect("more").answers {
                heard.insert(answer.correlation_id, told(&answer));
            }
        }
        heard
    }
}

fn told(answer: &wire::PairAnswer) -> String {
    if let Some(failure) = &answer.failure {
        return failure.code.clone();
    }
    let outcomes = answer.outcomes.iter().map(|outcome| match &outcome.kind {
        Some(Kind::Credited(credited)) => format!("credited {}", credited.customer_id),
        Some(Kind::Rejected(failure)) => format!("rejected {}", failure.code),
        Some(Kind::Cancelled(_)) => "cancelled".to_owned(),
        Some(Kind::Undecided(failure)) => format!("undecided {}", failure.code),
        None => "nothing".to_owned(),
    });
    outcomes.collect::<Vec<_>>().join(", ")
}

/// Of 1.50 from customer 2 at branch 2 to a customer of branch 1.
fn delivery(number: u64, payee: i64) -> wire::Delivery {
    let source = BranchId::new(2).expect("a branch");
    wire::Delivery {
        transaction_id: TransactionId { branch: source, key: TransactionKey(u128::from(number)) }.to_string(),
        pair_sequence: number,
        to_customer_id: payee,
        amount: "1.50".to_owned(),
        currency: "USD".to_owned(),
        from_customer_id: 2,
        from_account_number: AccountNumber::new(source, AccountSerial(1)).to_string(),
        principal: "open".to_owned(),
        ..wire::Delivery::default()
    }
}

fn message(correlation_id: u64, destination: u32, deliveries: Vec<wire::Delivery>) -> wire::PairMessage {
    wire::PairMessage {
        correlation_id,
        source_branch_id: 2,
        destination_branch_id: destination,
        source_epoch: 1,
        lowest_outstanding: 1,
        cut: 0,
        deliveries,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_of_a_conversation_has_an_answer_of_its_own() {
    let (bank, mut client) = open_bank(2).await;
    let mut conversation = Conversation::begin(&bank).await;
    let too_many = vec![delivery(1, 1); limits::DELIVERIES + 1];
    let without_id = wire::Delivery { transaction_id: String::new(), ..delivery(1, 1) };

    let heard = conversation
        .say(vec![
            message(11, 1, vec![delivery(1, 1), delivery(2, 12_345)]),
            message(12, 4, vec![delivery(1, 4)]),
            message(13, 99, vec![delivery(1, 1)]),
            message(14, 1, too_many),
            message(15, 1, vec![without_id]),
            message(16, 2, vec![]),
            message(17, 3, vec![]),
        ])
        .await;

    insta::assert_debug_snapshot!(heard, @r#"
    {
        11: "credited 1, rejected CUSTOMER_NOT_FOUND",
        12: "WRONG_BRANCH",
        13: "INVALID_BRANCH_ID",
        14: "INVALID_REQUEST",
        15: "INVALID_TRANSACTION_ID",
        16: "INVALID_REQUEST",
        17: "",
    }
    "#);
    assert_eq!(balance(&mut client, 1).await, "1001.50");
    // The same again, in another conversation: the same outcomes, and no more money.
    let again =
        Conversation::begin(&bank).await.say(vec![message(1, 1, vec![delivery(1, 1), delivery(2, 12_345)])]).await;
    assert_eq!(again[&1], heard[&11]);
    assert_eq!(balance(&mut client, 1).await, "1001.50");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_its_conversations() {
    let (mut bank, _client) = open_bank(2).await;
    let mut conversation = Conversation::begin(&bank).await;
    conversation.say(vec![message(1, 1, vec![delivery(1, 1)])]).await;

    bank.servers.remove(0).stop().await;

    let last = conversation.hears.message().await;
    assert!(matches!(last, Ok(None)), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_cannot_be_read_ends_with_a_word() {
    let (bank, _client) = open_bank(2).await;
    let mut conversation = Conversation::begin(&bank).await;
    let memo = "x".repeat(limits::GRPC_MESSAGE_BYTES);
    let too_long = wire::Delivery { memo, ..delivery(1, 1) };
    conversation.says.send(wire::DeliverRequest { messages: vec![message(1, 1, vec![too_long])] }).expect("it listens");

    let refusal = conversation.hears.message().await.expect_err("too long");

    assert_eq!(code(&refusal), Some(ErrorCode::PayloadTooLarge));
}
