//! What learns: the task, the parameters, the training step, and how a batch is filled from the replay.

use std::sync::Arc;

use serde_json::{Value, json};

use super::checkpoint::Loaded;
use super::world::World;
use crate::autodiff::Params;
use crate::base::{Error, Result};
use crate::config::{Chunks, Config};
use crate::device::Pool;
use crate::dreamer::init::init;
use crate::dreamer::step::{NoiseSource, TrainStep};
use crate::replay::{BatchMut, BatchStats, Obs, ObsKind, ObsMut, Replay, Sampling, Weighting, Windows};

/// Task and parameters: all that acting needs.
pub struct Agent {
    /// The task.
    pub world: World,
    /// Parameters.
    pub params: Params<f32>,
    /// Worker threads.
    pub pool: Arc<Pool>,
}

impl Agent {
    /// An agent that has learned nothing.
    pub fn new(world: World, pool: Arc<Pool>) -> Self {
        let mut params = Params::new(Arc::new(world.model.layout()));
        init(&world.model, &mut params, world.config().seed);
        Agent { world, params, pool }
    }

    /// The parameters of a checkpoint, and with `moments` the optimizer's, too.
    pub fn load(&mut self, loaded: &Loaded, moments: bool) -> Result<()> {
        let layout = self.params.layout.clone();
        for entry in layout.entries() {
            let range = entry.range();
            let tensor = loaded.tensor(&entry.name, &entry.shape)?;
            self.params.value_mut(&entry.name).copy_from_slice(&tensor.values);
            if moments {
                let m = loaded.tensor(&format!("adam_m/{}", entry.name), &entry.shape)?;
                self.params.adam_m.all_mut()[range.clone()].copy_from_slice(&m.values);
                let v = loaded.tensor(&format!("adam_v/{}", entry.name), &entry.shape)?;
                self.params.adam_v.all_mut()[range].copy_from_slice(&v.values);
            }
        }
        Ok(())
    }

    /// Parameters and moments by name, as a checkpoint keeps them.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>, &[f32])> {
        let entries = self.params.layout.entries().iter();
        let kinds = [("", &self.params.value), ("adam_m/", &self.params.adam_m), ("adam_v/", &self.params.adam_v)];
        entries
            .flat_map(|e| {
                kinds.map(|(kind, arena)| (format!("{kind}{}", e.name), e.shape.clone(), &arena.all()[e.range()]))
            })
            .collect()
    }

    /// A checksum of all parameters and moments, to compare runs by.
    pub fn checksum(&self) -> u32 {
        let arenas = [&self.params.value, &self.params.adam_m, &self.params.adam_v];
        let bytes: Vec<u8> = arenas.iter().flat_map(|a| bytemuck::cast_slice::<f32, u8>(a.all())).copied().collect();
        crate::base::files::crc32(&bytes)
    }
}

/// The training step and the buffers between replay and network.
pub struct Learner {
    /// The step.
    pub step: TrainStep<f32>,
    sampling: Sampling,
    bytes: Vec<u8>,
    floats: Vec<f32>,
    is_first: Vec<f32>,
    discount: Vec<f32>,
    reward: Vec<f32>,
    action: Vec<f32>,
}

/// What one update says of itself: metrics by danijar's names.
pub type Metrics = Vec<(&'static str, f64)>;

/// How batches are drawn by these settings.
pub fn sampling(c: &Config) -> Sampling {
    Sampling {
        windows: match c.chunks {
            Chunks::Within => Windows::Within,
            Chunks::Across => Windows::Across,
        },
        weighting: Weighting::Episodes,
        unfinished: false,
        reward_fraction: c.reward_fraction,
        win_fraction: c.win_fraction,
        last_rows: c.last_rows,
        reward_before_action: c.reward_before_action,
    }
}

impl Learner {
    /// A learner for this agent.
    pub fn new(agent: &Agent) -> Self {
        let c = agent.world.config();
        let step = TrainStep::new(&agent.world.model, &agent.params, NoiseSource::Drawn, &agent.pool);
        let rows = c.batch_size * c.batch_length;
        let size = agent.world.layout.observation_size();
        let stored = agent.world.layout.observation;
        Learner {
            step,
            sampling: sampling(c),
            bytes: vec![0; if stored == ObsKind::Bytes { rows * size } else { 0 }],
            floats: vec![0.0; if stored == ObsKind::Floats { rows * size } else { 0 }],
            is_first: vec![0.0; rows],
            discount: vec![0.0; rows],
            reward: vec![0.0; rows],
            action: vec![0.0; rows * agent.world.model.actions.size()],
        }
    }

    /// One update from a fresh batch.
    pub fn update(&mut self, agent: &mut Agent, replay: &Replay) -> Result<Metrics> {
        let c = agent.world.config().clone();
        let stats = self.fill(&agent.world, replay)?;
        self.step.gradients(&mut agent.params, c.seed);
        if let Some(name) = self.step.not_finite() {
            return Err(Error::new(format!(
                "update {}: {name} is not a finite number, so the parameters were left as they were. The last checkpoint is intact; a \
                 smaller learning rate or grad_clip may help.",
                self.step.updates
            )));
        }
        self.step.update(&mut agent.params);
        let mut metrics: Metrics = self.step.metrics().collect();
        metrics.push(("reward_rate", stats.positive_reward));
        metrics.push(("terminal_rate", stats.terminal));
        Ok(metrics)
    }

    /// Fills the step's inputs with the batch of this update.
    pub(super) fn fill(&mut self, world: &World, replay: &Replay) -> Result<BatchStats> {
        let c = world.config();
        let addresses = replay.draw(&self.sampling, c.batch_length, c.batch_size, self.step.updates)?;
        let stored = world.layout.observation;
        let stats = replay.fill(
            &self.sampling,
            &addresses,
            &mut BatchMut {
                observation: match stored {
                    ObsKind::Bytes => ObsMut::Bytes(&mut self.bytes),
                    ObsKind::Floats => ObsMut::Floats(&mut self.floats),
                },
                action: &mut self.action,
                reward: &mut self.reward,
                discount: &mut self.discount,
                is_first: &mut self.is_first,
            },
        );
        let obs = match stored {
            ObsKind::Bytes => Obs::Bytes(&self.bytes),
            ObsKind::Floats => Obs::Floats(&self.floats),
        };
        let (batch, plan) = (self.step.batch, &mut self.step.plan);
        world.encode(obs, plan.input_mut(batch.obs));
        if let Some(weight) = batch.weight {
            world.weights(&self.bytes, plan.input_mut(weight));
        }
        plan.input_mut(batch.action).copy_from_slice(&self.action);
        let reward = plan.input_mut(batch.reward);
        reward.iter_mut().zip(&self.reward).for_each(|(out, &r)| *out = world.reward(r));
        // The discount of the return is folded into the target: p = discount where the episode goes on, 0 after a true end.
        let target = plan.input_mut(batch.pcont_target);
        target.iter_mut().zip(&self.discount).for_each(|(out, &d)| *out = c.discount as f32 * d);
        let keep = plan.input_mut(batch.keep);
        keep.iter_mut().zip(&self.is_first).for_each(|(keep, &first)| *keep = 1.0 - first);
        Ok(stats)
    }

    /// What a checkpoint keeps of the learner.
    pub fn state(&self) -> Value {
        json!({ "updates": self.step.updates, "return_range": self.step.return_range })
    }

    /// Continues from what a checkpoint kept.
    pub fn restore(&mut self, state: &Value) -> Result<()> {
        let wrong = || Error::new("the checkpoint's state of the learner is incomplete");
        self.step.updates = state["updates"].as_u64().ok_or_else(wrong)?;
        self.step.return_range = state["return_range"].as_f64();
        Ok(())
    }
}
