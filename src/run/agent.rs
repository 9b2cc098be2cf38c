//! What learns: the task, the parameters, the training step, and how a batch is filled from the replay.

use std::sync::Arc;

use serde_json::{Value, json};

use super::checkpoint::Loaded;
use super::device::Device;
use super::world::World;
#[cfg(feature = "cuda")]
use super::{cuda_batch::Staging, cuda_update::CudaUpdate};
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
    /// Of the next update, whose batch is on its way to the device already.
    #[cfg(feature = "cuda")]
    ahead: Option<BatchStats>,
    sampling: Sampling,
    bytes: Vec<u8>,
    floats: Vec<f32>,
    rows: Rows,
}

/// What a batch has beside observations, as the replay gives it.
struct Rows {
    is_first: Vec<f32>,
    discount: Vec<f32>,
    reward: Vec<f32>,
    action: Vec<f32>,
}

impl Rows {
    /// Draws the batch of an update.
    fn draw(
        &mut self,
        how: &Sampling,
        c: &Config,
        replay: &Replay,
        update: u64,
        observation: ObsMut<'_>,
    ) -> Result<BatchStats> {
        let addresses = replay.draw(how, c.batch_length, c.batch_size, update)?;
        let Rows { is_first, discount, reward, action } = self;
        Ok(replay.fill(how, &addresses, &mut BatchMut { observation, action, reward, discount, is_first }))
    }

    /// What is learned of the rewards.
    fn rewards(&self, world: &World) -> impl Iterator<Item = f32> {
        self.reward.iter().map(|&reward| world.reward(reward))
    }

    /// The targets of the continue head: the discount of the return is folded in, so they are `discount` where the episode goes on, 0 after a true
    /// end.
    fn targets(&self, world: &World) -> impl Iterator<Item = f32> {
        let discount = world.config().discount as f32;
        self.discount.iter().map(move |&d| discount * d)
    }

    /// What is kept of the state before each row: 0 where an episode begins, otherwise 1.
    fn kept(&self) -> impl Iterator<Item = f32> {
        self.is_first.iter().map(|&first| 1.0 - first)
    }
}

fn write(out: &mut [f32], values: impl Iterator<Item = f32>) {
    out.iter_mut().zip(values).for_each(|(out, value)| *out = value);
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
        first_actions: c.first_actions,
        context: c.context_length,
        reward_before_action: c.reward_before_action,
    }
}

impl Learner {
    /// A learner for this agent, on the CPU.
    pub fn new(agent: &Agent) -> Self {
        let c = agent.world.config();
        let step = TrainStep::new(&agent.world.model, &agent.params, NoiseSource::Drawn, &agent.pool);
        let rows = c.batch_size * c.chunk_length();
        let size = agent.world.layout.observation_size();
        let stored = agent.world.layout.observation;
        Learner {
            step,
            #[cfg(feature = "cuda")]
            device: None,
            #[cfg(feature = "cuda")]
            ahead: None,
            sampling: sampling(c),
            bytes: vec![0; if stored == ObsKind::Bytes { rows * size } else { 0 }],
            floats: vec![0.0; if stored == ObsKind::Floats { rows * size } else { 0 }],
            rows: Rows {
                is_first: vec![0.0; rows],
                discount: vec![0.0; rows],
                reward: vec![0.0; rows],
                action: vec![0.0; rows * agent.world.model.actions.size()],
            },
        }
    }

    /// Computes on this device from now on, from the agent's parameters and moments as they are. With `eager`, a CUDA device is given every
    /// kernel by itself, and nothing is captured.
    ///
    /// # Errors
    /// What the device cannot do, by name: an op without a kernel, a model that its memory does not hold. The learner then stays where
    /// it was.
    ///
    /// # Panics
    /// If the kernels of the device were loaded in another precision than the settings say.
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables))]
    pub fn move_to(&mut self, agent: &Agent, device: &Device, eager: bool) -> Result<()> {
        match device {
            Device::Cpu => Ok(()),
            #[cfg(feature = "cuda")]
            Device::Cuda(kernels) => {
                let (kernels_in, wanted) = (kernels.precision().name(), agent.world.config().precision.word());
                assert_eq!(kernels_in, wanted, "the precision of the kernels and of the settings");
                let (model, pool, drawn) = (&agent.world.model, &agent.pool, NoiseSource::Drawn);
                let mut step = TrainStep::compiled(model, &agent.params, drawn, pool, Plan::for_device);
                (step.updates, step.return_range) = (self.step.updates, self.step.return_range);
                let update = CudaUpdate::of_world(&mut step, &agent.params, kernels.clone(), eager, &agent.world)?;
                (self.device, self.ahead) = (Some(update), None);
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

    /// What a user should know of how the device computes the step, a line each.
    pub fn notes(&self) -> &[String] {
        #[cfg(feature = "cuda")]
        if let Some(device) = &self.device {
            return device.notes();
        }
        &[]
    }

    /// One update from a fresh batch. On a device the parameters stay there: see [`fetch`](Self::fetch).
    ///
    /// # Errors
    /// The replay holds too little; a loss that is not finite; what the device did wrong.
    pub fn update(&mut self, agent: &mut Agent, replay: &Replay) -> Result<Metrics> {
        self.update_amid(agent, replay, false)
    }

    /// The same. With `more`, the next update follows with the replay as it is: on a device, its batch is drawn and copied while this update
    /// runs, which changes no bit.
    ///
    /// # Errors
    /// Those of [`update`](Self::update).
    pub fn update_amid(&mut self, agent: &mut Agent, replay: &Replay, more: bool) -> Result<Metrics> {
        let (seed, number) = (agent.world.config().seed, self.step.updates);
        let (stats, moved) = match self.update_on_device(agent, replay, more)? {
            Some(stats) => (stats, true),
            None => {
                let stats = self.fill(&agent.world, replay)?;
                self.step.gradients(&mut agent.params, seed);
                (stats, false)
            }
        };
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

    /// Batch, gradients and update on the device; `None` where there is none.
    #[cfg_attr(not(feature = "cuda"), expect(unused_variables))]
    fn update_on_device(&mut self, agent: &Agent, replay: &Replay, more: bool) -> Result<Option<BatchStats>> {
        #[cfg(feature = "cuda")]
        if self.device.is_some() {
            let number = self.step.updates;
            let stats = match self.ahead.take() {
                Some(stats) => stats,
                None => self.send(&agent.world, replay, number)?,
            };
            let device = self.device.as_mut().expect("asked above");
            device.launch(&mut self.step, &agent.params, agent.world.config().seed)?;
            if more {
                self.ahead = Some(self.send(&agent.world, replay, number + 1)?);
            }
            let device = self.device.as_mut().expect("asked above");
            device.finish(&mut self.step)?;
            return Ok(Some(stats));
        }
        Ok(None)
    }

    /// Draws the batch of an update into page-locked memory and sends it to the device.
    #[cfg(feature = "cuda")]
    fn send(&mut self, world: &World, replay: &Replay, update: u64) -> Result<BatchStats> {
        let Learner { device, sampling, floats, rows, .. } = self;
        let device = device.as_mut().expect("only a device is sent a batch");
        let Staging { bytes, obs, action, reward, pcont_target, keep } = device.staging()?;
        let stored = world.layout.observation;
        let observation = match stored {
            ObsKind::Bytes => ObsMut::Bytes(bytes),
            ObsKind::Floats => ObsMut::Floats(floats),
        };
        let stats = rows.draw(sampling, world.config(), replay, update, observation)?;
        if stored == ObsKind::Floats {
            world.encode(Obs::Floats(floats), obs);
        }
        action.copy_from_slice(&rows.action);
        write(reward, rows.rewards(world));
        write(pcont_target, rows.targets(world));
        write(keep, rows.kept());
        device.send()?;
        Ok(stats)
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

    /// Fills the step's inputs on the host with the batch of this update.
    ///
    /// # Errors
    /// The replay holds too little.
    pub fn fill(&mut self, world: &World, replay: &Replay) -> Result<BatchStats> {
        let Learner { step, sampling, bytes, floats, rows, .. } = self;
        let stored = world.layout.observation;
        let observation = match stored {
            ObsKind::Bytes => ObsMut::Bytes(bytes),
            ObsKind::Floats => ObsMut::Floats(floats),
        };
        let stats = rows.draw(sampling, world.config(), replay, step.updates, observation)?;
        let obs = match stored {
            ObsKind::Bytes => Obs::Bytes(bytes),
            ObsKind::Floats => Obs::Floats(floats),
        };
        let (batch, plan) = (step.batch, &mut step.plan);
        world.encode(obs, plan.input_mut(batch.obs));
        if let Some(weight) = batch.weight {
            world.weights(bytes, plan.input_mut(weight));
        }
        plan.input_mut(batch.action).copy_from_slice(&rows.action);
        write(plan.input_mut(batch.reward), rows.rewards(world));
        write(plan.input_mut(batch.pcont_target), rows.targets(world));
        write(plan.input_mut(batch.keep), rows.kept());
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
