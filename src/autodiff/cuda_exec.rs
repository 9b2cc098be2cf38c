//! The CUDA executor: walks the stages of a plan, as `exec.rs` does, and launches kernels instead of calling functions.
//!
//! Device memory has the places that the plan gave the tensors, in f32 whatever the plan's numbers are. What changes from step to step, the
//! inputs and the clock, is in device memory too, so the launches of a step are always the same: they are listed once, when the plan gets its
//! memory, and then made one by one, or captured and replayed. Between the two `cuda_rollout.rs` puts the launches of a scan together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::cuda_noise::Inside;
use super::cuda_rollout::{Command, Layer, Region, Rollouts, Work};
use super::graph::Var;
use super::op::{Clock, Drawn, Launch, MAX_SLOTS};
use super::params::Params;
use super::plan::{Placement, Plan};
use super::resolve::{Slot, Space, Stage, Step, WeightJob};
use super::schedule::Tenant;
use crate::base::{Error, Real, Result};
use crate::device::cuda::kernels::{Entry, Fill, In, Kernels, MOST_ELEMENTS, Out};
use crate::device::cuda::{Buffer, Graph, Pinned, Stream};

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

    fn upload_pinned(&mut self, stream: &Stream, offset: usize, values: &mut Pinned<f32>) -> Result<()> {
        let (first, buffer) = self.buffers.range_mut(..=offset).next_back().expect("every slot lies in a buffer");
        buffer.upload_pinned_at(stream, offset - first, values)
    }

    fn copy(&mut self, stream: &Stream, offset: usize, from: &Buffer<f32>, first: usize, len: usize) -> Result<()> {
        let (start, buffer) = self.buffers.range_mut(..=offset).next_back().expect("every slot lies in a buffer");
        buffer.copy_at(stream, offset - start, from, first, len)
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
    inputs: Vec<Input>,
    /// Of each call.
    constants: Vec<Option<Buffer<f32>>>,
    /// Which kernels draw their noise.
    noise: Inside,
    /// All of a run, in order.
    commands: Vec<Command>,
    rollouts: Rollouts,
    /// `Params::version` of the values on the device.
    version: Option<u64>,
    /// Whether everything was launched kernel by kernel once, so that a capture finds every kernel loaded.
    launched: bool,
    captured: Option<Graph>,
}

/// An input of the plan: where it lies on the device, and how it gets there.
struct Input {
    var: Var,
    offset: usize,
    /// Filled on the device by its owner, and not copied from the plan.
    fed: bool,
    /// Page-locked memory that it is copied from, once it was.
    staged: Option<Pinned<f32>>,
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
        if let Some(node) = plan.graph.nodes.iter().find(|node| node.len() > MOST_ELEMENTS) {
            return Err(Error::new(format!(
                "a tensor of shape {:?} has more elements than a kernel can count: use a smaller batch_size.",
                node.shape
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
        let inputs = plan.inputs().into_iter().map(|name| {
            let var = plan.input(&name).expect("named by the plan");
            Input { var, offset: plan.places.work[&Tenant::Value(var)], fed: false, staged: None }
        });
        let inputs = inputs.collect();
        let noise = Inside::new(&plan.graph);
        let mut device = CudaPlan {
            work: Memory::new(stream, work)?,
            value: Memory::new(stream, entries.iter().copied())?,
            grad: Memory::new(stream, entries)?,
            clock: Buffer::new(stream.context(), 2)?,
            inputs,
            constants,
            noise,
            commands: Vec::new(),
            rollouts: Rollouts::default(),
            version: None,
            launched: false,
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
        self.upload(plan, params, clock)?;
        self.replay(plan, params, eager, |_| Ok(()))?;
        self.download(plan, plan.kept_tensors())?;
        for sweep in &plan.sweeps {
            for entry in params.layout.group_entries(&sweep.group) {
                let grad = &mut params.grad.all_mut()[entry.range()];
                self.grad.download(self.kernels.stream(), entry.offset, grad)?;
            }
        }
        Ok(())
    }

    /// Launches everything, and after it what `then` launches: kernel by kernel the first time, and always if `eager`; captured the second time,
    /// and replayed from then on. What `then` gives to its kernels by value is what it was when it was captured.
    ///
    /// # Errors
    /// Those of [`run`](Self::run) and of `then`.
    pub fn replay<R: Real>(
        &mut self,
        plan: &Plan<R>,
        params: &Params<R>,
        eager: bool,
        then: impl Fn(&Kernels) -> Result<()>,
    ) -> Result<()> {
        if eager || !self.launched {
            self.launched = true;
            self.launch(plan, params)?;
            return then(&self.kernels);
        }
        if self.captured.is_none() {
            self.capture(plan, params, then)?;
        }
        self.captured.as_ref().expect("captured above").launch()
    }

    /// Captures what [`replay`](Self::replay) replays, without running it.
    ///
    /// # Errors
    /// An op has no kernel; the context is broken.
    pub fn capture<R: Real>(
        &mut self,
        plan: &Plan<R>,
        params: &Params<R>,
        then: impl Fn(&Kernels) -> Result<()>,
    ) -> Result<()> {
        let stream = self.kernels.stream().clone();
        self.captured = Some(stream.capture(|| {
            self.launch(plan, params)?;
            then(&self.kernels)
        })?);
        Ok(())
    }

    /// Kernel launches in the captured step; `None` before the second run that is not eager.
    ///
    /// # Errors
    /// The context is broken.
    pub fn launches(&self) -> Result<Option<usize>> {
        self.captured.as_ref().map(Graph::launches).transpose()
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

    /// Whether a run fills this tensor.
    pub(super) fn writes(&self, var: Var) -> bool {
        !self.noise.unwritten.contains(&var)
    }

    /// The numbers of a tensor after a run, for the comparison with the CPU.
    pub(super) fn tensor(&self, offset: usize, len: usize) -> Result<Vec<f64>> {
        let mut values = vec![0.0; len];
        self.work.download(self.kernels.stream(), offset, &mut values)?;
        Ok(values)
    }

    /// Copies the inputs of the plan, and parameters that have changed, to the device.
    ///
    /// # Errors
    /// The context is broken.
    pub fn upload<R: Real>(&mut self, plan: &Plan<R>, params: &Params<R>, clock: Clock) -> Result<()> {
        let stream = self.kernels.stream();
        if self.version != Some(params.version()) {
            self.value.upload(stream, 0, &params.value.all()[..params.layout.len()])?;
            self.version = Some(params.version());
        }
        self.clock.upload(stream, &[clock.seed, clock.step])?;
        for Input { var, offset, staged, .. } in self.inputs.iter_mut().filter(|input| !input.fed) {
            let values = plan.value(*var);
            let staged = match staged {
                Some(staged) => staged,
                None => staged.insert(Pinned::new(stream.context(), values.len())?),
            };
            staged.values()?.iter_mut().zip(values).for_each(|(staged, x)| *staged = x.f64() as f32);
            self.work.upload_pinned(stream, *offset, staged)?;
        }
        Ok(())
    }

    /// Leaves an input to the caller, who fills it on the device before each run: by kernels that write to the address that this returns, or by
    /// [`copy_input`](Self::copy_input). Both stand on the stream of the kernels, before the run. The plan's own values of it are not read any more.
    ///
    /// # Panics
    /// If it is no input.
    pub fn feed(&mut self, var: Var) -> Out<f32> {
        let input = self.inputs.iter_mut().find(|input| input.var == var).expect("only inputs can be fed");
        input.fed = true;
        Out::at(self.work.address(input.offset))
    }

    /// Fills an input that the caller feeds with `len` elements of a buffer, from `first` on.
    ///
    /// # Errors
    /// The context is broken.
    ///
    /// # Panics
    /// If it is no input, or one of the two has fewer elements.
    pub fn copy_input(&mut self, var: Var, from: &Buffer<f32>, first: usize, len: usize) -> Result<()> {
        let input = self.inputs.iter().find(|input| input.var == var).expect("only inputs can be fed");
        self.work.copy(self.kernels.stream(), input.offset, from, first, len)
    }

    /// Copies tensors that were kept to the plan.
    ///
    /// # Errors
    /// What the launches did wrong.
    ///
    /// # Panics
    /// If one of them is neither kept nor an input.
    pub fn download<R: Real>(&self, plan: &mut Plan<R>, vars: impl IntoIterator<Item = Var>) -> Result<()> {
        for var in vars {
            let range = plan.kept_range(var);
            self.work.download(self.kernels.stream(), range.start, &mut plan.work.all_mut()[range])?;
        }
        Ok(())
    }

    /// Copies the values of all parameters to the host, which something on the device has changed.
    ///
    /// # Errors
    /// What the launches did wrong.
    pub fn download_values<R: Real>(&mut self, params: &mut Params<R>) -> Result<()> {
        for entry in params.layout.clone().entries() {
            self.value.download(self.kernels.stream(), entry.offset, &mut params.value.all_mut()[entry.range()])?;
        }
        params.changed();
        self.version = Some(params.version());
        Ok(())
    }

    /// Where the values of parameters begin on the device, from an offset of their layout on.
    pub fn value_at(&self, offset: usize) -> Out<f32> {
        Out::at(self.value.address(offset))
    }

    /// Where the gradients of parameters begin on the device.
    pub fn grad_at(&self, offset: usize) -> In<f32> {
        In::at(self.grad.address(offset))
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
            drawn: self.noise.drawn[call].map_or(Drawn::default(), |(_, drawn)| drawn),
            constants: self.constants[call].as_ref().map_or(In::none(), |buffer| In::at(buffer.address())),
        }
    }

    fn step<R: Real>(&self, plan: &Plan<R>, step: &Step) -> Result<()> {
        match *step {
            Step::Forward { call } => {
                let (operands, traced) = (&plan.operands[call], &plan.graph.calls[call]);
                if !self.writes(traced.outputs[0]) {
                    return Ok(());
                }
                let x = |i: usize| operands.x[i].filter(|_| self.noise.is_tensor(call, i));
                let x = self.inputs(&std::array::from_fn(x));
                traced.op.launch_forward(&Launch { x, y: self.outputs(&operands.y), ..self.io(call) })
            }
            Step::Backward { call, ref dy, ref dx, .. } => {
                let (operands, op) = (&plan.operands[call], &plan.graph.calls[call].op);
                // Weights are read as they are, where the CPU reads them packed.
                let read = |i: usize| self.noise.is_tensor(call, i) && (operands.reads.input(i) || op.whole(i));
                let x = |i: usize| operands.x[i].filter(|_| read(i));
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
            // Steps of a scan that lie side by side are one tensor here.
            if let Some(slot) = run.x.iter().chain(&run.dy).flatten().find(|slot| slot.len > MOST_ELEMENTS) {
                let layer = plan.graph.calls[run.call].op.name();
                return Err(Error::new(format!(
                    "all steps of a {layer} together have {} elements, more than a kernel can count: use a smaller batch_size.",
                    slot.len
                )));
            }
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
