//! How a command ends: exit codes, and what is said on standard error.

use std::process::ExitCode;

use crate::output;

/// The process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All was done.
    Done,
    /// Something was not done.
    Failed,
    /// The command line makes no sense (clap's own errors end with the same code).
    Usage,
    /// The server does not answer.
    Unreachable,
    /// The server refused the credential.
    Refused,
    /// A configuration cannot be used.
    Configuration,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The number; those over 64 are the ones of `sysexits.h`, 130 the shells' for an interrupt.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 69,
            Self::Refused => 77,
            Self::Configuration => 78,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command ended early, or not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What went wrong; empty where the command has said it already.
    pub(crate) message: String,
    /// What the user can do about it.
    pub(crate) advice: Option<String>,
}

impl Failure {
    /// A failure with `exit` and `message`.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), advice: None }
    }

    /// Something was not done.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The command has said what there is to say; only the exit code remains.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted")
    }

    /// The same failure with what to do about it.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Says it on standard error and returns the exit code.
    pub(crate) fn report(&self) -> Exit {
        if !self.message.is_empty() {
            output::note(&format!("error: {}", self.message));
        }
        if let Some(advice) = &self.advice {
            output::note(&format!("  {advice}"));
        }
        self.exit
    }
}

impl From<ragstone_core::Error> for Failure {
    fn from(error: ragstone_core::Error) -> Self {
        Self::failed(error.chain())
    }
}
