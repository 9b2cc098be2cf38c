//! Playing episodes to judge an agent by, as a rule on layouts that training never sees.

use super::agent::Agent;
use super::collect::{act, explore};
use super::world::Split;
use crate::autodiff::Clock;
use crate::base::{Philox, Result, philox, philox::stream};
use crate::dreamer::policy::{Choice, Policy};
use crate::replay::Obs;
use crate::report::interval::{Interval, mean_interval};

/// Episodes played side by side.
const SEATS: usize = 64;

/// Results of episodes, in their order.
#[derive(Debug, Clone, Default)]
pub struct Scores {
    /// Sum of rewards of each episode.
    pub returns: Vec<f64>,
    /// Agent steps of each episode.
    pub lengths: Vec<f64>,
    /// 1 where the task's goal was reached, otherwise 0.
    pub successes: Vec<f64>,
    /// Number of different layouts among them; 0 where the world has no layouts.
    pub layouts: usize,
    /// Whether training never saw any of these layouts; not so where a task has too few to keep some apart.
    pub unseen: bool,
}

impl Scores {
    /// Mean with a 95 % bootstrap interval.
    pub fn interval(values: &[f64]) -> Interval {
        mean_interval(values, 0)
    }

    /// Mean of some values.
    pub fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len().max(1) as f64
    }
}

/// The seed that episode k of an evaluation is reset with.
pub fn layout_seed(seed: u64, episode: usize) -> u64 {
    let words = philox::block(seed, stream::EVAL_LAYOUT, episode as u64, 0);
    u64::from(words[0]) | u64::from(words[1]) << 32
}

/// Plays `episodes` episodes on layouts of a split. Episode k begins with the layout that `(seed, k)` stands for, whatever else is played; `choice`
/// says whether the actor's mode is taken or a sample. With `forget`, the agent's state begins anew every so many steps, as if the episode had just
/// begun: what it scores less is what it owed to what it had seen before.
pub fn evaluate(
    agent: &mut Agent,
    episodes: usize,
    seed: u64,
    split: Split,
    choice: Choice,
    forget: Option<usize>,
) -> Result<Scores> {
    let seats = episodes.min(SEATS);
    let mut envs = agent.world.envs(seats)?;
    let mut policy = Policy::new(&agent.world.model, &agent.params, seats, false, &agent.pool);
    let (size, stored) = (agent.world.model.observation.size(), agent.world.layout.observation_size());
    let width = agent.world.model.actions.size();
    let floats = matches!(agent.world.model.observation, crate::dreamer::Observation::Vector { .. });
    let (mut byte_obs, mut float_obs) = (vec![0; stored], vec![0.0; if floats { stored } else { 0 }]);
    let mut scores = Scores {
        returns: vec![0.0; episodes],
        lengths: vec![0.0; episodes],
        successes: vec![0.0; episodes],
        layouts: 0,
        unseen: true,
    };
    let mut layouts = std::collections::HashSet::new();
    // Which episode a seat plays; seat i plays episodes i, i + seats, ..., so that short ones are not favoured.
    let mut playing: Vec<Option<usize>> = (0..seats).map(Some).collect();
    let mut fresh = vec![true; seats];
    // Where the state begins anew, and the steps since it did.
    let mut anew = vec![true; seats];
    let mut ages = vec![0; seats];
    let mut actions = vec![0.0; seats * width];
    let words = philox::block(seed, stream::EVAL_LAYOUT, u64::MAX, 0);
    let noise_seed = u64::from(words[0]) | u64::from(words[1]) << 32;
    let (exploration, eval_noise) = (agent.world.config().exploration(), agent.world.config().eval_noise);
    let mut tick = 0;
    while playing.iter().any(Option::is_some) {
        for seat in 0..seats {
            let Some(episode) = playing[seat] else { continue };
            if fresh[seat] {
                scores.unseen &= agent.world.reset(envs.env_mut(seat), Some(layout_seed(seed, episode)), split);
                layouts.extend(envs.env(seat).layout());
            }
            let out = &mut policy.obs_mut()[seat * size..(seat + 1) * size];
            if floats {
                envs.env(seat).write_floats(&mut float_obs);
                agent.world.encode(Obs::Floats(&float_obs), out);
            } else {
                envs.env(seat).write_bytes(&mut byte_obs);
                agent.world.encode(Obs::Bytes(&byte_obs), out);
            }
        }
        for seat in 0..seats {
            anew[seat] = fresh[seat] || Some(ages[seat]) == forget;
            ages[seat] = if anew[seat] { 1 } else { ages[seat] + 1 };
        }
        policy.act(&mut agent.params, &anew, choice, Clock { seed: noise_seed, step: tick }, &mut actions);
        for seat in 0..seats {
            let Some(episode) = playing[seat] else { continue };
            fresh[seat] = false;
            let action = &mut actions[seat * width..(seat + 1) * width];
            let mut rng = Philox::new(noise_seed, stream::EXPLORE, tick * seats as u64 + seat as u64);
            explore(exploration, eval_noise, &agent.world.model.actions, &mut rng, action);
            let outcome = act(&agent.world, envs.env_mut(seat), action);
            scores.returns[episode] += outcome.reward;
            scores.lengths[episode] += 1.0;
            if outcome.ended() {
                scores.successes[episode] = f64::from(u8::from(outcome.success));
                let next = episode + seats;
                playing[seat] = (next < episodes).then_some(next);
                fresh[seat] = true;
            }
        }
        policy.action_mut().copy_from_slice(&actions);
        tick += 1;
    }
    scores.layouts = layouts.len();
    Ok(scores)
}
