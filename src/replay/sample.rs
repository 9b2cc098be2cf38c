//! Which rows a batch holds: drawing chunks, and copying them into the batch.
//!
//! A draw is a pure function of the replay's contents, the seed and the number of the update, so a resumed run draws what an
//! unbroken one draws, and the number of threads does not matter.
//!
//! **Within** an episode ([`Windows::Within`]): an episode is drawn, then a window of T rows in it, its start uniform over
//! `0..=rows - T`, so that the last row is drawn like the others (danijar/dreamer's `randint(0, rows - T)` never draws it). An episode
//! with fewer than T rows gives all of them, and the chunk goes on with a window of the remaining length that is drawn by the same
//! rule; a join has `is_first = 1`. So every chunk has exactly T rows and no episode is left out for being short. Unfinished
//! episodes are not drawn, unless `unfinished` says so.
//!
//! **Across** episodes ([`Windows::Across`]): a window of T rows of one environment's stream, uniform over all windows of all
//! streams; episodes follow one another in the order in which they were collected, the rows so far of the unfinished one last.
//! A stream with fewer than T rows waits until it has grown.
//!
//! The first row of every chunk has `is_first = 1`, because the state there is zero.

use super::episode::{Episode, ObsMut};
use super::memory::Replay;
use crate::base::{Error, Philox, Result, philox::stream};

/// Where the window of a chunk may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windows {
    /// In one episode; short episodes are joined.
    Within,
    /// Anywhere in the stream of one environment.
    Across,
}

/// With what weight [`Windows::Within`] draws an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weighting {
    /// Every episode alike, as danijar/dreamer does.
    Episodes,
    /// In proportion to its number of rows.
    Rows,
}

/// How chunks are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Where the window of a chunk may lie.
    pub windows: Windows,
    /// Which episodes [`Windows::Within`] prefers.
    pub weighting: Weighting,
    /// Whether [`Windows::Within`] also draws unfinished episodes. [`Windows::Across`] always does.
    pub unfinished: bool,
    /// The fraction of chunks, rounded to a whole number per batch, that must hold a row with a positive reward if there is any:
    /// the row is uniform over all such rows, the window over all windows that hold it.
    pub reward_fraction: f64,
}

/// The episode that a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The finished episode of this number.
    Finished(u64),
    /// The unfinished episode of this environment.
    Open(usize),
}

/// Where a row of a batch comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The episode.
    pub source: Source,
    /// The row of that episode.
    pub row: usize,
    /// Whether the state is reset before this row: a chunk's first row, a join, or a true reset.
    pub is_first: bool,
}

/// Buffers that a batch is copied into, all time-major: entry `[t, b]` stands at place `t * B + b`.
#[derive(Debug)]
pub struct BatchMut<'a> {
    /// o_t, `[T, B, ...]`.
    pub observation: ObsMut<'a>,
    /// a_{t-1}, `[T, B, A]`, as stored: the model masks it where `is_first` is 1.
    pub action: &'a mut [f32],
    /// r_t, `[T, B]`.
    pub reward: &'a mut [f32],
    /// discount_t, `[T, B]`.
    pub discount: &'a mut [f32],
    /// is_first_t, `[T, B]`, 0 or 1.
    pub is_first: &'a mut [f32],
}

/// What share of a batch's rows is what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchStats {
    /// Rows with a positive reward.
    pub positive_reward: f64,
    /// Rows at which the world ended.
    pub terminal: f64,
    /// Rows before which the state is reset.
    pub first: f64,
}

/// `length` rows of one episode or stream, beginning at `start`.
#[derive(Clone, Copy)]
struct Window {
    source: Source,
    start: usize,
    length: usize,
}

impl Replay {
    /// Draws `b` chunks of `t` rows for update number `update`: where each of the `t * b` rows comes from, time-major. An error
    /// says that too little has been collected yet.
    pub fn draw(&self, how: &Sampling, t: usize, b: usize, update: u64) -> Result<Vec<Address>> {
        assert!(t > 0 && b > 0, "a batch of {b} chunks of {t} rows");
        assert!((0.0..=1.0).contains(&how.reward_fraction), "reward_fraction is {}", how.reward_fraction);
        let mut rng = Philox::new(self.seed, stream::REPLAY, update);
        let rewarded = (how.reward_fraction * b as f64).round() as usize;
        let chunks = match how.windows {
            Windows::Within => self.draw_within(how, t, b, rewarded, &mut rng)?,
            Windows::Across => self.draw_across(t, b, rewarded, &mut rng)?,
        };
        Ok((0..t * b).map(|place| chunks[place % b][place / b]).collect())
    }

    /// Copies the rows of [`Replay::draw`] into a batch.
    pub fn fill(&self, rows: &[Address], batch: &mut BatchMut) -> BatchStats {
        let size = self.layout.action.size();
        assert_eq!(batch.action.len(), rows.len() * size, "the batch's actions have another size");
        assert_eq!(batch.reward.len(), rows.len(), "the batch's rewards have another size");
        let mut counts = [0usize; 3];
        for (place, address) in rows.iter().enumerate() {
            let (episode, row) = (self.episode(address.source), address.row);
            episode.copy_observation(row, &mut batch.observation, place);
            episode.copy_action(row, &mut batch.action[place * size..][..size]);
            let (reward, discount) = (episode.rewards()[row], episode.discounts()[row]);
            batch.reward[place] = reward;
            batch.discount[place] = discount;
            batch.is_first[place] = f32::from(u8::from(address.is_first));
            for (count, is) in counts.iter_mut().zip([reward > 0.0, discount == 0.0, address.is_first]) {
                *count += usize::from(is);
            }
        }
        let [positive_reward, terminal, first] = counts.map(|count| count as f64 / rows.len() as f64);
        BatchStats { positive_reward, terminal, first }
    }

    /// The episode that a row of a draw comes from.
    pub fn episode(&self, source: Source) -> &Episode {
        match source {
            Source::Finished(number) => &self.record(number).episode,
            Source::Open(env) => &self.streams[env].open,
        }
    }

    fn draw_within(
        &self,
        how: &Sampling,
        t: usize,
        b: usize,
        rewarded: usize,
        rng: &mut Philox,
    ) -> Result<Vec<Vec<Address>>> {
        let finished = self.records.iter().map(|record| Source::Finished(record.number));
        let open = (0..self.streams.len()).filter(|&env| how.unfinished && self.streams[env].open.rows() > 0);
        let sources: Vec<Source> = finished.chain(open.map(Source::Open)).collect();
        if sources.is_empty() {
            return Err(Error::new(
                "the replay holds no finished episode to train on: prefill more steps before training",
            ));
        }
        let weight = |source: &Source| match how.weighting {
            Weighting::Episodes => 1,
            Weighting::Rows => self.episode(*source).rows(),
        };
        let weights = Cumulative::new(sources.iter().map(weight));
        let rewards = Cumulative::new(sources.iter().map(|&source| match rewarded {
            0 => 0,
            _ => self.episode(source).rewarding().len(),
        }));
        let mut chunks = Vec::with_capacity(b);
        for chunk in 0..b {
            let mut windows: Vec<Window> = Vec::new();
            let mut missing = t;
            if chunk < rewarded.min(rewards.total()) {
                let (index, nth) = rewards.draw(rng);
                let (source, episode) = (sources[index], self.episode(sources[index]));
                let row = episode.rewarding()[nth] as usize;
                let length = episode.rows().min(t);
                let start = start_that_covers(row, episode.rows(), length, rng);
                windows.push(Window { source, start, length });
                missing -= length;
            }
            while missing > 0 {
                let source = sources[weights.draw(rng).0];
                let rows = self.episode(source).rows();
                let length = rows.min(missing);
                windows.push(Window { source, start: rng.below(rows - length + 1), length });
                missing -= length;
            }
            chunks.push(windows.iter().flat_map(rows_of).collect());
        }
        Ok(chunks)
    }

    fn draw_across(&self, t: usize, b: usize, rewarded: usize, rng: &mut Philox) -> Result<Vec<Vec<Address>>> {
        let lengths: Vec<usize> = (0..self.streams.len()).map(|env| self.stream_rows(env)).collect();
        let starts = Cumulative::new(lengths.iter().map(|&rows| (rows + 1).saturating_sub(t)));
        if starts.total() == 0 {
            let longest = lengths.iter().max().copied().unwrap_or(0);
            return Err(Error::new(format!(
                "no environment has collected the {t} rows of a chunk yet (the longest stream has {longest}): prefill more steps, or \
                 lower batch_length"
            )));
        }
        // Every row with a reward in a stream that is long enough: its environment and its place there.
        let mut rewards: Vec<(usize, usize)> = Vec::new();
        if rewarded > 0 {
            let finished = self.records.iter().map(|record| (record.env, record.stream_start, &record.episode));
            let open = self.streams.iter().enumerate().map(|(env, stream)| (env, stream.end, &stream.open));
            for (env, stream_start, episode) in finished.chain(open).filter(|&(env, ..)| lengths[env] >= t) {
                let begin = (stream_start - self.stream_begin(env)) as usize;
                rewards.extend(episode.rewarding().iter().map(|&row| (env, begin + row as usize)));
            }
        }
        let mut chunks = Vec::with_capacity(b);
        for chunk in 0..b {
            let (env, start) = if chunk < rewarded.min(rewards.len()) {
                let (env, place) = rewards[rng.below(rewards.len())];
                (env, start_that_covers(place, lengths[env], t, rng))
            } else {
                starts.draw(rng)
            };
            chunks.push(self.stream_window(env, start, t));
        }
        Ok(chunks)
    }

    /// Rows that left the stream of `env` by eviction.
    fn stream_begin(&self, env: usize) -> u64 {
        let stream = &self.streams[env];
        stream.finished.front().map_or(stream.end, |&number| self.record(number).stream_start)
    }

    fn stream_rows(&self, env: usize) -> usize {
        let stream = &self.streams[env];
        (stream.end - self.stream_begin(env)) as usize + stream.open.rows()
    }

    /// `length` rows of the stream of `env`, beginning `start` rows after what was evicted.
    fn stream_window(&self, env: usize, start: usize, length: usize) -> Vec<Address> {
        let stream = &self.streams[env];
        let position = self.stream_begin(env) + start as u64;
        let mut next = stream.finished.partition_point(|&number| self.record(number).stream_start <= position);
        let (mut source, mut row) = match next.checked_sub(1) {
            Some(at) if position < stream.end => {
                let record = self.record(stream.finished[at]);
                (Source::Finished(record.number), (position - record.stream_start) as usize)
            }
            _ => (Source::Open(env), (position - stream.end) as usize),
        };
        let mut rows = Vec::with_capacity(length);
        while rows.len() < length {
            if row == self.episode(source).rows() {
                source = stream.finished.get(next).map_or(Source::Open(env), |&number| Source::Finished(number));
                next += 1;
                row = 0;
            }
            rows.push(Address { source, row, is_first: row == 0 || rows.is_empty() });
            row += 1;
        }
        rows
    }
}

/// The rows of a window, whose first one resets the state.
fn rows_of(window: &Window) -> impl Iterator<Item = Address> {
    let Window { source, start, length } = *window;
    (start..start + length).map(move |row| Address { source, row, is_first: row == start })
}

/// A start, uniform over the windows of `length` among `rows` rows that hold row `row`.
fn start_that_covers(row: usize, rows: usize, length: usize, rng: &mut Philox) -> usize {
    let lowest = (row + 1).saturating_sub(length);
    let highest = row.min(rows - length);
    lowest + rng.below(highest - lowest + 1)
}

/// Weights of a list, summed up, to draw from in logarithmic time.
struct Cumulative {
    sums: Vec<usize>,
}

impl Cumulative {
    fn new(weights: impl Iterator<Item = usize>) -> Self {
        let mut sum = 0;
        let sums = weights.map(|weight| {
            sum += weight;
            sum
        });
        Cumulative { sums: sums.collect() }
    }

    fn total(&self) -> usize {
        self.sums.last().copied().unwrap_or(0)
    }

    /// An index with the probability of its weight, and a number uniform below its weight.
    fn draw(&self, rng: &mut Philox) -> (usize, usize) {
        let drawn = rng.below(self.total());
        let index = self.sums.partition_point(|&sum| sum <= drawn);
        let before = index.checked_sub(1).map_or(0, |previous| self.sums[previous]);
        (index, drawn - before)
    }
}
