//! What is kept of a finished cell: a small JSON file, with all that the report needs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::Cell;
use crate::base::{Error, Result, files};
use crate::report::journal::METRICS_NAME;

/// No record and no log of metrics is longer, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// Means over the episodes of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Share of episodes that reached the goal; absent where the task has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub success: Option<f64>,
    /// Sum of rewards.
    #[serde(rename = "return")]
    pub total: f64,
    /// Steps.
    pub length: f64,
}

/// The greedy policy on layouts that training never saw, where the other scores of a cell are over all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Unseen {
    /// Different layouts among the episodes.
    pub layouts: usize,
    /// The most probable action.
    pub greedy: Score,
    /// Mean steps of the shortest way, see [`Record::shortest_path`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shortest_path: Option<f64>,
    /// Mean steps beyond it, see [`Record::excess_path`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub excess_path: Option<f64>,
}

/// One evaluation during training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Environment steps.
    pub step: u64,
    /// What the greedy policy scored.
    #[serde(flatten)]
    pub score: Score,
}

/// A finished cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The cell's name.
    pub cell: String,
    /// The command that trains it.
    pub command: String,
    /// [`Cell::checksum`].
    pub checksum: String,
    /// Environment steps of training.
    pub steps: u64,
    /// Seconds that training took, evaluations during it included.
    pub train_seconds: f64,
    /// Episodes of each evaluation below; all play the same layouts.
    pub episodes: usize,
    /// Different layouts among them; 0 where the world has none.
    pub layouts: usize,
    /// Whether training never saw any of them.
    pub unseen: bool,
    /// The most probable action.
    pub greedy: Score,
    /// Sampled actions.
    pub sampled: Score,
    /// Every action as likely as any other.
    pub random: Score,
    /// Mean steps of the shortest way, where there is an expert and it found one in every episode.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shortest_path: Option<f64>,
    /// Mean steps beyond the shortest way, over the episodes that the greedy policy solved.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub excess_path: Option<f64>,
    /// The same on unseen layouts alone, where the scores above are over all (`eval_layouts`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub on_unseen: Option<Unseen>,
    /// Evaluations during training.
    pub curve: Vec<Point>,
}

/// Where things stand in the folder of a study.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// The result of a cell.
    pub fn record(&self, cell: &str) -> PathBuf {
        self.0.join("cells").join(format!("{cell}.json"))
    }

    /// The run of a cell.
    pub fn run(&self, cell: &str) -> PathBuf {
        self.0.join("runs").join(cell)
    }

    /// What a cell imagines.
    pub fn picture(&self, cell: &str) -> PathBuf {
        self.0.join("pictures").join(format!("{cell}.png"))
    }

    /// The report.
    pub fn report(&self) -> PathBuf {
        self.0.join("report.html")
    }
}

impl Record {
    /// The record of a cell, if it is finished: made by the same settings, judged by as many episodes.
    ///
    /// # Errors
    /// There is a file, but it is no record.
    pub fn load(folder: &Folder, cell: &Cell, episodes: usize) -> Result<Option<Record>> {
        let path = folder.record(&cell.name);
        if !files::exists(&path) {
            return Ok(None);
        }
        let record: Record = serde_json::from_slice(&files::read(&path, MAX_BYTES)?).map_err(|cause| {
            Error::file("read", &path, format!("{cause}. Remove the file, and the cell is measured again."))
        })?;
        Ok(Some(record).filter(|r| r.checksum == cell.checksum && r.episodes == episodes))
    }

    /// Writes the record.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, folder: &Folder) -> Result<()> {
        let path = folder.record(&self.cell);
        files::create_directory(path.parent().expect("a record lies in a folder"))?;
        let text = serde_json::to_string_pretty(self).expect("a record is JSON");
        files::write_atomic(&path, format!("{text}\n").as_bytes())
    }
}

/// What `metrics.jsonl` says: the evaluations during training, and the seconds that it took.
///
/// # Errors
/// The file cannot be read, or a line of it is no JSON.
pub fn training(logdir: &Path) -> Result<(Vec<Point>, f64)> {
    let path = logdir.join(METRICS_NAME);
    let bytes = files::read(&path, MAX_BYTES)?;
    let (mut curve, mut seconds, mut timed) = (Vec::new(), 0.0, 0);
    for (number, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
        let line: Value = serde_json::from_str(line)
            .map_err(|cause| Error::file("read", &path, format!("line {} is no JSON: {cause}", number + 1)))?;
        let step = line["step"].as_u64().unwrap_or(0);
        if let (Some(total), Some(length)) = (line["test/return"].as_f64(), line["test/length"].as_f64()) {
            curve.push(Point { step, score: Score { success: line["test/success"].as_f64(), total, length } });
        }
        // Steps per second since the last such line; a run that was interrupted counts what it kept.
        if let Some(speed) = line["fps"].as_f64().filter(|&speed| speed > 0.0) {
            seconds += step.saturating_sub(timed) as f64 / speed;
            timed = step;
        }
    }
    Ok((curve, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let score = Score { success: Some(0.98), total: 0.1 + 0.2, length: 12.5 };
        let record = Record {
            cell: "a-b-seed0".into(),
            command: "dreamer-fast train".into(),
            checksum: "0123abcd".into(),
            steps: 600,
            train_seconds: 1.5,
            episodes: 8,
            layouts: 7,
            unseen: true,
            greedy: score,
            sampled: score,
            random: Score { success: None, ..score },
            shortest_path: Some(9.0),
            excess_path: None,
            on_unseen: Some(Unseen { layouts: 2, greedy: score, shortest_path: Some(8.0), excess_path: Some(0.5) }),
            curve: vec![Point { step: 200, score }],
        };
        let text = serde_json::to_string_pretty(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        assert!(text.contains("\"return\": 0.30000000000000004") && text.matches("excess_path").count() == 1);
    }

    #[test]
    fn the_log_of_a_run_gives_its_curve_and_its_time() {
        let logdir = std::env::temp_dir().join(format!("dreamer-fast-record-{}", std::process::id()));
        files::create_directory(&logdir).unwrap();
        let lines = "{\"step\":100,\"model_loss\":null,\"fps\":50.0}\n\
                     {\"step\":150,\"test/return\":0.5,\"test/length\":20.0,\"test/success\":0.75}\n\
                     {\"step\":200,\"fps\":25.0}\n";
        files::write_atomic(&logdir.join(METRICS_NAME), lines.as_bytes()).unwrap();
        let (curve, seconds) = training(&logdir).unwrap();
        let score = Score { success: Some(0.75), total: 0.5, length: 20.0 };
        assert_eq!((curve, seconds), (vec![Point { step: 150, score }], 100.0 / 50.0 + 100.0 / 25.0));
        files::write_atomic(&logdir.join(METRICS_NAME), b"{\"step\":1}\n{\n").unwrap();
        assert!(training(&logdir).unwrap_err().to_string().contains("line 2 is no JSON"));
        files::remove(&logdir).unwrap();
    }
}
