//! `dreamer-fast train`.

use std::process::ExitCode;

use super::args::TrainArgs;
use crate::base::{Error, Result};
use crate::config::Resolved;

/// Runs the command.
pub fn command(_args: &TrainArgs, _settings: &Resolved) -> Result<ExitCode> {
    Err(Error::new("`train` is not built yet"))
}
