//! What the modes of a training step measure: models of named sizes, and their work ready to be called.

use std::sync::Arc;

use super::super::args::{BenchConfig, BenchMode};
#[cfg(feature = "cuda")]
use super::super::cuda_update::{CudaUpdate, Optimizer};
use super::super::device::Device;
#[cfg(feature = "cuda")]
use crate::autodiff::cuda_exec::CudaPlan;
use crate::autodiff::{Clock, Graph, Params, Plan, Sweep, Var};
use crate::base::{Philox, Result, philox::stream};
use crate::config::Config;
use crate::device::Pool;
#[cfg(feature = "cuda")]
use crate::device::cuda::kernels::Kernels;
use crate::dreamer::behavior::{behavior, imagine, write_constants};
use crate::dreamer::rssm::{Sequences, State, observe};
use crate::dreamer::step::{NoiseSource, TrainStep};
use crate::dreamer::{Actions, Model, Observation};
use crate::ops::adam::{Adam, adam_update, global_norm};

/// The sizes of a named configuration.
pub fn model(config: BenchConfig) -> Result<Model> {
    let published = Config::default();
    let small =
        |config: Config| Config { deter_size: 128, hidden_size: 128, num_units: 128, batch_length: 32, ..config };
    let image = Observation::Image { height: 64, width: 64, channels: 3 };
    match config {
        BenchConfig::Official => Model::new(&published, image, Actions::Continuous(6)),
        BenchConfig::Small => {
            let config = Config { cnn_depth: 16, stoch_size: 16, batch_size: 16, ..small(published) };
            Model::new(&config, image, Actions::Continuous(6))
        }
        BenchConfig::Grid => {
            let units = vec![200, 200];
            let config = Config { stoch_size: 32, batch_size: 32, ..small(published) };
            let config = Config { encoder_units: units.clone(), decoder_units: units, ..config };
            Model::new(&config, Observation::Vector { size: 147 }, Actions::Discrete(7))
        }
    }
}

/// Fills an input with numbers: standard normal, or one-hot rows for actions of a discrete model.
fn fill(plan: &mut Plan<f32>, var: Var, model: &Model, action: bool) {
    let mut rng = Philox::new(1, stream::TEST, var.number());
    let input = plan.input_mut(var);
    if action && model.actions.discrete() {
        input.fill(0.0);
        let width = model.actions.size();
        input.chunks_exact_mut(width).for_each(|row| row[rng.below(width)] = 1.0);
    } else {
        input.iter_mut().for_each(|x| *x = rng.normal() as f32);
    }
}

/// How a plan is compiled: from a graph and its sweeps.
pub type Compile = fn(Graph<f32>, &[Sweep], Arc<Pool>) -> Plan<f32>;

/// A training step with its batch and noise filled in.
pub fn train_step(model: &Model, params: &Params<f32>, pool: &Arc<Pool>, compile: Compile) -> TrainStep<f32> {
    let mut step = TrainStep::compiled(model, params, NoiseSource::Given, pool, compile);
    let batch = step.batch;
    [batch.obs, batch.reward].into_iter().for_each(|v| fill(&mut step.plan, v, model, false));
    fill(&mut step.plan, batch.action, model, true);
    step.plan.input_mut(batch.keep).fill(1.0);
    for name in ["noise.post", "noise.prior", "noise.action"] {
        let noise = step.plan.input(name).expect("an input of the step");
        fill(&mut step.plan, noise, model, false);
    }
    step
}

/// A part of a training step with its inputs filled in.
struct Part {
    plan: Plan<f32>,
    /// The groups that are updated.
    groups: Vec<&'static str>,
}

/// The part of a training step that a mode other than `train_step` measures.
fn part(model: &Model, mode: BenchMode, params: &Params<f32>, pool: &Arc<Pool>, compile: Compile) -> Part {
    let mut g = model.graph(&params.layout);
    if mode == BenchMode::Observe {
        let (t, b) = (model.config.batch_length, model.config.batch_size);
        let embed = g.input("embed", &[t * b, model.embed()]);
        let action = g.input("action", &[t, b, model.actions.size()]);
        let keep = g.input("keep", &[t, b]);
        let noise = g.input("noise", &[t, b, model.stoch()]);
        let rows = Sequences { embed, action, keep, noise };
        let initial = rows.zero(&mut g, model);
        let observed = observe(&mut g, model, initial, rows);
        let results = [observed.state.stoch, observed.state.deter, observed.post.spread(), observed.prior.spread()];
        results.into_iter().for_each(|v| {
            g.keep(v);
        });
        let mut plan = compile(g, &[], pool.clone());
        [embed, noise].into_iter().for_each(|v| fill(&mut plan, v, model, false));
        fill(&mut plan, action, model, true);
        plan.input_mut(keep).fill(1.0);
        return Part { plan, groups: Vec::new() };
    }
    let (h, n) = (model.config.horizon, model.starts());
    let stoch = g.input("stoch", &[n, model.stoch()]);
    let deter = g.input("deter", &[n, model.deter()]);
    let noise = g.input("noise", &[h, n, model.stoch()]);
    let action_noise = g.input("action_noise", &[h, n, model.actions.size()]);
    let start = State { stoch, deter };
    let (mut sweeps, mut groups) = (Vec::new(), Vec::new());
    if mode == BenchMode::Imagine {
        let states = imagine(&mut g, model, start, noise, action_noise, false).states;
        g.keep(states.stoch);
        g.keep(states.deter);
    } else {
        let losses = behavior(&mut g, model, start, noise, action_noise);
        g.keep(losses.actor_loss);
        g.keep(losses.value_loss);
        sweeps = vec![Sweep::new(losses.actor_loss, "actor"), Sweep::new(losses.value_loss, "value")];
        groups = vec!["actor", "value"];
    }
    let mut plan = compile(g, &sweeps, pool.clone());
    [stoch, deter, noise, action_noise].into_iter().for_each(|v| fill(&mut plan, v, model, false));
    write_constants(&mut plan, model);
    Part { plan, groups }
}

/// The constants of a group's update of this number.
fn adam(config: &Config, group: &str, number: u64) -> Adam {
    let lr = if group == "actor" { config.actor_lr } else { config.value_lr };
    Adam::new(lr, config.adam_eps, config.grad_clip, number)
}

/// Work that can be called again and again.
pub type Work = Box<dyn FnMut() -> Result<()>>;

/// What a mode of a training step measures, ready to be called.
///
/// # Errors
/// What the device cannot do; its memory is full.
///
/// # Panics
/// If the mode is not part of a training step.
#[cfg_attr(not(feature = "cuda"), expect(unused_variables))]
pub fn work(
    model: &Model,
    mode: BenchMode,
    params: Params<f32>,
    pool: &Arc<Pool>,
    device: &Device,
    eager: bool,
) -> Result<Work> {
    assert!(!matches!(mode, BenchMode::Act | BenchMode::Env), "{} is not part of a training step", mode.name());
    match device {
        Device::Cpu => Ok(on_cpu(model, mode, params, pool)),
        #[cfg(feature = "cuda")]
        Device::Cuda(kernels) => on_cuda(model, mode, params, pool, kernels, eager),
    }
}

fn on_cpu(model: &Model, mode: BenchMode, mut params: Params<f32>, pool: &Arc<Pool>) -> Work {
    if mode == BenchMode::TrainStep {
        let mut step = train_step(model, &params, pool, Plan::new);
        return Box::new(move || {
            step.gradients(&mut params, 0);
            step.update(&mut params);
            Ok(())
        });
    }
    let Part { mut plan, groups } = part(model, mode, &params, pool, Plan::new);
    let (config, pool) = (model.config.clone(), pool.clone());
    let mut updates = 0;
    Box::new(move || {
        plan.run(&mut params, Clock::default());
        updates += 1;
        for group in &groups {
            let range = params.layout.group_range(group);
            let norm = global_norm(&params, range.clone(), &pool);
            adam_update(&mut params, range, norm, &adam(&config, group, updates), &[], &pool);
        }
        Ok(())
    })
}

/// Returns when the device has done it. Inputs of a part lie on the device beforehand; a training step copies its batch there and its losses back.
#[cfg(feature = "cuda")]
fn on_cuda(
    model: &Model,
    mode: BenchMode,
    params: Params<f32>,
    pool: &Arc<Pool>,
    kernels: &Arc<Kernels>,
    eager: bool,
) -> Result<Work> {
    let mut work: Work = if mode == BenchMode::TrainStep {
        let mut step = train_step(model, &params, pool, Plan::for_device);
        let mut update = CudaUpdate::new(&mut step, &params, kernels.clone(), eager)?;
        update.notes().iter().for_each(|note| eprintln!("{note}"));
        Box::new(move || update.update(&mut step, &params, 0))
    } else {
        let Part { plan, groups } = part(model, mode, &params, pool, Plan::for_device);
        let mut device = CudaPlan::new(&plan, &params, kernels.clone())?;
        device.notes().iter().for_each(|note| eprintln!("{note}"));
        device.upload(&plan, &params, Clock::default())?;
        let groups: Vec<_> = groups.into_iter().map(|group| (group, adam(&model.config, group, 1), &[][..])).collect();
        let optimizer = Optimizer::new(&device, &params, &groups, kernels)?;
        let kernels = kernels.clone();
        Box::new(move || {
            device.replay(&plan, &params, eager, |on| optimizer.launch(on))?;
            kernels.stream().synchronize()
        })
    };
    // The first call launches kernel by kernel; from the second on the captured graph is replayed.
    work()?;
    Ok(work)
}
