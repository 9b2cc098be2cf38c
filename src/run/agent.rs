//! What learns: the task, the parameters, the training step, and how a batch is filled from the replay.

use std::sync::Arc;

use serde_json::{Value, json};

use super::checkpoint::Loaded;
#[cfg(feature = "cuda")]
use super::cuda_update::CudaUpdate;
use super::device::Device;
#[cfg(feature = "cuda")]
use super::device::check;
use super::world::World;
use crate::autodiff::Params;
#[cfg(feature = "cuda")]
use crate::autodiff::Plan;
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
    /// What computes the step, if it is not the CPU.
    #[cfg(feature = "cuda")]
    device: Option<CudaUpdate>,
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
    /// A learner for this agent, on the CPU.
    pub fn new(agent: &Agent) -> Self {
        let c = agent.world.config();
        let step = TrainStep::new(&agent.world.model, &agent.params, NoiseSource::Drawn, &agent.pool);
        let rows = c.batch_size * c.batch_length;
        let size = agent.world.layout.observation_size();
        let stored = agent.world.layout.observation;
        Learner {
            step,
            #[cfg(feature = "cuda")]
            device: None,
            sampling: sampling(c),
            bytes: vec![0; if stored == ObsKind::Bytes { rows * size } else { 0 }],
            floats: vec![0.0; if stored == ObsKind::Floats { rows * size } else { 0 }],
            is_first: vec![0.0; rows],
            discount: vec![0.0; rows],
            reward: vec![0.0; rows],
            action: vec![0.0; rows * agent.world.model.actions.size()],
        }
    }

    /// Computes on this device from now on, from the agent's parameters and moments as they are. With `eager`, a CUDA device is given every
    /// kernel by itself, and nothing is captured.
    ///
    /// # Errors
    /// What the device cannot do, by name: a setting, an op without a kernel, a model that its memory does not hold. The learner then stays where
    /// it was.
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables))]
    pub fn move_to(&mut self, agent: &Agent, device: &Device, eager: bool) -> Result<()> {
        match device {
            Device::Cpu => Ok(()),
            #[cfg(feature = "cuda")]
            Device::Cuda(kernels) => {
                check(agent.world.config())?;
                let (model, pool, drawn) = (&agent.world.model, &agent.pool, NoiseSource::Drawn);
                let mut step = TrainStep::compiled(model, &agent.params, drawn, pool, Plan::for_device);
                (step.updates, step.return_range) = (self.step.updates, self.step.return_range);
                self.device = Some(CudaUpdate::new(&mut step, &agent.params, kernels.clone(), eager)?);
                self.step = step;
                Ok(())
            }
        }
    }

    /// What it computes on, in words.
    pub fn describe(&self, agent: &Agent) -> String {
        #[cfg(feature = "cuda")]
        if let Some(device) = &self.device {
            return device.kernels().stream().context().info().to_string();
        }
        Device::Cpu.describe(agent.pool.threads())
    }

    /// One update from a fresh batch. On a device the parameters stay there: see [`fetch`](Self::fetch).
    pub fn update(&mut self, agent: &mut Agent, replay: &Replay) -> Result<Metrics> {
        let (seed, number) = (agent.world.config().seed, self.step.updates);
        let stats = self.fill(&agent.world, replay)?;
        let moved = self.update_on_device(agent, seed)?;
        if !moved {
            self.step.gradients(&mut agent.params, seed);
        }
        if let Some(name) = self.step.not_finite() {
            return Err(Error::new(format!(
                "update {number}: {name} is not a finite number, so training stops here. The last checkpoint is intact; a smaller learning rate \
                 or grad_clip may help."
            )));
        }
        if !moved {
            self.step.update(&mut agent.params);
        }
        let mut metrics: Metrics = self.step.metrics().collect();
        metrics.push(("reward_rate", stats.positive_reward));
        metrics.push(("terminal_rate", stats.terminal));
        Ok(metrics)
    }

    /// Gradients and update on the device; false where there is none.
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables))]
    fn update_on_device(&mut self, agent: &Agent, seed: u64) -> Result<bool> {
        #[cfg(feature = "cuda")]
        if let Some(device) = &mut self.device {
            device.update(&mut self.step, &agent.params, seed)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Brings the agent's parameters up to date, which acting reads, and with `moments` the optimizer's, which a checkpoint keeps.
    ///
    /// # Errors
    /// What the device did wrong.
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables))]
    pub fn fetch(&mut self, agent: &mut Agent, moments: bool) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Some(device) = &mut self.device {
            device.download_values(&mut agent.params)?;
            if moments {
                device.download_moments(&mut agent.params)?;
            }
        }
        Ok(())
    }

    /// The entropies of the last update: see [`TrainStep::entropies`].
    ///
    /// # Errors
    /// What the device did wrong.
    pub fn entropies(&mut self) -> Result<[(&'static str, f64); 2]> {
        #[cfg(feature = "cuda")]
        if let Some(device) = &self.device {
            device.download_spreads(&mut self.step)?;
        }
        Ok(self.step.entropies())
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
