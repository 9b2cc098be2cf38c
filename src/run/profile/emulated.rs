//! A profile by the emulated driver: not where time goes, which an interpreter cannot know, but what kernels do, beside the least that the ops
//! need, and the floor of an update on a stated GPU.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counters::{Counters, Counts, parse};
use super::label::labels;
use super::roofline::{Floor, Need, Needs, Room, needs, room_of};
use crate::autodiff::Plan;
use crate::base::Result;
use crate::device::Pool;
use crate::device::cuda::Emulator;
use crate::device::cuda::kernels::Kernels;
use crate::dreamer::{Model, checks};
use crate::report::Table;
use crate::run::args::Gpu;
use crate::run::cuda_update::CudaUpdate;

/// Floating point operations of an update of which every block is interpreted: minutes of the interpreter. Of a larger one, a few blocks of
/// each launch stand for all.
pub const BUDGET: f64 = 3e10;

/// Blocks of a launch that are interpreted where not all are: blocks of a kernel do much the same.
const SAMPLE: u32 = 4;

/// What an update does on a device.
#[derive(Debug, Clone)]
pub struct Work {
    /// Counts by kernel.
    pub counts: Counts,
    /// Most blocks of a launch that were interpreted whole and stand for all; `None` if all were.
    pub sampled: Option<u32>,
    /// Kernel launches in the captured graph.
    pub launches: usize,
    /// The least that the ops need.
    pub needs: Needs,
}

/// Bytes at memory over distinct bytes that a large kernel should not pass, and the share of all bytes at memory that makes it large.
const MOST_MOVED: f64 = 1.25;
const LARGE: f64 = 0.01;

/// Counts an update of a model, launched kernel by kernel. If it has more floating point operations than `budget`, a few blocks of each launch are
/// interpreted, and their counts scaled to the grid; of all others, what decides which memory they access.
///
/// # Errors
/// An op has no kernel; the emulated device's memory is full.
pub fn count(
    model: &Model,
    budget: f64,
    gpu: &Gpu,
    pool: &Arc<Pool>,
    kernels: &Arc<Kernels>,
    emulator: &Emulator,
) -> Result<Work> {
    let params = checks::parameters::<f32>(model);
    let mut step = checks::training_step_by(model, &params, pool, Plan::for_device);
    let needs = needs(labels(&step.plan).iter().flatten(), params.layout.len());
    let launches = CudaUpdate::placed(&step, &params, kernels.clone(), false)?.count_launches(&step, &params)?;
    let sampled = (total(&needs).flops > budget).then_some(SAMPLE);
    let mut update = CudaUpdate::placed(&step, &params, kernels.clone(), true)?;
    emulator.reset();
    emulator.sample(sampled.unwrap_or(0));
    emulator.cache((gpu.l2_mib as u64) << 20);
    let done = update.update(&mut step, &params, 0);
    emulator.sample(0);
    emulator.cache(0);
    done?;
    Ok(Work { counts: parse(&emulator.counters())?, sampled, launches, needs })
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
    let counted = match work.sampled {
        Some(blocks) => format!(
            "Counted in an update of {batch} sequences, every launch with its own grid. Of each launch at most {blocks} blocks were interpreted, spread evenly \
             over the grid, as kernels are interpreted slowly; their instructions, shared accesses, branches and tensor-core products are scaled to all blocks. Of \
             all blocks was interpreted what decides which global memory they access: bytes and sectors are exact. Numbers have holes then, so branches that \
             depend on numbers may part elsewhere."
        ),
        None => format!("Counted in an update of {batch} sequences, every block."),
    };
    format!(
        "{counted}\n\nBy kernel. Bytes at L2 are the whole sectors of 32 bytes that accesses ask the second-level cache for. Bytes at memory are what a model of {} MiB \
         of it fetches and writes back: lines of 128 bytes, sets of 16, least recently used, kept from launch to launch; blocks run in the order of the grid, \
         few at a time, where a GPU runs many side by side. Distinct bytes are what each launch has to move at least if it finds nothing in the cache.\n{}{}\n\
         By file of src/ops and kernels. Operations and minimal bytes are those of the ops' `cost()`; of a backward pass the bytes of the forward pass. \
         What a kernel does for ops of another file, as activation_differentiate does, counts where the kernel is.\n{}\n{}",
        gpu.l2_mib,
        by_kernel(work, gpu),
        over(work),
        by_op(work, gpu),
        floor(work, gpu)
    )
}

/// The large kernels that move too much.
fn over(work: &Work) -> String {
    let all: f64 = work.counts.values().map(Counters::memory_bytes).sum();
    let moved = |c: &Counters| c.memory_bytes() / c.distinct_bytes();
    let over: Vec<String> = work
        .counts
        .iter()
        .filter(|(_, c)| c.memory_bytes() >= LARGE * all && moved(c) > MOST_MOVED)
        .map(|(name, c)| format!("{name} {:.2}", moved(c)))
        .collect();
    let over = if over.is_empty() { "none".to_string() } else { over.join(", ") };
    format!(
        "Of the kernels with {} of the bytes at memory or more, those above {MOST_MOVED} times their distinct bytes: {over}.\n",
        percent(LARGE, 1.0)
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

fn by_kernel(work: &Work, gpu: &Gpu) -> Table {
    let counts = &work.counts;
    let mut table = Table::new(&[
        "kernel",
        ">launches",
        ">blocks each",
        ">busy SMs",
        ">M warp instr",
        ">M lane instr",
        ">MB asked for",
        ">MB at L2",
        ">MB at memory",
        ">MB distinct",
        ">memory / distinct",
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
            millions(c.memory_bytes()),
            millions(c.distinct_bytes()),
            ratio(c.memory_bytes(), c.distinct_bytes()),
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
        ">MB at L2",
        ">MB at memory",
        ">memory / minimal",
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
            millions(counters.memory_bytes()),
            ratio(counters.memory_bytes(), need.bytes),
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
    table.rule();
    let kernels = work.counts.values().fold(Counters::default(), |a, b| a.add(b));
    let mut moved = |what: &str, bytes: f64, rate: f64| {
        let gigabytes = format!("{:.3}", bytes / 1e9);
        table.row(line(what, gigabytes, "GB", rate.to_string(), "GB/s", bytes / (1e9 * rate)));
    };
    moved("these kernels, at memory", kernels.memory_bytes(), gpu.bandwidth);
    if let Some(rate) = gpu.l2_bandwidth {
        moved("these kernels, at L2", kernels.moved_bytes(), rate);
    }
    format!(
        "The floor of an update on a GPU of {} multiprocessors\n{table}No update takes less than the largest above the line, {:.3} ms; one that overlaps none of \
         them takes their sum, {:.3} ms. Below the line is what these kernels move. These are bounds, not times: no GPU was asked.\n",
        gpu.sm_count,
        1e3 * floor.least(),
        1e3 * (floor.flops + floor.bytes + floor.launches)
    )
}
