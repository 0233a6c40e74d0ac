//! Rows as they are read back from their columns.

use crate::journal::row::Principals;
use crate::journal::{ChainHash, Channel, GroupCommit, ReadError, Row, RowKind};
use bank_proto::{AccountSerial, Currency, CustomerId, Timestamp, TransactionKey};
use std::error::Error;
use tokio_postgres::types::{FromSql, Type, accepts};

/// Every column but the branch, in the order in which rows are written and read.
pub(super) const COLUMNS: &str = "sequence, booked_at, transaction_id, fingerprint, kind, debit_account, \
    credit_account, amount, currency, debit_balance, credit_balance, debit_previous, credit_previous, customer_id, \
    principal, channel, detail, epoch, hash";

/// A `bytea` of so many bytes.
#[derive(Debug, Clone, Copy)]
struct Bytes<const N: usize>([u8; N]);

impl<'a, const N: usize> FromSql<'a> for Bytes<N> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Bytes(raw.try_into()?))
    }

    accepts!(BYTEA);
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
