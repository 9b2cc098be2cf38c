//! Where a path is longer than it must be: every step of the played episodes against the length of a shortest plan before and after it.
//!
//! With d_t the steps of the breadth-first expert's plan from row t, a step wastes `1 + d_{t+1} - d_t`: 0 if it is the first of some shortest plan, 1 if
//! it changes nothing that matters, 2 if it has to be undone. Over an episode that succeeds these add up to its length less the shortest plan's. Beside
//! each stands the probability that the actor gives to the plan's own action: where it is all but 0, the actor has settled and no longer tries it. The
//! expert sees everything, so in a world that is seen in part some waste is the price of looking: compare with the searcher's (`dreamer-fast envs
//! search`).

use serde_json::{Value, json};

use super::play::{Episode, Play};
use super::stats::{Ratio, mean};
use crate::base::Result;
use crate::env::{Action, Env};
use crate::run::agent::Agent;

/// Rows of one play that plans are made from, whole episodes.
const PLANS: usize = 2048;

/// One episode that succeeded.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// Its number in the play.
    pub episode: usize,
    /// The number of each action, from the first on.
    pub actions: Vec<usize>,
    /// What each wastes.
    pub waste: Vec<i64>,
    /// The probability that the actor gave, in place of each, to the first action of a shortest plan.
    pub chance: Vec<f64>,
}

impl Path {
    /// Steps beyond the shortest plan.
    pub fn excess(&self) -> f64 {
        self.waste.iter().sum::<i64>() as f64
    }
}

/// Paths of one play.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    /// Episodes that ended by their success and that the expert can solve, too.
    pub paths: Vec<Path>,
    /// Number of actions.
    pub actions: usize,
}

/// Measures the paths of a play; empty where there is no expert, or where an action is repeated and a plan is in other steps.
///
/// # Errors
/// A snapshot cannot be loaded.
pub fn measure(agent: &Agent, play: &Play) -> Result<Paths> {
    let world = &agent.world;
    let mut measured = Paths { actions: world.model.actions.size(), ..Paths::default() };
    if !world.model.actions.discrete() || world.config().action_repeat > 1 {
        return Ok(measured);
    }
    let mut envs = world.envs(1)?;
    let mut rows = 0;
    for (episode, played) in play.episodes.iter().enumerate() {
        // Where surviving to the time limit is the success, no plan is shorter.
        let ended = played.rows.last().is_some_and(|last| last.terminated);
        if !played.success || !ended || rows + played.rows.len() > PLANS {
            continue;
        }
        rows += played.rows.len();
        let Some((waste, planned)) = wasted(envs.env_mut(0), played)? else { return Ok(measured) };
        let chosen = |action: &Vec<f32>| action.iter().position(|&x| x == 1.0).expect("an action is one-hot");
        let actions = played.rows[1..].iter().map(|row| chosen(&row.action)).collect();
        let chances = played.rows.iter().map(|row| row.chances.as_ref().expect("actions are discrete"));
        let chance = chances.zip(planned).map(|(chances, action)| chances[action]).collect();
        measured.paths.push(Path { episode, actions, waste, chance });
    }
    Ok(measured)
}

/// What each step of an episode wastes, and the action of a shortest plan in its place; `None` where the expert has no plan.
fn wasted(env: &mut dyn Env, episode: &Episode) -> Result<Option<(Vec<i64>, Vec<usize>)>> {
    let (_, before) = episode.rows.split_last().expect("an episode has rows");
    let (mut left, mut planned) = (Vec::new(), Vec::new());
    for row in before {
        env.load(&row.snapshot)?;
        let mut plan = Vec::new();
        loop {
            let Some(action) = env.expert() else { return Ok(None) };
            plan.push(action);
            if env.step(Action::Discrete(action)).ended() {
                break;
            }
        }
        left.push(plan.len() as i64);
        planned.push(plan[0]);
    }
    left.push(0);
    Ok(Some((left.windows(2).map(|d| 1 + d[1] - d[0]).collect(), planned)))
}

impl Paths {
    /// Mean steps beyond the shortest plan; `None` where no episode could be measured.
    pub fn excess(&self) -> Option<f64> {
        (!self.paths.is_empty()).then(|| mean(&self.paths.iter().map(Path::excess).collect::<Vec<_>>()))
    }

    /// The share of steps that waste something, of all, and of each action.
    fn wasteful(&self) -> (Ratio, Vec<Ratio>) {
        let (mut all, mut each) = (Ratio::default(), vec![Ratio::default(); self.actions]);
        for path in &self.paths {
            for (&action, &waste) in path.actions.iter().zip(&path.waste) {
                all.count(path.episode, waste > 0);
                each[action].count(path.episode, waste > 0);
            }
        }
        (all, each)
    }

    /// The mean probability of the plan's action where the step taken wastes something; `None` where no step does.
    pub fn chance(&self) -> Option<f64> {
        let steps = self.paths.iter().flat_map(|p| p.waste.iter().zip(&p.chance));
        let missed: Vec<f64> = steps.filter(|(waste, _)| **waste > 0).map(|(_, chance)| *chance).collect();
        (!missed.is_empty()).then(|| mean(&missed))
    }

    /// Everything.
    pub fn json(&self) -> Value {
        let (all, each) = self.wasteful();
        let paths = self
            .paths
            .iter()
            .map(|p| json!({ "episode": p.episode, "actions": p.actions, "waste": p.waste, "chance": p.chance }));
        json!({
            "excess": self.excess(),
            "chance_of_the_plan_where_wasteful": self.chance(),
            "wasteful_steps": all.json(),
            "wasteful_steps_by_action": each.iter().map(Ratio::json).collect::<Vec<_>>(),
            "episodes": paths.collect::<Vec<_>>(),
        })
    }
}
