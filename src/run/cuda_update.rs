//! Updates on a CUDA device: the plan of the training step, clipping and Adam are one sequence of launches, which is captured once and
//! replayed. The parameters and their moments live on the device between updates; the host gets losses and norms after each of them, and
//! parameters when it asks.

use std::ops::Range;
use std::sync::Arc;

use super::cuda_batch::{Batches, Staging};
use super::world::World;
use crate::autodiff::Params;
use crate::autodiff::cuda_exec::CudaPlan;
use crate::base::Result;
use crate::device::Arena;
use crate::device::cuda::Buffer;
use crate::device::cuda::kernels::{Entry, Follow, Kernels, Out};
use crate::dreamer::model::{GROUPS, SLOW};
use crate::dreamer::step::TrainStep;
use crate::ops::adam::{Adam, DeviceAdam, DeviceGroup};

/// Clipping and Adam for groups of a plan's parameters: the moments, which live on the device, and what the launches need.
pub struct Optimizer {
    m: Buffer<f32>,
    v: Buffer<f32>,
    groups: Vec<(DeviceAdam, DeviceGroup)>,
}

impl Optimizer {
    /// For groups by name, each with its constants and the ranges of the arenas that the weight decay applies to.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn new(
        plan: &CudaPlan,
        params: &Params<f32>,
        groups: &[(&str, Adam, &[Range<usize>])],
        kernels: &Kernels,
    ) -> Result<Optimizer> {
        let (stream, len) = (kernels.stream(), params.layout.len());
        let moments = |arena: &Arena<f32>| {
            let mut buffer = Buffer::new(stream.context(), len)?;
            buffer.upload(stream, &arena.all()[..len])?;
            Ok(buffer)
        };
        let (m, v) = (moments(&params.adam_m)?, moments(&params.adam_v)?);
        let group = |&(name, adam, decays): &(&str, Adam, &[Range<usize>])| {
            let range = params.layout.group_range(name);
            let group = DeviceGroup {
                value: plan.value_at(range.start),
                m: Out::at(m.at(range.start)),
                v: Out::at(v.at(range.start)),
                grad: plan.grad_at(range.start),
                len: range.len(),
                decays: decays.iter().map(|decayed| (plan.value_at(decayed.start), decayed.len())).collect(),
            };
            Ok((DeviceAdam::new(stream, range.len(), adam)?, group))
        };
        let groups = groups.iter().map(group).collect::<Result<_>>()?;
        Ok(Optimizer { m, v, groups })
    }

    /// Launches the update of every group.
    ///
    /// # Errors
    /// A launch is refused.
    pub fn launch(&self, on: &Kernels) -> Result<()> {
        self.groups.iter().try_for_each(|(adam, group)| adam.launch(on, group))
    }
}

/// The training step of an agent on a CUDA device.
pub struct CudaUpdate {
    kernels: Arc<Kernels>,
    plan: CudaPlan,
    optimizer: Optimizer,
    /// Batches from a replay; `None` where the inputs of the step are copied as the host has them.
    batches: Option<Batches>,
    eager: bool,
    /// Whether the host's values, and its moments, are older than the device's.
    stale: [bool; 2],
}

impl CudaUpdate {
    /// Places a step, the parameters and their moments on a device. The gradients are computed once, from the inputs as they are, so that what
    /// the device cannot do is known before anything depends on it. With `eager`, nothing is ever captured.
    ///
    /// # Errors
    /// The device's memory is full; an op has no kernel.
    ///
    /// # Panics
    /// If the step was not compiled by [`Plan::for_device`](crate::autodiff::Plan::for_device).
    pub fn new(
        step: &mut TrainStep<f32>,
        params: &Params<f32>,
        kernels: Arc<Kernels>,
        eager: bool,
    ) -> Result<CudaUpdate> {
        let mut update = CudaUpdate::placed(step, params, kernels, eager)?;
        update.try_out(step, params)?;
        Ok(update)
    }

    /// The same for updates from a replay of this world: see [`staging`](Self::staging) and [`send`](Self::send).
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub fn of_world(
        step: &mut TrainStep<f32>,
        params: &Params<f32>,
        kernels: Arc<Kernels>,
        eager: bool,
        world: &World,
    ) -> Result<CudaUpdate> {
        let mut update = CudaUpdate::placed(step, params, kernels, eager)?;
        let stream = update.kernels.stream().clone();
        update.batches.insert(Batches::new(world, &step.batch, &mut update.plan, &stream)?).send()?;
        update.try_out(step, params)?;
        Ok(update)
    }

    /// Computes the gradients once, and updates nothing.
    fn try_out(&mut self, step: &mut TrainStep<f32>, params: &Params<f32>) -> Result<()> {
        self.fill(step, params, 0)?;
        self.plan.replay(&step.plan, params, true, |_| Ok(()))?;
        self.kernels.stream().synchronize()
    }

    /// What [`new`](Self::new) makes, without running anything.
    ///
    /// # Errors
    /// The device's memory is full.
    pub(super) fn placed(
        step: &TrainStep<f32>,
        params: &Params<f32>,
        kernels: Arc<Kernels>,
        eager: bool,
    ) -> Result<CudaUpdate> {
        let plan = CudaPlan::new(&step.plan, params, kernels.clone())?;
        let groups = GROUPS.map(|name| (name, step.adam(name), step.decays(name)));
        let optimizer = Optimizer::new(&plan, params, &groups, &kernels)?;
        Ok(CudaUpdate { plan, optimizer, batches: None, eager, stale: [false; 2], kernels })
    }

    /// The host's memory for the next batch.
    ///
    /// # Errors
    /// The context is broken.
    ///
    /// # Panics
    /// If this was not made by [`of_world`](Self::of_world).
    pub fn staging(&mut self) -> Result<Staging<'_>> {
        self.batches.as_mut().expect("made for a world").staging()
    }

    /// Sends that batch on its way, for the next [`launch`](Self::launch). It travels while the update before runs.
    ///
    /// # Errors
    /// The context is broken.
    ///
    /// # Panics
    /// As [`staging`](Self::staging); if the batch before was not used.
    pub fn send(&mut self) -> Result<()> {
        self.batches.as_mut().expect("made for a world").send()
    }

    /// One update: [`launch`](Self::launch), then [`finish`](Self::finish).
    ///
    /// # Errors
    /// Those of the two.
    pub fn update(&mut self, step: &mut TrainStep<f32>, params: &Params<f32>, seed: u64) -> Result<()> {
        self.launch(step, params, seed)?;
        self.finish(step)
    }

    /// Waits for the update that was launched: the scalars and norms of the step are those of this update afterwards. The parameters stay on the
    /// device. Where a loss is not a finite number, they are lost.
    ///
    /// # Errors
    /// A launch misbehaved; the context is broken.
    pub fn finish(&mut self, step: &mut TrainStep<f32>) -> Result<()> {
        let kept = step.scalars.iter().map(|(_, var)| *var);
        let returns = step.model.config.return_norm.then_some(step.behavior.returns);
        let open = returns.and(step.behavior.open);
        self.plan.download(&mut step.plan, kept.chain(returns).chain(open).collect::<Vec<_>>())?;
        for (norm, (adam, _)) in step.norms.iter_mut().zip(&self.optimizer.groups) {
            *norm = adam.norm(self.kernels.stream())?;
        }
        step.advance();
        Ok(())
    }

    /// Gives an update to the device and does not wait for it: from the batch that was sent, or else from the inputs of the step.
    ///
    /// # Errors
    /// A launch is refused; the context is broken.
    pub fn launch(&mut self, step: &mut TrainStep<f32>, params: &Params<f32>, seed: u64) -> Result<()> {
        self.fill(step, params, seed)?;
        for (name, (adam, _)) in GROUPS.into_iter().zip(&mut self.optimizer.groups) {
            adam.set_lr(self.kernels.stream(), step.adam(name).lr)?;
        }
        self.stale = [true; 2];
        self.plan.replay(&step.plan, params, self.eager, |on| self.optimizer.launch(on))?;
        // Not in the graph: some updates have it and some do not.
        if let Some(rate) = step.follows() {
            let (slow, value) = (params.layout.group_range(SLOW), params.layout.group_range("value"));
            let (from, to) = (self.plan.value_at(value.start).read(), self.plan.value_at(slow.start));
            Follow { slow: to, fast: from, n: slow.len(), rate: rate as f32 }.threads(&self.kernels, slow.len())?;
        }
        Ok(())
    }

    /// Fills the inputs on the device.
    fn fill(&mut self, step: &mut TrainStep<f32>, params: &Params<f32>, seed: u64) -> Result<()> {
        let clock = step.prepare(seed);
        self.plan.upload(&step.plan, params, clock)?;
        match &mut self.batches {
            Some(batches) => batches.encode(&mut self.plan, &self.kernels),
            None => Ok(()),
        }
    }

    /// Captures an update without running it, and counts the kernel launches in the graph.
    ///
    /// # Errors
    /// An op has no kernel; the context is broken.
    pub(super) fn count_launches(&mut self, step: &TrainStep<f32>, params: &Params<f32>) -> Result<usize> {
        self.plan.capture(&step.plan, params, |on| self.optimizer.launch(on))?;
        Ok(self.plan.launches()?.expect("captured above"))
    }

    /// Copies the parameters to the host, if it does not have them.
    ///
    /// # Errors
    /// What the launches did wrong.
    pub fn download_values(&mut self, params: &mut Params<f32>) -> Result<()> {
        if std::mem::take(&mut self.stale[0]) {
            self.plan.download_values(params)?;
        }
        Ok(())
    }

    /// Copies the moments to the host, if it does not have them.
    ///
    /// # Errors
    /// What the launches did wrong.
    pub fn download_moments(&mut self, params: &mut Params<f32>) -> Result<()> {
        let (stream, len) = (self.kernels.stream(), params.layout.len());
        if std::mem::take(&mut self.stale[1]) {
            self.optimizer.m.download(stream, &mut params.adam_m.all_mut()[..len])?;
            self.optimizer.v.download(stream, &mut params.adam_v.all_mut()[..len])?;
        }
        Ok(())
    }

    /// Copies what [`TrainStep::entropies`] reads of the last update to the host.
    ///
    /// # Errors
    /// What the launches did wrong.
    pub fn download_spreads(&self, step: &mut TrainStep<f32>) -> Result<()> {
        let spreads = [step.world.observed.prior, step.world.observed.post].map(|dist| dist.spread());
        self.plan.download(&mut step.plan, spreads)
    }

    /// A line for every scan that is launched step by step, and why.
    pub fn notes(&self) -> &[String] {
        self.plan.notes()
    }

    /// The kernels and their stream.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }
}
