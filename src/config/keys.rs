//! The one table of keys. From it come the struct, parsing, listing and the resolved file.
//!
//! A row is `key: type = default, rule, resume;` under its doc comment. The defaults are DreamerV1's published values
//! (danijar/dreamer, `dreamer.py`, `define_config`) where it has the key; a key it lacks defaults to "as V1 did".
//! `resume` is `free` where an existing run may go on with another value, `fixed` where that would be another run.

use super::choices::*;
use super::place::Device;
use super::value::Rule::{self, *};
use super::value::Value;

/// Widest layer and state. What is larger is a slip of the hand, and no memory holds it.
const MAX_WIDTH: f64 = 16_384.0;
/// Largest batch in each of its two directions, likewise.
const MAX_ROWS: f64 = 65_536.0;

/// What is known about a key without looking at a value.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key as it is written.
    pub name: &'static str,
    /// The part of the program it belongs to.
    pub group: &'static str,
    /// One or two sentences on what it does.
    pub doc: &'static str,
    /// The numbers that it admits.
    pub rule: Rule,
    /// Whether a stored run may go on with another value.
    pub free_on_resume: bool,
    /// For a choice between words: each word and what it means.
    pub choices: &'static [(&'static str, &'static str)],
    expects: fn() -> String,
}

impl Key {
    /// What the key takes, in words: `a whole number, 2 or more`.
    pub fn expects(&self) -> String {
        (self.expects)() + &self.rule.words()
    }

    /// The key for people to read: what it does, what it takes, and each of its words.
    pub fn explained(&self) -> String {
        let mut text = format!("{} Takes {}.", self.doc.trim(), self.expects());
        for (word, meaning) in self.choices {
            text += &format!("\n  {word}: {}", meaning.trim());
        }
        text
    }
}

macro_rules! is_free {
    (free) => {
        true
    };
    (fixed) => {
        false
    };
}

macro_rules! keys {
    ($($group:literal { $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr, $rule:expr, $resume:ident;)+ })+) => {
        /// Every setting of a run, flat, by the name that flags and files use.
        ///
        /// `Config::default()` is DreamerV1 as published; a run starts from a preset and what the user says (see
        /// [`resolve`](super::resolve())). Lengths of time are in environment steps: one action of the agent is
        /// `action_repeat` of them, and `envs` environments advance together.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config { $($($(#[doc = $doc])+ pub $key: $type,)+)+ }

        impl Default for Config {
            fn default() -> Self {
                Config { $($($key: $default,)+)+ }
            }
        }

        /// Every key, in the order of the table.
        pub const KEYS: &[Key] = &[$($(Key {
            name: stringify!($key),
            group: $group,
            doc: concat!($($doc),+),
            rule: $rule,
            free_on_resume: is_free!($resume),
            choices: <$type as Value>::CHOICES,
            expects: <$type as Value>::expects,
        },)+)+];

        impl Config {
            /// Sets one key from text. Says what the key takes when the text is of another type or out of range.
            pub(super) fn assign(&mut self, key: &Key, text: &str) -> Result<(), String> {
                let fitting = match key.name {
                    $($(stringify!($key) => <$type as Value>::parse(text)
                        .filter(|value| value.numbers().iter().all(|&x| key.rule.admits(x)))
                        .map(|value| self.$key = value),)+)+
                    name => panic!("the table of keys has no {name}"),
                };
                fitting.ok_or_else(|| format!("{} takes {}, not \"{text}\"", key.name, key.expects()))
            }

            /// The value of a key as TOML; `None` for a key that does not exist.
            pub fn toml_value(&self, key: &str) -> Option<String> {
                match key {
                    $($(stringify!($key) => Some(self.$key.toml()),)+)+
                    _ => None,
                }
            }
        }
    };
}

keys! {
    "run" {
        /// The environment, by its id (`dreamer-fast envs list` shows all).
        task: String = "MiniGrid-DoorKey-6x6-v0".into(), Any, fixed;
        /// Every random number of the run follows from it: same seed, same device, same bits.
        seed: u64 = 0, Any, fixed;
        /// Environment steps after which training ends, prefill included.
        steps: u64 = 5_000_000, AtLeast(1.0), free;
        /// Environments stepped together.
        envs: usize = 1, Within(1.0, 4096.0), fixed;
        /// Environment steps of random play before the first update.
        prefill: u64 = 5000, AtLeast(1.0), fixed;
        /// Environment steps between two evaluations during training; 0 evaluates only at the end.
        eval_every: u64 = 10_000, Any, free;
        /// Episodes of an evaluation during training.
        eval_episodes: usize = 10, Within(1.0, 1e6), free;
        /// Episodes of the evaluation at the end, on layouts never trained on.
        final_eval_episodes: usize = 500, Within(1.0, 1e6), free;
        /// Environment steps between two lines of metrics.
        log_every: u64 = 1000, AtLeast(1.0), free;
        /// Environment steps between two checkpoints; 0 saves only at the end.
        save_every: u64 = 10_000, Any, free;
        /// Environment steps between two open-loop videos; 0 makes none.
        video_every: u64 = 10_000, Any, free;
        /// Where the network trains; acting stays on the processor.
        device: Device = Device::Auto, Any, free;
        /// The numbers that matrix products multiply.
        precision: Precision = Precision::F32, Any, fixed;
        /// Worker threads; 0 means all cores. The result does not depend on it.
        threads: usize = 0, Within(0.0, 1024.0), free;
    }
    "environment" {
        /// What the agent sees.
        observation: Observation = Observation::RgbPartial, Any, fixed;
        /// Side of a tile in pixels, for the rgb observations.
        tile_size: usize = 8, Within(2.0, 64.0), fixed;
        /// Actions of a gridworld: 3 (left, right, forward), 7 (and pickup, drop, toggle, done), or 0 for the task's own.
        action_set: usize = 0, OneOf(&[0.0, 3.0, 7.0]), fixed;
        /// Times each action of the agent is repeated.
        action_repeat: usize = 1, Within(1.0, 100.0), fixed;
        /// Environment steps after which an episode is cut; 0 means the task's own limit.
        time_limit: u32 = 0, Any, fixed;
        /// Share of a gridworld's layouts that training never sees: evaluations play only these. A layout belongs to one side by a
        /// checksum of itself, so the split is the same for every run. 0 keeps none apart: evaluations then only differ by seed.
        holdout: f64 = 0.25, Within(0.0, 0.9), fixed;
        /// The layouts that evaluations play. Where a task has few, those that are kept from training are no fair sample of it.
        eval_layouts: EvalLayouts = EvalLayouts::Unseen, Any, free;
        /// What a reward is multiplied by before it is learned from; scores and logs show rewards as they are.
        reward_scale: f64 = 1.0, Above(0.0), fixed;
        /// What happens to a reward, once scaled, before it is learned from.
        clip_rewards: ClipRewards = ClipRewards::None, Any, fixed;
    }
    "model" {
        /// Deterministic state of the RSSM (the GRU's width).
        deter_size: usize = 200, Within(1.0, MAX_WIDTH), fixed;
        /// Stochastic state: normals of a gaussian latent, variables of a categorical one.
        stoch_size: usize = 30, Within(1.0, MAX_WIDTH), fixed;
        /// Hidden units of the RSSM's dense layers.
        hidden_size: usize = 200, Within(1.0, MAX_WIDTH), fixed;
        /// Hidden units of every head: reward, continue, value, actor.
        num_units: usize = 400, Within(1.0, MAX_WIDTH), fixed;
        /// Activation of dense layers.
        dense_act: Activation = Activation::Elu, Any, fixed;
        /// Activation of convolutions.
        cnn_act: Activation = Activation::Relu, Any, fixed;
        /// Normalisation before the activation of every hidden dense layer.
        norm: Norm = Norm::None, Any, fixed;
        /// Normalisation before the activation of every convolution, of the channels of each pixel.
        cnn_norm: Norm = Norm::None, Any, fixed;
        /// Normalisation within the GRU, of its three projections together; with one the gates are DreamerV2's, without DreamerV1's.
        gru_norm: Norm = Norm::None, Any, fixed;
        /// Whether actions multiply the state where it moves on: each action then has weights of its own for what it does to the state. Otherwise the action
        /// is one more input beside it, as published.
        action_product: bool = false, Any, fixed;
        /// Cells along a side of a map of what was seen, with the agent in its middle, in place of the GRU; 0 has the GRU. With a map, which is for gridworlds, latents
        /// have a variable for each cell in view: `stoch_size` = 49.
        map_size: usize = 0, Within(0.0, 99.0), fixed;
        /// Whether what is written on the map erases what was there by a gate of its own, so that a cell that is hidden now may still be known.
        map_erase: bool = false, Any, fixed;
        /// Whether layers read the whole map, as so many numbers; if not, prior and plan alone look at it.
        map_dense: bool = true, Any, fixed;
        /// Sweeps of value iteration on the map, with which actor and value look so many steps ahead on it; 0 has none.
        map_sweeps: usize = 0, Within(0.0, 200.0), fixed;
        /// Whether a plan is told what is seen of a cell beside what the map holds there, not in its place: a cell whose sight is blocked may be known.
        map_beside: bool = false, Any, fixed;
        /// Channels of the first convolution; the following have 2, 4 and 8 times as many.
        cnn_depth: usize = 32, Within(1.0, MAX_WIDTH), fixed;
        /// Layer widths of the encoder of vector and symbolic observations.
        encoder_units: Vec<usize> = vec![400, 400], Within(1.0, MAX_WIDTH), fixed;
        /// Hidden layer widths of the decoder of vector and symbolic observations.
        decoder_units: Vec<usize> = vec![400, 400], Within(1.0, MAX_WIDTH), fixed;
        /// Hidden layers of the reward head.
        reward_layers: usize = 2, Within(0.0, 16.0), fixed;
        /// Hidden layers of the value head.
        value_layers: usize = 3, Within(0.0, 16.0), fixed;
        /// Hidden layers of the actor.
        actor_layers: usize = 4, Within(0.0, 16.0), fixed;
        /// Whether the model predicts if an episode goes on, instead of assuming a constant discount.
        pcont: bool = false, Any, fixed;
        /// Hidden layers of the continue head.
        pcont_layers: usize = 3, Within(0.0, 16.0), fixed;
        /// Weight of the continue loss.
        pcont_scale: f64 = 10.0, AtLeast(0.0), fixed;
        /// Nats of KL that cost nothing.
        free_nats: f64 = 3.0, AtLeast(0.0), fixed;
        /// Whether free nats are granted to each state instead of to the mean of the batch.
        free_nats_each: bool = false, Any, fixed;
        /// Weight of the observation's loss.
        image_scale: f64 = 1.0, AtLeast(0.0), fixed;
        /// Weight of the reward's loss.
        reward_loss_scale: f64 = 1.0, AtLeast(0.0), fixed;
        /// Weight of the KL term.
        kl_scale: f64 = 1.0, AtLeast(0.0), fixed;
        /// Weight of KL(sg(post) || prior), the term that trains the prior; -1 trains both with one plain KL, as V1 did.
        kl_balance: f64 = -1.0, Within(-1.0, 1.0), fixed;
        /// Weight of KL(post || sg(prior)), the term that trains the posterior; unused while kl_balance = -1.
        kl_rep_scale: f64 = 0.1, AtLeast(0.0), fixed;
        /// Smallest standard deviation of a gaussian latent.
        min_std: f64 = 0.1, Above(0.0), fixed;
        /// The stochastic part of the RSSM's state.
        latent: Latent = Latent::Gaussian, Any, fixed;
        /// Classes of each variable of a categorical latent.
        latent_classes: usize = 8, Within(2.0, 1024.0), fixed;
        /// Share of the uniform distribution mixed into every categorical latent.
        unimix: f64 = 0.0, Within(0.0, 0.5), fixed;
        /// Weight of KL(uniform || post), the sum over the variables of a categorical latent: keeps classes that are not in use within reach of what is rare.
        latent_barrier: f64 = 0.0, AtLeast(0.0), fixed;
        /// Updates after which latent_barrier has halved, once and again; 0 keeps it.
        latent_barrier_decay: f64 = 0.0, AtLeast(0.0), fixed;
        /// Least weight that latent_barrier_decay leaves.
        latent_barrier_min: f64 = 0.0, AtLeast(0.0), fixed;
        /// How a symbolic observation is judged.
        symbolic_loss: SymbolicLoss = SymbolicLoss::Normal, Any, fixed;
        /// Weight of cells that hold an object (key, door, goal, ball, box, lava): of their variables in the categorical loss of a symbolic
        /// observation, of their pixels in the loss of an rgb one; without effect on vectors.
        object_weight: f64 = 1.0, Above(0.0), fixed;
        /// Whether the numbers of a vector observation are seen, and predicted, through symlog; without effect on pixels and cells.
        symlog_obs: bool = false, Any, fixed;
        /// Output distribution of the reward head.
        reward_dist: ScalarDist = ScalarDist::Normal, Any, fixed;
        /// Output distribution of the value head.
        value_dist: ScalarDist = ScalarDist::Normal, Any, fixed;
        /// Bins of a twohot distribution.
        twohot_bins: usize = 255, Within(3.0, 1001.0), fixed;
        /// The bins of a twohot distribution span symlog values from minus this to this.
        twohot_limit: f64 = 20.0, Above(0.0), fixed;
        /// Whether the last layer of the reward and value heads starts at zero.
        zero_init_heads: bool = false, Any, fixed;
    }
    "training" {
        /// Chunks in a batch.
        batch_size: usize = 50, Within(1.0, MAX_ROWS), fixed;
        /// Time steps of a chunk.
        batch_length: usize = 50, Within(2.0, MAX_ROWS), fixed;
        /// Rows of the same episode before a chunk that lead to the state it begins in, without gradients; 0 begins every chunk in the zero state.
        context_length: usize = 0, Within(0.0, MAX_ROWS), fixed;
        /// Environment steps between two blocks of updates.
        train_every: u64 = 1000, AtLeast(1.0), fixed;
        /// Updates in a block.
        train_steps: usize = 100, AtLeast(1.0), fixed;
        /// Updates right after prefill, in place of the first block.
        pretrain: usize = 100, Any, fixed;
        /// Learning rate of the world model.
        model_lr: f64 = 6e-4, AtLeast(0.0), fixed;
        /// Learning rate of the value head.
        value_lr: f64 = 8e-5, AtLeast(0.0), fixed;
        /// Learning rate of the actor.
        actor_lr: f64 = 8e-5, AtLeast(0.0), fixed;
        /// Share of a run's updates, its last ones, in which these three fall to 0 in a straight line; a run that gets more steps goes on with the
        /// rates that these call for.
        lr_anneal: f64 = 0.0, Within(0.0, 1.0), fixed;
        /// Largest global norm of the gradient of each of the three groups.
        grad_clip: f64 = 100.0, Above(0.0), fixed;
        /// Adam's epsilon, beside the bias-corrected root.
        adam_eps: f64 = 1e-7, Above(0.0), fixed;
        /// Decay rate of Adam's mean of gradients.
        adam_beta1: f64 = 0.9, Within(0.0, 0.9999999), fixed;
        /// Decay rate of Adam's mean of squared gradients.
        adam_beta2: f64 = 0.999, Within(0.0, 0.9999999), fixed;
        /// Share of a weight taken away in every update, apart from Adam and not scaled by its learning rate.
        weight_decay: f64 = 0.0, Within(0.0, 0.5), fixed;
        /// Parameters that weight_decay applies to, by dotted name; * stands for any text (`rssm.*`, `*.w`).
        weight_decay_pattern: String = "*".into(), Any, fixed;
    }
    "replay" {
        /// Bytes of memory for stored experience; the oldest episodes leave first.
        replay_bytes: u64 = 1 << 30, AtLeast(65536.0), fixed;
        /// Which windows of the stored experience can become a chunk.
        chunks: Chunks = Chunks::Within, Any, fixed;
        /// Share of chunks drawn among those that hold a reward above 0; never more chunks than there are such rewards, so that the first of
        /// them is not learned by heart.
        reward_fraction: f64 = 0.0, Within(0.0, 1.0), fixed;
        /// Share of chunks drawn from episodes whose rewards add up to more than 0; never more chunks than there are such episodes.
        win_fraction: f64 = 0.0, Within(0.0, 1.0), fixed;
        /// The first episodes, this many, are played by the shortest plan to success, before random play begins.
        expert_episodes: u64 = 0, Any, fixed;
        /// Whether the last row of an episode, its final observation and what came with it, can be in a batch.
        last_rows: bool = true, Any, fixed;
        /// Whether a chunk that begins inside an episode is given the action that led there; without it, it looks like the beginning of an episode.
        first_actions: bool = false, Any, fixed;
        /// Whether a batch holds each reward beside the observation before the action that earned it, not beside the one after it.
        reward_before_action: bool = false, Any, fixed;
    }
    "behaviour" {
        /// Discount per step.
        discount: f64 = 0.99, Within(0.0, 1.0), fixed;
        /// Lambda of the lambda-return.
        disclam: f64 = 0.95, Within(0.0, 1.0), fixed;
        /// Steps of imagination.
        horizon: usize = 15, Within(2.0, 1000.0), fixed;
        /// Posterior states that imagination starts from: those of the last time steps of all chunks, a multiple of batch_size; 0 means all.
        imag_starts: usize = 0, Any, fixed;
        /// The actor's distribution.
        action_dist: ActionDist = ActionDist::Auto, Any, fixed;
        /// Standard deviation of a tanh_normal actor at the start.
        action_init_std: f64 = 5.0, Above(0.0), fixed;
        /// The mean of a tanh_normal actor, before its tanh, stays within minus this and this.
        action_mean_scale: f64 = 5.0, Above(0.0), fixed;
        /// Smallest standard deviation of a tanh_normal actor.
        action_min_std: f64 = 1e-4, Above(0.0), fixed;
        /// Where the actor's gradient comes from.
        actor_grad: ActorGrad = ActorGrad::Dynamics, Any, fixed;
        /// Share of the dynamics gradient where actor_grad = mixed; the rest is reinforce.
        actor_grad_mix: f64 = 0.1, Within(0.0, 1.0), fixed;
        /// What becomes of the prior in imagination.
        imag_prior: ImagPrior = ImagPrior::Sample, Any, fixed;
        /// Whether imagined steps count in both losses by the product of the discounts before them.
        discount_weights: bool = true, Any, fixed;
        /// Whether the actor also learns in imagined states that have ended, where no action is taken. Otherwise a state counts by its own
        /// predicted discount, too; for reinforce with discount_weights and pcont.
        actor_ends: bool = true, Any, fixed;
        /// Weight of the actor's loss in what the value head minimises; above 0 the value is also pulled towards larger returns.
        value_actor_grad: f64 = 0.0, AtLeast(0.0), fixed;
        /// Share of the uniform distribution in that of a discrete actor's actions.
        actor_unimix: f64 = 0.0, Within(0.0, 0.5), fixed;
        /// Weight in the actor's loss of the mean of -ln pi over all actions, which lets no action become unthinkable; needs reinforce or mixed.
        actor_log_barrier: f64 = 0.0, AtLeast(0.0), fixed;
        /// Weight of the actor's entropy in its loss.
        actor_entropy: f64 = 0.0, AtLeast(0.0), fixed;
        /// Updates in which that weight halves; 0 keeps it constant.
        actor_entropy_decay: f64 = 0.0, AtLeast(0.0), fixed;
        /// That weight never falls below this.
        actor_entropy_min: f64 = 0.0, AtLeast(0.0), fixed;
        /// Share by which a slow copy of the value head follows it in every update and provides targets; 0 means no copy.
        slow_value: f64 = 0.0, Within(0.0, 1.0), fixed;
        /// Updates between two steps of the slow copy.
        slow_value_every: u64 = 1, AtLeast(1.0), fixed;
        /// Whether the actor's returns are divided by their range, a moving average of the 5th to the 95th percentile.
        return_norm: bool = false, Any, fixed;
        /// Smallest range that returns are divided by.
        return_norm_floor: f64 = 1.0, Above(0.0), fixed;
        /// Share by which the moving range follows each batch's.
        return_norm_rate: f64 = 0.01, Within(0.0, 1.0), fixed;
        /// Whether collecting takes the actor's most probable action instead of a sample.
        collect_greedy: bool = false, Any, fixed;
        /// Noise on the actions while collecting.
        expl: Exploration = Exploration::Auto, Any, fixed;
        /// Amount of that noise at the start.
        expl_amount: f64 = 0.3, Within(0.0, 1.0), fixed;
        /// Environment steps in which the amount halves; 0 keeps it constant.
        expl_decay: f64 = 0.0, AtLeast(0.0), fixed;
        /// The amount never falls below this.
        expl_min: f64 = 0.0, Within(0.0, 1.0), fixed;
        /// Amount of that noise in evaluation.
        eval_noise: f64 = 0.0, Within(0.0, 1.0), free;
    }
}
