//! Rows and the columns they stand in.

use super::number;
use crate::journal::row::Principals;
use crate::journal::{ChainHash, Channel, GroupCommit, PersonalName, ReadError, Row, RowKind};
use bank_proto::{AccountSerial, BranchId, Currency, CustomerId, Timestamp, TransactionKey};
use std::error::Error;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type, accepts, to_sql_checked};

/// Every column but the branch, in the order in which rows are written and read.
pub(super) const COLUMNS: &str = "sequence, booked_at, transaction_id, fingerprint, kind, debit_account, \
    credit_account, amount, currency, debit_balance, credit_balance, debit_previous, credit_previous, customer_id, \
    principal, channel, detail, epoch, hash";

/// The types of [`COLUMNS`] as arrays: one parameter each.
pub(super) const ARRAYS: [&str; 19] = [
    "bigint", "bigint", "bytea", "bytea", "text", "bigint", "bigint", "bigint", "text", "bigint", "bigint", "bigint",
    "bigint", "bigint", "text", "text", "text", "bigint", "bytea",
];

/// A `bytea` of so many bytes.
#[derive(Debug, Clone, Copy)]
struct Bytes<const N: usize>([u8; N]);

impl<'a, const N: usize> FromSql<'a> for Bytes<N> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Bytes(raw.try_into()?))
    }

    accepts!(BYTEA);
}

/// One column of many rows: an array as the database reads it, element by element, so that the arrays of several
/// group commits are put together without a look into them.
#[derive(Debug, Clone, Default)]
pub(super) struct Column {
    elements: Vec<u8>,
    count: i32,
    has_nulls: bool,
}

impl Column {
    /// Without any element.
    pub(super) const fn new() -> Column {
        Column { elements: Vec::new(), count: 0, has_nulls: false }
    }

    fn push(&mut self, element: &[u8]) {
        // No element is near 2 GiB: the longest is a row's detail.
        let length = i32::try_from(element.len()).unwrap_or(i32::MAX);
        self.elements.extend_from_slice(&length.to_be_bytes());
        self.elements.extend_from_slice(element);
        self.count += 1;
    }

    fn push_option(&mut self, element: Option<&[u8]>) {
        match element {
            Some(element) => self.push(element),
            None => {
                self.elements.extend_from_slice(&(-1_i32).to_be_bytes());
                self.count += 1;
                self.has_nulls = true;
            }
        }
    }

    /// A `bigint`.
    pub(super) fn push_number(&mut self, number: i64) {
        self.push(&number.to_be_bytes());
    }

    fn push_number_option(&mut self, number: Option<i64>) {
        self.push_option(number.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }

    /// So many times the number of a branch.
    pub(super) fn push_branch(&mut self, branch: BranchId, times: usize) {
        (0..times).for_each(|_| self.push(&number(branch).to_be_bytes()));
    }

    fn append(&mut self, other: &Column) {
        self.elements.extend_from_slice(&other.elements);
        self.count += other.count;
        self.has_nulls |= other.has_nulls;
    }
}

impl ToSql for Column {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Kind::Array(element) = kind.kind() else { return Err("a column is sent as an array".into()) };
        // One dimension, whether there are nulls, the type of the elements, how many, and the first one's number.
        for word in [1, i32::from(self.has_nulls), element.oid().cast_signed(), self.count, 1] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(&self.elements);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(kind.kind(), Kind::Array(_))
    }

    to_sql_checked!();
}

/// Rows, column by column in the order of [`COLUMNS`].
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    columns: [Column; ARRAYS.len()],
    rows: usize,
}

impl Group {
    /// The rows of one group commit; the last carries what closes it.
    pub(super) fn new(rows: &[Row], closing: GroupCommit) -> Group {
        let mut group = Group::default();
        if let Some((last, others)) = rows.split_last() {
            others.iter().for_each(|row| group.push(row, None));
            group.push(last, Some(closing));
        }
        group
    }

    /// One more row, with what closes its group if it is the last of one.
    pub(super) fn push(&mut self, row: &Row, closing: Option<GroupCommit>) {
        let account = |serial: Option<AccountSerial>| serial.map(|serial| i64::from(serial.0));
        let [
            sequence,
            booked_at,
            transaction_id,
            fingerprint,
            kind,
            debit_account,
            credit_account,
            amount,
            currency,
            debit_balance,
            credit_balance,
            debit_previous,
            credit_previous,
            customer_id,
            principal,
            channel,
            detail,
            epoch,
            hash,
        ] = &mut self.columns;
        sequence.push_number(row.sequence.cast_signed());
        booked_at.push_number(row.booked_at.0);
        transaction_id.push(&row.transaction.0.to_be_bytes());
        fingerprint.push_option(row.fingerprint.as_ref().map(<[u8; 16]>::as_slice));
        kind.push(row.kind.as_str().as_bytes());
        debit_account.push_number_option(account(row.debit_account));
        credit_account.push_number_option(account(row.credit_account));
        amount.push_number(row.amount);
        currency.push_option(row.currency.map(|currency| currency.code().as_bytes()));
        debit_balance.push_number(row.debit_balance);
        credit_balance.push_number(row.credit_balance);
        debit_previous.push_number(row.debit_previous.cast_signed());
        credit_previous.push_number(row.credit_previous.cast_signed());
        customer_id.push_number_option(row.customer.map(|customer| customer.get().cast_signed()));
        principal.push(row.principal.as_bytes());
        channel.push(row.channel.as_str().as_bytes());
        detail.push_option(row.detail.as_deref().map(str::as_bytes));
        epoch.push_number_option(closing.map(|closing| closing.epoch.cast_signed()));
        hash.push_option(closing.as_ref().map(|closing| closing.hash.0.as_slice()));
        self.rows += 1;
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The rows of another group after these.
    pub(super) fn append(&mut self, other: &Group) {
        self.columns.iter_mut().zip(&other.columns).for_each(|(column, other)| column.append(other));
        self.rows += other.rows;
    }

    /// The parameters that hold the columns, in their order.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &(dyn ToSql + Sync)> {
        self.columns.iter().map(|column| column as &(dyn ToSql + Sync))
    }
}

/// Personal names, column by column.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    columns: [Column; 3],
    count: usize,
}

impl Names {
    /// Each customer's last: one statement cannot set a row twice.
    pub(super) fn new(names: &[PersonalName]) -> Names {
        let mut all = Names::default();
        for (place, name) in names.iter().enumerate() {
            if names[place + 1..].iter().any(|later| later.customer == name.customer) {
                continue;
            }
            let [customer_id, text, digest_key] = &mut all.columns;
            customer_id.push_number(name.customer.get().cast_signed());
            text.push(name.name.as_bytes());
            digest_key.push(&name.digest_key);
            all.count += 1;
        }
        all
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The names of another group after these.
    pub(super) fn append(&mut self, other: &Names) {
        self.columns.iter_mut().zip(&other.columns).for_each(|(column, other)| column.append(other));
        self.count += other.count;
    }

    /// The parameters that hold the columns.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &(dyn ToSql + Sync)> {
        self.columns.iter().map(|column| column as &(dyn ToSql + Sync))
    }
}

/// Reads rows back, and refuses by name what no row can be.
#[derive(Debug, Clone, Default)]
pub(super) struct RowReader {
    principals: Principals,
}

impl RowReader {
    /// The row in a result of [`COLUMNS`], with what closes its group if it is the last of one.
    pub(super) fn take(&mut self, columns: &tokio_postgres::Row) -> Result<(Row, Option<GroupCommit>), ReadError> {
        let sequence: i64 = columns.try_get(0).map_err(|error| ReadError::Store(error.to_string()))?;
        let columns = Columns { columns, sequence: sequence.cast_unsigned() };
        if sequence < 1 {
            return Err(columns.damaged("sequence"));
        }
        let kind: Option<RowKind> = RowKind::from_text(columns.get(4, "kind")?);
        let channel = Channel::from_text(columns.get(15, "channel")?);
        let Bytes(transaction) = columns.get(2, "transaction_id")?;
        let row = Row {
            sequence: columns.sequence,
            booked_at: Timestamp(columns.get(1, "booked_at")?),
            transaction: TransactionKey(u128::from_be_bytes(transaction)),
            fingerprint: columns.get::<Option<Bytes<16>>>(3, "fingerprint")?.map(|bytes| bytes.0),
            kind: kind.ok_or_else(|| columns.damaged("kind"))?,
            debit_account: columns.account(5, "debit_account")?,
            credit_account: columns.account(6, "credit_account")?,
            amount: columns.get(7, "amount")?,
            currency: columns.currency(8)?,
            debit_balance: columns.get(9, "debit_balance")?,
            credit_balance: columns.get(10, "credit_balance")?,
            debit_previous: columns.previous(11, "debit_previous")?,
            credit_previous: columns.previous(12, "credit_previous")?,
            customer: columns.customer(13)?,
            principal: self.principals.share(columns.get(14, "principal")?),
            channel: channel.ok_or_else(|| columns.damaged("channel"))?,
            detail: columns.get::<Option<&str>>(16, "detail")?.map(Box::from),
        };
        let group = columns.group()?;
        Ok((row, group))
    }
}

/// The columns of one row, each with the name that a refusal gives it.
struct Columns<'result> {
    columns: &'result tokio_postgres::Row,
    sequence: u64,
}

impl<'result> Columns<'result> {
    fn damaged(&self, column: &str) -> ReadError {
        ReadError::Damaged { sequence: self.sequence, what: format!("its {column} is not one that is ever written") }
    }

    fn get<T: FromSql<'result>>(&self, index: usize, column: &str) -> Result<T, ReadError> {
        self.columns.try_get(index).map_err(|_| self.damaged(column))
    }

    fn account(&self, index: usize, column: &str) -> Result<Option<AccountSerial>, ReadError> {
        let serial: Option<i64> = self.get(index, column)?;
        let serial = serial.map(|serial| u32::try_from(serial).ok().filter(|serial| *serial > 0));
        match serial {
            Some(None) => Err(self.damaged(column)),
            Some(Some(serial)) => Ok(Some(AccountSerial(serial))),
            None => Ok(None),
        }
    }

    fn previous(&self, index: usize, column: &str) -> Result<u64, ReadError> {
        let previous: i64 = self.get(index, column)?;
        u64::try_from(previous).ok().filter(|previous| *previous < self.sequence).ok_or_else(|| self.damaged(column))
    }

    fn currency(&self, index: usize) -> Result<Option<Currency>, ReadError> {
        let code: Option<&str> = self.get(index, "currency")?;
        match code {
            None => Ok(None),
            // By far the most; the others are looked up.
            Some("USD") => Ok(Some(Currency::USD)),
            Some(code) => code.parse().map(Some).map_err(|_| self.damaged("currency")),
        }
    }

    fn customer(&self, index: usize) -> Result<Option<CustomerId>, ReadError> {
        let number: Option<i64> = self.get(index, "customer_id")?;
        number.map(CustomerId::new).transpose().map_err(|_| self.damaged("customer_id"))
    }

    fn group(&self) -> Result<Option<GroupCommit>, ReadError> {
        let epoch: Option<i64> = self.get(17, "epoch")?;
        let hash: Option<Bytes<32>> = self.get(18, "hash")?;
        match (epoch, hash) {
            (None, None) => Ok(None),
            (Some(epoch @ 1..), Some(hash)) => {
                Ok(Some(GroupCommit { epoch: epoch.cast_unsigned(), hash: ChainHash(hash.0) }))
            }
            _ => Err(self.damaged("epoch or hash")),
        }
    }
}
