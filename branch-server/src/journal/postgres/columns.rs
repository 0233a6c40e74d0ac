//! Rows and the columns they stand in.

use crate::journal::row::Principals;
use crate::journal::{ChainHash, Channel, GroupCommit, PersonalName, ReadError, Row, RowKind};
use bank_proto::{AccountSerial, Currency, CustomerId, Timestamp, TransactionKey};
use postgres::types::private::BytesMut;
use postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};
use std::error::Error;

/// Every column but the branch, in the order in which rows are written and read.
pub(super) const COLUMNS: &str = "sequence, booked_at, transaction_id, fingerprint, kind, debit_account, \
    credit_account, amount, currency, debit_balance, credit_balance, debit_previous, credit_previous, customer_id, \
    principal, channel, detail, epoch, hash";

/// The types of [`COLUMNS`] as arrays: one parameter each.
pub(super) const ARRAYS: [&str; 19] = [
    "bigint", "bigint", "bytea", "bytea", "text", "bigint", "bigint", "bigint", "text", "bigint", "bigint", "bigint",
    "bigint", "bigint", "text", "text", "text", "bigint", "bytea",
];

/// So many bytes as a `bytea`.
#[derive(Debug, Clone, Copy)]
struct Bytes<const N: usize>([u8; N]);

impl<const N: usize> ToSql for Bytes<N> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    accepts!(BYTEA);
    to_sql_checked!();
}

impl<'a, const N: usize> FromSql<'a> for Bytes<N> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Bytes(raw.try_into()?))
    }

    accepts!(BYTEA);
}

/// The rows of one group commit, column by column.
#[derive(Default)]
pub(super) struct Group<'a> {
    sequence: Vec<i64>,
    booked_at: Vec<i64>,
    transaction_id: Vec<Bytes<16>>,
    fingerprint: Vec<Option<Bytes<16>>>,
    kind: Vec<&'a str>,
    debit_account: Vec<Option<i64>>,
    credit_account: Vec<Option<i64>>,
    amount: Vec<i64>,
    currency: Vec<Option<&'a str>>,
    debit_balance: Vec<i64>,
    credit_balance: Vec<i64>,
    debit_previous: Vec<i64>,
    credit_previous: Vec<i64>,
    customer_id: Vec<Option<i64>>,
    principal: Vec<&'a str>,
    channel: Vec<&'a str>,
    detail: Vec<Option<&'a str>>,
    epoch: Vec<Option<i64>>,
    hash: Vec<Option<Bytes<32>>>,
}

impl<'a> Group<'a> {
    /// The rows of one group commit; the last carries what closes it.
    pub(super) fn new(rows: &'a [Row], closing: GroupCommit) -> Group<'a> {
        let mut group = Group::default();
        if let Some((last, others)) = rows.split_last() {
            others.iter().for_each(|row| group.push(row, None));
            group.push(last, Some(closing));
        }
        group
    }

    /// One more row, with what closes its group if it is the last of one.
    pub(super) fn push(&mut self, row: &'a Row, closing: Option<GroupCommit>) {
        let account = |serial: Option<AccountSerial>| serial.map(|serial| i64::from(serial.0));
        self.sequence.push(row.sequence.cast_signed());
        self.booked_at.push(row.booked_at.0);
        self.transaction_id.push(Bytes(row.transaction.0.to_be_bytes()));
        self.fingerprint.push(row.fingerprint.map(Bytes));
        self.kind.push(row.kind.as_str());
        self.debit_account.push(account(row.debit_account));
        self.credit_account.push(account(row.credit_account));
        self.amount.push(row.amount);
        self.currency.push(row.currency.map(Currency::code));
        self.debit_balance.push(row.debit_balance);
        self.credit_balance.push(row.credit_balance);
        self.debit_previous.push(row.debit_previous.cast_signed());
        self.credit_previous.push(row.credit_previous.cast_signed());
        self.customer_id.push(row.customer.map(|customer| customer.get().cast_signed()));
        self.principal.push(&row.principal);
        self.channel.push(row.channel.as_str());
        self.detail.push(row.detail.as_deref());
        self.epoch.push(closing.map(|closing| closing.epoch.cast_signed()));
        self.hash.push(closing.map(|closing| Bytes(closing.hash.0)));
    }

    /// The parameters that hold the columns, in their order.
    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 19] {
        [
            &self.sequence,
            &self.booked_at,
            &self.transaction_id,
            &self.fingerprint,
            &self.kind,
            &self.debit_account,
            &self.credit_account,
            &self.amount,
            &self.currency,
            &self.debit_balance,
            &self.credit_balance,
            &self.debit_previous,
            &self.credit_previous,
            &self.customer_id,
            &self.principal,
            &self.channel,
            &self.detail,
            &self.epoch,
            &self.hash,
        ]
    }
}

/// The personal names of one group commit, column by column.
#[derive(Default)]
pub(super) struct Names<'a> {
    customer_id: Vec<i64>,
    name: Vec<&'a str>,
    digest_key: Vec<Bytes<32>>,
}

impl<'a> Names<'a> {
    /// Each customer's last: one statement cannot set a row twice.
    pub(super) fn new(names: &'a [PersonalName]) -> Names<'a> {
        let mut columns = Names::default();
        for (place, name) in names.iter().enumerate() {
            if names[place + 1..].iter().any(|later| later.customer == name.customer) {
                continue;
            }
            columns.customer_id.push(name.customer.get().cast_signed());
            columns.name.push(&name.name);
            columns.digest_key.push(Bytes(name.digest_key));
        }
        columns
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.customer_id.is_empty()
    }

    /// The parameters that hold the columns.
    pub(super) fn parameters(&self) -> [&(dyn ToSql + Sync); 3] {
        [&self.customer_id, &self.name, &self.digest_key]
    }
}

/// Reads rows back, and refuses by name what no row can be.
#[derive(Debug, Clone, Default)]
pub(super) struct RowReader {
    principals: Principals,
}

impl RowReader {
    /// The row in a result of [`COLUMNS`], with what closes its group if it is the last of one.
    pub(super) fn take(&mut self, columns: &postgres::Row) -> Result<(Row, Option<GroupCommit>), ReadError> {
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
    columns: &'result postgres::Row,
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
