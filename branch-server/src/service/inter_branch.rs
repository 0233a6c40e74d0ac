//! What branches say to each other, at both ends of the wire; between two branches of one server
//! nothing is translated.

use super::bank::{Bank, Place, queue_refusal};
use super::cut;
use super::forward::Journey;
use super::hosted::OpenBranch;
use super::{inbound, outbound};
use crate::ledger::Target;
use crate::teller::{Declined, Delivery, Job};
use crate::transfers::{Greeted, Heard, Message, Verdict, arrival, ask_of_peer, heard as said};
use bank_proto::wire::inter_branch_service_server::InterBranchService;
use bank_proto::wire::{self, delivery_outcome::Kind};
use bank_proto::{AccountNumber, Assignment, BranchId, Currency, CustomerId, ErrorCode, Money, TransactionId, limits};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

/// How long the payer's branch waits for the payee's before it asks again.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The face that a branch server shows to its peers.
#[derive(Clone)]
pub(crate) struct InterBranchEdge(Arc<Bank>);

impl InterBranchEdge {
    /// The face of this bank.
    #[must_use]
    pub(crate) fn new(bank: Arc<Bank>) -> InterBranchEdge {
        InterBranchEdge(bank)
    }
}

#[tonic::async_trait]
impl InterBranchService for InterBranchEdge {
    async fn deliver(&self, request: Request<wire::DeliverRequest>) -> Result<Response<wire::DeliverResponse>, Status> {
        let refuse = |declined: Declined| outbound::status_of(&declined);
        let message = message(request.into_inner(), self.0.assignment()).map_err(refuse)?;
        let destination = message.destination;
        // What one branch says to another is never forwarded: the sender must know where it is.
        let journey = Journey { hops: u32::MAX, request_id: String::new(), deadline: self.0.now() + TIMEOUT };
        let heard = match self.0.place(destination, &journey).map_err(refuse)? {
            Place::Here(open) => hear(&open, &message).await.map_err(refuse)?,
            Place::Peer(..) => return Err(refuse(Declined::new(ErrorCode::WrongBranch))),
        };
        let outcomes = heard.verdicts.into_iter().map(|verdict| outcome(destination, verdict)).collect();
        Ok(Response::new(wire::DeliverResponse { destination_epoch: heard.epoch, cut: heard.cut, outcomes }))
    }

    async fn greet(&self, request: Request<wire::GreetRequest>) -> Result<Response<wire::GreetResponse>, Status> {
        let refuse = |declined: Declined| outbound::status_of(&declined);
        let wire::GreetRequest { source_branch_id, destination_branch_id, source_epoch } = request.into_inner();
        let source = branch(source_branch_id, "source_branch_id", self.0.assignment()).map_err(refuse)?;
        let destination =
            branch(destination_branch_id, "destination_branch_id", self.0.assignment()).map_err(refuse)?;
        let journey = Journey { hops: u32::MAX, request_id: String::new(), deadline: self.0.now() + TIMEOUT };
        let greeted = match self.0.place(destination, &journey).map_err(refuse)? {
            Place::Here(open) => answer_greeting(&open, source, source_epoch).await.map_err(refuse)?,
            Place::Peer(..) => return Err(refuse(Declined::new(ErrorCode::WrongBranch))),
        };
        let record = Some(cut::peer_record(source, greeted.record));
        Ok(Response::new(wire::GreetResponse { destination_epoch: greeted.epoch, record }))
    }

    async fn take_cut(
        &self,
        request: Request<wire::TakeCutRequest>,
    ) -> Result<Response<wire::TakeCutResponse>, Status> {
        let said = self.0.take_cut(request.into_inner().number, self.0.now() + TIMEOUT).await;
        Ok(Response::new(cut::take_cut_response(said)))
    }

    async fn get_branch_cut(
        &self,
        request: Request<wire::GetBranchCutRequest>,
    ) -> Result<Response<wire::BranchCut>, Status> {
        let refuse = |declined: Declined| outbound::status_of(&declined);
        let wire::GetBranchCutRequest { branch_id, sequence } = request.into_inner();
        let branch = branch(branch_id, "branch_id", self.0.assignment()).map_err(refuse)?;
        let part = self.0.branch_cut(branch, sequence).await.map_err(refuse)?;
        Ok(Response::new(cut::branch_cut(branch, &part)))
    }
}

impl Bank {
    /// Greets another branch, wherever it is.
    pub(crate) async fn greet(&self, source: BranchId, destination: BranchId, epoch: u64) -> Result<Greeted, Declined> {
        let journey = Journey { hops: 0, request_id: String::new(), deadline: self.now() + TIMEOUT };
        match self.place(destination, &journey)? {
            Place::Here(open) => answer_greeting(&open, source, epoch).await,
            Place::Peer(..) => {
                let unreachable = || Declined::new(ErrorCode::BranchUnavailable);
                let mut peer = self.inter_branch(destination).ok_or_else(unreachable)?;
                let greeting = wire::GreetRequest {
                    source_branch_id: source.get(),
                    destination_branch_id: destination.get(),
                    source_epoch: epoch,
                };
                match tokio::time::timeout(TIMEOUT, peer.greet(greeting)).await {
                    Ok(Ok(answer)) => {
                        let answer = answer.into_inner();
                        let record = answer.record.map(cut::peer_record_from).ok_or_else(unreachable)?;
                        Ok(Greeted { epoch: answer.destination_epoch, record })
                    }
                    Ok(Err(status)) => {
                        Err(Declined::new(ErrorCode::from_status(&status).unwrap_or(ErrorCode::BranchUnavailable)))
                    }
                    Err(_) => Err(unreachable()),
                }
            }
        }
    }

    /// Brings a message to the payees' branch, wherever it is, and its verdicts back.
    pub(crate) async fn deliver(&self, message: Message) -> Result<Heard, Declined> {
        let journey = Journey { hops: 0, request_id: String::new(), deadline: self.now() + TIMEOUT };
        match self.place(message.destination, &journey)? {
            Place::Here(open) => hear(&open, &message).await,
            Place::Peer(..) => {
                let unreachable = || Declined::new(ErrorCode::BranchUnavailable);
                let mut peer = self.inter_branch(message.destination).ok_or_else(unreachable)?;
                let (destination, expected) = (message.destination, message.items.len());
                let answer = tokio::time::timeout(TIMEOUT, peer.deliver(request(message))).await;
                match answer {
                    Ok(Ok(answer)) => heard(answer.into_inner(), destination, expected),
                    Ok(Err(status)) => {
                        Err(Declined::new(ErrorCode::from_status(&status).unwrap_or(ErrorCode::BranchUnavailable)))
                    }
                    Err(_) => Err(unreachable()),
                }
            }
        }
    }
}

/// Asks the teller of a branch that is greeted.
async fn answer_greeting(open: &OpenBranch, source: BranchId, epoch: u64) -> Result<Greeted, Declined> {
    let record = ask_of_peer(&open.teller, source, epoch).await?;
    Ok(Greeted { epoch: open.epoch, record })
}

/// Asks the teller of the payees' branch.
async fn hear(open: &OpenBranch, message: &Message) -> Result<Heard, Declined> {
    let (sender, receiver) = oneshot::channel();
    let reply = Box::new(move |answers| {
        // The asker may have gone; the outcomes are stored all the same.
        let _ = sender.send(answers);
    });
    open.teller.submit_settlement(Job { requests: arrival(message), reply }).map_err(queue_refusal)?;
    let answers = receiver.await.map_err(|_| Declined::new(ErrorCode::BranchUnavailable))?;
    Ok(said(open.epoch, answers))
}

/// Bank's words -> wire, at the payers' branch.
fn request(message: Message) -> wire::DeliverRequest {
    let Message { source, destination, epoch, lowest_outstanding, cut, items } = message;
    let deliveries = items.into_iter().map(|(delivery, cancel)| {
        let (to_customer_id, to_account_number) = match delivery.payee {
            Target::Customer(customer) => (outbound::customer_number(Some(customer)), String::new()),
            Target::Account(serial) => (0, AccountNumber::new(destination, serial).to_string()),
        };
        wire::Delivery {
            transaction_id: outbound::transaction_id(source, delivery.transfer),
            pair_sequence: delivery.pair_sequence,
            to_customer_id,
            to_account_number,
            amount: delivery.amount.to_string(),
            currency: delivery.amount.currency().code().to_owned(),
            from_customer_id: outbound::customer_number(delivery.payer_customer),
            from_account_number: AccountNumber::new(source, delivery.payer).to_string(),
            memo: delivery.memo,
            principal: delivery.principal.to_string(),
            cancel,
            reverses_transaction_id: delivery
                .reverses
                .map(|original| outbound::transaction_id(source, original))
                .unwrap_or_default(),
        }
    });
    wire::DeliverRequest {
        source_branch_id: source.get(),
        destination_branch_id: destination.get(),
        source_epoch: epoch,
        lowest_outstanding,
        cut,
        deliveries: deliveries.collect(),
    }
}

/// Wire -> bank's words, at the payees' branch.
fn message(request: wire::DeliverRequest, bank: Assignment) -> Result<Message, Declined> {
    let source = branch(request.source_branch_id, "source_branch_id", bank)?;
    let destination = branch(request.destination_branch_id, "destination_branch_id", bank)?;
    if source == destination {
        return Err(inbound::invalid(ErrorCode::InvalidRequest, "destination_branch_id", "must not be the source"));
    }
    if request.deliveries.len() > limits::DELIVERIES {
        let reason = format!("must hold at most {}", limits::DELIVERIES);
        return Err(inbound::invalid(ErrorCode::InvalidRequest, "deliveries", reason));
    }
    let items = request.deliveries.into_iter().map(|item| {
        let cancel = item.cancel;
        delivery(item, source, destination, bank).map(|delivery| (delivery, cancel))
    });
    Ok(Message {
        source,
        destination,
        epoch: request.source_epoch,
        lowest_outstanding: request.lowest_outstanding,
        cut: request.cut,
        items: items.collect::<Result<_, _>>()?,
    })
}

fn branch(number: u32, field: &str, bank: Assignment) -> Result<BranchId, Declined> {
    let branch = BranchId::new(i64::from(number)).ok().filter(|branch| branch.get() <= bank.branches());
    branch.ok_or_else(|| inbound::invalid(ErrorCode::InvalidBranchId, field, "must be a branch of this bank"))
}

fn delivery(
    item: wire::Delivery,
    source: BranchId,
    destination: BranchId,
    bank: Assignment,
) -> Result<Delivery, Declined> {
    let bad = |field: &str, reason: &str| inbound::invalid(ErrorCode::InvalidRequest, field, reason);
    let id: TransactionId = item
        .transaction_id
        .parse()
        .map_err(|error| inbound::invalid(ErrorCode::InvalidTransactionId, "transaction_id", error))?;
    if id.branch != source {
        return Err(bad("transaction_id", "must be the source's"));
    }
    if item.pair_sequence == 0 {
        return Err(bad("pair_sequence", "must be at least 1"));
    }
    let payee = match item.to_account_number.as_str() {
        "" => Target::Customer(inbound::customer_id(item.to_customer_id, "to_customer_id")?),
        text => Target::Account(account(text, "to_account_number", destination, bank)?),
    };
    let currency: Currency =
        item.currency.parse().map_err(|error| inbound::invalid(ErrorCode::InvalidCurrency, "currency", error))?;
    let amount = Money::parse_positive(&item.amount, currency)
        .map_err(|error| inbound::invalid(ErrorCode::InvalidAmount, "amount", error))?;
    if item.memo.len() > limits::MEMO_BYTES {
        return Err(bad("memo", "is too long"));
    }
    if item.principal.len() > limits::PRINCIPAL_BYTES {
        return Err(bad("principal", "is too long"));
    }
    let reverses = match item.reverses_transaction_id.as_str() {
        "" => None,
        text => match text.parse::<TransactionId>() {
            Ok(original) if original.branch == source => Some(original.key),
            _ => return Err(bad("reverses_transaction_id", "must be the source's")),
        },
    };
    Ok(Delivery {
        reverses,
        transfer: id.key,
        pair_sequence: item.pair_sequence,
        payee,
        amount,
        payer: account(&item.from_account_number, "from_account_number", source, bank)?,
        payer_customer: CustomerId::new(item.from_customer_id).ok(),
        memo: item.memo,
        principal: item.principal.into(),
    })
}

fn account(text: &str, field: &str, branch: BranchId, bank: Assignment) -> Result<bank_proto::AccountSerial, Declined> {
    let number = inbound::account_number_in(text, field, bank)?;
    if number.branch() == branch {
        return Ok(number.serial());
    }
    Err(inbound::invalid(ErrorCode::InvalidAccountNumber, field, "must be an account of that branch"))
}

/// Bank's words -> wire, at the payees' branch.
fn outcome(destination: BranchId, verdict: Verdict) -> wire::DeliveryOutcome {
    let kind = match verdict {
        Verdict::Credited { account, customer } => Kind::Credited(wire::Credited {
            account_number: AccountNumber::new(destination, account).to_string(),
            customer_id: outbound::customer_number(customer),
        }),
        Verdict::Rejected(declined) => Kind::Rejected(outbound::failure(&declined, String::new(), false)),
        Verdict::Cancelled => Kind::Cancelled(wire::Cancelled {}),
        Verdict::Undecided(declined) => Kind::Undecided(outbound::failure(&declined, String::new(), false)),
    };
    wire::DeliveryOutcome { kind: Some(kind) }
}

/// Wire -> bank's words, at the payers' branch. A peer that does not make sense has decided nothing.
fn heard(answer: wire::DeliverResponse, destination: BranchId, expected: usize) -> Result<Heard, Declined> {
    if answer.outcomes.len() != expected {
        return Err(Declined::new(ErrorCode::Internal).with("reason", "the peer answered for another message"));
    }
    let verdicts = answer.outcomes.into_iter().map(|outcome| match outcome.kind {
        Some(Kind::Credited(credited)) => match credited.account_number.parse::<AccountNumber>() {
            Ok(number) if number.branch() == destination => {
                Verdict::Credited { account: number.serial(), customer: CustomerId::new(credited.customer_id).ok() }
            }
            _ => not_understood(),
        },
        Some(Kind::Rejected(failure)) => declined(failure).map_or_else(not_understood, Verdict::Rejected),
        Some(Kind::Cancelled(_)) => Verdict::Cancelled,
        Some(Kind::Undecided(failure)) => declined(failure).map_or_else(not_understood, Verdict::Undecided),
        None => not_understood(),
    });
    Ok(Heard { epoch: answer.destination_epoch, cut: answer.cut, verdicts: verdicts.collect() })
}

fn not_understood() -> Verdict {
    Verdict::Undecided(Declined::new(ErrorCode::Internal).with("reason", "the peer's answer is not understood"))
}

fn declined(failure: wire::Failure) -> Option<Declined> {
    Some(Declined { code: ErrorCode::from_text(&failure.code)?, metadata: failure.metadata })
}
