//! The log of one run: `metrics.jsonl` and one TensorBoard file in the logdir, written together.
//!
//! A resumed run's log equals the unbroken run's, except for values that depend on the clock (`metrics::TIME_DEPENDENT` and
//! TensorBoard's wall times). For that a checkpoint keeps a [`JournalState`]: the lengths of both files, and the sums of the
//! means that were under way. What was logged after the checkpoint is cut off on resume, since the resumed run logs it again.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::Result;
use crate::report::canvas::Canvas;
use crate::report::metrics::{Means, MetricsFile};
use crate::report::picture;
use crate::report::tensorboard::{EventFile, Stamp};

/// The name of the metrics file in a logdir.
pub const METRICS_NAME: &str = "metrics.jsonl";

/// The name of the event file in a logdir. TensorBoard expects `events.out.tfevents.{time}.{host}` and sorts by it. A logdir
/// is one run with one file, so both are constants: a resumed run finds the file, and a restarted one leaves no second curve.
pub const EVENTS_NAME: &str = "events.out.tfevents.0000000000.dreamer-fast";

/// What a checkpoint keeps of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalState {
    /// Bytes of `metrics.jsonl`.
    pub metrics_bytes: u64,
    /// Bytes of the event file.
    pub events_bytes: u64,
    /// The means under way.
    pub means: Means,
}

/// The log of one run.
#[derive(Debug)]
pub struct Journal {
    metrics: MetricsFile,
    events: EventFile,
    means: Means,
}

impl Journal {
    /// Opens the log of `logdir` as it stood at `state`. A fresh run passes the default state, which
    /// empties what an earlier run left there.
    pub fn open(logdir: &Path, state: &JournalState) -> Result<Self> {
        Ok(Journal {
            metrics: MetricsFile::open_at(&logdir.join(METRICS_NAME), state.metrics_bytes)?,
            events: EventFile::open_at(&logdir.join(EVENTS_NAME), state.events_bytes)?,
            means: state.means.clone(),
        })
    }

    /// Counts one value of one update into the means, under its name in `metrics.jsonl`.
    pub fn add(&mut self, name: &str, value: f64) {
        self.means.add(name, value);
    }

    /// The mean of a name since the last line, for the progress display.
    pub fn mean(&self, name: &str) -> Option<f64> {
        self.means.mean(name)
    }

    /// Writes the means since the last call, then `more` (`fps`, say), as one line at `step`; in TensorBoard under `agent/`.
    /// Returns what was written.
    pub fn write_means(&mut self, step: u64, more: &[(&str, f64)]) -> Result<Vec<(String, f64)>> {
        let mut scalars = self.means.take();
        scalars.extend(more.iter().map(|(name, value)| (name.to_string(), *value)));
        self.write(step, "agent", &scalars)?;
        Ok(scalars)
    }

    /// Writes one line at `step`. In TensorBoard each name stands under `group/`: `agent` for updates, `sim` for episodes.
    pub fn write<N: AsRef<str>>(&mut self, step: u64, group: &str, scalars: &[(N, f64)]) -> Result<()> {
        self.metrics.write(step, scalars)?;
        let at = Stamp::now(step);
        for (name, value) in scalars {
            self.events.scalar(at, &format!("{group}/{}", name.as_ref()), *value)?;
        }
        Ok(())
    }

    /// Shows an animation in TensorBoard under `tag` (`agent/openl`, `sim/test/video`); see [`picture::gif()`].
    pub fn video(&mut self, step: u64, tag: &str, frames: &[Canvas], frames_per_second: f64) -> Result<()> {
        let gif = picture::gif(frames, frames_per_second)?;
        self.events.image(Stamp::now(step), tag, frames[0].width(), frames[0].height(), &gif)
    }

    /// Shows a text in TensorBoard (the configuration, say), as Markdown.
    pub fn text(&mut self, step: u64, tag: &str, markdown: &str) -> Result<()> {
        self.events.text(Stamp::now(step), tag, markdown)
    }

    /// Makes the log survive a power cut and returns what a checkpoint needs to go on from here.
    pub fn checkpoint(&mut self) -> Result<JournalState> {
        Ok(JournalState {
            metrics_bytes: self.metrics.durable_length()?,
            events_bytes: self.events.durable_length()?,
            means: self.means.clone(),
        })
    }
}
