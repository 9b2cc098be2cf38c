//! What the value head says against what came: the discounted return of the played episode, and the exact optimum.
//!
//! As in training, the value of a state contains the reward of the state itself: `G_t = r_t + discount G_{t+1}`, to the last row of the episode. A time
//! limit counts as the end, so returns of episodes that were cut are lower bounds. The optimum of a state is the return of the
//! breadth-first expert's shortest plan from it, executed in the simulator.

use serde_json::{Value, json};

use super::play::{Play, Row};
use super::stats::{explained_variance, mean, spread};
use crate::base::Result;
use crate::env::Env;
use crate::run::agent::Agent;
use crate::run::collect::act;
use crate::run::world::World;

/// States of one play that the expert plans from.
const PLANS: usize = 512;

/// Values and returns of the states of one play.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// What the value head says of every row.
    pub values: Vec<f64>,
    /// The return that followed.
    pub returns: Vec<f64>,
    /// For the rows that the expert planned from: value, return that followed, optimum.
    pub planned: Vec<(f64, f64, f64)>,
}

/// The discounted return from every row on.
pub fn returns(rewards: &[f64], discount: f64) -> Vec<f64> {
    let mut out = rewards.to_vec();
    for t in (0..out.len().saturating_sub(1)).rev() {
        out[t] += discount * out[t + 1];
    }
    out
}

/// The optimal return from a row on: its own reward and those of a shortest plan, discounted. `None` where there is no expert or no plan, or
/// where an action is repeated and a plan is in other steps. A plan that the time limit cuts earns nothing more.
pub fn optimum(world: &World, env: &mut dyn Env, row: &Row) -> Result<Option<f64>> {
    if world.config().action_repeat > 1 {
        return Ok(None);
    }
    if row.terminated {
        return Ok(Some(row.reward));
    }
    env.load(&row.snapshot)?;
    let mut rewards = vec![row.reward];
    let mut action = vec![0.0; world.model.actions.size()];
    for _ in 0..world.spec.max_steps {
        let Some(best) = env.expert() else { return Ok(None) };
        action.fill(0.0);
        action[best] = 1.0;
        let outcome = act(world, env, &action);
        rewards.push(f64::from(world.reward(outcome.reward as f32)));
        if outcome.ended() {
            break;
        }
    }
    Ok(Some(returns(&rewards, world.config().discount)[0]))
}

/// Measures the values of a play.
pub fn measure(agent: &Agent, play: &Play) -> Result<Values> {
    let mut measured = Values::default();
    for episode in &play.episodes {
        let rewards: Vec<f64> = episode.rows.iter().map(|row| row.reward).collect();
        measured.returns.extend(returns(&rewards, agent.world.config().discount));
        measured.values.extend(episode.rows.iter().map(|row| row.value));
    }
    if agent.world.model.actions.discrete() {
        let mut envs = agent.world.envs(1)?;
        let rows: Vec<&Row> = play.rows().map(|(.., row)| row).collect();
        for i in spread(rows.len(), PLANS) {
            if let Some(best) = optimum(&agent.world, envs.env_mut(0), rows[i])? {
                measured.planned.push((measured.values[i], measured.returns[i], best));
            }
        }
    }
    Ok(measured)
}

impl Values {
    /// `1 - Var(return - value) / Var(return)` over all rows.
    pub fn explained(&self) -> Option<f64> {
        explained_variance(&self.returns, &self.values)
    }

    /// The same against the optimum.
    pub fn explained_optimum(&self) -> Option<f64> {
        explained_variance(&self.optima(), &self.planned.iter().map(|p| p.0).collect::<Vec<_>>())
    }

    fn optima(&self) -> Vec<f64> {
        self.planned.iter().map(|p| p.2).collect()
    }

    /// The largest return that can be earned from any of the states; `None` without an expert.
    pub fn largest(&self) -> Option<f64> {
        self.optima().into_iter().reduce(f64::max)
    }

    /// The mean value.
    pub fn mean_value(&self) -> f64 {
        mean(&self.values)
    }

    /// The mean of what the policy earns less than the optimum, over the planned states.
    pub fn regret(&self) -> Option<f64> {
        (!self.planned.is_empty()).then(|| mean(&self.planned.iter().map(|p| p.2 - p.1).collect::<Vec<_>>()))
    }

    /// Everything but the points.
    pub fn json(&self) -> Value {
        let bias = mean(&self.values.iter().zip(&self.returns).map(|(v, g)| v - g).collect::<Vec<_>>());
        let optima = self.optima();
        json!({
            "states": self.values.len(),
            "mean_value": self.mean_value(),
            "largest_value": self.values.iter().copied().reduce(f64::max),
            "mean_return": mean(&self.returns),
            "bias": bias,
            "explained_variance": self.explained(),
            "optimum": {
                "states": optima.len(),
                "mean": (!optima.is_empty()).then(|| mean(&optima)),
                "largest": self.largest(),
                "explained_variance": self.explained_optimum(),
                "regret": self.regret(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_are_discounted_sums_from_each_row_on() {
        assert_eq!(returns(&[0.0, 0.0, 1.0], 0.5), [0.25, 0.5, 1.0]);
        assert_eq!(returns(&[2.0, -4.0, 0.0], 0.5), [0.0, -4.0, 0.0]);
        assert!(returns(&[], 0.9).is_empty());
    }
}
