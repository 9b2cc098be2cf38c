//! Presets: named starting points, each a table of key, value and why.
//!
//! A row is `("deter_size", "128", "why")`: the value as `--set` takes it. A key that a preset does not name keeps its
//! default, which is DreamerV1 as published. A preset may name `task`: it is then the task when no other is given.

use super::{Config, nearest};
use crate::base::{Error, Result};

/// A named starting point.
#[derive(Debug)]
pub struct Preset {
    /// The name after `--preset`.
    pub name: &'static str,
    /// What it is for, in one line.
    pub about: &'static str,
    /// Key, value as `--set` takes it, and why.
    pub rows: &'static [(&'static str, &'static str, &'static str)],
}

/// Every preset.
pub const PRESETS: &[Preset] = &[GRIDWORLD, PENDULUM, PROBE, V1, DEBUG];

/// The preset that a task starts from when none is named.
pub fn preset_for(task: &str) -> &'static str {
    if task.starts_with("Probe-") {
        return PROBE.name;
    }
    let continuous = Config { task: task.into(), ..Config::default() }.continuous();
    if continuous { PENDULUM.name } else { GRIDWORLD.name }
}

/// The preset of this name; an unknown name is refused and the nearest named.
pub fn preset(name: &str) -> Result<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        let hint =
            nearest(name, &names).map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_else(|| ".".into());
        Error::new(format!("there is no preset \"{name}\"{hint} Presets: {}.", names.join(", ")))
    })
}

const GRIDWORLD: Preset = Preset {
    name: "gridworld",
    about: "a small model, and what Dreamer needs to learn MiniGrid on a laptop",
    rows: &[
        ("steps", "100000", "DoorKey-6x6 is solved by 30,000 to 60,000"),
        ("envs", "16", "one network call acts for all of them"),
        ("prefill", "2000", "enough random play to meet a few rewards"),
        ("eval_every", "10000", "a score every few seconds"),
        ("eval_episodes", "64", "success within 6 points"),
        ("log_every", "500", "a run is short"),
        ("save_every", "5000", "seconds of work are lost at most"),
        ("video_every", "20000", "a few dreams per run"),
        ("observation", "symbolic", "what MiniGrid gives; no pixels to decode"),
        ("deter_size", "128", "a 7x7 view needs no more"),
        ("hidden_size", "128", "as deter_size"),
        ("num_units", "128", "as deter_size"),
        ("encoder_units", "128", "one layer of one-hot planes is enough"),
        ("decoder_units", "128,128", "the decoder has to unmix what the state holds"),
        ("latent", "categorical", "cells and doors are discrete"),
        ("stoch_size", "16", "16 variables"),
        ("latent_classes", "8", "of 8 classes: 48 bits a step"),
        ("unimix", "0.01", "no probability, so no KL, can run to infinity"),
        ("symbolic_loss", "categorical", "each cell has exactly one object, colour and state"),
        ("object_weight", "10", "the goal is 0.5 % of the cells: unweighted, it is never reconstructed"),
        ("pcont", "true", "without it imagined values pass the largest reward that can be earned"),
        ("pcont_scale", "1", "the continue loss as a plain log-likelihood"),
        ("free_nats", "1", "3 nats on the mean leave the prior without gradient"),
        ("free_nats_each", "true", "one surprising state is not hidden by many dull ones"),
        ("kl_balance", "0.5", "train the prior harder than the posterior"),
        ("kl_rep_scale", "0.1", "see kl_balance"),
        ("reward_dist", "twohot", "a rare reward keeps its gradient"),
        ("value_dist", "twohot", "as reward_dist"),
        ("twohot_bins", "61", "0.1 symlog apart"),
        ("twohot_limit", "3", "returns here are at most 1"),
        ("zero_init_heads", "true", "an untrained value imagines no reward"),
        ("batch_size", "16", "256 states an update"),
        ("batch_length", "16", "solved episodes are about this long"),
        ("train_every", "16", "one update per step of the 16 environments"),
        ("train_steps", "1", "see train_every"),
        ("pretrain", "100", "a model to imagine with before the actor counts on it"),
        ("model_lr", "2e-3", "a small model takes large steps"),
        ("value_lr", "3e-4", "as model_lr"),
        ("actor_lr", "3e-4", "as model_lr"),
        ("chunks", "across", "short solved episodes and their last row must be drawn"),
        ("reward_fraction", "0.25", "rewards are rare in what a beginner stores"),
        ("imag_starts", "64", "a quarter of the states is enough signal"),
        ("actor_grad", "reinforce", "straight-through dynamics gradients let the entropy collapse"),
        ("actor_entropy", "3e-3", "keeps trying until a reward is found"),
        ("slow_value", "0.02", "targets that do not chase themselves"),
        ("return_norm", "true", "one entropy weight for tasks of different return"),
        (
            "return_norm_floor",
            "0.3",
            "a floor of 1 lets the entropy bonus rule, one of 0.1 settles on the first reward ever found",
        ),
        ("expl", "epsilon_greedy", "the sampled policy explores, but less and less once it has found one way"),
        ("expl_amount", "0.2", "see expl"),
        ("expl_decay", "20000", "see expl"),
    ],
};

const PENDULUM: Preset = Preset {
    name: "pendulum",
    about: "DreamerV1 scaled down to a state of 3 numbers and one torque",
    rows: &[
        ("task", "Pendulum-v1", "what it is for"),
        ("steps", "30000", "150 episodes"),
        ("prefill", "1000", "5 random episodes"),
        ("eval_every", "5000", "every 25 episodes"),
        ("eval_episodes", "10", "returns differ by their start"),
        ("final_eval_episodes", "100", "every episode is 200 steps"),
        ("save_every", "5000", "as eval_every"),
        ("video_every", "0", "there are no pictures of a vector"),
        ("observation", "vector", "cosine, sine, velocity"),
        ("deter_size", "64", "the state has 3 numbers"),
        ("stoch_size", "16", "as deter_size"),
        ("hidden_size", "64", "as deter_size"),
        ("num_units", "64", "as deter_size"),
        ("encoder_units", "64,64", "as deter_size"),
        ("decoder_units", "64,64", "as deter_size"),
        ("reward_scale", "0.1", "rewards reach down to -16; published tasks stay within 0 .. 1"),
        ("free_nats", "0.1", "3 numbers carry less than 3 nats"),
        ("kl_scale", "0.1", "a pendulum seldom surprises"),
        ("train_every", "50", "four times an episode"),
        ("train_steps", "10", "one update per 5 environment steps, as published"),
        ("batch_size", "16", "a small model"),
        ("batch_length", "32", "as batch_size"),
        ("model_lr", "1e-3", "a small model takes large steps"),
        ("value_lr", "3e-4", "as model_lr"),
        ("actor_lr", "3e-4", "as model_lr"),
    ],
};

const PROBE: Preset = Preset {
    name: "probe",
    about: "a tiny model for the worlds with known answers (`dreamer-fast probes`)",
    rows: &[
        ("task", "Probe-Constant-v0", "the first of them"),
        ("steps", "8400", "1100 updates"),
        ("envs", "8", "one network call acts for all of them"),
        ("prefill", "400", "enough random play to meet every answer"),
        ("eval_every", "2000", "a few scores"),
        ("eval_episodes", "64", "as in gridworld"),
        ("save_every", "0", "seconds"),
        ("video_every", "0", "two numbers make no picture"),
        ("observation", "vector", "two numbers; one probe has an image, whatever this says"),
        ("deter_size", "32", "a cue and the time"),
        ("hidden_size", "32", "as deter_size"),
        ("num_units", "32", "as deter_size"),
        ("encoder_units", "32", "as deter_size"),
        ("decoder_units", "32", "as deter_size"),
        ("cnn_depth", "4", "as deter_size"),
        ("latent", "categorical", "as in gridworld"),
        ("stoch_size", "4", "4 variables"),
        ("latent_classes", "4", "of 4 classes"),
        ("pcont", "true", "most probes end, and one asks for it"),
        ("pcont_scale", "1", "as in gridworld"),
        ("free_nats", "0.1", "a cue is 0.7 nats: 1 nat would let the prior ignore it"),
        ("free_nats_each", "true", "as in gridworld"),
        ("kl_balance", "0.5", "as in gridworld"),
        ("reward_dist", "twohot", "as in gridworld"),
        ("value_dist", "twohot", "as in gridworld"),
        ("twohot_bins", "61", "0.1 symlog apart"),
        ("twohot_limit", "3", "values here are at most 5"),
        ("zero_init_heads", "true", "as in gridworld"),
        ("batch_size", "16", "384 states an update"),
        ("batch_length", "24", "the longest probe has 22 rows"),
        ("train_every", "8", "one update per step of the 8 environments"),
        ("train_steps", "1", "see train_every"),
        ("model_lr", "2e-3", "a small model takes large steps"),
        ("value_lr", "1e-3", "a thousand updates have to do"),
        ("actor_lr", "1e-3", "as value_lr"),
        ("discount", "0.8", "values a step apart differ by a fifth"),
        ("horizon", "8", "0.8^8 is a sixth; the value stands for the rest"),
        ("imag_starts", "128", "a third of the states is enough signal"),
        ("actor_grad", "reinforce", "as in gridworld; continuous actions take dynamics"),
        ("actor_entropy", "3e-2", "an actor that is sure before the model knows the reward finds no way back"),
        ("slow_value", "0.05", "as in gridworld, for fewer updates"),
        ("action_init_std", "1", "a normal of 5 lies in the corners of tanh"),
        ("expl_amount", "0.2", "both answers stay in the replay"),
    ],
};

const V1: Preset =
    Preset { name: "v1", about: "the constants that danijar/dreamer published, for comparison; far slower", rows: &[] };

const DEBUG: Preset = Preset {
    name: "debug",
    about: "a tiny model and 600 steps: every part of a run in seconds, nothing learned",
    rows: &[
        ("steps", "600", "seconds"),
        ("envs", "4", "more than one"),
        ("prefill", "200", "a few episodes"),
        ("eval_every", "200", "twice before the end"),
        ("eval_episodes", "4", "seconds"),
        ("final_eval_episodes", "8", "seconds"),
        ("log_every", "50", "several lines"),
        ("save_every", "100", "several checkpoints"),
        ("video_every", "300", "one before the end"),
        ("observation", "symbolic", "the cheapest"),
        ("deter_size", "16", "tiny"),
        ("stoch_size", "8", "tiny"),
        ("hidden_size", "16", "tiny"),
        ("num_units", "16", "tiny"),
        ("cnn_depth", "2", "tiny, for the rgb observations"),
        ("encoder_units", "16", "tiny"),
        ("decoder_units", "16", "tiny"),
        ("batch_size", "4", "tiny"),
        ("batch_length", "8", "tiny"),
        ("horizon", "5", "tiny"),
        ("train_every", "40", "ten blocks"),
        ("train_steps", "2", "twenty updates"),
        ("pretrain", "2", "as train_steps"),
        ("chunks", "across", "no episode need have ended when training begins"),
    ],
};
