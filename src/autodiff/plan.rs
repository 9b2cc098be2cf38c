//! `Plan`: a trace made ready to run many times. Every tensor has its place, every call its slices; nothing allocates after
//! [`Plan::new`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::graph::{Graph, Source, Var};
use super::op::{Clock, Cost, MAX_SLOTS, Op, WeightSplit};
use super::params::Params;
use super::place::{Lease, place};
use super::schedule::{Dispatch, Scheduler, Task, Tenant, WeightGroup, is_param};
use super::sweep::{Site, Sweep, Wanted, analyse, site};
use crate::base::Real;
use crate::device::{Arena, Pool, arena, gemm};

/// Which buffer a slot lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    Work,
    Value,
    Grad,
}

/// Where one operand of a call lies. `row` elements belong to each row; 0 marks a whole operand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub space: Space,
    pub offset: usize,
    pub len: usize,
    pub row: usize,
}

/// A matrix kept in packed form: where it is read and where its panels stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed {
    pub source: Slot,
    pub rows: usize,
    pub columns: usize,
    pub transposed: bool,
    pub offset: usize,
    pub len: usize,
}

/// A task with its operands resolved.
pub(super) enum Step {
    Forward { call: usize },
    Backward { call: usize, sweep: usize, dy: [Option<Slot>; MAX_SLOTS], dx: [Option<Slot>; MAX_SLOTS] },
    Zero { slot: Slot, tenant: Tenant },
    Seed { slot: Slot, sweep: usize },
}

/// Calls of one layer side by side in memory: their weight gradients are one product.
pub(super) struct WeightRun<R: Real> {
    /// The op over all the rows; `None` where the call's own op serves.
    pub merged: Option<Box<dyn Op<R>>>,
    pub call: usize,
    pub rows: usize,
    pub x: [Option<Slot>; MAX_SLOTS],
    pub dy: [Option<Slot>; MAX_SLOTS],
}

pub(super) struct WeightJob<R: Real> {
    pub sweep: usize,
    pub runs: Vec<WeightRun<R>>,
    pub dw: [Option<Slot>; MAX_SLOTS],
    pub split: WeightSplit,
    /// First piece of this job within its dispatch, and how many there are.
    pub first: usize,
    pub pieces: usize,
    /// Where the partial sums of [`WeightSplit::Rows`] begin, and their size in elements for one piece.
    pub partial: usize,
    pub partial_len: usize,
}

pub(super) enum Stage<R: Real> {
    Region { rows: usize, chunk: usize, steps: Vec<Step> },
    Weights { jobs: Vec<WeightJob<R>>, pieces: usize },
}

/// Operands of a call's forward pass.
pub(super) struct Operands {
    pub x: [Option<Slot>; MAX_SLOTS],
    pub y: [Option<Slot>; MAX_SLOTS],
    /// Indices into `Plan::packs`.
    pub packed: [Option<usize>; MAX_SLOTS],
}

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
    pub(super) scratch: Vec<std::sync::Mutex<Vec<R>>>,
    pub(super) offsets: HashMap<Tenant, usize>,
    pub(super) pool: Arc<Pool>,
}

/// Rows in one piece of a region: a fixed function of the rows and of the work, never of the number of threads. A quarter of the
/// rows keeps a few workers busy; 64 rows fill the widest micro-kernel and keep a piece's activations in cache. A region of
/// less than about 50 microseconds of work is not worth waking anybody.
fn chunk_rows(rows: usize, flops: f64) -> usize {
    if flops < 1.0e6 { rows } else { rows.div_ceil(4).clamp(1.min(rows), 64) }
}

impl<R: Real> Plan<R> {
    /// Places every tensor of the trace and orders the work: all forward calls, and the backward calls of each sweep.
    pub fn new(graph: Graph<R>, sweeps: &[Sweep], pool: Arc<Pool>) -> Self {
        Self::placed(graph, sweeps, pool, true)
    }

    /// The same, but every tensor has memory of its own: the oracle of the placement.
    pub fn apart(graph: Graph<R>, sweeps: &[Sweep], pool: Arc<Pool>) -> Self {
        Self::placed(graph, sweeps, pool, false)
    }

    fn placed(mut graph: Graph<R>, sweeps: &[Sweep], pool: Arc<Pool>, share: bool) -> Self {
        lay_out_scans(&mut graph);
        let wanted: Vec<Vec<Option<Wanted>>> = sweeps.iter().map(|s| analyse(&graph, s)).collect();
        let scheduler = Scheduler::new(&graph, &wanted);
        let dispatches = scheduler.dispatches(sweeps);
        let (offsets, size) = place_tenants(&graph, &wanted, &scheduler, &dispatches, sweeps, share);
        let resolver = Resolver { graph: &graph, wanted: &wanted, offsets: &offsets };
        let (operands, packs, pack_len) = resolver.operands();
        let mut partial_len = 0;
        let stages: Vec<Stage<R>> =
            dispatches.iter().map(|d| resolver.stage(d, &scheduler, sweeps, &mut partial_len)).collect();
        let mut plan = Plan {
            sweeps: sweeps.to_vec(),
            stages,
            operands,
            packs,
            pack_arena: Arena::new(pack_len),
            packed_version: 0,
            work: Arena::new(size),
            partials: Arena::new(partial_len),
            scratch: Vec::new(),
            offsets,
            pool,
            graph,
        };
        plan.make_scratch();
        plan
    }

    /// Memory for the workers, as much as the largest piece needs.
    pub(super) fn make_scratch(&mut self) {
        let len = self.stages.iter().map(|s| scratch_len(&self.graph, s)).max().unwrap_or(0);
        self.scratch = (0..self.pool.threads()).map(|_| std::sync::Mutex::new(vec![R::ZERO; len])).collect();
    }

    /// The current numbers of a tensor: an input, or one marked with [`Graph::keep`].
    pub fn value(&self, var: Var) -> &[R] {
        let s = site(&self.graph.nodes, var);
        let node = &self.graph.nodes[s.root.index()];
        assert!(node.kept || node.source == Source::Input, "only inputs and kept tensors outlive a run");
        let at = self.offsets[&Tenant::Value(s.root)] + s.offset;
        &self.work.all()[at..at + s.len]
    }

    /// The numbers of an input, to fill before a run.
    pub fn input_mut(&mut self, var: Var) -> &mut [R] {
        let s = site(&self.graph.nodes, var);
        assert_eq!(self.graph.nodes[s.root.index()].source, Source::Input, "only inputs are filled by the host");
        let at = self.offsets[&Tenant::Value(s.root)] + s.offset;
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
        let scratch: usize = self.scratch.iter().map(|s| s.lock().map_or(0, |s| s.len())).sum();
        (self.work.len() + self.partials.len() + self.pack_arena.len() + scratch) * size_of::<R>()
    }

    /// Bytes of the work arena, and what it would be if no two tensors shared memory.
    pub fn sharing(&self) -> (usize, usize) {
        let apart: usize = self
            .offsets
            .keys()
            .map(|t| match *t {
                Tenant::Value(v) | Tenant::Grad(_, v) => arena::padded::<R>(self.graph.len(v)),
            })
            .sum();
        (self.work.len() * size_of::<R>(), apart * size_of::<R>())
    }

    /// Work of one run, forward only.
    pub fn cost(&self) -> Cost {
        self.graph
            .calls
            .iter()
            .map(|c| c.op.cost())
            .fold(Cost::default(), |a, b| Cost { flops: a.flops + b.flops, bytes: a.bytes + b.bytes })
    }

    /// The tensors in the work arena with their places `(offset, elements)`, for tests and for `explain`.
    pub fn places(&self) -> BTreeMap<String, (usize, usize)> {
        self.offsets
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

/// Lays the inputs and outputs of a scanned layer side by side: calls that share their weights, one a time step, become one
/// product over all steps when the gradient of the weights is computed.
fn lay_out_scans<R: Real>(graph: &mut Graph<R>) {
    type Weights = Vec<(Var, usize, usize)>;
    let mut layers: BTreeMap<(&'static str, Weights), Vec<usize>> = BTreeMap::new();
    for (index, call) in graph.calls.iter().enumerate() {
        let whole = call.inputs.iter().enumerate().filter(|(i, _)| call.op.whole(*i));
        let weights: Weights = whole.map(|(_, &x)| site(&graph.nodes, x).range()).collect();
        if !weights.is_empty() {
            layers.entry((call.op.name(), weights)).or_default().push(index);
        }
    }
    for calls in layers.into_values().filter(|calls| calls.len() > 1) {
        let first = &graph.calls[calls[0]];
        let (inputs, outputs) = (first.inputs.len(), first.outputs.len());
        if calls.iter().any(|&c| graph.calls[c].inputs.len() != inputs) {
            continue;
        }
        for operand in 0..inputs + outputs {
            let mut stack: Vec<Var> = Vec::new();
            let flush = |graph: &mut Graph<R>, stack: &mut Vec<Var>| {
                if stack.len() > 1 {
                    graph.stack(stack);
                }
                stack.clear();
            };
            for &c in &calls {
                let call = &graph.calls[c];
                let var = if operand < inputs { call.inputs[operand] } else { call.outputs[operand - inputs] };
                let fits = graph.stackable(var)
                    && !stack.contains(&var)
                    && stack.last().is_none_or(|&last| graph.shape(last) == graph.shape(var));
                if !fits {
                    flush(graph, &mut stack);
                }
                if graph.stackable(var) {
                    stack.push(var);
                }
            }
            flush(graph, &mut stack);
        }
    }
}

/// Leases of all tenants of the work arena, and their places.
fn place_tenants<R: Real>(
    graph: &Graph<R>,
    wanted: &[Vec<Option<Wanted>>],
    scheduler: &Scheduler<'_, R>,
    dispatches: &[Dispatch],
    sweeps: &[Sweep],
    share: bool,
) -> (HashMap<Tenant, usize>, usize) {
    let mut leases: BTreeMap<Tenant, (usize, usize)> = BTreeMap::new();
    let mut touch = |tenant: Tenant, at: usize| {
        let lease = leases.entry(tenant).or_insert((at, at));
        lease.1 = lease.1.max(at);
    };
    for (at, dispatch) in dispatches.iter().enumerate() {
        match dispatch {
            Dispatch::Region { tasks, .. } => {
                for task in tasks {
                    scheduler.accesses(task, sweeps).into_iter().for_each(|a| touch(a.tenant, at));
                }
            }
            Dispatch::Weights(groups) => {
                for group in groups {
                    for &index in &group.calls {
                        let call = &graph.calls[index];
                        for &x in call.inputs.iter() {
                            let root = site(&graph.nodes, x).root;
                            if !is_param(graph, root) {
                                touch(Tenant::Value(root), at);
                            }
                        }
                        for (i, &y) in call.outputs.iter().enumerate() {
                            if wanted[group.sweep][index].is_some_and(|w| w.dy[i]) {
                                touch(Tenant::Grad(group.sweep, site(&graph.nodes, y).root), at);
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
            leases.insert(Tenant::Value(var), (0, last));
        }
    }
    let tenants: Vec<Tenant> = leases.keys().copied().collect();
    let spans: Vec<Lease> = tenants
        .iter()
        .map(|t| {
            let (Tenant::Value(v) | Tenant::Grad(_, v)) = *t;
            let (from, to) = if share { leases[t] } else { (0, last) };
            Lease { from, to, len: arena::padded::<R>(graph.len(v)) }
        })
        .collect();
    let (offsets, size) = place(&spans);
    (tenants.into_iter().zip(offsets).collect(), size)
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

/// Turns tensors into slots.
struct Resolver<'a, R: Real> {
    graph: &'a Graph<R>,
    wanted: &'a [Vec<Option<Wanted>>],
    offsets: &'a HashMap<Tenant, usize>,
}

impl<R: Real> Resolver<'_, R> {
    fn slot(&self, s: Site, row: usize, sweep: Option<usize>) -> Slot {
        let source = self.graph.nodes[s.root.index()].source;
        let (space, base) = match (source, sweep) {
            (Source::Param(p), None) => (Space::Value, self.graph.layout.entries()[p].offset),
            (Source::Param(p), Some(_)) => (Space::Grad, self.graph.layout.entries()[p].offset),
            (_, None) => (Space::Work, self.offsets[&Tenant::Value(s.root)]),
            (_, Some(sweep)) => (Space::Work, self.offsets[&Tenant::Grad(sweep, s.root)]),
        };
        Slot { space, offset: base + s.offset, len: s.len, row }
    }

    /// The slot of an operand of a call: values, or gradients in a sweep.
    fn operand(&self, var: Var, rows: usize, whole: bool, sweep: Option<usize>) -> Slot {
        let s = site(&self.graph.nodes, var);
        self.slot(s, if whole { 0 } else { s.len / rows }, sweep)
    }

    fn operands(&self) -> (Vec<Operands>, Vec<Packed>, usize) {
        let mut packs: Vec<Packed> = Vec::new();
        let mut known: HashMap<(Var, usize, usize, usize, usize, bool), usize> = HashMap::new();
        let mut pack_len = 0;
        let operands = self.graph.calls.iter().enumerate().map(|(index, call)| {
            let rows = call.op.rows();
            let mut out = Operands { x: [None; MAX_SLOTS], y: [None; MAX_SLOTS], packed: [None; MAX_SLOTS] };
            for (i, &x) in call.inputs.iter().enumerate() {
                out.x[i] = Some(self.operand(x, rows, call.op.whole(i), None));
            }
            for (i, &y) in call.outputs.iter().enumerate() {
                out.y[i] = Some(self.operand(y, rows, false, None));
            }
            let swept = self.wanted.iter().any(|w| w[index].is_some_and(|w| w.dx.contains(&true)));
            for (j, pack) in call.op.packs().into_iter().enumerate() {
                if pack.transposed && !swept {
                    continue;
                }
                let s = site(&self.graph.nodes, call.inputs[pack.input]);
                let source = self.graph.nodes[s.root.index()].source;
                assert!(matches!(source, Source::Param(_)), "{}: only parameters are packed", call.op.name());
                let key = (s.root, s.offset, s.len, pack.rows, pack.columns, pack.transposed);
                let at = *known.entry(key).or_insert_with(|| {
                    let (k, n) = if pack.transposed { (pack.columns, pack.rows) } else { (pack.rows, pack.columns) };
                    let len = gemm::packed_len::<R>(k, n);
                    packs.push(Packed {
                        source: self.slot(s, 0, None),
                        rows: pack.rows,
                        columns: pack.columns,
                        transposed: pack.transposed,
                        offset: pack_len,
                        len,
                    });
                    pack_len += arena::padded::<R>(len);
                    packs.len() - 1
                });
                out.packed[j] = Some(at);
            }
            out
        });
        (operands.collect(), packs, pack_len)
    }

    fn stage(
        &self,
        dispatch: &Dispatch,
        scheduler: &Scheduler<'_, R>,
        sweeps: &[Sweep],
        partial_len: &mut usize,
    ) -> Stage<R> {
        match dispatch {
            Dispatch::Region { rows, tasks } => {
                let flops: f64 = tasks
                    .iter()
                    .map(|t| match *t {
                        Task::Forward { call } => self.graph.calls[call].op.cost().flops,
                        Task::Backward { call, .. } => 2.0 * self.graph.calls[call].op.cost().flops,
                        _ => 0.0,
                    })
                    .sum();
                debug_assert!(tasks.iter().all(|t| scheduler.rows(t) == *rows));
                let steps = tasks.iter().map(|t| self.step(t, sweeps)).collect();
                Stage::Region { rows: *rows, chunk: chunk_rows(*rows, flops), steps }
            }
            Dispatch::Weights(groups) => {
                let mut first = 0;
                let mut partial = 0;
                let jobs = groups.iter().map(|g| self.weight_job(g, &mut first, &mut partial)).collect();
                *partial_len = (*partial_len).max(partial);
                Stage::Weights { jobs, pieces: first }
            }
        }
    }

    fn step(&self, task: &Task, sweeps: &[Sweep]) -> Step {
        match *task {
            Task::Forward { call } => Step::Forward { call },
            Task::Zero { sweep, site, rows } => Step::Zero {
                slot: self.slot(site, site.len / rows, Some(sweep)),
                tenant: Tenant::Grad(sweep, site.root),
            },
            Task::Seed { sweep } => {
                Step::Seed { slot: self.slot(site(&self.graph.nodes, sweeps[sweep].loss), 1, Some(sweep)), sweep }
            }
            Task::Backward { sweep, call: index } => {
                let call = &self.graph.calls[index];
                let (rows, want) = (call.op.rows(), self.wanted[sweep][index].expect("visited"));
                let mut dy = [None; MAX_SLOTS];
                let mut dx = [None; MAX_SLOTS];
                for (i, &y) in call.outputs.iter().enumerate().filter(|(i, _)| want.dy[*i]) {
                    dy[i] = Some(self.operand(y, rows, false, Some(sweep)));
                }
                for (i, &x) in call.inputs.iter().enumerate().filter(|(i, _)| want.dx[*i]) {
                    dx[i] = Some(self.operand(x, rows, false, Some(sweep)));
                }
                let overlap = |a: &Option<Slot>, b: &Option<Slot>| match (a, b) {
                    (Some(a), Some(b)) => {
                        a.space == b.space && a.offset < b.offset + b.len && b.offset < a.offset + a.len
                    }
                    _ => false,
                };
                for i in 0..MAX_SLOTS {
                    for j in 0..i {
                        assert!(!overlap(&dx[i], &dx[j]), "{}: inputs {j} and {i} share memory", call.op.name());
                    }
                }
                Step::Backward { call: index, sweep, dy, dx }
            }
        }
    }

    fn weight_job(&self, group: &WeightGroup, first: &mut usize, partial: &mut usize) -> WeightJob<R> {
        let sweep = group.sweep;
        let lead = &self.graph.calls[group.calls[0]];
        let want = self.wanted[sweep][group.calls[0]].expect("visited");
        let mut dw = [None; MAX_SLOTS];
        for (i, &x) in lead.inputs.iter().enumerate().filter(|(i, _)| want.dw[*i]) {
            dw[i] = Some(self.operand(x, 1, true, Some(sweep)));
        }
        let runs = self.weight_runs(group);
        let op = |run: &WeightRun<R>| run.merged.as_deref().unwrap_or(&*self.graph.calls[run.call].op).weight_split();
        let split = op(&runs[0]);
        let start = *first;
        let mut job = WeightJob { sweep, dw, split, first: start, pieces: 0, partial: *partial, partial_len: 0, runs };
        match split {
            WeightSplit::Parts(n) => {
                assert!(job.runs.iter().all(|r| op(r) == split), "{}: parts depend on rows", lead.op.name());
                job.pieces = n;
            }
            WeightSplit::Rows(_) => {
                job.partial_len = dw.iter().flatten().map(|s| arena::padded::<R>(s.len)).sum();
                job.pieces = job.runs.iter().map(|r| r.rows.div_ceil(rows_of(op(r)))).sum();
                *partial += job.pieces * job.partial_len;
            }
        }
        *first += job.pieces;
        job
    }

    /// Cuts the calls of a layer into runs that lie side by side in memory.
    fn weight_runs(&self, group: &WeightGroup) -> Vec<WeightRun<R>> {
        let sweep = group.sweep;
        let mut runs: Vec<WeightRun<R>> = Vec::new();
        let mut calls: Vec<Vec<usize>> = Vec::new();
        let slots = |index: usize| {
            let call = &self.graph.calls[index];
            let (rows, want) = (call.op.rows(), self.wanted[sweep][index].expect("visited"));
            let mut x = [None; MAX_SLOTS];
            let mut dy = [None; MAX_SLOTS];
            for (i, &input) in call.inputs.iter().enumerate() {
                x[i] = Some(self.operand(input, rows, call.op.whole(i), None));
            }
            for (i, &output) in call.outputs.iter().enumerate().filter(|(i, _)| want.dy[*i]) {
                dy[i] = Some(self.operand(output, rows, false, Some(sweep)));
            }
            (rows, x, dy)
        };
        let follows = |a: &Option<Slot>, b: &Option<Slot>| match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) if a.row == 0 => b.row == 0,
            (Some(a), Some(b)) => a.space == b.space && a.row == b.row && b.offset == a.offset + a.len,
            _ => false,
        };
        for &index in &group.calls {
            let (rows, x, dy) = slots(index);
            if let (Some(run), Some(members)) = (runs.last_mut(), calls.last_mut()) {
                let fits = (0..MAX_SLOTS).all(|i| follows(&run.x[i], &x[i]) && follows(&run.dy[i], &dy[i]));
                if fits && self.graph.calls[index].op.with_rows(run.rows + rows).is_some() {
                    run.rows += rows;
                    for slot in run.x.iter_mut().chain(&mut run.dy).flatten().filter(|s| s.row > 0) {
                        slot.len = slot.row * run.rows;
                    }
                    members.push(index);
                    continue;
                }
            }
            runs.push(WeightRun { merged: None, call: index, rows, x, dy });
            calls.push(vec![index]);
        }
        for (run, members) in runs.iter_mut().zip(calls) {
            if members.len() > 1 {
                run.merged = self.graph.calls[run.call].op.with_rows(run.rows);
            }
        }
        runs
    }
}

/// Rows of one piece of a job that is split by rows.
pub(super) fn rows_of(split: WeightSplit) -> usize {
    match split {
        WeightSplit::Rows(n) => n,
        WeightSplit::Parts(_) => panic!("a job is split by rows in all its runs or in none"),
    }
}
