//! Shared memory of a block, and the check for races in it.
//!
//! Every granule (the narrowest access of the kernel, 1 to 4 bytes) remembers who wrote it last and up to two warps that read
//! it since, each with that warp's clock. A warp's clock ticks whenever its lanes synchronise; a barrier tells every warp the
//! clocks of the others (vector clocks, as in FastTrack, Flanagan and Freund 2009). Two accesses are ordered if the later one
//! comes from a warp that knows the earlier one's clock; if not, and one of them writes, that is a race. Lanes of one warp
//! are ordered by `bar.warp.sync` and, since they cannot pass them alone, by shuffles, votes and the other `.sync` functions,
//! but not by running in step: hardware does not promise that.

use crate::fault::{Fault, Kind};

/// No thread.
const NOBODY: u16 = 0xffff;
/// Marks a write by an atomic or otherwise synchronising instruction: those do not race with each other.
const SYNCHRONISING: u16 = 0x4000;
/// Marks a reader that stands for several lanes of its warp.
const SEVERAL: u16 = 0x8000;
/// The thread in a record.
const THREAD: u16 = 0x3ff;

#[derive(Clone, Copy)]
struct Granule {
    writer: u16,
    readers: [u16; 2],
    /// The thread whose asynchronous copy is under way.
    copier: u16,
    written_at: u32,
    read_at: [u32; 2],
}

const FRESH: Granule = Granule { writer: NOBODY, readers: [NOBODY; 2], copier: NOBODY, written_at: 0, read_at: [0; 2] };

/// What an access is, for the check.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Plain.
    Plain,
    /// Atomic, volatile or ordered.
    Synchronising,
}

/// Shared memory of one block.
pub struct Shared {
    /// Contents.
    pub data: Vec<u8>,
    granules: Vec<Granule>,
    /// A granule has 2^shift bytes.
    shift: u32,
    /// `known[v][w]`: the latest clock of warp `w` that warp `v` knows; `known[v][v]` is its own clock.
    known: Vec<[u32; 32]>,
}

impl Shared {
    /// Memory that nobody has written.
    pub fn new(bytes: usize, width: u32, warps: usize) -> Self {
        let shift = width.trailing_zeros();
        let mut shared = Shared {
            data: vec![0; bytes],
            granules: vec![FRESH; (bytes >> shift) + 1],
            shift,
            known: vec![[0; 32]; warps],
        };
        shared.reset();
        shared
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.granules.fill(FRESH);
        for (v, known) in self.known.iter_mut().enumerate() {
            *known = [0; 32];
            known[v] = 1;
        }
    }

    /// The lanes of a warp have synchronised.
    #[inline(always)]
    pub fn tick(&mut self, warp: usize) {
        self.known[warp][warp] += 1;
    }

    /// These warps have met at a barrier.
    pub fn meet(&mut self, warps: &[usize]) {
        let joined: [u32; 32] = std::array::from_fn(|w| warps.iter().map(|&v| self.known[v][w]).max().unwrap_or(0));
        for &v in warps {
            let clock = self.known[v][v];
            self.known[v] = joined;
            self.known[v][v] = clock + 1;
        }
    }

    /// Whether what `thread` did at `clock` is ordered before what lane `me` of `warp` does now.
    #[inline(always)]
    fn ordered(&self, record: u16, clock: u32, warp: usize, me: u16) -> bool {
        let thread = record & THREAD;
        let other = usize::from(thread >> 5);
        if other == warp {
            (thread == me && record & SEVERAL == 0) || clock < self.known[warp][warp]
        } else {
            clock <= self.known[warp][other]
        }
    }

    #[inline(always)]
    fn span(&self, at: usize, len: usize) -> std::ops::RangeInclusive<usize> {
        at >> self.shift..=(at + len - 1) >> self.shift
    }

    /// Bounds and alignment of an access.
    #[inline(always)]
    fn check_range(&self, at: u64, len: usize, verb: &str) -> Result<usize, Fault> {
        let size = self.data.len() as u64;
        if at & (len as u64 - 1) == 0 && at < size && len as u64 <= size - at {
            return Ok(at as usize);
        }
        Err(if at.saturating_add(len as u64) > size {
            Fault::new(
                Kind::OutOfBounds,
                format!("{verb} {len} bytes at byte {at} of the block's {size} bytes of shared memory"),
            )
        } else {
            Fault::new(
                Kind::Misaligned,
                format!("{verb} {len} bytes at byte {at} of shared memory, which is not aligned to {len}"),
            )
        })
    }

    /// Checks and notes a read by lane `lane` of `warp`; `several` if it stands for more lanes that read the same bytes.
    /// Returns where the bytes are.
    #[inline(always)]
    pub fn read(
        &mut self,
        warp: usize,
        lane: usize,
        at: u64,
        len: usize,
        access: Access,
        several: bool,
    ) -> Result<usize, Fault> {
        let at = self.check_range(at, len, "reads")?;
        let me = (warp * 32 + lane) as u16;
        let clock = self.known[warp][warp];
        let mine = if several { me | SEVERAL } else { me };
        for i in self.span(at, len) {
            let (known, g) = (&self.known[warp], &self.granules[i]);
            // What a plain write left, and this lane knows of.
            let own = usize::from(g.writer >> 5) == warp && g.writer != me;
            let plain = g.writer & (SYNCHRONISING | SEVERAL) == 0 && g.copier == NOBODY;
            let ordered = plain && g.written_at <= known[usize::from(g.writer >> 5 & 31)] - u32::from(own);
            if !ordered || access == Access::Synchronising {
                self.check_read(i, warp, me, at, len, access)?;
            }
            if access == Access::Synchronising {
                continue;
            }
            let known = &self.known[warp];
            let g = &mut self.granules[i];
            for slot in 0..2 {
                let (reader, when) = (g.readers[slot], g.read_at[slot]);
                let other = usize::from((reader & THREAD) >> 5);
                let record = if reader == NOBODY {
                    mine
                } else if other == warp {
                    if when < clock || reader == mine { mine } else { reader | SEVERAL }
                } else if when <= known[other] {
                    mine
                } else {
                    // A read by another warp at the same time: the next record is free for this one, or two are enough.
                    continue;
                };
                (g.readers[slot], g.read_at[slot]) = (record, clock);
                break;
            }
        }
        Ok(at)
    }

    /// The check of a read of granule `i` in full.
    fn check_read(&self, i: usize, warp: usize, me: u16, at: usize, len: usize, access: Access) -> Result<(), Fault> {
        let g = &self.granules[i];
        if g.copier != NOBODY {
            return Err(self.pending(i, "reads", len, at));
        }
        if g.writer == NOBODY {
            let message = format!(
                "reads {len} bytes at byte {at} of shared memory, but nobody has written byte {}",
                i << self.shift
            );
            return Err(Fault::new(Kind::Unwritten, message));
        }
        let both = g.writer & SYNCHRONISING != 0 && access == Access::Synchronising;
        if !both && !self.ordered(g.writer, g.written_at, warp, me) {
            return Err(self.race(i, "reads", len, at, g.writer, "wrote"));
        }
        Ok(())
    }

    /// Checks and does a write of `bytes` by lane `lane` of `warp`. Two unordered writes of the same bytes are no race.
    #[inline(always)]
    pub fn write(&mut self, warp: usize, lane: usize, at: u64, bytes: &[u8], access: Access) -> Result<(), Fault> {
        let len = bytes.len();
        let at = self.check_range(at, len, "writes")?;
        let me = (warp * 32 + lane) as u16;
        let clock = self.known[warp][warp];
        for i in self.span(at, len) {
            if self.granules[i].copier != NOBODY {
                return Err(self.pending(i, "writes", len, at));
            }
            self.check_write(i, warp, me, at, len, Some(bytes), access)?;
            let writer = if access == Access::Synchronising { me | SYNCHRONISING } else { me };
            self.granules[i] = Granule { writer, written_at: clock, ..FRESH };
        }
        self.data[at..at + len].copy_from_slice(bytes);
        Ok(())
    }

    #[inline(always)]
    fn check_write(
        &self,
        i: usize,
        warp: usize,
        me: u16,
        at: usize,
        len: usize,
        bytes: Option<&[u8]>,
        access: Access,
    ) -> Result<(), Fault> {
        let g = &self.granules[i];
        if g.writer != NOBODY && !self.ordered(g.writer, g.written_at, warp, me) {
            let both = g.writer & SYNCHRONISING != 0 && access == Access::Synchronising;
            let same = bytes.is_some_and(|b| self.data[at..at + len] == *b);
            if !both && !same {
                return Err(self.race(i, "writes", len, at, g.writer, "wrote"));
            }
        }
        for slot in 0..2 {
            if g.readers[slot] != NOBODY && !self.ordered(g.readers[slot], g.read_at[slot], warp, me) {
                return Err(self.race(i, "writes", len, at, g.readers[slot], "read"));
            }
        }
        Ok(())
    }

    /// An asynchronous copy to these bytes begins: it may land at any time from now on. Returns where the bytes are.
    pub fn begin_copy(&mut self, warp: usize, lane: usize, at: u64, len: usize) -> Result<usize, Fault> {
        let at = self.check_range(at, len, "copies to")?;
        let me = (warp * 32 + lane) as u16;
        for i in self.span(at, len) {
            if self.granules[i].copier != NOBODY {
                return Err(self.pending(i, "copies to", len, at));
            }
            self.check_write(i, warp, me, at, len, None, Access::Plain)?;
            self.granules[i].copier = me;
        }
        Ok(at)
    }

    /// The copying thread has waited: the bytes are there, as if it had written them now.
    pub fn end_copy(&mut self, warp: usize, lane: usize, at: usize, bytes: &[u8]) {
        let (writer, clock) = ((warp * 32 + lane) as u16, self.known[warp][warp]);
        for i in self.span(at, bytes.len()) {
            self.granules[i] = Granule { writer, written_at: clock, ..FRESH };
        }
        self.data[at..at + bytes.len()].copy_from_slice(bytes);
    }

    #[cold]
    fn pending(&self, granule: usize, verb: &str, len: usize, at: usize) -> Fault {
        let thread = self.granules[granule].copier;
        let message = format!(
            "{verb} {len} bytes at byte {at} of shared memory, to which thread {thread} has a cp.async under way that it has not waited for"
        );
        Fault::new(Kind::AsyncCopy, message)
    }

    #[cold]
    fn race(&self, granule: usize, verb: &str, len: usize, at: usize, other: u16, did: &str) -> Fault {
        let message = format!(
            "{verb} {len} bytes at byte {at} of shared memory; thread {} {did} byte {} of it, and no barrier stands between them",
            other & THREAD,
            granule << self.shift
        );
        Fault::new(Kind::Race, message)
    }
}

/// Passes that bank conflicts add to an access of `len` bytes at each of these addresses: 32 banks of 4 bytes, wider accesses
/// in as many phases as it takes to move 128 bytes each.
#[inline(always)]
pub fn extra_passes(at: &[u64; 32], mask: u32, len: usize) -> u64 {
    // Words within one row of the banks never conflict.
    let row = at[mask.trailing_zeros() as usize] / 128;
    let mut one_row = len <= 4;
    for i in 0..32 {
        one_row &= mask >> i & 1 == 0 || at[i] / 128 == row;
    }
    if one_row { 0 } else { count_passes(at, mask, len) }
}

fn count_passes(at: &[u64; 32], mask: u32, len: usize) -> u64 {
    let lanes_per_phase = if len <= 4 { 32 } else { 128 / len };
    let mut extra = 0;
    for phase in 0..32 / lanes_per_phase {
        // The distinct words of each bank: the first in a table, more of them in a list.
        let (mut first, mut count, mut more) = ([u64::MAX; 32], [0u32; 32], Vec::new());
        for lane in phase * lanes_per_phase..(phase + 1) * lanes_per_phase {
            if mask >> lane & 1 == 0 {
                continue;
            }
            for k in 0..len.div_ceil(4) as u64 {
                let word = at[lane] / 4 + k;
                let bank = (word % 32) as usize;
                if first[bank] == word || (count[bank] > 1 && more.contains(&word)) {
                    continue;
                }
                if count[bank] == 0 {
                    first[bank] = word;
                } else {
                    more.push(word);
                }
                count[bank] += 1;
            }
        }
        extra += u64::from(count.iter().max().copied().unwrap_or(0).saturating_sub(1));
    }
    extra
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bank_conflicts_are_counted() {
        let at = |f: fn(u64) -> u64| std::array::from_fn(|i| f(i as u64));
        for (name, addresses, len, want) in [
            ("a row", at(|i| 4 * i), 4, 0),
            ("one word", at(|_| 64), 4, 0),
            ("a column of 32", at(|i| 128 * i), 4, 31),
            ("a padded column", at(|i| 132 * i), 4, 0),
            ("every second word", at(|i| 8 * i), 4, 1),
            ("two bytes each", at(|i| 2 * i), 2, 0),
            ("sixteen bytes each", at(|i| 16 * i), 16, 0),
            ("eight rows of 64 bytes", at(|i| 64 * i), 16, 4 * 3),
        ] {
            assert_eq!(extra_passes(&addresses, u32::MAX, len), want, "{name}");
        }
    }

    #[test]
    fn orders_of_two_warps() {
        let mut s = Shared::new(64, 4, 2);
        s.write(0, 0, 0, &[1; 4], Access::Plain).unwrap();
        assert_eq!(s.read(0, 1, 0, 4, Access::Plain, false).unwrap_err().kind, Kind::Race);
        s.tick(0);
        s.read(0, 1, 0, 4, Access::Plain, false).unwrap();
        assert_eq!(s.read(1, 0, 0, 4, Access::Plain, false).unwrap_err().kind, Kind::Race);
        s.meet(&[0, 1]);
        s.read(1, 0, 0, 4, Access::Plain, false).unwrap();
        s.read(0, 0, 0, 4, Access::Plain, false).unwrap();
        // Both warps have read: neither may write.
        for warp in 0..2 {
            assert_eq!(s.write(warp, 0, 0, &[2; 4], Access::Plain).unwrap_err().kind, Kind::Race, "{warp}");
        }
        s.meet(&[0, 1]);
        s.write(1, 0, 0, &[2; 4], Access::Plain).unwrap();
        assert_eq!(s.read(0, 0, 4, 4, Access::Plain, false).unwrap_err().kind, Kind::Unwritten);
    }
}
