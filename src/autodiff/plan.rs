//! `Plan`: a trace made ready to run many times. Every tensor has its place, every call its slices; nothing allocates after
//! [`Plan::new`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::graph::{Graph, Source, Var};
use super::op::{Clock, Cost, WeightSplit};
use super::params::Params;
use super::place::{Lease, Places, place};
use super::record::Recorder;
#[cfg(feature = "cuda")]
use super::resolve::Slot;
use super::resolve::{Operands, Packed, Resolver, Stage, Step, WeightJob, WeightRun};
use super::scans::lay_out_scans;
use super::schedule::{Dispatch, Scheduler, Tenant, is_param};
use super::sweep::{Sweep, Wanted, analyse, site};
use crate::base::Real;
use crate::device::{Arena, Pool, arena};

/// A trace made ready to run.
pub struct Plan<R: Real> {
    pub(super) graph: Graph<R>,
    pub(super) sweeps: Vec<Sweep>,
    pub(super) stages: Vec<Stage<R>>,
    pub(super) operands: Vec<Operands>,
    pub(super) packs: Vec<Packed>,
    pub(super) pack_arena: Arena<R>,
    pub(super) packed_version: u64,
    pub(super) work: Arena<R>,
    pub(super) partials: Arena<R>,
    pub(super) memory: Vec<Mutex<Memory<R>>>,
    pub(super) places: Places,
    #[cfg(feature = "cuda")]
    pub(super) placement: Placement,
    pub(super) pool: Arc<Pool>,
    pub(super) recorder: Option<Recorder>,
}

/// Which tensors share memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// Tensors that are never needed together; those of a single region live in the memory of the workers.
    Workers,
    /// Tensors that are never needed together.
    Shared,
    /// None.
    Apart,
}

/// What belongs to one worker.
pub(super) struct Memory<R: Real> {
    /// For the calls, see [`super::op::Op::scratch`].
    pub scratch: Arena<R>,
    /// For the tensors that live in one region only.
    pub local: Arena<R>,
}

impl<R: Real> Plan<R> {
    /// Places every tensor of the trace and orders the work: all forward calls, and the backward calls of each sweep.
    pub fn new(graph: Graph<R>, sweeps: &[Sweep], pool: Arc<Pool>) -> Self {
        Self::placed(graph, sweeps, pool, Placement::Workers)
    }

    /// The same for a device, which has no workers: every tensor lies in the work arena.
    pub fn for_device(graph: Graph<R>, sweeps: &[Sweep], pool: Arc<Pool>) -> Self {
        Self::placed(graph, sweeps, pool, Placement::Shared)
    }

    /// The same, but every tensor has memory of its own: the oracle of the placement.
    pub fn apart(graph: Graph<R>, sweeps: &[Sweep], pool: Arc<Pool>) -> Self {
        Self::placed(graph, sweeps, pool, Placement::Apart)
    }

    fn placed(mut graph: Graph<R>, sweeps: &[Sweep], pool: Arc<Pool>, placement: Placement) -> Self {
        let analysed = |graph: &Graph<R>| -> Vec<_> { sweeps.iter().map(|s| analyse(graph, s)).collect() };
        let swept: Vec<Vec<Option<Wanted>>> = analysed(&graph);
        lay_out_scans(&mut graph, |call| swept.iter().any(|w| w[call].is_some_and(|w| w.dw.contains(&true))));
        let wanted = analysed(&graph);
        let scheduler = Scheduler::new(&graph, &wanted);
        let dispatches = scheduler.dispatches(sweeps);
        let places = place_tenants(&graph, &wanted, &scheduler, &dispatches, sweeps, placement);
        let resolver = Resolver { graph: &graph, wanted: &wanted, places: &places, threads: pool.threads() };
        let (operands, packs, pack_len) = resolver.operands();
        let mut partial_len = 0;
        let stages: Vec<Stage<R>> = dispatches
            .iter()
            .enumerate()
            .map(|(i, d)| resolver.stage(i, d, &scheduler, sweeps, &mut partial_len))
            .collect();
        let mut plan = Plan {
            sweeps: sweeps.to_vec(),
            stages,
            operands,
            packs,
            pack_arena: Arena::new(pack_len),
            packed_version: 0,
            work: Arena::new(places.len),
            partials: Arena::new(partial_len),
            memory: Vec::new(),
            places,
            #[cfg(feature = "cuda")]
            placement,
            pool,
            recorder: None,
            graph,
        };
        plan.make_memory();
        plan
    }

    /// Memory for the workers, as much as the largest piece needs.
    pub(super) fn make_memory(&mut self) {
        let scratch = self.stages.iter().map(|s| scratch_len(&self.graph, s)).max().unwrap_or(0);
        let local = self.stages.iter().map(|s| match s {
            Stage::Region { chunk, local, .. } => chunk * local,
            Stage::Weights { .. } => 0,
        });
        let local = local.max().unwrap_or(0);
        let one = || Mutex::new(Memory { scratch: Arena::new(scratch), local: Arena::new(local) });
        self.memory = (0..self.pool.threads()).map(|_| one()).collect();
    }

    /// The current numbers of a tensor: an input, or one marked with [`Graph::keep`].
    pub fn value(&self, var: Var) -> &[R] {
        &self.work.all()[self.kept_range(var)]
    }

    /// Where a tensor that outlives a run lies in the work arena.
    pub(super) fn kept_range(&self, var: Var) -> Range<usize> {
        let s = site(&self.graph.nodes, var);
        let node = &self.graph.nodes[s.root.index()];
        assert!(node.kept || node.source == Source::Input, "only inputs and kept tensors outlive a run");
        let at = self.places.work[&Tenant::Value(s.root)] + s.offset;
        at..at + s.len
    }

    /// The tensors that are kept, but for parameters and inputs.
    #[cfg(feature = "cuda")]
    pub(super) fn kept_tensors(&self) -> Vec<Var> {
        let tensors = self.places.work.keys().filter_map(|tenant| match *tenant {
            Tenant::Value(var) if self.graph.nodes[var.index()].kept => Some(var),
            _ => None,
        });
        tensors.collect()
    }

    /// The numbers of an input, to fill before a run.
    pub fn input_mut(&mut self, var: Var) -> &mut [R] {
        let s = site(&self.graph.nodes, var);
        assert_eq!(self.graph.nodes[s.root.index()].source, Source::Input, "only inputs are filled by the host");
        let at = self.places.work[&Tenant::Value(s.root)] + s.offset;
        &mut self.work.all_mut()[at..at + s.len]
    }

    /// The input of this name.
    pub fn input(&self, name: &str) -> Option<Var> {
        let named = |n: &super::graph::Node| n.source == Source::Input && n.name.as_deref() == Some(name);
        self.graph.nodes.iter().position(named).map(|i| Var(i as u32))
    }

    /// The names of all inputs, in the order of the trace.
    pub fn inputs(&self) -> Vec<String> {
        let inputs = self.graph.nodes.iter().filter(|n| n.source == Source::Input);
        inputs.filter_map(|n| n.name.clone()).collect()
    }

    /// The only number of a kept scalar.
    pub fn scalar(&self, var: Var) -> f64 {
        let value = self.value(var);
        assert_eq!(value.len(), 1, "not a scalar");
        value[0].f64()
    }

    /// Runs everything: all forward calls, all sweeps. Gradients of the sweeps' groups are in `params.grad` afterwards.
    pub fn run(&mut self, params: &mut Params<R>, clock: Clock) {
        super::exec::run(self, params, clock);
    }

    /// Bytes of all buffers of the plan.
    pub fn bytes(&self) -> usize {
        let own = |m: &Mutex<Memory<R>>| m.lock().map_or(0, |m| m.scratch.len() + m.local.len());
        let own: usize = self.memory.iter().map(own).sum();
        (self.work.len() + self.partials.len() + self.pack_arena.len() + own) * size_of::<R>()
    }

    /// Bytes of all tensors, and what they would be if no two of them shared memory.
    pub fn sharing(&self) -> (usize, usize) {
        let all = self.places.work.keys().chain(self.places.local.keys());
        let apart: usize = all.map(|tenant| arena::padded::<R>(self.graph.len(tenant.root()))).sum();
        let local = |m: &Mutex<Memory<R>>| m.lock().map_or(0, |m| m.local.len());
        let local: usize = self.memory.iter().map(local).sum();
        ((self.work.len() + local) * size_of::<R>(), apart * size_of::<R>())
    }

    /// Work of one run, forward only.
    pub fn cost(&self) -> Cost {
        self.graph
            .calls
            .iter()
            .map(|c| c.op.cost())
            .fold(Cost::default(), |a, b| Cost { flops: a.flops + b.flops, bytes: a.bytes + b.bytes })
    }

    /// Where a tensor comes from: the name of an input, or the op that puts it out.
    #[cfg(feature = "cuda")]
    pub(super) fn label(&self, var: Var) -> String {
        let number = var.0;
        let here = |v: &Var| site(&self.graph.nodes, *v).root == var;
        match self.graph.calls.iter().find_map(|c| Some((c, c.outputs.iter().position(here)?))) {
            Some((call, output)) => format!("output {output} of {} {}, tensor {number}", call.scope, call.op.name()),
            None => self.graph.nodes[var.index()].name.clone().unwrap_or(format!("tensor {number}")),
        }
    }

    /// The first of the whole inputs of a call, if it has any.
    #[cfg(feature = "cuda")]
    pub(super) fn weights_of(&self, call: usize) -> Option<Slot> {
        let (op, inputs) = (&self.graph.calls[call].op, &self.operands[call].x);
        inputs.iter().enumerate().find_map(|(i, slot)| slot.filter(|_| op.whole(i)))
    }

    /// The tensors in the work arena with their places `(offset, elements)`, for tests and for `explain`.
    pub fn places(&self) -> BTreeMap<String, (usize, usize)> {
        self.places
            .work
            .iter()
            .map(|(tenant, &offset)| {
                let (label, var) = match *tenant {
                    Tenant::Value(v) => (format!("value of tensor {}", v.0), v),
                    Tenant::Grad(s, v) => (format!("gradient of tensor {} in sweep {s}", v.0), v),
                };
                (label, (offset, self.graph.len(var)))
            })
            .collect()
    }
}

/// When a tensor is needed: first and last dispatch, first and last task, and whether every task touches it row by row.
#[derive(Clone, Copy)]
struct Life {
    from: usize,
    to: usize,
    first: usize,
    last: usize,
    by_rows: bool,
}

/// Places of all tensors. One that lives in a single region, touched row by row, goes to the memory of the workers, where only the rows of a
/// piece exist; the others go to the work arena. [`Placement`] says how far this goes.
fn place_tenants<R: Real>(
    graph: &Graph<R>,
    wanted: &[Vec<Option<Wanted>>],
    scheduler: &Scheduler<'_, R>,
    dispatches: &[Dispatch],
    sweeps: &[Sweep],
    placement: Placement,
) -> Places {
    let lives = lives(graph, wanted, scheduler, dispatches, sweeps);
    let mut places = Places::default();
    let local = |life: &Life| placement == Placement::Workers && life.by_rows && life.from == life.to;

    let (own, shared): (Vec<_>, Vec<_>) = lives.into_iter().partition(|(_, life)| local(life));
    for (number, dispatch) in dispatches.iter().enumerate() {
        let Dispatch::Region { rows, .. } = dispatch else { continue };
        let here: Vec<_> = own.iter().filter(|(_, life)| life.from == number).collect();
        let width = |tenant: Tenant| arena::padded::<R>(graph.len(tenant.root()) / rows);
        let leases: Vec<Lease> =
            here.iter().map(|(t, life)| Lease { from: life.first, to: life.last, len: width(*t) }).collect();
        let (offsets, size) = place(&leases);
        places.local.extend(here.iter().map(|(tenant, _)| *tenant).zip(offsets));
        places.local_rows.insert(number, size);
    }

    let leases: Vec<Lease> = shared
        .iter()
        .map(|(tenant, life)| {
            let (from, to) = if placement == Placement::Apart { (0, dispatches.len()) } else { (life.from, life.to) };
            Lease { from, to, len: arena::padded::<R>(graph.len(tenant.root())) }
        })
        .collect();
    let (offsets, size) = place(&leases);
    places.work = shared.iter().map(|(tenant, _)| *tenant).zip(offsets).collect();
    places.len = size;
    places
}

fn lives<R: Real>(
    graph: &Graph<R>,
    wanted: &[Vec<Option<Wanted>>],
    scheduler: &Scheduler<'_, R>,
    dispatches: &[Dispatch],
    sweeps: &[Sweep],
) -> BTreeMap<Tenant, Life> {
    let mut lives: BTreeMap<Tenant, Life> = BTreeMap::new();
    let mut touch = |tenant: Tenant, from: usize, task: usize, by_rows: bool| {
        let new = Life { from, to: from, first: task, last: task, by_rows };
        let life = lives.entry(tenant).or_insert(new);
        (life.to, life.last) = (life.to.max(from), life.last.max(task));
        life.by_rows &= by_rows;
    };
    let mut clock = 0;
    for (at, dispatch) in dispatches.iter().enumerate() {
        match dispatch {
            Dispatch::Region { tasks, .. } => {
                for task in tasks {
                    clock += 1;
                    for access in scheduler.accesses(task, sweeps) {
                        let whole = (access.start, access.end) == (0, graph.len(access.tenant.root()));
                        touch(access.tenant, at, clock, access.mapped && whole);
                    }
                }
            }
            Dispatch::Weights(groups) => {
                for group in groups {
                    for &index in &group.calls {
                        let call = &graph.calls[index];
                        for &x in call.inputs.iter() {
                            let root = site(&graph.nodes, x).root;
                            if !is_param(graph, root) {
                                touch(Tenant::Value(root), at, clock, false);
                            }
                        }
                        for (i, &y) in call.outputs.iter().enumerate() {
                            if wanted[group.sweep][index].is_some_and(|w| w.dy[i]) {
                                touch(Tenant::Grad(group.sweep, site(&graph.nodes, y).root), at, clock, false);
                            }
                        }
                    }
                }
            }
        }
    }
    let last = dispatches.len();
    for (index, node) in graph.nodes.iter().enumerate() {
        let var = Var(index as u32);
        if node.view.is_none() && (node.source == Source::Input || node.kept) && !is_param(graph, var) {
            lives.insert(Tenant::Value(var), Life { from: 0, to: last, first: 0, last: clock, by_rows: false });
        }
    }
    lives
}

fn scratch_len<R: Real>(graph: &Graph<R>, stage: &Stage<R>) -> usize {
    match stage {
        Stage::Region { chunk, steps, .. } => steps
            .iter()
            .map(|s| match *s {
                Step::Forward { call } | Step::Backward { call, .. } => graph.calls[call].op.scratch(*chunk),
                _ => 0,
            })
            .max()
            .unwrap_or(0),
        Stage::Weights { jobs, .. } => {
            let run = |job: &WeightJob<R>, run: &WeightRun<R>| {
                let op = run.merged.as_deref().unwrap_or(&*graph.calls[run.call].op);
                op.scratch(match job.split {
                    WeightSplit::Parts(_) => run.rows,
                    WeightSplit::Rows(n) => n,
                })
            };
            jobs.iter().flat_map(|j| j.runs.iter().map(move |r| run(j, r))).max().unwrap_or(0)
        }
    }
}
