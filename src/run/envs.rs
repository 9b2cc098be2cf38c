//! `dreamer-fast envs`.

use std::process::ExitCode;

use super::args::EnvsArgs;
use crate::base::{Error, Result};

/// Runs the command.
pub fn command(_args: &EnvsArgs) -> Result<ExitCode> {
    Err(Error::new("`envs` is not built yet"))
}
