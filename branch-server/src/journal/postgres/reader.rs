//! Reading beside the writer.

use super::client::Client;
use super::columns::{COLUMNS, RowReader};
use super::pool::Pool;
use super::{journal_table, number};
use crate::journal::sqlite::{End, StoredRow, StoredTable, StoredValue};
use crate::journal::{ChainHash, JournalReader, ReadError, Row, Sequence, Visit};
use bank_proto::{AccountSerial, BranchId, CustomerId};
use tokio_postgres::types::Type;

/// Rows that one statement of a long walk takes: it then lets the database forget old versions of other rows.
const ROWS_PER_READ: i64 = 8_192;

/// Reads the journal of a branch by connections that all readers of a server share. It sees what the primary has
/// committed.
#[derive(Debug, Clone)]
pub struct PostgresReader {
    pool: Pool,
    branch: BranchId,
    rows: RowReader,
}

impl PostgresReader {
    /// A reader of a branch's journal, whoever owns the branch.
    #[must_use]
    pub fn new(pool: Pool, branch: BranchId) -> PostgresReader {
        PostgresReader { pool, branch, rows: RowReader::default() }
    }

    fn understood(&mut self, rows: &[tokio_postgres::Row]) -> Result<Vec<Row>, ReadError> {
        rows.iter().map(|row| Ok(self.rows.take(row)?.0)).collect()
    }

    fn some_rows(&mut self, first: Sequence, limit: i64) -> Result<Vec<tokio_postgres::Row>, ReadError> {
        let branch = self.branch;
        self.pool.read(|client| rows(client, branch, first, limit))
    }
}

impl JournalReader for PostgresReader {
    fn try_clone(&self) -> Result<Box<dyn JournalReader>, ReadError> {
        Ok(Box::new(self.clone()))
    }

    fn last_sequence(&mut self) -> Result<Sequence, ReadError> {
        Ok(self.end()?.sequence)
    }

    fn read(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError> {
        let found = self.some_rows(first, i64::try_from(limit).unwrap_or(i64::MAX))?;
        self.understood(&found)
    }

    fn row(&mut self, sequence: Sequence) -> Result<Option<Row>, ReadError> {
        let found = self.read(sequence, 1)?.pop();
        Ok(found.filter(|row| row.sequence == sequence))
    }

    fn history(&mut self, account: AccountSerial, newest: Sequence, limit: usize) -> Result<Vec<Row>, ReadError> {
        if newest == 0 || limit == 0 {
            return Ok(Vec::new());
        }
        let table = journal_table(self.branch);
        // The walk is the database's: one question, however many rows.
        let sql = format!(
            "WITH RECURSIVE walk AS ( \
                 SELECT 1::bigint AS step, journal.* FROM {table} AS journal WHERE sequence = $2 \
                 UNION ALL \
                 SELECT walk.step + 1, journal.* FROM walk JOIN {table} AS journal ON journal.sequence = CASE \
                     WHEN walk.debit_account = $1 THEN walk.debit_previous \
                     WHEN walk.credit_account = $1 THEN walk.credit_previous END \
                 WHERE walk.step < $3 AND journal.sequence < walk.sequence) \
             SELECT {COLUMNS} FROM walk ORDER BY step"
        );
        let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = self.pool.read(|client| {
            let statement = client.prepare_typed(&sql, &[Type::INT8, Type::INT8, Type::INT8])?;
            client.query(&statement, &[&i64::from(account.0), &newest.cast_signed(), &limit_rows])
        })?;
        let rows = self.understood(&found)?;
        let mut next = newest;
        for row in &rows {
            let damaged = |what: String| Err(ReadError::Damaged { sequence: next, what });
            next = match (row.debit_account, row.credit_account) {
                _ if row.sequence != next => {
                    return damaged(format!("account {} has history there, but there is no row", account.0));
                }
                (Some(debit), _) if debit == account => row.debit_previous,
                (_, Some(credit)) if credit == account => row.credit_previous,
                _ => return damaged(format!("it stands in the history of account {}, but is of others", account.0)),
            };
        }
        if next != 0 && rows.len() < limit {
            let what = format!("account {} has history there, but there is no row", account.0);
            return Err(ReadError::Damaged { sequence: next, what });
        }
        Ok(rows)
    }

    fn for_each(&mut self, first: Sequence, visit: &mut Visit<'_>) -> Result<(), ReadError> {
        let mut next = first;
        loop {
            let found = self.some_rows(next, ROWS_PER_READ)?;
            for columns in &found {
                let (row, closing) = self.rows.take(columns)?;
                next = row.sequence + 1;
                if visit(row, closing).is_break() {
                    return Ok(());
                }
            }
            if (found.len() as u64) < ROWS_PER_READ.cast_unsigned() {
                return Ok(());
            }
        }
    }

    fn end(&mut self) -> Result<End, ReadError> {
        let branch = number(self.branch);
        self.pool.read(|client| {
            let row = client.query_one("SELECT head, epoch FROM florin.branch WHERE branch = $1", &[&branch])?;
            let (head, epoch): (i64, i64) = (row.get(0), row.get(1));
            Ok(End { sequence: head.cast_unsigned(), epoch: epoch.cast_unsigned() })
        })
    }

    fn group_hash(&mut self, sequence: Sequence) -> Result<ChainHash, ReadError> {
        let sql = format!("SELECT hash FROM {} WHERE sequence = $1", journal_table(self.branch));
        self.pool.read(|client| {
            let row = client.query_opt(&sql, &[&sequence.cast_signed()])?;
            let hash = row.and_then(|row| row.get::<_, Option<Vec<u8>>>(0));
            Ok(ChainHash(hash.and_then(|hash| hash.try_into().ok()).unwrap_or_default()))
        })
    }

    fn stored_rows(
        &mut self,
        table: StoredTable,
        first: i64,
        last: i64,
        limit: u32,
    ) -> Result<Vec<StoredRow>, ReadError> {
        let (from, key, columns) = match table {
            StoredTable::Journal => (journal_table(self.branch), "sequence", COLUMNS),
            StoredTable::PersonalName => {
                ("florin.personal_name".to_owned(), "customer_id", "customer_id, name, digest_key")
            }
        };
        let sql = format!(
            "SELECT {columns} FROM {from} WHERE branch = $1 AND {key} BETWEEN $2 AND $3 ORDER BY {key} LIMIT $4"
        );
        let branch = number(self.branch);
        let rows = self.pool.read(|client| client.query(&sql, &[&branch, &first, &last, &i64::from(limit)]))?;
        rows.iter().map(|row| stored_row(row).map_err(|error| ReadError::Store(error.to_string()))).collect()
    }

    fn wal_bytes(&mut self) -> u64 {
        // The database's own, of all its tables together.
        0
    }

    fn journal_bytes(&mut self) -> u64 {
        let sql = "SELECT pg_total_relation_size($1::text::regclass)";
        let table = journal_table(self.branch);
        let bytes = self.pool.read(|client| Ok(client.query_one(sql, &[&table])?.get::<_, i64>(0)));
        bytes.unwrap_or(0).cast_unsigned()
    }

    fn personal_name(&mut self, customer: CustomerId) -> Result<Option<String>, ReadError> {
        let branch = self.branch;
        self.pool.read(|client| personal_name(client, branch, customer))
    }
}

/// Up to `limit` rows from `first` on, in order.
pub(super) fn rows(
    client: &mut Client,
    branch: BranchId,
    first: Sequence,
    limit: i64,
) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
    let sql =
        format!("SELECT {COLUMNS} FROM {} WHERE sequence >= $1 ORDER BY sequence LIMIT $2", journal_table(branch));
    client.query(&sql, &[&first.cast_signed(), &limit])
}

/// The personal name of a customer, if one was given and not erased.
pub(super) fn personal_name(
    client: &mut Client,
    branch: BranchId,
    customer: CustomerId,
) -> Result<Option<String>, tokio_postgres::Error> {
    let sql = "SELECT name FROM florin.personal_name WHERE branch = $1 AND customer_id = $2";
    let row = client.query_opt(sql, &[&number(branch), &customer.get().cast_signed()])?;
    Ok(row.map(|row| row.get(0)))
}

/// A row in the types that copies have, which are those of a SQLite store.
fn stored_row(row: &tokio_postgres::Row) -> Result<StoredRow, tokio_postgres::Error> {
    let value = |(place, column): (usize, &tokio_postgres::Column)| {
        let absent = || StoredValue::Null;
        Ok(match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(place)?.map_or_else(absent, StoredValue::Integer),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(place)?.map_or_else(absent, StoredValue::Blob),
            _ => row.try_get::<_, Option<String>>(place)?.map_or_else(absent, StoredValue::Text),
        })
    };
    row.columns().iter().enumerate().map(value).collect()
}
