//! `dreamer-fast gradcheck`.

use std::process::ExitCode;

use super::args::GradcheckArgs;
use crate::base::{Error, Result};

/// Runs the command.
pub fn command(_args: &GradcheckArgs) -> Result<ExitCode> {
    Err(Error::new("`gradcheck` is not built yet"))
}
