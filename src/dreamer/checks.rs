//! Gradient checks of whole losses: tiny Dreamers in f64, every kind of observation, action, latent, head and loss.
//!
//! For each model the gradients of a training step (the world loss to the world model, the actor loss to the actor, the value loss to the value
//! head) are compared with central differences of the same three losses. Noise is drawn by Philox at one step of the clock, so it stands still
//! while parameters move. Gradients stop in places, and one-hot samples pass them straight through: the losses that are differentiated are those
//! of a trace in which [`surrogate::freeze`] holds both, so that their slope is what the gradient ought to be. Where a trace stops gradients is
//! thereby taken from the trace itself; that it stops them where the paper does is shown by golden files and by `tests/routing.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::init::init;
use super::model::{Actions, GROUPS, Model, Observation, SLOW};
use super::step::{NoiseSource, TrainStep, trace};
#[cfg(feature = "cuda")]
use crate::autodiff::cuda_check;
use crate::autodiff::gradcheck::{Outcome, STEP, sampled};
use crate::autodiff::{Clock, Graph, Params, Plan, Sweep, surrogate};
use crate::base::{Philox, Real, philox::stream};
use crate::config::{Activation, ActorGrad, Config, ImagPrior, Latent, Norm, ScalarDist, SymbolicLoss};
use crate::device::Pool;
#[cfg(feature = "cuda")]
use crate::{base::Result, device::cuda::kernels::Kernels};

/// Largest error that passes: the distance between gradient and slope over the largest gradient of the tensor.
///
/// A loss of size L is computed to about L 1e-16, so a slope over 2e-5 is uncertain by about L 5e-12, and by more where large terms
/// cancel: a few times 1e-10 for the losses here. See [`FLOOR`] for tensors with small gradients.
pub const BOUND: f64 = 4e-7;

/// A tensor whose largest gradient is below this share of the largest of its loss is judged as if it were this large: central differences see
/// the loss, and no gradient far below the others, to this accuracy.
pub const FLOOR: f64 = 1e-3;

/// Seed of the noise.
const SEED: u64 = 9;

/// A tiny model to check, and what is special about it.
pub struct WholeLoss {
    /// Observations, actions, and what differs from the published model.
    pub name: &'static str,
    /// The model.
    pub model: Model,
}

/// Sizes that differ from each other, so that no two axes can be mistaken.
fn tiny() -> Config {
    Config {
        batch_size: 3,
        batch_length: 4,
        horizon: 5,
        deter_size: 7,
        stoch_size: 3,
        hidden_size: 6,
        num_units: 8,
        cnn_depth: 2,
        encoder_units: vec![9, 10],
        decoder_units: vec![11, 5],
        reward_layers: 1,
        value_layers: 2,
        actor_layers: 2,
        pcont_layers: 1,
        free_nats: 0.05,
        action_init_std: 1.0,
        object_weight: 1.0,
        ..Config::default()
    }
}

/// All models.
pub fn whole_losses() -> Vec<WholeLoss> {
    let image = |side| Observation::Image { height: side, width: side, channels: 1 };
    let vector = || Observation::Vector { size: 5 };
    let symbolic = || Observation::Symbolic { cells: 4, classes: vec![3, 2] };
    let categorical = || Config { latent: Latent::Categorical, latent_classes: 4, ..tiny() };
    // A view of 3 x 3 cells on a map of 5 x 5.
    let mapped = || Config { map_size: 5, stoch_size: 9, latent_classes: 2, ..categorical() };
    let reinforce = ActorGrad::Reinforce;
    let rows = vec![
        ("image 8x8, continuous", image(8), Actions::Continuous(2), tiny()),
        ("image 28x28, discrete, pcont", image(28), Actions::Discrete(3), Config { pcont: true, ..tiny() }),
        (
            "image 9x9, continuous, all activations tanh, kl below free nats",
            image(9),
            Actions::Continuous(1),
            Config { dense_act: Activation::Tanh, cnn_act: Activation::Tanh, free_nats: 20.0, ..tiny() },
        ),
        ("vector, continuous", vector(), Actions::Continuous(2), tiny()),
        ("vector, discrete", vector(), Actions::Discrete(4), tiny()),
        (
            "vector, discrete, entropy bonus, free nats of each state",
            vector(),
            Actions::Discrete(4),
            // Some states lie below, some above.
            Config { actor_entropy: 0.1, free_nats: 0.5, free_nats_each: true, ..tiny() },
        ),
        (
            "vector, continuous, twohot, slow value, pcont",
            vector(),
            Actions::Continuous(2),
            Config {
                reward_dist: ScalarDist::Twohot,
                value_dist: ScalarDist::Twohot,
                twohot_bins: 11,
                twohot_limit: 2.0,
                slow_value: 0.02,
                pcont: true,
                ..tiny()
            },
        ),
        (
            "vector, discrete, reinforce, log barrier, lambda 0",
            vector(),
            Actions::Discrete(4),
            Config {
                actor_grad: reinforce,
                actor_entropy: 0.01,
                actor_entropy_decay: 100.0,
                actor_log_barrier: 0.2,
                disclam: 0.0,
                ..tiny()
            },
        ),
        ("vector, discrete, categorical latent", vector(), Actions::Discrete(4), categorical()),
        (
            "image 9x9, discrete, context before a chunk",
            image(9),
            Actions::Discrete(4),
            Config { context_length: 2, ..tiny() },
        ),
        (
            "vector, continuous, categorical latent, unimix, balanced kl",
            vector(),
            Actions::Continuous(2),
            Config { unimix: 0.05, kl_balance: 0.8, kl_rep_scale: 0.2, kl_scale: 0.7, ..categorical() },
        ),
        (
            "vector, discrete, layer norms, silu, symlog heads",
            vector(),
            Actions::Discrete(4),
            Config {
                norm: Norm::Layer,
                gru_norm: Norm::Layer,
                dense_act: Activation::Silu,
                reward_dist: ScalarDist::SymlogNormal,
                value_dist: ScalarDist::SymlogNormal,
                actor_grad: ActorGrad::Reinforce,
                actor_unimix: 0.1,
                ..tiny()
            },
        ),
        (
            "vector, discrete, actions that multiply",
            vector(),
            Actions::Discrete(4),
            Config { action_product: true, ..tiny() },
        ),
        (
            "vector, continuous, categorical latent, actions that multiply, rms norm in the gru",
            vector(),
            Actions::Continuous(2),
            Config { action_product: true, gru_norm: Norm::Rms, ..categorical() },
        ),
        (
            "image 8x8, discrete, rms norms, silu, weighted pixels and terms, mixed actor gradient",
            image(8),
            Actions::Discrete(3),
            Config {
                norm: Norm::Rms,
                cnn_norm: Norm::Rms,
                gru_norm: Norm::Rms,
                dense_act: Activation::Silu,
                cnn_act: Activation::Silu,
                // Over two channels an RMS norm magnifies the roundings of f32 beyond the bound, on the CPU as well.
                cnn_depth: 4,
                object_weight: 10.0,
                image_scale: 0.5,
                reward_loss_scale: 3.0,
                actor_grad: ActorGrad::Mixed,
                actor_grad_mix: 0.3,
                actor_entropy: 0.01,
                ..tiny()
            },
        ),
        (
            "symbolic, discrete, a map, unimix, balanced kl",
            Observation::Symbolic { cells: 9, classes: vec![3, 2] },
            Actions::Discrete(3),
            Config { unimix: 0.05, kl_balance: 0.5, ..mapped() },
        ),
        (
            "image 6x6, continuous, a map that erases apart, barrier",
            image(6),
            Actions::Continuous(2),
            Config { map_erase: true, latent_barrier: 0.1, ..mapped() },
        ),
        (
            "symbolic, discrete, plans on a map, slow value",
            Observation::Symbolic { cells: 9, classes: vec![3, 2] },
            Actions::Discrete(3),
            Config { map_sweeps: 5, actor_grad: reinforce, slow_value: 0.02, ..mapped() },
        ),
        (
            "symbolic, discrete, plans on a map that no other layer reads, slow value",
            Observation::Symbolic { cells: 9, classes: vec![3, 2] },
            Actions::Discrete(3),
            Config {
                map_sweeps: 5,
                map_dense: false,
                map_beside: true,
                actor_grad: reinforce,
                slow_value: 0.02,
                ..mapped()
            },
        ),
        (
            "vector, discrete, mean of the prior, the actor's loss trains the value, steps count alike",
            vector(),
            Actions::Discrete(4),
            Config { imag_prior: ImagPrior::Mean, value_actor_grad: 0.5, discount_weights: false, ..tiny() },
        ),
        (
            "vector, continuous, categorical latent, mean of the prior, norms without gru norm",
            vector(),
            Actions::Continuous(2),
            Config { imag_prior: ImagPrior::Mean, unimix: 0.05, norm: Norm::Layer, ..categorical() },
        ),
        (
            "symbolic as normal, continuous, balanced kl, some starts",
            symbolic(),
            Actions::Continuous(2),
            Config { symbolic_loss: SymbolicLoss::Normal, kl_balance: 0.8, imag_starts: 6, ..tiny() },
        ),
        (
            "symbolic, discrete, everything that the gridworld preset sets",
            symbolic(),
            Actions::Discrete(4),
            Config {
                symbolic_loss: SymbolicLoss::Categorical,
                unimix: 0.01,
                pcont: true,
                pcont_scale: 1.0,
                free_nats: 0.3,
                free_nats_each: true,
                kl_balance: 0.5,
                kl_rep_scale: 0.1,
                reward_dist: ScalarDist::Twohot,
                value_dist: ScalarDist::Twohot,
                twohot_bins: 11,
                twohot_limit: 2.0,
                actor_grad: reinforce,
                actor_entropy: 3e-3,
                slow_value: 0.02,
                return_norm: true,
                actor_ends: false,
                imag_starts: 6,
                ..categorical()
            },
        ),
    ];
    rows.into_iter()
        .map(|(name, observation, actions, config)| {
            let model = Model::new(&config, observation, actions).unwrap_or_else(|e| panic!("{name}: {e}"));
            WholeLoss { name, model }
        })
        .collect()
}

/// Parameters to check at: initial ones, with biases and zero heads that are not 0, and a slow value that has fallen behind.
pub fn parameters<R: Real>(model: &Model) -> Params<R> {
    let mut params = Params::new(Arc::new(model.layout()));
    init(model, &mut params, 3);
    let mut rng = Philox::new(17, stream::TEST, 0);
    let layout = params.layout.clone();
    for entry in layout.entries() {
        let apart = entry.shape.len() == 1 || entry.name.starts_with(SLOW) || entry.name.ends_with(".map.w");
        params.value_mut(&entry.name).iter_mut().filter(|_| apart).for_each(|x| *x += R::of(0.2 * rng.normal()));
    }
    params
}

/// The name and values of every input of a training step that holds data.
pub fn batch(model: &Model) -> Vec<(&'static str, Vec<f64>)> {
    let c = &model.config;
    let (t, b) = (c.chunk_length(), c.batch_size);
    let n = t * b;
    let mut rng = Philox::new(23, stream::TEST, 0);
    let mut onehots = |classes: &[usize], count: usize| -> Vec<f64> {
        let mut out = Vec::new();
        for _ in 0..count {
            for &k in classes {
                let chosen = rng.below(k);
                out.extend((0..k).map(|i| if i == chosen { 1.0 } else { 0.0 }));
            }
        }
        out
    };
    let actions_onehot = onehots(&[model.actions.size()], n);
    let planes = match &model.observation {
        Observation::Symbolic { cells, classes } => onehots(classes, n * cells),
        _ => Vec::new(),
    };
    let mut draw = |count: usize, scale: f64| -> Vec<f64> { (0..count).map(|_| scale * rng.normal()).collect() };
    let obs = match model.observation {
        Observation::Symbolic { .. } => planes,
        Observation::Image { .. } => draw(n * model.observation.size(), 0.3),
        Observation::Vector { size } => draw(n * size, 1.0),
    };
    let action = if model.actions.discrete() {
        actions_onehot
    } else {
        draw(n * model.actions.size(), 1.0).into_iter().map(f64::tanh).collect()
    };
    let reward = draw(n, 1.0);
    // An episode begins with each chunk, and another within the second; the one before it had a true end.
    let begins = |i: usize| i < b || i == 2 * b + 1.min(b - 1);
    let keep = (0..n).map(|i| if begins(i) { 0.0 } else { 1.0 }).collect();
    let ends = |i: usize| i + b < n && i >= b && begins(i + b);
    let pcont = (0..n).map(|i| if ends(i) { 0.0 } else { c.discount }).collect();
    let mut all = vec![
        ("batch.obs", obs),
        ("batch.action", action),
        ("batch.reward", reward),
        ("batch.keep", keep),
        ("batch.pcont_target", pcont),
    ];
    let weights = match model.observation {
        Observation::Symbolic { cells, .. } if model.categorical_observation() => n * cells,
        Observation::Image { height, width, .. } if c.object_weight != 1.0 => n * height * width,
        _ => 0,
    };
    if weights > 0 {
        all.push(("batch.weight", (0..weights).map(|i| if i % 5 == 0 { 10.0 } else { 1.0 }).collect()));
    }
    all
}

/// A training step that holds the batch.
pub fn training_step<R: Real>(model: &Model, params: &Params<R>, pool: &Arc<Pool>) -> TrainStep<R> {
    training_step_by(model, params, pool, Plan::new)
}

/// A training step that holds the batch, whose trace is compiled by `compile`: from the graph and the sweeps to the model, the actor and the value.
pub fn training_step_by<R: Real>(
    model: &Model,
    params: &Params<R>,
    pool: &Arc<Pool>,
    compile: impl FnOnce(Graph<R>, &[Sweep], Arc<Pool>) -> Plan<R>,
) -> TrainStep<R> {
    let mut step = TrainStep::compiled(model, params, NoiseSource::Drawn, pool, compile);
    for (name, values) in batch(model) {
        let var = step.plan.input(name).unwrap_or_else(|| panic!("a training step has no input named {name}"));
        step.plan.input_mut(var).iter_mut().zip(values).for_each(|(x, value)| *x = R::of(value));
    }
    step
}

/// Copies what the host filled between two plans of the same trace.
fn copy_inputs<R: Real>(from: &Plan<R>, to: &mut Plan<R>) {
    for name in from.inputs() {
        let [source, target] =
            [from.input(&name), to.input(&name)].map(|var| var.expect("plans of one trace have the same inputs"));
        to.input_mut(target).copy_from_slice(from.value(source));
    }
}

/// Largest error that passes where a training step runs in f32 on a device: hundreds of ops in a row.
#[cfg(feature = "cuda")]
pub const KERNEL_BOUND: f64 = 4e-6;

/// Compares every tensor and every gradient of a training step between the CPU in f64 and a device in f32.
///
/// # Errors
/// Those of [`cuda_check::compare`].
#[cfg(feature = "cuda")]
pub fn check_kernels(case: &WholeLoss, pool: &Arc<Pool>, kernels: &Arc<Kernels>) -> Result<cuda_check::Comparison> {
    let mut params = parameters::<f64>(&case.model);
    let mut step = training_step_by(&case.model, &params, pool, Plan::apart);
    let clock = Clock { seed: SEED, step: 0 };
    cuda_check::compare(&format!("training step: {}", case.name), &mut step.plan, &mut params, clock, kernels)
}

/// The scalars of a training step by name.
pub fn scalars(model: &Model, pool: &Arc<Pool>) -> BTreeMap<&'static str, f64> {
    let mut params = parameters::<f64>(model);
    let mut step = training_step(model, &params, pool);
    step.gradients(&mut params, SEED);
    step.metrics().collect()
}

/// Compares the three gradients of a training step with central differences: one outcome for each of the losses.
pub fn check(case: &WholeLoss, pool: &Arc<Pool>) -> Vec<Outcome> {
    let model = &case.model;
    let mut params = parameters::<f64>(model);
    let mut step = training_step(model, &params, pool);
    step.gradients(&mut params, SEED);
    let gradient = params.grad.all().to_vec();

    let mut trace = trace(model, &params.layout, NoiseSource::Drawn);
    let freeze = surrogate::freeze(&mut trace.graph, &["sample_onehot"]);
    let mut plan = Plan::new(trace.graph, &[], pool.clone());
    copy_inputs(&step.plan, &mut plan);
    let clock = Clock { seed: SEED, step: 0 };
    plan.run(&mut params, clock);
    freeze.hold();
    for sweep in &trace.sweeps {
        // The function that is differentiated passes through the point where the gradient was taken.
        let (held, loss) = (plan.scalar(sweep.loss), step.plan.scalar(sweep.loss));
        assert_eq!(held, loss, "{}: the held loss of the {} differs from the loss", case.name, sweep.group);
    }

    let names = ["world", "actor", "value"];
    let mut outcomes = Vec::new();
    for ((name, group), sweep) in names.into_iter().zip(GROUPS).zip(&trace.sweeps) {
        assert_eq!(sweep.group, group, "a loss and its group");
        let range = params.layout.group_range(group);
        let largest = gradient[range].iter().fold(0.0_f64, |a, g| a.max(g.abs()));
        assert!(largest > 0.0, "{}: the {name} loss has no gradient", case.name);
        let mut outcome = Outcome::new(&format!("{name} loss: {}", case.name));
        let entries: Vec<_> = params.layout.group_entries(group).cloned().collect();
        for entry in entries {
            let scale = gradient[entry.range()].iter().fold(FLOOR * largest, |a, g| a.max(g.abs()));
            for i in sampled(&entry.shape) {
                let x = params.value(&entry.name)[i];
                let mut at = |x: f64| {
                    params.value_mut(&entry.name)[i] = x;
                    plan.run(&mut params, clock);
                    plan.scalar(sweep.loss)
                };
                let slope = (at(x + STEP) - at(x - STEP)) / (2.0 * STEP);
                params.value_mut(&entry.name)[i] = x;
                let error = (gradient[entry.offset + i] - slope).abs() / scale;
                outcome.note(error, &entry.name, i);
            }
        }
        outcomes.push(outcome);
    }
    outcomes
}
