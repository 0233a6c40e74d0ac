//! Reading beside the writer.

use super::columns::{RowReader, select_rows};
use super::copying::{End, StoredRow};
use super::opening::{self, State};
use super::stored::{StoredTable, stored_rows};
use super::{JOURNAL_FILE, OpenError, ReadError, branch_row};
use crate::journal::tide::Mark;
use crate::journal::{ChainHash, JournalReader, Row, Sequence, Visit, checkpoint};
use bank_proto::{AccountSerial, BranchId, CustomerId};
use rusqlite::{CachedStatement, Connection, OpenFlags, OptionalExtension as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a reader waits for a lock that another program holds for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a journal on a connection of its own. It sees only what is durable.
///
/// Every call is one short read transaction, so that the write-ahead log can be emptied in between.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
    directory: PathBuf,
    rows: RowReader,
}

impl SqliteReader {
    /// Opens the journal in a branch's directory for reading, whoever owns the branch.
    ///
    /// # Errors
    /// There is no journal, or it cannot be opened.
    pub fn open(directory: &Path) -> Result<SqliteReader, ReadError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(directory.join(JOURNAL_FILE), flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        connection.execute_batch("PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;").map_err(failed)?;
        Ok(SqliteReader { connection, directory: directory.to_owned(), rows: RowReader::default() })
    }

    /// Checks what the hash chain does not cover: that the journal is of this branch of a bank of so
    /// many, in a format that is known here, and that its epoch is not lower than one that wrote.
    /// `mark` is what `journal.tide` said before the journal was opened.
    ///
    /// # Errors
    /// As an opening would refuse it.
    pub fn check_branch(&self, branch: BranchId, branches: u32, mark: Option<Mark>) -> Result<(), OpenError> {
        let path = self.directory.join(JOURNAL_FILE);
        branch_row::check(&self.connection, &path, branch, branches)?;
        branch_row::check_epoch(&self.connection, &path, mark)
    }
}

impl JournalReader for SqliteReader {
    fn try_clone(&self) -> Result<Box<dyn JournalReader>, ReadError> {
        Ok(Box::new(SqliteReader::open(&self.directory)?))
    }

    fn last_sequence(&mut self) -> Result<Sequence, ReadError> {
        last_sequence(&self.connection).map_err(failed)
    }

    fn read(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError> {
        read(&self.connection, &mut self.rows, first, limit)
    }

    fn row(&mut self, sequence: Sequence) -> Result<Option<Row>, ReadError> {
        let mut statement = row_statement(&self.connection)?;
        one_row(&mut statement, &mut self.rows, sequence)
    }

    fn history(&mut self, account: AccountSerial, newest: Sequence, limit: usize) -> Result<Vec<Row>, ReadError> {
        // One read transaction for the walk, so that its pages are looked up once.
        let transaction = self.connection.unchecked_transaction().map_err(failed)?;
        let mut statement = row_statement(&transaction)?;
        let mut found = Vec::new();
        let mut next = newest;
        while next != 0 && found.len() < limit {
            let broken = |what: String| ReadError::Damaged { sequence: next, what };
            let row = one_row(&mut statement, &mut self.rows, next)?
                .ok_or_else(|| broken(format!("account {} has history there, but there is no row", account.0)))?;
            next = match (row.debit_account, row.credit_account) {
                (Some(debit), _) if debit == account => row.debit_previous,
                (_, Some(credit)) if credit == account => row.credit_previous,
                _ => {
                    return Err(broken(format!("it stands in the history of account {}, but is of others", account.0)));
                }
            };
            found.push(row);
        }
        Ok(found)
    }

    fn for_each(&mut self, first: Sequence, visit: &mut Visit<'_>) -> Result<(), ReadError> {
        for_each(&self.connection, &mut self.rows, first, visit)
    }

    fn end(&mut self) -> Result<End, ReadError> {
        let State { last_sequence, epoch, .. } = opening::state(&self.connection).map_err(failed)?;
        Ok(End { sequence: last_sequence, epoch })
    }

    fn group_hash(&mut self, sequence: Sequence) -> Result<ChainHash, ReadError> {
        opening::group_hash(&self.connection, sequence).map_err(failed)
    }

    fn stored_rows(
        &mut self,
        table: StoredTable,
        first: i64,
        last: i64,
        limit: u32,
    ) -> Result<Vec<StoredRow>, ReadError> {
        stored_rows(&self.connection, table, first, last, limit).map_err(failed)
    }

    fn wal_bytes(&mut self) -> u64 {
        checkpoint::wal_bytes(&checkpoint::wal_path(&self.directory.join(JOURNAL_FILE)))
    }

    fn journal_bytes(&mut self) -> u64 {
        // By its name: opening the file and closing it again would drop the locks that SQLite has on it.
        std::fs::metadata(self.directory.join(JOURNAL_FILE)).map_or(0, |metadata| metadata.len())
    }

    fn personal_name(&mut self, customer: CustomerId) -> Result<Option<String>, ReadError> {
        personal_name(&self.connection, customer)
    }
}

/// What a failed statement means to who reads.
pub(super) fn failed(error: rusqlite::Error) -> ReadError {
    ReadError::Store(error.to_string())
}

/// The last row's number; 0 in an empty journal.
pub(super) fn last_sequence(connection: &Connection) -> rusqlite::Result<Sequence> {
    let last: Option<i64> =
        connection.prepare_cached("SELECT max(sequence) FROM journal")?.query_row([], |row| row.get(0))?;
    Ok(last.unwrap_or(0).cast_unsigned())
}

pub(super) fn read(
    connection: &Connection,
    rows: &mut RowReader,
    first: Sequence,
    limit: usize,
) -> Result<Vec<Row>, ReadError> {
    let mut found = Vec::new();
    if limit > 0 {
        for_each(connection, rows, first, &mut |row, _| {
            found.push(row);
            if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    Ok(found)
}

pub(super) fn for_each(
    connection: &Connection,
    rows: &mut RowReader,
    first: Sequence,
    visit: &mut Visit<'_>,
) -> Result<(), ReadError> {
    let sql = select_rows!("WHERE sequence >= ?1 ORDER BY sequence");
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    let mut cursor = statement.query([first.cast_signed()]).map_err(failed)?;
    while let Some(columns) = cursor.next().map_err(failed)? {
        let (row, group) = rows.take(columns)?;
        if visit(row, group).is_break() {
            break;
        }
    }
    Ok(())
}

pub(super) fn personal_name(connection: &Connection, customer: CustomerId) -> Result<Option<String>, ReadError> {
    let sql = "SELECT name FROM personal_name WHERE customer_id = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(failed)?;
    statement.query_row([customer.get().cast_signed()], |row| row.get(0)).optional().map_err(failed)
}

fn row_statement(connection: &Connection) -> Result<CachedStatement<'_>, ReadError> {
    connection.prepare_cached(select_rows!("WHERE sequence = ?1")).map_err(failed)
}

fn one_row(
    statement: &mut CachedStatement<'_>,
    rows: &mut RowReader,
    sequence: Sequence,
) -> Result<Option<Row>, ReadError> {
    let mut cursor = statement.query([sequence.cast_signed()]).map_err(failed)?;
    match cursor.next().map_err(failed)? {
        Some(columns) => rows.take(columns).map(|(row, _)| Some(row)),
        None => Ok(None),
    }
}
