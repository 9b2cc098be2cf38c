//! A profile by the emulated driver: not where time goes, which an interpreter cannot know, but what kernels do, beside the least that the ops
//! need, and the floor of an update on a stated GPU.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counters::{Counters, Counts, batches, extrapolate, parse};
use super::label::labels;
use super::roofline::{Floor, Need, Needs, Room, needs, room_of};
use crate::autodiff::{Params, Plan};
use crate::base::Result;
use crate::device::Pool;
use crate::device::cuda::Emulator;
use crate::device::cuda::kernels::Kernels;
use crate::dreamer::step::{NoiseSource, TrainStep};
use crate::dreamer::{Model, checks};
use crate::report::Table;
use crate::run::args::Gpu;
use crate::run::cuda_update::CudaUpdate;

/// Floating point operations of an update that are interpreted as they are: minutes of the interpreter. With more, the counts of a batch are
/// extrapolated from those of two smaller ones.
const BUDGET: f64 = 3e10;

/// What an update does on a device.
#[derive(Debug, Clone)]
pub struct Work {
    /// Counts by kernel.
    pub counts: Counts,
    /// The batches that were run; one, if it is the model's own.
    pub ran: Vec<usize>,
    /// Kernel launches in the captured graph of the model's own batch.
    pub launches: usize,
    /// The least that the ops need.
    pub needs: Needs,
}

/// Counts an update of a model.
///
/// # Errors
/// An op has no kernel; the emulated device's memory is full.
pub fn count(model: &Model, pool: &Arc<Pool>, kernels: &Arc<Kernels>, emulator: &Emulator) -> Result<Work> {
    let params = checks::parameters::<f32>(model);
    let step = TrainStep::compiled(model, &params, NoiseSource::Drawn, pool, Plan::for_device);
    let needs = needs(labels(&step.plan).iter().flatten(), params.layout.len());
    let launches = CudaUpdate::placed(&step, &params, kernels.clone(), false)?.count_launches(&step, &params)?;
    drop(step);
    let (batch, length) = (model.config.batch_size, model.config.batch_length);
    let most = (batch as f64 * BUDGET / total(&needs).flops) as usize;
    let run = |batch: usize| {
        eprintln!("interpreting an update of {batch} of {} sequences ...", model.config.batch_size);
        counted(model, batch, &params, pool, kernels, emulator)
    };
    let pair = if most < batch { Some(batches(batch, length, most).unwrap_or((1, 2))) } else { None };
    let (counts, ran) = match pair {
        None => (run(batch)?, vec![batch]),
        Some((few, more)) => (extrapolate((few, &run(few)?), (more, &run(more)?), batch), vec![few, more]),
    };
    Ok(Work { counts, ran, launches, needs })
}

/// The counts of one update of `batch` sequences, launched kernel by kernel.
fn counted(
    model: &Model,
    batch: usize,
    params: &Params<f32>,
    pool: &Arc<Pool>,
    kernels: &Arc<Kernels>,
    emulator: &Emulator,
) -> Result<Counts> {
    let mut model = model.clone();
    // Fewer starts of imagination, in proportion.
    let starts = model.config.imag_starts * batch / model.config.batch_size;
    model.config.imag_starts = if model.config.imag_starts == 0 { 0 } else { starts.max(1) };
    model.config.batch_size = batch;
    let mut step = checks::training_step_by(&model, params, pool, Plan::for_device);
    let mut update = CudaUpdate::placed(&step, params, kernels.clone(), true)?;
    emulator.reset();
    update.update(&mut step, params, 0)?;
    parse(&emulator.counters())
}

/// All needs together.
pub fn total(needs: &Needs) -> Need {
    needs.values().fold(Need::default(), |a, b| Need {
        calls: a.calls + b.calls,
        flops: a.flops + b.flops,
        bytes: a.bytes + b.bytes,
    })
}

/// Everything that the command prints.
pub fn tables(work: &Work, batch: usize, gpu: &Gpu) -> String {
    let counted = match work.ran[..] {
        [few, more] => format!(
            "Counted with batches of {few} and {more} sequences, as kernels are interpreted slowly; every count is extrapolated to {batch} along a \
             straight line. The launches of the graph, operations, minimal bytes and the floor are those of {batch} sequences."
        ),
        _ => format!("Counted in an update of {batch} sequences."),
    };
    format!(
        "{counted}\n\nBy kernel. Bytes moved are whole sectors of 32 bytes; distinct bytes are what each launch has to move at least.\n{}\n\
         By file of src/ops and kernels. Operations and minimal bytes are those of the ops' `cost()`; of a backward pass the bytes of the forward pass. \
         What a kernel does for ops of another file, as activation_differentiate does, counts where the kernel is.\n{}\n{}",
        by_kernel(&work.counts, gpu),
        by_op(work, gpu),
        floor(work, gpu)
    )
}

/// A ratio; nothing where there is nothing to divide by.
fn ratio(a: f64, b: f64) -> String {
    if b > 0.0 { format!("{:.2}", a / b) } else { String::new() }
}

fn percent(a: f64, b: f64) -> String {
    if b > 0.0 { format!("{:.1} %", 100.0 * a / b) } else { String::new() }
}

fn millions(x: f64) -> String {
    format!("{:.3}", x / 1e6)
}

fn by_kernel(counts: &Counts, gpu: &Gpu) -> Table {
    let mut table = Table::new(&[
        "kernel",
        ">launches",
        ">blocks each",
        ">busy SMs",
        ">M warp instr",
        ">M lane instr",
        ">MB asked for",
        ">MB moved",
        ">MB distinct",
        ">moved / distinct",
        ">sectors / request",
        ">/ ideal",
        ">conflicts",
        ">divergent",
        ">mma",
    ]);
    let mut row = |name: &str, c: &Counters, grids: bool| {
        let blocks = c.blocks / c.launches;
        table.row([
            name.to_string(),
            format!("{:.0}", c.launches),
            if grids { format!("{blocks:.1}") } else { String::new() },
            if grids { percent(blocks.min(gpu.sm_count as f64), gpu.sm_count as f64) } else { String::new() },
            millions(c.warp_instructions),
            millions(c.lane_instructions),
            millions(c.global_load_bytes + c.global_store_bytes),
            millions(c.moved_bytes()),
            millions(c.distinct_bytes()),
            ratio(c.moved_bytes(), c.distinct_bytes()),
            ratio(c.global_sectors, c.global_requests),
            ratio(c.global_sectors, c.ideal_sectors),
            percent(c.bank_conflicts, c.shared_accesses),
            format!("{:.0}", c.divergent_branches),
            format!("{:.0}", c.mma),
        ]);
    };
    let mut sorted: Vec<(&String, &Counters)> = counts.iter().collect();
    sorted.sort_by(|a, b| b.1.lane_instructions.total_cmp(&a.1.lane_instructions));
    sorted.iter().for_each(|(name, counters)| row(name, counters, true));
    let all = counts.values().fold(Counters::default(), |a, b| a.add(b));
    row("all", &all, false);
    table
}

fn by_op(work: &Work, gpu: &Gpu) -> Table {
    let mut table = Table::new(&[
        "ops of",
        "pass",
        ">calls",
        ">launches",
        ">GFLOP",
        ">MB minimal",
        ">MB moved",
        ">moved / minimal",
        ">floor us",
        ">of it launches",
    ]);
    let mut rooms: BTreeMap<Room, (Need, Counters)> =
        work.needs.iter().map(|(&room, &need)| (room, (need, Counters::default()))).collect();
    for (kernel, counters) in &work.counts {
        if let Some(room) = room_of(kernel) {
            let (_, sum) = rooms.entry(room).or_default();
            *sum = sum.add(counters);
        }
    }
    let mut rows: Vec<(Room, Need, Counters)> =
        rooms.into_iter().map(|(room, (need, sum))| (room, need, sum)).collect();
    let floor = |need: &Need, counters: &Counters| Floor::new(need, counters.launches, gpu);
    rows.sort_by(|a, b| floor(&b.1, &b.2).least().total_cmp(&floor(&a.1, &a.2).least()));
    for ((file, pass), need, counters) in &rows {
        let floor = floor(need, counters);
        table.row([
            if file.is_empty() { "(gradients)".into() } else { file.to_string() },
            pass.name().into(),
            need.calls.to_string(),
            format!("{:.0}", counters.launches),
            format!("{:.4}", need.flops / 1e9),
            millions(need.bytes),
            millions(counters.moved_bytes()),
            ratio(counters.moved_bytes(), need.bytes),
            format!("{:.2}", 1e6 * floor.least()),
            format!("{:.2}", 1e6 * floor.launches),
        ]);
    }
    table
}

fn floor(work: &Work, gpu: &Gpu) -> String {
    let all = total(&work.needs);
    let floor = Floor::new(&all, work.launches as f64, gpu);
    let mut table = Table::new(&["", ">", "", ">at", "", ">least time", ""]);
    let line = |what: &str, x: String, unit: &str, at: String, rate: &str, seconds: f64| {
        [what.to_string(), x, unit.into(), at, rate.into(), format!("{:.3}", 1e3 * seconds), "ms".into()]
    };
    table.row(line(
        "operations",
        format!("{:.3}", all.flops / 1e9),
        "GFLOP",
        gpu.peak.to_string(),
        "GFLOP/s",
        floor.flops,
    ));
    table.row(line("bytes", format!("{:.3}", all.bytes / 1e9), "GB", gpu.bandwidth.to_string(), "GB/s", floor.bytes));
    let launches = work.launches.to_string();
    table.row(line("launches", launches, "in the graph", gpu.launch_us.to_string(), "us each", floor.launches));
    format!(
        "The floor of an update on a GPU of {} multiprocessors\n{table}No update takes less than the largest, {:.3} ms; one that overlaps none of \
         them takes their sum, {:.3} ms. These are bounds, not times: no GPU was asked.\n",
        gpu.sm_count,
        1e3 * floor.least(),
        1e3 * (floor.flops + floor.bytes + floor.launches)
    )
}
