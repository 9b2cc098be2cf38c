//! Does it learn? Worlds so small that the answer is known, learned by the whole training step in seconds. They fail when
//! the actor loss or the continue loss has the other sign, when a return has no bootstrap, and when the plan does not see an
//! update. The last one asks whether a real run begins well.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use dreamer_fast::autodiff::{Clock, Params};
use dreamer_fast::base::{Philox, philox::stream};
use dreamer_fast::config::{Config, Request, resolve};
use dreamer_fast::device::Pool;
use dreamer_fast::dreamer::init::init;
use dreamer_fast::dreamer::policy::{Choice, Policy};
use dreamer_fast::dreamer::step::{NoiseSource, TrainStep};
use dreamer_fast::dreamer::{Actions, Model, Observation};
use dreamer_fast::ops::normal_nll::HALF_LN_TAU;

const SEED: u64 = 1;

/// The preset `debug` with changes `key=value`.
fn config(task: &str, changes: &[&str]) -> Config {
    let set = changes.iter().map(|change| change.to_string()).collect();
    let request =
        Request { preset: Some("debug".into()), flags: vec![("task", task.into())], set, ..Request::default() };
    resolve(&request).unwrap().config
}

struct Learner {
    step: TrainStep<f32>,
    params: Params<f32>,
    pool: Arc<Pool>,
}

impl Learner {
    fn new(config: &Config, observation: Observation, actions: Actions) -> Self {
        let model = Model::new(config, observation, actions).unwrap();
        let mut params = Params::new(model.layout().into());
        init(&model, &mut params, SEED);
        let pool = Arc::new(Pool::new(1).unwrap());
        let step = TrainStep::new(&model, &params, NoiseSource::Drawn, &pool);
        Learner { step, params, pool }
    }

    fn update(&mut self) {
        self.step.gradients(&mut self.params, SEED);
        assert_eq!(self.step.not_finite(), None);
        self.step.update(&mut self.params);
    }

    fn metric(&self, name: &str) -> f64 {
        self.step.metrics().find(|m| m.0 == name).unwrap().1
    }
}

/// Fills a batch with noise to be learned by heart: what each action leads to, and its reward, have no other law than that
/// they stay the same.
fn by_heart(learner: &mut Learner) {
    let model = learner.step.model.clone();
    let step = &mut learner.step;
    let mut rng = Philox::new(SEED, stream::TEST, 0);
    let batch = step.batch;
    match &model.observation {
        Observation::Symbolic { classes, .. } => {
            let per_cell: usize = classes.iter().sum();
            for cell in step.plan.input_mut(batch.obs).chunks_exact_mut(per_cell) {
                let mut at = 0;
                for &k in classes {
                    cell[at + rng.below(k)] = 1.0;
                    at += k;
                }
            }
            if let Some(weight) = batch.weight {
                step.plan.input_mut(weight).fill(1.0);
            }
        }
        _ => step.plan.input_mut(batch.obs).iter_mut().for_each(|x| *x = rng.normal() as f32),
    }
    let a = model.actions.size();
    step.plan.input_mut(batch.action).chunks_exact_mut(a).for_each(|x| x[rng.below(a)] = 1.0);
    step.plan.input_mut(batch.reward).iter_mut().for_each(|x| *x = rng.normal() as f32);
    let target = step.plan.input_mut(batch.pcont_target);
    target.iter_mut().for_each(|x| *x = if rng.uniform() < 0.3 { 0.0 } else { 1.0 });
    let b = model.config.batch_size;
    step.plan.input_mut(batch.keep).iter_mut().enumerate().for_each(|(row, x)| *x = f32::from(u8::from(row >= b)));
}

const BY_HEART: [&str; 7] = [
    "model_lr=0.003",
    "num_units=32",
    "hidden_size=32",
    "deter_size=32",
    "encoder_units=64",
    "decoder_units=64",
    "pcont=true",
];

/// 32 rows, learned by heart: each part of the loss falls to a tenth of what it was, beyond the constants that no model can pass.
#[test]
fn the_world_model_learns_a_batch_by_heart() {
    let config = config("Pendulum-v1", &BY_HEART);
    let size = 6;
    let mut learner = Learner::new(&config, Observation::Vector { size }, Actions::Discrete(3));
    by_heart(&mut learner);
    learner.update();
    // A normal of standard deviation 1 leaves ln(2 pi) / 2 for each number.
    let excess = |learner: &Learner| {
        let image = learner.metric("image_loss") - size as f64 * HALF_LN_TAU;
        [image, learner.metric("reward_loss") - HALF_LN_TAU, learner.metric("pcont_loss")]
    };
    let before = excess(&learner);
    (0..800).for_each(|_| learner.update());
    let after = excess(&learner);
    for (name, (before, after)) in ["image", "reward", "continue"].iter().zip(before.iter().zip(after)) {
        assert!(after < 0.1 * before, "{name}: from {before} to {after}");
    }
}

/// The same with categorical latents, cells and two-hot rewards. (Of a reward between two bins, the entropy of its two-hot
/// remains, so its loss is not judged.)
#[test]
fn the_categorical_world_model_learns_a_batch_by_heart() {
    let kinds =
        ["latent=categorical", "symbolic_loss=categorical", "reward_dist=twohot", "twohot_bins=31", "twohot_limit=3"];
    let more = ["kl_balance=0.5", "free_nats=1", "unimix=0.01"];
    let config = config("MiniGrid-Empty-5x5-v0", &[&BY_HEART[..], &kinds, &more].concat());
    let observation = Observation::Symbolic { cells: 4, classes: vec![4, 3, 2] };
    let mut learner = Learner::new(&config, observation, Actions::Discrete(3));
    by_heart(&mut learner);
    learner.update();
    let before = learner.metric("image_loss");
    (0..800).for_each(|_| learner.update());
    let after = learner.metric("image_loss");
    assert!(after < 0.1 * before, "from {before} to {after} nats");
    assert!(learner.metric("pcont_loss") < 0.1, "continue: {}", learner.metric("pcont_loss"));
}

/// Where every state gives the reward 1 and goes on, the value is 1 / (1 - discount), although imagination ends after 5
/// steps: the bootstrap makes up for the rest. Without it the value would be (1 - discount^4) / (1 - discount), 3.4 in place
/// of 10.
#[test]
fn the_value_of_a_constant_reward_is_its_geometric_series() {
    for pcont in [false, true] {
        let set = ["discount=0.9", "disclam=0.95", "horizon=5", "value_lr=0.01", "model_lr=0", "actor_lr=0"];
        let pcont_key = format!("pcont={pcont}");
        let config = config("Pendulum-v1", &[&set[..], &[&pcont_key]].concat());
        let mut learner = Learner::new(&config, Observation::Vector { size: 3 }, Actions::Continuous(1));
        learner.params.value_mut("reward.out.w").fill(0.0);
        learner.params.value_mut("reward.out.b").fill(1.0);
        if pcont {
            learner.params.value_mut("pcont.out.w").fill(0.0);
            // The logit of 0.9.
            learner.params.value_mut("pcont.out.b").fill(9.0_f32.ln());
        }
        let mean = |learner: &Learner| {
            let values = learner.step.plan.value(learner.step.behavior.values);
            values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64
        };
        learner.update();
        let before = mean(&learner);
        (0..600).for_each(|_| learner.update());
        let after = mean(&learner);
        assert!((after - 10.0).abs() < 0.3, "pcont {pcont}: from {before} to {after}, not 10");
    }
}

/// A world where nothing ever changes, and where the reward says how good the last action was: a bandit. The model is taught
/// from random play, the actor learns in imagination alone. Returns the share of good actions among samples of the policy,
/// before and after.
fn bandit(
    actions: Actions,
    changes: &[&str],
    reward: impl Fn(&[f32]) -> f32,
    good: impl Fn(&[f32]) -> bool,
) -> [f64; 2] {
    let task = if actions.discrete() { "MiniGrid-Empty-5x5-v0" } else { "Pendulum-v1" };
    let set = [
        "horizon=3",
        "discount=0.5",
        "model_lr=0.003",
        "actor_lr=0.003",
        "value_lr=0.003",
        "free_nats=0",
        "kl_scale=0.1",
    ];
    let config = config(task, &[&set[..], changes].concat());
    let mut learner = Learner::new(&config, Observation::Vector { size: 2 }, actions);
    let share = |learner: &mut Learner| {
        let n = 200;
        let mut policy = Policy::new(&learner.step.model, &learner.params, n, false, &learner.pool);
        policy.obs_mut().fill(1.0);
        let (mut chosen, mut count) = (vec![0.0; n * actions.size()], 0);
        for step in 0..4 {
            policy.act(&mut learner.params, &[step == 0; 200], Choice::Sample, Clock { seed: 5, step }, &mut chosen);
            count += chosen.chunks_exact(actions.size()).filter(|a| good(a)).count();
        }
        count as f64 / (4 * n) as f64
    };
    let before = share(&mut learner);
    let mut rng = Philox::new(SEED, stream::TEST, 1);
    let b = config.batch_size;
    for update in 0..BANDIT_UPDATES {
        // An actor that learns before the model knows the peak runs into a corner, where tanh has no gradient left.
        learner.step.model.config.actor_lr = if update < BANDIT_UPDATES / 2 { 0.0 } else { config.actor_lr };
        let batch = learner.step.batch;
        let plan = &mut learner.step.plan;
        plan.input_mut(batch.obs).fill(1.0);
        let mut rewards = Vec::new();
        for action in plan.input_mut(batch.action).chunks_exact_mut(actions.size()) {
            action.fill(0.0);
            match actions {
                Actions::Discrete(n) => action[rng.below(n)] = 1.0,
                Actions::Continuous(_) => action.iter_mut().for_each(|a| *a = (2.0 * rng.uniform() - 1.0) as f32),
            }
            rewards.push(reward(action));
        }
        // The first row is a reset: no action led there.
        rewards[..b].fill(0.0);
        plan.input_mut(batch.reward).copy_from_slice(&rewards);
        plan.input_mut(batch.pcont_target).fill(config.discount as f32);
        plan.input_mut(batch.keep).iter_mut().enumerate().for_each(|(row, k)| *k = f32::from(u8::from(row >= b)));
        learner.update();
    }
    [before, share(&mut learner)]
}

/// Updates that each bandit gets; the actor learns in the second half.
const BANDIT_UPDATES: usize = 1000;

/// One of four actions is rewarded.
fn arms(changes: &[&str]) {
    let good = |action: &[f32]| action[2] == 1.0;
    let [before, after] = bandit(Actions::Discrete(4), changes, |action| action[2], good);
    assert!(before < 0.6 && after > 0.9, "the rewarded action is taken in {before}, later in {after} of all cases");
}

#[test]
fn dynamics_gradients_find_the_rewarded_action() {
    arms(&["actor_grad=dynamics", "actor_entropy=0.001"]);
}

#[test]
fn reinforce_finds_the_rewarded_action() {
    arms(&["actor_grad=reinforce", "actor_entropy=0.001"]);
}

#[test]
fn reinforce_with_slow_values_and_normed_returns_finds_the_rewarded_action() {
    let set = ["actor_grad=reinforce", "actor_entropy=0.003", "slow_value=0.05", "return_norm=true", "pcont=true"];
    arms(&[&set[..], &["latent=categorical", "value_dist=twohot", "twohot_bins=31", "twohot_limit=3"]].concat());
}

/// The reward falls off from its peak at 0.5 in each of two dimensions; most random actions are nowhere near.
#[test]
fn a_continuous_actor_finds_the_peak() {
    let peak = |a: &[f32]| 1.0 - a.iter().map(|a| (a - 0.5).powi(2)).sum::<f32>();
    let near = |a: &[f32]| a.iter().all(|a| (a - 0.5).abs() < 0.25);
    let [before, after] = bandit(Actions::Continuous(2), &["action_init_std=1"], peak, near);
    assert!(before < 0.3 && after > 0.9, "actions near the peak: {before}, later {after}");
}

/// The first updates of the preset `gridworld` must not drive its latents into saturation, where no gradient brings them back. Without norms
/// they did with both seeds: the entropy of the posterior was then 1.1 nats, that of 16 variables that show the same class whatever is seen.
#[test]
fn latents_outlive_the_first_updates() {
    // With unimix = 0.01 a variable of 8 classes has no less.
    let (sure, other) = (0.99 + 0.01 / 8.0, 0.01 / 8.0);
    let dead = -16.0 * (f64::ln(sure) * sure + 7.0 * f64::ln(other) * other);
    for seed in ["0", "3"] {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("latents-{seed}"));
        let _ = std::fs::remove_dir_all(&folder);
        let mut train = Command::new(env!("CARGO_BIN_EXE_dreamer-fast"));
        train.args(["train", "--preset", "gridworld", "--task", "MiniGrid-KeyCorridorS3R1-v0", "--seed", seed]);
        train.args(["--steps", "3000", "--device", "cpu", "--set", "final_eval_episodes=1", "--set", "log_every=250"]);
        train.arg("--logdir").arg(&folder).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(train.status().unwrap().success());
        let metrics = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        let lines = metrics.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let entropy = lines.filter_map(|line| line["post_ent"].as_f64()).next_back().unwrap();
        assert!(entropy > 5.0 * dead, "seed {seed}: a posterior of {entropy} nats, where a dead one has {dead}");
    }
}
