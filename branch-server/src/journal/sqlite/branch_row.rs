//! The one row of table `branch`: whose journal it is, and who owned it last. The hash chain does not
//! cover it, so it is held against what is known elsewhere.

use super::OpenError;
use super::retiring::Retirement;
use super::schema::FORMAT;
use crate::journal::tide::{Mark, TIDE_FILE};
use bank_proto::BranchId;
use rusqlite::{Connection, OptionalExtension as _};
use std::path::Path;

/// What the row says.
pub(super) struct BranchRow {
    branch: i64,
    branches: i64,
    format: i64,
    epoch: i64,
    /// Whether the branch moved to another server.
    pub(super) retirement: Retirement,
}

/// The row, if it is of this branch of a bank of so many, in a format that is known here.
pub(super) fn check(
    connection: &Connection,
    path: &Path,
    branch: BranchId,
    branches: u32,
) -> Result<BranchRow, OpenError> {
    let format: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| OpenError::from_sqlite(path, &error))?;
    check_format(path, format)?;
    let row = read(connection, path)?;
    check_format(path, row.format)?;
    if row.branch != i64::from(branch.get()) {
        return Err(OpenError::OtherBranch { path: path.to_owned(), found: row.branch, expected: branch.get() });
    }
    if row.branches != i64::from(branches) {
        return Err(OpenError::OtherBranches { path: path.to_owned(), found: row.branches, expected: branches });
    }
    Ok(row)
}

/// Refuses an epoch that is lower than one that has written already: it no longer fences that
/// owner out.
pub(super) fn check_epoch(connection: &Connection, path: &Path, mark: Option<Mark>) -> Result<(), OpenError> {
    // Before the row, which another process may raise at any moment.
    let written: Option<Option<i64>> = connection
        .query_row("SELECT epoch FROM journal ORDER BY sequence DESC LIMIT 1", [], |row| row.get(0))
        .optional()
        .map_err(|error| OpenError::from_sqlite(path, &error))?;
    let written = written.flatten().unwrap_or(0);
    let epoch = read(connection, path)?.epoch;
    let set_back = |who: &str, known: u64| {
        let what = format!("its epoch was set back: the table branch says {epoch}, but {who} epoch {known}");
        Err(OpenError::Damaged { path: path.to_owned(), what })
    };
    if epoch < written {
        return set_back("the last group commit is of", written.cast_unsigned());
    }
    match mark {
        Some(mark) if epoch < 0 || epoch.cast_unsigned() < mark.epoch => {
            set_back(&format!("{TIDE_FILE} remembers"), mark.epoch)
        }
        _ if epoch < 0 => set_back("the first one is", 1),
        _ => Ok(()),
    }
}

fn read(connection: &Connection, path: &Path) -> Result<BranchRow, OpenError> {
    let sql = "SELECT branch, branches, format, epoch, retired FROM branch";
    let take = |row: &rusqlite::Row<'_>| {
        Ok(BranchRow {
            branch: row.get(0)?,
            branches: row.get(1)?,
            format: row.get(2)?,
            epoch: row.get(3)?,
            retirement: Retirement::from_column(row.get(4)?),
        })
    };
    let row = connection.query_row(sql, [], take).optional();
    let row = row.map_err(|error| OpenError::from_sqlite(path, &error))?;
    row.ok_or_else(|| OpenError::Damaged { path: path.to_owned(), what: "the table branch is empty".to_owned() })
}

/// Every format from 1 to this program's own was written once, and no other.
fn check_format(path: &Path, format: i64) -> Result<(), OpenError> {
    match format {
        1..=FORMAT => Ok(()),
        ..1 => {
            let what = format!("it says that its format is {format}, and there is no such format");
            Err(OpenError::Damaged { path: path.to_owned(), what })
        }
        _ => Err(OpenError::NewerFormat { path: path.to_owned(), format, known: FORMAT }),
    }
}
