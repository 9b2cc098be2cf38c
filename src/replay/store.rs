//! The directory of episode files: one archive per finished episode, named as danijar/dreamer names them.
//!
//! `{YYYYmmddTHHMMSS}-{uuid4}-{rows}.npz`: the time of writing (UTC), 32 hexadecimal digits drawn from the run's seed and the
//! episode's number, and the number of rows (steps plus one). The digits tell which episode of a run a file is, so that a resume
//! knows the files of evicted episodes from those that were collected after the checkpoint.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::episode::{Episode, Layout};
use super::npz;
use crate::base::{Error, Result, files, philox, philox::stream};

/// Where files go that were collected after the checkpoint from which a run goes on.
const ASIDE: &str = "aside";

/// One finished episode and its file, as a checkpoint names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The episode's number, counted over all environments in the order in which episodes finished.
    pub number: u64,
    /// The environment that it was collected in.
    pub env: usize,
    /// Name of its file.
    pub file: String,
    /// Number of rows.
    pub rows: usize,
    /// CRC-32 of the file.
    pub crc32: u32,
}

/// A directory of episode files.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    seed: u64,
    /// Files that were written since the last [`Store::sync`].
    unsynced: Vec<String>,
}

impl Store {
    /// Opens a directory of episodes, creating it if need be.
    pub fn open(directory: &Path, seed: u64) -> Result<Self> {
        files::create_directory(directory)?;
        Ok(Store { directory: directory.to_path_buf(), seed, unsynced: Vec::new() })
    }

    /// Writes a finished episode. Its file is never seen half written, and survives a power cut after [`Store::sync`].
    pub fn write(&mut self, number: u64, env: usize, episode: &Episode, layout: &Layout) -> Result<Entry> {
        let rows = episode.rows();
        let file = format!("{}-{}-{rows}.npz", timestamp(SystemTime::now()), uuid(self.seed, number));
        let bytes = npz::write(episode, layout);
        files::write_lazily(&self.directory.join(&file), &bytes)?;
        self.unsynced.push(file.clone());
        Ok(Entry { number, env, file, rows, crc32: files::crc32(&bytes) })
    }

    /// Makes all files written so far durable. A checkpoint that names them may be written after this.
    pub fn sync(&mut self) -> Result<()> {
        for file in &self.unsynced {
            files::sync(&self.directory.join(file))?;
        }
        if !self.unsynced.is_empty() {
            files::sync_directory(&self.directory)?;
        }
        self.unsynced.clear();
        Ok(())
    }

    /// Reads an episode that a checkpoint names. Any damage to its file is an error that names it.
    pub fn read(&self, entry: &Entry, layout: &Layout) -> Result<Episode> {
        let path = self.directory.join(&entry.file);
        let damaged = |cause: String| {
            Error::file(
                "use the episode",
                &path,
                format!("{cause}. Put an intact copy of this file there, or start anew."),
            )
        };
        if Path::new(&entry.file).components().count() != 1 {
            return Err(damaged("its name leads out of the directory of episodes".into()));
        }
        // Deflate never makes a row longer than twice its size, and the archive's own overhead is small.
        let limit = entry.rows.saturating_mul(8 * (layout.observation_size() + layout.action.size() + 4));
        let bytes = files::read(&path, limit.saturating_add(1 << 16) as u64)?;
        if files::crc32(&bytes) != entry.crc32 {
            return Err(damaged("it is not the file that the checkpoint names: its checksum differs".into()));
        }
        let episode = npz::read(&bytes, layout, entry.rows).map_err(|cause| damaged(cause.to_string()))?;
        if episode.rows() != entry.rows {
            return Err(damaged(format!("it has {} rows, the checkpoint says {}", episode.rows(), entry.rows)));
        }
        Ok(episode)
    }

    /// Moves into `aside/` every file that is neither in `kept` nor that of an episode with a number below `first_kept` (which
    /// was evicted from memory). Returns how many were moved; unfinished files are removed.
    pub fn set_aside(&mut self, kept: &[Entry], first_kept: u64) -> Result<usize> {
        let kept: HashSet<&str> = kept.iter().map(|entry| entry.file.as_str()).collect();
        let evicted: HashSet<String> = (0..first_kept).map(|number| uuid(self.seed, number)).collect();
        let is_evicted = |name: &str| name.split('-').nth(1).is_some_and(|digits| evicted.contains(digits));
        let aside = self.directory.join(ASIDE);
        let mut moved = 0;
        for name in files::list(&self.directory)? {
            let path = self.directory.join(&name);
            if name.ends_with(files::PARTIAL) {
                files::remove(&path)?;
            } else if name.ends_with(".npz") && !kept.contains(name.as_str()) && !is_evicted(&name) {
                files::create_directory(&aside)?;
                // A run that is killed twice within a second may have written the same name before.
                let names = std::iter::once(name.clone()).chain((1..).map(|n| format!("{n}-{name}")));
                let free =
                    names.map(|name| aside.join(name)).find(|path| !files::exists(path)).expect("an endless list");
                files::rename(&path, &free)?;
                moved += 1;
            }
        }
        Ok(moved)
    }
}

/// The 32 hexadecimal digits of an episode's name, in the form of a random UUID (RFC 9562, version 4).
fn uuid(seed: u64, number: u64) -> String {
    let [a, b, c, d] = philox::block(seed, stream::EPISODE_NAME, number, 0);
    let (b, c) = (b & 0xffff_0fff | 0x4000, c & 0x3fff_ffff | 0x8000_0000);
    format!("{a:08x}{b:08x}{c:08x}{d:08x}")
}

/// `YYYYmmddTHHMMSS` in UTC.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{:02}T{hour:02}{minute:02}{second:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn names_tell_the_time_and_the_episode() {
        let at = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "19700101T000000");
        // `date -u -d @N +%Y%m%dT%H%M%S`
        assert_eq!(at(951_782_400), "20000229T000000");
        assert_eq!(at(1_709_251_199), "20240229T235959");
        assert_eq!(at(1_767_225_599), "20251231T235959");
        let names: HashSet<String> = (0..1000).map(|number| uuid(3, number)).collect();
        assert_eq!(names.len(), 1000);
        assert!(names.iter().all(|name| name.len() == 32 && &name[12..13] == "4"));
        assert!(names.iter().all(|name| "89ab".contains(&name[16..17])));
    }
}
