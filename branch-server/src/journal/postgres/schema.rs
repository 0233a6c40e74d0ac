//! The tables, and how a newer program changes them.

use super::client::Transaction;
use super::store::{PostgresStore, causes, sort};
use super::{journal_table, number};
use crate::journal::shared::{Founding, StoreError};
use bank_proto::{BranchId, Currency};

/// What changes the tables, in order. The format is the number of changes that were made.
const CHANGES: [&str; 2] = [include_str!("schema.sql"), include_str!("second.sql")];

/// Whoever changes the tables holds this lock: "FLOR". Servers that start at the same time take turns.
const LOCK: i64 = 0x464C_4F52;

impl PostgresStore {
    /// Founds a bank of so many branches in the database, or checks that the one there is such a bank, and brings its
    /// tables up to date. All of it or nothing happens; several servers may do it at the same time.
    ///
    /// # Errors
    /// Why no bank can be served from it.
    pub fn found(&self, branches: u32) -> Result<(), Founding> {
        let failed = |error: tokio_postgres::Error| match sort(&error) {
            StoreError::Setup(what) => StoreError::Setup(format!("PostgreSQL at {}: {what}", self.shown())),
            // The statements are ours: what the database does not understand, waiting does not mend.
            StoreError::Unavailable(_) if error.as_db_error().is_some_and(|error| is_ours(error.code().code())) => {
                StoreError::Setup(format!("PostgreSQL at {}: {}", self.shown(), causes(&error)))
            }
            StoreError::Unavailable(what) => StoreError::Unavailable(format!("PostgreSQL at {}: {what}", self.shown())),
        };
        let mut connection = self.connect()?;
        let known = i32::try_from(CHANGES.len()).unwrap_or(i32::MAX);
        let mut transaction = connection.client().begin("").map_err(failed)?;
        let (format, founded) = bring_up_to_date(&mut transaction, branches).map_err(failed)?;
        if format > known {
            return Err(Founding::Newer { shown: self.shown().to_owned(), found: format, known });
        }
        if founded != i64::from(branches) {
            let found = u32::try_from(founded).unwrap_or(0);
            return Err(Founding::Branches { shown: self.shown().to_owned(), found, wanted: branches });
        }
        transaction.commit().map_err(failed)?;
        Ok(())
    }
}

impl PostgresStore {
    /// How many branches the bank in the database was founded with; None when there is no bank.
    ///
    /// # Errors
    /// The database cannot be used.
    pub fn founded(&self) -> Result<Option<u32>, StoreError> {
        let mut connection = self.connect()?;
        let client = connection.client();
        let exists = client.query_one("SELECT to_regclass('florin.bank') IS NOT NULL", &[]);
        if !exists.map_err(|error| sort(&error))?.get::<_, bool>(0) {
            return Ok(None);
        }
        let row = client.query_opt("SELECT branches FROM florin.bank", &[]).map_err(|error| sort(&error))?;
        Ok(row.map(|row| row.get::<_, i32>(0).cast_unsigned()))
    }
}

/// Syntax, names, types: errors that the same statement meets again.
fn is_ours(code: &str) -> bool {
    code.starts_with("42") || code.starts_with("22")
}

/// The format that was found, and how many branches the bank has.
fn bring_up_to_date(transaction: &mut Transaction<'_>, branches: u32) -> Result<(i32, i64), tokio_postgres::Error> {
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
    let exists: bool = transaction.query_one("SELECT to_regnamespace('florin') IS NOT NULL", &[])?.get(0);
    if !exists {
        transaction.batch_execute(
            "CREATE SCHEMA florin;
             CREATE TABLE florin.change (number integer PRIMARY KEY, made_at timestamptz NOT NULL DEFAULT now());",
        )?;
    }
    let format: i32 = transaction.query_one("SELECT coalesce(max(number), 0) FROM florin.change", &[])?.get(0);
    for (number, change) in (1..).zip(CHANGES).filter(|(number, _)| *number > format) {
        transaction.batch_execute(change)?;
        transaction.execute("INSERT INTO florin.change (number) VALUES ($1)", &[&number])?;
    }
    if format > i32::try_from(CHANGES.len()).unwrap_or(i32::MAX) {
        return Ok((format, i64::from(branches)));
    }
    let inserted = transaction.execute(
        "INSERT INTO florin.bank (only_row, branches) VALUES (1, $1) ON CONFLICT DO NOTHING",
        &[&branches.cast_signed()],
    )?;
    if inserted > 0 {
        for branch in (1..=i64::from(branches)).filter_map(|number| BranchId::new(number).ok()) {
            let (table, number) = (journal_table(branch), number(branch));
            transaction.batch_execute(&format!(
                "CREATE TABLE {table} PARTITION OF florin.journal FOR VALUES IN ({number});
                 INSERT INTO florin.branch (branch) VALUES ({number});"
            ))?;
        }
    }
    fill_currencies(transaction)?;
    let founded: i32 = transaction.query_one("SELECT branches FROM florin.bank", &[])?.get(0);
    Ok((format, i64::from(founded)))
}

/// Fills the table `currency`, at every start, since a newer program may know more currencies.
fn fill_currencies(transaction: &mut Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    let codes: Vec<&str> = Currency::all().map(Currency::code).collect();
    let decimals: Vec<i32> = Currency::all().map(|currency| currency.decimals().cast_signed()).collect();
    transaction.execute(
        "INSERT INTO florin.currency (code, decimals) SELECT * FROM unnest($1::text[], $2::int[]) \
         ON CONFLICT DO NOTHING",
        &[&codes, &decimals],
    )?;
    Ok(())
}
