//! Whether rewards reach the model: their share in the stored experience and in the batches that are drawn from it.

use std::path::Path;

use serde_json::{Value, json};

use super::stats::mean;
use crate::base::{Error, Result, files};
use crate::replay::{Address, Manifest, Replay};
use crate::run::agent::{Agent, sampling};
use crate::run::checkpoint::Loaded;

/// Batches that are drawn.
const BATCHES: u64 = 200;

/// What is stored, and what is drawn of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Batches {
    /// Rows stored.
    pub rows: usize,
    /// Share of the stored rows with a reward above 0.
    pub stored_reward: f64,
    /// Share of the stored rows at which the world ended.
    pub stored_end: f64,
    /// The same shares of the rows of each batch.
    pub drawn: Vec<(f64, f64)>,
}

/// Draws the batches that the next updates of the run would get. `None` where the log directory holds no
/// episodes, or fewer than a batch needs.
pub fn measure(agent: &Agent, logdir: &Path, loaded: &Loaded) -> Result<Option<Batches>> {
    let c = agent.world.config();
    let directory = logdir.join("episodes");
    if !files::exists(&directory) {
        return Ok(None);
    }
    let manifest: Manifest = serde_json::from_value(loaded.state["replay"].clone())
        .map_err(|cause| Error::new(format!("the checkpoint's list of episodes cannot be read: {cause}")))?;
    let open = loaded.bytes.get("replay.open").map_or(&[][..], Vec::as_slice);
    let capacity = usize::try_from(c.replay_bytes).unwrap_or(usize::MAX);
    let replay = Replay::read(agent.world.layout.clone(), c.envs, capacity, c.seed, &directory, &manifest, open)?;
    let updates = loaded.state["learner"]["updates"].as_u64().unwrap_or(0);
    Ok(of_replay(agent, &replay, updates))
}

/// The same of a replay in memory. `None` where less is stored than a batch needs.
pub fn of_replay(agent: &Agent, replay: &Replay, updates: u64) -> Option<Batches> {
    let c = agent.world.config();
    let sampling = sampling(c);
    let mut drawn = Vec::new();
    for update in updates..updates + BATCHES {
        let Ok(rows) = replay.draw(&sampling, c.batch_length, c.batch_size, update) else { return None };
        let learned: Vec<&Address> = rows.iter().filter(|row| row.learned).collect();
        let share =
            |of: &dyn Fn(&Address) -> bool| learned.iter().filter(|row| of(row)).count() as f64 / learned.len() as f64;
        drawn.push((
            share(&|row| replay.shown_reward(&sampling, row) > 0.0),
            share(&|row| replay.episode(row.source).discounts()[row.row] == 0.0),
        ));
    }
    let open = (0..replay.envs()).map(|env| replay.open_episode(env));
    let (mut rows, mut rewards, mut ends) = (0, 0, 0);
    for episode in replay.episodes().map(|(.., episode)| episode).chain(open) {
        rows += episode.rows();
        rewards += episode.rewards().iter().filter(|&&r| r > 0.0).count();
        ends += episode.discounts().iter().filter(|&&d| d == 0.0).count();
    }
    let share = |count: usize| count as f64 / rows as f64;
    Some(Batches { rows, stored_reward: share(rewards), stored_end: share(ends), drawn })
}

impl Batches {
    /// Mean share of rows with a reward above 0 in a batch.
    pub fn drawn_reward(&self) -> f64 {
        mean(&self.drawn.iter().map(|d| d.0).collect::<Vec<_>>())
    }

    /// Mean share of rows of a batch at which the world ended.
    pub fn drawn_end(&self) -> f64 {
        mean(&self.drawn.iter().map(|d| d.1).collect::<Vec<_>>())
    }

    /// Everything.
    pub fn json(&self) -> Value {
        let without = self.drawn.iter().filter(|d| d.0 == 0.0).count();
        json!({
            "rows": self.rows,
            "stored": { "reward_rate": self.stored_reward, "end_rate": self.stored_end },
            "drawn": {
                "batches": self.drawn.len(),
                "reward_rate": self.drawn_reward(),
                "end_rate": self.drawn_end(),
                "batches_without_reward": without as f64 / self.drawn.len() as f64,
            },
        })
    }
}
