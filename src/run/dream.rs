//! `dreamer-fast dream`.

use std::process::ExitCode;

use super::args::DreamArgs;
use crate::base::{Error, Result};

/// Runs the command.
pub fn command(_args: &DreamArgs) -> Result<ExitCode> {
    Err(Error::new("`dream` is not built yet"))
}
