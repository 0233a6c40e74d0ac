//! Exit codes, after sysexits.h, and the one line that goes with them.

use std::fmt::Display;
use std::process::ExitCode;

/// How a command ended when it did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// A verification found damage, or a floor that had to be met was not.
    Damage = 1,
    /// A setting is wrong; nothing was started.
    Usage = 64,
    /// A file that was to be read is not what it should be.
    Data = 65,
    /// Something that is needed is not to be had now: a port, a data directory, a bank.
    Unavailable = 69,
    /// A fault of our own or of the machine.
    Internal = 70,
}

impl Exit {
    /// The exit code of a child that ended by itself, as far as it is one of ours.
    pub(crate) fn from_code(code: i32) -> Option<Exit> {
        [Exit::Damage, Exit::Usage, Exit::Data, Exit::Unavailable, Exit::Internal]
            .into_iter()
            .find(|exit| *exit as i32 == code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Says on standard error why the command ends, in one line, and gives the exit code.
pub(crate) fn failed(exit: Exit, why: &dyn Display) -> ExitCode {
    crate::output::note(&format!("bankctl: {why}"));
    exit.into()
}

/// What clap has to say: help and version are answers, everything else is a wrong setting.
pub(crate) fn wrong_usage(error: &clap::Error) -> ExitCode {
    // A closed terminal is no reason to fail twice.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS }
}
