//! Taking a branch over: the former owner writes nothing more, and then its journal is opened.

use super::store::{Connection, StoreError, causes};
use super::{PostgresJournal, PostgresStore, Writer, journal_table, number};
use crate::environment::Clock;
use crate::journal::tide::{Mark, TIDE_FILE, Tide};
use crate::journal::{ChainHash, OpenError, Sequence};
use bank_proto::BranchId;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What whoever takes a branch over knows of it.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// The branch.
    pub branch: BranchId,
    /// The ordinal of the branch server that takes it.
    pub owner: u32,
    /// The epoch of the owner before it. When another has taken it meanwhile, this claim comes to nothing.
    pub seen_epoch: u64,
    /// The highest row that any derived file says was durable; 0 when none says anything. A journal that ends before
    /// it has lost rows and is refused.
    pub known_sequence: Sequence,
}

/// Where a writer stands in the database.
pub(super) struct Standing {
    pub(super) session: i64,
    pub(super) head: Sequence,
}

impl PostgresJournal {
    /// Takes a branch over and opens its journal. `directory` is this server's own, for `journal.tide`.
    ///
    /// When this returns, the branch is owned by this process, no former owner can write any more, and everything in
    /// the journal is as durable as the database makes it.
    ///
    /// # Errors
    /// [`OpenError`] says why the branch must not serve.
    pub fn open(
        store: &PostgresStore,
        claim: Claim,
        directory: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<PostgresJournal, OpenError> {
        let Claim { branch, owner, seen_epoch, known_sequence } = claim;
        let path = || PathBuf::from(journal_table(branch));
        let unavailable = |what: String| OpenError::Database { what };
        let failed = |error: postgres::Error| OpenError::Database { what: causes(&error) };
        let mut connection = store.connect().map_err(|error: StoreError| unavailable(error.to_string()))?;
        let claimed = connection
            .client()
            .query_opt(
                "UPDATE florin.branch SET epoch = epoch + 1, session = 0, owner = $3 \
                 WHERE branch = $1 AND epoch = $2 RETURNING epoch",
                &[&number(branch), &seen_epoch.cast_signed(), &owner.cast_signed()],
            )
            .map_err(failed)?
            .ok_or(OpenError::Claimed { branch })?;
        let epoch: i64 = claimed.get(0);
        let epoch = epoch.cast_unsigned();
        // Nothing more is written under an older epoch. This waits for whatever the claim may not have waited for.
        let standing =
            stand(&mut connection, branch, epoch).map_err(unavailable)?.ok_or(OpenError::Claimed { branch })?;
        let last = last_row(&mut connection, branch).map_err(failed)?;
        let (found, head, written_epoch) = last.unwrap_or((0, ChainHash::default(), 0));
        let damaged = |what: String| OpenError::Damaged { path: path(), what };
        if found != standing.head {
            return Err(damaged(format!("its last row is {found}, but {} was written", standing.head)));
        }
        let mut tide = Tide::open(directory, branch);
        let mark = tide.found();
        let known = known_sequence.max(mark.map_or(0, |mark| mark.sequence));
        if found < known {
            return Err(OpenError::RowsMissing { path: path(), found, known });
        }
        if let Some(mark) = mark.filter(|mark| mark.sequence > 0) {
            let sql = format!("SELECT hash FROM {} WHERE sequence = $1", journal_table(branch));
            let row = connection.client().query_opt(&sql, &[&mark.sequence.cast_signed()]).map_err(failed)?;
            if row.and_then(|row| row.get::<_, Option<Vec<u8>>>(0)).as_deref() != Some(&mark.head.0[..]) {
                return Err(damaged(format!("row {} is not the one that {TIDE_FILE} remembers", mark.sequence)));
            }
        }
        if found > 0 && head == ChainHash::default() {
            return Err(damaged(format!("its last row {found} does not close a group commit")));
        }
        if written_epoch >= epoch {
            return Err(damaged(format!("it was written under epoch {written_epoch}, and this is only {epoch}")));
        }
        tide.mark(Mark { epoch, sequence: found, head });
        let writer = Writer::prepare(connection, branch).map_err(failed)?;
        Ok(PostgresJournal {
            store: store.clone(),
            clock,
            branch,
            epoch,
            session: standing.session,
            connection: Some(writer),
            last_sequence: found,
            head,
            tide,
            failure: None,
            seal_buffer: Vec::new(),
            rows: super::RowReader::default(),
        })
    }
}

/// Makes this connection the one by which the owner writes: what an earlier one has under way either stands before
/// this or comes to nothing. None when the branch is somebody else's.
///
/// It commits, so it is answered when whatever the database waits for has everything that was committed before.
pub(super) fn stand(connection: &mut Connection, branch: BranchId, epoch: u64) -> Result<Option<Standing>, String> {
    connection.take_warning();
    let sql = "UPDATE florin.branch SET session = session + 1 WHERE branch = $1 AND epoch = $2 RETURNING session, head";
    let row = connection.client().query_opt(sql, &[&number(branch), &epoch.cast_signed()]);
    let Some(row) = row.map_err(|error| causes(&error))? else { return Ok(None) };
    if connection.take_warning() {
        return Err("it waited for its standbys in vain".to_owned());
    }
    let head: i64 = row.get(1);
    Ok(Some(Standing { session: row.get(0), head: head.cast_unsigned() }))
}

/// The last row's number, and the hash and epoch of the group commit that it closes.
pub(super) fn last_row(
    connection: &mut Connection,
    branch: BranchId,
) -> Result<Option<(Sequence, ChainHash, u64)>, postgres::Error> {
    let table = journal_table(branch);
    let sql = format!("SELECT sequence, hash, epoch FROM {table} ORDER BY sequence DESC LIMIT 1");
    let row = connection.client().query_opt(&sql, &[])?;
    Ok(row.map(|row| {
        let (sequence, hash, epoch): (i64, Option<&[u8]>, Option<i64>) = (row.get(0), row.get(1), row.get(2));
        let hash = hash.and_then(|hash| hash.try_into().ok()).unwrap_or_default();
        (sequence.cast_unsigned(), ChainHash(hash), epoch.unwrap_or(0).cast_unsigned())
    }))
}
