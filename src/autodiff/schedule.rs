//! The order of work: tasks, and how they are gathered into dispatches.
//!
//! Forward calls run in the order of the trace. As soon as the loss of a sweep is known, its backward calls follow, so that what only
//! that sweep needs can be forgotten early. Consecutive row-wise tasks over the same number of rows form a **row-parallel region**: a
//! worker takes a piece of the rows through all of them (all T steps of a scan, all H steps of imagination) while its activations
//! are hot in cache, with no barrier in between. Gradients of weights are gathered after the region they belong to; calls of one
//! layer whose inputs stand side by side in memory become a single product over all their rows.

use std::collections::HashMap;

use super::graph::{Graph, Source, Var};
use super::sweep::{Site, Sweep, Wanted, site};
use crate::base::Real;

/// A tensor in the work arena: values, or gradients of one sweep. Parameters live elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Tenant {
    Value(Var),
    Grad(usize, Var),
}

impl Tenant {
    /// The tensor whose values or gradients these are.
    pub fn root(self) -> Var {
        match self {
            Tenant::Value(var) | Tenant::Grad(_, var) => var,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    Forward {
        call: usize,
    },
    /// Clears a range of gradients just before it is first added to.
    Zero {
        sweep: usize,
        site: Site,
        rows: usize,
    },
    /// Sets the gradient of the sweep's loss to 1.
    Seed {
        sweep: usize,
    },
    Backward {
        sweep: usize,
        call: usize,
    },
}

/// Gradients of the weights of one layer in one sweep: the calls, in trace order, that share these weights.
#[derive(Debug, Clone)]
pub(super) struct WeightGroup {
    pub sweep: usize,
    pub calls: Vec<usize>,
}

#[derive(Debug, Clone)]
pub(super) enum Dispatch {
    Region { rows: usize, tasks: Vec<Task> },
    Weights(Vec<WeightGroup>),
}

/// A range that a task touches. `mapped`: row `r` of the task touches row `r` of the range; otherwise every row touches all of it.
#[derive(Clone, Copy)]
pub(super) struct Access {
    pub tenant: Tenant,
    pub start: usize,
    pub end: usize,
    pub write: bool,
    pub mapped: bool,
}

pub(super) struct Scheduler<'a, R: Real> {
    graph: &'a Graph<R>,
    wanted: &'a [Vec<Option<Wanted>>],
}

/// Whether the tensor's root is in the parameter arenas.
pub(super) fn is_param<R: Real>(graph: &Graph<R>, root: Var) -> bool {
    matches!(graph.nodes[root.index()].source, Source::Param(_))
}

impl<'a, R: Real> Scheduler<'a, R> {
    pub fn new(graph: &'a Graph<R>, wanted: &'a [Vec<Option<Wanted>>]) -> Self {
        Scheduler { graph, wanted }
    }

    pub fn dispatches(&self, sweeps: &[Sweep]) -> Vec<Dispatch> {
        let tasks = self.tasks(sweeps);
        let regions = self.regions(tasks);
        self.with_weights(regions)
    }

    fn tasks(&self, sweeps: &[Sweep]) -> Vec<Task> {
        let losses: Vec<Site> = sweeps.iter().map(|s| site(&self.graph.nodes, s.loss)).collect();
        let mut made_by = vec![0; sweeps.len()];
        let mut tasks = Vec::new();
        for (index, call) in self.graph.calls.iter().enumerate() {
            tasks.push(Task::Forward { call: index });
            for (sweep, loss) in losses.iter().enumerate() {
                let made = call.outputs.iter().any(|&y| site(&self.graph.nodes, y).range() == loss.range());
                if made {
                    made_by[sweep] += 1;
                    self.backward_tasks(sweep, *loss, index, &mut tasks);
                }
            }
        }
        let whole = made_by.iter().all(|&calls| calls == 1);
        assert!(whole, "the loss of a sweep is the output of one call, not a part of one or an input");
        tasks
    }

    /// The backward calls of a sweep from call `last` to the first. Every range of gradients is cleared just before it is first
    /// added to, in units of what one call wrote: a range of many units (a sequence) is cleared in one piece where it is touched as one.
    fn backward_tasks(&self, sweep: usize, loss: Site, last: usize, tasks: &mut Vec<Task>) {
        let wanted = &self.wanted[sweep];
        // Units by root: (start, end, rows of the call that wrote it, cleared).
        let mut units: HashMap<Var, Vec<(usize, usize, usize, bool)>> = HashMap::new();
        for (call, want) in self.graph.calls.iter().zip(wanted).take(last + 1) {
            if let Some(want) = want {
                for (i, &y) in call.outputs.iter().enumerate() {
                    if want.dy[i] {
                        let s = site(&self.graph.nodes, y);
                        let cleared = s.range() == loss.range();
                        units.entry(s.root).or_default().push((s.offset, s.end(), call.op.rows(), cleared));
                    }
                }
            }
        }
        tasks.push(Task::Seed { sweep });
        for (index, want) in wanted.iter().enumerate().take(last + 1).rev() {
            let Some(want) = want else { continue };
            let call = &self.graph.calls[index];
            let rows = call.op.rows();
            for (i, &x) in call.inputs.iter().enumerate() {
                let s = site(&self.graph.nodes, x);
                if !want.dx[i] || is_param(self.graph, s.root) {
                    continue;
                }
                let all = units.get_mut(&s.root).expect("a wanted gradient was written by a visited call");
                let touched: Vec<usize> =
                    (0..all.len()).filter(|&u| all[u].0 < s.end() && s.offset < all[u].1 && !all[u].3).collect();
                if touched.is_empty() {
                    continue;
                }
                let inside: usize = touched.iter().map(|&u| all[u].1 - all[u].0).sum();
                if inside == s.len && touched.iter().all(|&u| s.offset <= all[u].0 && all[u].1 <= s.end()) {
                    tasks.push(Task::Zero { sweep, site: s, rows });
                } else {
                    let mut clear = |start: usize, end: usize, rows: usize| {
                        let site = Site { root: s.root, offset: start, len: end - start, stopped: false };
                        tasks.push(Task::Zero { sweep, site, rows });
                    };
                    let mut spans: Vec<(usize, usize, usize)> = Vec::new();
                    for &u in &touched {
                        let (start, end, rows, _) = all[u];
                        clear(start, end, rows);
                        spans.push((start, end, rows));
                    }
                    // What no visited call wrote (the host did) is added to like the rest, though nobody reads it.
                    spans.extend(all.iter().filter(|u| u.3).map(|u| (u.0, u.1, u.2)));
                    spans.sort_unstable();
                    let mut at = s.offset;
                    for (start, end, rows) in spans.into_iter().chain([(s.end(), s.end(), 1)]) {
                        if at < start.min(s.end()) {
                            let gap = start.min(s.end()) - at;
                            clear(at, at + gap, if gap.is_multiple_of(rows) { rows } else { 1 });
                        }
                        at = at.max(end);
                    }
                }
                touched.into_iter().for_each(|u| all[u].3 = true);
            }
            tasks.push(Task::Backward { sweep, call: index });
        }
    }

    pub fn rows(&self, task: &Task) -> usize {
        match *task {
            Task::Forward { call } | Task::Backward { call, .. } => self.graph.calls[call].op.rows(),
            Task::Zero { rows, .. } => rows,
            Task::Seed { .. } => 1,
        }
    }

    /// Everything in the work arena that a task touches.
    pub fn accesses(&self, task: &Task, sweeps: &[Sweep]) -> Vec<Access> {
        self.touches(task, sweeps, false)
    }

    /// The same, with the parameters if `params`, whose gradients a task may write row by row, too.
    fn touches(&self, task: &Task, sweeps: &[Sweep], params: bool) -> Vec<Access> {
        let nodes = &self.graph.nodes;
        let mut out = Vec::new();
        let mut add = |tenant: fn(usize, Var) -> Tenant, sweep: usize, s: Site, write: bool, mapped: bool| {
            if params || !is_param(self.graph, s.root) {
                out.push(Access { tenant: tenant(sweep, s.root), start: s.offset, end: s.end(), write, mapped });
            }
        };
        let value = |_, root| Tenant::Value(root);
        let grad = Tenant::Grad;
        match *task {
            Task::Zero { sweep, site, .. } => add(grad, sweep, site, true, true),
            Task::Seed { sweep } => add(grad, sweep, site(nodes, sweeps[sweep].loss), true, true),
            Task::Forward { call } => {
                let call = &self.graph.calls[call];
                for (i, &x) in call.inputs.iter().enumerate() {
                    add(value, 0, site(nodes, x), false, !call.op.whole(i));
                }
                for &y in &call.outputs {
                    add(value, 0, site(nodes, y), true, true);
                }
            }
            Task::Backward { sweep, call: index } => {
                let call = &self.graph.calls[index];
                let want = self.wanted[sweep][index].expect("a backward task is of a visited call");
                let reads = call.op.reads();
                for (i, &x) in call.inputs.iter().enumerate() {
                    if reads.input(i) {
                        add(value, 0, site(nodes, x), false, !call.op.whole(i));
                    }
                    if want.dx[i] {
                        add(grad, sweep, site(nodes, x), true, true);
                    }
                }
                for (i, &y) in call.outputs.iter().enumerate() {
                    if reads.out(i) {
                        add(value, 0, site(nodes, y), false, true);
                    }
                    if want.dy[i] {
                        add(grad, sweep, site(nodes, y), true, true);
                    }
                }
            }
        }
        out
    }

    /// Gathers tasks into regions. A task joins the region before it if it has as many rows and whatever it shares with tasks
    /// of the region it touches by the same rows; with one row there is one piece, and order alone suffices.
    fn regions(&self, tasks: Vec<Task>) -> Vec<Dispatch> {
        let no_sweeps_needed: &[Sweep] = &[];
        let mut out: Vec<Dispatch> = Vec::new();
        let mut current: Vec<Task> = Vec::new();
        let mut current_rows = 0;
        let mut touched: HashMap<Tenant, Vec<Access>> = HashMap::new();
        for task in tasks {
            let rows = self.rows(&task);
            let accesses = match task {
                Task::Seed { .. } => Vec::new(),
                _ => self.touches(&task, no_sweeps_needed, true),
            };
            let clash = rows > 1
                && accesses.iter().any(|a| {
                    touched.get(&a.tenant).is_some_and(|others| {
                        others.iter().any(|b| {
                            let overlap = a.start < b.end && b.start < a.end;
                            let same_rows = a.mapped && b.mapped && (a.start, a.end) == (b.start, b.end);
                            overlap && (a.write || b.write) && !same_rows
                        })
                    })
                });
            if !current.is_empty() && (rows != current_rows || clash) {
                out.push(Dispatch::Region { rows: current_rows, tasks: std::mem::take(&mut current) });
                touched.clear();
            }
            let last = self.ends_region(&task);
            current_rows = rows;
            current.push(task);
            for access in accesses {
                touched.entry(access.tenant).or_default().push(access);
            }
            if last {
                out.push(Dispatch::Region { rows: current_rows, tasks: std::mem::take(&mut current) });
                touched.clear();
            }
        }
        if !current.is_empty() {
            out.push(Dispatch::Region { rows: current_rows, tasks: current });
        }
        out
    }

    /// Whether a region ends with this task: a backward call whose output gradients wait for `backward_weights` and have long rows. A piece of
    /// them would not stay in the cache for the next call anyway, and so they are forgotten before the next such layer comes.
    fn ends_region(&self, task: &Task) -> bool {
        const LONG: usize = 8192;
        let Task::Backward { sweep, call } = *task else { return false };
        let want = self.wanted[sweep][call].expect("a backward task is of a visited call");
        let call = &self.graph.calls[call];
        let long = |&y: &Var| self.graph.len(y) / call.op.rows() > LONG;
        want.dw.contains(&true) && call.op.rows() > 1 && call.outputs.iter().any(long)
    }

    /// Puts each layer's weight gradients after the region that ends its backward calls. Layers that write to the same
    /// weights never share a dispatch.
    fn with_weights(&self, regions: Vec<Dispatch>) -> Vec<Dispatch> {
        let nodes = &self.graph.nodes;
        let key = |call: usize| {
            let call = &self.graph.calls[call];
            let whole = call.inputs.iter().enumerate().filter(|(i, _)| call.op.whole(*i));
            whole.map(|(_, &x)| site(nodes, x).range()).collect::<Vec<_>>()
        };
        let written = |group: &WeightGroup| -> Vec<(Var, usize, usize)> {
            let want = self.wanted[group.sweep][group.calls[0]].expect("a weight group is of visited calls");
            let inputs = &self.graph.calls[group.calls[0]].inputs;
            (0..inputs.len()).filter(|&i| want.dw[i]).map(|i| site(nodes, inputs[i]).range()).collect()
        };
        // Backward calls still to come, by layer.
        let mut left: HashMap<(usize, &'static str, Vec<(Var, usize, usize)>), usize> = HashMap::new();
        let backward = |dispatch: &Dispatch| -> Vec<(usize, usize)> {
            let Dispatch::Region { tasks, .. } = dispatch else { return Vec::new() };
            let weights = |sweep: usize, call: usize| self.wanted[sweep][call].is_some_and(|w| w.dw.contains(&true));
            tasks
                .iter()
                .filter_map(|t| match *t {
                    Task::Backward { sweep, call } if weights(sweep, call) => Some((sweep, call)),
                    _ => None,
                })
                .collect()
        };
        let full_key = |sweep: usize, call: usize| (sweep, self.graph.calls[call].op.name(), key(call));
        for region in &regions {
            for (sweep, call) in backward(region) {
                *left.entry(full_key(sweep, call)).or_default() += 1;
            }
        }
        let mut gathered: HashMap<_, Vec<usize>> = HashMap::new();
        let mut out = Vec::new();
        for region in regions {
            let calls = backward(&region);
            out.push(region);
            let mut ready: Vec<WeightGroup> = Vec::new();
            for (sweep, call) in calls {
                let key = full_key(sweep, call);
                gathered.entry(key.clone()).or_default().push(call);
                let count = left.get_mut(&key).expect("counted above");
                *count -= 1;
                if *count == 0 {
                    let mut calls = gathered.remove(&key).expect("gathered above");
                    calls.sort_unstable();
                    ready.push(WeightGroup { sweep, calls });
                }
            }
            while !ready.is_empty() {
                let mut together: Vec<WeightGroup> = Vec::new();
                let mut later = Vec::new();
                for group in ready {
                    let mine = written(&group);
                    let clash = together.iter().any(|other| {
                        written(other)
                            .iter()
                            .any(|o| mine.iter().any(|m| o.0 == m.0 && o.1 < m.1 + m.2 && m.1 < o.1 + o.2))
                    });
                    if clash { later.push(group) } else { together.push(group) }
                }
                out.push(Dispatch::Weights(together));
                ready = later;
            }
        }
        out
    }
}
