//! `dreamer-fast probes`: does the whole agent learn what is known exactly?
//!
//! Every probe (`src/env/probe.rs`) is trained by the preset `probe` with the parts that `train` has: collector, replay, training step.
//! Then the greedy policy plays fresh episodes. It passes if every episode earns the best return and if the value head is within
//! the probe's tolerance of the exact value in every state on the way, the last one included.
//!
//! With `actor_grad = dynamics` the reset is not asked for its value. Losses then run over imagined states 1 .. H-1
//! (`src/dreamer/behavior.rs`, I3), so the value head has a target only for states that an action leads to.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::agent::{Agent, Learner};
use super::args::ProbesArgs;
use super::collect::{Actor, Collector, as_action};
use super::evaluate::layout_seed;
use super::world::World;
use crate::autodiff::{Clock, Plan, Var};
use crate::base::{Error, Failure, Result};
use crate::config::{ActorGrad, Config, Request, resolve};
use crate::device::Pool;
use crate::dreamer::heads;
use crate::dreamer::policy::{Choice, Policy};
use crate::env::probe::{PROBES, Question};
use crate::env::{Env, Probe};
use crate::replay::{Obs, Replay};
use crate::report::Table;
use crate::report::stdout::{self, say};

/// Episodes played side by side after training.
const EPISODES: usize = 64;

/// How far a return may fall short where actions are continuous: a miss of 0.2 in a range of 2.
const CONTINUOUS_SHORTFALL: f64 = 0.04;

/// Settings of a probe over those of the preset.
fn settings(question: Question) -> &'static [&'static str] {
    match question {
        // An actor of continuous actions learns by back-propagation, which is DreamerV1's way, with its latent. It is slow and tries
        // much: one that is sure before the model knows what the cue has to do with the reward settles on 0, which is worth 0.75.
        Question::Continuous => &[
            "actor_grad=dynamics",
            "latent=gaussian",
            "kl_balance=-1",
            "kl_scale=0.05",
            "actor_entropy=0",
            "actor_lr=3e-4",
            "expl_amount=0.4",
            "prefill=800",
            "steps=16400",
        ],
        // A GRU forgets half of its state in a step until it has learned better; with a norm its update gate begins nearly closed.
        // Imagination begins everywhere, since values far from the answer have to be learned, too, and ends soon, so that the value of an end is a
        // larger share of the loss: it is 1 or -1 by the product of cue and action. Values that still jitter are let settle.
        Question::Memory(5) => &["gru_norm=layer", "imag_starts=0", "horizon=4", "lr_anneal=0.5", "steps=16400"],
        // An end is one state of 22, and the actor soon errs no more: without more noise the value hardly ever sees what an error is worth.
        Question::Memory(20) => &[
            "gru_norm=layer",
            "imag_starts=0",
            "horizon=4",
            "lr_anneal=0.5",
            "model_lr=4e-3",
            "value_lr=2e-3",
            "actor_lr=2e-3",
            "expl_amount=0.4",
            "steps=40400",
        ],
        _ => &[],
    }
}

/// An episode's return beside the best one.
#[derive(Debug, Clone, Copy)]
struct Play {
    best: f64,
    earned: f64,
}

impl Play {
    fn shortfall(&self) -> f64 {
        self.best - self.earned
    }
}

/// A state's value beside what the value head says of it.
#[derive(Debug, Clone, Copy)]
struct Value {
    exact: f64,
    measured: f64,
}

impl Value {
    fn error(&self) -> f64 {
        (self.measured - self.exact).abs()
    }

    /// Whether it is further off than another. A NaN is further off than any number, and passes no bound.
    fn is_worse_than(&self, other: &Value) -> bool {
        self.error() > other.error() || self.error().is_nan()
    }
}

/// What one training came to.
struct Outcome {
    probe: usize,
    /// The episode that is furthest below the best return.
    play: Play,
    /// The value that is furthest off.
    value: Value,
    passed: bool,
    seconds: f64,
}

/// Runs the command.
///
/// # Errors
/// Settings that do not exist or do not go together; a training that cannot run.
pub fn command(args: &ProbesArgs) -> std::result::Result<ExitCode, Failure> {
    let chosen: Vec<usize> =
        (0..PROBES.len()).filter(|&i| args.only.is_empty() || args.only.iter().any(|id| PROBES[i].0 == id)).collect();
    let configs: Vec<Vec<Config>> = chosen
        .iter()
        .map(|&i| (0..args.seeds as u64).map(|seed| config(i, seed, &args.set)).collect())
        .collect::<Result<_>>()
        .map_err(Failure::Usage)?;
    let jobs: Vec<(usize, Config)> =
        chosen.iter().zip(configs).flat_map(|(&i, seeds)| seeds.into_iter().map(move |c| (i, c))).collect();
    let outcomes = run_all(&jobs, args.threads)?;

    let mut table = Table::new(&[
        "probe",
        ">passed",
        ">best return",
        ">worst",
        ">value",
        ">measured",
        ">error",
        ">bound",
        ">s a seed",
    ]);
    let mut failed = 0;
    for &i in &chosen {
        let (id, ..) = PROBES[i];
        let of: Vec<&Outcome> = outcomes.iter().filter(|o| o.probe == i).collect();
        let passed = of.iter().filter(|o| o.passed).count();
        failed += usize::from(passed < of.len());
        let play = of.iter().map(|o| o.play).reduce(|a, b| if b.shortfall() > a.shortfall() { b } else { a });
        let value = of.iter().map(|o| o.value).reduce(|a, b| if b.is_worse_than(&a) { b } else { a });
        let (play, value) = play.zip(value).expect("a probe has a seed");
        let discount = jobs.iter().find(|job| job.0 == i).expect("a probe has a seed").1.discount;
        table.row([
            id.to_string(),
            format!("{passed} of {}", of.len()),
            format!("{:.3}", play.best),
            format!("{:.3}", play.earned),
            format!("{:.3}", value.exact),
            format!("{:.3}", value.measured),
            format!("{:.3}", value.error()),
            format!("{:.3}", Probe::new(id).tolerance(discount)),
            format!("{:.1}", of.iter().map(|o| o.seconds).sum::<f64>() / of.len() as f64),
        ]);
    }
    stdout::write(table)?;
    match failed {
        0 => say!("all {} probes passed", chosen.len()),
        _ => say!("{failed} of {} probes failed", chosen.len()),
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The configuration of a probe and seed.
fn config(probe: usize, seed: u64, set: &[String]) -> Result<Config> {
    let (id, question, _) = PROBES[probe];
    let changes = settings(question).iter().map(|s| s.to_string()).chain(set.iter().cloned()).collect();
    let request = Request {
        preset: Some("probe".into()),
        flags: vec![("task", id.into()), ("seed", seed.to_string()), ("threads", "1".into())],
        set: changes,
        ..Request::default()
    };
    let config = resolve(&request)?.config;
    World::new(&config)?;
    Ok(config)
}

/// Trains every job, as many at once as there are threads; outcomes in the order of the jobs.
fn run_all(jobs: &[(usize, Config)], threads: usize) -> Result<Vec<Outcome>> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
        n => n,
    };
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Outcome>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                while let Some((job, (probe, config))) =
                    jobs.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed))
                {
                    let outcome = run(*probe, config);
                    done.lock().expect("no worker panics while it holds the lock").push((job, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("every worker has ended");
    done.sort_by_key(|(job, _)| *job);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Trains one probe and judges it.
fn run(probe: usize, config: &Config) -> Result<Outcome> {
    let begun = Instant::now();
    let (id, question, _) = PROBES[probe];
    let mut agent = Agent::new(World::new(config)?, Arc::new(Pool::new(config.threads)?));
    train(&mut agent).map_err(|error| error.context(format_args!("{id}, seed {}", config.seed)))?;
    let (play, values) = judge(&mut agent);
    let value =
        values.iter().copied().reduce(|a, b| if b.is_worse_than(&a) { b } else { a }).expect("an end has a value");
    let allowed = if question == Question::Continuous { CONTINUOUS_SHORTFALL } else { 1e-9 };
    let passed = play.shortfall() <= allowed && value.error() <= Probe::new(id).tolerance(config.discount);
    let seconds = begun.elapsed().as_secs_f64();
    let verdict = if passed { "passed" } else { "FAILED" };
    eprintln!(
        "{id} seed {}: {verdict}, return {:.3} of {:.3}, value error {:.3}",
        config.seed,
        play.earned,
        play.best,
        value.error()
    );
    if !passed {
        let steps: Vec<String> = values.iter().map(|v| format!("{:.3} for {:.3}", v.measured, v.exact)).collect();
        eprintln!("  the worst value of each step: {}", steps.join(", "));
    }
    Ok(Outcome { probe, play, value, passed, seconds })
}

/// The loop of `train` in memory: random play until `prefill`, then `pretrain` updates and `train_steps` every `train_every` steps.
fn train(agent: &mut Agent) -> Result<()> {
    let c = agent.world.config().clone();
    let mut learner = Learner::new(agent);
    let mut collector = Collector::new(agent)?;
    let capacity = usize::try_from(c.replay_bytes).unwrap_or(usize::MAX);
    let mut replay = Replay::in_memory(agent.world.layout.clone(), c.envs, capacity, c.seed);
    let stride = collector.stride(agent);
    if !c.train_every.is_multiple_of(stride) {
        return Err(Error::new(format!(
            "train_every={} is not a multiple of the {stride} steps that all environments take at once: choose one",
            c.train_every
        )));
    }
    let mut steps = 0;
    while steps < c.steps {
        let actor = match steps < c.prefill {
            true => Actor::Random,
            false => Actor::Policy { noise: c.expl_amount_at(steps) },
        };
        collector.step(agent, &mut replay, actor)?;
        let before = steps;
        steps += stride;
        let updates = match (before < c.prefill, steps < c.prefill) {
            (true, true) => 0,
            (true, false) => c.pretrain,
            _ if (steps - c.prefill) % c.train_every < stride => c.train_steps,
            _ => 0,
        };
        for _ in 0..updates {
            learner.update(agent, &replay)?;
        }
    }
    Ok(())
}

/// Plays fresh episodes greedily. Returns the worst one, and of each step from the reset on the value that is furthest off.
fn judge(agent: &mut Agent) -> (Play, Vec<Value>) {
    let c = agent.world.config().clone();
    let mut probes: Vec<Probe> = (0..EPISODES).map(|_| Probe::new(&c.task)).collect();
    for (k, probe) in probes.iter_mut().enumerate() {
        probe.reset(Some(layout_seed(c.seed, k)));
    }
    let best: Vec<f64> = probes.iter().map(Probe::best_return).collect();
    let mut returns = [0.0; EPISODES];
    let mut over = [false; EPISODES];
    let mut policy = Policy::new(&agent.world.model, &agent.params, EPISODES, false, &agent.pool);
    let mut critic = Critic::new(agent);
    let mut actions = vec![0.0; EPISODES * agent.world.model.actions.size()];
    let width = agent.world.model.actions.size();
    let mut worst = Vec::new();
    for t in 0.. {
        observe(agent, &probes, policy.obs_mut());
        policy.act(&mut agent.params, &[t == 0; EPISODES], Choice::Mode, Clock { seed: c.seed, step: t }, &mut actions);
        let values = critic.values(agent, policy.state());
        let untaught = t == 0 && c.actor_grad == ActorGrad::Dynamics;
        let asked = (0..EPISODES).filter(|&i| !over[i] && !untaught);
        let answers = asked.map(|i| Value { exact: probes[i].value(c.discount), measured: f64::from(values[i]) });
        worst.extend(answers.reduce(|a, b| if b.is_worse_than(&a) { b } else { a }));
        // The last state of an episode has a value, too, so an episode is over one step after it ended.
        over.iter_mut().zip(&probes).for_each(|(over, probe)| *over |= probe.is_over());
        if over.iter().all(|&o| o) {
            break;
        }
        for i in (0..EPISODES).filter(|&i| !over[i]) {
            let action = as_action(&agent.world.model.actions, &actions[i * width..(i + 1) * width]);
            returns[i] += probes[i].step(action).reward;
        }
    }
    let plays = best.iter().zip(&returns).map(|(&best, &earned)| Play { best, earned });
    let play = plays.reduce(|a, b| if b.shortfall() > a.shortfall() { b } else { a }).expect("episodes were played");
    (play, worst)
}

/// Observations of all probes `[n, size]` as the network sees them.
fn observe(agent: &Agent, probes: &[Probe], out: &mut [f32]) {
    let size = agent.world.model.observation.size();
    let mut bytes = vec![0; size];
    let mut floats = vec![0.0; size];
    for (probe, out) in probes.iter().zip(out.chunks_exact_mut(size)) {
        if probe.question() == Question::Image {
            probe.write_bytes(&mut bytes);
            agent.world.encode(Obs::Bytes(&bytes), out);
        } else {
            probe.write_floats(&mut floats);
            agent.world.encode(Obs::Floats(&floats), out);
        }
    }
}

/// The value head on latent states, compiled.
struct Critic {
    plan: Plan<f32>,
    stoch: Var,
    deter: Var,
    value: Var,
}

impl Critic {
    fn new(agent: &Agent) -> Self {
        let model = &agent.world.model;
        let mut g = model.graph(&agent.params.layout);
        let stoch = g.input("stoch", &[EPISODES, model.stoch()]);
        let deter = g.input("deter", &[EPISODES, model.deter()]);
        let value = heads::value(&mut g, model, "value", &[stoch, deter]).mean(&mut g, model);
        g.keep(value);
        Critic { plan: Plan::new(g, &[], agent.pool.clone()), stoch, deter, value }
    }

    /// Values [n] of the states (stoch [n, S], deter [n, D]).
    fn values(&mut self, agent: &mut Agent, state: (&[f32], &[f32])) -> &[f32] {
        self.plan.input_mut(self.stoch).copy_from_slice(state.0);
        self.plan.input_mut(self.deter).copy_from_slice(state.1);
        self.plan.run(&mut agent.params, Clock { seed: 0, step: 0 });
        self.plan.value(self.value)
    }
}
