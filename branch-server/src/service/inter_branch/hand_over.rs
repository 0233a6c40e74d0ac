//! A branch's books between two servers: wire messages at both ends.

use super::translation;
use crate::journal::ChainHash;
use crate::journal::sqlite::Extent;
use crate::moving::arriving::{Announced, Said};
use crate::moving::{Answer, Leaving, Parcel, Whereabouts};
use crate::service::bank::Bank;
use crate::service::outbound;
use crate::teller::Declined;
use bank_proto::wire::hand_over_response::Part;
use bank_proto::wire::{self, HandOverResponse};
use bank_proto::{BranchId, ErrorCode};
use std::pin::Pin;
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

/// What goes back to the asker.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<HandOverResponse, Status>> + Send>>;

/// Answers a server that asks for a branch's books.
pub(super) async fn answers(bank: &Bank, leaving: &Leaving, asked: wire::HandOverRequest) -> Result<Answers, Status> {
    let branch = translation::branch(asked.branch_id, "branch_id", bank.assignment());
    let branch = branch.map_err(|declined| outbound::status_of(&declined))?;
    let part = |part| HandOverResponse { part: Some(part) };
    Ok(match leaving.hand_over(branch, asked.server, asked.room_bytes).await {
        Answer::Nothing(whereabouts) => {
            let whereabouts = Part::Whereabouts(to_wire(whereabouts).into());
            Box::pin(tokio_stream::once(Ok(part(whereabouts))))
        }
        Answer::Books { size_bytes, sequence, head, parts } => {
            let books = wire::HandedOverBooks { size_bytes, last_sequence: sequence, head: head.0.to_vec() };
            let parts = tokio_stream::wrappers::ReceiverStream::new(parts).map(|parcel| match parcel {
                Parcel::Bytes(bytes) => Part::Bytes(bytes),
                Parcel::Digest(digest) => Part::Digest(digest.to_vec()),
            });
            Box::pin(tokio_stream::once(Part::Books(books)).chain(parts).map(move |next| Ok(part(next))))
        }
    })
}

/// Answers a server that has a branch's books.
pub(super) async fn confirmed(
    bank: &Bank,
    leaving: &Leaving,
    said: wire::ConfirmHandOverRequest,
) -> Result<wire::ConfirmHandOverResponse, Status> {
    let branch = translation::branch(said.branch_id, "branch_id", bank.assignment());
    let branch = branch.map_err(|declined| outbound::status_of(&declined))?;
    if leaving.confirm(branch, said.server).await {
        return Ok(wire::ConfirmHandOverResponse {});
    }
    Err(outbound::status_of(&Declined::new(ErrorCode::BranchUnavailable).with("branch_id", branch)))
}

impl Bank {
    /// The ordinals of all other servers.
    pub(crate) fn other_servers(&self) -> Vec<u32> {
        self.all_inter_branch().map(|(ordinal, _)| ordinal).collect()
    }

    /// Asks another server for a branch's books, when they are not larger than this.
    pub(crate) async fn ask_for_books(&self, ordinal: u32, branch: BranchId, room_bytes: Option<u64>) -> Said {
        let Some((_, mut peer)) = self.all_inter_branch().find(|(other, _)| *other == ordinal) else {
            return Said::Silent;
        };
        let question = wire::HandOverRequest { branch_id: branch.get(), server: self.server(), room_bytes };
        let Ok(answer) = peer.hand_over(question).await else { return Said::Silent };
        let mut answers = answer.into_inner();
        let first = answers.message().await.ok().flatten().and_then(|answer| answer.part);
        match first {
            Some(Part::Books(books)) => match <[u8; 32]>::try_from(books.head.as_slice()) {
                Ok(head) => {
                    let extent = Extent { sequence: books.last_sequence, head: ChainHash(head) };
                    Said::Books(Announced { size_bytes: books.size_bytes, extent }, Box::new(IncomingBooks(answers)))
                }
                Err(_) => Said::Silent,
            },
            Some(Part::Whereabouts(whereabouts)) => from_wire(whereabouts).map_or(Said::Silent, Said::Nothing),
            Some(Part::Bytes(_) | Part::Digest(_)) | None => Said::Silent,
        }
    }

    /// Tells another server that a branch's books, which it gave away, are here. True when it knows.
    pub(crate) async fn confirm_books(&self, ordinal: u32, branch: BranchId) -> bool {
        let Some((_, mut peer)) = self.all_inter_branch().find(|(other, _)| *other == ordinal) else { return false };
        let said = wire::ConfirmHandOverRequest { branch_id: branch.get(), server: self.server() };
        peer.confirm_hand_over(said).await.is_ok()
    }
}

/// A branch's books as they come.
pub(crate) struct IncomingBooks(tonic::Streaming<HandOverResponse>);

impl IncomingBooks {
    /// The next part; None when the way broke.
    pub(crate) async fn next(&mut self) -> Option<Parcel> {
        match self.0.message().await.ok().flatten()?.part? {
            Part::Bytes(bytes) => Some(Parcel::Bytes(bytes)),
            Part::Digest(digest) => Some(Parcel::Digest(digest.try_into().ok()?)),
            Part::Books(_) | Part::Whereabouts(_) => None,
        }
    }
}

fn to_wire(whereabouts: Whereabouts) -> wire::Whereabouts {
    match whereabouts {
        Whereabouts::Absent => wire::Whereabouts::Absent,
        Whereabouts::Served => wire::Whereabouts::Served,
        Whereabouts::ForAnother => wire::Whereabouts::ForAnother,
        Whereabouts::Unusable => wire::Whereabouts::Unusable,
        Whereabouts::Delivered => wire::Whereabouts::Delivered,
        Whereabouts::Seen => wire::Whereabouts::Seen,
        Whereabouts::TooLarge => wire::Whereabouts::TooLarge,
        Whereabouts::Leaving => wire::Whereabouts::Leaving,
    }
}

fn from_wire(whereabouts: i32) -> Option<Whereabouts> {
    match wire::Whereabouts::try_from(whereabouts).ok()? {
        wire::Whereabouts::Unspecified => None,
        wire::Whereabouts::Absent => Some(Whereabouts::Absent),
        wire::Whereabouts::Served => Some(Whereabouts::Served),
        wire::Whereabouts::ForAnother => Some(Whereabouts::ForAnother),
        wire::Whereabouts::Unusable => Some(Whereabouts::Unusable),
        wire::Whereabouts::Delivered => Some(Whereabouts::Delivered),
        wire::Whereabouts::Seen => Some(Whereabouts::Seen),
        wire::Whereabouts::TooLarge => Some(Whereabouts::TooLarge),
        wire::Whereabouts::Leaving => Some(Whereabouts::Leaving),
    }
}
