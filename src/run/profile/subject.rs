//! What is profiled: the training step of named sizes on a given batch, or the updates of a run that learns from random play.

use std::sync::Arc;

use super::Sections;
use super::label::{Labels, labels};
use crate::autodiff::{Params, Plan};
use crate::base::Result;
use crate::config::{Config, Precision};
use crate::device::Pool;
use crate::dreamer::Model;
use crate::dreamer::init::init;
use crate::dreamer::step::TrainStep;
use crate::replay::Replay;
use crate::run::agent::{Agent, Learner};
use crate::run::args::BenchConfig;
use crate::run::bench::work;
use crate::run::collect::{Actor, Collector};
use crate::run::world::World;

/// Something that makes updates.
pub struct Subject {
    pool: Arc<Pool>,
    kind: Kind,
}

#[expect(clippy::large_enum_variant, reason = "there is one of it")]
enum Kind {
    Sizes { model: Model, params: Params<f32>, step: TrainStep<f32> },
    Run { agent: Agent, learner: Learner, replay: Replay },
}

impl Subject {
    /// The training step that `bench` times: noise and batch given.
    pub fn sizes(config: BenchConfig, precision: Precision, pool: &Arc<Pool>) -> Result<Self> {
        let mut model = work::model(config)?;
        model.config.precision = precision;
        let mut params = Params::new(Arc::new(model.layout()));
        init(&model, &mut params, 0);
        let step = work::train_step(&model, &params, pool, Plan::new);
        Ok(Subject { pool: pool.clone(), kind: Kind::Sizes { model, params, step } })
    }

    /// The updates of a run of these settings, with the replay that it has after its random play.
    pub fn run(config: &Config, pool: &Arc<Pool>) -> Result<Self> {
        let mut agent = Agent::new(World::new(config)?, pool.clone());
        let learner = Learner::new(&agent);
        let mut collector = Collector::new(&agent)?;
        let capacity = usize::try_from(config.replay_bytes).unwrap_or(usize::MAX);
        let mut replay = Replay::in_memory(agent.world.layout.clone(), config.envs, capacity, config.seed);
        let mut steps = 0;
        while steps < config.prefill {
            collector.step(&mut agent, &mut replay, Actor::Random)?;
            steps += collector.stride(&agent);
        }
        Ok(Subject { pool: pool.clone(), kind: Kind::Run { agent, learner, replay } })
    }

    /// One update: a batch, gradients, new parameters.
    pub fn update(&mut self) -> Result<Sections> {
        let mut at = Sections { begun: self.step().plan.recorder_now(), ..Sections::default() };
        match &mut self.kind {
            Kind::Sizes { params, step, .. } => {
                at.filled = step.plan.recorder_now();
                step.gradients(params, 0);
                at.differentiated = step.plan.recorder_now();
                step.update(params);
            }
            Kind::Run { agent, learner, replay } => {
                learner.fill(&agent.world, replay)?;
                let (step, seed) = (&mut learner.step, agent.world.config().seed);
                at.filled = step.plan.recorder_now();
                step.gradients(&mut agent.params, seed);
                at.differentiated = step.plan.recorder_now();
                step.update(&mut agent.params);
            }
        }
        at.updated = self.step().plan.recorder_now();
        Ok(at)
    }

    /// The training step.
    pub fn step(&mut self) -> &mut TrainStep<f32> {
        match &mut self.kind {
            Kind::Sizes { step, .. } => step,
            Kind::Run { learner, .. } => &mut learner.step,
        }
    }

    /// Updates made so far.
    pub fn updates(&self) -> u64 {
        match &self.kind {
            Kind::Sizes { step, .. } => step.updates,
            Kind::Run { learner, .. } => learner.step.updates,
        }
    }

    /// The parameters.
    pub fn params(&self) -> &Params<f32> {
        match &self.kind {
            Kind::Sizes { params, .. } => params,
            Kind::Run { agent, .. } => &agent.params,
        }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        match &self.kind {
            Kind::Sizes { model, .. } => model,
            Kind::Run { agent, .. } => &agent.world.model,
        }
    }

    /// What the stages of the plan consist of.
    pub fn labels(&mut self) -> Labels {
        labels(&self.step().plan)
    }

    /// Number of workers.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }
}
