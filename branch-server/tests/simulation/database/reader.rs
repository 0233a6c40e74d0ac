//! Reading a journal beside its owner.

use super::{Database, Tables};
use bank_proto::{AccountSerial, BranchId, CustomerId};
use branch_server::journal::sqlite::{End, StoredRow, StoredTable};
use branch_server::journal::{ChainHash, JournalReader, ReadError, Row, Sequence, Visit};

/// Reads a branch's journal for a server, or for whoever looks from outside.
#[derive(Clone)]
pub(crate) struct Reader {
    database: Database,
    /// None is always heard.
    server: Option<u32>,
    branch: BranchId,
}

impl Reader {
    pub(super) fn new(database: Database, server: u32, branch: BranchId) -> Reader {
        Reader { database, server: Some(server), branch }
    }

    /// Of the database itself.
    pub(super) fn of_the_database(database: &Database, branch: BranchId) -> Reader {
        Reader { database: database.clone(), server: None, branch }
    }

    fn look<T>(&self, look: impl FnOnce(&mut Tables) -> T) -> Result<T, ReadError> {
        let mut tables = self.database.tables();
        if self.server.is_some_and(|server| tables.trouble.is_away(server)) {
            return Err(ReadError::Unavailable("the database is away".to_owned()));
        }
        Ok(look(&mut tables))
    }
}

/// Up to `limit` rows from `first` on, in order.
pub(super) fn rows(tables: &mut Tables, branch: BranchId, first: Sequence, limit: usize) -> Vec<Row> {
    let from = usize::try_from(first.max(1) - 1).unwrap_or(usize::MAX);
    tables.books(branch).rows.iter().skip(from).take(limit).map(|(row, _)| row.clone()).collect()
}

pub(super) fn group_hash(tables: &mut Tables, branch: BranchId, sequence: Sequence) -> Option<ChainHash> {
    let place = usize::try_from(sequence.checked_sub(1)?).ok()?;
    tables.books(branch).rows.get(place)?.1.map(|closing| closing.hash)
}

impl JournalReader for Reader {
    fn try_clone(&self) -> Result<Box<dyn JournalReader>, ReadError> {
        Ok(Box::new(self.clone()))
    }

    fn last_sequence(&mut self) -> Result<Sequence, ReadError> {
        Ok(self.end()?.sequence)
    }

    fn read(&mut self, first: Sequence, limit: usize) -> Result<Vec<Row>, ReadError> {
        self.look(|tables| rows(tables, self.branch, first, limit))
    }

    fn row(&mut self, sequence: Sequence) -> Result<Option<Row>, ReadError> {
        Ok(self.read(sequence, 1)?.pop())
    }

    fn history(&mut self, account: AccountSerial, newest: Sequence, limit: usize) -> Result<Vec<Row>, ReadError> {
        let (mut next, mut found) = (newest, Vec::new());
        while next > 0 && found.len() < limit {
            let damaged = |what: &str| ReadError::Damaged { sequence: next, what: what.to_owned() };
            let row = self.row(next)?.ok_or_else(|| damaged("there is no row"))?;
            next = match (row.debit_account, row.credit_account) {
                (Some(debit), _) if debit == account => row.debit_previous,
                (_, Some(credit)) if credit == account => row.credit_previous,
                _ => return Err(damaged("it is of other accounts")),
            };
            found.push(row);
        }
        Ok(found)
    }

    fn for_each(&mut self, first: Sequence, visit: &mut Visit<'_>) -> Result<(), ReadError> {
        let from = usize::try_from(first.max(1) - 1).unwrap_or(usize::MAX);
        // Whoever visits may look at the database too.
        let rows = self.look(|tables| tables.books(self.branch).rows.get(from..).unwrap_or_default().to_vec())?;
        let _ = rows.into_iter().try_for_each(|(row, closing)| visit(row, closing));
        Ok(())
    }

    fn end(&mut self) -> Result<End, ReadError> {
        self.look(|tables| {
            let (sequence, epoch) = tables.head(self.branch);
            End { sequence, epoch }
        })
    }

    fn group_hash(&mut self, sequence: Sequence) -> Result<ChainHash, ReadError> {
        self.look(|tables| group_hash(tables, self.branch, sequence).unwrap_or_default())
    }

    fn stored_rows(&mut self, _: StoredTable, _: i64, _: i64, _: u32) -> Result<Vec<StoredRow>, ReadError> {
        Err(ReadError::Store("nobody copies a simulated journal".to_owned()))
    }

    fn wal_bytes(&mut self) -> u64 {
        0
    }

    fn journal_bytes(&mut self) -> u64 {
        0
    }

    fn personal_name(&mut self, customer: CustomerId) -> Result<Option<String>, ReadError> {
        self.look(|tables| tables.books(self.branch).names.get(&customer).cloned())
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reader").field(&self.branch).finish()
    }
}
