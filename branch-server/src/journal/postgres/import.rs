//! Journals of a bank in files, taken over into a database: all of them or none.

use super::client::Transaction;
use super::columns::COLUMNS;
use super::given::{Names, Rows};
use super::store::sort;
use super::{PostgresStore, journal_table, number};
use crate::journal::shared::{Founding, StoreError};
use crate::journal::{GroupCommit, PersonalName, Row, Sequence};
use bank_proto::BranchId;

/// A bank that is being taken over.
pub struct Import<'a>(Transaction<'a>);

/// Why it was not.
#[derive(Debug, thiserror::Error)]
pub enum ImportError<E: std::error::Error> {
    /// The database cannot be used.
    #[error(transparent)]
    Founding(#[from] Founding),
    /// There are books in it already, or servers that serve from it.
    #[error("{0} holds books already; name an empty database")]
    NotEmpty(String),
    /// Where the journals come from says no.
    #[error(transparent)]
    Source(E),
}

impl<E: std::error::Error> From<StoreError> for ImportError<E> {
    fn from(error: StoreError) -> ImportError<E> {
        ImportError::Founding(error.into())
    }
}

impl PostgresStore {
    /// Founds a bank of so many branches and takes over what `bring` brings. When this returns everything is
    /// committed; when it fails, or this process ends before, the bank in the database is as empty as before.
    ///
    /// # Errors
    /// The database holds a bank with books, cannot be used, or the source failed.
    pub fn import<E: std::error::Error>(
        &self,
        branches: u32,
        bring: impl FnOnce(&mut Import<'_>) -> Result<(), ImportError<E>>,
    ) -> Result<(), ImportError<E>> {
        self.found(branches)?;
        let mut connection = self.connect()?;
        let failed = |error: tokio_postgres::Error| ImportError::from(sort(&error));
        connection.client().lift_limit();
        let mut transaction = connection.client().begin("").map_err(failed)?;
        // Longer than any statement of a bank at work; and whoever tries to take a branch meanwhile waits.
        transaction.batch_execute("SET LOCAL statement_timeout = 0").map_err(failed)?;
        let rows = transaction.query("SELECT epoch, head FROM florin.branch FOR UPDATE", &[]).map_err(failed)?;
        if rows.iter().any(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1)) != (0, 0)) {
            return Err(ImportError::NotEmpty(self.shown().to_owned()));
        }
        let mut import = Import(transaction);
        bring(&mut import)?;
        import.0.commit().map_err(failed)
    }
}

impl PostgresStore {
    /// Whether the bank in the database never had a row or an owner; waits for an import that is under way.
    ///
    /// # Errors
    /// The database cannot be used.
    pub fn is_untouched(&self) -> Result<bool, StoreError> {
        let mut connection = self.connect()?;
        let rows = connection.client().query("SELECT epoch, head FROM florin.branch FOR UPDATE", &[]);
        let rows = rows.map_err(|error| sort(&error))?;
        Ok(rows.iter().all(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1)) == (0, 0)))
    }
}

impl Import<'_> {
    /// Rows of a branch in their order, with what closes their groups.
    ///
    /// # Errors
    /// The database cannot be used.
    pub fn rows(&mut self, branch: BranchId, rows: &[(Row, Option<GroupCommit>)]) -> Result<(), StoreError> {
        let mut given = Rows::default();
        rows.iter().for_each(|(row, closing)| given.push(branch, row, *closing));
        let sql = format!(
            "INSERT INTO {} (branch, {COLUMNS}) SELECT given.* FROM unnest($1::florin.given_row[]) AS given",
            journal_table(branch)
        );
        self.0.execute(&sql, &[given.parameter()]).map_err(|error| sort(&error))?;
        Ok(())
    }

    /// Personal names beside a branch's journal.
    ///
    /// # Errors
    /// The database cannot be used.
    pub fn names(&mut self, branch: BranchId, names: &[PersonalName]) -> Result<(), StoreError> {
        let sql = "INSERT INTO florin.personal_name (branch, customer_id, name, digest_key) \
             SELECT given.* FROM unnest($1::florin.given_name[]) AS given";
        self.0.execute(sql, &[Names::new(branch, names).parameter()]).map_err(|error| sort(&error))?;
        Ok(())
    }

    /// The end of a branch: its last row, and the highest epoch under which it was ever opened.
    ///
    /// # Errors
    /// The database cannot be used.
    pub fn end(&mut self, branch: BranchId, head: Sequence, epoch: u64) -> Result<(), StoreError> {
        let sql = "UPDATE florin.branch SET head = $2, epoch = $3 WHERE branch = $1";
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&number(branch), &head.cast_signed(), &epoch.cast_signed()];
        self.0.execute(sql, &parameters).map_err(|error| sort(&error))?;
        Ok(())
    }
}
