//! Emptying the write-ahead log while the bank writes.
//!
//! SQLite starts the WAL over only when every frame of it has been copied into the database, and
//! a checkpoint beside a busy writer never catches the last ones. So a thread with a connection of
//! its own repeats passive checkpoints until few frames remain, and the writer, between two group
//! commits, copies those few itself; its next commit then starts the WAL over. Above a limit the
//! writer waits and copies everything, so that the WAL stays bounded whatever the load.
//!
//! A reader that stays in one transaction keeps the WAL from starting over; then it grows until the
//! reader is gone.

mod worker;

use super::sqlite::JournalSettings;
use rusqlite::{Connection, ErrorCode};
use std::io;
use std::path::{Path, PathBuf};
use worker::Worker;

/// Frames in the WAL at which emptying it begins, unless a quarter of the limit is less.
const BEGIN_FRAMES: u64 = 1000;
/// So few frames the writer copies itself.
const FEW_FRAMES: u64 = 256;
/// When the WAL could not be emptied, how much it grows before the next try.
const RETRY_FRAMES: u64 = 256;

/// The writer's side of emptying the WAL.
#[derive(Debug)]
pub(super) struct Checkpointer {
    /// None when the writer works alone.
    worker: Option<Worker>,
    wal_path: PathBuf,
    begin_frames: u64,
    limit_frames: u64,
    /// Frames in the WAL after the last append.
    frames: u64,
    /// Nothing is done below so many frames.
    next_frames: u64,
}

/// How far the WAL has been copied.
#[derive(Debug, Clone, Copy)]
struct Progress {
    frames: u64,
    copied: u64,
}

impl Checkpointer {
    /// Starts the thread, if the settings want one.
    pub(super) fn start(path: &Path, settings: &JournalSettings) -> Result<Checkpointer, StartError> {
        let connect = || Connection::open(path);
        let page_bytes: u64 = connect()?.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))?.into();
        let worker = if settings.background { Some(Worker::start(connect()?)?) } else { None };
        let limit_frames = settings.wal_limit_bytes / page_bytes;
        let begin_frames = BEGIN_FRAMES.min(limit_frames / 4);
        let wal_path = wal_path(path);
        Ok(Checkpointer { worker, wal_path, begin_frames, limit_frames, frames: 0, next_frames: begin_frames })
    }

    /// Does between two group commits what keeps the WAL short.
    pub(super) fn after_append(&mut self, connection: &Connection) -> Result<(), CheckpointError> {
        let Progress { frames, copied } = progress(connection)?;
        let appended = match frames.checked_sub(self.frames) {
            Some(appended) => appended,
            None => {
                self.next_frames = self.begin_frames;
                frames
            }
        };
        self.frames = frames;
        if frames < self.next_frames {
            return Ok(());
        }
        let few = FEW_FRAMES.max(2 * appended);
        let Some(worker) = &self.worker else {
            return self.copy(connection);
        };
        if frames >= self.limit_frames {
            worker.wait()?;
            self.copy(connection)?;
        } else if worker.is_idle()? {
            if frames - copied.min(frames) <= few {
                self.copy(connection)?;
            } else {
                worker.wake();
                self.next_frames = frames + RETRY_FRAMES.min(self.begin_frames);
            }
        }
        Ok(())
    }

    /// The bytes that the WAL takes on disk.
    pub(super) fn wal_bytes(&self) -> u64 {
        wal_bytes(&self.wal_path)
    }

    fn copy(&mut self, connection: &Connection) -> Result<(), CheckpointError> {
        self.next_frames = self.frames + RETRY_FRAMES.min(self.begin_frames);
        checkpoint(connection)
    }
}

/// Where the write-ahead log of a database stands.
pub(crate) fn wal_path(path: &Path) -> PathBuf {
    let mut wal_path = path.as_os_str().to_owned();
    wal_path.push("-wal");
    wal_path.into()
}

/// The bytes that a write-ahead log takes on disk.
pub(super) fn wal_bytes(wal_path: &Path) -> u64 {
    // A look at its name alone: nothing is opened, so no lock of SQLite's is lost by closing.
    std::fs::metadata(wal_path).map_or(0, |metadata| metadata.len())
}

/// Why the WAL can no longer be emptied. The process must end.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckpointError {
    /// SQLite could not copy or sync.
    #[error("the write-ahead log cannot be emptied: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The thread met such an error, or is gone.
    #[error("the write-ahead log cannot be emptied: {0}")]
    Worker(String),
}

/// Why the thread was not started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("the checkpoint thread cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// Copies what can be copied without waiting for anybody, and syncs it.
fn checkpoint(connection: &Connection) -> Result<(), CheckpointError> {
    let result = connection.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?.query_row([], |row| row.get::<_, i64>(0));
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.sqlite_error_code() {
            // Somebody is in the way, or there is no room in the database; the WAL keeps it all.
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull) => Ok(()),
            _ => Err(error.into()),
        },
    }
}

fn progress(connection: &Connection) -> Result<Progress, CheckpointError> {
    let mut statement = connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(statement.query_row([], |row| Ok(Progress { frames: count(row.get(1)?), copied: count(row.get(2)?) }))?)
}
