//! What a child prints: all of it into its log file, warnings to the screen too.

use super::screen::Screen;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// A log file that reaches this size is renamed to `.old`, and a new one begins.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// A longer line is written in parts.
const LINE_BYTES: u64 = 16 * 1024;
/// So many plain lines are kept to tell why a child ended.
const LAST_WORDS: usize = 3;

/// One child's log. Clones write to the same file.
#[derive(Clone)]
pub(super) struct Log {
    name: String,
    screen: Screen,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    path: PathBuf,
    file: Option<(File, u64)>,
    last_words: VecDeque<String>,
}

impl Log {
    pub(super) fn new(name: &str, directory: &Path, screen: &Screen) -> Log {
        let path = directory.join(format!("{name}.log"));
        let shared = Shared { path, file: None, last_words: VecDeque::new() };
        Log { name: name.to_owned(), screen: screen.clone(), shared: Arc::new(Mutex::new(shared)) }
    }

    /// Reads one of the child's pipes until it ends.
    pub(super) async fn follow(self, pipe: impl AsyncRead + Unpin) {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut pipe).take(LINE_BYTES).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => self.write(String::from_utf8_lossy(&line).trim_end()),
            }
        }
    }

    /// The last plain lines: what a child says when it ends before its logging has begun, or why
    /// it panicked.
    pub(super) fn last_words(&self) -> String {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.last_words.iter().cloned().collect::<Vec<_>>().join("; ")
    }

    fn write(&self, line: &str) {
        let level = level(line);
        if level == Level::Warning {
            self.screen.line(&format!("{}: {line}", self.name));
        }
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if level == Level::Plain && !line.is_empty() {
            if shared.last_words.len() == LAST_WORDS {
                shared.last_words.pop_front();
            }
            shared.last_words.push_back(line.to_owned());
        }
        // A full disk must not stop the reading: a child whose pipe is full would stand still.
        let _ = shared.append(line);
    }
}

impl Shared {
    fn append(&mut self, line: &str) -> io::Result<()> {
        if self.file.as_ref().is_some_and(|(_, length)| *length >= FILE_BYTES) {
            self.file = None;
            fs::rename(&self.path, self.path.with_extension("log.old"))?;
        }
        if self.file.is_none() {
            let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
            let length = file.metadata()?.len();
            self.file = Some((file, length));
        }
        let Some((file, length)) = &mut self.file else { return Ok(()) };
        file.write_all(format!("{line}\n").as_bytes())?;
        *length += line.len() as u64 + 1;
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Belongs into the file alone.
    Quiet,
    /// Somebody should see it.
    Warning,
    /// Not a log line at all.
    Plain,
}

/// The level of a line of the text log format: `2026-11-21T08:58:00Z  WARN module: message`.
fn level(line: &str) -> Level {
    match line.split_whitespace().nth(1) {
        Some("WARN" | "ERROR") => Level::Warning,
        Some("TRACE" | "DEBUG" | "INFO") => Level::Quiet,
        _ => Level::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_are_told_from_plain_words() {
        for (line, expected) in [
            ("2026-11-21T08:58:00.000001Z  INFO branch_server: serving", Level::Quiet),
            ("2026-11-21T08:58:00.000001Z  WARN branch_server: slow", Level::Warning),
            ("2026-11-21T08:58:00.000001Z ERROR branch_server: damaged", Level::Warning),
            ("thread 'main' panicked at src/main.rs", Level::Plain),
            ("", Level::Plain),
        ] {
            assert_eq!(level(line), expected, "{line}");
        }
    }

    #[tokio::test]
    async fn a_log_file_is_bounded_and_long_lines_are_cut() {
        let root = tempfile::tempdir().expect("a directory");
        let log = Log::new("child", root.path(), &Screen::silent());
        let line = "x".repeat(40_000);
        log.clone().follow(format!("{line}\nthe end\n").as_bytes()).await;
        let written = fs::read_to_string(root.path().join("child.log")).expect("the log");
        assert_eq!(written.replace('\n', "").len(), 40_007);
        assert!(written.lines().all(|line| line.len() <= 16 * 1024));
        assert!(log.last_words().ends_with("the end"));

        while fs::metadata(root.path().join("child.log")).expect("the log").len() < FILE_BYTES {
            log.write(&line);
        }
        log.write("a new file");
        let written = fs::read_to_string(root.path().join("child.log")).expect("the log");
        assert!(written == "a new file\n", "{} bytes", written.len());
        assert!(root.path().join("child.log.old").exists());
    }
}
