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
//!
//! With [`Sampling::context`] a chunk is preceded by that many rows which are not learned: those of its episode before it, so that its state there is
//! not zero. Where the episode has fewer, they are filled up in front with its first row, which resets the state each time.
//!
//! Two choices of implementations that go wrong can be switched on. Without [`Sampling::last_rows`] the last row of a finished episode counts as
//! never stored. With [`Sampling::reward_before_action`] row t shows r_{t+1}, the reward of the action that is about to be taken.

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
    /// The fraction of chunks, rounded likewise, that come from finished episodes whose rewards add up to more than 0: the episode is uniform
    /// over all such, and never more chunks are so drawn than there are. Within, the window is uniform over those of the episode; across, it
    /// holds a row of it that is drawn uniformly.
    pub win_fraction: f64,
    /// Whether the last row of a finished episode can be drawn.
    pub last_rows: bool,
    /// Whether a chunk's first row counts as one inside its episode, if it is: the state before it is zero either way, but the action stays.
    pub first_actions: bool,
    /// Rows before each chunk that lead to its first state.
    pub context: usize,
    /// Whether a row shows the reward of the next row instead of its own.
    pub reward_before_action: bool,
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
    /// Whether it is learned from; otherwise it is [`Sampling::context`].
    pub learned: bool,
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

/// What share of a batch's learned rows is what.
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
    /// Draws `b` chunks of `t` rows, and the context before them, for update number `update`: where each of the `(context + t) * b` rows comes
    /// from, time-major. An error says that too little has been collected yet.
    pub fn draw(&self, how: &Sampling, t: usize, b: usize, update: u64) -> Result<Vec<Address>> {
        assert!(t > 0 && b > 0, "a batch of {b} chunks of {t} rows");
        let mut rng = Philox::new(self.seed, stream::REPLAY, update);
        let share = |fraction: f64| {
            assert!((0.0..=1.0).contains(&fraction), "a fraction of {fraction} of a batch");
            (fraction * b as f64).round() as usize
        };
        let special = [share(how.reward_fraction), share(how.win_fraction)];
        let mut chunks = match how.windows {
            Windows::Within => self.draw_within(how, t, b, special, &mut rng)?,
            Windows::Across => self.draw_across(how, t, b, special, &mut rng)?,
        };
        if how.first_actions || how.context > 0 {
            chunks.iter_mut().for_each(|chunk| chunk[0].is_first = chunk[0].row == 0);
        }
        for chunk in &mut chunks {
            let Address { source, row: start, .. } = chunk[0];
            let before = (0..how.context).map(|i| {
                let row = (start + i).saturating_sub(how.context);
                Address { source, row, is_first: i == 0 || row == 0, learned: false }
            });
            chunk.splice(0..0, before.collect::<Vec<_>>());
        }
        let t = how.context + t;
        Ok((0..t * b).map(|place| chunks[place % b][place / b]).collect())
    }

    /// Copies the rows of [`Replay::draw`] into a batch, as the same `how` says.
    pub fn fill(&self, how: &Sampling, rows: &[Address], batch: &mut BatchMut) -> BatchStats {
        let size = self.layout.action.size();
        assert_eq!(batch.action.len(), rows.len() * size, "the batch's actions have another size");
        assert_eq!(batch.reward.len(), rows.len(), "the batch's rewards have another size");
        let mut counts = [0usize; 3];
        for (place, address) in rows.iter().enumerate() {
            let (episode, row) = (self.episode(address.source), address.row);
            episode.copy_observation(row, &mut batch.observation, place);
            episode.copy_action(row, &mut batch.action[place * size..][..size]);
            let reward = self.shown_reward(how, address);
            let discount = episode.discounts()[row];
            batch.reward[place] = reward;
            batch.discount[place] = discount;
            batch.is_first[place] = f32::from(u8::from(address.is_first));
            for (count, is) in counts.iter_mut().zip([reward > 0.0, discount == 0.0, address.is_first]) {
                *count += usize::from(is && address.learned);
            }
        }
        let learned = rows.iter().filter(|address| address.learned).count() as f64;
        let [positive_reward, terminal, first] = counts.map(|count| count as f64 / learned);
        BatchStats { positive_reward, terminal, first }
    }

    /// The reward that a row of a draw shows.
    pub fn shown_reward(&self, how: &Sampling, address: &Address) -> f32 {
        let earned = address.row + usize::from(how.reward_before_action);
        // Behind the last row there is no action, so nothing was earned.
        self.episode(address.source).rewards().get(earned).copied().unwrap_or(0.0)
    }

    /// The episode that a row of a draw comes from.
    pub fn episode(&self, source: Source) -> &Episode {
        match source {
            Source::Finished(number) => &self.record(number).episode,
            Source::Open(env) => &self.streams[env].open,
        }
    }

    /// Rows of an episode that can be drawn.
    fn drawable(&self, how: &Sampling, source: Source) -> usize {
        let rows = self.episode(source).rows();
        if matches!(source, Source::Finished(_)) && !how.last_rows { rows - 1 } else { rows }
    }

    /// The rows of an episode that can be drawn and show a positive reward, ascending.
    fn rewarding(&self, how: &Sampling, source: Source) -> impl ExactSizeIterator<Item = usize> {
        // A reset has no reward, so there is always a row before.
        let early = usize::from(how.reward_before_action);
        let (all, drawable) = (self.episode(source).rewarding(), self.drawable(how, source));
        let shown = all.partition_point(|&row| (row as usize) < drawable + early);
        all[..shown].iter().map(move |&row| row as usize - early)
    }

    /// Whether an episode is finished and its rewards add up to more than 0.
    fn won(&self, source: Source) -> bool {
        matches!(source, Source::Finished(number) if self.record(number).won)
    }

    fn draw_within(
        &self,
        how: &Sampling,
        t: usize,
        b: usize,
        [rewarded, winning]: [usize; 2],
        rng: &mut Philox,
    ) -> Result<Vec<Vec<Address>>> {
        let finished = self.records.iter().map(|record| Source::Finished(record.number));
        let open = (0..self.streams.len()).filter(|_| how.unfinished).map(Source::Open);
        let sources: Vec<Source> = finished.chain(open).filter(|&source| self.drawable(how, source) > 0).collect();
        if sources.is_empty() {
            return Err(Error::new(
                "the replay holds no finished episode to train on: prefill more steps before training",
            ));
        }
        let weight = |source: &Source| match how.weighting {
            Weighting::Episodes => 1,
            Weighting::Rows => self.drawable(how, *source),
        };
        let weights = Cumulative::new(sources.iter().map(weight));
        let rewards = Cumulative::new(sources.iter().map(|&source| match rewarded {
            0 => 0,
            _ => self.rewarding(how, source).len(),
        }));
        let wins = Cumulative::new(sources.iter().map(|&source| usize::from(winning > 0 && self.won(source))));
        let rewarded = rewarded.min(rewards.total());
        let special = rewarded + winning.min(wins.total());
        let mut chunks = Vec::with_capacity(b);
        for chunk in 0..b {
            let mut windows: Vec<Window> = Vec::new();
            let mut missing = t;
            if chunk < rewarded {
                let (index, nth) = rewards.draw(rng);
                let (source, rows) = (sources[index], self.drawable(how, sources[index]));
                let row = self.rewarding(how, source).nth(nth).expect("drawn from as many");
                let length = rows.min(t);
                let start = start_that_covers(row, rows, length, rng);
                windows.push(Window { source, start, length });
                missing -= length;
            }
            while missing > 0 {
                let preferred = if windows.is_empty() && chunk < special { &wins } else { &weights };
                let source = sources[preferred.draw(rng).0];
                let rows = self.drawable(how, source);
                let length = rows.min(missing);
                windows.push(Window { source, start: rng.below(rows - length + 1), length });
                missing -= length;
            }
            chunks.push(windows.iter().flat_map(rows_of).collect());
        }
        Ok(chunks)
    }

    fn draw_across(
        &self,
        how: &Sampling,
        t: usize,
        b: usize,
        [rewarded, winning]: [usize; 2],
        rng: &mut Philox,
    ) -> Result<Vec<Vec<Address>>> {
        let lengths: Vec<usize> = (0..self.streams.len()).map(|env| self.stream_rows(how, env)).collect();
        let starts = Cumulative::new(lengths.iter().map(|&rows| (rows + 1).saturating_sub(t)));
        if starts.total() == 0 {
            let longest = lengths.iter().max().copied().unwrap_or(0);
            return Err(Error::new(format!(
                "no environment has collected the {t} rows of a chunk yet (the longest stream has {longest}): prefill more steps, or \
                 lower batch_length"
            )));
        }
        // In streams that are long enough, every row with a reward: its environment and its place there; and every episode that was won: its
        // environment, its place and its rows.
        let mut rewards: Vec<(usize, usize)> = Vec::new();
        let mut wins: Vec<(usize, usize, usize)> = Vec::new();
        if rewarded + winning > 0 {
            let finished = self.records.iter().map(|record| (record.env, Source::Finished(record.number)));
            let open = (0..self.streams.len()).map(|env| (env, Source::Open(env)));
            let mut met = vec![0; self.streams.len()];
            for (env, source) in finished.chain(open) {
                let (begin, rows) = (self.episode_begin(how, env, met[env]), self.drawable(how, source));
                met[env] += 1;
                if lengths[env] >= t {
                    rewards.extend(self.rewarding(how, source).map(|row| (env, begin + row)));
                    wins.extend((self.won(source) && rows > 0).then_some((env, begin, rows)));
                }
            }
        }
        let rewarded = rewarded.min(rewards.len());
        let special = rewarded + winning.min(wins.len());
        let mut chunks = Vec::with_capacity(b);
        for chunk in 0..b {
            let (env, start) = if chunk < rewarded {
                let (env, place) = rewards[rng.below(rewards.len())];
                (env, start_that_covers(place, lengths[env], t, rng))
            } else if chunk < special {
                let (env, begin, rows) = wins[rng.below(wins.len())];
                (env, start_that_covers(begin + rng.below(rows), lengths[env], t, rng))
            } else {
                starts.draw(rng)
            };
            chunks.push(self.stream_window(how, env, start, t));
        }
        Ok(chunks)
    }

    /// Rows that left the stream of `env` by eviction.
    fn stream_begin(&self, env: usize) -> u64 {
        let stream = &self.streams[env];
        stream.finished.front().map_or(stream.end, |&number| self.record(number).stream_start)
    }

    /// Rows that can be drawn of the stream of `env`.
    fn stream_rows(&self, how: &Sampling, env: usize) -> usize {
        let stream = &self.streams[env];
        self.episode_begin(how, env, stream.finished.len()) + stream.open.rows()
    }

    /// Rows that can be drawn of the stream of `env` before its episode `at` in memory; behind the finished ones comes the open one.
    fn episode_begin(&self, how: &Sampling, env: usize, at: usize) -> usize {
        let stream = &self.streams[env];
        let begin = stream.finished.get(at).map_or(stream.end, |&number| self.record(number).stream_start);
        let rows = (begin - self.stream_begin(env)) as usize;
        // Every finished episode before it has one last row.
        if how.last_rows { rows } else { rows - at }
    }

    /// `length` rows of the stream of `env`, beginning `start` rows that can be drawn after what was evicted.
    fn stream_window(&self, how: &Sampling, env: usize, start: usize, length: usize) -> Vec<Address> {
        let finished = &self.streams[env].finished;
        let source_at = |at: usize| finished.get(at).map_or(Source::Open(env), |&number| Source::Finished(number));
        let mut at = partition_point(finished.len() + 1, |at| self.episode_begin(how, env, at) <= start) - 1;
        let (mut source, mut row) = (source_at(at), start - self.episode_begin(how, env, at));
        let mut rows = Vec::with_capacity(length);
        while rows.len() < length {
            while row == self.drawable(how, source) {
                at += 1;
                (source, row) = (source_at(at), 0);
            }
            rows.push(Address { source, row, is_first: row == 0 || rows.is_empty(), learned: true });
            row += 1;
        }
        rows
    }
}

/// The rows of a window, whose first one resets the state.
fn rows_of(window: &Window) -> impl Iterator<Item = Address> {
    let Window { source, start, length } = *window;
    (start..start + length).map(move |row| Address { source, row, is_first: row == start, learned: true })
}

/// A start, uniform over the windows of `length` among `rows` rows that hold row `row`.
fn start_that_covers(row: usize, rows: usize, length: usize, rng: &mut Philox) -> usize {
    let lowest = (row + 1).saturating_sub(length);
    let highest = row.min(rows - length);
    lowest + rng.below(highest - lowest + 1)
}

/// How many of `0..n` satisfy a condition that none satisfies after the first that does not.
fn partition_point(n: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low
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
