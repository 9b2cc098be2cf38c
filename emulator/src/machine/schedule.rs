//! Which warp runs next.
//!
//! Blocks start in an order that the seed decides. A few are resident at a time; the warps of one run in turns, again in the
//! seed's order, each until it waits at a barrier, exits, has used up its turn, or does something by which threads talk to
//! each other (an atomic, a volatile or acquiring load). A block whose warps all do the latter may be waiting for a block that
//! has not started, so another one becomes resident, up to what the emulated device holds.

use super::block::Block;
use super::execute::{Core, Flow, LaneFault};
use super::shared::Shared;
use super::warp::{State, Warp};
use super::{BUDGET, Launch, MAX_SHARED_PER_BLOCK, MAX_THREADS_PER_BLOCK, MULTIPROCESSORS, blocks_per_multiprocessor};
use crate::counters::Counters;
use crate::fault::{Fault, Kind, Place};
use crate::memory::Memory;
use crate::ptx::inst::R;
use crate::ptx::{Kernel, Module};

/// Instructions of a warp's turn.
const TURN: u32 = 2000;
/// Turns that the warps of a block take before another block comes.
const ROUNDS: usize = 16;
/// Blocks that are resident when none waits for another.
const FEW: usize = 3;
/// Looks at memory without any store, successful atomic, barrier or exit in between, after which a launch counts as stuck.
const PATIENCE: u64 = 1 << 20;

/// SplitMix64: a small generator for the order of things.
struct Order(u64);

impl Order {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        if self.0 != 0 {
            (1..list.len()).rev().for_each(|i| list.swap(i, self.next(i + 1)));
        }
    }
}

/// Runs `kernel` of `module` to its end and adds what it cost to `counters`.
///
/// # Errors
/// The first fault that a check finds.
pub fn launch(
    module: &Module,
    kernel: &str,
    launch: &Launch,
    memory: &mut Memory,
    counters: &mut Counters,
) -> Result<(), Fault> {
    let impossible = |message: String| Fault::new(Kind::Launch, message);
    let k = module.kernel(kernel).ok_or_else(|| impossible(format!("the module has no kernel {kernel}")))?;
    let (blocks, addresses, resident) = check(module, k, launch).map_err(impossible)?;
    let params = &launch.params[..];
    let run = |program, sliced, blocks: Vec<u32>, memory: &mut Memory, counters: &mut Counters| {
        let epoch = memory.begin_launch();
        let fresh = Counters::default();
        let mut core = Core { module, program, launch, params, memory, epoch, counters: fresh, sliced, spins: 0 };
        let addresses = addresses.clone();
        let done = Schedule { core: &mut core, kernel: k, addresses, resident }.run(blocks);
        *counters = core.counters;
        done
    };
    let mut count = Counters::default();
    let some = sampled(blocks, launch.sample);
    let of = some.len() as u64;
    let done = if of == u64::from(blocks) {
        run(&k.program, None, some, memory, &mut count)
    } else {
        // What the cache holds depends on all blocks.
        let cache = memory.cache.take();
        let mut done = run(&k.program, None, some, memory, &mut count);
        count.scale(u64::from(blocks), of);
        memory.cache = cache;
        if done.is_ok() && memory.cache.is_some() {
            let (slice, mut all) = (k.slice(), Counters::default());
            done = run(&slice.program, Some(slice.through_shared), (0..blocks).collect(), memory, &mut all);
            count.take_memory(&all);
        }
        done
    };
    count.launches = 1;
    count.blocks = u64::from(blocks);
    counters.add(&count);
    done
}

/// The blocks that run: at most `most` of them, each from the middle of an equal share of the grid; all, if `most` is 0.
fn sampled(blocks: u32, most: u32) -> Vec<u32> {
    if most == 0 || blocks <= most {
        return (0..blocks).collect();
    }
    let middle = |i: u32| (u64::from(2 * i + 1) * u64::from(blocks) / u64::from(2 * most)) as u32;
    (0..most).map(middle).collect()
}

/// The number of blocks, the addresses of module variables and how many blocks can be resident, or why the launch is impossible.
fn check(module: &Module, k: &Kernel, launch: &Launch) -> Result<(u32, Vec<(R, u64)>, usize), String> {
    let name = &k.name;
    let product = |[x, y, z]: [u32; 3]| x.checked_mul(y)?.checked_mul(z);
    let blocks = product(launch.grid).ok_or(format!("{name}: the grid {:?} is too large", launch.grid))?;
    let threads = product(launch.block).unwrap_or(u32::MAX);
    let most = k.max_threads.unwrap_or(MAX_THREADS_PER_BLOCK).min(MAX_THREADS_PER_BLOCK);
    if threads == 0 || blocks == 0 {
        return Err(format!(
            "{name}: a launch of {:?} blocks of {:?} threads has no thread",
            launch.grid, launch.block
        ));
    }
    if threads > most {
        return Err(format!("{name}: a block has {threads} threads, but {most} at most are allowed"));
    }
    if launch.params.len() as u32 != k.param_bytes {
        return Err(format!("{name}: the parameters have {} bytes, not {}", launch.params.len(), k.param_bytes));
    }
    let shared = k.shared_bytes.saturating_add(launch.shared_bytes);
    if shared > MAX_SHARED_PER_BLOCK {
        return Err(format!(
            "{name}: a block has {shared} bytes of shared memory, but {MAX_SHARED_PER_BLOCK} at most are allowed"
        ));
    }
    let mut addresses = Vec::new();
    for &(r, index, offset) in &k.relocations {
        let base = module.address(index).map_err(|v| format!("{name}: the array {v} has not been placed in memory"))?;
        addresses.push((r, base.wrapping_add(offset as u64)));
    }
    let resident = MULTIPROCESSORS * blocks_per_multiprocessor(threads, shared);
    Ok((blocks, addresses, resident as usize))
}

struct Schedule<'a, 'b> {
    core: &'a mut Core<'b>,
    kernel: &'a Kernel,
    addresses: Vec<(R, u64)>,
    /// Blocks that the device holds at once.
    resident: usize,
}

/// What became of a block's turn.
#[derive(PartialEq)]
enum Turn {
    /// All its warps have exited.
    Finished,
    /// It can go on.
    Running,
    /// Every warp that could run was possibly waiting for another block.
    Spinning,
    /// No warp can run.
    Stuck,
}

impl Schedule<'_, '_> {
    /// Runs these blocks.
    fn run(&mut self, mut waiting: Vec<u32>) -> Result<(), Fault> {
        let mut order = Order(self.core.launch.order);
        order.shuffle(&mut waiting);
        waiting.reverse();
        let (mut active, mut spare): (Vec<Block>, Vec<Block>) = (Vec::new(), Vec::new());
        let mut target = FEW.min(self.resident);
        loop {
            while active.len() < target
                && let Some(i) = waiting.pop()
            {
                let block = self.admit(i, spare.pop());
                active.push(block);
            }
            if active.is_empty() {
                return Ok(());
            }
            let (mut i, mut moved, mut spinning) = (0, false, false);
            while i < active.len() {
                match self.turn(&mut active[i], &mut order)? {
                    Turn::Finished => {
                        moved = true;
                        spare.push(active.swap_remove(i));
                        continue;
                    }
                    Turn::Running => moved = true,
                    Turn::Spinning => (moved, spinning) = (true, true),
                    Turn::Stuck => {}
                }
                i += 1;
            }
            if spinning {
                target = (2 * target).min(self.resident);
                self.check_patience(&active, waiting.len())?;
            }
            if !moved {
                return Err(self.deadlock(&active[0]));
            }
            order.shuffle(&mut active);
        }
    }

    /// Makes block `i` of the grid resident, in the storage of one that has finished if there is one.
    fn admit(&self, i: u32, spare: Option<Block>) -> Block {
        let [gx, gy, _] = self.core.launch.grid;
        let id = [i % gx, i / gx % gy, i / gx / gy];
        if let Some(mut block) = spare {
            block.id = id;
            block.shared.reset();
            block.barriers = Default::default();
            block.warps.iter_mut().for_each(Warp::restart);
            return block;
        }
        let k = self.kernel;
        let threads: u32 = self.core.launch.block.iter().product();
        let bytes = (k.shared_bytes + self.core.launch.shared_bytes) as usize;
        let warps: Vec<Warp> = (0..threads.div_ceil(32) as usize)
            .map(|w| Warp::new(w, threads, &k.program, &self.addresses, k.local_bytes))
            .collect();
        Block {
            id,
            shared: Shared::new(bytes, k.program.shared_width, warps.len()),
            warps,
            barriers: Default::default(),
        }
    }

    fn turn(&mut self, block: &mut Block, order: &mut Order) -> Result<Turn, Fault> {
        let mut warps: Vec<usize> = (0..block.warps.len()).collect();
        for _ in 0..ROUNDS {
            order.shuffle(&mut warps);
            let (mut ran, mut yielded) = (0, 0);
            for &w in &warps {
                if block.warps[w].state == State::Ready {
                    ran += 1;
                    yielded += usize::from(self.run_warp(block, w)? == Flow::Yield);
                }
            }
            if ran == 0 {
                let done = block.warps.iter().all(|w| w.state == State::Done);
                return Ok(if done { Turn::Finished } else { Turn::Stuck });
            }
            if yielded == ran {
                return Ok(Turn::Spinning);
            }
        }
        Ok(Turn::Running)
    }

    /// Runs a warp for one turn.
    fn run_warp(&mut self, block: &mut Block, w: usize) -> Result<Flow, Fault> {
        let budget = if self.core.launch.budget == 0 { BUDGET } else { self.core.launch.budget };
        if self.core.counters.warp_instructions >= budget {
            let message = format!("the launch has executed {budget} warp instructions and is not done");
            return Err(self.fault(block, w, block.warps[w].pc, Kind::Runaway, message));
        }
        for _ in 0..TURN {
            let pc = block.warps[w].pc;
            let flow = self.core.step(block, w).map_err(|stopped| self.placed(block, w, pc, *stopped))?;
            block.warps[w].settle();
            match block.warps[w].state {
                State::Ready => {}
                State::AtBarrier(_) => return Ok(Flow::Go),
                State::Done => {
                    for id in 0..block.barriers.len() {
                        self.core.check_exited(block, id).map_err(|stopped| self.placed(block, w, pc, *stopped))?;
                    }
                    self.core.spins = 0;
                    return Ok(Flow::Go);
                }
            }
            if flow == Flow::Yield {
                return Ok(flow);
            }
        }
        Ok(Flow::Go)
    }

    /// Spinning for very long while nobody changes anything is a fault.
    fn check_patience(&self, active: &[Block], not_started: usize) -> Result<(), Fault> {
        if self.core.spins < PATIENCE {
            return Ok(());
        }
        let spins = |b: &&Block| b.warps.iter().any(|w| w.state == State::Ready);
        let block = active.iter().find(spins).unwrap_or(&active[0]);
        let w = block.warps.iter().position(|w| w.state == State::Ready).unwrap_or(0);
        let message = format!(
            "warps wait for a value that nobody writes any more: {} blocks are resident and {not_started} cannot start before one of them ends",
            active.len()
        );
        Err(self.fault(block, w, block.warps[w].pc, Kind::Runaway, message))
    }

    fn deadlock(&self, block: &Block) -> Fault {
        let list: Vec<String> = block
            .warps
            .iter()
            .filter_map(|w| match w.state {
                State::AtBarrier(id) => Some(format!("warp {} at barrier {id}", w.index)),
                _ => None,
            })
            .collect();
        let w = block.warps.iter().position(|w| w.state != State::Done).unwrap_or(0);
        let message = format!("no warp can go on: {} wait and no other warp will arrive", list.join(", "));
        let pc = block.warps[w].pc.saturating_sub(1);
        self.fault(block, w, pc, Kind::Deadlock, message)
    }

    /// A fault of a whole warp.
    fn fault(&self, block: &Block, w: usize, pc: u32, kind: Kind, message: String) -> Fault {
        self.placed(block, w, pc, LaneFault { lane: 0, fault: Fault::new(kind, message) })
    }

    /// Says where a lane met a fault.
    #[cold]
    fn placed(&self, block: &Block, w: usize, pc: u32, stopped: LaneFault) -> Fault {
        let place = Place {
            kernel: self.kernel.name.clone(),
            block: block.id,
            warp: w as u32,
            lane: stopped.lane as u32,
            source: self.core.source_of(pc),
        };
        Fault { place: Some(place), ..stopped.fault }
    }
}
