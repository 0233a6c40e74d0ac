//! What the database is given: arrays of rows, each a value of one of the types that `second.sql` makes. One array of
//! rows is unpacked for a seventh of what an array for each column costs (measured with 5 to 500 rows).

use super::number;
use crate::journal::shared::Fence;
use crate::journal::{GroupCommit, PersonalName, Row, Sequence};
use bank_proto::{AccountSerial, BranchId};
use std::error::Error;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, Kind, ToSql, Type, to_sql_checked};

/// Values of one composite type, as the database reads an array of them: those of several group commits are put
/// together without a look into them.
#[derive(Debug, Default)]
struct Records {
    bytes: Vec<u8>,
    count: i32,
}

impl Records {
    /// One more value of so many fields.
    fn add(&mut self, fields: i32, fill: impl FnOnce(&mut Fields<'_>)) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&fields.to_be_bytes());
        fill(&mut Fields(&mut self.bytes));
        let length = length(self.bytes.len() - begin - 4);
        self.bytes[begin..begin + 4].copy_from_slice(&length);
        self.count += 1;
    }

    fn append(&mut self, other: &Records) {
        self.bytes.extend_from_slice(&other.bytes);
        self.count += other.count;
    }
}

/// No value is near 2 GiB: the longest is a row with its detail.
fn length(length: usize) -> [u8; 4] {
    i32::try_from(length).unwrap_or(i32::MAX).to_be_bytes()
}

impl ToSql for Records {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Kind::Array(element) = kind.kind() else { return Err("rows are given as an array".into()) };
        // One dimension, no nulls, the type of the elements, how many there are, and the first one's number.
        for word in [1, 0, element.oid().cast_signed(), self.count, 1] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&self.bytes);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(kind.kind(), Kind::Array(_))
    }

    to_sql_checked!();
}

/// The fields of a value, in their order.
struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    fn field(&mut self, kind: &Type, value: Option<&[u8]>) {
        self.0.extend_from_slice(&kind.oid().to_be_bytes());
        match value {
            Some(value) => {
                self.0.extend_from_slice(&length(value.len()));
                self.0.extend_from_slice(value);
            }
            None => self.0.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }

    fn branch(&mut self, branch: BranchId) {
        self.field(&Type::INT4, Some(&number(branch).to_be_bytes()));
    }

    fn number(&mut self, number: i64) {
        self.field(&Type::INT8, Some(&number.to_be_bytes()));
    }

    fn number_option(&mut self, number: Option<i64>) {
        self.field(&Type::INT8, number.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }

    fn text(&mut self, text: &str) {
        self.field(&Type::TEXT, Some(text.as_bytes()));
    }

    fn text_option(&mut self, text: Option<&str>) {
        self.field(&Type::TEXT, text.map(str::as_bytes));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.field(&Type::BYTEA, Some(bytes));
    }

    fn bytes_option(&mut self, bytes: Option<&[u8]>) {
        self.field(&Type::BYTEA, bytes);
    }
}

/// Rows, each a `florin.given_row`.
#[derive(Debug, Default)]
pub(super) struct Rows(Records);

impl Rows {
    /// The rows of one group commit; the last carries what closes it.
    pub(super) fn new(branch: BranchId, rows: &[Row], closing: GroupCommit) -> Rows {
        let mut all = Rows::default();
        if let Some((last, others)) = rows.split_last() {
            others.iter().for_each(|row| all.push(branch, row, None));
            all.push(branch, last, Some(closing));
        }
        all
    }

    /// One more row, with what closes its group if it is the last of one.
    pub(super) fn push(&mut self, branch: BranchId, row: &Row, closing: Option<GroupCommit>) {
        let account = |serial: Option<AccountSerial>| serial.map(|serial| i64::from(serial.0));
        self.0.add(20, |fields| {
            fields.branch(branch);
            fields.number(row.sequence.cast_signed());
            fields.number(row.booked_at.0);
            fields.bytes(&row.transaction.0.to_be_bytes());
            fields.bytes_option(row.fingerprint.as_ref().map(<[u8; 16]>::as_slice));
            fields.text(row.kind.as_str());
            fields.number_option(account(row.debit_account));
            fields.number_option(account(row.credit_account));
            fields.number(row.amount);
            fields.text_option(row.currency.map(bank_proto::Currency::code));
            fields.number(row.debit_balance);
            fields.number(row.credit_balance);
            fields.number(row.debit_previous.cast_signed());
            fields.number(row.credit_previous.cast_signed());
            fields.number_option(row.customer.map(|customer| customer.get().cast_signed()));
            fields.text(&row.principal);
            fields.text(row.channel.as_str());
            fields.text_option(row.detail.as_deref());
            fields.number_option(closing.map(|closing| closing.epoch.cast_signed()));
            fields.bytes_option(closing.as_ref().map(|closing| closing.hash.0.as_slice()));
        });
    }

    /// How many rows there are.
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.0.count).unwrap_or(0)
    }

    /// The rows of another group after these.
    pub(super) fn append(&mut self, other: &Rows) {
        self.0.append(&other.0);
    }

    /// The parameter that holds them.
    pub(super) fn parameter(&self) -> &(dyn ToSql + Sync) {
        &self.0
    }
}

/// Personal names, each a `florin.given_name`.
#[derive(Debug, Default)]
pub(super) struct Names(Records);

impl Names {
    /// Each customer's last: one statement cannot set a row twice.
    pub(super) fn new(branch: BranchId, names: &[PersonalName]) -> Names {
        let mut all = Records::default();
        for (place, name) in names.iter().enumerate() {
            if names[place + 1..].iter().any(|later| later.customer == name.customer) {
                continue;
            }
            all.add(4, |fields| {
                fields.branch(branch);
                fields.number(name.customer.get().cast_signed());
                fields.text(&name.name);
                fields.bytes(&name.digest_key);
            });
        }
        Names(all)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.count == 0
    }

    /// The names of another group after these.
    pub(super) fn append(&mut self, other: &Names) {
        self.0.append(&other.0);
    }

    /// The parameter that holds them.
    pub(super) fn parameter(&self) -> &(dyn ToSql + Sync) {
        &self.0
    }
}

/// What writers know of their branches' rows, each a `florin.given_fence`.
#[derive(Debug, Default)]
pub(super) struct Fences(Records);

impl Fences {
    /// One more branch, and its last row from then on.
    pub(super) fn push(&mut self, branch: BranchId, fence: Fence, last: Sequence) {
        self.0.add(5, |fields| {
            fields.branch(branch);
            fields.number(fence.epoch.cast_signed());
            fields.number(fence.session);
            fields.number(fence.head.cast_signed());
            fields.number(last.cast_signed());
        });
    }

    /// The parameter that holds them.
    pub(super) fn parameter(&self) -> &(dyn ToSql + Sync) {
        &self.0
    }
}
