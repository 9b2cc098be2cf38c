//! Bugs 5 and 10 while acting: several environments side by side, each with a memory, noise and a mode of its own.

use dreamer_fast::autodiff::{Clock, Graph, Params, Plan};
use dreamer_fast::base::{Philox, philox::stream};
use dreamer_fast::config::Config;
use dreamer_fast::dreamer::actor::{ActDist, act};
use dreamer_fast::dreamer::init::init;
use dreamer_fast::dreamer::policy::{Choice, Policy};
use dreamer_fast::dreamer::{Actions, Model, Observation};
use dreamer_fast::replay::{Obs, Replay};
use dreamer_fast::run::agent::Agent;
use dreamer_fast::run::collect::{Actor, Collector};

use super::{action_of, beginner, config, life, observation_of, pool};

/// One step of all environments: what the policy said, what was done, and whether the policy's memory was as it has to be.
struct Tick {
    said: Vec<Vec<f32>>,
    done: Vec<Vec<f32>>,
    memory_agrees: bool,
}

/// Collects with the policy from the first step on, and beside it asks a second policy whose memory is kept by hand: zeros
/// where an episode begins, otherwise the state that it had and the action that was stored.
fn beside(config: &Config, noise: f64, ticks: u64) -> Vec<Tick> {
    let (mut agent, mut replay) = beginner(config);
    let (mut collector, n) = (Collector::new(&agent).unwrap(), config.envs);
    let mut second = Policy::new(&agent.world.model, &agent.params, n, false, &agent.pool);
    let width = agent.world.model.actions.size();
    let ticks = (0..ticks).map(|tick| {
        collector.step(&mut agent, &mut replay, Actor::Policy { noise }).unwrap();
        let (mut stoch, mut deter) = (second.state().0.to_vec(), second.state().1.to_vec());
        let mut previous = vec![0.0; n * width];
        let mut done = Vec::new();
        for env in 0..n {
            let episode = *life(&replay, env).last().unwrap();
            let now = episode.rows() - 2;
            if now == 0 {
                let parts = agent.world.model.stoch();
                stoch[env * parts..(env + 1) * parts].fill(0.0);
                let parts = agent.world.model.deter();
                deter[env * parts..(env + 1) * parts].fill(0.0);
            } else {
                previous[env * width..(env + 1) * width].copy_from_slice(&action_of(episode, now, width));
            }
            see(&agent, &replay, env, now, second.obs_mut());
            done.push(action_of(episode, now + 1, width));
        }
        second.set_state(&stoch, &deter, &previous);
        let (clock, mut said) = (Clock { seed: config.seed, step: tick }, vec![0.0; n * width]);
        second.act(&mut agent.params, &vec![false; n], Choice::Sample, clock, &mut said);
        let memory = collector.memory();
        let memory_agrees = memory[0].2 == second.state().0 && memory[1].2 == second.state().1;
        Tick { said: said.chunks_exact(width).map(<[f32]>::to_vec).collect(), done, memory_agrees }
    });
    ticks.collect()
}

/// Writes row `row` of the newest episode of `env` as the policy sees it.
fn see(agent: &Agent, replay: &Replay, env: usize, row: usize, out: &mut [f32]) {
    let size = agent.world.layout.observation_size();
    let stored = observation_of(life(replay, env).last().unwrap(), row, size);
    let bytes: Vec<u8> = stored.iter().map(|&x| x as u8).collect();
    let seen = agent.world.model.observation.size();
    let obs = match agent.world.model.observation {
        Observation::Vector { .. } => Obs::Floats(&stored),
        _ => Obs::Bytes(&bytes),
    };
    agent.world.encode(obs, &mut out[env * seen..(env + 1) * seen]);
}

fn grid() -> Config {
    config("MiniGrid-LavaGapS5-v0", &["envs=5", "time_limit=7", "action_set=3", "seed=2"])
}

fn pendulum() -> Config {
    config("Pendulum-v1", &["envs=3", "time_limit=6", "observation=vector", "action_init_std=0.5"])
}

/// Fails when the collector does not tell the policy that an episode begins, or lets it remember the action that it said
/// instead of the one that was done.
#[test]
fn bug_05_acting_begins_every_episode_without_memory() {
    for config in [grid(), pendulum()] {
        for (tick, step) in beside(&config, 0.5, 40).iter().enumerate() {
            assert!(step.memory_agrees, "{}: another state than by hand at step {tick}", config.task);
        }
    }
}

/// Fails when `explore` takes another amount of noise than the caller's.
#[test]
fn bug_10_without_noise_the_sample_is_done() {
    for config in [grid(), pendulum()] {
        assert!(beside(&config, 0.0, 20).iter().all(|tick| tick.said == tick.done), "{}", config.task);
    }
}

/// Fails when `Collector` reads all environments' numbers at one place of the stream, or lets one number decide for all.
#[test]
fn bug_10_epsilon_greedy_decides_for_each_environment() {
    let (ticks, n) = (120, 5);
    let steps = beside(&grid(), 0.5, ticks);
    let changed = |tick: &Tick, env: usize| tick.said[env] != tick.done[env];
    // One in two is replaced, of which two in three are replaced by another of the three actions.
    for env in 0..n {
        let share = steps.iter().filter(|tick| changed(tick, env)).count() as f64 / ticks as f64;
        assert!((0.2..0.47).contains(&share), "environment {env}: {share} of the actions were replaced");
        // Which of them are replaced does not go by what happens to environment 0.
        let together = steps.iter().filter(|tick| changed(tick, env) == changed(tick, 0)).count() as f64 / ticks as f64;
        assert!(env == 0 || (0.4..0.72).contains(&together), "environments 0 and {env}: alike in {together}");
    }
    // Where two are replaced at once, they are not replaced by the same.
    let pairs = steps.iter().filter(|tick| changed(tick, 0) && changed(tick, 1)).collect::<Vec<_>>();
    assert!(pairs.iter().any(|tick| tick.done[0] != tick.done[1]), "{} pairs, all alike", pairs.len());
}

/// Fails when `Collector` reads all environments' numbers at one place of the stream, or when `explore` adds nothing or does
/// not clip.
#[test]
fn bug_10_additive_noise_is_each_environments_own() {
    let steps = beside(&pendulum(), 0.1, 60);
    assert!(steps.iter().flat_map(|t| t.done.iter().flatten()).all(|a| a.abs() <= 1.0));
    // Noise of actions that are far enough from the ends not to be clipped.
    let free = |tick: &&Tick| tick.said.iter().flatten().all(|a| a.abs() < 0.6);
    let noise = |tick: &Tick, env: usize| f64::from(tick.done[env][0] - tick.said[env][0]);
    let noises: Vec<[f64; 3]> = steps.iter().filter(free).map(|tick| [0, 1, 2].map(|env| noise(tick, env))).collect();
    assert!(noises.len() > 10, "{} steps to judge", noises.len());
    for [a, b, c] in noises {
        assert!(a != 0.0 && (a - b).abs() > 1e-5 && (a - c).abs() > 1e-5, "noise {a}, {b}, {c}");
    }
}

/// What the actor says in the states that a policy remembers: of each environment the logits, or mean and standard deviation.
fn distribution(model: &Model, params: &mut Params<f64>, policy: &Policy<f64>, n: usize) -> Vec<[Vec<f64>; 2]> {
    let mut g = Graph::new(params.layout.clone());
    let feat = [g.input("stoch", &[n, model.stoch()]), g.input("deter", &[n, model.deter()])];
    let noise = g.input("noise", &[n, model.actions.size()]);
    let vars = match act(&mut g, model, &feat, noise).dist {
        ActDist::OneHot(logits) => [logits, logits],
        ActDist::TanhNormal { mean, std } => [mean, std],
    };
    vars.iter().for_each(|&v| {
        g.keep(v);
    });
    let mut plan = Plan::new(g, &[], pool());
    plan.input_mut(feat[0]).copy_from_slice(policy.state().0);
    plan.input_mut(feat[1]).copy_from_slice(policy.state().1);
    plan.run(params, Clock { seed: 0, step: 0 });
    let width = model.actions.size();
    let of = |env: usize| vars.map(|v| plan.value(v)[env * width..(env + 1) * width].to_vec());
    (0..n).map(of).collect()
}

/// ln of the density of an action under a normal squashed by tanh.
fn ln_density(action: &[f64], [mean, std]: &[Vec<f64>; 2]) -> f64 {
    let each = action.iter().zip(mean).zip(std).map(|((&a, m), s)| {
        let z = (a.atanh() - m) / s;
        -0.5 * z * z - s.ln() - (1.0 - a * a).ln()
    });
    each.sum()
}

/// Fails when `Policy::mode` takes the first environment's choice, or its index among the samples, for all.
#[test]
fn bug_10_the_mode_is_each_environments_own() {
    let n = 8;
    for actions in [Actions::Discrete(3), Actions::Continuous(2)] {
        let task = if actions.discrete() { "MiniGrid-Empty-5x5-v0" } else { "Pendulum-v1" };
        let config = config(task, &["action_init_std=0.5"]);
        let model = Model::new(&config, Observation::Vector { size: 4 }, actions).unwrap();
        let mut params = Params::<f64>::new(model.layout().into());
        init(&model, &mut params, 1);
        // Strong opinions, which differ from state to state.
        params.value_mut("actor.out.w").iter_mut().for_each(|w| *w *= if actions.discrete() { 20.0 } else { 2.0 });
        let mut policy = Policy::new(&model, &params, n, false, &pool());
        let mut rng = Philox::new(3, stream::TEST, 1);
        let mut modes = Vec::new();
        for step in 0..6 {
            policy.obs_mut().iter_mut().for_each(|x| *x = 3.0 * rng.normal());
            let mut chosen = vec![0.0; n * actions.size()];
            policy.act(&mut params, &vec![step == 0; n], Choice::Mode, Clock { seed: 9, step }, &mut chosen);
            let dists = distribution(&model, &mut params, &policy, n);
            for (env, (chosen, dist)) in chosen.chunks_exact(actions.size()).zip(&dists).enumerate() {
                let chosen: Vec<f64> = chosen.iter().map(|&a| a.into()).collect();
                modes.push(format!("{chosen:?}"));
                if actions.discrete() {
                    let best = dist[0].iter().copied().fold(f64::MIN, f64::max);
                    let at = chosen.iter().position(|&a| a == 1.0).unwrap();
                    assert!(dist[0][at] == best && chosen.iter().sum::<f64>() == 1.0, "environment {env}: {chosen:?}");
                } else {
                    let density = ln_density(&chosen, dist);
                    let mut sample = || -> Vec<f64> {
                        dist[0].iter().zip(&dist[1]).map(|(m, s)| (m + s * rng.normal()).tanh()).collect()
                    };
                    let denser = (0..200).filter(|_| ln_density(&sample(), dist) > density).count();
                    assert!(denser < 20, "environment {env}: {denser} of 200 samples are denser than the mode");
                }
            }
        }
        modes.sort();
        modes.dedup();
        assert!(modes.len() > 1, "all modes are alike, so nothing was tested");
    }
}
