//! `bankctl move-store`: the books of a stopped bank, out of their files and into a PostgreSQL database, proved on both
//! sides.

use crate::bank::directory::{Directory, DirectoryError};
use crate::exit::{self, Exit};
use crate::output;
use crate::shared_store::{SharedStoreError, StoreArguments};
use crate::verify::{self, Proved};
use bank_proto::{BranchId, CustomerId};
use branch_server::data_directory::branch_directory;
use branch_server::journal::postgres::{Import, ImportError};
use branch_server::journal::shared::StoreError;
use branch_server::journal::sqlite::{StoredTable, StoredValue};
use branch_server::journal::{GroupCommit, JournalReader as _, PersonalName, ReadError, Row, SqliteReader};
use branch_server::verify::Books;
use indicatif::ProgressBar;
use serde_json::json;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Rows of one statement.
const ROWS: usize = 8_192;

/// Names of one statement.
const NAMES: u32 = 8_192;

/// From where, and where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The data directory of a stopped bank, with all of its branches.
    #[arg(long, env = "FLORIN_DATA", default_value = "./data", value_name = "DIR")]
    data: PathBuf,
    /// An empty database.
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Debug, thiserror::Error)]
enum MoveError {
    #[error("say in --store where the books go: postgres://USER@HOST/DATABASE")]
    NoStore,
    #[error(transparent)]
    Store(#[from] SharedStoreError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("a branch server still uses {}; stop the bank first", .0.display())]
    Running(PathBuf),
    #[error("the books in {path} do not prove right, and nothing was moved: {what}")]
    Unproved { path: PathBuf, what: String },
    #[error("{0}")]
    Import(#[from] ImportError<SourceError>),
    #[error(
        "what stands in {shown} is not what was moved there: {what}. The books in {path} are as before, and in office: delete the database"
    )]
    Changed { shown: String, path: PathBuf, what: String },
}

/// Why a journal could not be read.
#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("branch {branch}: {error}")]
    Read { branch: BranchId, error: ReadError },
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl MoveError {
    fn exit(&self) -> Exit {
        match self {
            MoveError::NoStore | MoveError::Import(ImportError::NotEmpty(_)) => Exit::Usage,
            MoveError::Store(error) => error.exit(),
            MoveError::Directory(error) => error.exit(),
            MoveError::Running(_) | MoveError::Import(_) => Exit::Unavailable,
            MoveError::Unproved { .. } | MoveError::Changed { .. } => Exit::Damage,
        }
    }
}

/// Moves the books.
pub(crate) fn run(arguments: &Arguments, as_json: bool) -> ExitCode {
    match move_books(arguments) {
        Ok((proved, shown)) => {
            let Proved { branches, rows, transactions } = proved;
            if as_json {
                output::json(
                    &json!({"branches": branches, "rows": rows, "transactions": transactions, "store": shown}),
                );
            } else {
                let [rows, transactions] = [rows, transactions].map(output::grouped);
                output::result(&format!(
                    "{transactions} transactions in {rows} rows of {branches} branches stand in PostgreSQL at {shown}, \
                     and agree. The files are retired: keep them as a backup, or delete them."
                ));
            }
            ExitCode::SUCCESS
        }
        Err(error) => exit::failed(error.exit(), &error),
    }
}

fn move_books(arguments: &Arguments) -> Result<(Proved, String), MoveError> {
    let store = arguments.store.shared()?.ok_or(MoveError::NoStore)?;
    let data = &arguments.data;
    // Held until the end: nobody starts on it meanwhile.
    let directory = Directory::take_to_leave(data, &store)?;
    if !directory.branches_are_free() {
        return Err(MoveError::Running(data.clone()));
    }
    let before = verify::prove(&Books::Directory(data.clone()), directory.branches());
    let before = before.map_err(|what| MoveError::Unproved { path: data.clone(), what })?;
    let bar = output::rows_bar();
    bar.set_length(before.rows);
    // The files are out of office before the database has anything: at no moment there are two banks. Nothing is
    // committed when this ends in between, and then the same command begins again.
    let imported = store.store().import(directory.branches(), |import| {
        directory.leave(&store).map_err(|error| ImportError::Source(error.into()))?;
        branches(directory.branches()).try_for_each(|branch| bring(import, data, branch, &bar))
    });
    bar.finish_and_clear();
    if let Err(error) = imported {
        // Only when nothing of it can be committed any more; else the same command finds out.
        if store.store().is_untouched().is_ok_and(|untouched| untouched) {
            directory.stay()?;
        }
        return Err(error.into());
    }
    let after = verify::prove(&Books::Database(store.database()), directory.branches());
    let wrong = match after {
        Ok(after) if after == before => None,
        Ok(after) => Some(format!("{} rows, not {}", after.rows, before.rows)),
        Err(what) => Some(what),
    };
    if let Some(what) = wrong {
        directory.stay()?;
        return Err(MoveError::Changed { shown: store.shown().to_owned(), path: data.clone(), what });
    }
    directory.release();
    Ok((before, store.shown().to_owned()))
}

fn branches(count: u32) -> impl Iterator<Item = BranchId> {
    (1..=i64::from(count)).filter_map(|number| BranchId::new(number).ok())
}

fn bring(
    import: &mut Import<'_>,
    data: &Path,
    branch: BranchId,
    bar: &ProgressBar,
) -> Result<(), ImportError<SourceError>> {
    let unread = |error| ImportError::Source(SourceError::Read { branch, error });
    bar.set_message(format!("branch {branch}"));
    let mut reader = SqliteReader::open(&branch_directory(data, branch)).map_err(unread)?;
    let mut some: Vec<(Row, Option<GroupCommit>)> = Vec::with_capacity(ROWS);
    let mut failed: Option<StoreError> = None;
    reader
        .for_each(1, &mut |row, closing| {
            some.push((row, closing));
            if some.len() < ROWS {
                return ControlFlow::Continue(());
            }
            bar.inc(some.len() as u64);
            failed = import.rows(branch, &some).err();
            some.clear();
            if failed.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .map_err(unread)?;
    if let Some(failed) = failed {
        return Err(failed.into());
    }
    import.rows(branch, &some)?;
    bar.inc(some.len() as u64);
    let mut next = 0;
    loop {
        let stored = reader.stored_rows(StoredTable::PersonalName, next, i64::MAX, NAMES).map_err(unread)?;
        let names: Vec<PersonalName> = stored.iter().filter_map(|row| name(row)).collect();
        import.names(branch, &names)?;
        match names.last() {
            Some(last) if stored.len() == NAMES as usize => next = last.customer.get().cast_signed() + 1,
            _ => break,
        }
    }
    let end = reader.end().map_err(unread)?;
    import.end(branch, end.sequence, end.epoch)?;
    Ok(())
}

fn name(row: &[StoredValue]) -> Option<PersonalName> {
    let [StoredValue::Integer(customer), StoredValue::Text(name), StoredValue::Blob(key)] = row else { return None };
    let customer = CustomerId::new(*customer).ok()?;
    Some(PersonalName { customer, name: name.clone(), digest_key: key.as_slice().try_into().ok()? })
}
