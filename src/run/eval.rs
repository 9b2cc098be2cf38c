//! `dreamer-fast eval`.

use std::process::ExitCode;

use super::args::EvalArgs;
use crate::base::{Error, Result};

/// Runs the command.
pub fn command(_args: &EvalArgs) -> Result<ExitCode> {
    Err(Error::new("`eval` is not built yet"))
}
