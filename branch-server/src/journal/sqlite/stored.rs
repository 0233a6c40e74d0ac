//! Rows as they are stored, for copies: nothing is understood, so nothing can be lost.

use super::copying::StoredRow;
use rusqlite::{Connection, params};

/// A table that copies take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredTable {
    /// The rows, by their sequence.
    Journal,
    /// The personal names, by their customer.
    PersonalName,
}

/// Up to `limit` rows with keys from the first to the last, in the order of their keys.
pub(super) fn stored_rows(
    connection: &Connection,
    table: StoredTable,
    first: i64,
    last: i64,
    limit: u32,
) -> rusqlite::Result<Vec<StoredRow>> {
    let sql = match table {
        StoredTable::Journal => "SELECT * FROM journal WHERE sequence BETWEEN ?1 AND ?2 ORDER BY sequence LIMIT ?3",
        StoredTable::PersonalName => {
            "SELECT * FROM personal_name WHERE customer_id BETWEEN ?1 AND ?2 ORDER BY customer_id LIMIT ?3"
        }
    };
    let mut statement = connection.prepare_cached(sql)?;
    let columns = statement.column_count();
    let rows =
        statement.query_map(params![first, last, limit], |row| (0..columns).map(|place| row.get(place)).collect())?;
    rows.collect()
}
