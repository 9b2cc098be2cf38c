//! Collecting experience: environments stepped together, random at first, then by the policy with exploration noise. The first
//! `expert_episodes` episodes follow the shortest plan to success instead. Source: danijar/dreamer `tools.py`, `simulate`; `dreamer.py`,
//! `exploration`.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::agent::Agent;
use super::world::{Split, World};
use crate::autodiff::Clock;
use crate::base::{Error, Philox, Result, philox, philox::stream};
use crate::config::Exploration;
use crate::dreamer::Actions;
use crate::dreamer::policy::{Choice, Policy};
use crate::env::{Action, Env, Outcome, VecEnv};
use crate::replay::{Obs, ObsKind, Replay, Row};

/// A finished episode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpisodeEnd {
    /// Sum of rewards.
    pub total_reward: f64,
    /// Agent steps.
    pub length: u64,
    /// Whether the task's goal was reached.
    pub success: bool,
}

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Actor {
    /// Uniformly random actions.
    Random,
    /// The policy's samples, with this amount of exploration noise.
    Policy {
        /// Standard deviation of additive noise, or probability of a random action.
        noise: f64,
    },
}

/// Environments in the middle of their episodes, and the policy's memory of each.
pub struct Collector {
    envs: VecEnv,
    policy: Policy<f32>,
    /// The environment begins an episode with the next step.
    ended: Vec<bool>,
    /// The policy has no memory of this episode yet.
    fresh: Vec<bool>,
    totals: Vec<f64>,
    lengths: Vec<u64>,
    /// What is left of the plan that each environment follows.
    plans: Vec<VecDeque<usize>>,
    /// Episodes that began with a plan.
    planned: u64,
    /// Agent steps of all environments together, so far; the clock of acting.
    ticks: u64,
    bytes: Vec<u8>,
    floats: Vec<f32>,
    actions: Vec<f32>,
}

impl Collector {
    /// `config.envs` environments that have not begun.
    pub fn new(agent: &Agent) -> Result<Self> {
        let c = agent.world.config();
        let n = c.envs;
        let mut envs = agent.world.envs(n)?;
        for i in 0..n {
            let words = philox::block(c.seed, stream::TRAIN_LAYOUT, i as u64, 0);
            envs.reset(i, Some(u64::from(words[0]) | u64::from(words[1]) << 32));
        }
        let (size, stored) = (agent.world.layout.observation_size(), agent.world.layout.observation);
        Ok(Collector {
            policy: Policy::new(&agent.world.model, &agent.params, n, false, &agent.pool),
            envs,
            ended: vec![true; n],
            fresh: vec![true; n],
            totals: vec![0.0; n],
            lengths: vec![0; n],
            plans: vec![VecDeque::new(); n],
            planned: 0,
            ticks: 0,
            bytes: vec![0; if stored == ObsKind::Bytes { size } else { 0 }],
            floats: vec![0.0; if stored == ObsKind::Floats { size } else { 0 }],
            actions: vec![0.0; n * agent.world.model.actions.size()],
        })
    }

    /// Environment steps that one call of [`Collector::step`] takes at most.
    pub fn stride(&self, agent: &Agent) -> u64 {
        (self.envs.len() * agent.world.config().action_repeat) as u64
    }

    /// One step of every environment, stored in the replay. Returns the episodes that ended with it.
    pub fn step(&mut self, agent: &mut Agent, replay: &mut Replay, actor: Actor) -> Result<Vec<EpisodeEnd>> {
        let n = self.envs.len();
        for i in 0..n {
            if std::mem::take(&mut self.ended[i]) {
                agent.world.reset(self.envs.env_mut(i), None, Split::Train);
                (self.totals[i], self.lengths[i], self.fresh[i]) = (0.0, 0, true);
                self.plans[i].clear();
                if self.planned < agent.world.config().expert_episodes
                    && let Some(plan) = winning_plan(self.envs.env_mut(i))?
                {
                    self.plans[i] = plan;
                    self.planned += 1;
                }
                self.store(replay, i, None)?;
            }
        }
        match actor {
            Actor::Random => self.random_actions(agent),
            Actor::Policy { noise } => self.policy_actions(agent, noise),
        }
        self.ticks += 1;
        let mut ends = Vec::new();
        for i in 0..n {
            let width = agent.world.model.actions.size();
            let action = &self.actions[i * width..(i + 1) * width];
            let outcome = act(&agent.world, self.envs.env_mut(i), action);
            self.totals[i] += outcome.reward;
            self.lengths[i] += 1;
            self.store(replay, i, Some(outcome))?;
            if outcome.ended() {
                self.ended[i] = true;
                ends.push(EpisodeEnd {
                    total_reward: self.totals[i],
                    length: self.lengths[i],
                    success: outcome.success,
                });
            }
        }
        Ok(ends)
    }

    /// Stores the present observation of an environment: as a reset, or as what an outcome led to. A time limit keeps the discount at 1.
    fn store(&mut self, replay: &mut Replay, i: usize, outcome: Option<Outcome>) -> Result<()> {
        let width = self.actions.len() / self.envs.len();
        let none = vec![0.0; width];
        let observation = if self.floats.is_empty() {
            self.envs.env(i).write_bytes(&mut self.bytes);
            Obs::Bytes(&self.bytes)
        } else {
            self.envs.env(i).write_floats(&mut self.floats);
            Obs::Floats(&self.floats)
        };
        let row = match outcome {
            None => Row { observation, action: &none, reward: 0.0, discount: 1.0, is_first: true, is_last: false },
            Some(outcome) => Row {
                observation,
                action: &self.actions[i * width..(i + 1) * width],
                reward: outcome.reward as f32,
                discount: if outcome.terminated { 0.0 } else { 1.0 },
                is_first: false,
                is_last: outcome.ended(),
            },
        };
        replay.add(i, &row).map(|_| ())
    }

    fn random_actions(&mut self, agent: &Agent) {
        let mut rng = Philox::new(agent.world.config().seed, stream::PREFILL, self.ticks);
        let actions = agent.world.model.actions;
        self.actions.chunks_exact_mut(actions.size()).for_each(|a| random_action(&actions, &mut rng, a));
        self.follow_plans();
    }

    /// Replaces the actions of environments that have a plan by its next one.
    fn follow_plans(&mut self) {
        let width = self.actions.len() / self.envs.len();
        for (plan, action) in self.plans.iter_mut().zip(self.actions.chunks_exact_mut(width)) {
            if let Some(planned) = plan.pop_front() {
                action.fill(0.0);
                action[planned] = 1.0;
            }
        }
    }

    fn policy_actions(&mut self, agent: &mut Agent, noise: f64) {
        let size = agent.world.model.observation.size();
        for i in 0..self.envs.len() {
            let out = &mut self.policy.obs_mut()[i * size..(i + 1) * size];
            if self.floats.is_empty() {
                self.envs.env(i).write_bytes(&mut self.bytes);
                agent.world.encode(Obs::Bytes(&self.bytes), out);
            } else {
                self.envs.env(i).write_floats(&mut self.floats);
                agent.world.encode(Obs::Floats(&self.floats), out);
            }
        }
        let c = agent.world.config();
        let clock = Clock { seed: c.seed, step: self.ticks };
        let (exploration, actions) = (c.exploration(), agent.world.model.actions);
        let choice = if c.collect_greedy { Choice::Mode } else { Choice::Sample };
        self.policy.act(&mut agent.params, &self.fresh, choice, clock, &mut self.actions);
        self.fresh.fill(false);
        let width = actions.size();
        for (i, action) in self.actions.chunks_exact_mut(width).enumerate() {
            let seat = clock.step * self.envs.len() as u64 + i as u64;
            let mut rng = Philox::new(clock.seed, stream::EXPLORE, seat);
            explore(exploration, noise, &actions, &mut rng, action);
        }
        self.follow_plans();
        // What was done is what is remembered, noise included.
        self.policy.action_mut().copy_from_slice(&self.actions);
    }

    /// What a checkpoint keeps: numbers in JSON, the environments' snapshots, and the policy's memory.
    pub fn state(&self) -> (Value, Vec<u8>) {
        let mut snapshots = Vec::new();
        for i in 0..self.envs.len() {
            let snapshot = self.envs.env(i).save();
            snapshots.extend((snapshot.len() as u64).to_le_bytes());
            snapshots.extend(snapshot);
        }
        let totals: Vec<u64> = self.totals.iter().map(|t| t.to_bits()).collect();
        let state = json!({
            "ticks": self.ticks,
            "ended": self.ended,
            "fresh": self.fresh,
            "totals": totals,
            "lengths": self.lengths,
            "plans": self.plans,
            "planned": self.planned,
        });
        (state, snapshots)
    }

    /// The policy's memory by name: latent state and last action of each environment.
    pub fn memory(&self) -> Vec<(String, Vec<usize>, &[f32])> {
        let n = self.envs.len();
        let (stoch, deter) = self.policy.state();
        let action = self.policy.last_action();
        [("stoch", stoch), ("deter", deter), ("action", action)]
            .map(|(name, values)| (format!("policy/{name}"), vec![n, values.len() / n], values))
            .to_vec()
    }

    /// Continues from what a checkpoint kept.
    pub fn restore(&mut self, loaded: &super::checkpoint::Loaded) -> Result<()> {
        let wrong = |what: &str| Error::new(format!("the checkpoint's state of the environments is wrong: {what}"));
        let state = &loaded.state["collector"];
        let n = self.envs.len();
        fn list<T: serde::de::DeserializeOwned>(value: &Value, n: usize) -> Option<Vec<T>> {
            serde_json::from_value::<Vec<T>>(value.clone()).ok().filter(|l| l.len() == n)
        }
        let field = |name: &str| wrong(name);
        self.ticks = state["ticks"].as_u64().ok_or_else(|| field("ticks"))?;
        self.ended = list(&state["ended"], n).ok_or_else(|| field("ended"))?;
        self.fresh = list(&state["fresh"], n).ok_or_else(|| field("fresh"))?;
        self.lengths = list(&state["lengths"], n).ok_or_else(|| field("lengths"))?;
        let totals: Vec<u64> = list(&state["totals"], n).ok_or_else(|| field("totals"))?;
        self.totals = totals.into_iter().map(f64::from_bits).collect();
        // A checkpoint of a run without plans may lack them.
        self.plans = list(&state["plans"], n).unwrap_or_else(|| vec![VecDeque::new(); n]);
        self.planned = state["planned"].as_u64().unwrap_or(0);
        let mut bytes = loaded.bytes.get("environments").ok_or_else(|| field("snapshots"))?.as_slice();
        for i in 0..n {
            let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| field("snapshots"))?;
            let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| field("snapshots"))?;
            let (snapshot, rest) = rest.split_at_checked(length).ok_or_else(|| field("snapshots"))?;
            self.envs.env_mut(i).load(snapshot)?;
            bytes = rest;
        }
        let widths = self.memory().into_iter().map(|(name, shape, _)| (name, shape)).collect::<Vec<_>>();
        let tensors: Vec<&Vec<f32>> =
            widths.iter().map(|(name, shape)| loaded.tensor(name, shape).map(|t| &t.values)).collect::<Result<_>>()?;
        self.policy.set_state(tensors[0], tensors[1], tensors[2]);
        Ok(())
    }
}

/// The shortest plan to success from where an environment stands, found by playing it and returning. `None` if there is none, or if it does not
/// succeed within the limit of steps.
fn winning_plan(env: &mut dyn Env) -> Result<Option<VecDeque<usize>>> {
    let here = env.save();
    let mut plan = VecDeque::new();
    let mut won = false;
    while let Some(action) = env.expert() {
        plan.push_back(action);
        let outcome = env.step(Action::Discrete(action));
        if outcome.ended() {
            won = outcome.success;
            break;
        }
    }
    env.load(&here)?;
    Ok(won.then_some(plan))
}

/// A network's action `[A]` as the environment takes it.
pub fn as_action<'a>(actions: &Actions, action: &'a [f32]) -> Action<'a> {
    match actions {
        Actions::Discrete(_) => Action::Discrete(action.iter().position(|&x| x == 1.0).expect("an action is one-hot")),
        Actions::Continuous(_) => Action::Continuous(action),
    }
}

/// One action of a network `[A]`: `action_repeat` steps of the environment, their rewards added, or fewer where the episode ends.
pub fn act(world: &World, env: &mut dyn Env, action: &[f32]) -> Outcome {
    let chosen = as_action(&world.model.actions, action);
    let mut outcome = env.step(chosen);
    for _ in 1..world.config().action_repeat {
        if !outcome.ended() {
            let more = env.step(chosen);
            outcome = Outcome { reward: outcome.reward + more.reward, ..more };
        }
    }
    outcome
}

/// A uniformly random action.
pub fn random_action(actions: &Actions, rng: &mut Philox, out: &mut [f32]) {
    match *actions {
        Actions::Discrete(n) => {
            out.fill(0.0);
            out[rng.below(n)] = 1.0;
        }
        Actions::Continuous(_) => out.iter_mut().for_each(|a| *a = (2.0 * rng.uniform() - 1.0) as f32),
    }
}

/// Adds exploration noise to one environment's action. Each environment decides for itself (danijar/dreamer's epsilon-greedy is right for one
/// environment only).
pub fn explore(exploration: Exploration, amount: f64, actions: &Actions, rng: &mut Philox, action: &mut [f32]) {
    if amount <= 0.0 {
        return;
    }
    match exploration {
        Exploration::EpsilonGreedy => {
            if rng.uniform() < amount {
                random_action(actions, rng, action);
            }
        }
        Exploration::AdditiveGaussian => {
            action.iter_mut().for_each(|a| *a = (f64::from(*a) + amount * rng.normal()).clamp(-1.0, 1.0) as f32);
        }
        Exploration::None | Exploration::Auto => {}
    }
}
