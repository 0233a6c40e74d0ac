//! The tables of a branch's file, readable in the stock sqlite3 shell.

use super::{OpenError, branch_row};
use bank_proto::{BranchId, Currency};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// The format that this program writes, in `user_version` and in the table `branch`.
pub(super) const FORMAT: i64 = 1;

/// "FLOR": what makes a SQLite file a journal of this bank.
const APPLICATION_ID: i64 = 0x464C_4F52;

/// Everything but the two views' arithmetic, which [`statement_view`] writes.
const TABLES: &str = "
CREATE TABLE branch (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    branch   INTEGER NOT NULL,
    branches INTEGER NOT NULL,
    format   INTEGER NOT NULL,
    epoch    INTEGER NOT NULL,
    retired  INTEGER NOT NULL DEFAULT 0 -- n: promised to server n - 1; -n: that server has it
) STRICT;

CREATE TABLE journal (
    sequence        INTEGER PRIMARY KEY,
    booked_at       INTEGER NOT NULL, -- microseconds since 1970, UTC
    transaction_id  BLOB NOT NULL,
    fingerprint     BLOB,
    kind            TEXT NOT NULL,
    debit_account   INTEGER,
    credit_account  INTEGER,
    amount          INTEGER NOT NULL, -- minor units of the currency, as are the balances
    currency        TEXT,
    debit_balance   INTEGER NOT NULL,
    credit_balance  INTEGER NOT NULL,
    debit_previous  INTEGER NOT NULL,
    credit_previous INTEGER NOT NULL,
    customer_id     INTEGER,
    principal       TEXT NOT NULL,
    channel         TEXT NOT NULL,
    detail          TEXT,             -- compact JSON
    epoch           INTEGER,          -- with hash: on the last row of each group commit
    hash            BLOB
) STRICT;

CREATE TRIGGER journal_is_never_updated BEFORE UPDATE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

CREATE TRIGGER journal_is_never_deleted_from BEFORE DELETE ON journal
BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END;

CREATE TABLE personal_name (
    customer_id INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    digest_key  BLOB NOT NULL
) STRICT;

CREATE TABLE currency (
    code     TEXT PRIMARY KEY,
    decimals INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// The view `statement`: movements as a person reads them, computed in integers only.
fn statement_view() -> String {
    let decimal = |column: &str| {
        format!(
            "CASE currency.decimals WHEN 0 THEN CAST(journal.{column} AS TEXT) ELSE \
             CASE WHEN journal.{column} < 0 THEN '-' ELSE '' END \
             || ltrim(journal.{column} / currency.unit, '-') || '.' \
             || substr('0000' || abs(journal.{column} % currency.unit), -currency.decimals) END"
        )
    };
    let number = |column: &str| {
        format!(
            "printf('%014d%02d', branch.branch * 10000000000 + journal.{column}, \
             98 - (branch.branch * 10000000000 + journal.{column}) * 100 % 97)"
        )
    };
    format!(
        "CREATE VIEW statement AS SELECT
            journal.sequence,
            strftime('%Y-%m-%dT%H:%M:%S', journal.booked_at / 1000000, 'unixepoch')
                || printf('.%06dZ', journal.booked_at % 1000000) AS booked_at,
            branch.branch || '-' || lower(hex(journal.transaction_id)) AS transaction_id,
            journal.kind,
            {} AS debit_account,
            {} AS credit_account,
            {} AS amount,
            journal.currency,
            {} AS debit_balance,
            {} AS credit_balance,
            CASE WHEN json_valid(journal.detail) THEN json_extract(journal.detail, '$.memo') END AS memo,
            journal.principal,
            journal.channel
        FROM journal CROSS JOIN branch LEFT JOIN
            (SELECT code, decimals, CAST(substr('10000', 1, decimals + 1) AS INTEGER) AS unit FROM currency) AS currency
            ON currency.code = journal.currency
        WHERE journal.debit_account IS NOT NULL AND journal.credit_account IS NOT NULL;",
        number("debit_account"),
        number("credit_account"),
        decimal("amount"),
        decimal("debit_balance"),
        decimal("credit_balance"),
    )
}

/// Makes the tables in an empty file, in one transaction, or checks that an existing file is this
/// branch's and can be understood. True when they were made.
pub(super) fn create_or_check(
    connection: &mut Connection,
    path: &Path,
    branch: BranchId,
    branches: u32,
) -> Result<bool, OpenError> {
    let store = |error: rusqlite::Error| OpenError::from_sqlite(path, &error);
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(store)?;
    let application: i64 = pragma(connection, "application_id").map_err(store)?;
    let format: i64 = pragma(connection, "user_version").map_err(store)?;
    if objects == 0 && application == 0 && format == 0 {
        create(connection, branch, branches).map_err(store)?;
        return Ok(true);
    }
    if application != APPLICATION_ID {
        return Err(OpenError::NotAJournal { path: path.to_owned() });
    }
    if let Some(server) = branch_row::check(connection, path, branch, branches)?.retirement.successor() {
        return Err(OpenError::Retired { path: path.to_owned(), server });
    }
    Ok(false)
}

fn create(connection: &mut Connection, branch: BranchId, branches: u32) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    transaction.execute_batch(&statement_view())?;
    transaction.execute(
        "INSERT INTO branch (only_row, branch, branches, format, epoch) VALUES (1, ?1, ?2, ?3, 0)",
        (branch.get(), branches, FORMAT),
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Fills the table `currency`, at every opening, since a newer program may know more currencies.
pub(super) fn fill_currencies(connection: &Connection) -> rusqlite::Result<()> {
    let mut insert = connection.prepare("INSERT OR IGNORE INTO currency (code, decimals) VALUES (?1, ?2)")?;
    for currency in Currency::all() {
        insert.execute((currency.code(), currency.decimals()))?;
    }
    Ok(())
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}
