//! Loads and stores of a warp.

use super::execute::{Core, Stopped, at_lane};
use super::shared::{Access, Shared, extra_passes};
use super::simd::{Wide, lanes, put};
use super::warp::Warp;
use super::{LOCAL_WINDOW, SHARED_WINDOW, WINDOW};
use crate::fault::{Fault, Kind};
use crate::memory::unwritten;
use crate::ptx::inst::{Addr, Order, Space, Values};

/// What the lanes move: `N` bytes each, up to 16.
pub type Raw<const N: usize> = [[u8; N]; 32];

/// Calls a function that is generic in the bytes of an access: 1, 2, 4, 8 or 16.
macro_rules! by_width {
    ($width:expr, $self:ident.$f:ident($($arg:expr),*)) => {
        match $width {
            1 => $self.$f::<1>($($arg),*),
            2 => $self.$f::<2>($($arg),*),
            4 => $self.$f::<4>($($arg),*),
            8 => $self.$f::<8>($($arg),*),
            _ => $self.$f::<16>($($arg),*),
        }
    };
}

/// The end of the run of active lanes from `lane` on whose addresses grow by `stride` each.
#[inline(always)]
fn run_end(at: &Wide, mask: u32, lane: usize, stride: u64) -> usize {
    let mut end = lane + 1;
    while end < 32 && mask >> end & 1 == 1 && at[end] == at[end - 1].wrapping_add(stride) {
        end += 1;
    }
    end
}

/// The next run of lanes that one check can serve: `(first lane, end, stride)` of lanes that access one address or one
/// address after the other.
#[inline(always)]
fn next_run(at: &Wide, mask: u32, len: u64) -> (usize, usize, usize) {
    let lane = mask.trailing_zeros() as usize;
    let end = run_end(at, mask, lane, len);
    let same = if end == lane + 1 { run_end(at, mask, lane, 0) } else { end };
    if same > end { (lane, same, 0) } else { (lane, end, len as usize) }
}

/// The lanes of a mask from `end` on.
#[inline(always)]
fn after(mask: u32, end: usize) -> u32 {
    mask & (u64::MAX << end) as u32
}

impl Core<'_> {
    /// `ld`.
    pub fn load(
        &mut self,
        warp: &mut Warp,
        shared: &mut Shared,
        mask: u32,
        addr: &Addr,
        order: Order,
        v: &Values,
    ) -> Result<(), Stopped> {
        by_width!(v.regs.len() as u32 * v.bytes, self.load_bytes(warp, shared, mask, addr, order, v))
    }

    /// `st`.
    pub fn store(
        &mut self,
        warp: &mut Warp,
        shared: &mut Shared,
        mask: u32,
        addr: &Addr,
        order: Order,
        v: &Values,
    ) -> Result<(), Stopped> {
        self.spins = 0;
        by_width!(v.regs.len() as u32 * v.bytes, self.store_bytes(warp, shared, mask, addr, order, v))
    }

    fn load_bytes<const N: usize>(
        &mut self,
        warp: &mut Warp,
        shared: &mut Shared,
        mask: u32,
        addr: &Addr,
        order: Order,
        v: &Values,
    ) -> Result<(), Stopped> {
        let at = warp.g.addresses(addr);
        let mut raw: Raw<N> = [[0; N]; 32];
        match addr.space {
            Some(Space::Global | Space::Const) => self.read_global(&at, mask, order, &mut raw)?,
            Some(Space::Shared) => self.read_shared(warp.index, shared, &at, mask, order, &mut raw)?,
            Some(Space::Local) => read_local(&warp.local, &at, mask, &mut raw)?,
            Some(Space::Param) => {
                let mut rest = mask;
                while rest != 0 {
                    // Mostly one parameter for all lanes.
                    let lane = rest.trailing_zeros() as usize;
                    let end = run_end(&at, rest, lane, 0);
                    rest = after(rest, end);
                    let bytes = usize::try_from(at[lane]).ok().and_then(|a| self.params.get(a..a.checked_add(N)?));
                    let outside = || Fault::new(Kind::OutOfBounds, "reads past the kernel's parameters");
                    let bytes = bytes.ok_or_else(|| at_lane(lane, outside()))?;
                    raw[lane..end].fill(bytes.try_into().expect("N bytes"));
                }
            }
            None => {
                let (in_shared, in_local, at) = windows(&at, mask);
                if self.sliced == Some(false) && order == Order::Deciding && in_shared | in_local != 0 {
                    let lane = (in_shared | in_local).trailing_zeros() as usize;
                    return Err(at_lane(lane, unsliced("reads shared or local memory by a generic address")));
                }
                if in_shared != 0 {
                    self.read_shared(warp.index, shared, &at, in_shared, order, &mut raw)?;
                }
                if in_local != 0 {
                    read_local(&warp.local, &at, in_local, &mut raw)?;
                }
                let rest = mask & !in_shared & !in_local;
                if rest != 0 {
                    self.read_global(&at, rest, order, &mut raw)?;
                }
            }
        }
        deposit(warp, mask, v, &raw);
        Ok(())
    }

    fn store_bytes<const N: usize>(
        &mut self,
        warp: &mut Warp,
        shared: &mut Shared,
        mask: u32,
        addr: &Addr,
        order: Order,
        v: &Values,
    ) -> Result<(), Stopped> {
        let at = warp.g.addresses(addr);
        let mut raw: Raw<N> = [[0; N]; 32];
        withdraw(warp, v, &mut raw);
        match addr.space {
            Some(Space::Shared) => self.write_shared(warp.index, shared, &at, mask, order, &raw),
            Some(Space::Local | Space::Param) => write_local(&mut warp.local, &at, mask, &raw),
            Some(Space::Global | Space::Const) => self.write_global(&at, mask, &raw),
            None => {
                let (in_shared, in_local, at) = windows(&at, mask);
                if in_shared != 0 {
                    self.write_shared(warp.index, shared, &at, in_shared, order, &raw)?;
                }
                if in_local != 0 {
                    write_local(&mut warp.local, &at, in_local, &raw)?;
                }
                let rest = mask & !in_shared & !in_local;
                if rest != 0 { self.write_global(&at, rest, &raw) } else { Ok(()) }
            }
        }
    }

    /// Counts a warp-wide global access of `len` bytes a lane.
    fn count_sectors(&mut self, at: &Wide, mask: u32, len: u64, store: bool) {
        // Mostly the lanes follow each other.
        let (first, end, stride) = next_run(at, mask, len);
        if after(mask, end) == 0 && at[first].is_multiple_of(len) {
            let bytes = if stride == 0 { len } else { len * (end - first) as u64 };
            let (from, to) = (at[first] / 32, (at[first] + bytes - 1) / 32);
            self.counters.global_requests += 1;
            self.counters.global_sectors += to - from + 1;
            self.counters.ideal_sectors += bytes.div_ceil(32);
            if self.memory.cache.is_some() {
                for line in from / 4..=to / 4 {
                    let (low, high) = (from.max(4 * line) % 4, to.min(4 * line + 3) % 4);
                    self.pass_cache(line, (2 << high) - (1 << low), store);
                }
            }
            return;
        }
        let (mut firsts, mut n) = ([u64::MAX; 32], 0);
        let mut ascending = true;
        for lane in lanes(mask) {
            ascending &= n == 0 || firsts[n - 1] <= at[lane];
            firsts[n] = at[lane];
            n += 1;
        }
        let firsts = &mut firsts[..n];
        if !ascending {
            firsts.sort_unstable();
        }
        // Aligned accesses of up to 16 bytes lie in one sector each.
        let (mut sectors, mut distinct) = (0, 0);
        for i in 0..n {
            distinct += u64::from(i == 0 || firsts[i] != firsts[i - 1]);
            sectors += u64::from(i == 0 || firsts[i] / 32 != firsts[i - 1] / 32);
        }
        self.counters.global_requests += 1;
        self.counters.global_sectors += sectors;
        self.counters.ideal_sectors += (distinct * len).div_ceil(32);
        if self.memory.cache.is_some() {
            let mut rest = &firsts[..];
            while let Some(line) = rest.first().map(|first| first / 128) {
                let n = rest.iter().take_while(|&&at| at / 128 == line).count();
                let sectors = rest[..n].iter().fold(0, |sectors, at| sectors | 1 << (at % 128 / 32));
                rest = &rest[n..];
                self.pass_cache(line, sectors, store);
            }
        }
    }

    /// Takes sectors of a line through the second-level cache.
    #[inline(always)]
    fn pass_cache(&mut self, line: u64, sectors: u64, store: bool) {
        if let Some(cache) = &mut self.memory.cache {
            let traffic = cache.line(line, sectors, store);
            self.counters.memory_read_bytes += 32 * traffic.read;
            self.counters.memory_written_bytes += 32 * traffic.written;
        }
    }

    /// Reads global memory; also the path of asynchronous copies.
    pub fn read_global<const N: usize>(
        &mut self,
        at: &Wide,
        mask: u32,
        order: Order,
        raw: &mut Raw<N>,
    ) -> Result<(), Stopped> {
        let bytes = N as u64;
        self.counters.global_load_bytes += u64::from(mask.count_ones()) * bytes;
        self.count_sectors(at, mask, bytes, false);
        let mut rest = mask;
        while rest != 0 {
            let (first, end, stride) = next_run(at, rest, bytes);
            rest = after(rest, end);
            let total = if stride == 0 { bytes } else { bytes * (end - first) as u64 };
            if at[first].is_multiple_of(bytes)
                && let Some((a, offset)) = self.memory.find(at[first], total)
                && a.written.first_missing(offset, total).is_none()
                && !(order.frozen() && a.stored_in(self.epoch, offset, total))
            {
                self.counters.minimal_read_bytes += a.note_read(self.epoch, offset, total);
                let data = &a.data[offset as usize..(offset + total) as usize];
                for lane in first..end {
                    let from = (lane - first) * stride;
                    raw[lane].copy_from_slice(&data[from..from + N]);
                }
                continue;
            }
            // Something is wrong with one of them: each by itself explains what.
            for lane in first..end {
                raw[lane] = self.read_one(at[lane], order).map_err(|f| at_lane(lane, f))?;
            }
        }
        Ok(())
    }

    /// Reads global memory for one lane.
    pub fn read_one<const N: usize>(&mut self, at: u64, order: Order) -> Result<[u8; N], Fault> {
        let bytes = N as u64;
        aligned(at, bytes, "reads")?;
        let epoch = self.epoch;
        let Some((a, offset)) = self.memory.find(at, bytes) else { return Err(self.outside(at, bytes, "reads")) };
        if let Some(missing) = a.written.first_missing(offset, bytes) {
            return Err(Fault::new(Kind::Unwritten, unwritten(a, offset, bytes, missing)));
        }
        if order.frozen() && a.stored_in(epoch, offset, bytes) {
            let reads = format!("reads {N} bytes at {at:#x}");
            return Err(match order {
                Order::Deciding => unsliced(&format!("{reads}, which this launch stores")),
                _ => {
                    let message =
                        format!("{reads} through the read-only cache (ld.global.nc), which this launch has written");
                    Fault::new(Kind::Race, message)
                }
            });
        }
        let value = a.data[offset as usize..offset as usize + N].try_into().expect("N bytes");
        self.counters.minimal_read_bytes += a.note_read(epoch, offset, bytes);
        Ok(value)
    }

    fn write_global<const N: usize>(&mut self, at: &Wide, mask: u32, raw: &Raw<N>) -> Result<(), Stopped> {
        let bytes = N as u64;
        self.counters.global_store_bytes += u64::from(mask.count_ones()) * bytes;
        self.count_sectors(at, mask, bytes, true);
        let mut rest = mask;
        while rest != 0 {
            let first = rest.trailing_zeros() as usize;
            let end = run_end(at, rest, first, bytes);
            rest = after(rest, end);
            let total = bytes * (end - first) as u64;
            if at[first].is_multiple_of(bytes)
                && let Some((a, offset)) = self.memory.find(at[first], total)
            {
                self.counters.minimal_written_bytes += a.note_store(self.epoch, offset, total);
                // A slice does not compute what it stores.
                if self.sliced.is_some() {
                    continue;
                }
                let data = &mut a.data[offset as usize..(offset + total) as usize];
                for lane in first..end {
                    let to = (lane - first) * N;
                    data[to..to + N].copy_from_slice(&raw[lane]);
                }
                continue;
            }
            for lane in first..end {
                self.write_one(at[lane], &raw[lane]).map_err(|f| at_lane(lane, f))?;
            }
        }
        Ok(())
    }

    /// Writes global memory for one lane.
    pub fn write_one<const N: usize>(&mut self, at: u64, value: &[u8; N]) -> Result<(), Fault> {
        let bytes = N as u64;
        aligned(at, bytes, "writes")?;
        let epoch = self.epoch;
        let Some((a, offset)) = self.memory.find(at, bytes) else { return Err(self.outside(at, bytes, "writes")) };
        a.data[offset as usize..offset as usize + N].copy_from_slice(value);
        self.counters.minimal_written_bytes += a.note_store(epoch, offset, bytes);
        Ok(())
    }

    #[cold]
    fn outside(&self, at: u64, bytes: u64, verb: &str) -> Fault {
        Fault::new(Kind::OutOfBounds, format!("{verb} {bytes} bytes at {at:#x}: {}", self.memory.nearest(at)))
    }

    fn read_shared<const N: usize>(
        &mut self,
        warp: usize,
        shared: &mut Shared,
        at: &Wide,
        mask: u32,
        order: Order,
        raw: &mut Raw<N>,
    ) -> Result<(), Stopped> {
        self.counters.shared_accesses += 1;
        self.counters.bank_conflicts += extra_passes(at, mask, N);
        let access = access(order);
        let mut rest = mask;
        while rest != 0 {
            // Lanes that follow each other and read the same bytes share one check.
            let lane = rest.trailing_zeros() as usize;
            let end = run_end(at, rest, lane, 0);
            rest = after(rest, end);
            let a = shared.read(warp, lane, at[lane], N, access, end > lane + 1).map_err(|f| at_lane(lane, f))?;
            let value: [u8; N] = shared.data[a..a + N].try_into().expect("N bytes");
            raw[lane..end].fill(value);
        }
        Ok(())
    }

    fn write_shared<const N: usize>(
        &mut self,
        warp: usize,
        shared: &mut Shared,
        at: &Wide,
        mask: u32,
        order: Order,
        raw: &Raw<N>,
    ) -> Result<(), Stopped> {
        self.counters.shared_accesses += 1;
        self.counters.bank_conflicts += extra_passes(at, mask, N);
        for lane in lanes(mask) {
            shared.write(warp, lane, at[lane], &raw[lane], access(order)).map_err(|f| at_lane(lane, f))?;
        }
        Ok(())
    }
}

/// The place of an access in the local memory of all lanes.
fn local_place(size: usize, lane: usize, at: u64, len: usize, verb: &str) -> Result<usize, Stopped> {
    if at.saturating_add(len as u64) > size as u64 {
        let message = format!("{verb} {len} bytes at byte {at} of the thread's {size} bytes of local memory");
        return Err(at_lane(lane, Fault::new(Kind::OutOfBounds, message)));
    }
    aligned(at, len as u64, verb).map_err(|f| at_lane(lane, f))?;
    Ok(lane * size + at as usize)
}

fn read_local<const N: usize>(local: &[u8], at: &Wide, mask: u32, raw: &mut Raw<N>) -> Result<(), Stopped> {
    for lane in lanes(mask) {
        let place = local_place(local.len() / 32, lane, at[lane], N, "reads")?;
        raw[lane].copy_from_slice(&local[place..place + N]);
    }
    Ok(())
}

fn write_local<const N: usize>(local: &mut [u8], at: &Wide, mask: u32, raw: &Raw<N>) -> Result<(), Stopped> {
    for lane in lanes(mask) {
        let place = local_place(local.len() / 32, lane, at[lane], N, "writes")?;
        local[place..place + N].copy_from_slice(&raw[lane]);
    }
    Ok(())
}

/// What a slice cannot tell.
#[cold]
pub fn unsliced(what: &str) -> Fault {
    let message = format!(
        "{what}, and by that decides what else is accessed: \
         the accesses of all blocks cannot be counted by running some of them; run all (sample 0)"
    );
    Fault::new(Kind::Unsliced, message)
}

/// How the check for races sees an access.
pub fn access(order: Order) -> Access {
    if order == Order::Synchronising { Access::Synchronising } else { Access::Plain }
}

/// The lanes whose generic addresses lie in shared and in local memory, and all addresses with the windows taken off.
pub fn windows(at: &Wide, mask: u32) -> (u32, u32, Wide) {
    let (mut in_shared, mut in_local, mut out) = (0, 0, *at);
    for lane in lanes(mask) {
        if at[lane].wrapping_sub(SHARED_WINDOW) < WINDOW {
            in_shared |= 1 << lane;
            out[lane] -= SHARED_WINDOW;
        } else if at[lane].wrapping_sub(LOCAL_WINDOW) < WINDOW {
            in_local |= 1 << lane;
            out[lane] -= LOCAL_WINDOW;
        }
    }
    (in_shared, in_local, out)
}

#[inline(always)]
fn aligned(at: u64, bytes: u64, verb: &str) -> Result<(), Fault> {
    if at.is_multiple_of(bytes) {
        return Ok(());
    }
    Err(Fault::new(Kind::Misaligned, format!("{verb} {bytes} bytes at {at:#x}, which is not aligned to {bytes}")))
}

/// Moves what was loaded into registers.
#[inline(always)]
fn deposit<const N: usize>(warp: &mut Warp, mask: u32, v: &Values, raw: &Raw<N>) {
    if N == 4 && v.bytes == 4 && !v.wide {
        let word = |r: &[u8; N]| u32::from_le_bytes([r[0], r[1 % N], r[2 % N], r[3 % N]]);
        put(&mut warp.g.w[v.regs[0] as usize], std::array::from_fn(|i| word(&raw[i])), mask);
        return;
    }
    let n = v.bytes as usize;
    for (k, &r) in v.regs.iter().enumerate() {
        let mut out: Wide = [0; 32];
        for i in 0..32 {
            let mut bytes = [0; 8];
            bytes[..n].copy_from_slice(&raw[i][k * n..(k + 1) * n]);
            out[i] = u64::from_le_bytes(bytes);
        }
        if v.signed && v.bytes * 8 < v.bits {
            let unused = 64 - 8 * v.bytes;
            out = out.map(|x| ((x << unused) as i64 >> unused) as u64);
        }
        if v.wide {
            put(&mut warp.g.d[r as usize], out, mask);
        } else {
            let keep = if v.bits == 16 { 0xffff } else { u32::MAX };
            put(&mut warp.g.w[r as usize], out.map(|x| x as u32 & keep), mask);
        }
    }
}

/// Takes what is stored out of registers.
#[inline(always)]
fn withdraw<const N: usize>(warp: &Warp, v: &Values, raw: &mut Raw<N>) {
    let n = v.bytes as usize;
    for (k, &r) in v.regs.iter().enumerate() {
        for i in 0..32 {
            let value = if v.wide { warp.g.d[r as usize][i] } else { u64::from(warp.g.w[r as usize][i]) };
            raw[i][k * n..(k + 1) * n].copy_from_slice(&value.to_le_bytes()[..n]);
        }
    }
}
