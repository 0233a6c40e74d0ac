//! A row and the columns it stands in.

use super::ReadError;
use crate::journal::row::Principals;
use crate::journal::{ChainHash, Channel, GroupCommit, Row, RowKind, Sequence};
use bank_proto::{AccountSerial, Currency, CustomerId, Timestamp, TransactionKey};
use rusqlite::Statement;
use rusqlite::types::{FromSql, ValueRef};

/// The one statement that writes rows.
pub(super) const INSERT: &str = "INSERT INTO journal (sequence, booked_at, transaction_id, fingerprint, kind, \
     debit_account, credit_account, amount, currency, debit_balance, credit_balance, debit_previous, \
     credit_previous, customer_id, principal, channel, detail, epoch, hash) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

/// Every column, in the order in which [`RowReader`] takes them.
macro_rules! select_rows {
    ($condition:literal) => {
        concat!(
            "SELECT sequence, booked_at, transaction_id, fingerprint, kind, debit_account, credit_account, amount, ",
            "currency, debit_balance, credit_balance, debit_previous, credit_previous, customer_id, principal, ",
            "channel, detail, epoch, hash FROM journal ",
            $condition
        )
    };
}
pub(super) use select_rows;

/// Writes the rows of one group commit through one prepared statement.
///
/// SQLite keeps what is bound from one row to the next, so texts are bound only when they change.
pub(super) struct RowWriter<'statement, 'connection> {
    statement: &'statement mut Statement<'connection>,
    bound: Option<&'statement Row>,
}

impl<'statement, 'connection> RowWriter<'statement, 'connection> {
    /// A writer through [`INSERT`], with nothing bound.
    pub(super) fn new(statement: &'statement mut Statement<'connection>) -> Self {
        RowWriter { statement, bound: None }
    }

    /// Writes one row; the last of its group carries what closes the group.
    pub(super) fn write(&mut self, row: &'statement Row, group: Option<GroupCommit>) -> rusqlite::Result<()> {
        let statement = &mut *self.statement;
        let before = self.bound.replace(row);
        statement.raw_bind_parameter(1, row.sequence.cast_signed())?;
        statement.raw_bind_parameter(2, row.booked_at.0)?;
        statement.raw_bind_parameter(3, row.transaction.0.to_be_bytes())?;
        if before.map_or(row.fingerprint.is_some(), |before| before.fingerprint != row.fingerprint) {
            statement.raw_bind_parameter(4, row.fingerprint)?;
        }
        if before.is_none_or(|before| before.kind != row.kind) {
            statement.raw_bind_parameter(5, row.kind.as_str())?;
        }
        statement.raw_bind_parameter(6, row.debit_account.map(|serial| serial.0))?;
        statement.raw_bind_parameter(7, row.credit_account.map(|serial| serial.0))?;
        statement.raw_bind_parameter(8, row.amount)?;
        if before.is_none_or(|before| before.currency != row.currency) {
            statement.raw_bind_parameter(9, row.currency.map(Currency::code))?;
        }
        statement.raw_bind_parameter(10, row.debit_balance)?;
        statement.raw_bind_parameter(11, row.credit_balance)?;
        statement.raw_bind_parameter(12, row.debit_previous.cast_signed())?;
        statement.raw_bind_parameter(13, row.credit_previous.cast_signed())?;
        statement.raw_bind_parameter(14, row.customer.map(|customer| customer.get().cast_signed()))?;
        if before.is_none_or(|before| before.principal != row.principal) {
            statement.raw_bind_parameter(15, &*row.principal)?;
        }
        if before.is_none_or(|before| before.channel != row.channel) {
            statement.raw_bind_parameter(16, row.channel.as_str())?;
        }
        if before.map_or(row.detail.is_some(), |before| before.detail != row.detail) {
            statement.raw_bind_parameter(17, row.detail.as_deref())?;
        }
        if let Some(group) = group {
            statement.raw_bind_parameter(18, group.epoch.cast_signed())?;
            statement.raw_bind_parameter(19, group.hash.0)?;
        }
        statement.raw_execute().map(|_| ())
    }
}

/// Reads rows back, and refuses by name what no row can be.
#[derive(Debug, Default)]
pub(super) struct RowReader {
    principals: Principals,
}

impl RowReader {
    /// The row under a statement's cursor, with what closes its group if it is the last of one.
    pub(super) fn take(&mut self, columns: &rusqlite::Row<'_>) -> Result<(Row, Option<GroupCommit>), ReadError> {
        let sequence = columns.get::<_, i64>(0).map_err(|error| ReadError::Store(error.to_string()))?;
        let columns = Columns { columns, sequence: sequence.cast_unsigned() };
        if sequence < 1 {
            return Err(columns.damaged("sequence"));
        }
        let kind: Option<RowKind> = RowKind::from_text(columns.text(4, "kind")?);
        let channel = Channel::from_text(columns.text(15, "channel")?);
        let row = Row {
            sequence: columns.sequence,
            booked_at: Timestamp(columns.get(1, "booked_at")?),
            transaction: TransactionKey(u128::from_be_bytes(columns.get(2, "transaction_id")?)),
            fingerprint: columns.get(3, "fingerprint")?,
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
            principal: self.principals.share(columns.text(14, "principal")?),
            channel: channel.ok_or_else(|| columns.damaged("channel"))?,
            detail: columns.get(16, "detail")?,
        };
        let group = columns.group()?;
        Ok((row, group))
    }
}

/// The columns of one row, each with the name that a refusal gives it.
struct Columns<'statement> {
    columns: &'statement rusqlite::Row<'statement>,
    sequence: Sequence,
}

impl Columns<'_> {
    fn damaged(&self, column: &str) -> ReadError {
        ReadError::Damaged { sequence: self.sequence, what: format!("its {column} is not one that is ever written") }
    }

    fn get<T: FromSql>(&self, index: usize, column: &str) -> Result<T, ReadError> {
        self.columns.get(index).map_err(|_| self.damaged(column))
    }

    fn text(&self, index: usize, column: &str) -> Result<&str, ReadError> {
        match self.columns.get_ref(index) {
            Ok(ValueRef::Text(text)) => std::str::from_utf8(text).map_err(|_| self.damaged(column)),
            _ => Err(self.damaged(column)),
        }
    }

    fn account(&self, index: usize, column: &str) -> Result<Option<AccountSerial>, ReadError> {
        let serial: Option<u32> = self.get(index, column)?;
        match serial {
            Some(0) => Err(self.damaged(column)),
            serial => Ok(serial.map(AccountSerial)),
        }
    }

    fn previous(&self, index: usize, column: &str) -> Result<Sequence, ReadError> {
        let previous: i64 = self.get(index, column)?;
        u64::try_from(previous).ok().filter(|previous| *previous < self.sequence).ok_or_else(|| self.damaged(column))
    }

    fn currency(&self, index: usize) -> Result<Option<Currency>, ReadError> {
        match self.columns.get_ref(index) {
            Ok(ValueRef::Null) => Ok(None),
            // By far the most; the others are looked up.
            Ok(ValueRef::Text(b"USD")) => Ok(Some(Currency::USD)),
            _ => {
                let code = self.text(index, "currency")?;
                code.parse().map(Some).map_err(|_| self.damaged("currency"))
            }
        }
    }

    fn customer(&self, index: usize) -> Result<Option<CustomerId>, ReadError> {
        let number: Option<i64> = self.get(index, "customer_id")?;
        number.map(CustomerId::new).transpose().map_err(|_| self.damaged("customer_id"))
    }

    fn group(&self) -> Result<Option<GroupCommit>, ReadError> {
        let epoch: Option<i64> = self.get(17, "epoch")?;
        let hash: Option<[u8; 32]> = self.get(18, "hash")?;
        match (epoch, hash) {
            (None, None) => Ok(None),
            (Some(epoch @ 1..), Some(hash)) => {
                Ok(Some(GroupCommit { epoch: epoch.cast_unsigned(), hash: ChainHash(hash) }))
            }
            _ => Err(self.damaged("epoch or hash")),
        }
    }
}
