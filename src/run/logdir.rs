//! Whether a run may write into a folder: what lies there is its own, or nothing of a run lies there.

use std::path::Path;

use super::args::CONFIG_FILE;
use super::checkpoint;
use crate::base::{Error, Result, files};
use crate::config::{Config, Resolved, check_resume};
use crate::report::journal::METRICS_NAME;

/// Where a run keeps its episodes.
pub const EPISODES: &str = "episodes";

/// Refuses a folder that holds another run, or files that a new run would change. Writes nothing.
///
/// # Errors
/// A run of settings that may not change; checkpoints, metrics or episodes without the settings that made them.
pub fn check(logdir: &Path, config: &Config) -> Result<()> {
    let begun = begun(logdir)?;
    let path = logdir.join(CONFIG_FILE);
    if files::exists(&path) {
        let stored = Resolved::load(&path)?;
        if begun.is_some() {
            check_resume(&stored.config, config)
                .map_err(|error| error.context(format_args!("{} holds a run already", logdir.display())))?;
        }
        return Ok(());
    }
    let metrics = files::exists(&logdir.join(METRICS_NAME)).then_some(METRICS_NAME);
    match begun.or(metrics) {
        Some(found) => Err(Error::new(format!(
            "{} holds {found} but no {CONFIG_FILE}, so it is not known which settings made them: put the run's {CONFIG_FILE} back, \
             or choose another --logdir",
            logdir.display()
        ))),
        None => Ok(()),
    }
}

/// What a run could go on from, or would have to move away: checkpoints or episodes. Settings alone are neither.
fn begun(logdir: &Path) -> Result<Option<&'static str>> {
    if !checkpoint::generations(logdir)?.is_empty() {
        return Ok(Some("checkpoints"));
    }
    let episodes = files::list(&logdir.join(EPISODES))?;
    Ok(episodes.iter().any(|name| name.ends_with(".npz")).then_some(EPISODES))
}
