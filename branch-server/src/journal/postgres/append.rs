//! The statement of a group commit, how it is sent, and what became of it.

use super::claim::{claim, group_hash, last_row, stand};
use super::columns::{ARRAYS, COLUMNS, Group, Names, RowReader};
use super::store::{Connection, causes};
use super::{Writer, journal_table, number, reader};
use crate::journal::shared::{Fence, Outcome, OwnerLink, Standing};
use crate::journal::{ChainHash, GroupCommit, PersonalName, ReadError, Row, Sequence};
use bank_proto::{BranchId, CustomerId};
use postgres::error::{Severity, SqlState};
use postgres::types::ToSql;

impl Writer {
    /// Prepares the statements of a branch's writer.
    pub(super) fn prepare(mut connection: Connection, branch: BranchId) -> Result<Writer, postgres::Error> {
        let has_standbys = connection.has_standbys;
        let client = connection.client();
        let append = client.prepare(&append_statement(branch, false))?;
        let append_with_names = client.prepare(&append_statement(branch, true))?;
        // A primary that was replaced without knowing it would confirm for ever what it read from its own disk. Where
        // commits wait for standbys, a commit finds that out: the standbys follow another one by then.
        let confirm = if has_standbys {
            "UPDATE florin.branch SET session = session WHERE branch = $1 AND epoch = $2 AND session = $3 AND head = $4 \
             RETURNING 1"
        } else {
            "SELECT 1 FROM florin.branch WHERE branch = $1 AND epoch = $2 AND session = $3 AND head = $4"
        };
        let confirm = client.prepare(confirm)?;
        Ok(Writer { connection, branch, append, append_with_names, confirm, rows: RowReader::default() })
    }
}

/// The one statement of a group commit: the branch's row moves on if it is as this writer knows it, and only then
/// there are rows to insert. Its one row says that it was done.
fn append_statement(branch: BranchId, with_names: bool) -> String {
    let array = |(place, kind): (usize, &&str)| format!("${}::{kind}[]", place + 6);
    let arrays: Vec<String> = ARRAYS.iter().enumerate().map(array).collect();
    let names = if with_names {
        let first = 6 + ARRAYS.len();
        format!(
            ", named AS (INSERT INTO florin.personal_name (branch, customer_id, name, digest_key) \
             SELECT $2, given.* FROM fence, unnest(${}::bigint[], ${}::text[], ${}::bytea[]) AS given \
             ON CONFLICT (branch, customer_id) DO UPDATE SET name = excluded.name, digest_key = excluded.digest_key)",
            first,
            first + 1,
            first + 2
        )
    } else {
        String::new()
    };
    format!(
        "WITH fence AS (UPDATE florin.branch SET head = $1 \
             WHERE branch = $2 AND epoch = $3 AND session = $4 AND head = $5 RETURNING 1), \
         written AS (INSERT INTO {} (branch, {COLUMNS}) SELECT $2, given.* FROM fence, unnest({}) AS given){names} \
         SELECT 1 FROM fence",
        journal_table(branch),
        arrays.join(", "),
    )
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
        let (group, names) = (Group::new(rows, closing), Names::new(names));
        let last = (fence.head + rows.len() as u64).cast_signed();
        let Fence { epoch, session, head } = fence;
        let (branch, epoch, head) = (number(self.branch), epoch.cast_signed(), head.cast_signed());
        let fence: [&(dyn ToSql + Sync); 5] = [&last, &branch, &epoch, &session, &head];
        let mut parameters: Vec<&(dyn ToSql + Sync)> = fence.into_iter().chain(group.parameters()).collect();
        let statement = if names.is_empty() {
            &self.append
        } else {
            parameters.extend(names.parameters());
            &self.append_with_names
        };
        self.connection.take_warning();
        let done = self.connection.client().query_opt(statement, &parameters);
        self.outcome_of(done)
    }

    fn confirm(&mut self, fence: Fence) -> Outcome<bool> {
        let Fence { epoch, session, head } = fence;
        let (branch, epoch, head) = (number(self.branch), epoch.cast_signed(), head.cast_signed());
        let parameters: [&(dyn ToSql + Sync); 4] = [&branch, &epoch, &session, &head];
        self.connection.take_warning();
        let done = self.connection.client().query_opt(&self.confirm, &parameters);
        self.outcome_of(done)
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

impl Writer {
    /// What became of a statement whose one row says that it was done.
    fn outcome_of(&self, done: Result<Option<postgres::Row>, postgres::Error>) -> Outcome<bool> {
        match done {
            // It no longer waits for its standbys: what was committed may stand on its own disk alone.
            Ok(_) if self.connection.take_warning() => Outcome::Unknown("it may be on one disk only".to_owned()),
            Ok(done) => Outcome::Done(done.is_some()),
            Err(error) => outcome(&error),
        }
    }
}

/// Why something could not be read: by another connection it may be, unless the database says that it never will.
fn unread(error: &postgres::Error) -> ReadError {
    match outcome::<()>(error) {
        Outcome::Refused(what) => ReadError::Store(what),
        _ => ReadError::Unavailable(causes(error)),
    }
}

/// What a failed statement has done. The server's word that it failed is trusted; the end of a connection says nothing.
fn outcome<T>(error: &postgres::Error) -> Outcome<T> {
    let what = causes(error);
    let Some(said) = error.as_db_error() else { return Outcome::Unknown(what) };
    if said.parsed_severity() != Some(Severity::Error) {
        return Outcome::Unknown(what);
    }
    let code = said.code();
    // Classes: 08 connection, 40 rolled back, 53 resources, 55 and 57 the operator, 58 the system, 25006 a standby.
    let passes = ["08", "40", "53", "55", "57", "58"].iter().any(|class| code.code().starts_with(class));
    match code {
        _ if *code == SqlState::DISK_FULL => Outcome::Full,
        _ if passes || *code == SqlState::READ_ONLY_SQL_TRANSACTION => Outcome::NotDone(what),
        _ => Outcome::Refused(what),
    }
}
