//! Atomic operations: the lanes of a warp one after another.

use super::access::{unsliced, windows};
use super::execute::{Core, Stopped, at_lane};
use super::float::flush;
use super::shared::{Access, Shared};
use super::simd::{lanes, put};
use super::warp::Warp;
use crate::fault::{Fault, Kind};
use crate::ptx::inst::{Addr, Atom, Num, Order, R, Space};

/// The value that an atomic leaves in memory.
fn combine(f: Atom, ty: Num, old: u64, b: u64, c: u64) -> u64 {
    let low = if ty.bits() == 32 { 0xffff_ffff } else { u64::MAX };
    let signed = |v: u64| if ty.bits() == 32 { i64::from(v as i32) } else { v as i64 };
    let value = match f {
        Atom::Add if ty == Num::F32 => u64::from((f32::from_bits(old as u32) + f32::from_bits(b as u32)).to_bits()),
        Atom::Add if ty == Num::F64 => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        Atom::Add => old.wrapping_add(b),
        Atom::Min if ty.signed() => signed(old).min(signed(b)) as u64,
        Atom::Max if ty.signed() => signed(old).max(signed(b)) as u64,
        Atom::Min => old.min(b),
        Atom::Max => old.max(b),
        Atom::Exch => b,
        Atom::Cas => {
            if old == b {
                c
            } else {
                old
            }
        }
        Atom::Inc => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        Atom::Dec => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
        Atom::And => old & b,
        Atom::Or => old | b,
        Atom::Xor => old ^ b,
    };
    value & low
}

/// The same in global memory, where hardware flushes what an addition of f32 takes and gives; in shared memory it does not.
fn combine_in_global(f: Atom, ty: Num, old: u64, b: u64, c: u64) -> u64 {
    let flushed = |v: u64| u64::from(flush(f32::from_bits(v as u32)).to_bits());
    match (f, ty) {
        (Atom::Add, Num::F32) => flushed(combine(f, ty, flushed(old), flushed(b), c)),
        _ => combine(f, ty, old, b, c),
    }
}

impl Core<'_> {
    /// `atom` and `red`.
    pub fn atomic(
        &mut self,
        warp: &mut Warp,
        shared: &mut Shared,
        mask: u32,
        addr: &Addr,
        f: Atom,
        ty: Num,
        d: Option<R>,
        b: R,
        c: R,
    ) -> Result<(), Stopped> {
        self.counters.atomics += u64::from(mask.count_ones());
        let at = warp.g.addresses(addr);
        let (in_shared, in_local, at) = match addr.space {
            Some(Space::Shared) => (mask, 0, at),
            Some(_) => (0, 0, at),
            None => windows(&at, mask),
        };
        if in_local != 0 {
            let message = "an atomic on local memory";
            return Err(at_lane(in_local.trailing_zeros() as usize, Fault::new(Kind::OutOfBounds, message)));
        }
        let in_global = mask & !in_shared;
        if self.sliced.is_some() && in_global != 0 {
            let lane = in_global.trailing_zeros() as usize;
            return Err(at_lane(lane, unsliced("changes global memory by an atomic, which sampled blocks did before")));
        }
        let len = ty.bits() as usize / 8;
        let get = |r: R, lane: usize| {
            if len == 8 { warp.g.d[r as usize][lane] } else { u64::from(warp.g.w[r as usize][lane]) }
        };
        let mut results = [0u64; 32];
        for lane in lanes(mask) {
            let mut one = |core: &mut Self| -> Result<(u64, u64), Fault> {
                if in_shared >> lane & 1 == 1 {
                    core.counters.shared_accesses += 1;
                    let a = shared.read(warp.index, lane, at[lane], len, Access::Synchronising, false)?;
                    let mut bytes = [0; 8];
                    bytes[..len].copy_from_slice(&shared.data[a..a + len]);
                    let old = u64::from_le_bytes(bytes);
                    let new = combine(f, ty, old, get(b, lane), get(c, lane));
                    shared.write(warp.index, lane, at[lane], &new.to_le_bytes()[..len], Access::Synchronising)?;
                    return Ok((old, new));
                }
                let counters = &mut core.counters;
                counters.global_requests += 1;
                counters.global_sectors += 1;
                counters.ideal_sectors += 1;
                counters.global_load_bytes += len as u64;
                counters.global_store_bytes += len as u64;
                if let Some(cache) = &mut core.memory.cache {
                    let (read, written) = (cache.sector(at[lane], false), cache.sector(at[lane], true));
                    counters.memory_read_bytes += 32 * read.read;
                    counters.memory_written_bytes += 32 * written.written;
                }
                let old = match len {
                    8 => u64::from_le_bytes(core.read_one(at[lane], Order::Synchronising)?),
                    _ => u64::from(u32::from_le_bytes(core.read_one(at[lane], Order::Synchronising)?)),
                };
                let new = combine_in_global(f, ty, old, get(b, lane), get(c, lane));
                match len {
                    8 => core.write_one(at[lane], &new.to_le_bytes())?,
                    _ => core.write_one(at[lane], &(new as u32).to_le_bytes())?,
                }
                Ok((old, new))
            };
            let (old, new) = one(self).map_err(|f| at_lane(lane, f))?;
            results[lane] = old;
            if old != new {
                self.spins = 0;
            }
        }
        match d {
            Some(d) if len == 8 => put(&mut warp.g.d[d as usize], results, mask),
            Some(d) => put(&mut warp.g.w[d as usize], results.map(|v| v as u32), mask),
            None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_left_in_memory() {
        let minus = |v: i32| u64::from(v as u32);
        for (f, ty, old, b, want) in [
            (Atom::Add, Num::U32, 0xffff_ffff, 2, 1),
            (Atom::Min, Num::S32, minus(-3), 1, minus(-3)),
            (Atom::Min, Num::U32, minus(-3), 1, 1),
            (Atom::Max, Num::S64, u64::MAX, 5, 5),
            (Atom::Exch, Num::U64, 1, 2, 2),
            (Atom::Inc, Num::U32, 7, 7, 0),
            (Atom::Inc, Num::U32, 6, 7, 7),
            (Atom::Dec, Num::U32, 0, 7, 7),
            (Atom::Dec, Num::U32, 9, 7, 7),
            (Atom::Xor, Num::U32, 6, 3, 5),
        ] {
            assert_eq!(combine(f, ty, old, b, 0), want, "{f:?} {ty:?}");
        }
        assert_eq!(combine(Atom::Cas, Num::U32, 4, 4, 9), 9);
        assert_eq!(combine(Atom::Cas, Num::U32, 5, 4, 9), 5);
        let sum = combine(Atom::Add, Num::F32, 1.5f32.to_bits().into(), 2f32.to_bits().into(), 0);
        assert_eq!(f32::from_bits(sum as u32), 3.5);
        let [tiny, less] = [1e-40_f32, -3e-40].map(|x| u64::from(x.to_bits()));
        let sum = combine(Atom::Add, Num::F32, tiny, less, 0);
        assert_eq!(f32::from_bits(sum as u32), 1e-40 - 3e-40);
        assert_eq!(combine_in_global(Atom::Add, Num::F32, tiny, less, 0), 0);
        assert_eq!(combine_in_global(Atom::Xor, Num::U32, tiny, less, 0), tiny ^ less);
    }
}
