//! A sync that fails is never tried again: the system may have dropped what was not written.

use crate::rows::{append, open, rows};
use branch_server::journal::{AppendError, Journal as _};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Set for a test that runs again in a process of its own, with the shim below in place of the
/// system's own calls.
const DIRECTORY: &str = "FLORIN_TEST_DIRECTORY";

/// Every sync fails while the file named in FLORIN_TEST_FAIL exists, and fsync alone while it exists
/// with ".fsync" behind its name.
const SHIM: &str = r#"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failing(const char *suffix) {
    const char *name = getenv("FLORIN_TEST_FAIL");
    char path[4096];
    if (!name) return 0;
    snprintf(path, sizeof path, "%s%s", name, suffix);
    return access(path, F_OK) == 0;
}

int fsync(int file) {
    if (failing("") || failing(".fsync")) { errno = EIO; return -1; }
    return syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    if (failing("")) { errno = EIO; return -1; }
    return syscall(SYS_fdatasync, file);
}
"#;

#[test]
fn a_failing_sync_is_fatal_and_what_was_acknowledged_is_there_afterwards() {
    let directory = tempfile::tempdir().expect("a directory");
    let source = directory.path().join("shim.c");
    let shim = directory.path().join("shim.so");
    fs::write(&source, SHIM).expect("a file");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source).status();
    assert!(compiled.expect("a C compiler").success());

    let branch = directory.path().join("branch-0007");
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "failing_sync::while_syncs_fail", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .env("FLORIN_TEST_FAIL", directory.path().join("fail"))
        .env("LD_PRELOAD", &shim)
        .output()
        .expect("a second process");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && printed.contains("every step was as it should be"), "{printed}");

    // The commit whose sync failed was not acknowledged: it may be there or not.
    let last = open(&branch).last_sequence();
    assert!(last == 10 || last == 11, "{last}");
}

#[test]
#[ignore = "the second process of the test above"]
fn while_syncs_fail() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let directory = Path::new(&directory);
    let fail = directory.join("fail");
    let mut journal = open(&directory.join("branch-0007"));
    // A group commit waits for its data, not for the file system's note of when the file was changed.
    let fail_fsync = directory.join("fail.fsync");
    fs::write(&fail_fsync, "").expect("a file");
    append(&mut journal, 10);
    fs::remove_file(&fail_fsync).expect("to delete");
    fs::write(&fail, "").expect("a file");
    let fatal = journal.append(&rows(10, 1), &[]).expect_err("a failing sync");
    assert!(matches!(fatal, AppendError::Fatal(_)), "{fatal}");
    assert_eq!(journal.last_sequence(), 10);

    // Syncs work again, and it makes no difference.
    fs::remove_file(&fail).expect("to delete");
    let fatal = journal.append(&rows(10, 1), &[]).expect_err("for good");
    assert!(matches!(fatal, AppendError::Fatal(_)), "{fatal}");
    println!("every step was as it should be");
}
