//! `dreamer-fast bench`: how long the parts of a training step take, on sizes that other implementations are measured on, too.
//!
//! The work is that of the peers in `benches/peers`: the same sizes and losses, noise and batch given, optimizer steps included. Operations are
//! counted as there: two for each multiply-add of a product or a convolution, nothing else.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::args::{BenchArgs, BenchConfig, BenchMode};
use crate::autodiff::{Clock, Params, Plan, Sweep, Var};
use crate::base::{Philox, Result, philox::stream};
use crate::config::Config;
use crate::device::{Pool, simd};
use crate::dreamer::behavior::{behavior, imagine};
use crate::dreamer::init::init;
use crate::dreamer::rssm::{State, observe};
use crate::dreamer::step::{NoiseSource, TrainStep};
use crate::dreamer::{Actions, Model, Observation};
use crate::ops::adam::{Adam, adam_update, global_norm};
use crate::report::stdout::say;

/// Seconds that one measured block takes at least.
const BLOCK: f64 = 0.5;

/// Runs the command.
pub fn command(args: &BenchArgs) -> Result<ExitCode> {
    let pool = Arc::new(Pool::new(args.threads)?);
    let mut model = model(args.config)?;
    model.config.precision = args.precision;
    let mut params = Params::new(Arc::new(model.layout()));
    init(&model, &mut params, 0);
    let mut work = work(&model, args.mode, params, &pool);
    work();
    let begun = Instant::now();
    work();
    let repeats = (BLOCK / begun.elapsed().as_secs_f64()).ceil().max(1.0) as usize;
    let mut times: Vec<f64> = (0..args.blocks)
        .map(|_| {
            let begun = Instant::now();
            (0..repeats).for_each(|_| work());
            1e3 * begun.elapsed().as_secs_f64() / repeats as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let (median, flops) = (times[times.len() / 2], flops(&model, args.mode));
    let (config, mode) = (args.config.name(), args.mode.name());
    let memory = peak_memory();
    if args.json {
        let round = |x: f64| (x * 1e3).round() / 1e3;
        say!(
            "{}",
            json!({
                "impl": "dreamer-fast", "config": config, "mode": mode, "ms": round(median), "min": round(times[0]),
                "max": round(times[times.len() - 1]), "n": times.len(), "threads": pool.threads(),
                "gflop": round(flops / 1e9), "gflops": round(flops / 1e6 / median), "rss_mb": memory,
                "precision": args.precision.word(), "simd": format!("{:?}", simd::level()),
            })
        );
    } else {
        say!("{config} {mode} on {} threads, {:?}, {}", pool.threads(), simd::level(), args.precision);
        say!(
            "median {median:.3} ms   min {:.3}   max {:.3}   of {} blocks",
            times[0],
            times[times.len() - 1],
            times.len()
        );
        say!("{:.3} GFLOP   {:.1} GFLOP/s   peak memory {memory} MB", flops / 1e9, flops / 1e6 / median);
    }
    Ok(ExitCode::SUCCESS)
}

/// The sizes of a named configuration.
fn model(config: BenchConfig) -> Result<Model> {
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

/// What a mode measures, ready to be called.
fn work(model: &Model, mode: BenchMode, mut params: Params<f32>, pool: &Arc<Pool>) -> Box<dyn FnMut()> {
    match mode {
        BenchMode::TrainStep => {
            let mut step = TrainStep::new(model, &params, NoiseSource::Given, pool);
            let batch = step.batch;
            [batch.obs, batch.reward].into_iter().for_each(|v| fill(&mut step.plan, v, model, false));
            fill(&mut step.plan, batch.action, model, true);
            step.plan.input_mut(batch.keep).fill(1.0);
            for name in ["noise.post", "noise.prior", "noise.action"] {
                let noise = step.plan.input(name).expect("an input of the step");
                fill(&mut step.plan, noise, model, false);
            }
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
    }
}

/// Operations of a mode. Backward: weight gradients everywhere, input gradients everywhere but for observations and stopped features.
fn flops(model: &Model, mode: BenchMode) -> f64 {
    let c = &model.config;
    let layout = model.layout();
    let (n, h) = ((c.batch_size * c.batch_length) as f64, c.horizon as f64);
    // Multiply-adds of one row through all layers of a name, and through the first of them.
    let macs = |prefix: &str| -> (f64, f64) {
        let sizes: Vec<f64> = layout
            .entries()
            .iter()
            .filter(|e| e.name.starts_with(prefix) && e.shape.len() > 1)
            .map(|e| e.len() as f64 * positions(model, &e.name))
            .collect();
        (sizes.iter().sum(), sizes.first().copied().unwrap_or(0.0))
    };
    let step = ["rssm.img1", "rssm.gru", "rssm.img2", "rssm.img3"].map(|p| macs(p).0).iter().sum::<f64>();
    let obs = macs("rssm.obs").0;
    let (enc, enc_first) = macs("enc.");
    let (dec, reward) = (macs("dec.").0, macs("reward.").0);
    let ((actor, actor_first), (value, value_first)) = (macs("actor."), macs("value."));
    let observe = n * (step + obs);
    let imagine = n * h * (actor + step);
    let world = 3.0 * (n * (enc + dec + reward) + observe) - n * enc_first;
    let m = n * h;
    let behave = imagine
        + m * (reward + value)
        + m * (2.0 * actor - actor_first)
        + m * step
        + m * (reward + value)
        + n * (h - 1.0) * (2.0 * value - value_first);
    2.0 * match mode {
        BenchMode::TrainStep => world + behave,
        BenchMode::Observe => observe,
        BenchMode::Imagine => imagine,
        BenchMode::ImagineTrain => behave,
    }
}

/// How often a kernel is applied to one row: once, or at every window of a convolution.
fn positions(model: &Model, name: &str) -> f64 {
    use crate::dreamer::{decoder, encoder};
    let Observation::Image { height, channels, .. } = model.observation else { return 1.0 };
    let index = |prefix: &str| {
        let rest = name.strip_prefix(prefix)?;
        rest.split('.').next()?.parse::<usize>().ok().map(|i| i - 1)
    };
    if let Some(i) = index("enc.conv") {
        let layers = encoder::convolutions(height, model.config.cnn_depth);
        return (layers[i].size_out * layers[i].size_out) as f64;
    }
    if let Some(i) = index("dec.deconv") {
        let layers = decoder::transposed(height, channels, model.config.cnn_depth, model.embed());
        let size_in = if i == 0 { 1 } else { layers[i - 1].size_out };
        return (size_in * size_in) as f64;
    }
    1.0
}

/// Peak resident memory of this process in MB; 0 where the system does not tell.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).map_or(0, |kb| kb / 1024)
}
