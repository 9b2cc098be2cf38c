//! Acting: the policy in the loop with its worlds, everything included that happens between two actions. Observations are written and
//! encoded, the state inferred, actions drawn and copied to the worlds, the worlds stepped, ended episodes begun anew.

use std::sync::Arc;

use super::super::agent::Agent;
use super::super::args::{BenchArgs, BenchConfig};
use super::super::collect::as_action;
use super::super::world::{Split, World};
use super::measure::{Measured, measure};
use super::work::model;
use super::{Report, plural, round};
use crate::autodiff::{Clock, Params};
use crate::base::{Philox, Result, philox::stream};
use crate::device::Pool;
use crate::dreamer::init::init;
use crate::dreamer::policy::{Choice, Policy};
use crate::env::VecEnv;
use crate::replay::{Obs, ObsKind};

/// Measures acting in `--batch` worlds of a task, or the policy alone on the sizes of `--config`.
pub(super) fn bench(args: &BenchArgs, pool: &Arc<Pool>) -> Result<(Measured, Report)> {
    let (name, measured) = match args.config {
        Some(config) => (format!("{} policy alone", config.name()), policy_alone(args, config, pool)?),
        None => {
            let settings = args.settings()?;
            let mut player = Player::new(Agent::new(World::new(&settings.config)?, pool.clone()), args.batch)?;
            let name = format!("{} in {}", settings.preset, settings.config.task);
            let mut work = || {
                player.step();
                Ok(())
            };
            (name, measure(&mut work, args.blocks, pool.threads())?)
        }
    };
    let rate = 1e3 * args.batch as f64 / measured.ms;
    let report = Report {
        title: format!("{name}, {} action{} at a time, f32", args.batch, plural(args.batch)),
        rates: format!("{:.1} us a step   {rate:.0} environment steps/s", 1e3 * measured.ms),
        keys: vec![
            ("config", name.into()),
            ("batch", args.batch.into()),
            ("us_per_step", round(1e3 * measured.ms).into()),
            ("steps_per_s", round(rate).into()),
        ],
    };
    Ok((measured, report))
}

/// The policy of a named size, on the same observations again and again.
fn policy_alone(args: &BenchArgs, config: BenchConfig, pool: &Arc<Pool>) -> Result<Measured> {
    let model = model(config)?;
    let mut params = Params::new(Arc::new(model.layout()));
    init(&model, &mut params, 0);
    let mut policy = Policy::new(&model, &params, args.batch, false, pool);
    let mut rng = Philox::new(1, stream::TEST, 0);
    policy.obs_mut().iter_mut().for_each(|x| *x = rng.normal() as f32);
    let mut actions = vec![0.0; args.batch * model.actions.size()];
    let first = vec![false; args.batch];
    let mut clock = Clock::default();
    let mut work = || {
        policy.act(&mut params, &first, Choice::Sample, clock, &mut actions);
        clock.step += 1;
        Ok(())
    };
    measure(&mut work, args.blocks, pool.threads())
}

/// An agent that plays.
struct Player {
    agent: Agent,
    worlds: VecEnv,
    policy: Policy<f32>,
    /// The world begins an episode with the next step.
    fresh: Vec<bool>,
    bytes: Vec<u8>,
    floats: Vec<f32>,
    actions: Vec<f32>,
    clock: Clock,
}

impl Player {
    fn new(agent: Agent, n: usize) -> Result<Player> {
        let (size, stored) = (agent.world.layout.observation_size(), agent.world.layout.observation);
        let mut worlds = agent.world.envs(n)?;
        (0..n).for_each(|i| worlds.reset(i, Some(i as u64)));
        Ok(Player {
            policy: Policy::new(&agent.world.model, &agent.params, n, false, &agent.pool),
            worlds,
            fresh: vec![true; n],
            bytes: vec![0; if stored == ObsKind::Bytes { size } else { 0 }],
            floats: vec![0.0; if stored == ObsKind::Floats { size } else { 0 }],
            actions: vec![0.0; n * agent.world.model.actions.size()],
            clock: Clock::default(),
            agent,
        })
    }

    /// One step of every world.
    fn step(&mut self) {
        let world = &self.agent.world;
        let (size, width) = (world.model.observation.size(), world.model.actions.size());
        for i in 0..self.fresh.len() {
            if self.fresh[i] {
                world.reset(self.worlds.env_mut(i), None, Split::Train);
            }
            let out = &mut self.policy.obs_mut()[i * size..(i + 1) * size];
            if self.floats.is_empty() {
                self.worlds.env(i).write_bytes(&mut self.bytes);
                world.encode(Obs::Bytes(&self.bytes), out);
            } else {
                self.worlds.env(i).write_floats(&mut self.floats);
                world.encode(Obs::Floats(&self.floats), out);
            }
        }
        self.policy.act(&mut self.agent.params, &self.fresh, Choice::Sample, self.clock, &mut self.actions);
        self.clock.step += 1;
        for (i, action) in self.actions.chunks_exact(width).enumerate() {
            let chosen = as_action(&world.model.actions, action);
            self.fresh[i] = self.worlds.env_mut(i).step(chosen).ended();
        }
    }
}
