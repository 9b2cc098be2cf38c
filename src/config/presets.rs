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
pub const PRESETS: &[Preset] = &[GRIDWORLD, PENDULUM, PROBE, V1, V2, V3_SMALL, SID00867, DEBUG];

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
        ("norm", "rms", "without one the first updates drive the latents into saturation, and some never come back"),
        ("gru_norm", "rms", "as norm"),
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
        ("kl_rep_scale", "0", "a posterior that is cheap keeps one copy of the cue, and a rare sample has it wrong"),
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

const V1: Preset = Preset {
    name: "v1",
    about: "the constants that danijar/dreamer published, for comparison; far slower",
    rows: &[("first_actions", "true", "models.py, RSSM.observe: the zero state takes the stored action")],
};

// danijar/dreamerv2 at 07d906e, `configs.yaml`, `defaults`.
const V2: Preset = Preset {
    name: "v2",
    about: "the constants that danijar/dreamerv2 published for discrete actions, for comparison; far slower",
    rows: &[
        ("prefill", "10000", "prefill"),
        ("pretrain", "1", "pretrain"),
        ("train_every", "5", "train_every"),
        ("train_steps", "1", "train_steps"),
        ("batch_size", "16", "dataset.batch"),
        ("clip_rewards", "tanh", "clip_rewards"),
        ("deter_size", "1024", "rssm.deter"),
        ("hidden_size", "1024", "rssm.hidden"),
        ("latent", "categorical", "rssm.discrete"),
        ("stoch_size", "32", "rssm.stoch"),
        ("latent_classes", "32", "rssm.discrete"),
        ("gru_norm", "layer", "nets.py: the GRU always has it"),
        ("cnn_depth", "48", "encoder.cnn_depth"),
        ("cnn_act", "elu", "encoder.act"),
        ("encoder_units", "400,400,400,400", "encoder.mlp_layers"),
        ("decoder_units", "400,400,400,400", "decoder.mlp_layers"),
        ("reward_layers", "4", "reward_head.layers"),
        ("value_layers", "4", "critic.layers"),
        ("pcont", "true", "pred_discount"),
        ("pcont_layers", "4", "discount_head.layers"),
        ("pcont_scale", "1", "loss_scales.discount"),
        ("free_nats", "0", "kl.free"),
        ("kl_balance", "0.8", "kl.balance"),
        ("kl_rep_scale", "0.2", "1 - kl.balance"),
        ("actor_grad", "reinforce", "actor_grad: auto, for discrete actions"),
        ("actor_entropy", "2e-3", "actor_ent"),
        ("slow_value", "1", "slow_target_fraction"),
        ("slow_value_every", "100", "slow_target_update"),
        ("model_lr", "1e-4", "model_opt.lr"),
        ("value_lr", "2e-4", "critic_opt.lr"),
        ("adam_eps", "1e-5", "model_opt.eps"),
        ("weight_decay", "1e-6", "model_opt.wd"),
        ("expl", "none", "expl_noise"),
    ],
};

// danijar/dreamerv3 at e3f0224, `configs.yaml`, `size1m`, as far as there are keys for it: the GRU is one block, the slow value makes the targets
// instead of regularising, and value and actor learn in imagination alone.
const V3_SMALL: Preset = Preset {
    name: "v3-small",
    about: "DreamerV3's choices at its smallest size, for comparison; Adam in place of its optimizer",
    rows: &[
        ("envs", "16", "run.envs"),
        ("prefill", "2048", "128 rows of each environment: two chunks"),
        ("pretrain", "1", "training goes by its ratio from the start"),
        ("train_every", "32", "run.train_ratio of 32: a batch replays 1024 steps"),
        ("train_steps", "1", "see train_every"),
        ("batch_size", "16", "batch_size"),
        ("batch_length", "64", "batch_length"),
        ("chunks", "across", "chunks cross episodes"),
        ("deter_size", "512", "dyn.rssm.deter"),
        ("hidden_size", "64", "dyn.rssm.hidden"),
        ("latent", "categorical", "dyn.rssm.classes"),
        ("stoch_size", "32", "dyn.rssm.stoch"),
        ("latent_classes", "4", "dyn.rssm.classes"),
        ("unimix", "0.01", "dyn.rssm.unimix"),
        ("norm", "rms", "norm"),
        ("cnn_norm", "rms", "norm"),
        ("gru_norm", "rms", "norm"),
        ("dense_act", "silu", "act"),
        ("cnn_act", "silu", "act"),
        ("num_units", "64", "units"),
        ("cnn_depth", "4", "depth"),
        ("encoder_units", "64,64,64", "enc.simple.layers"),
        ("decoder_units", "64,64,64", "dec.simple.layers"),
        ("reward_layers", "1", "rewhead.layers"),
        ("actor_layers", "3", "policy.layers"),
        ("pcont", "true", "there is always a continue head"),
        ("pcont_layers", "1", "conhead.layers"),
        ("pcont_scale", "1", "loss_scales.con"),
        ("symbolic_loss", "categorical", "discrete observations are categorical"),
        ("symlog_obs", "true", "enc.simple.symlog"),
        ("kl_balance", "1", "loss_scales.dyn"),
        ("kl_rep_scale", "0.1", "loss_scales.rep"),
        ("free_nats", "1", "dyn.rssm.free_nats"),
        ("free_nats_each", "true", "rssm.py, loss"),
        ("reward_dist", "twohot", "rewhead.output: symexp_twohot"),
        ("value_dist", "twohot", "value.output: symexp_twohot"),
        ("zero_init_heads", "true", "rewhead.outscale, value.outscale"),
        ("discount", "0.997", "horizon of 333: 1 - 1/333"),
        ("actor_grad", "reinforce", "ac_grads: false"),
        ("actor_entropy", "3e-4", "imag_loss.actent"),
        ("actor_unimix", "0.01", "policy_dist_disc.unimix"),
        ("actor_ends", "false", "agent.py, imag_loss: a state's weight has its own con in it"),
        ("return_norm", "true", "retnorm"),
        ("slow_value", "0.02", "slowvalue.rate"),
        ("model_lr", "1e-4", "arXiv 2301.04104v1, table of hyper parameters, for Adam"),
        ("value_lr", "3e-5", "see model_lr"),
        ("actor_lr", "3e-5", "see model_lr"),
        ("adam_eps", "1e-8", "see model_lr"),
        ("grad_clip", "1000", "see model_lr"),
        ("expl", "none", "the sampled policy explores"),
    ],
};

// Sid00867/Dreamer-World-Model at 772b102, whose DreamerV1 does not learn. Its losses are sums over the 8 steps of a chunk of means over all
// numbers; the three scales below translate them. Not taken over: batch norm, dropout of 0.3 before the decoder, a decoder that ends in a sigmoid,
// a GRU without the dense layer before it, five more plans every sixth block of updates, plans of at least 8 steps only.
const SID00867: Preset = Preset {
    name: "sid00867",
    about: "the choices of an implementation that fails on Simple-10x10, to be taken back one by one",
    rows: &[
        ("task", "Simple-10x10", "environment_variables.py: env_kind, size"),
        ("steps", "1502000", "the length of the run that was reported"),
        ("prefill", "250", "about as long as the plans; there is no random play"),
        ("expert_episodes", "25", "trainer.py: seed_smart_wins(25)"),
        ("eval_every", "50000", "a run is long"),
        ("eval_episodes", "64", "success within 6 points"),
        ("save_every", "50000", "as eval_every"),
        ("video_every", "0", "a run is long"),
        ("observation", "rgb_partial", "obs_mode, obs_scope"),
        ("tile_size", "4", "obs_shape: 28 pixels for 7 tiles"),
        ("time_limit", "150", "max_episode_len, which cuts what is stored"),
        ("deter_size", "200", "deterministic_dim"),
        ("stoch_size", "64", "latent_dim"),
        ("hidden_size", "256", "rssm.py: prior_fc"),
        ("num_units", "256", "actor_critic.py"),
        ("reward_layers", "1", "rssm.py: reward_model"),
        ("value_layers", "2", "actor_critic.py: ValueDecoder"),
        ("actor_layers", "2", "actor_critic.py: ActionDecoder"),
        ("min_std", "6.7e-3", "log_sigma_clamp: e^-5"),
        (
            "image_scale",
            "6.8e-3",
            "16 / 2352: the mean square over 28 x 28 x 3 numbers, times 8, is this times half the sum",
        ),
        ("reward_loss_scale", "16", "the square, times 8, is this times half the square"),
        ("kl_scale", "1.25e-6", "beta = 1e-5 of the mean over 64 normals, times 8"),
        ("free_nats", "0", "fitter.py has none"),
        ("reward_before_action", "true", "explore_sample.py: add_step(obs, action, r)"),
        ("last_rows", "false", "explore_sample.py: obs_next is never stored"),
        ("win_fraction", "0.25", "fitter.py: golden_ratio"),
        ("batch_size", "64", "batch_size"),
        ("batch_length", "8", "seq_len"),
        ("train_steps", "75", "C, for every 1000 of total_env_steps"),
        ("pretrain", "75", "trainer.py updates before it collects"),
        ("model_lr", "1e-3", "learnrate"),
        ("adam_eps", "1e-5", "fitter.py"),
        ("horizon", "20", "imagination_horizon"),
        ("imag_prior", "mean", "rssm.py, imagine_rollout: s = mu"),
        ("discount_weights", "false", "fitter.py: plain means"),
        (
            "value_actor_grad",
            "0.5",
            "fitter.py steps the critic after both backward passes; its own loss is the square, twice the half square",
        ),
        ("collect_greedy", "true", "planner.py: argmax"),
        ("expl", "epsilon_greedy", "explore_sample.py"),
        ("expl_amount", "0.15", "exploration_noise"),
    ],
};

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
