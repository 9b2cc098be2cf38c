//! Executes one instruction of a warp.

use super::block::Block;
use super::shared::extra_passes;
use super::simd::{lanes, lanes_where, put};
use super::warp_wide::set;
use super::{
    LOCAL_WINDOW, Launch, MULTIPROCESSORS, SHARED_WINDOW, WINDOW, carry, convert, float, integer, matrix, moves,
};
use crate::counters::Counters;
use crate::fault::{Fault, Kind};
use crate::memory::Memory;
use crate::ptx::Module;
use crate::ptx::inst::{Addr, Cmp, Logic, Op, Order, Program, R, Space, Special};

/// A fault and the lane that met it.
pub struct LaneFault {
    /// The lane.
    pub lane: usize,
    /// The fault, without its place.
    pub fault: Fault,
}

/// Why an instruction did not complete.
pub type Stopped = Box<LaneFault>;

/// A fault of a lane.
#[cold]
pub fn at_lane(lane: usize, fault: Fault) -> Stopped {
    Box::new(LaneFault { lane, fault })
}

/// Whether a warp goes on after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Go,
    /// It may be waiting for another warp: others come first.
    Yield,
}

/// A launch under way.
pub struct Core<'a> {
    /// The module.
    pub module: &'a Module,
    /// The kernel's code.
    pub program: &'a Program,
    /// The launch.
    pub launch: &'a Launch,
    /// Bytes of the parameters.
    pub params: &'a [u8],
    /// Device memory.
    pub memory: &'a mut Memory,
    /// Number of the launch in that memory.
    pub epoch: u32,
    /// What the launch has cost so far.
    pub counters: Counters,
    /// Of a slice, whether values go through shared memory; `None` if all of the kernel runs.
    pub sliced: Option<bool>,
    /// How often a warp has looked at what other warps may change since some thread last changed anything.
    pub spins: u64,
}

impl Core<'_> {
    /// Where an instruction stands.
    pub fn source_of(&self, pc: u32) -> String {
        let inst = &self.program.code[(pc as usize).min(self.program.code.len() - 1)];
        self.module.source(self.program.places[inst.place as usize])
    }

    /// Executes the next instruction of warp `w`.
    #[inline]
    pub fn step(&mut self, block: &mut Block, w: usize) -> Result<Flow, Stopped> {
        let warp = &mut block.warps[w];
        let program = self.program;
        let pc = warp.pc;
        let inst = &program.code[pc as usize];
        let mut mask = warp.active;
        if let Some(p) = inst.guard {
            mask &= warp.g.pred(p);
        }
        self.counters.warp_instructions += 1;
        self.counters.lane_instructions += u64::from(mask.count_ones());
        if mask == 0 {
            warp.pc += 1;
            return Ok(Flow::Go);
        }
        let g = &mut warp.g;
        let shared = &mut block.shared;
        match &inst.op {
            &Op::Int32 { f, d, a, b, c } => integer::int32(g, mask, f, d, a, b, c),
            &Op::Int16 { f, signed, d, a, b, c } => integer::int16(g, mask, f, signed, d, a, b, c),
            &Op::Int64 { f, d, a, b, c } => integer::int64(g, mask, f, d, a, b, c),
            &Op::Count64 { f, d, a } => integer::count64(g, mask, f, d, a),
            &Op::Wide16 { signed, d, a, b, c } => integer::wide16(g, mask, signed, d, a, b, c),
            &Op::Wide32 { signed, d, a, b, c } => integer::wide32(g, mask, signed, d, a, b, c),
            &Op::Carry { f, d, a, b, c } => carry::carry(g, mask, f, d, a, b, c),
            &Op::Bfi32 { d, a, b, pos, len } => integer::bfi32(g, mask, d, a, b, pos, len),
            &Op::Bfi64 { d, a, b, pos, len } => integer::bfi64(g, mask, d, a, b, pos, len),
            &Op::F32 { f, mode, d, a, b, c } => float::float32(g, mask, f, mode, d, a, b, c),
            &Op::F64 { f, d, a, b, c } => float::float64(g, mask, f, d, a, b, c),
            &Op::Half { f, ty, pair, mode, d, a, b, c } => float::half(g, mask, f, ty, pair, mode, d, a, b, c),
            &Op::SetP { ty, cmp, ftz, d, not_d, a, b, with } => {
                let truth = float::compare(g, ty, cmp, ftz, a, b);
                let (yes, no) = match with {
                    None => (truth, !truth),
                    Some((f, p)) => (combine(f, truth, g.pred(p)), combine(f, !truth, g.pred(p))),
                };
                set(&mut g.p[d as usize], yes, mask);
                if let Some(q) = not_d {
                    set(&mut g.p[q as usize], no, mask);
                }
            }
            &Op::TestP { test, wide, d, a } => {
                let truth = float::test(g, test, wide, a);
                set(&mut g.p[d as usize], truth, mask);
            }
            &Op::PredLogic { f, d, a, b } => {
                let value = combine(f, g.pred(a), g.pred(b));
                set(&mut g.p[d as usize], value, mask);
            }
            &Op::PredMov { d, a } => {
                let value = g.pred(a);
                set(&mut g.p[d as usize], value, mask);
            }
            &Op::Select32 { d, a, b, p } => moves::select32(g, mask, d, a, b, g.pred(p)),
            &Op::Select64 { d, a, b, p } => moves::select64(g, mask, d, a, b, g.pred(p)),
            &Op::Slct { wide, float, d, a, b, c } => {
                let first = moves::not_negative(g, float, c);
                let select = if wide { moves::select64 } else { moves::select32 };
                select(g, mask, d, a, b, first);
            }
            &Op::Cvt { from, to, round, ftz, sat, relu, d, a, from_wide } => {
                convert::cvt(g, mask, from, to, round, ftz, sat, relu, d, a, from_wide);
            }
            &Op::CvtPair { to, round, relu, d, a, b } => convert::cvt_pair(g, mask, to, round, relu, d, a, b),
            &Op::Mov32 { d, a } => moves::mov32(g, mask, d, a),
            &Op::Mov64 { d, a } => moves::mov64(g, mask, d, a),
            &Op::MovSpecial { d, wide, what } => {
                let value = std::array::from_fn(|lane| self.special(what, block.id, w, lane));
                if wide {
                    put(&mut g.d[d as usize], value, mask);
                } else {
                    put(&mut g.w[d as usize], value.map(|v| v as u32), mask);
                }
            }
            Op::Pack { d, wide, bits, parts } => moves::pack(g, mask, *d, *wide, *bits, parts),
            Op::Unpack { a, wide, bits, parts } => moves::unpack(g, mask, *a, *wide, *bits, parts),
            &Op::Cvta { space, from_generic, d, a } => {
                let base = match space {
                    Space::Shared => SHARED_WINDOW,
                    Space::Local => LOCAL_WINDOW,
                    Space::Global | Space::Const | Space::Param => 0,
                };
                let by = if from_generic { base.wrapping_neg() } else { base };
                moves::offset64(g, mask, d, a, by);
            }
            &Op::IsSpace { space, d, a } => {
                let a = &g.d[a as usize];
                let within = |base: u64| lanes_where(|i| a[i].wrapping_sub(base) < WINDOW);
                let truth = match space {
                    Space::Shared => within(SHARED_WINDOW),
                    Space::Local => within(LOCAL_WINDOW),
                    _ => !within(SHARED_WINDOW) & !within(LOCAL_WINDOW),
                };
                set(&mut g.p[d as usize], truth, mask);
            }
            Op::Ld { addr, order, v } => {
                self.load(warp, shared, mask, addr, *order, v)?;
                warp.pc += 1;
                if *order != Order::Synchronising {
                    return Ok(Flow::Go);
                }
                self.spins += 1;
                return Ok(Flow::Yield);
            }
            Op::St { addr, order, v } => self.store(warp, shared, mask, addr, *order, v)?,
            Op::Atomic { addr, f, ty, d, b, c } => {
                self.spins += 1;
                self.atomic(warp, shared, mask, addr, *f, *ty, *d, *b, *c)?;
                warp.pc += 1;
                return Ok(Flow::Yield);
            }
            Op::CpAsync { dst, src, bytes, src_bytes } => {
                self.async_copy(block, w, mask, dst, src, *bytes, *src_bytes)?
            }
            Op::CpAsyncCommit => warp.copies.commit(mask),
            &Op::CpAsyncWait(keep) => warp.copies.wait(mask, Some(keep), w, shared),
            Op::CpAsyncWaitAll => warp.copies.wait(mask, None, w, shared),
            Op::LdMatrix { addr, trans, d } => self.ldmatrix(warp, shared, mask, addr, *trans, d)?,
            Op::Mma { ty, k, d, a, b, c } => {
                self.whole_warp(mask, "mma")?;
                self.counters.mma += 1;
                matrix::mma(g, *ty, *k, d, a, b, c);
                shared.tick(w);
            }
            &Op::Shfl { how, d, p, a, b, c, mask: members } => {
                self.shuffle(warp, shared, mask, how, d, p, a, b, c, members)?
            }
            &Op::Vote { how, d, a, mask: members } => {
                let votes = g.pred(a);
                self.vote(warp, shared, mask, how, d, votes, members)?;
            }
            &Op::Match { all, wide, d, p, a, mask: members } => {
                self.matching(warp, shared, mask, all, wide, d, p, a, members)?
            }
            &Op::ActiveMask { d } => put(&mut g.w[d as usize], [mask; 32], mask),
            &Op::Redux { f, d, a, mask: members } => self.reduce(warp, shared, mask, f, d, a, members)?,
            &Op::Bar { id, threads, arrive, reduce } => {
                // The barrier moves the warp on by itself.
                self.arrive(block, w, mask, id, threads, arrive, reduce)?;
                return Ok(Flow::Go);
            }
            &Op::BarWarp { mask: members } => {
                self.members(warp, shared, mask, members)?;
            }
            &Op::Bra { target } => {
                self.counters.divergent_branches += u64::from(warp.branch(mask, target, program.meet[pc as usize]));
                return Ok(Flow::Go);
            }
            Op::BrxIdx { index, targets } => {
                let mut groups: Vec<(u32, u32)> = Vec::new();
                if mask != warp.active {
                    groups.push((pc + 1, warp.active & !mask));
                }
                for lane in lanes(mask) {
                    let i = warp.g.w[*index as usize][lane] as usize;
                    let outside = || {
                        at_lane(
                            lane,
                            Fault::new(Kind::OutOfBounds, format!("brx.idx {i} of {} targets", targets.len())),
                        )
                    };
                    let target = *targets.get(i).ok_or_else(outside)?;
                    match groups.iter_mut().find(|g| g.0 == target) {
                        Some(group) => group.1 |= 1 << lane,
                        None => groups.push((target, 1 << lane)),
                    }
                }
                self.counters.divergent_branches += u64::from(groups.len() > 1);
                warp.branch_many(&groups, program.meet[pc as usize]);
                return Ok(Flow::Go);
            }
            Op::Exit => {
                warp.exit(mask);
                return Ok(Flow::Go);
            }
            Op::Trap => {
                let lane = mask.trailing_zeros() as usize;
                return Err(at_lane(lane, Fault::new(Kind::Trap, "the kernel executed a trap")));
            }
            Op::Nop => {}
            Op::Nanosleep => {
                warp.pc += 1;
                return Ok(Flow::Yield);
            }
        }
        block.warps[w].pc += 1;
        Ok(Flow::Go)
    }

    fn special(&self, what: Special, block: [u32; 3], warp: usize, lane: usize) -> u64 {
        let [x, y, z] = self.launch.block;
        let thread = (warp * 32 + lane) as u32;
        let grid = self.launch.grid;
        let value = match what {
            Special::Tid(0) => thread % x,
            Special::Tid(1) => thread / x % y,
            Special::Tid(_) => thread / x / y,
            Special::Ntid(axis) => self.launch.block[usize::from(axis)],
            Special::Ctaid(axis) => block[usize::from(axis)],
            Special::Nctaid(axis) => grid[usize::from(axis)],
            Special::LaneId => lane as u32,
            Special::WarpId => warp as u32,
            Special::NWarpId => (x * y * z).div_ceil(32),
            Special::SmId => (block[0] + grid[0] * (block[1] + grid[1] * block[2])) % MULTIPROCESSORS,
            Special::NSmId => MULTIPROCESSORS,
            Special::LaneMask(cmp) => lanes_where(|i| match cmp {
                Cmp::Lt => i < lane,
                Cmp::Le => i <= lane,
                Cmp::Gt => i > lane,
                Cmp::Ge => i >= lane,
                _ => i == lane,
            }),
            // A clock that ticks with every instruction of the launch.
            Special::Clock => return self.counters.warp_instructions,
        };
        u64::from(value)
    }

    /// `cp.async`.
    fn async_copy(
        &mut self,
        block: &mut Block,
        w: usize,
        mask: u32,
        dst: &Addr,
        src: &Addr,
        bytes: u32,
        src_bytes: Option<R>,
    ) -> Result<(), Stopped> {
        match bytes {
            4 => self.copy_bytes::<4>(block, w, mask, dst, src, src_bytes),
            8 => self.copy_bytes::<8>(block, w, mask, dst, src, src_bytes),
            _ => self.copy_bytes::<16>(block, w, mask, dst, src, src_bytes),
        }
    }

    fn copy_bytes<const N: usize>(
        &mut self,
        block: &mut Block,
        w: usize,
        mask: u32,
        dst: &Addr,
        src: &Addr,
        src_bytes: Option<R>,
    ) -> Result<(), Stopped> {
        let warp = &mut block.warps[w];
        let (to, from) = (warp.g.addresses(dst), warp.g.addresses(src));
        // Lanes whose source is shorter get zeros for the rest; without a source nothing is read.
        let take = |lane: usize| src_bytes.map_or(N, |r| (warp.g.w[r as usize][lane] as usize).min(N));
        let mut raw = [[0; N]; 32];
        let whole = mask & lanes_where(|lane| take(lane) == N);
        if whole != 0 {
            self.read_global(&from, whole, Order::Plain, &mut raw)?;
        }
        for lane in lanes(mask & !whole) {
            for k in 0..take(lane) {
                let [byte] = self.read_one(from[lane] + k as u64, Order::Plain).map_err(|f| at_lane(lane, f))?;
                raw[lane][k] = byte;
            }
        }
        if self.sliced == Some(false) {
            return Ok(());
        }
        self.counters.shared_accesses += 1;
        self.counters.bank_conflicts += extra_passes(&to, mask, N);
        for lane in lanes(mask) {
            let at = block.shared.begin_copy(w, lane, to[lane], N).map_err(|f| at_lane(lane, f))?;
            block.warps[w].copies.begin(lane, at, &raw[lane]);
        }
        Ok(())
    }
}

fn combine(f: Logic, a: u32, b: u32) -> u32 {
    match f {
        Logic::And => a & b,
        Logic::Or => a | b,
        Logic::Xor => a ^ b,
    }
}
