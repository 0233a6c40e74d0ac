//! An account's history, newest first, read from the journal without disturbing the teller.

use super::bank::Bank;
use super::hosted::OpenBranch;
use super::outbound;
use crate::journal::{JournalReader, ReadError, Row, RowKind, Sequence};
use crate::teller::{Answer, Declined, Read, Request};
use bank_proto::{AccountNumber, AccountSerial, BranchId, ErrorCode, Money, Timestamp, limits, wire};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use tonic::{Response, Status};

/// Rows that one page may walk over; a filter that fits few rows makes a short page, not a long wait.
const ROWS_PER_PAGE: usize = 1000;

/// The rows of transfers in which money moves.
const TRANSFERS: [RowKind; 4] =
    [RowKind::Transfer, RowKind::TransferSent, RowKind::TransferReceived, RowKind::TransferReturned];

/// The rows that a statement shows.
const MOVEMENTS: [RowKind; 8] = [
    RowKind::Deposit,
    RowKind::Withdrawal,
    RowKind::OpeningBalance,
    RowKind::Transfer,
    RowKind::TransferSent,
    RowKind::TransferReceived,
    RowKind::TransferReturned,
    RowKind::Reversal,
];

/// What a page shows.
struct Filter {
    size: usize,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// Every kind that is shown, when empty.
    kinds: &'static [RowKind],
}

/// One page, and where the next one begins; 0 at the end.
struct Page {
    rows: Vec<Row>,
    next: Sequence,
}

/// Answers ListTransactions for an account of a branch hosted here.
pub(super) async fn page(
    bank: &Bank,
    branch: OpenBranch,
    account: AccountNumber,
    question: wire::ListTransactionsRequest,
    deadline: tokio::time::Instant,
) -> Result<Response<wire::ListTransactionsResponse>, Status> {
    let refuse = |declined: Declined| outbound::status_of(&declined);
    let filter = filter(&question).map_err(refuse)?;
    let cursor = cursor(&question.page_token).map_err(refuse)?;
    // The teller says where the history ends now, so that what it has answered is never missing.
    let said = bank.ask(&branch, Request::Read(Read::Account(account.serial())), deadline).await;
    let head = match said.answer {
        Answer::Account(view) => view.account.head,
        Answer::Refused(declined) => return Err(refuse(declined)),
        _ => return Err(refuse(Declined::new(ErrorCode::Internal))),
    };
    let begin = cursor.unwrap_or(head);
    if begin > head {
        return Err(refuse(invalid("page_token", "is not one that this account gave out")));
    }
    let walk = move || {
        let mut reader = branch.reader.lock().unwrap_or_else(PoisonError::into_inner);
        walk(&mut **reader, account.serial(), begin, &filter)
    };
    match bank.workers().run(walk).await {
        Ok(Ok(page)) => Ok(Response::new(wire::ListTransactionsResponse {
            entries: page.rows.iter().map(|row| entry(account.branch(), account.serial(), row)).collect(),
            next_page_token: if page.next == 0 { String::new() } else { page.next.to_string() },
        })),
        // A cursor that somebody made up leads to a row of other accounts.
        Ok(Err(ReadError::Damaged { sequence, .. })) if sequence == begin && cursor.is_some() => {
            Err(refuse(invalid("page_token", "is not one that this account gave out")))
        }
        Ok(Err(error)) => {
            tracing::error!(account = %account, %error, "an account's history cannot be read");
            Err(refuse(Declined::new(ErrorCode::Internal)))
        }
        Err(_) => Err(refuse(Declined::new(ErrorCode::Internal))),
    }
}

fn invalid(field: &str, reason: &str) -> Declined {
    Declined::new(ErrorCode::InvalidRequest).with("field", field).with("reason", reason)
}

fn filter(question: &wire::ListTransactionsRequest) -> Result<Filter, Declined> {
    let size = match u32::try_from(question.page_size) {
        Ok(0) => limits::DEFAULT_PAGE_SIZE,
        Ok(size @ 1..=limits::PAGE_SIZE) => size,
        _ => return Err(invalid("page_size", "must be from 1 to 100")),
    };
    let moment = |field: &str, wire: &Option<prost_types::Timestamp>| match wire {
        None => Ok(None),
        Some(wire) => Timestamp::from_wire(wire).map(Some).ok_or_else(|| invalid(field, "is not a moment in time")),
    };
    let kinds: &[RowKind] = match question.r#type.as_str() {
        "" => &MOVEMENTS,
        "deposit" => &[RowKind::Deposit],
        "withdrawal" => &[RowKind::Withdrawal],
        "opening_balance" => &[RowKind::OpeningBalance],
        "transfer" => &TRANSFERS,
        "transfer_sent" => &[RowKind::TransferSent],
        "transfer_received" => &[RowKind::TransferReceived],
        "transfer_returned" => &[RowKind::TransferReturned],
        "reversal" => &[RowKind::Reversal],
        _ => {
            let reason = "must be deposit, withdrawal, opening_balance, reversal, transfer, transfer_sent, \
                          transfer_received or transfer_returned";
            return Err(invalid("type", reason));
        }
    };
    Ok(Filter { size: size as usize, from: moment("from", &question.from)?, to: moment("to", &question.to)?, kinds })
}

fn cursor(token: &str) -> Result<Option<Sequence>, Declined> {
    match token {
        "" => Ok(None),
        token => match token.parse::<Sequence>() {
            // One spelling per cursor: no sign, no leading zero.
            Ok(sequence) if sequence > 0 && sequence.to_string() == token => Ok(Some(sequence)),
            _ => Err(invalid("page_token", "is not one that this account gave out")),
        },
    }
}

fn walk(
    reader: &mut dyn JournalReader,
    account: AccountSerial,
    begin: Sequence,
    filter: &Filter,
) -> Result<Page, ReadError> {
    let mut page = Page { rows: Vec::with_capacity(filter.size), next: begin };
    let mut walked = 0;
    while page.next != 0 && page.rows.len() < filter.size && walked < ROWS_PER_PAGE {
        for row in reader.history(account, page.next, filter.size)? {
            if page.rows.len() == filter.size {
                break;
            }
            walked += 1;
            page.next = if row.debit_account == Some(account) { row.debit_previous } else { row.credit_previous };
            if filter.from.is_some_and(|from| row.booked_at < from) {
                // Booking times never go back: everything further down is older still.
                page.next = 0;
                return Ok(page);
            }
            let fits = filter.kinds.contains(&row.kind) && filter.to.is_none_or(|to| row.booked_at < to);
            if fits {
                page.rows.push(row);
            }
        }
    }
    Ok(page)
}

#[derive(Default, Deserialize)]
struct Detail {
    #[serde(default)]
    memo: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    transfer: Option<OtherSide>,
    reversal: Option<Reversal>,
}

/// What a reversal takes back.
#[derive(Deserialize)]
struct Reversal {
    original: String,
}

/// The other side of a transfer to or from another branch.
#[derive(Default, Deserialize)]
struct OtherSide {
    #[serde(default)]
    id: Option<String>,
    peer: i64,
    #[serde(default)]
    account: Option<u32>,
    #[serde(default)]
    customer: Option<i64>,
}

fn entry(branch: BranchId, account: AccountSerial, row: &Row) -> wire::StatementEntry {
    let currency = row.currency.unwrap_or(bank_proto::Currency::USD);
    let gives = row.debit_account == Some(account);
    let (amount, balance) = if gives { (-row.amount, row.debit_balance) } else { (row.amount, row.credit_balance) };
    // A detail that is not understood was written by a newer version: the money is shown without it.
    let mut detail: Detail = row.detail.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut counterparty = (0, String::new());
    let mut id = outbound::transaction_id(branch, row.transaction);
    if let Some(other) = detail.transfer {
        let number = other.account.and_then(|serial| {
            Some(AccountNumber::new(BranchId::new(other.peer).ok()?, AccountSerial(serial)).to_string())
        });
        counterparty = (other.customer.unwrap_or(0), number.unwrap_or_default());
        id = other.id.unwrap_or(id);
    } else if row.kind == RowKind::Transfer {
        let other = if gives { row.credit_account } else { row.debit_account };
        counterparty.1 = other.map(|serial| AccountNumber::new(branch, serial).to_string()).unwrap_or_default();
        if !gives {
            // The payer's own, as between two branches, where they do not even travel.
            detail.metadata.clear();
        }
    }
    wire::StatementEntry {
        transaction_id: id,
        r#type: row.kind.as_str().to_owned(),
        amount: Money::from_minor(amount, currency).to_string(),
        currency: currency.code().to_owned(),
        balance: Money::from_minor(balance, currency).to_string(),
        booked_at: Some(row.booked_at.to_wire()),
        memo: detail.memo,
        metadata: detail.metadata,
        channel: row.channel.as_str().to_owned(),
        sequence: i64::try_from(row.sequence).unwrap_or(i64::MAX),
        counterparty_customer_id: counterparty.0,
        counterparty_account_number: counterparty.1,
        original_transaction_id: detail.reversal.map(|reversal| reversal.original).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_has_one_spelling_whatever_is_sent() {
        bolero::check!().with_type::<(Vec<u8>, u64)>().for_each(|(bytes, number)| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            for token in [text, number.to_string(), format!("0{number}"), format!("+{number}")] {
                match cursor(&token) {
                    Ok(None) => assert_eq!(token, ""),
                    Ok(Some(sequence)) => assert!(sequence > 0 && sequence.to_string() == token, "{token}"),
                    Err(declined) => assert_eq!(declined.code, ErrorCode::InvalidRequest),
                }
            }
        });
    }
}
