//! The CUDA executor: walks the stages of a plan, as `exec.rs` does, and launches kernels instead of calling functions.
//!
//! Device memory has the places that the plan gave the tensors, in f32 whatever the plan's numbers are. What changes from step to step, the
//! inputs and the clock, is in device memory too, so the launches of a step are always the same: they are listed once, when the plan gets its
//! memory, and then made one by one, or captured and replayed. Between the two `cuda_rollout.rs` puts the launches of a scan together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::cuda_rollout::{Command, Layer, Region, Rollouts, Work};
use super::op::{Clock, Launch, MAX_SLOTS};
use super::params::Params;
use super::plan::{Placement, Plan};
use super::resolve::{Slot, Space, Stage, Step, WeightJob};
use super::schedule::Tenant;
use crate::base::{Error, Real, Result};
use crate::device::cuda::kernels::{Entry, Fill, In, Kernels, Out};
use crate::device::cuda::{Buffer, Graph, Stream};

/// An arena on the device: one buffer, or a buffer for every tensor, so that the emulated driver sees where each ends.
struct Memory {
    /// By the offset of the first element.
    buffers: BTreeMap<usize, Buffer<f32>>,
}

impl Memory {
    fn new(stream: &Stream, tensors: impl IntoIterator<Item = (usize, usize)>) -> Result<Self> {
        let buffers = tensors.into_iter().map(|(offset, len)| Ok((offset, Buffer::new(stream.context(), len)?)));
        Ok(Memory { buffers: buffers.collect::<Result<_>>()? })
    }

    fn address(&self, offset: usize) -> u64 {
        let (first, buffer) = self.buffers.range(..=offset).next_back().expect("every slot lies in a buffer");
        buffer.at(offset - first)
    }

    /// What of `range` lies in each buffer: the buffer, the first element in it, the part of the range.
    fn parts(&mut self, range: Range<usize>) -> impl Iterator<Item = (&mut Buffer<f32>, usize, Range<usize>)> {
        self.buffers.iter_mut().filter_map(move |(&first, buffer)| {
            let (from, to) = (range.start.max(first), range.end.min(first + buffer.len()));
            (from < to).then(|| (buffer, from - first, from - range.start..to - range.start))
        })
    }

    fn zero(&mut self, stream: &Stream, range: Range<usize>) -> Result<()> {
        self.parts(range).try_for_each(|(buffer, at, part)| buffer.zero_at(stream, at, part.len()))
    }

    fn upload<R: Real>(&mut self, stream: &Stream, offset: usize, values: &[R]) -> Result<()> {
        let values: Vec<f32> = values.iter().map(|x| x.f64() as f32).collect();
        let range = offset..offset + values.len();
        self.parts(range).try_for_each(|(buffer, at, part)| buffer.upload_at(stream, at, &values[part]))
    }

    fn download<R: Real>(&self, stream: &Stream, offset: usize, out: &mut [R]) -> Result<()> {
        let (first, buffer) = self.buffers.range(..=offset).next_back().expect("every slot lies in a buffer");
        let mut values = vec![0.0_f32; out.len()];
        buffer.download_at(stream, offset - first, &mut values)?;
        out.iter_mut().zip(values).for_each(|(out, x)| *out = R::of(f64::from(x)));
        Ok(())
    }
}

/// A plan on a CUDA device. The plan itself stays on the host: it has the stages, and its inputs and kept tensors are copied to and fro.
pub struct CudaPlan {
    kernels: Arc<Kernels>,
    work: Memory,
    value: Memory,
    grad: Memory,
    clock: Buffer<u64>,
    /// Of each call.
    constants: Vec<Option<Buffer<f32>>>,
    /// All of a run, in order.
    commands: Vec<Command>,
    rollouts: Rollouts,
    /// `Params::version` of the values on the device.
    version: Option<u64>,
    captured: Option<Graph>,
}

impl CudaPlan {
    /// Memory for a plan that [`Plan::for_device`] or [`Plan::apart`] made; of one that is apart, every tensor has an allocation of its own.
    ///
    /// # Errors
    /// The device's memory is full; a tensor has more elements than a kernel can count; an op has no kernel.
    ///
    /// # Panics
    /// If [`Plan::new`] made the plan: it has tensors that lie in the memory of workers.
    pub fn new<R: Real>(plan: &Plan<R>, params: &Params<R>, kernels: Arc<Kernels>) -> Result<Self> {
        let mut device = Self::step_by_step(plan, params, kernels)?;
        device.commands = device.rollouts.roll(std::mem::take(&mut device.commands), &device.kernels)?;
        Ok(device)
    }

    /// The same, but every step of a scan launches every one of its ops: the oracle of the rollouts.
    ///
    /// # Errors
    /// Those of [`CudaPlan::new`].
    ///
    /// # Panics
    /// As [`CudaPlan::new`].
    pub fn step_by_step<R: Real>(plan: &Plan<R>, params: &Params<R>, kernels: Arc<Kernels>) -> Result<Self> {
        assert!(plan.placement != Placement::Workers, "a plan for a device is made by Plan::for_device");
        if let Some(var) = (0..plan.graph.nodes.len()).find(|&i| plan.graph.nodes[i].len() > i32::MAX as usize) {
            return Err(Error::new(format!(
                "a tensor of shape {:?} has more elements than a kernel can count: use a smaller batch_size.",
                plan.graph.nodes[var].shape
            )));
        }
        let stream = kernels.stream();
        let (work, entries) = if plan.placement == Placement::Apart {
            let places = plan.places.work.iter();
            let work = places.map(|(tenant, &offset)| (offset, plan.graph.len(tenant.root()))).collect();
            (work, params.layout.entries().iter().map(|e| (e.offset, e.len())).collect())
        } else {
            (vec![(0, plan.work.len())], vec![(0, params.layout.len())])
        };
        let constants = plan.graph.calls.iter().map(|call| {
            let numbers = call.op.constants();
            let mut buffer = Buffer::new(stream.context(), numbers.len())?;
            buffer.upload(stream, &numbers)?;
            Ok((!numbers.is_empty()).then_some(buffer))
        });
        let constants = constants.collect::<Result<_>>()?;
        let mut device = CudaPlan {
            work: Memory::new(stream, work)?,
            value: Memory::new(stream, entries.iter().copied())?,
            grad: Memory::new(stream, entries)?,
            clock: Buffer::new(stream.context(), 2)?,
            constants,
            commands: Vec::new(),
            rollouts: Rollouts::default(),
            version: None,
            captured: None,
            kernels,
        };
        device.grad.zero(device.kernels.stream(), 0..params.layout.len())?;
        device.commands = device.listed(plan)?;
        Ok(device)
    }

    /// Runs everything, as [`Plan::run`] does: copies the inputs and changed parameters to the device, launches, copies kept tensors to the
    /// plan and gradients to `params`. The launches are captured at the second run and replayed from then on, unless `eager`.
    ///
    /// # Errors
    /// An op has no kernel; a launch is refused or misbehaves; the context is broken.
    pub fn run<R: Real>(
        &mut self,
        plan: &mut Plan<R>,
        params: &mut Params<R>,
        clock: Clock,
        eager: bool,
    ) -> Result<()> {
        let first = self.version.is_none();
        self.upload(plan, params, clock)?;
        if eager || first {
            self.launch(plan, params)?;
        } else {
            if self.captured.is_none() {
                self.captured = Some(self.capture(plan, params)?);
            }
            self.captured.as_ref().expect("captured above").launch()?;
        }
        self.download(plan, params)
    }

    /// Kernel launches in the captured step; `None` before the second run that is not eager.
    ///
    /// # Errors
    /// The context is broken.
    pub fn launches(&self) -> Result<Option<usize>> {
        self.captured.as_ref().map(Graph::launches).transpose()
    }

    /// Captures a run without making any of its launches.
    ///
    /// # Errors
    /// The context is broken.
    pub fn capture<R: Real>(&mut self, plan: &Plan<R>, params: &Params<R>) -> Result<Graph> {
        let stream = self.kernels.stream().clone();
        stream.capture(|| self.launch(plan, params))
    }

    /// The launches of a run in order: what the trace calls the part that they belong to, and the name of the kernel.
    pub fn account<'a, R: Real>(&'a self, plan: &'a Plan<R>) -> impl Iterator<Item = (&'a str, &'static str)> {
        self.commands.iter().filter_map(|command| {
            let scope = command.call.map_or("", |call| plan.graph.calls[call].scope.as_str());
            Some((scope, command.kernel()?))
        })
    }

    /// A line for every scan that is launched step by step, and why.
    pub fn notes(&self) -> &[String] {
        self.rollouts.notes()
    }

    /// The numbers of a tensor after a run, for the comparison with the CPU.
    pub(super) fn tensor(&self, offset: usize, len: usize) -> Result<Vec<f64>> {
        let mut values = vec![0.0; len];
        self.work.download(self.kernels.stream(), offset, &mut values)?;
        Ok(values)
    }

    fn upload<R: Real>(&mut self, plan: &Plan<R>, params: &Params<R>, clock: Clock) -> Result<()> {
        let stream = self.kernels.stream();
        if self.version != Some(params.version) {
            self.value.upload(stream, 0, &params.value.all()[..params.layout.len()])?;
            self.version = Some(params.version);
        }
        self.clock.upload(stream, &[clock.seed, clock.step])?;
        for name in plan.inputs() {
            let var = plan.input(&name).expect("named by the plan");
            self.work.upload(stream, plan.places.work[&Tenant::Value(var)], plan.value(var))?;
        }
        Ok(())
    }

    fn download<R: Real>(&self, plan: &mut Plan<R>, params: &mut Params<R>) -> Result<()> {
        let stream = self.kernels.stream();
        for (tenant, &offset) in &plan.places.work {
            if let Tenant::Value(var) = *tenant
                && plan.graph.nodes[var.index()].kept
            {
                let len = plan.graph.len(var);
                self.work.download(stream, offset, &mut plan.work.all_mut()[offset..offset + len])?;
            }
        }
        for sweep in &plan.sweeps {
            for entry in params.layout.group_entries(&sweep.group) {
                self.grad.download(stream, entry.offset, &mut params.grad.all_mut()[entry.range()])?;
            }
        }
        Ok(())
    }

    /// All launches of a run.
    fn launch<R: Real>(&mut self, plan: &Plan<R>, params: &Params<R>) -> Result<()> {
        let stream = self.kernels.stream().clone();
        for sweep in &plan.sweeps {
            self.grad.zero(&stream, params.layout.group_range(&sweep.group))?;
        }
        for command in &self.commands {
            match &command.work {
                Work::Launch(launch) => self.kernels.launch(launch)?,
                &Work::Clear { offset, len, .. } => self.work.zero(&stream, offset..offset + len)?,
            }
        }
        Ok(())
    }

    /// The commands of a run in which every call launches its own kernels.
    fn listed<R: Real>(&self, plan: &Plan<R>) -> Result<Vec<Command>> {
        let mut commands = Vec::new();
        for (number, stage) in plan.stages.iter().enumerate() {
            match stage {
                Stage::Region { steps, rows, .. } => {
                    let region = Some(Region { stage: number, rows: *rows });
                    for step in steps {
                        if let Step::Zero { slot, .. } = *step {
                            debug_assert_eq!(slot.space, Space::Work);
                            let work = Work::Clear { offset: slot.offset, len: slot.len, address: self.address(slot) };
                            commands.push(Command { work, region, call: None, layer: None });
                            continue;
                        }
                        let call = step.call();
                        let weights = call.and_then(|call| plan.weights_of(call));
                        let backward = matches!(step, Step::Backward { .. });
                        let layer = weights.map(|slot| Layer { weights: slot.offset, backward });
                        let launches = self.kernels.list(|| self.step(plan, step))?;
                        commands.extend(launches.into_iter().map(|l| Command {
                            work: Work::Launch(l),
                            region,
                            call,
                            layer,
                        }));
                    }
                }
                Stage::Weights { jobs, .. } => {
                    for job in jobs {
                        let call = job.runs.first().map(|run| run.call);
                        let launches = self.kernels.list(|| self.weights(plan, job))?;
                        let command = |l| Command { work: Work::Launch(l), region: None, call, layer: None };
                        commands.extend(launches.into_iter().map(command));
                    }
                }
            }
        }
        Ok(commands)
    }

    fn address(&self, slot: Slot) -> u64 {
        match slot.space {
            Space::Work => self.work.address(slot.offset),
            Space::Value => self.value.address(slot.offset),
            Space::Grad => self.grad.address(slot.offset),
            Space::Local => unreachable!("a plan for a device has no worker's memory"),
        }
    }

    fn inputs(&self, slots: &[Option<Slot>; MAX_SLOTS]) -> [In<f32>; MAX_SLOTS] {
        slots.map(|slot| slot.map_or(In::none(), |slot| In::at(self.address(slot))))
    }

    fn outputs(&self, slots: &[Option<Slot>; MAX_SLOTS]) -> [Out<f32>; MAX_SLOTS] {
        slots.map(|slot| slot.map_or(Out::none(), |slot| Out::at(self.address(slot))))
    }

    /// A launch of a call without any operand.
    fn io(&self, call: usize) -> Launch<'_> {
        Launch {
            on: &self.kernels,
            x: [In::none(); MAX_SLOTS],
            y: [Out::none(); MAX_SLOTS],
            dy: [Out::none(); MAX_SLOTS],
            dx: [Out::none(); MAX_SLOTS],
            dw: [Out::none(); MAX_SLOTS],
            clock: In::at(self.clock.address()),
            constants: self.constants[call].as_ref().map_or(In::none(), |buffer| In::at(buffer.address())),
        }
    }

    fn step<R: Real>(&self, plan: &Plan<R>, step: &Step) -> Result<()> {
        match *step {
            Step::Forward { call } => {
                let operands = &plan.operands[call];
                let io = Launch { x: self.inputs(&operands.x), y: self.outputs(&operands.y), ..self.io(call) };
                plan.graph.calls[call].op.launch_forward(&io)
            }
            Step::Backward { call, ref dy, ref dx, .. } => {
                let (operands, op) = (&plan.operands[call], &plan.graph.calls[call].op);
                // Weights are read as they are, where the CPU reads them packed.
                let x = |i: usize| operands.x[i].filter(|_| operands.reads.input(i) || op.whole(i));
                let y = |i: usize| operands.y[i].filter(|_| operands.reads.out(i));
                let io = Launch {
                    x: self.inputs(&std::array::from_fn(x)),
                    y: self.outputs(&std::array::from_fn(y)),
                    dy: self.outputs(dy),
                    dx: self.outputs(dx),
                    ..self.io(call)
                };
                op.launch_backward(&io)
            }
            Step::Zero { .. } => unreachable!("clearing launches no kernel"),
            Step::Seed { slot, .. } => {
                Fill { y: Out::at(self.address(slot)), n: slot.len, c: 1.0 }.threads(&self.kernels, slot.len)
            }
        }
    }

    fn weights<R: Real>(&self, plan: &Plan<R>, job: &WeightJob<R>) -> Result<()> {
        for run in &job.runs {
            let io = Launch {
                x: self.inputs(&run.x),
                dy: self.outputs(&run.dy),
                dw: self.outputs(&job.dw),
                ..self.io(run.call)
            };
            run.merged.as_deref().unwrap_or(&*plan.graph.calls[run.call].op).launch_weights(&io)?;
        }
        Ok(())
    }
}
