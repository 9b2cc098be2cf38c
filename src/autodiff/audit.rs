//! Is a plan honest? What `tests/plan.rs` needs to ask: who touches which memory when, whether pieces keep to their parts, and whether results
//! depend on what they must not depend on.

use std::collections::BTreeSet;
use std::ops::Range;

use super::graph::Source;
use super::op::{MAX_SLOTS, Shared, WeightSplit, Weights};
use super::params::Params;
use super::plan::Plan;
use super::resolve::{Slot, Space, Stage, Step, WeightJob, WeightRun};
use super::schedule::Tenant;
use super::sweep::site;
use crate::base::{Philox, Real, philox::stream};

/// A tensor of a plan: its number in the trace, and for a gradient the number of its sweep.
pub type Tenancy = (u32, Option<usize>);

/// A range of the work arena that a step reads or writes, and the tensor that it takes it for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// The tensor.
    pub tenant: Tenancy,
    /// Elements of the work arena.
    pub range: Range<usize>,
    /// Whether they are written.
    pub write: bool,
    /// Whether what was there before matters: a read, or an addition.
    pub read: bool,
    /// Elements that belong to each row; 0 where every row touches all of them.
    pub row: usize,
    /// Whether it is memory of the worker; `range` is then one row there, counted from the end of the work arena.
    pub local: bool,
}

impl<R: Real> Plan<R> {
    /// For every stage its number of rows (0 for gradients of weights) and everything that it touches, in order.
    pub fn touches(&self) -> Vec<(usize, Vec<Touch>)> {
        self.stages
            .iter()
            .map(|stage| match stage {
                Stage::Region { rows, steps, .. } => (*rows, steps.iter().flat_map(|s| self.touched_by(s)).collect()),
                Stage::Weights { jobs, .. } => {
                    let runs = jobs.iter().flat_map(|job| job.runs.iter().map(move |run| (job, run)));
                    (0, runs.flat_map(|(job, run)| self.touched_by_run(job, run)).collect())
                }
            })
            .collect()
    }

    fn touch(&self, tenant: Tenant, slot: Slot, read: bool, write: bool) -> Option<Touch> {
        let tenant = match tenant {
            Tenant::Value(var) => (var.0, None),
            Tenant::Grad(sweep, var) => (var.0, Some(sweep)),
        };
        let (local, range) = match slot.space {
            Space::Work => (false, slot.offset..slot.offset + slot.len),
            Space::Local => (true, self.work.len() + slot.offset..self.work.len() + slot.offset + slot.row),
            Space::Value | Space::Grad => return None,
        };
        Some(Touch { tenant, range, write, read, row: slot.row, local })
    }

    /// Elements that [`Plan::touches`] may name: those of the work arena, and those of a row in a worker's memory.
    pub fn reach(&self) -> usize {
        let local = |s: &Stage<R>| if let Stage::Region { local, .. } = s { *local } else { 0 };
        self.work.len() + self.stages.iter().map(local).max().unwrap_or(0)
    }

    fn touched_by(&self, step: &Step) -> Vec<Touch> {
        let touch = |tenant, slot, read, write| self.touch(tenant, slot, read, write);
        let value = |var| Tenant::Value(site(&self.graph.nodes, var).root);
        let mut out = Vec::new();
        match *step {
            Step::Forward { call } => {
                let (inputs, outputs) = (&self.graph.calls[call].inputs, &self.graph.calls[call].outputs);
                let (x, y) = (self.operands[call].x, self.operands[call].y);
                out.extend(inputs.iter().zip(x.into_iter().flatten()).map(|(&v, s)| touch(value(v), s, true, false)));
                out.extend(outputs.iter().zip(y.into_iter().flatten()).map(|(&v, s)| touch(value(v), s, false, true)));
            }
            Step::Backward { call, sweep, ref dy, ref dx } => {
                let (inputs, outputs) = (&self.graph.calls[call].inputs, &self.graph.calls[call].outputs);
                let (x, y, reads) = (self.operands[call].x, self.operands[call].y, self.operands[call].reads);
                let x = inputs.iter().zip(x.into_iter().flatten()).enumerate().filter(|(i, _)| reads.input(*i));
                let y = outputs.iter().zip(y.into_iter().flatten()).enumerate().filter(|(i, _)| reads.out(*i));
                out.extend(x.chain(y).map(|(_, (&v, s))| touch(value(v), s, true, false)));
                for (vars, slots) in [(inputs, dx), (outputs, dy)] {
                    for (&var, slot) in vars.iter().zip(slots) {
                        let tenant = Tenant::Grad(sweep, site(&self.graph.nodes, var).root);
                        out.extend(slot.map(|slot| touch(tenant, slot, true, true)));
                    }
                }
            }
            Step::Zero { slot, tenant } => out.push(touch(tenant, slot, false, true)),
            Step::Seed { slot, sweep } => {
                let loss = site(&self.graph.nodes, self.sweeps[sweep].loss).root;
                out.push(touch(Tenant::Grad(sweep, loss), slot, false, true));
            }
        }
        out.into_iter().flatten().collect()
    }

    fn touched_by_run(&self, job: &WeightJob<R>, run: &WeightRun<R>) -> Vec<Touch> {
        let call = &self.graph.calls[run.call];
        let root = |var| site(&self.graph.nodes, var).root;
        let x = call.inputs.iter().zip(&run.x).map(|(&v, slot)| slot.map(|s| (Tenant::Value(root(v)), s)));
        let dy = call.outputs.iter().zip(&run.dy).map(|(&v, slot)| slot.map(|s| (Tenant::Grad(job.sweep, root(v)), s)));
        x.chain(dy).flatten().filter_map(|(tenant, slot)| self.touch(tenant, slot, true, false)).collect()
    }

    /// Places of the tensors that must outlive a run, and whether the host fills them before it; the others it reads after it.
    pub fn kept(&self) -> Vec<(Tenancy, Range<usize>, bool)> {
        let nodes = self.graph.nodes.iter().enumerate().filter(|(_, n)| n.view.is_none());
        nodes
            .filter(|(_, n)| (n.kept || n.source == Source::Input) && !matches!(n.source, Source::Param(_)))
            .map(|(i, n)| {
                let at = self.places.work[&Tenant::Value(super::graph::Var(i as u32))];
                ((i as u32, None), at..at + n.len(), n.source == Source::Input)
            })
            .collect()
    }

    /// Cuts all regions into pieces of this many rows instead of those that the plan chose.
    pub fn set_chunk(&mut self, chunk: usize) {
        for stage in &mut self.stages {
            if let Stage::Region { rows, chunk: current, .. } = stage {
                *current = chunk.clamp(1, *rows);
            }
        }
        self.make_memory();
    }

    /// Overwrites everything with NaN but what the host has filled: the next run must not notice.
    pub fn poison(&mut self) {
        let nan = R::of(f64::NAN);
        let inputs: Vec<Range<usize>> =
            self.kept().into_iter().filter(|(_, _, filled)| *filled).map(|(_, range, _)| range).collect();
        let keep: Vec<Vec<R>> = inputs.iter().map(|range| self.work.all()[range.clone()].to_vec()).collect();
        self.work.all_mut().fill(nan);
        inputs.into_iter().zip(keep).for_each(|(range, values)| self.work.all_mut()[range].copy_from_slice(&values));
        self.partials.all_mut().fill(nan);
        self.pack_arena.all_mut().fill(nan);
        self.packed_version = 0;
        for memory in &self.memory {
            let mut memory = memory.lock().expect("no worker panicked");
            memory.scratch.all_mut().fill(nan);
            memory.local.all_mut().fill(nan);
        }
    }

    /// Runs the pieces of every weight gradient that is cut into parts, on random operands: each alone on zeros, each alone among NaNs, and all
    /// together from the last to the first. Returns the name of the op and the number of parts of each gradient that was checked.
    ///
    /// # Errors
    /// Says what is wrong: parts that overlap, leave something out, read beyond themselves or depend on their order.
    pub fn audit_parts(&self, params: &Params<R>) -> Result<BTreeSet<(&'static str, usize)>, String> {
        let mut rng = Philox::new(29, stream::TEST, 0);
        let mut checked = BTreeSet::new();
        for stage in &self.stages {
            let Stage::Weights { jobs, .. } = stage else { continue };
            for job in jobs {
                let WeightSplit::Parts(parts) = job.split else { continue };
                let op = self.graph.calls[job.runs[0].call].op.name();
                for run in &job.runs {
                    self.audit_run(job, run, parts, params, &mut rng).map_err(|fault| format!("{op}: {fault}"))?;
                }
                checked.insert((op, parts));
            }
        }
        Ok(checked)
    }

    fn audit_run(
        &self,
        job: &WeightJob<R>,
        run: &WeightRun<R>,
        parts: usize,
        params: &Params<R>,
        rng: &mut Philox,
    ) -> Result<(), String> {
        let op = run.merged.as_deref().unwrap_or(&*self.graph.calls[run.call].op);
        let mut random = |slot: &Option<Slot>| -> Vec<R> {
            let Some(slot) = slot else { return Vec::new() };
            match slot.space {
                Space::Value => params.value.all()[slot.offset..slot.offset + slot.len].to_vec(),
                _ => (0..slot.len).map(|_| R::of(rng.normal())).collect(),
            }
        };
        let x: Vec<Vec<R>> = run.x.iter().map(&mut random).collect();
        let dy: Vec<Vec<R>> = run.dy.iter().map(&mut random).collect();
        let lens: Vec<usize> = job.dw.iter().map(|slot| slot.map_or(0, |s| s.len)).collect();
        let mut scratch = vec![R::ZERO; op.scratch(run.rows)];
        let mut piece = |part: usize, dw: &mut [Vec<R>]| {
            let mut buffers = dw.iter_mut();
            let dw = std::array::from_fn(|i| {
                let buffer = buffers.next().expect("a buffer for each slot");
                let shared = Shared { data: buffer.as_mut_ptr(), len: buffer.len(), life: std::marker::PhantomData };
                job.dw[i].map(|_| shared)
            });
            op.backward_weights(Weights {
                rows: run.rows,
                part,
                x: std::array::from_fn(|i| &x[i][..]),
                dy: std::array::from_fn(|i| &dy[i][..]),
                dw,
                scratch: &mut scratch,
            });
        };
        let filled = |value: R| -> Vec<Vec<R>> { lens.iter().map(|&len| vec![value; len]).collect() };

        // Who wrote each element, and what.
        let mut alone = filled(R::ZERO);
        let mut owner: Vec<Vec<Option<usize>>> = lens.iter().map(|&len| vec![None; len]).collect();
        for part in 0..parts {
            let mut dw = filled(R::ZERO);
            piece(part, &mut dw);
            for slot in 0..MAX_SLOTS {
                for i in (0..lens[slot]).filter(|&i| dw[slot][i] != R::ZERO) {
                    if let Some(other) = owner[slot][i].replace(part) {
                        return Err(format!(
                            "parts {other} and {part} of {parts} both write element {i} of input {slot}"
                        ));
                    }
                    alone[slot][i] = dw[slot][i];
                }
            }
        }
        let missing = owner.iter().flatten().filter(|o| o.is_none()).count();
        if missing > 0 {
            return Err(format!("no part of {parts} writes {missing} of the elements"));
        }
        for part in 0..parts {
            let mut dw = filled(R::of(f64::NAN));
            let own = |slot: usize, i: usize| owner[slot][i] == Some(part);
            for slot in 0..MAX_SLOTS {
                (0..lens[slot]).filter(|&i| own(slot, i)).for_each(|i| dw[slot][i] = R::ZERO);
            }
            piece(part, &mut dw);
            for slot in 0..MAX_SLOTS {
                if (0..lens[slot]).any(|i| own(slot, i) && dw[slot][i] != alone[slot][i]) {
                    return Err(format!("part {part} of {parts} reads what is not its own"));
                }
            }
        }
        let mut together = filled(R::ZERO);
        (0..parts).rev().for_each(|part| piece(part, &mut together));
        if together != alone { Err(format!("the order of {parts} parts matters")) } else { Ok(()) }
    }
}
