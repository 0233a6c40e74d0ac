//! One group commit: written, synced, and only then true.

use super::columns::{INSERT, RowWriter};
use super::{SqliteJournal, opening};
use crate::journal::tide::Mark;
use crate::journal::{AppendError, GroupCommit, PersonalName, Row, row};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};

/// Why a group commit came to nothing.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("another program wrote to the journal")]
    ForeignWrite,
}

impl SqliteJournal {
    pub(super) fn append_group(&mut self, rows: &[Row], names: &[PersonalName]) -> Result<(), AppendError> {
        if let Some(failure) = &self.failure {
            return Err(AppendError::Fatal(failure.clone()));
        }
        self.check_order(rows)?;
        self.check_room()?;
        let group = GroupCommit::seal(self.settings.branch, self.epoch, self.head, rows, &mut self.seal_buffer);
        match self.write(rows, names, group) {
            Ok(()) => {
                self.last_sequence += rows.len() as u64;
                self.head = group.hash;
                self.checkpointer.after_append(&self.connection).map_err(|error| self.fatal(&error))?;
                // Only now, when the group commit is synced and about to be acknowledged.
                self.tide.mark(Mark { epoch: self.epoch, sequence: self.last_sequence, head: self.head });
                Ok(())
            }
            Err(WriteError::Sqlite(error)) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                self.torn_tail = true;
                self.roll_back()?;
                Err(AppendError::StorageFull)
            }
            Err(error) => {
                let fatal = self.fatal(&error);
                // Nothing more to say when this fails as well: the process ends.
                let _ = self.roll_back();
                Err(fatal)
            }
        }
    }

    /// Rows that do not follow the last one would tear the journal; that is a bug of the caller's.
    fn check_order(&mut self, rows: &[Row]) -> Result<(), AppendError> {
        if row::follow(self.last_sequence, rows) {
            return Ok(());
        }
        let (count, last) = (rows.len(), self.last_sequence);
        Err(self.fatal(&format_args!("{count} rows were given that do not follow row {last}")))
    }

    /// Refuses while there is too little room, or while the remains of a write that a full disk cut
    /// short stand at the end of the WAL: after a crash they could not be told from damage.
    fn check_room(&mut self) -> Result<(), AppendError> {
        let free = match rustix::fs::fstatvfs(self.lock.file()) {
            Ok(space) => space.f_bavail.saturating_mul(space.f_frsize),
            Err(error) => return Err(self.fatal(&error)),
        };
        if free < self.settings.reserve_bytes {
            return Err(AppendError::StorageFull);
        }
        if self.torn_tail {
            match opening::empty_wal(&self.connection) {
                Ok(true) => self.torn_tail = false,
                Ok(false) => return Err(AppendError::StorageFull),
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                    return Err(AppendError::StorageFull);
                }
                Err(error) => return Err(self.fatal(&error)),
            }
        }
        Ok(())
    }

    fn write(&mut self, rows: &[Row], names: &[PersonalName], group: GroupCommit) -> Result<(), WriteError> {
        run(&self.connection, "BEGIN IMMEDIATE")?;
        self.check_foreign_writes()?;
        let mut statement = self.connection.prepare_cached(INSERT)?;
        let mut writer = RowWriter::new(&mut statement);
        let last = rows.len() - 1;
        for (index, row) in rows.iter().enumerate() {
            writer.write(row, (index == last).then_some(group))?;
        }
        for name in names {
            self.connection
                .prepare_cached(
                    "INSERT INTO personal_name (customer_id, name, digest_key) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (customer_id) DO UPDATE SET name = excluded.name, digest_key = excluded.digest_key",
                )?
                .execute((name.customer.get().cast_signed(), &name.name, name.digest_key))?;
        }
        run(&self.connection, "COMMIT")?;
        Ok(())
    }

    /// Others may read the file, and empty its write-ahead log; when one wrote, the last row, the
    /// head or the epoch is not ours any more.
    fn check_foreign_writes(&mut self) -> Result<(), WriteError> {
        let data_version = opening::data_version(&self.connection)?;
        if data_version == self.data_version {
            return Ok(());
        }
        let state = opening::state(&self.connection)?;
        if (state.last_sequence, state.head, state.epoch) != (self.last_sequence, self.head, self.epoch) {
            return Err(WriteError::ForeignWrite);
        }
        self.data_version = data_version;
        Ok(())
    }

    /// Undoes what is left of a refused write.
    fn roll_back(&mut self) -> Result<(), AppendError> {
        // Some errors have rolled back already.
        if self.connection.is_autocommit() {
            return Ok(());
        }
        run(&self.connection, "ROLLBACK").map_err(|error| self.fatal(&error))
    }

    /// Latches the failure: nothing is written from here on, not even when the file is closed.
    fn fatal(&mut self, error: &dyn std::fmt::Display) -> AppendError {
        let failure = error.to_string();
        // Closing would copy the WAL into the file and sync again, which a failed sync forbids.
        // The setting is in memory and cannot fail on an open connection.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        self.failure = Some(failure.clone());
        AppendError::Fatal(failure)
    }
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(|_| ())
}
