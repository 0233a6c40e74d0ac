//! One group commit, and what became of one whose answer was lost.

use super::claim::{last_row, stand};
use super::columns::{ARRAYS, COLUMNS, Group, Names};
use super::store::{Connection, causes};
use super::{PostgresJournal, Writer, journal_table, number};
use crate::journal::tide::Mark;
use crate::journal::{AppendError, ChainHash, GroupCommit, PersonalName, ReadError, Row, row};
use bank_proto::BranchId;
use postgres::error::{Severity, SqlState};
use postgres::types::ToSql;
use std::time::Duration;

/// How long a writer looks for the database after it has lost it. Longer than a standby takes to be promoted; after
/// that the branch is opened anew, when the database is there.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it waits between two tries: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// What became of a statement.
enum Outcome<T> {
    /// The database did what it was told.
    Done(T),
    /// It did not; it may be told again.
    NotDone(String),
    /// It is not known: the connection is gone, or only its own disk has it.
    Unknown(String),
    /// There is no room.
    Full,
    /// It will never do it: what is asked for does not fit what is there.
    Refused(String),
}

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
        Ok(Writer { connection, append, append_with_names, confirm })
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

impl PostgresJournal {
    pub(super) fn append_group(&mut self, rows: &[Row], names: &[PersonalName]) -> Result<(), AppendError> {
        if let Some(failure) = &self.failure {
            return Err(AppendError::Fatal(failure.clone()));
        }
        self.check_order(rows)?;
        let closing = GroupCommit::seal(self.branch, self.epoch, self.head, rows, &mut self.seal_buffer);
        let last = self.last_sequence + rows.len() as u64;
        let (group, names) = (Group::new(rows, closing), Names::new(names));
        let mut search = Search::default();
        loop {
            let what = match self.try_append(last, &group, &names) {
                Outcome::Done(true) => break,
                Outcome::Done(false) => return Err(self.fatal(&"the branch is another server's now")),
                Outcome::Full => return Err(AppendError::StorageFull),
                Outcome::Refused(what) => return Err(self.fatal(&what)),
                Outcome::NotDone(what) | Outcome::Unknown(what) => what,
            };
            // Whatever it was: from here on nothing of it happens any more, and then the journal says whether it has.
            if self.find_again(&mut search, what)? == (last, closing.hash) {
                break;
            }
        }
        (self.last_sequence, self.head) = (last, closing.hash);
        // Only now, when the group commit is about to be acknowledged.
        self.tide.mark(Mark { epoch: self.epoch, sequence: last, head: closing.hash });
        Ok(())
    }

    /// Rows that do not follow the last one would tear the journal; that is a bug of the caller's.
    fn check_order(&mut self, rows: &[Row]) -> Result<(), AppendError> {
        if row::follow(self.last_sequence, rows) {
            return Ok(());
        }
        let (count, last) = (rows.len(), self.last_sequence);
        Err(self.fatal(&format_args!("{count} rows were given that do not follow row {last}")))
    }

    /// False when the branch's row is not as this writer knows it.
    fn try_append(&mut self, last: u64, group: &Group<'_>, names: &Names<'_>) -> Outcome<bool> {
        let (last, branch) = (last.cast_signed(), number(self.branch));
        let (epoch, head) = (self.epoch.cast_signed(), self.last_sequence.cast_signed());
        let fence: [&(dyn ToSql + Sync); 5] = [&last, &branch, &epoch, &self.session, &head];
        let mut parameters: Vec<&(dyn ToSql + Sync)> = fence.into_iter().chain(group.parameters()).collect();
        let Some(writer) = &mut self.connection else { return Outcome::NotDone("there is no connection".to_owned()) };
        let statement = if names.is_empty() {
            &writer.append
        } else {
            parameters.extend(names.parameters());
            &writer.append_with_names
        };
        writer.connection.take_warning();
        match writer.connection.client().query_opt(statement, &parameters) {
            // It no longer waits for its standbys: what was committed may stand on its own disk alone.
            Ok(_) if writer.connection.take_warning() => Outcome::Unknown("it may be on one disk only".to_owned()),
            Ok(done) => Outcome::Done(done.is_some()),
            Err(error) => outcome(&error),
        }
    }

    /// Confirms that no other server has taken the branch over: what this one knows of it is the newest.
    pub(super) fn confirm_ownership(&mut self) -> Result<(), AppendError> {
        if let Some(failure) = &self.failure {
            return Err(AppendError::Fatal(failure.clone()));
        }
        let mut search = Search::default();
        loop {
            let (branch, epoch) = (number(self.branch), self.epoch.cast_signed());
            let head = self.last_sequence.cast_signed();
            let what = match &mut self.connection {
                None => "there is no connection".to_owned(),
                Some(writer) => {
                    let parameters: [&(dyn ToSql + Sync); 4] = [&branch, &epoch, &self.session, &head];
                    writer.connection.take_warning();
                    match writer.connection.client().query_opt(&writer.confirm, &parameters) {
                        Ok(_) if writer.connection.take_warning() => "it may be on one disk only".to_owned(),
                        Ok(Some(_)) => return Ok(()),
                        Ok(None) => return Err(self.fatal(&"the branch is another server's now")),
                        Err(error) => causes(&error),
                    }
                }
            };
            self.find_again(&mut search, what)?;
        }
    }

    /// Reads by the writer's own connection.
    pub(super) fn reading<T>(
        &mut self,
        read: impl Fn(&mut postgres::Client) -> Result<T, postgres::Error>,
    ) -> Result<T, ReadError> {
        let mut search = Search::default();
        loop {
            let what = match &mut self.connection {
                None => "there is no connection".to_owned(),
                Some(writer) => match read(writer.connection.client()) {
                    Ok(found) => return Ok(found),
                    Err(error) => match outcome::<()>(&error) {
                        Outcome::Refused(what) => return Err(ReadError::Store(what)),
                        _ => causes(&error),
                    },
                },
            };
            self.find_again(&mut search, what).map_err(|error| ReadError::Unavailable(error.to_string()))?;
        }
    }

    /// Finds the database again, and says where the journal ends now: nothing that was under way changes that any
    /// more. `what` is what went wrong before.
    ///
    /// # Errors
    /// The branch is another server's, or the search took too long.
    fn find_again(&mut self, search: &mut Search, what: String) -> Result<(u64, ChainHash), AppendError> {
        if self.connection.take().is_some() {
            tracing::warn!(branch = %self.branch, error = what, "the database does not answer; it is looked for");
        }
        let began = *search.began.get_or_insert_with(|| self.clock.instant());
        let mut last_word = what;
        loop {
            // At once the first time: most connections are lost because the server restarts, or another took its place.
            if search.tries > 0 {
                let pause = PAUSES.1.min(PAUSES.0 * (1 << search.tries.min(10)));
                let too_long = self.clock.instant().duration_since(began) > PATIENCE;
                if too_long || !self.store.pause(pause) {
                    return Err(self.fatal(&format_args!("the database is away: {last_word}")));
                }
            }
            search.tries += 1;
            match self.reconnect() {
                Ok(Some(end)) => {
                    tracing::info!(branch = %self.branch, tries = search.tries, "the database is there again");
                    return Ok(end);
                }
                Ok(None) => return Err(self.fatal(&"the branch is another server's now")),
                Err(what) => last_word = what,
            }
        }
    }

    /// Connects anew, as the owner under the same epoch; None when the branch has another.
    fn reconnect(&mut self) -> Result<Option<(u64, ChainHash)>, String> {
        let mut connection = self.store.connect().map_err(|error| error.to_string())?;
        let failed = |error: postgres::Error| causes(&error);
        let Some(standing) = stand(&mut connection, self.branch, self.epoch)? else { return Ok(None) };
        let last = last_row(&mut connection, self.branch).map_err(failed)?;
        let (sequence, head) = last.map_or((0, ChainHash::default()), |(sequence, head, _)| (sequence, head));
        if sequence != standing.head {
            return Err(format!("the journal ends at row {sequence}, but {} was written", standing.head));
        }
        if sequence < self.last_sequence {
            // The next opening, which knows of this by the tide, refuses it.
            return Err(format!("the journal ends at row {sequence}, but {} was acknowledged", self.last_sequence));
        }
        self.session = standing.session;
        self.connection = Some(Writer::prepare(connection, self.branch).map_err(failed)?);
        Ok(Some((sequence, head)))
    }

    /// Latches the failure: nothing is written from here on.
    fn fatal(&mut self, error: &dyn std::fmt::Display) -> AppendError {
        let failure = error.to_string();
        self.connection = None;
        self.failure = Some(failure.clone());
        AppendError::Fatal(failure)
    }
}

/// How long the database has been looked for on behalf of one statement.
#[derive(Default)]
struct Search {
    began: Option<tokio::time::Instant>,
    tries: u32,
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
