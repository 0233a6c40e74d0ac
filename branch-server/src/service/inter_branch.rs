//! What branches say to each other, at both ends of the wire; between two branches of one server
//! nothing is translated.
//!
//! - [`speaking`]: the conversation with another server, at the payers' end
//! - [`listening`]: the same at the payees' end
//! - [`hand_over`]: a branch's books that move from one server to another
//! - [`translation`]: wire types <-> the bank's own words

mod hand_over;
mod listening;
mod speaking;
mod translation;

pub(crate) use hand_over::IncomingBooks;
pub(super) use speaking::Line;

use super::bank::{Bank, queue_refusal};
use super::cut;
use super::forward::Journey;
use super::hosted::OpenBranch;
use super::outbound;
use super::placing::Place;
use crate::moving::Leaving;
use crate::teller::{Answered, Declined, Job};
use crate::transfers::{Greeted, Heard, Message, arrival, ask_of_peer, heard};
use bank_proto::wire;
use bank_proto::wire::inter_branch_service_server::InterBranchService;
use bank_proto::{BranchId, ErrorCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};
use translation::branch;

/// How long the payer's branch waits for the payee's before it asks again.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The face that a branch server shows to its peers.
#[derive(Clone)]
pub(crate) struct InterBranchEdge(Arc<Bank>, Leaving);

impl InterBranchEdge {
    /// The face of this bank, and of what this server has for others.
    #[must_use]
    pub(crate) fn new(bank: Arc<Bank>, leaving: Leaving) -> InterBranchEdge {
        InterBranchEdge(bank, leaving)
    }
}

#[tonic::async_trait]
impl InterBranchService for InterBranchEdge {
    type DeliverStream = listening::Answers;

    async fn deliver(
        &self,
        request: Request<tonic::Streaming<wire::DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        Ok(Response::new(listening::answers(self.0.clone(), request.into_inner())))
    }

    type HandOverStream = hand_over::Answers;

    async fn hand_over(
        &self,
        request: Request<wire::HandOverRequest>,
    ) -> Result<Response<Self::HandOverStream>, Status> {
        Ok(Response::new(hand_over::answers(&self.0, &self.1, request.into_inner()).await?))
    }

    async fn confirm_hand_over(
        &self,
        request: Request<wire::ConfirmHandOverRequest>,
    ) -> Result<Response<wire::ConfirmHandOverResponse>, Status> {
        Ok(Response::new(hand_over::confirmed(&self.0, &self.1, request.into_inner()).await?))
    }

    async fn greet(&self, request: Request<wire::GreetRequest>) -> Result<Response<wire::GreetResponse>, Status> {
        let refuse = |declined: Declined| outbound::status_of(&declined);
        let wire::GreetRequest { source_branch_id, destination_branch_id, source_epoch } = request.into_inner();
        let source = branch(source_branch_id, "source_branch_id", self.0.assignment()).map_err(refuse)?;
        let destination =
            branch(destination_branch_id, "destination_branch_id", self.0.assignment()).map_err(refuse)?;
        let journey =
            Journey { hops: u32::MAX, request_id: String::new(), deadline: self.0.now() + TIMEOUT, trace: None };
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
        let journey = Journey { hops: 0, request_id: String::new(), deadline: self.now() + TIMEOUT, trace: None };
        match self.place(destination, &journey)? {
            Place::Here(open) => answer_greeting(&open, source, epoch).await,
            Place::Peer(..) => {
                let unreachable = || Declined::new(ErrorCode::BranchUnavailable);
                let mut peer = self.line(destination).ok_or_else(unreachable)?.client();
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
        let journey = Journey { hops: 0, request_id: String::new(), deadline: self.now() + TIMEOUT, trace: None };
        match self.place(message.destination, &journey)? {
            Place::Here(open) => hear(&open, &message).await,
            Place::Peer(..) => {
                let line = self.line(message.destination).ok_or_else(|| Declined::new(ErrorCode::BranchUnavailable))?;
                let (destination, expected) = (message.destination, message.items.len());
                translation::heard(line.say(translation::message(message)).await?, destination, expected)
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
    // The asker may have gone; the outcomes are stored all the same.
    ask(open, message, move |answers| _ = sender.send(answers))?;
    let answers = receiver.await.map_err(|_| Declined::new(ErrorCode::BranchUnavailable))?;
    Ok(heard(open.epoch, answers))
}

/// The same, with the answers going to `reply` on the teller's thread.
fn ask(
    open: &OpenBranch,
    message: &Message,
    reply: impl FnOnce(Vec<Answered>) + Send + 'static,
) -> Result<(), Declined> {
    let job = Job { requests: arrival(message), reply: Box::new(move |answers, _| reply(answers)) };
    // The lane asks again whatever is said.
    open.teller.submit_settlement(job).map_err(|refusal| queue_refusal(refusal, false))
}
