//! The queue by itself, without a network.

use super::*;
use crate::app::Caller;
use crate::bank::{Operation, Target};
use bank_proto::limits;
use bank_proto::wire::operation::Kind;
use bank_proto::{BranchId, CustomerId, TransactionId, TransactionKey};
use prost::Message as _;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn caller() -> Caller {
    Caller { request_id: "r".into(), key: None, trace: None }
}

/// A write by this customer, so that tests can tell orders apart.
fn order(customer: i64) -> Order {
    let customer = CustomerId::new(customer).expect("a customer");
    let id = TransactionId { branch: BranchId::new(1).expect("a branch"), key: TransactionKey(1) };
    Order::new(Operation::CreateCustomer { customer, name: String::new() }, Some(id), &caller())
}

fn read() -> Order {
    let target = Target::Customer(CustomerId::new(1).expect("a customer"));
    Order::new(Operation::Query { target, currency: None }, None, &caller())
}

/// Correlation ids and customers of the next message.
fn take(queue: &Queue, conversation: u64) -> Vec<(u64, i64)> {
    let message = queue.take_message(conversation, Instant::now()).expect("the conversation goes on");
    let customer = |operation: &bank_proto::wire::StreamOperation| match operation
        .operation
        .as_ref()
        .and_then(|operation| operation.kind.as_ref())
    {
        Some(Kind::CreateCustomer(request)) => request.customer_id,
        _ => 0,
    };
    message.operations.iter().map(|operation| (operation.correlation_id, customer(operation))).collect()
}

fn answer(queue: &Queue, correlation_id: u64, customer_id: i64) {
    use bank_proto::wire;
    let customer = wire::Customer { customer_id, ..wire::Customer::default() };
    let kind = Some(wire::operation_result::Kind::Customer(customer));
    let result = wire::StreamResult { correlation_id, result: Some(wire::OperationResult { kind }) };
    assert!(queue.settle(wire::BatchStreamResponse { results: vec![result] }, Instant::now()).is_empty());
}

fn told(answer: Result<Replied, Problem>) -> Result<i64, ErrorCode> {
    match answer {
        Ok(Replied { reply: crate::answer::Reply::Customer(customer), .. }) => Ok(customer.customer_id),
        Ok(other) => panic!("another reply: {other:?}"),
        Err(problem) => Err(problem.code()),
    }
}

#[tokio::test]
async fn what_waits_travels_together_and_answers_find_their_callers() {
    let queue = Arc::new(Queue::new(10, Routes::new(10)));
    let deadline = Instant::now() + SECOND;
    let first = queue.submit(order(1), deadline).expect("room");
    let second = queue.submit(order(2), deadline).expect("room");
    let conversation = queue.begin_conversation();
    let sent = take(&queue, conversation);
    assert_eq!(sent.iter().map(|(_, customer)| *customer).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(queue.depth(), (0, 2));
    answer(&queue, sent[1].0, 2);
    answer(&queue, sent[0].0, 1);
    assert_eq!((told(first.answer().await), told(second.answer().await)), (Ok(1), Ok(2)));
    assert_eq!(queue.depth(), (0, 0));
}

#[tokio::test]
async fn a_new_conversation_sends_what_is_unanswered_again_in_its_old_order() {
    let queue = Arc::new(Queue::new(10, Routes::new(10)));
    let deadline = Instant::now() + SECOND;
    let waiting: Vec<Waiting> = (1..=3).map(|n| queue.submit(order(n), deadline).expect("room")).collect();
    let broken = queue.begin_conversation();
    let sent = take(&queue, broken);
    answer(&queue, sent[1].0, 2);
    let late = queue.submit(order(4), deadline).expect("room");

    let conversation = queue.begin_conversation();

    assert!(queue.take_message(broken, Instant::now()).is_none(), "the broken conversation is over");
    let again = take(&queue, conversation);
    assert_eq!(again.iter().map(|(_, customer)| *customer).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!((again[0].0, again[1].0), (sent[0].0, sent[2].0), "under the same correlation ids");
    drop((waiting, late));
}

#[tokio::test(start_paused = true)]
async fn giving_up_tells_whether_it_was_ever_sent() {
    let queue = Arc::new(Queue::new(10, Routes::new(10)));
    let submit = |order| queue.submit(order, Instant::now() + SECOND).expect("room");
    let (sent_write, sent_read) = (submit(order(1)), submit(read()));
    let conversation = queue.begin_conversation();
    take(&queue, conversation);
    let unsent_write = submit(order(2));
    assert_eq!(told(sent_write.answer().await), Err(ErrorCode::OutcomeUnknown));
    assert_eq!(told(sent_read.answer().await), Err(ErrorCode::BranchUnavailable));
    assert_eq!(told(unsent_write.answer().await), Err(ErrorCode::BranchUnavailable));
    assert_eq!(queue.depth(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_in_a_broken_conversation_stays_unknown_while_it_waits_again() {
    let queue = Arc::new(Queue::new(10, Routes::new(10)));
    let waiting = queue.submit(order(1), Instant::now() + SECOND).expect("room");
    let conversation = queue.begin_conversation();
    take(&queue, conversation);
    queue.begin_conversation();
    assert_eq!(queue.depth(), (1, 0));
    assert_eq!(told(waiting.answer().await), Err(ErrorCode::OutcomeUnknown));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_meets_nobody() {
    let queue = Arc::new(Queue::new(10, Routes::new(10)));
    let conversation = queue.begin_conversation();
    let late = queue.submit(order(1), Instant::now() + SECOND).expect("room");
    let sent = take(&queue, conversation);
    assert_eq!(told(late.answer().await), Err(ErrorCode::OutcomeUnknown));
    let next = queue.submit(order(2), Instant::now() + SECOND).expect("room");
    let next_sent = take(&queue, conversation);
    answer(&queue, sent[0].0, 1);
    answer(&queue, next_sent[0].0, 2);
    assert_eq!(told(next.answer().await), Ok(2));
}

#[tokio::test(start_paused = true)]
async fn what_is_past_its_deadline_is_not_sent() {
    let queue = Arc::new(Queue::new(10, Routes::new(10)));
    let _late = queue.submit(order(1), Instant::now() + SECOND).expect("room");
    let _early = queue.submit(order(2), Instant::now() + 3 * SECOND).expect("room");
    tokio::time::advance(2 * SECOND).await;
    let conversation = queue.begin_conversation();
    let sent = take(&queue, conversation);
    assert_eq!(sent.iter().map(|(_, customer)| *customer).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_caller_who_goes_away_withdraws_what_was_not_sent() {
    let queue = Arc::new(Queue::new(1, Routes::new(10)));
    let deadline = Instant::now() + SECOND;
    let gone = queue.submit(order(1), deadline).expect("room");
    assert_eq!(queue.submit(order(2), deadline).map(|_| ()).map_err(|full| full.code()), Err(ErrorCode::Overloaded));
    drop(gone);
    let conversation = queue.begin_conversation();
    let _stays = queue.submit(order(3), deadline).expect("room again");
    let sent = take(&queue, conversation);
    assert_eq!(sent.iter().map(|(_, customer)| *customer).collect::<Vec<_>>(), [3]);
}

#[tokio::test]
async fn many_are_taken_all_or_none_and_split_into_messages() {
    let queue = Arc::new(Queue::new(MESSAGE_OPERATIONS + 10, Routes::new(10)));
    let deadline = Instant::now() + SECOND;
    let orders = |count| (0..count).map(|_| order(1)).collect::<Vec<_>>();
    let refused = queue.submit_all(orders(MESSAGE_OPERATIONS + 11), deadline);
    assert_eq!(refused.map(|_| ()).map_err(|full| full.code()), Err(ErrorCode::Overloaded));
    assert_eq!(queue.depth(), (0, 0));
    let _waiting = queue.submit_all(orders(MESSAGE_OPERATIONS + 10), deadline).expect("room");
    let conversation = queue.begin_conversation();
    assert_eq!(take(&queue, conversation).len(), MESSAGE_OPERATIONS);
    assert_eq!(take(&queue, conversation).len(), 10);
}

#[tokio::test]
async fn a_message_of_the_largest_orders_fits_what_a_branch_server_takes() {
    // Many small entries cost more on the wire than one large one.
    let metadata: std::collections::BTreeMap<String, String> = (0..limits::METADATA_BYTES / 2)
        .map(|n| (format!("{:02x}", n % 256) + &"x".repeat(n / 256), String::new()))
        .collect();
    let movement = crate::bank::Movement {
        target: Target::Account("9999000000000183".parse().expect("an account")),
        amount: "9".repeat(40),
        currency: Some(bank_proto::Currency::USD),
        memo: "m".repeat(limits::MEMO_BYTES),
        metadata,
    };
    let id = TransactionId { branch: BranchId::new(9999).expect("a branch"), key: TransactionKey(u128::MAX) };
    let caller = Caller { request_id: "r".repeat(128).into(), key: None, trace: None };
    let queue = Arc::new(Queue::new(MESSAGE_OPERATIONS, Routes::new(10)));
    let order = || Order::new(Operation::Withdraw(movement.clone()), Some(id), &caller);
    let orders = (0..MESSAGE_OPERATIONS).map(|_| order()).collect();
    let _waiting = queue.submit_all(orders, Instant::now() + SECOND).expect("room");
    let conversation = queue.begin_conversation();
    let message = queue.take_message(conversation, Instant::now()).expect("a message");
    assert_eq!(message.operations.len(), MESSAGE_OPERATIONS);
    let bytes = message.encoded_len();
    assert!(bytes < limits::GRPC_MESSAGE_BYTES, "{bytes}");
}

#[tokio::test]
async fn a_line_is_busy_while_others_wait_or_are_unanswered() {
    let queue = Arc::new(Queue::new(10, Routes::new(10)));
    let conversation = queue.begin_conversation();
    let context = Context::from_waker(Waker::noop());
    assert_eq!(queue.poll_waiting(conversation, &context), Poll::Pending);
    let first = queue.submit(order(1), Instant::now() + SECOND).expect("room");
    assert_eq!(queue.poll_waiting(conversation, &context), Poll::Ready(false), "a lone order");
    let sent = take(&queue, conversation);
    let _second = queue.submit(order(2), Instant::now() + SECOND).expect("room");
    assert_eq!(queue.poll_waiting(conversation, &context), Poll::Ready(true), "another is unanswered");
    answer(&queue, sent[0].0, 1);
    assert_eq!(told(first.answer().await), Ok(1));
    assert_eq!(queue.poll_waiting(conversation, &context), Poll::Ready(false), "the other was answered");
}

/// A server's word that it did nothing, because the branch is on its way to another.
fn moving(code: ErrorCode, correlation_id: u64) -> wire::Answers {
    use bank_proto::wire;
    let metadata = [(bank_proto::metadata::MOVING.to_owned(), "true".to_owned())].into();
    let failure = wire::Failure { code: code.as_str().to_owned(), metadata, ..wire::Failure::default() };
    let kind = Some(wire::operation_result::Kind::Failure(failure));
    let result = wire::StreamResult { correlation_id, result: Some(wire::OperationResult { kind }) };
    wire::BatchStreamResponse { results: vec![result] }
}

#[tokio::test]
async fn an_order_whose_branch_is_on_its_way_is_sent_again_until_its_last_moment() {
    let queue = Arc::new(Queue::new(10, Routes::new(10)));
    let conversation = queue.begin_conversation();
    let deadline = Instant::now() + 60 * SECOND;
    let waiting = queue.submit(order(1), deadline).expect("room");
    let [(id, 1)] = take(&queue, conversation)[..] else { panic!("one order") };
    let again = queue.settle(moving(ErrorCode::BranchUnavailable, id), Instant::now());
    assert_eq!(again, [id]);
    assert!(take(&queue, conversation).is_empty(), "not at once");
    queue.send_again(&again);
    queue.send_again(&again);
    assert_eq!(take(&queue, conversation), [(id, 1)], "once");
    // With no time left its caller is told, and what that server says is true: nothing of it was ever done.
    let none = queue.settle(moving(ErrorCode::BranchUnavailable, id), deadline - SECOND / 10);
    assert!(none.is_empty());
    assert_eq!(told(waiting.answer().await), Err(ErrorCode::BranchUnavailable));
}

#[tokio::test]
async fn nothing_was_done_is_not_believed_of_a_write_whose_answer_was_lost() {
    type Lose = fn(&Arc<Queue>, u64) -> u64;
    let lost: [(&str, Lose); 2] = [
        ("the conversation broke", |queue, _| queue.begin_conversation()),
        ("its server died with it", |queue, conversation| {
            let again = queue.settle(moving(ErrorCode::OutcomeUnknown, 1), Instant::now());
            queue.send_again(&again);
            conversation
        }),
    ];
    for (what, lose) in lost {
        let queue = Arc::new(Queue::new(10, Routes::new(10)));
        let conversation = queue.begin_conversation();
        let deadline = Instant::now() + 60 * SECOND;
        let write = queue.submit(order(1), deadline).expect("room");
        assert_eq!(take(&queue, conversation), [(1, 1)]);
        let conversation = lose(&queue, conversation);
        assert_eq!(take(&queue, conversation), [(1, 1)], "{what}");
        queue.settle(moving(ErrorCode::BranchUnavailable, 1), deadline);
        assert_eq!(told(write.answer().await), Err(ErrorCode::OutcomeUnknown), "{what}");
    }
}

#[tokio::test]
async fn orders_follow_their_branch_to_another_line_and_are_found_there() {
    let routes = Routes::new(10);
    let queues = [0, 1].map(|_| Arc::new(Queue::new(10, Arc::clone(&routes))));
    let way = |queue: &Arc<Queue>| crate::bank::routes::Way {
        queue: Arc::downgrade(queue),
        is_connected: Arc::new(std::sync::atomic::AtomicBool::new(true)),
    };
    routes.set_ways(queues.iter().map(way).collect());
    let [from, to] = &queues;
    let conversations = [from.begin_conversation(), to.begin_conversation()];
    let deadline = Instant::now() + 60 * SECOND;
    let sent = from.submit(order(1), deadline).expect("room");
    take(from, conversations[0]);
    let unsent = from.submit(order(11), deadline).expect("room");
    let stays = from.submit(order(2), deadline).expect("room");
    let branch = BranchId::new(1).expect("a branch");
    assert_eq!(routes.line_of(branch, 0), 0);
    // The server at the other line serves branch 1, whose customers are 1 and 11.
    routes.claim(1, true, &[1]);
    assert_eq!(routes.line_of(branch, 0), 1);
    assert_eq!(take(to, conversations[1]), [(1, 1), (2, 11)]);
    assert_eq!(take(from, conversations[0]), [(3, 2)]);
    answer(to, 1, 1);
    assert_eq!(told(sent.answer().await), Ok(1));
    drop(unsent);
    assert_eq!((from.depth(), to.depth()), ((0, 1), (0, 0)), "withdrawn where it went");
    // A line that is broken gives away all it has.
    routes.leave(0);
    assert_eq!(take(to, conversations[1]), [(3, 2)]);
    answer(to, 3, 2);
    assert_eq!(told(stays.answer().await), Ok(2));
}
