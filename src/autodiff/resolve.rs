//! Tensors become places: every operand of every task as an offset and a length, weight gradients gathered into jobs.

use std::collections::HashMap;

use super::graph::{Graph, Source, Var};
use super::op::{MAX_SLOTS, Op, Order, Reads, WeightSplit};
use super::place::Places;
use super::schedule::{Dispatch, Scheduler, Task, Tenant, WeightGroup};
use super::sweep::{Site, Sweep, Wanted, site};
use crate::base::Real;
use crate::device::gemm::Precision;
use crate::device::{arena, gemm};

/// Which buffer a slot lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    Work,
    Value,
    Grad,
    /// Memory of the worker, for tensors that live in one region only: as many rows as a piece has. Offsets are elements of a row.
    Local,
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
#[derive(Debug, Clone)]
pub(super) struct Packed {
    pub source: Slot,
    pub rows: usize,
    pub columns: usize,
    pub order: Order,
    pub precision: Precision,
    pub offset: usize,
    pub len: usize,
}

/// A task with its operands resolved.
#[expect(clippy::large_enum_variant, reason = "most steps are forward or backward, and all are made once")]
pub(super) enum Step {
    Forward { call: usize },
    Backward { call: usize, sweep: usize, dy: [Option<Slot>; MAX_SLOTS], dx: [Option<Slot>; MAX_SLOTS] },
    Zero { slot: Slot, tenant: Tenant },
    Seed { slot: Slot, sweep: usize },
}

#[cfg(feature = "cuda")]
impl Step {
    /// The call that it runs, forward or backward.
    pub fn call(&self) -> Option<usize> {
        match *self {
            Step::Forward { call } | Step::Backward { call, .. } => Some(call),
            Step::Zero { .. } | Step::Seed { .. } => None,
        }
    }
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
    /// `local`: elements of a row of all tensors in the worker's memory.
    Region {
        rows: usize,
        chunk: usize,
        local: usize,
        steps: Vec<Step>,
    },
    Weights {
        jobs: Vec<WeightJob<R>>,
        pieces: usize,
    },
}

/// Operands of a call's forward pass.
pub(super) struct Operands {
    pub x: [Option<Slot>; MAX_SLOTS],
    pub y: [Option<Slot>; MAX_SLOTS],
    /// Indices into `Plan::packs`.
    pub packed: [Option<usize>; MAX_SLOTS],
    /// Which of them `backward` reads.
    pub reads: Reads,
}

/// Rows in one piece of a region. No op's result depends on how its rows are cut (`tests/plan.rs`), so this may follow the number of
/// workers: each takes one piece of a region with few rows, because a piece reads all weights; 64 rows fill the widest micro-kernel
/// and keep a piece's activations in cache. A region of less than about 50 microseconds of work is not worth waking anybody.
fn chunk_rows(rows: usize, flops: f64, threads: usize) -> usize {
    if flops < 1.0e6 { rows } else { rows.div_ceil(threads).clamp(1, 64) }
}

/// Turns tensors into slots.
pub(super) struct Resolver<'a, R: Real> {
    pub graph: &'a Graph<R>,
    pub wanted: &'a [Vec<Option<Wanted>>],
    pub places: &'a Places,
    pub threads: usize,
}

impl<R: Real> Resolver<'_, R> {
    fn slot(&self, s: Site, row: usize, sweep: Option<usize>) -> Slot {
        let source = self.graph.nodes[s.root.index()].source;
        let (space, base) = match (source, sweep) {
            (Source::Param(p), None) => (Space::Value, self.graph.layout.entries()[p].offset),
            (Source::Param(p), Some(_)) => (Space::Grad, self.graph.layout.entries()[p].offset),
            (_, sweep) => {
                let tenant = sweep.map_or(Tenant::Value(s.root), |sweep| Tenant::Grad(sweep, s.root));
                match (self.places.local.get(&tenant), self.places.work.get(&tenant)) {
                    (Some(&at), _) => (Space::Local, at),
                    (None, Some(&at)) => (Space::Work, at),
                    // Nobody touches it: an output that nothing reads still has a place.
                    (None, None) => unreachable!("every tensor that a call touches has a place"),
                }
            }
        };
        Slot { space, offset: base + s.offset, len: s.len, row }
    }

    /// The slot of an operand of a call: values, or gradients in a sweep.
    fn operand(&self, var: Var, rows: usize, whole: bool, sweep: Option<usize>) -> Slot {
        let s = site(&self.graph.nodes, var);
        self.slot(s, if whole { 0 } else { s.len / rows }, sweep)
    }

    pub fn operands(&self) -> (Vec<Operands>, Vec<Packed>, usize) {
        let mut packs: Vec<Packed> = Vec::new();
        let mut known: HashMap<(Var, usize, usize), Vec<usize>> = HashMap::new();
        let mut pack_len = 0;
        let operands = self.graph.calls.iter().enumerate().map(|(index, call)| {
            let rows = call.op.rows();
            let mut out = Operands {
                x: [None; MAX_SLOTS],
                y: [None; MAX_SLOTS],
                packed: [None; MAX_SLOTS],
                reads: call.op.reads(),
            };
            for (i, &x) in call.inputs.iter().enumerate() {
                out.x[i] = Some(self.operand(x, rows, call.op.whole(i), None));
            }
            for (i, &y) in call.outputs.iter().enumerate() {
                out.y[i] = Some(self.operand(y, rows, false, None));
            }
            let swept = self.wanted.iter().any(|w| w[index].is_some_and(|w| w.dx.contains(&true)));
            for (j, pack) in call.op.packs().into_iter().enumerate() {
                if pack.backward && !swept {
                    continue;
                }
                let s = site(&self.graph.nodes, call.inputs[pack.input]);
                let source = self.graph.nodes[s.root.index()].source;
                assert!(matches!(source, Source::Param(_)), "{}: only parameters are packed", call.op.name());
                let known = known.entry(s.range()).or_default();
                let same = |p: &Packed| {
                    let size = (p.rows, p.columns) == (pack.rows, pack.columns);
                    size && p.order == pack.order && p.precision == pack.precision
                };
                let at = known.iter().copied().find(|&at| same(&packs[at])).unwrap_or_else(|| {
                    let len = gemm::packed_len::<R>(pack.precision, pack.rows, pack.columns);
                    packs.push(Packed {
                        source: self.slot(s, 0, None),
                        rows: pack.rows,
                        columns: pack.columns,
                        order: pack.order,
                        precision: pack.precision,
                        offset: pack_len,
                        len,
                    });
                    pack_len += arena::padded::<R>(len);
                    known.push(packs.len() - 1);
                    packs.len() - 1
                });
                out.packed[j] = Some(at);
            }
            out
        });
        (operands.collect(), packs, pack_len)
    }

    pub fn stage(
        &self,
        number: usize,
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
                let local = self.places.local_rows.get(&number).copied().unwrap_or(0);
                Stage::Region { rows: *rows, chunk: chunk_rows(*rows, flops, self.threads), local, steps }
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
                // In a worker's memory offsets count the elements of a row.
                let len = |s: &Slot| if s.space == Space::Local { s.row } else { s.len };
                let overlap = |a: &Option<Slot>, b: &Option<Slot>| match (a, b) {
                    (Some(a), Some(b)) => {
                        a.space == b.space && a.offset < b.offset + len(b) && b.offset < a.offset + len(a)
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

    /// Cuts the calls of a layer into runs that lie side by side in memory, as rows of the same tensors: on CUDA two tensors are two buffers, however they lie here.
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
        let tensors = |index: usize| {
            let call = &self.graph.calls[index];
            let apart = call.inputs.iter().enumerate().filter(|(i, _)| !call.op.whole(*i)).map(|(_, var)| var);
            apart.chain(&call.outputs).map(|&var| site(&self.graph.nodes, var).root).collect::<Vec<_>>()
        };
        for &index in &group.calls {
            let (rows, x, dy) = slots(index);
            if let (Some(run), Some(members)) = (runs.last_mut(), calls.last_mut()) {
                let follow = (0..MAX_SLOTS).all(|i| follows(&run.x[i], &x[i]) && follows(&run.dy[i], &dy[i]));
                let fits = follow && tensors(run.call) == tensors(index);
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
