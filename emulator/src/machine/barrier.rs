//! Barriers of a block.

use super::block::Block;
use super::execute::{Core, Stopped, at_lane};
use super::simd::put;
use super::warp::State;
use super::warp_wide::set;
use crate::fault::{Fault, Kind};
use crate::ptx::inst::{BarReduce, Logic, R};

/// One of a block's 16 barriers.
#[derive(Default)]
pub struct Barrier {
    /// Warps that have arrived.
    arrived: Vec<usize>,
    /// Those of them that wait.
    waiting: Vec<usize>,
    /// Warps that it takes; 0 while nobody has arrived.
    expected: usize,
    /// Whether it takes all warps of the block.
    whole_block: bool,
    /// The instruction that the first warp arrived at.
    pc: u32,
    /// Threads so far whose predicate is true, and all threads.
    yes: u32,
    threads: u32,
}

impl Core<'_> {
    /// Warp `w` arrives at a barrier.
    ///
    /// A barrier of the whole block takes every thread of the block, at the same instruction, and a thread that has exited
    /// never comes. Hardware lets the rest go on where a thread has exited; CUDA promises nothing of the kind for a barrier
    /// in code that diverges, so here it is a fault.
    pub fn arrive(
        &mut self,
        block: &mut Block,
        w: usize,
        mask: u32,
        id: R,
        threads: Option<R>,
        arrive_only: bool,
        reduce: Option<BarReduce>,
    ) -> Result<(), Stopped> {
        self.counters.barriers += 1;
        let warps = block.warps.len();
        let warp = &mut block.warps[w];
        let lane = mask.trailing_zeros() as usize;
        let fault = |message: String| at_lane(lane, Fault::new(Kind::DivergentBarrier, message));
        let wanted = if threads.is_none() { warp.launched } else { warp.launched & !warp.exited };
        if mask != wanted {
            let away = wanted & !mask;
            return Err(fault(format!(
                "a barrier in divergent code: lanes {away:#010x} do not reach it together with lanes {mask:#010x}"
            )));
        }
        let id = warp.g.w[id as usize][lane];
        let expected = match threads {
            None => warps,
            Some(r) => {
                let n = warp.g.w[r as usize][lane];
                if n == 0 || !n.is_multiple_of(32) {
                    return Err(fault(format!("a barrier for {n} threads, which are not whole warps")));
                }
                n as usize / 32
            }
        };
        let bar = block.barriers.get_mut(id as usize).ok_or_else(|| fault(format!("there is no barrier {id}")))?;
        if bar.arrived.is_empty() {
            *bar = Barrier { expected, whole_block: threads.is_none(), pc: warp.pc, ..Barrier::default() };
        } else if bar.expected != expected {
            return Err(fault(format!(
                "barrier {id} is for {expected} warps here and for {} warps at {}",
                bar.expected,
                self.source_of(bar.pc)
            )));
        } else if bar.whole_block && bar.pc != warp.pc {
            let (there, other) = (bar.arrived[0], self.source_of(bar.pc));
            return Err(fault(format!("the warps of the block wait at different barriers: warp {there} at {other}")));
        }
        bar.arrived.push(w);
        if let Some(r) = reduce {
            bar.yes += (warp.g.pred(r.a) & mask).count_ones();
            bar.threads += mask.count_ones();
        }
        warp.pc += 1;
        if !arrive_only {
            bar.waiting.push(w);
            warp.state = State::AtBarrier(id as usize);
        }
        if bar.arrived.len() < bar.expected {
            return self.check_exited(block, id as usize);
        }
        let bar = std::mem::take(bar);
        block.shared.meet(&bar.arrived);
        self.spins = 0;
        for &v in &bar.waiting {
            let warp = &mut block.warps[v];
            warp.state = State::Ready;
            if let Some(BarReduce { logic, d, .. }) = reduce {
                let mask = warp.active;
                let answer = match logic {
                    None => {
                        put(&mut warp.g.w[d as usize], [bar.yes; 32], mask);
                        continue;
                    }
                    Some(Logic::And) => bar.yes == bar.threads,
                    Some(Logic::Or) => bar.yes > 0,
                    Some(Logic::Xor) => bar.yes % 2 == 1,
                };
                set(&mut warp.g.p[d as usize], if answer { mask } else { 0 }, mask);
            }
        }
        Ok(())
    }

    /// A barrier of the whole block that waits while a warp has exited is never passed.
    pub fn check_exited(&self, block: &Block, id: usize) -> Result<(), Stopped> {
        let bar = &block.barriers[id];
        if !bar.whole_block || bar.waiting.is_empty() {
            return Ok(());
        }
        match block.warps.iter().find(|w| w.state == State::Done) {
            None => Ok(()),
            Some(gone) => {
                let (there, at) = (bar.waiting[0], self.source_of(bar.pc));
                let message = format!(
                    "warp {there} waits at the barrier at {at}, but warp {} has exited without reaching it",
                    gone.index
                );
                Err(at_lane(0, Fault::new(Kind::DivergentBarrier, message)))
            }
        }
    }
}
