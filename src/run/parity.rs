//! `dreamer-fast parity`.

use std::process::ExitCode;

use super::args::ParityArgs;
use crate::base::{Error, Result};

/// Runs the command.
pub fn command(_args: &ParityArgs) -> Result<ExitCode> {
    Err(Error::new("`parity` is not built yet"))
}
