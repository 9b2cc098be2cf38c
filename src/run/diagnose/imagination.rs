//! Whether imagined success is real: the policy acts in imagination from real states, and the same actions are executed in the simulator from the same
//! states.
//!
//! Imagination runs as in training: the prior, the policy's own actions, `horizon` steps. It succeeds at the first predicted reward that counts, unless
//! the continue head ended it before. Reality succeeds at the first reward above 0.

use serde_json::{Value, json};

use super::open_loop::reward_threshold;
use super::play::{NOISE, Play};
use super::stats::{Ratio, spread};
use super::symbols::{GOAL, Symbols};
use crate::autodiff::Clock;
use crate::base::Result;
use crate::dreamer::readout::{Readout, Step};
use crate::env::Env;
use crate::run::agent::Agent;
use crate::run::collect::act;
use crate::run::world::World;

/// States of one play that imagination starts from.
const STARTS: usize = 512;

/// How imagination and reality compare.
#[derive(Debug, Clone, Default)]
pub struct Imagination {
    /// Steps of a rollout.
    pub horizon: usize,
    /// Rollouts with an imagined reward, of all.
    pub imagined: Ratio,
    /// Rollouts whose actions truly earn a reward, of all.
    pub real: Ratio,
    /// Imagined successes that are real within the horizon, of all imagined.
    pub precision: Ratio,
    /// Real successes that were imagined, of all real.
    pub recall: Ratio,
    /// Imagined successes that come true within one step of when they were imagined, of all imagined.
    pub punctual: Ratio,
    /// Rollouts in which a goal is decoded at some step, of all; without counts where observations have no cells.
    pub goal_seen: Ratio,
}

impl Imagination {
    /// Counts one rollout: the step of the imagined success and that of the real one.
    pub fn add(&mut self, episode: usize, imagined: Option<usize>, real: Option<usize>) {
        self.imagined.count(episode, imagined.is_some());
        self.real.count(episode, real.is_some());
        if let Some(at) = imagined {
            self.precision.count(episode, real.is_some());
            self.punctual.count(episode, real.is_some_and(|r| r.abs_diff(at) <= 1));
        }
        if real.is_some() {
            self.recall.count(episode, imagined.is_some());
        }
    }

    /// Everything.
    pub fn json(&self) -> Value {
        json!({
            "horizon": self.horizon,
            "imagined_success": self.imagined.json(),
            "real_success": self.real.json(),
            "precision": self.precision.json(),
            "recall": self.recall.json(),
            "punctual": self.punctual.json(),
            "goal_seen": self.goal_seen.json(),
        })
    }
}

/// The step, from 1 on, at which these actions, each `[A]`, earn the first reward above 0 from a saved state; `None` if the episode ends before, or none
/// comes.
pub fn first_reward<'a>(
    world: &World,
    env: &mut dyn Env,
    snapshot: &[u8],
    actions: impl Iterator<Item = &'a [f32]>,
) -> Result<Option<usize>> {
    env.load(snapshot)?;
    for (i, action) in actions.enumerate() {
        let outcome = act(world, env, action);
        if world.reward(outcome.reward as f32) > 0.0 {
            return Ok(Some(i + 1));
        }
        if outcome.ended() {
            break;
        }
    }
    Ok(None)
}

/// Imagines from the states of a play, by the policy's own actions, for as many steps as in training.
pub fn measure(agent: &mut Agent, play: &Play, symbols: Option<&Symbols>) -> Result<Imagination> {
    let (horizon, discount) = (agent.world.config().horizon, agent.world.config().discount);
    let mut measured = Imagination { horizon, ..Imagination::default() };
    // An episode that is over has no future.
    let starts: Vec<(usize, usize)> =
        play.rows().map(|(e, t, _)| (e, t)).filter(|&(e, t)| t + 1 < play.episodes[e].rows.len()).collect();
    let starts: Vec<(usize, usize)> = spread(starts.len(), STARTS).into_iter().map(|i| starts[i]).collect();
    if starts.is_empty() {
        return Ok(measured);
    }
    let (n, width, size) = (starts.len(), agent.world.model.actions.size(), agent.world.model.observation.size());
    let threshold = reward_threshold(agent, play);
    let (stoch, deter) = play.states(&starts);
    let mut still = Readout::new(&agent.world.model, &agent.params, n, Step::Stay, &agent.pool);
    let mut ahead = Readout::new(&agent.world.model, &agent.params, n, Step::Prior, &agent.pool);
    [&mut still, &mut ahead].into_iter().for_each(|readout| readout.begin(&stoch, &deter));
    let clock = |h: usize| Clock { seed: NOISE, step: 1 << 61 | h as u64 };
    let mut taken = vec![vec![0.0_f32; n * width]];
    still.step(&mut agent.params, &taken[0], &[], clock(0));
    still.choose(play.player.choice(), clock(0), &mut taken[0]);
    let (mut success, mut over, mut goal) = (vec![None; n], vec![false; n], vec![false; n]);
    for h in 1..=horizon {
        ahead.step(&mut agent.params, &taken[h - 1], &[], clock(h));
        for i in 0..n {
            if over[i] {
                continue;
            }
            if f64::from(ahead.reward()[i]) >= threshold {
                success[i] = Some(h);
                over[i] = true;
            }
            over[i] |= ahead.pcont().is_some_and(|p| f64::from(p[i]) < 0.5 * discount);
            if let Some(symbols) = symbols {
                let cells = symbols.read(&agent.world, &ahead.decoded()[i * size..(i + 1) * size]);
                goal[i] |= cells.iter().any(|cell| cell[0] == GOAL);
            }
        }
        let mut actions = vec![0.0; n * width];
        ahead.choose(play.player.choice(), clock(h), &mut actions);
        taken.push(actions);
    }
    let mut envs = agent.world.envs(1)?;
    for (i, &(e, t)) in starts.iter().enumerate() {
        let actions = taken[..horizon].iter().map(|all| &all[i * width..(i + 1) * width]);
        let snapshot = &play.episodes[e].rows[t].snapshot;
        let real = first_reward(&agent.world, envs.env_mut(0), snapshot, actions)?;
        measured.add(e, success[i], real);
        if symbols.is_some() {
            measured.goal_seen.count(e, goal[i]);
        }
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successes_are_counted_on_both_sides() {
        let mut measured = Imagination::default();
        // Right and on time, right but late, invented, missed, rightly none.
        for (episode, (imagined, real)) in
            [(Some(3), Some(4)), (Some(2), Some(9)), (Some(5), None), (None, Some(1)), (None, None)]
                .into_iter()
                .enumerate()
        {
            measured.add(episode, imagined, real);
        }
        assert_eq!((measured.imagined.value(), measured.real.value()), (Some(0.6), Some(0.6)));
        assert_eq!((measured.precision.value(), measured.recall.value()), (Some(2.0 / 3.0), Some(2.0 / 3.0)));
        assert_eq!(measured.punctual.value(), Some(1.0 / 3.0));
    }
}
