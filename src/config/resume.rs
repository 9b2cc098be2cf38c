//! Whether a stored run may go on under another configuration.

use super::{Config, KEYS, Key};
use crate::base::{Error, Result};

/// A key with two values, as TOML.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The key.
    pub key: &'static Key,
    /// Its value in the stored run.
    pub stored: String,
    /// The value asked for now.
    pub asked: String,
}

/// Every key on which two configurations differ, in the order of the table.
pub fn differences(stored: &Config, asked: &Config) -> Vec<Difference> {
    let values = |key: &Key| (stored.toml_value(key.name).unwrap(), asked.toml_value(key.name).unwrap());
    let pairs = KEYS.iter().map(|key| (key, values(key))).filter(|(_, (stored, asked))| stored != asked);
    pairs.map(|(key, (stored, asked))| Difference { key, stored, asked }).collect()
}

/// Returns what changes on resume (steps, threads, how often to log), or refuses and lists each key that may not change:
/// whatever decides shapes, data or updates, for the run would then be neither the old nor a new one.
pub fn check_resume(stored: &Config, asked: &Config) -> Result<Vec<Difference>> {
    let (free, fixed): (Vec<_>, Vec<_>) =
        differences(stored, asked).into_iter().partition(|difference| difference.key.free_on_resume);
    if fixed.is_empty() {
        return Ok(free);
    }
    let lines: Vec<String> =
        fixed.iter().map(|d| format!("  {}: stored {}, asked for {}", d.key.name, d.stored, d.asked)).collect();
    Err(Error::new(format!(
        "these settings may not change when a run is resumed:\n{}\nrepeat the stored values (--config with the run's \
         config.toml does), or choose another --logdir to start a new run",
        lines.join("\n")
    )))
}
