//! `dreamer-fast explain`.

use std::process::ExitCode;

use super::args::ExplainArgs;
use crate::base::{Error, Result};
use crate::config::Resolved;

/// Runs the command.
pub fn command(_args: &ExplainArgs, _settings: &Resolved) -> Result<ExitCode> {
    Err(Error::new("`explain` is not built yet"))
}
