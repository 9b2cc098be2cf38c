//! `Plan`: a trace made ready to run many times. Every tensor has its place, every call its slices; nothing allocates after
//! [`Plan::new`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::graph::{Graph, Source, Var};
use super::op::{Clock, Cost, WeightSplit};
use super::params::Params;
use super::place::{Lease, place};
use super::record::Recorder;
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
    pub(super) scratch: Vec<std::sync::Mutex<Vec<R>>>,
    pub(super) offsets: HashMap<Tenant, usize>,
    pub(super) pool: Arc<Pool>,
    pub(super) recorder: Option<Recorder>,
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
            recorder: None,
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
