//! The replay: one stream of episodes per environment, bounded in bytes, and what a checkpoint keeps of it.

use std::collections::VecDeque;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::episode::{Episode, Layout, Row};
use super::npz;
use super::store::{Entry, Store};
use crate::base::{Error, Result};

/// What a finished episode was.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Its number, counted over all environments in the order in which episodes finished, from 0.
    pub number: u64,
    /// The environment that it was collected in.
    pub env: usize,
    /// Number of rows: steps plus one.
    pub rows: usize,
    /// The sum of its rewards.
    pub total_reward: f64,
    /// Whether the world ended (and not the clock).
    pub is_terminated: bool,
}

/// What a checkpoint stores of a replay, beside the rows of unfinished episodes ([`Replay::open_rows`]).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// The number that the next finished episode gets.
    pub next_number: u64,
    /// Steps of all finished episodes ever, evicted ones included.
    pub finished_steps: u64,
    /// The episodes in memory, oldest first.
    pub episodes: Vec<Entry>,
}

/// A finished episode in memory.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) env: usize,
    /// Rows that its environment's stream held before it.
    pub(super) stream_start: u64,
    pub(super) episode: Episode,
    /// Its rewards add up to more than 0.
    pub(super) won: bool,
    entry: Option<Entry>,
}

/// The part of an environment's stream that is in memory.
#[derive(Debug)]
pub(super) struct Stream {
    /// Numbers of its finished episodes, in the order in which they were collected.
    pub(super) finished: VecDeque<u64>,
    /// The episode that is being collected; without rows between two episodes.
    pub(super) open: Episode,
    /// Rows of all its finished episodes ever: where the open episode starts.
    pub(super) end: u64,
}

/// Episodes in memory, one stream per environment, and on disk.
///
/// Nothing here depends on the number of threads: rows are added in the order in which the caller adds them, and what is sampled
/// is a function of the contents, the seed and the number of the update.
#[derive(Debug)]
pub struct Replay {
    pub(super) layout: Layout,
    pub(super) seed: u64,
    /// The finished episodes, oldest first; their numbers have no gap.
    pub(super) records: VecDeque<Record>,
    pub(super) streams: Vec<Stream>,
    store: Option<Store>,
    capacity_bytes: usize,
    finished_bytes: usize,
    next_number: u64,
    finished_steps: u64,
}

impl Replay {
    /// An empty replay for `envs` environments that keeps at most `capacity_bytes` of finished episodes in memory, and no files.
    pub fn in_memory(layout: Layout, envs: usize, capacity_bytes: usize, seed: u64) -> Self {
        let stream = || Stream { finished: VecDeque::new(), open: Episode::new(&layout), end: 0 };
        let streams = (0..envs).map(|_| stream()).collect();
        Replay {
            seed,
            records: VecDeque::new(),
            streams,
            store: None,
            capacity_bytes,
            finished_bytes: 0,
            next_number: 0,
            finished_steps: 0,
            layout,
        }
    }

    /// The replay as it was when `manifest` and `open_rows` were made (for a new run: their defaults), with its episode files in
    /// `directory`. Files there that the manifest does not know were collected after the checkpoint: they move to `aside/`, are
    /// never trained on and never deleted. Returns the replay and how many files moved. On an error nothing has moved.
    pub fn restore(
        layout: Layout,
        envs: usize,
        capacity_bytes: usize,
        seed: u64,
        directory: &Path,
        manifest: &Manifest,
        open_rows: &[u8],
    ) -> Result<(Self, usize)> {
        let mut replay = Replay::read(layout, envs, capacity_bytes, seed, directory, manifest, open_rows)?;
        let mut store = Store::open(directory, seed)?;
        let moved = store.set_aside(&manifest.episodes, manifest.next_number - manifest.episodes.len() as u64)?;
        replay.store = Some(store);
        Ok((replay, moved))
    }

    /// The same contents without the right to write: nothing moves, and episodes added later are kept in memory only.
    pub fn read(
        layout: Layout,
        envs: usize,
        capacity_bytes: usize,
        seed: u64,
        directory: &Path,
        manifest: &Manifest,
        open_rows: &[u8],
    ) -> Result<Self> {
        let mut replay = Replay::in_memory(layout, envs, capacity_bytes, seed);
        let store = Store::open(directory, seed)?;
        let wrong = |what: String| Error::new(format!("the checkpoint's list of episodes is wrong: {what}"));
        let first = manifest.next_number.checked_sub(manifest.episodes.len() as u64);
        let first = first.ok_or_else(|| wrong("it names more episodes than were collected".into()))?;
        replay.finished_steps = manifest.finished_steps;
        replay.next_number = first;
        for entry in &manifest.episodes {
            if entry.number != replay.next_number || entry.env >= envs {
                let (number, env) = (entry.number, entry.env);
                let expected = replay.next_number;
                return Err(wrong(format!("episode {number} of environment {env} of {envs}, expected {expected}")));
            }
            let episode = store.read(entry, &replay.layout)?;
            replay.keep(entry.env, episode, Some(entry.clone()));
        }
        replay.restore_open(open_rows)?;
        replay.evict();
        Ok(replay)
    }

    /// Adds a row to the stream of environment `env`. The row that is last finishes the episode: it is written to disk, and the
    /// oldest episodes leave memory if the bound is passed. A row that an environment should not have given is an `Error` that
    /// names the environment, and is not stored (see [`Episode::push`]). If the file cannot be written, the episode stays unfinished
    /// with all its rows, and [`Replay::truncate`] tries again.
    pub fn add(&mut self, env: usize, row: &Row) -> Result<Option<Finished>> {
        self.streams[env].open.push(row).map_err(|cause| cause.context(format!("environment {env}")))?;
        if row.is_last { self.finish(env) } else { Ok(None) }
    }

    /// Ends the open episode of environment `env` as truncated where it stands, for an environment that died. `None` if it has
    /// no rows.
    pub fn truncate(&mut self, env: usize) -> Result<Option<Finished>> {
        if self.streams[env].open.rows() == 0 { Ok(None) } else { self.finish(env) }
    }

    fn finish(&mut self, env: usize) -> Result<Option<Finished>> {
        let (number, open) = (self.next_number, &self.streams[env].open);
        let entry = self.store.as_mut().map(|store| store.write(number, env, open, &self.layout)).transpose()?;
        let mut episode = std::mem::replace(&mut self.streams[env].open, Episode::new(&self.layout));
        episode.shrink();
        let rows = episode.rows();
        self.finished_steps += rows as u64 - 1;
        let (total_reward, is_terminated) = (episode.total_reward(), episode.is_terminated());
        self.keep(env, episode, entry);
        self.evict();
        Ok(Some(Finished { number, env, rows, total_reward, is_terminated }))
    }

    fn keep(&mut self, env: usize, episode: Episode, entry: Option<Entry>) {
        let stream = &mut self.streams[env];
        let (number, stream_start) = (self.next_number, stream.end);
        stream.finished.push_back(number);
        stream.end += episode.rows() as u64;
        self.next_number += 1;
        self.finished_bytes += episode.memory_bytes();
        let won = episode.total_reward() > 0.0;
        self.records.push_back(Record { number, env, stream_start, episode, won, entry });
    }

    /// Drops whole episodes, oldest first, until the bound holds. The newest always stays, so that there is something to sample.
    fn evict(&mut self) {
        while self.finished_bytes > self.capacity_bytes && self.records.len() > 1 {
            let oldest = self.records.pop_front().expect("more than one");
            self.finished_bytes -= oldest.episode.memory_bytes();
            let front = self.streams[oldest.env].finished.pop_front();
            assert_eq!(front, Some(oldest.number), "streams and records list the same episodes in the same order");
        }
    }

    /// The finished episodes in memory, for a checkpoint. Their files are durable when this returns.
    pub fn manifest(&mut self) -> Result<Manifest> {
        let store = self.store.as_mut().ok_or_else(|| {
            Error::new("this replay keeps no files, so it has no manifest; make it with a directory of episodes")
        })?;
        store.sync()?;
        let episodes = self.records.iter().map(|record| record.entry.clone().expect("written when it finished"));
        let (next_number, finished_steps) = (self.next_number, self.finished_steps);
        Ok(Manifest { next_number, finished_steps, episodes: episodes.collect() })
    }

    /// The rows of all unfinished episodes, for a checkpoint: for each environment the length of an archive (u64, little-endian,
    /// 0 for none) and the archive.
    pub fn open_rows(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for stream in &self.streams {
            let archive = if stream.open.rows() == 0 { Vec::new() } else { npz::write(&stream.open, &self.layout) };
            bytes.extend((archive.len() as u64).to_le_bytes());
            bytes.extend(archive);
        }
        bytes
    }

    fn restore_open(&mut self, mut bytes: &[u8]) -> Result<()> {
        let wrong = |what: String| Error::new(format!("the checkpoint's unfinished episodes are wrong: {what}"));
        if bytes.is_empty() {
            return Ok(());
        }
        for (env, stream) in self.streams.iter_mut().enumerate() {
            let (length, rest) = bytes
                .split_first_chunk::<8>()
                .ok_or_else(|| wrong(format!("they end before environment {env}; were there fewer environments?")))?;
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
            let (archive, rest) =
                rest.split_at_checked(length).ok_or_else(|| wrong(format!("they end within environment {env}")))?;
            bytes = rest;
            if !archive.is_empty() {
                // What is compressed to n bytes has at most 1032 n (deflate's bound), and a row takes a byte at least.
                let max_rows = archive.len().saturating_mul(1032) / self.layout.row_bytes() + 1;
                stream.open = npz::read(archive, &self.layout, max_rows).map_err(|cause| wrong(cause.to_string()))?;
            }
        }
        if bytes.is_empty() { Ok(()) } else { Err(wrong("there are more environments than now".into())) }
    }

    /// What a row looks like.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of environments.
    pub fn envs(&self) -> usize {
        self.streams.len()
    }

    /// Finished episodes in memory, oldest first, with the number and the environment of each.
    pub fn episodes(&self) -> impl Iterator<Item = (u64, usize, &Episode)> {
        self.records.iter().map(|record| (record.number, record.env, &record.episode))
    }

    /// The episode that environment `env` is collecting; it has no rows between two episodes.
    pub fn open_episode(&self, env: usize) -> &Episode {
        &self.streams[env].open
    }

    /// Finished episodes ever, evicted ones included.
    pub fn finished_episodes(&self) -> u64 {
        self.next_number
    }

    /// Environment steps ever: those of finished episodes, evicted ones included, and of unfinished ones.
    pub fn steps(&self) -> u64 {
        let open = |stream: &Stream| (stream.open.rows() as u64).saturating_sub(1);
        self.finished_steps + self.streams.iter().map(open).sum::<u64>()
    }

    /// Rows in memory, those of unfinished episodes included.
    pub fn rows(&self) -> usize {
        let finished: usize = self.records.iter().map(|record| record.episode.rows()).sum();
        finished + self.streams.iter().map(|stream| stream.open.rows()).sum::<usize>()
    }

    /// Bytes of memory that the finished episodes take: what the bound is about.
    pub fn memory_bytes(&self) -> usize {
        self.finished_bytes
    }

    /// The record of a finished episode in memory.
    pub(super) fn record(&self, number: u64) -> &Record {
        let oldest = self.records.front().expect("an address of a finished episode").number;
        &self.records[(number - oldest) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::files::{self, fault};
    use crate::replay::{ActionKind, Obs, ObsKind};

    /// Each call to the operating system fails in turn while an episode finishes and a manifest is made.
    #[test]
    fn a_full_disk_loses_no_row_and_no_older_episode() {
        let directory = std::env::temp_dir().join(format!("dreamer-fast-full-disk-{}", std::process::id()));
        files::remove(&directory).unwrap();
        let (observation, action) = (ObsKind::Bytes, ActionKind::Discrete(2));
        let layout = Layout { key: "symbolic".into(), shape: vec![1], observation, action };
        let restore = |manifest: &Manifest| Replay::restore(layout.clone(), 1, 1 << 20, 3, &directory, manifest, &[]);
        let (mut replay, _) = restore(&Manifest::default()).unwrap();
        let mut before = replay.manifest().unwrap();
        let row = |t: u8, is_last| Row {
            observation: Obs::Bytes(if t == 0 { &[0] } else { &[1] }),
            action: if t == 0 { &[0.0, 0.0] } else { &[0.0, 1.0] },
            reward: f32::from(t),
            discount: if is_last { 0.0 } else { 1.0 },
            is_first: t == 0,
            is_last,
        };
        for n in 0.. {
            replay.add(0, &row(0, false)).unwrap();
            let (result, struck) = fault::at(n, fault::Kind::Once, || {
                replay.add(0, &row(1, true))?;
                replay.manifest()
            });
            if !struck {
                assert!(n > 4 && result.is_ok(), "{n} calls");
                break;
            }
            assert!(result.unwrap_err().to_string().contains("Free some space"));
            // What the previous checkpoint names is intact, and with space again the run goes on as if nothing had been.
            let files_before = files::list(&directory).unwrap();
            for entry in &before.episodes {
                Store::open(&directory, 3).unwrap().read(entry, &layout).unwrap();
                assert!(files_before.contains(&entry.file));
            }
            replay.truncate(0).unwrap();
            before = replay.manifest().unwrap();
            assert_eq!((before.episodes.len() as u64, before.next_number), (n + 1, n + 1));
            assert!(replay.record(n).episode.is_terminated() && replay.record(n).episode.rows() == 2);
        }
        let (restored, moved) = restore(&replay.manifest().unwrap()).unwrap();
        assert_eq!((moved, restored.episodes().count()), (0, replay.episodes().count()));
        files::remove(&directory).unwrap();
    }
}
