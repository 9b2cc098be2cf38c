//! Contradictions between keys, and small questions about a configuration that have one answer.

use super::Config;
use super::choices::{ActionDist, ActorGrad, Chunks, Exploration, Observation};
use crate::base::{Error, Result};

/// Tasks that config knows to have vector observations and continuous actions; the worlds themselves live elsewhere.
const CONTINUOUS_TASKS: &[&str] = &["Pendulum-v1", "Probe-Continuous-v0"];

impl Config {
    /// Whether the task's actions are known to be continuous.
    pub fn continuous(&self) -> bool {
        CONTINUOUS_TASKS.contains(&self.task.as_str())
    }

    /// The exploration in use, `auto` resolved by the kind of the task's actions.
    pub fn exploration(&self) -> Exploration {
        match self.expl {
            Exploration::Auto if self.continuous() => Exploration::AdditiveGaussian,
            Exploration::Auto => Exploration::EpsilonGreedy,
            chosen => chosen,
        }
    }

    /// Rows of a chunk with those before it that only lead to its first state: `context_length + batch_length`.
    pub fn chunk_length(&self) -> usize {
        self.context_length + self.batch_length
    }

    /// Exploration noise after this many environment steps: `expl_amount` halved every `expl_decay` steps, never below
    /// `expl_min` (danijar/dreamer, `Dreamer._exploration`).
    pub fn expl_amount_at(&self, step: u64) -> f64 {
        let decay = if self.expl_decay > 0.0 { 0.5f64.powf(step as f64 / self.expl_decay) } else { 1.0 };
        (self.expl_amount * decay).max(self.expl_min)
    }

    /// Weight of the actor's entropy after this many updates: `actor_entropy` halved every `actor_entropy_decay` updates, never below
    /// `actor_entropy_min`.
    pub fn actor_entropy_at(&self, updates: u64) -> f64 {
        halved(self.actor_entropy, self.actor_entropy_decay, self.actor_entropy_min, updates)
    }

    /// Weight of the barrier of the latent after this many updates: `latent_barrier` halved every `latent_barrier_decay` updates, never below
    /// `latent_barrier_min`.
    pub fn latent_barrier_at(&self, updates: u64) -> f64 {
        halved(self.latent_barrier, self.latent_barrier_decay, self.latent_barrier_min, updates)
    }

    /// Updates in a run of `steps` environment steps.
    pub fn updates(&self) -> u64 {
        self.pretrain as u64 + self.train_steps as u64 * (self.steps.saturating_sub(self.prefill) / self.train_every)
    }

    /// What the three learning rates are multiplied by after this many updates: 1 until the last `lr_anneal` of the run's updates, in which it falls to 0
    /// in a straight line.
    pub fn lr_share_at(&self, updates: u64) -> f64 {
        let (all, annealed) = (self.updates(), self.lr_anneal * self.updates() as f64);
        if annealed > 0.0 { (all.saturating_sub(updates) as f64 / annealed).min(1.0) } else { 1.0 }
    }

    /// Whether `weight_decay` applies to the parameter of this dotted name.
    pub fn decays(&self, parameter: &str) -> bool {
        self.weight_decay > 0.0 && fits_pattern(&self.weight_decay_pattern, parameter)
    }

    /// Says every contradiction between keys, one sentence a line. Ranges of single keys are checked where they are set.
    pub fn check(&self) -> Result<()> {
        let found = self.contradictions();
        if found.is_empty() { Ok(()) } else { Err(Error::new(found.join("\n"))) }
    }

    fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut refuse = |wrong: bool, sentence: String| {
            if wrong {
                found.push(sentence);
            }
        };
        let task = &self.task;
        let vector = self.observation == Observation::Vector;
        let gridworld = task.starts_with("MiniGrid-") || task.starts_with("Simple-");
        for (key, from, least) in [
            ("actor_entropy", self.actor_entropy, self.actor_entropy_min),
            ("latent_barrier", self.latent_barrier, self.latent_barrier_min),
        ] {
            refuse(
                least > from,
                format!("{key}_min = {least} is above {key} = {from}, where the weight begins: set it to that or less"),
            );
        }
        refuse(
            self.continuous() && !vector,
            format!("{task} is observed as a vector, but observation = {}: set observation = vector", self.observation),
        );
        refuse(
            gridworld && vector,
            format!("{task} has no vector observations: set observation to symbolic, rgb_partial or rgb_full"),
        );
        refuse(
            self.continuous() && self.action_dist == ActionDist::Onehot,
            format!("{task} has continuous actions, but action_dist = onehot: set action_dist to auto or tanh_normal"),
        );
        refuse(
            gridworld && self.action_dist == ActionDist::TanhNormal,
            format!("{task} has discrete actions, but action_dist = tanh_normal: set action_dist to auto or onehot"),
        );
        refuse(
            self.continuous() && self.expl == Exploration::EpsilonGreedy,
            format!("{task} has continuous actions, but expl = epsilon_greedy: set expl to auto or additive_gaussian"),
        );
        refuse(
            gridworld && self.expl == Exploration::AdditiveGaussian,
            format!("{task} has discrete actions, but expl = additive_gaussian: set expl to auto or epsilon_greedy"),
        );
        refuse(
            self.continuous() && self.action_set != 0,
            format!("{task} has continuous actions, but action_set = {}: set action_set = 0", self.action_set),
        );
        refuse(
            self.continuous() && self.expert_episodes > 0,
            format!("{task} has no shortest plans, but expert_episodes = {}: set it to 0", self.expert_episodes),
        );
        refuse(
            self.expert_episodes > 0 && self.action_repeat > 1,
            format!(
                "expert_episodes = {} follow plans of single actions, but action_repeat = {}: set expert_episodes = 0 or action_repeat = 1",
                self.expert_episodes, self.action_repeat
            ),
        );
        refuse(
            self.reward_fraction + self.win_fraction > 1.0,
            format!(
                "reward_fraction = {} and win_fraction = {} are more than a whole batch together: lower one of them",
                self.reward_fraction, self.win_fraction
            ),
        );
        refuse(
            self.value_actor_grad > 0.0 && self.actor_grad == ActorGrad::Reinforce,
            format!(
                "value_actor_grad = {} has no effect with actor_grad = reinforce, whose returns count as constants: set actor_grad to \
                 dynamics or mixed",
                self.value_actor_grad
            ),
        );
        refuse(
            self.value_actor_grad > 0.0 && self.slow_value > 0.0,
            format!(
                "value_actor_grad = {} has no effect with slow_value = {}, since the slow copy makes the returns: set one of them to 0",
                self.value_actor_grad, self.slow_value
            ),
        );
        refuse(
            self.expl_min > self.expl_amount,
            format!(
                "expl_min = {} is above expl_amount = {}: the noise would grow from its start; lower expl_min",
                self.expl_min, self.expl_amount
            ),
        );
        refuse(
            self.steps < self.prefill,
            format!(
                "steps = {} ends before prefill = {} is collected, so nothing would be learned: raise steps or lower prefill",
                self.steps, self.prefill
            ),
        );
        let stride = (self.envs * self.action_repeat) as u64;
        // The first update follows prefill. A chunk across episodes is cut from the rows of one environment; one within is made of any episode.
        let rows = self.prefill.div_ceil(stride) + 1;
        refuse(
            self.chunks == Chunks::Across && rows < self.batch_length as u64,
            format!(
                "prefill = {} gives each of envs = {} no more than {rows} rows with action_repeat = {}, fewer than one chunk of \
                 batch_length = {}: set prefill to {} or more",
                self.prefill,
                self.envs,
                self.action_repeat,
                self.batch_length,
                (self.batch_length as u64 - 1) * stride
            ),
        );
        refuse(
            self.train_every < stride,
            format!(
                "envs = {} with action_repeat = {} advance {stride} environment steps at once, so train_every = {} cannot be \
                 kept: set train_every to {stride} or more, or lower envs",
                self.envs, self.action_repeat, self.train_every
            ),
        );
        // With a continue head the last state of each chunk starts no imagination (danijar/dreamer, `Dreamer._train`).
        let rows = self.batch_length - usize::from(self.pcont);
        refuse(
            self.imag_starts > self.batch_size * rows,
            format!(
                "imag_starts = {} is more than the {} states of a batch (batch_size = {}, batch_length = {}): lower it, or \
                 set 0 for all",
                self.imag_starts,
                self.batch_size * rows,
                self.batch_size,
                self.batch_length
            ),
        );
        refuse(
            self.kl_balance < 0.0 && self.kl_balance != -1.0,
            format!("kl_balance = {} is neither a weight from 0 to 1 nor -1 (one plain KL)", self.kl_balance),
        );
        refuse(
            !self.weight_decay_pattern.chars().all(|c| c.is_ascii_alphanumeric() || "._*".contains(c)),
            format!(
                "weight_decay_pattern = {:?} is not a dotted name with *: write * for all, or such as rssm.*",
                self.weight_decay_pattern
            ),
        );
        found
    }
}

/// Whether a name fits a pattern in which `*` stands for any text, empty too.
fn fits_pattern(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name
            .strip_prefix(start)
            .is_some_and(|tail| (0..=tail.len()).any(|i| tail.is_char_boundary(i) && fits_pattern(rest, &tail[i..]))),
    }
}

/// `from` halved every `decay` updates (0: never), not below `least`.
fn halved(from: f64, decay: f64, least: f64, updates: u64) -> f64 {
    let share = if decay > 0.0 { 0.5f64.powf(updates as f64 / decay) } else { 1.0 };
    (from * share).max(least)
}
