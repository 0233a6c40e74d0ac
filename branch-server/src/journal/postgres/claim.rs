//! The statements by which a branch is taken over.

use super::store::{Connection, causes};
use super::{journal_table, number};
use crate::journal::shared::Standing;
use crate::journal::{ChainHash, Sequence};
use bank_proto::BranchId;

/// Makes a server the owner where the epoch is the one that was seen: the new epoch, or None.
pub(super) fn claim(
    connection: &mut Connection,
    branch: BranchId,
    owner: u32,
    seen_epoch: u64,
) -> Result<Option<u64>, tokio_postgres::Error> {
    let claimed = connection.client().query_opt(
        "UPDATE florin.branch SET epoch = epoch + 1, session = 0, owner = $3 \
         WHERE branch = $1 AND epoch = $2 RETURNING epoch",
        &[&number(branch), &seen_epoch.cast_signed(), &owner.cast_signed()],
    )?;
    Ok(claimed.map(|row| row.get::<_, i64>(0).cast_unsigned()))
}

/// Makes this connection the one by which the owner writes: what an earlier one has under way either stands before
/// this or comes to nothing. None when the branch is somebody else's.
///
/// It commits, so it is answered when whatever the database waits for has everything that was committed before.
pub(super) fn stand(connection: &mut Connection, branch: BranchId, epoch: u64) -> Result<Option<Standing>, String> {
    connection.client().take_warning();
    let sql = "UPDATE florin.branch SET session = session + 1 WHERE branch = $1 AND epoch = $2 RETURNING session, head";
    let row = connection.client().query_opt(sql, &[&number(branch), &epoch.cast_signed()]);
    let Some(row) = row.map_err(|error| causes(&error))? else { return Ok(None) };
    if connection.client().take_warning() {
        return Err("it waited for its standbys in vain".to_owned());
    }
    let head: i64 = row.get(1);
    Ok(Some(Standing { session: row.get(0), head: head.cast_unsigned() }))
}

/// The last row's number, and the hash and epoch of the group commit that it closes.
pub(super) fn last_row(
    connection: &mut Connection,
    branch: BranchId,
) -> Result<Option<(Sequence, ChainHash, u64)>, tokio_postgres::Error> {
    let table = journal_table(branch);
    let sql = format!("SELECT sequence, hash, epoch FROM {table} ORDER BY sequence DESC LIMIT 1");
    let row = connection.client().query_opt(&sql, &[])?;
    Ok(row.map(|row| {
        let (sequence, hash, epoch): (i64, Option<&[u8]>, Option<i64>) = (row.get(0), row.get(1), row.get(2));
        let hash = hash.and_then(|hash| hash.try_into().ok()).unwrap_or_default();
        (sequence.cast_unsigned(), ChainHash(hash), epoch.unwrap_or(0).cast_unsigned())
    }))
}

/// The hash of the group commit that a row closes.
pub(super) fn group_hash(
    connection: &mut Connection,
    branch: BranchId,
    sequence: Sequence,
) -> Result<Option<ChainHash>, tokio_postgres::Error> {
    let sql = format!("SELECT hash FROM {} WHERE sequence = $1", journal_table(branch));
    let row = connection.client().query_opt(&sql, &[&sequence.cast_signed()])?;
    let hash = row.and_then(|row| row.get::<_, Option<Vec<u8>>>(0));
    Ok(hash.and_then(|hash| hash.try_into().ok()).map(ChainHash))
}
