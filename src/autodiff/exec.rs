//! The CPU executor: walks the stages of a plan and hands each call its slices.
//!
//! This is the one place where tensors become slices. Soundness rests on three facts that [`super::plan`] and
//! [`super::schedule`] establish and `tests/plan.rs` checks: tensors alive together have disjoint places; within a region, pieces
//! touch disjoint rows of everything that is written, or the memory of the worker that runs them; the operands of one call do not
//! overlap.

use super::op::{Backward, Clock, Forward, MAX_SLOTS, Order, Shared, WeightSplit, Weights};
use super::params::Params;
use super::plan::{Memory, Plan};
use super::record::{Lap, Work};
use super::resolve::{Slot, Space, Stage, Step, WeightJob, rows_of};
use crate::base::Real;
use crate::device::{Arena, arena, gemm};

/// The buffers that slots point into.
#[derive(Clone, Copy)]
struct Buffers<'a, R: Real> {
    work: &'a Arena<R>,
    value: &'a Arena<R>,
    grad: &'a Arena<R>,
    /// Memory of this worker, and the rows of a piece.
    local: Option<(&'a Arena<R>, usize)>,
}

impl<'a, R: Real> Buffers<'a, R> {
    fn arena(&self, space: Space) -> &'a Arena<R> {
        match space {
            Space::Work => self.work,
            Space::Value => self.value,
            Space::Grad => self.grad,
            Space::Local => self.local.expect("only regions have tensors in a worker's memory").0,
        }
    }

    fn span(&self, slot: Slot, rows: &std::ops::Range<usize>) -> (usize, usize) {
        match (slot.space, slot.row, self.local) {
            (Space::Local, row, Some((_, chunk))) => (slot.offset * chunk, rows.len() * row),
            (_, 0, _) => (slot.offset, slot.len),
            (_, row, _) => (slot.offset + rows.start * row, rows.len() * row),
        }
    }

    fn read(&self, slot: Option<Slot>, rows: &std::ops::Range<usize>) -> &'a [R] {
        let Some(slot) = slot else { return &[] };
        let (offset, len) = self.span(slot, rows);
        // SAFETY: nobody writes these rows while this piece runs (see the top of the file).
        unsafe { self.arena(slot.space).view(offset, len) }
    }

    fn write(&self, slot: Option<Slot>, rows: &std::ops::Range<usize>) -> Option<&'a mut [R]> {
        let slot = slot?;
        let (offset, len) = self.span(slot, rows);
        // SAFETY: nobody else touches these rows while this piece runs (see the top of the file).
        Some(unsafe { self.arena(slot.space).view_mut(offset, len) })
    }
}

pub(super) fn run<R: Real>(plan: &mut Plan<R>, params: &mut Params<R>, clock: Clock) {
    let pool = plan.pool.clone();
    pool.enter(|| run_stages(plan, params, clock));
}

fn run_stages<R: Real>(plan: &mut Plan<R>, params: &mut Params<R>, clock: Clock) {
    pack(plan, params);
    let mut caller = Lap::caller(&plan.recorder);
    let mut clearing = Lap::worker(&plan.recorder, 0);
    for sweep in &plan.sweeps {
        let range = params.layout.group_range(&sweep.group);
        params.grad.all_mut()[range].fill(R::ZERO);
    }
    clearing.note(Work::Clear, 0);
    caller.note(Work::Clear, 0);
    drop(clearing);
    let shared = Buffers { work: &plan.work, value: &params.value, grad: &params.grad, local: None };
    for (number, stage) in plan.stages.iter().enumerate() {
        let number = number as u32;
        match stage {
            Stage::Region { rows, chunk, steps, .. } => {
                plan.pool.each(rows.div_ceil(*chunk), |piece, worker| {
                    let range = piece * chunk..(piece * chunk + chunk).min(*rows);
                    let mut memory = plan.memory[worker].lock().expect("no worker panicked");
                    let Memory { scratch, local } = &mut *memory;
                    let scratch = scratch.all_mut();
                    let buffers = Buffers { local: Some((local, *chunk)), ..shared };
                    let mut lap = Lap::worker(&plan.recorder, worker);
                    for (i, step) in steps.iter().enumerate() {
                        run_step(plan, &buffers, step, &range, scratch, clock);
                        lap.note(Work::Step { stage: number, step: i as u32 }, range.len());
                    }
                });
            }
            Stage::Weights { jobs, pieces } => run_weights(plan, &shared, number, jobs, *pieces),
        }
        caller.note(Work::Stage { stage: number }, 0);
    }
}

/// Packs every matrix that a call wants packed, if the parameters changed since.
fn pack<R: Real>(plan: &mut Plan<R>, params: &Params<R>) {
    if plan.packed_version == params.version() {
        return;
    }
    plan.packed_version = params.version();
    let mut caller = Lap::caller(&plan.recorder);
    plan.pool.each(plan.packs.len(), |i, worker| {
        let mut lap = Lap::worker(&plan.recorder, worker);
        let p = &plan.packs[i];
        let source = &params.value.all()[p.source.offset..p.source.offset + p.source.len];
        // SAFETY: packs have disjoint places, and each piece writes its own.
        let out = unsafe { plan.pack_arena.view_mut(p.offset, p.len) };
        match &p.order {
            Order::Rows => gemm::pack_b(p.precision, source, p.rows, p.columns, p.columns, out),
            Order::Columns => gemm::pack_bt(p.precision, source, p.rows, p.columns, p.rows, out),
            Order::Table(table) => gemm::pack_table(p.precision, source, table, p.rows, p.columns, out),
        }
        lap.note(Work::Pack, 0);
    });
    caller.note(Work::Packing, 0);
}

fn run_step<R: Real>(
    plan: &Plan<R>,
    buffers: &Buffers<'_, R>,
    step: &Step,
    rows: &std::ops::Range<usize>,
    scratch: &mut [R],
    clock: Clock,
) {
    let packed = |call: usize| -> [&[R]; MAX_SLOTS] {
        std::array::from_fn(|j| match plan.operands[call].packed[j] {
            Some(p) => &plan.pack_arena.all()[plan.packs[p].offset..plan.packs[p].offset + plan.packs[p].len],
            None => &[][..],
        })
    };
    match *step {
        Step::Forward { call } => {
            let operands = &plan.operands[call];
            plan.graph.calls[call].op.forward(Forward {
                rows: rows.clone(),
                x: std::array::from_fn(|i| buffers.read(operands.x[i], rows)),
                y: std::array::from_fn(|i| buffers.write(operands.y[i], rows).unwrap_or(&mut [])),
                packed: packed(call),
                scratch,
                clock,
            });
        }
        Step::Backward { call, ref dy, ref dx, .. } => {
            let operands = &plan.operands[call];
            plan.graph.calls[call].op.backward(Backward {
                rows: rows.clone(),
                x: std::array::from_fn(|i| buffers.read(operands.x[i].filter(|_| operands.reads.input(i)), rows)),
                y: std::array::from_fn(|i| buffers.read(operands.y[i].filter(|_| operands.reads.out(i)), rows)),
                dy: std::array::from_fn(|i| buffers.write(dy[i], rows)),
                dx: std::array::from_fn(|i| buffers.write(dx[i], rows)),
                packed: packed(call),
                scratch,
            });
        }
        Step::Zero { slot, .. } => buffers.write(Some(slot), rows).expect("a slot").fill(R::ZERO),
        Step::Seed { slot, .. } => buffers.write(Some(slot), &(0..1)).expect("a slot").fill(R::ONE),
    }
}

/// Gradients of weights: all pieces of all jobs of a dispatch, then the partial sums of those that were split by rows.
fn run_weights<R: Real>(plan: &Plan<R>, buffers: &Buffers<'_, R>, stage: u32, jobs: &[WeightJob<R>], pieces: usize) {
    let shared = |slot: Slot| {
        let data = buffers.arena(slot.space).pointer(slot.offset, slot.len);
        Shared { data, len: slot.len, life: std::marker::PhantomData }
    };
    plan.pool.each(pieces, |piece, worker| {
        let at = jobs.iter().rposition(|j| j.first <= piece).expect("pieces are counted");
        let job = &jobs[at];
        let mut memory = plan.memory[worker].lock().expect("no worker panicked");
        let scratch = memory.scratch.all_mut();
        let mut lap = Lap::worker(&plan.recorder, worker);
        let part = piece - job.first;
        match job.split {
            WeightSplit::Parts(_) => {
                for run in &job.runs {
                    let op = run.merged.as_deref().unwrap_or(&*plan.graph.calls[run.call].op);
                    op.backward_weights(Weights {
                        rows: run.rows,
                        part,
                        x: std::array::from_fn(|i| buffers.read(run.x[i], &(0..run.rows))),
                        dy: std::array::from_fn(|i| buffers.read(run.dy[i], &(0..run.rows))),
                        dw: job.dw.map(|slot| slot.map(shared)),
                        scratch,
                    });
                }
            }
            WeightSplit::Rows(_) => {
                let (run, op, rows) = piece_rows(plan, job, part);
                let mut at = job.partial + part * job.partial_len;
                let dw = job.dw.map(|slot| {
                    slot.map(|slot| {
                        // SAFETY: every piece has partial sums of its own.
                        let data = unsafe { plan.partials.view_mut(at, slot.len) };
                        data.fill(R::ZERO);
                        at += arena::padded::<R>(slot.len);
                        Shared { data: data.as_mut_ptr(), len: slot.len, life: std::marker::PhantomData }
                    })
                });
                op.backward_weights(Weights {
                    rows: rows.len(),
                    part: 0,
                    x: std::array::from_fn(|i| buffers.read(run.x[i], &rows)),
                    dy: std::array::from_fn(|i| buffers.read(run.dy[i], &rows)),
                    dw,
                    scratch,
                });
            }
        }
        lap.note(Work::Weights { stage, job: at as u32 }, 0);
    });
    // Partial sums are added in the order of their rows.
    plan.pool.each(jobs.len(), |j, worker| {
        let mut lap = Lap::worker(&plan.recorder, worker);
        let job = &jobs[j];
        for part in 0..if job.partial_len > 0 { job.pieces } else { 0 } {
            let mut at = job.partial + part * job.partial_len;
            for slot in job.dw.iter().flatten() {
                // SAFETY: no piece writes partial sums any more.
                let partial = unsafe { plan.partials.view(at, slot.len) };
                let total = buffers.write(Some(Slot { row: 0, ..*slot }), &(0..0)).expect("a slot");
                total.iter_mut().zip(partial).for_each(|(t, &p)| *t += p);
                at += arena::padded::<R>(slot.len);
            }
        }
        lap.note(Work::Sums { stage, job: j as u32 }, 0);
    });
}

/// The run, op and rows of piece `part` of a job that is split by rows.
fn piece_rows<'a, R: Real>(
    plan: &'a Plan<R>,
    job: &'a WeightJob<R>,
    mut part: usize,
) -> (&'a super::resolve::WeightRun<R>, &'a dyn super::op::Op<R>, std::ops::Range<usize>) {
    for run in &job.runs {
        let op = run.merged.as_deref().unwrap_or(&*plan.graph.calls[run.call].op);
        let chunk = rows_of(op.weight_split());
        let pieces = run.rows.div_ceil(chunk);
        if part < pieces {
            return (run, op, part * chunk..((part + 1) * chunk).min(run.rows));
        }
        part -= pieces;
    }
    unreachable!("pieces are counted from the runs")
}
