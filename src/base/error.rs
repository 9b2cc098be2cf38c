//! The one error type of the project: what happened, to what, and what to do next; and what kind of failure it is to a command.

use std::fmt;
use std::path::Path;

/// Everything that the outside world can do to a run: a file, a flag, a key, a damaged checkpoint.
///
/// The text is one or more full sentences that name the path, key or flag and say what to do next. A programmer's
/// mistake (a wrong shape, a duplicate name) panics instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    message: String,
}

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with this text.
    pub fn new(message: impl Into<String>) -> Self {
        Error { message: message.into() }
    }

    /// An operation on a file failed: `cannot {doing} {path}: {cause}`.
    pub fn file(doing: &str, path: &Path, cause: impl fmt::Display) -> Self {
        Error::new(format!("cannot {doing} {}: {cause}", path.display()))
    }

    /// The same error with what was being done in front of it.
    pub fn context(self, doing: impl fmt::Display) -> Self {
        Error::new(format!("{doing}: {}", self.message))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Why a command did not end well, told apart because the exit codes differ.
#[derive(Debug)]
pub enum Failure {
    /// The command line or a settings file asks for something impossible; nothing was started. Exit code 2, as clap's.
    Usage(Error),
    /// Something failed while running. Exit code 1, as that of a check that found a difference.
    Run(Error),
}

/// An error is one of running, unless it is said to be one of usage.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Run(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(error) | Failure::Run(error) => error.fmt(f),
        }
    }
}
