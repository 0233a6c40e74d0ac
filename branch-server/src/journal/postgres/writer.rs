//! One owner's connection: all that it says but its group commits, which go by the way that all branches share.

use super::append::{Order, outcome};
use super::claim::{claim, group_hash, last_row, stand};
use super::columns::RowReader;
use super::given::{Names, Rows};
use super::store::{Connection, PostgresStore, causes};
use super::{journal_table, number, reader};
use crate::journal::shared::{Fence, Outcome, OwnerLink, Standing};
use crate::journal::{ChainHash, GroupCommit, PersonalName, ReadError, Row, Sequence};
use bank_proto::{BranchId, CustomerId};
use tokio_postgres::types::ToSql;

/// The connection of a branch's owner, and its prepared statement.
pub(super) struct Writer {
    store: PostgresStore,
    connection: Connection,
    branch: BranchId,
    confirm: tokio_postgres::Statement,
    rows: RowReader,
}

impl Writer {
    /// For a branch, by a connection to the store.
    pub(super) fn prepare(
        store: PostgresStore,
        mut connection: Connection,
        branch: BranchId,
    ) -> Result<Writer, tokio_postgres::Error> {
        // A primary that was replaced without knowing it would confirm for ever what it read from its own disk. Where
        // commits wait for standbys, a commit finds that out: the standbys follow another one by then.
        let confirm = if connection.has_standbys {
            "UPDATE florin.branch SET session = session WHERE branch = $1 AND epoch = $2 AND session = $3 AND head = $4 \
             RETURNING 1"
        } else {
            "SELECT 1 FROM florin.branch WHERE branch = $1 AND epoch = $2 AND session = $3 AND head = $4"
        };
        let confirm = connection.client().prepare(confirm)?;
        Ok(Writer { store, connection, branch, confirm, rows: RowReader::default() })
    }
}

impl OwnerLink for Writer {
    fn shown(&self) -> String {
        journal_table(self.branch)
    }

    fn claim(&mut self, owner: u32, seen_epoch: u64) -> Result<Option<u64>, String> {
        claim(&mut self.connection, self.branch, owner, seen_epoch).map_err(|error| causes(&error))
    }

    fn stand(&mut self, epoch: u64) -> Result<Option<Standing>, String> {
        stand(&mut self.connection, self.branch, epoch)
    }

    fn last_row(&mut self) -> Result<Option<(Sequence, ChainHash, u64)>, String> {
        last_row(&mut self.connection, self.branch).map_err(|error| causes(&error))
    }

    fn group_hash(&mut self, sequence: Sequence) -> Result<Option<ChainHash>, String> {
        group_hash(&mut self.connection, self.branch, sequence).map_err(|error| causes(&error))
    }

    fn append(&mut self, fence: Fence, rows: &[Row], closing: GroupCommit, names: &[PersonalName]) -> Outcome<bool> {
        let last = fence.head + rows.len() as u64;
        let (rows, names) = (Rows::new(self.branch, rows, closing), Names::new(self.branch, names));
        self.store.lane().write(&self.store, Order { branch: self.branch, fence, last, rows, names })
    }

    fn confirm(&mut self, fence: Fence) -> Outcome<bool> {
        let Fence { epoch, session, head } = fence;
        let (branch, epoch, head) = (number(self.branch), epoch.cast_signed(), head.cast_signed());
        let parameters: [&(dyn ToSql + Sync); 4] = [&branch, &epoch, &session, &head];
        self.connection.client().take_warning();
        let done = self.connection.client().query_opt(&self.confirm, &parameters);
        match done {
            Ok(_) if self.connection.client().take_warning() => {
                Outcome::Unknown("it may be on one disk only".to_owned())
            }
            Ok(done) => Outcome::Done(done.is_some()),
            Err(error) => outcome(&error),
        }
    }

    fn rows(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = reader::rows(self.connection.client(), self.branch, first, limit);
        let found = found.map_err(|error| unread(&error))?;
        found.iter().map(|row| Ok(self.rows.take(row)?.0)).collect()
    }

    fn personal_name(&mut self, customer: CustomerId) -> Result<Option<String>, ReadError> {
        reader::personal_name(self.connection.client(), self.branch, customer).map_err(|error| unread(&error))
    }
}

/// Why something could not be read: by another connection it may be, unless the database says that it never will.
fn unread(error: &tokio_postgres::Error) -> ReadError {
    match outcome::<()>(error) {
        Outcome::Refused(what) => ReadError::Store(what),
        _ => ReadError::Unavailable(causes(error)),
    }
}
