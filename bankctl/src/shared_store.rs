//! Where a bank's books are when its branch servers share a PostgreSQL database.

use crate::exit::Exit;
use branch_server::journal::PostgresStore;
use branch_server::journal::shared::StoreError;
use branch_server::verify::Database;
use std::path::{Path, PathBuf};

/// The settings that name the database, as branch servers know them.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct StoreArguments {
    /// The PostgreSQL database with the books, `postgres://USER@HOST/DATABASE` [default: SQLite files in --data].
    #[arg(long, env = "STORE", hide_env_values = true, value_name = "URL")]
    store: Option<String>,
    /// PEM file with the authorities whose certificate the PostgreSQL server must show; then by TLS alone.
    #[arg(long, env = "STORE_AUTHORITY", value_name = "FILE", requires = "store")]
    store_authority: Option<PathBuf>,
    /// File that holds the password of the PostgreSQL user [default: what the URL says].
    #[arg(long, env = "STORE_PASSWORD_FILE", value_name = "FILE", requires = "store")]
    store_password_file: Option<PathBuf>,
}

/// A database that the arguments name.
#[derive(Debug, Clone)]
pub(crate) struct SharedStore {
    arguments: StoreArguments,
    store: PostgresStore,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SharedStoreError {
    /// The settings are wrong.
    #[error("{0}")]
    Setup(String),
    /// It is not there.
    #[error("{0}")]
    Unavailable(String),
    /// There is no bank in it.
    #[error("there is no bank in {0}")]
    NoBank(String),
}

impl SharedStoreError {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            SharedStoreError::Setup(_) => Exit::Usage,
            SharedStoreError::Unavailable(_) | SharedStoreError::NoBank(_) => Exit::Unavailable,
        }
    }
}

impl From<StoreError> for SharedStoreError {
    fn from(error: StoreError) -> SharedStoreError {
        match error {
            StoreError::Setup(what) => SharedStoreError::Setup(what),
            StoreError::Unavailable(what) => SharedStoreError::Unavailable(what),
        }
    }
}

/// A database that is deleted when this is dropped; not on a runtime, for that waits.
#[derive(Debug)]
pub(crate) struct TemporaryStore {
    /// The database.
    pub(crate) store: SharedStore,
    server: PostgresStore,
    name: String,
}

impl Drop for TemporaryStore {
    fn drop(&mut self) {
        if let Err(error) = self.server.drop_database(&self.name) {
            crate::output::note(&format!("the database {} is left behind: {error}", self.name));
        }
    }
}

/// The URL of another database on the same server.
fn beside(url: &str, name: &str) -> Option<String> {
    let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    let (scheme, rest) = path.split_once("://")?;
    let (server, _) = rest.split_once('/')?;
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{scheme}://{server}/{name}{query}"))
}

impl StoreArguments {
    /// Whether a database is named.
    pub(crate) fn is_named(&self) -> bool {
        self.store.is_some()
    }

    /// The database; None when the books are in files.
    ///
    /// # Errors
    /// It cannot be used as it is named.
    pub(crate) fn shared(&self) -> Result<Option<SharedStore>, SharedStoreError> {
        // As a branch server knows it, the variable may also name files.
        let url = self.store.as_deref().filter(|url| !url.starts_with("sqlite:"));
        let Some(url) = url else { return Ok(None) };
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            let what = "--store must be postgres://USER@HOST/DATABASE; files are named by --data".to_owned();
            return Err(SharedStoreError::Setup(what));
        }
        let password = self.store_password_file.as_deref().map(read_password).transpose()?;
        let store = PostgresStore::new(url, password.as_deref(), self.store_authority.as_deref(), "bankctl")?;
        Ok(Some(SharedStore { arguments: self.clone(), store }))
    }
}

fn read_password(path: &Path) -> Result<String, SharedStoreError> {
    let wrong = |error| SharedStoreError::Setup(format!("--store-password-file {}: {error}", path.display()));
    Ok(std::fs::read_to_string(path).map_err(wrong)?.trim_end_matches(['\r', '\n']).to_owned())
}

impl SharedStore {
    /// Where it is, without any secret.
    pub(crate) fn shown(&self) -> &str {
        self.store.shown()
    }

    /// Its URL, which may hold a password.
    pub(crate) fn url(&self) -> &str {
        self.arguments.store.as_deref().unwrap_or_default()
    }

    /// The way to it. It waits: to be used beside a runtime, not on it.
    pub(crate) fn store(&self) -> &PostgresStore {
        &self.store
    }

    /// The database itself. It waits: to be used beside a runtime, not on it.
    pub(crate) fn database(&self) -> Database {
        Database::new(self.store.clone())
    }

    /// A new, empty database on the same server, which is deleted with what this returns.
    ///
    /// # Errors
    /// The server does not allow it.
    pub(crate) fn temporary(&self) -> Result<TemporaryStore, SharedStoreError> {
        let name = format!("florin_temporary_{}", std::process::id());
        let url = self.arguments.store.as_deref().and_then(|url| beside(url, &name));
        let url = url.ok_or_else(|| SharedStoreError::Setup("--store names no database".to_owned()))?;
        let arguments = StoreArguments { store: Some(url), ..self.arguments.clone() };
        let store = arguments.shared()?.ok_or_else(|| SharedStoreError::NoBank(self.shown().to_owned()))?;
        self.store.create_database(&name)?;
        Ok(TemporaryStore { store, server: self.store.clone(), name })
    }

    /// How many branches the bank in it has; None when there is none yet.
    ///
    /// # Errors
    /// The database cannot be used.
    pub(crate) fn founded(&self) -> Result<Option<u32>, SharedStoreError> {
        Ok(self.store.founded()?)
    }

    /// The settings of a branch server that serves from it, as variables: a URL may hold a password, which arguments
    /// would show to everybody on this machine.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let all = [
            ("STORE", self.arguments.store.clone()),
            ("STORE_AUTHORITY", path(&self.arguments.store_authority)),
            ("STORE_PASSWORD_FILE", path(&self.arguments.store_password_file)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_beside_another_has_all_but_its_name() {
        for (url, other) in [
            (
                "postgres://bank:secret@db:5433/bank?connect_timeout=3",
                "postgres://bank:secret@db:5433/new?connect_timeout=3",
            ),
            ("postgresql://one,two/bank", "postgresql://one,two/new"),
        ] {
            assert_eq!(beside(url, "new").as_deref(), Some(other));
        }
        assert_eq!(beside("postgres://db", "new"), None);
    }

    #[test]
    fn a_branch_servers_variable_that_names_files_names_no_database() {
        let arguments = |store: &str| StoreArguments { store: Some(store.to_owned()), ..StoreArguments::default() };
        assert!(arguments("sqlite:/data").shared().expect("files").is_none());
        let wrong = arguments("mysql://db/bank").shared().expect_err("no such store");
        assert_eq!(wrong.exit(), Exit::Usage);
        assert!(arguments("postgres://bank@db/bank").shared().expect("a database").is_some());
    }
}
