//! The disk's own yardstick: threads that append to files of their own, each append synced.
//!
//! The files get their space before the clock starts, as a write-ahead log has it that is used
//! again and again: an append that also grows its file waits for the file system's own journal,
//! and so for whatever else the machine writes.

use super::BenchError;
use super::budget::Budget;
use super::tally::Tally;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// About what a deposit's journal row takes.
const APPEND_BYTES: usize = 200;
/// The space of one file; at its end the appender goes on at its beginning.
const FILE_BYTES: usize = 4 * 1024 * 1024;

/// Runs so many appenders in a directory for a while; what they counted, and how long it took.
pub(super) async fn run(directory: &Path, appenders: u32, length: Duration) -> Result<(Tally, Duration), BenchError> {
    let wrong = |error| BenchError::Directory { path: directory.to_owned(), error };
    let paths = (0..appenders).map(|number| directory.join(format!("appender-{number}"))).collect::<Vec<_>>();
    let files = paths.iter().map(|path| allocate(path)).collect::<io::Result<Vec<_>>>().map_err(wrong)?;
    let budget = Budget::time(length);
    let spawn = |mut file| {
        let budget = budget.clone();
        tokio::task::spawn_blocking(move || append(&mut file, &budget))
    };
    let threads = files.into_iter().map(spawn).collect::<Vec<_>>();
    let mut all = Tally::new();
    for thread in threads {
        let tally = thread.await.map_err(|error| wrong(io::Error::other(error)))?.map_err(wrong)?;
        all.add(&tally);
    }
    let took = budget.began().elapsed();
    paths.iter().try_for_each(std::fs::remove_file).map_err(wrong)?;
    Ok((all, took))
}

/// Appends one at a time, each to the next of so many files and a pause after the one before, as one
/// caller's deposits come to the branches.
///
/// A sync that comes at once after another finds the processor awake and, within one tick of the clock,
/// the file's time of change as it was; after a pause it wakes the one and writes the other as well.
/// Measured: 150 to 200 us back to back in one file, 300 to 420 us half a millisecond apart in ten.
pub(super) async fn one_at_a_time(
    directory: &Path,
    files: u32,
    pause: Duration,
    length: Duration,
) -> Result<(Tally, Duration), BenchError> {
    let wrong = |error| BenchError::Directory { path: directory.to_owned(), error };
    let paths = (0..files).map(|number| directory.join(format!("appender-{number}"))).collect::<Vec<_>>();
    let mut files = paths.iter().map(|path| allocate(path)).collect::<io::Result<Vec<_>>>().map_err(wrong)?;
    let budget = Budget::time(length);
    let appending = {
        let budget = budget.clone();
        tokio::task::spawn_blocking(move || {
            let mut tally = Tally::new();
            let mut written = 0;
            while budget.draw(1) > 0 {
                let count = files.len();
                // More appends than a file has room for do not fit into the time.
                let file = &mut files[written / APPEND_BYTES % count];
                std::thread::park_timeout(pause);
                let began = Instant::now();
                file.write_all(&[7; APPEND_BYTES])?;
                file.sync_data()?;
                tally.done(began, 1);
                written += APPEND_BYTES;
            }
            Ok(tally)
        })
    };
    let tally = appending.await.map_err(|error| wrong(io::Error::other(error)))?.map_err(wrong)?;
    let took = budget.began().elapsed();
    paths.iter().try_for_each(std::fs::remove_file).map_err(wrong)?;
    Ok((tally, took))
}

/// A file with its space, all of it written and synced.
fn allocate(path: &Path) -> io::Result<File> {
    let mut file = File::create(path)?;
    file.write_all(&vec![1; FILE_BYTES])?;
    file.sync_all()?;
    file.rewind()?;
    Ok(file)
}

fn append(file: &mut File, budget: &Budget) -> io::Result<Tally> {
    let mut tally = Tally::new();
    let mut written = 0;
    while budget.draw(1) > 0 {
        if written + APPEND_BYTES > FILE_BYTES {
            file.rewind()?;
            written = 0;
        }
        let began = Instant::now();
        file.write_all(&[7; APPEND_BYTES])?;
        // fdatasync, as every group commit of a branch ends.
        file.sync_data()?;
        tally.done(began, 1);
        written += APPEND_BYTES;
    }
    Ok(tally)
}
