//! What imagination says of each action, beside the best that can come of it: does the actor choose badly, or is it told badly?
//!
//! From states of the played episodes every action is imagined: one step of the prior and what the value head says there, times the discount; the mean
//! of some samples. The truth is the discounted return of that action and of the breadth-first expert's shortest plan after it, in the simulator. The
//! actor need not play that well later on, so what is imagined may fall short; but it should fall short by as much for every action, or the order is wrong.
//!
//! A state's first row is counted apart: there the model has seen one frame.

use serde_json::{Value, json};

use super::play::{NOISE, Play, Row};
use super::stats::{Ratio, spread};
use super::value;
use crate::autodiff::Clock;
use crate::base::Result;
use crate::dreamer::readout::{Readout, Step};
use crate::env::Env;
use crate::run::agent::Agent;
use crate::run::collect::act;
use crate::run::world::World;

/// First rows of one play that actions are imagined from, and as many later rows.
const STATES: usize = 64;
/// Samples of the prior for each action.
const SAMPLES: u64 = 16;
/// An action is likely from this probability on, and unlikely below the next.
const LIKELY: f64 = 0.5;
const UNLIKELY: f64 = 0.05;
/// Returns that differ by less count as equal.
const EQUAL: f64 = 1e-9;

/// Actions of the states of one play, those of first rows and of later rows.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// Of first rows and of later rows.
    pub rows: [Compared; 2],
}

/// Actions of some states.
#[derive(Debug, Clone, Default)]
pub struct Compared {
    /// States in which no action is better than the one of the highest imagined return, of all.
    pub imagined_best: Ratio,
    /// States in which no action is better than the actor's most probable one, of all.
    pub chosen_best: Ratio,
    /// What the imagined returns of likely actions miss of the best that can come of them, of likely actions.
    pub likely_short: Ratio,
    /// The same of unlikely actions.
    pub unlikely_short: Ratio,
}

impl Compared {
    /// Counts one state: of each action the imagined return, the best one, and the actor's probability.
    pub fn add(&mut self, episode: usize, imagined: &[f64], best: &[f64], chances: &[f64]) {
        let largest = best.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let first_highest = |of: &[f64]| (1..of.len()).fold(0, |a, b| if of[b] > of[a] { b } else { a });
        self.imagined_best.count(episode, best[first_highest(imagined)] > largest - EQUAL);
        self.chosen_best.count(episode, best[first_highest(chances)] > largest - EQUAL);
        for ((imagined, best), &chance) in imagined.iter().zip(best).zip(chances) {
            match chance {
                LIKELY.. => self.likely_short.add(episode, best - imagined, 1.0),
                ..UNLIKELY => self.unlikely_short.add(episode, best - imagined, 1.0),
                _ => {}
            }
        }
    }
}

/// Imagines every action from states of a play; empty where actions are continuous, or where there is no expert.
///
/// # Errors
/// A snapshot cannot be loaded.
pub fn measure(agent: &mut Agent, play: &Play) -> Result<Choices> {
    let mut measured = Choices::default();
    if !agent.world.model.actions.discrete() {
        return Ok(measured);
    }
    let mut envs = agent.world.envs(1)?;
    let mut states = Vec::new();
    for first in [true, false] {
        // An episode that is over has no future.
        let rows: Vec<(usize, usize)> = play
            .rows()
            .map(|(e, t, _)| (e, t))
            .filter(|&(e, t)| (t == 0) == first && t + 1 < play.episodes[e].rows.len())
            .collect();
        for (e, t) in spread(rows.len(), STATES).into_iter().map(|i| rows[i]) {
            if let Some(best) = best_returns(&agent.world, envs.env_mut(0), &play.episodes[e].rows[t])? {
                states.push((e, t, best));
            }
        }
    }
    if states.is_empty() {
        return Ok(measured);
    }
    let places: Vec<(usize, usize)> = states.iter().map(|&(e, t, _)| (e, t)).collect();
    let width = agent.world.model.actions.size();
    let imagined = imagined_returns(agent, play, &places);
    for ((e, t, best), imagined) in states.iter().zip(imagined.chunks_exact(width)) {
        let chances = play.episodes[*e].rows[*t].chances.as_ref().expect("actions are discrete");
        measured.rows[usize::from(*t > 0)].add(*e, imagined, best, chances);
    }
    Ok(measured)
}

/// The best return after each action, without the reward of the state itself; `None` where [`value::optimum`] of the rest is.
pub fn best_returns(world: &World, env: &mut dyn Env, row: &Row) -> Result<Option<Vec<f64>>> {
    let (width, discount) = (world.model.actions.size(), world.config().discount);
    let mut best = Vec::with_capacity(width);
    for chosen in 0..width {
        env.load(&row.snapshot)?;
        let action: Vec<f32> = (0..width).map(|a| f32::from(u8::from(a == chosen))).collect();
        let outcome = act(world, env, &action);
        let reward = f64::from(world.reward(outcome.reward as f32));
        let after = Row { snapshot: env.save(), reward, terminated: outcome.ended(), ..row.clone() };
        let Some(rest) = value::optimum(world, env, &after)? else { return Ok(None) };
        best.push(discount * rest);
    }
    Ok(Some(best))
}

/// The imagined return after each action of each state, without the reward of the state itself: [n, A].
fn imagined_returns(agent: &mut Agent, play: &Play, states: &[(usize, usize)]) -> Vec<f64> {
    let (width, discount) = (agent.world.model.actions.size(), agent.world.config().discount);
    let n = states.len() * width;
    let each: Vec<(usize, usize)> = states.iter().flat_map(|&state| vec![state; width]).collect();
    let (stoch, deter) = play.states(&each);
    let mut actions = vec![0.0_f32; n * width];
    (0..n).for_each(|i| actions[i * width + i % width] = 1.0);
    let mut ahead = Readout::new(&agent.world.model, &agent.params, n, Step::Prior, &agent.pool);
    let mut sums = vec![0.0; n];
    for sample in 0..SAMPLES {
        ahead.begin(&stoch, &deter);
        ahead.step(&mut agent.params, &actions, &[], Clock { seed: NOISE, step: 1 << 60 | sample });
        sums.iter_mut().zip(ahead.value()).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    sums.into_iter().map(|sum| discount * sum / SAMPLES as f64).collect()
}

impl Choices {
    /// A ratio of first rows and of later rows.
    pub fn shown(&self, of: fn(&Compared) -> &Ratio) -> Vec<Option<f64>> {
        self.rows.iter().map(|rows| of(rows).value()).collect()
    }

    /// Everything.
    pub fn json(&self) -> Value {
        let of = |rows: &Compared| {
            json!({
                "imagined_best": rows.imagined_best.json(),
                "chosen_best": rows.chosen_best.json(),
                "likely_short": rows.likely_short.json(),
                "unlikely_short": rows.unlikely_short.json(),
            })
        };
        json!({ "first_rows": of(&self.rows[0]), "later_rows": of(&self.rows[1]) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_actor_and_imagination_are_judged_apart() {
        let mut compared = Compared::default();
        // The last two actions are as good as each other. Imagination prefers one of them, the actor the first action.
        compared.add(0, &[0.5, 0.25, 0.75], &[0.75, 1.0, 1.0], &[0.5, 0.49, 0.01]);
        assert_eq!((compared.imagined_best.value(), compared.chosen_best.value()), (Some(1.0), Some(0.0)));
        assert_eq!((compared.likely_short.value(), compared.unlikely_short.value()), (Some(0.25), Some(0.25)));
        // Now it is the other way round, and of the actions that are all but ruled out more is missing.
        compared.add(1, &[0.75, 0.5, 0.0], &[0.75, 1.0, 0.5], &[0.04, 0.9, 0.06]);
        assert_eq!((compared.imagined_best.value(), compared.chosen_best.value()), (Some(0.5), Some(0.5)));
        assert_eq!((compared.likely_short.value(), compared.unlikely_short.value()), (Some(0.375), Some(0.125)));
    }
}
