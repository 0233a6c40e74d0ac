//! What is derived from a journal, for whoever serves the branch next: the files of its directory, in the database.
//!
//! They may be missing, old or damaged: each says what it is derived up to and has a checksum of its own, and whoever
//! opens the branch makes again what he cannot use. So no fence guards them, and nothing waits until they are durable.

use super::client::Client;
use super::number;
use super::store::{Connection, PostgresStore, causes};
use crate::journal::tide::TIDE_FILE;
use bank_proto::BranchId;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// Bytes of one row: few rows for a long file, and little memory for one.
const PART_BYTES: usize = 4 * 1024 * 1024;

/// The files of one branch in the database.
#[derive(Debug, Clone)]
pub struct SharedFiles {
    store: PostgresStore,
    branch: BranchId,
}

impl SharedFiles {
    /// Those of a branch.
    #[must_use]
    pub fn new(store: PostgresStore, branch: BranchId) -> SharedFiles {
        SharedFiles { store, branch }
    }

    /// Puts a file of a directory in the place of the one with its name.
    ///
    /// # Errors
    /// The file cannot be read, or the database is not there; the one before it stays.
    pub fn put(&self, directory: &Path, name: &str) -> io::Result<()> {
        let mut file = File::open(directory.join(name))?;
        let parts = file.metadata()?.len().div_ceil(PART_BYTES as u64).max(1);
        let parts = i32::try_from(parts).map_err(io::Error::other)?;
        let mut connection = self.connect()?;
        let mut transaction = connection.client().begin("").map_err(failed)?;
        transaction.batch_execute("SET LOCAL synchronous_commit = off").map_err(failed)?;
        let branch = number(self.branch);
        let delete = "DELETE FROM florin.derived WHERE branch = $1 AND name = $2";
        transaction.execute(delete, &[&branch, &name]).map_err(failed)?;
        let insert = "INSERT INTO florin.derived (branch, name, part, parts, bytes) VALUES ($1, $2, $3, $4, $5)";
        let insert = transaction.prepare(insert).map_err(failed)?;
        let mut bytes = Vec::with_capacity(PART_BYTES);
        for part in 0..parts {
            bytes.clear();
            (&mut file).take(PART_BYTES as u64).read_to_end(&mut bytes)?;
            transaction.execute(&insert, &[&branch, &name, &part, &parts, &bytes]).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// Forgets files.
    ///
    /// # Errors
    /// The database is not there.
    pub fn remove(&self, names: &[String]) -> io::Result<()> {
        let sql = "DELETE FROM florin.derived WHERE branch = $1 AND name = ANY($2)";
        self.connect()?.client().execute(sql, &[&number(self.branch), &names]).map_err(failed)?;
        Ok(())
    }

    /// Makes a directory have the files that the database has, and no others of Florin's: whoever served the branch
    /// last wrote them. Those that are here already are not fetched again, but for those named `always`.
    ///
    /// # Errors
    /// The directory cannot be written, or the database is not there.
    pub fn fetch_into(&self, directory: &Path, always: &str) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        let mut connection = self.connect()?;
        // As of one moment: files are replaced and removed meanwhile.
        let mut client = connection.client().begin("ISOLATION LEVEL REPEATABLE READ READ ONLY").map_err(failed)?;
        let sql = "SELECT name, parts FROM florin.derived WHERE branch = $1 AND part = 0";
        let rows = client.query(sql, &[&number(self.branch)]).map_err(failed)?;
        let there: Vec<(String, i32)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let names: BTreeSet<&str> = there.iter().map(|(name, _)| name.as_str()).collect();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_known = name.to_str().is_some_and(|name| names.contains(name) && name != always);
            // The tide is this server's own.
            if !is_known && name != TIDE_FILE && entry.file_type()?.is_file() {
                std::fs::remove_file(entry.path())?;
            }
        }
        for (name, parts) in &there {
            // A name is a file of this directory and nothing else, whatever the database says.
            if Path::new(name).file_name().is_none_or(|file| file != name.as_str()) || directory.join(name).exists() {
                continue;
            }
            self.fetch(&mut client, directory, name, *parts)?;
        }
        Ok(())
    }

    fn fetch(&self, client: &mut Client, directory: &Path, name: &str, parts: i32) -> io::Result<()> {
        let draft = directory.join(format!("{name}.arriving"));
        let mut file = File::create(&draft)?;
        let sql = "SELECT bytes FROM florin.derived WHERE branch = $1 AND name = $2 AND part = $3";
        let statement = client.prepare(sql).map_err(failed)?;
        for part in 0..parts {
            // One that was replaced meanwhile is damaged, and made again from the journal.
            if let Some(row) = client.query_opt(&statement, &[&number(self.branch), &name, &part]).map_err(failed)? {
                file.write_all(row.get(0))?;
            }
        }
        drop(file);
        std::fs::rename(draft, directory.join(name))
    }

    fn connect(&self) -> io::Result<Connection> {
        self.store.connect().map_err(io::Error::other)
    }
}

fn failed(error: tokio_postgres::Error) -> io::Error {
    io::Error::other(causes(&error))
}
