//! Where a test's bank keeps its books: in its directory, or, with FLORIN_TEST_STORE=postgres://..., in a database of
//! its own on that server. So the same tests prove both stores.

use std::path::Path;

/// Whether all servers of a bank share a database.
pub(crate) fn is_shared() -> bool {
    std::env::var_os("FLORIN_TEST_STORE").is_some()
}

/// The store of the bank that has this directory, as `--store` names it. The same whenever it is asked.
pub(crate) fn store_in(directory: &Path) -> String {
    let Ok(server) = std::env::var("FLORIN_TEST_STORE") else { return format!("sqlite:{}", directory.display()) };
    let named = directory.join("database");
    if let Ok(url) = std::fs::read_to_string(&named) {
        return url;
    }
    let unique = directory.file_name().expect("a name").to_string_lossy().replace('.', "").to_lowercase();
    let name = format!("bank_{}_{unique}", std::process::id());
    let (sql, admin) = (format!("CREATE DATABASE {name}"), server.clone());
    // A client waits, which a thread of a runtime may not.
    let create = move || postgres::Client::connect(&admin, postgres::NoTls)?.batch_execute(&sql);
    std::thread::spawn(create).join().expect("a thread").expect("a database");
    let (server, _) = server.rsplit_once('/').expect("a URL with a database");
    let url = format!("{server}/{name}");
    std::fs::write(named, &url).expect("written");
    url
}
