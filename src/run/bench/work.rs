//! What the modes of a training step measure: models of named sizes, and their work ready to be called.

use std::sync::Arc;

use super::super::args::{BenchConfig, BenchMode};
use crate::autodiff::{Clock, Params, Plan, Sweep, Var};
use crate::base::{Philox, Result, philox::stream};
use crate::config::Config;
use crate::device::Pool;
use crate::dreamer::behavior::{behavior, imagine};
use crate::dreamer::rssm::{State, observe};
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

/// A training step with its batch and noise filled in.
pub fn train_step(model: &Model, params: &Params<f32>, pool: &Arc<Pool>) -> TrainStep<f32> {
    let mut step = TrainStep::new(model, params, NoiseSource::Given, pool);
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

/// What a mode of a training step measures, ready to be called.
pub fn work(model: &Model, mode: BenchMode, mut params: Params<f32>, pool: &Arc<Pool>) -> Box<dyn FnMut()> {
    match mode {
        BenchMode::TrainStep => {
            let mut step = train_step(model, &params, pool);
            Box::new(move || {
                step.gradients(&mut params, 0);
                step.update(&mut params);
            })
        }
        BenchMode::Observe => {
            let (t, b) = (model.config.batch_length, model.config.batch_size);
            let mut g = model.graph(&params.layout);
            let embed = g.input("embed", &[t * b, model.embed()]);
            let action = g.input("action", &[t, b, model.actions.size()]);
            let keep = g.input("keep", &[t, b]);
            let noise = g.input("noise", &[t, b, model.stoch()]);
            let observed = observe(&mut g, model, embed, action, keep, noise);
            let results = [observed.state.stoch, observed.state.deter, observed.post.spread(), observed.prior.spread()];
            results.into_iter().for_each(|v| {
                g.keep(v);
            });
            let mut plan = Plan::new(g, &[], pool.clone());
            [embed, noise].into_iter().for_each(|v| fill(&mut plan, v, model, false));
            fill(&mut plan, action, model, true);
            plan.input_mut(keep).fill(1.0);
            Box::new(move || plan.run(&mut params, Clock::default()))
        }
        BenchMode::Imagine | BenchMode::ImagineTrain => {
            let (h, n) = (model.config.horizon, model.starts());
            let mut g = model.graph(&params.layout);
            let stoch = g.input("stoch", &[n, model.stoch()]);
            let deter = g.input("deter", &[n, model.deter()]);
            let noise = g.input("noise", &[h, n, model.stoch()]);
            let action_noise = g.input("action_noise", &[h, n, model.actions.size()]);
            let start = State { stoch, deter };
            let mut sweeps = Vec::new();
            if mode == BenchMode::Imagine {
                let states = imagine(&mut g, model, start, noise, action_noise, false).states;
                g.keep(states.stoch);
                g.keep(states.deter);
            } else {
                let losses = behavior(&mut g, model, start, noise, action_noise);
                g.keep(losses.actor_loss);
                g.keep(losses.value_loss);
                sweeps = vec![Sweep::new(losses.actor_loss, "actor"), Sweep::new(losses.value_loss, "value")];
            }
            let mut plan = Plan::new(g, &sweeps, pool.clone());
            [stoch, deter, noise, action_noise].into_iter().for_each(|v| fill(&mut plan, v, model, false));
            if let Some(discount) = plan.input("behavior.discount") {
                plan.input_mut(discount).fill(model.config.discount as f32);
            }
            let (config, pool) = (model.config.clone(), pool.clone());
            let mut updates = 0;
            Box::new(move || {
                plan.run(&mut params, Clock::default());
                updates += 1;
                for sweep in &sweeps {
                    let range = params.layout.group_range(&sweep.group);
                    let lr = if sweep.group == "actor" { config.actor_lr } else { config.value_lr };
                    let norm = global_norm(&params, range.clone(), &pool);
                    let adam = Adam::new(lr, config.adam_eps, config.grad_clip, updates);
                    adam_update(&mut params, range, norm, &adam, &[], &pool);
                }
            })
        }
        BenchMode::Act | BenchMode::Env => panic!("{} is not part of a training step", mode.name()),
    }
}
