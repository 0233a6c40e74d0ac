//! A disk that is soon full.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A small file system of its own, unmounted in the end.
pub(crate) struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// None, said aloud, where nothing may be mounted.
    pub(crate) fn mount(mebibytes: u32) -> Option<SmallDisk> {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("mount");
        let size = format!("size={mebibytes}m");
        command.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path());
        match command.output() {
            Ok(output) if output.status.success() => Some(SmallDisk { directory }),
            Ok(output) => {
                eprintln!("skipped: no file system may be mounted: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                eprintln!("skipped: mount cannot be run: {error}");
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the small disk stays mounted");
    }
}
