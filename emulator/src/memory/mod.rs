//! Device memory: allocations at addresses that are never reused, with a record of which bytes were written.

mod allocation;
mod bits;
mod cache;

use crate::fault::{Fault, Kind};
pub use allocation::Allocation;
pub use bits::Bits;
pub use cache::{Cache, Traffic};

/// The lowest device address; far from null and from the windows of shared and local memory.
const FIRST: u64 = 0x7000_0000_0000;
/// Alignment of every allocation, in bytes.
const ALIGN: u64 = 256;
/// Bytes between two allocations that belong to neither.
const GUARD: u64 = 4096;

/// The device's memory.
pub struct Memory {
    limit: u64,
    used: u64,
    next: u64,
    /// Ascending addresses.
    live: Vec<Allocation>,
    /// Where the last look-up ended: accesses mostly stay in one allocation.
    recent: usize,
    /// Base and bytes of freed allocations, for messages.
    freed: Vec<(u64, u64)>,
    /// Number of the present launch.
    epoch: u32,
    /// Whether bytes count as written from the beginning.
    written: bool,
    /// The second-level cache, where it is modelled.
    pub cache: Option<Cache>,
}

impl Memory {
    /// An empty memory that gives out `limit_bytes` at most.
    pub fn new(limit_bytes: u64) -> Self {
        Memory {
            limit: limit_bytes,
            used: 0,
            next: FIRST,
            live: Vec::new(),
            recent: 0,
            freed: Vec::new(),
            epoch: 0,
            written: false,
            cache: None,
        }
    }

    /// The device address of a fresh allocation of `bytes` (aligned to 256), or `None` if the limit would be passed.
    /// Its bytes count as unwritten. Addresses are not reused, so that a use after free is found.
    pub fn alloc(&mut self, bytes: u64) -> Option<u64> {
        if bytes == 0 || self.used.checked_add(bytes)? > self.limit {
            return None;
        }
        let base = self.next;
        self.next += (bytes + GUARD).next_multiple_of(ALIGN);
        self.used += bytes;
        let mut fresh = Allocation::new(base, bytes);
        if self.written {
            fresh.written.insert(0, bytes);
        }
        self.live.push(fresh);
        Some(base)
    }

    /// From now on bytes that nobody wrote count as zeros that somebody wrote, also those of later allocations; or, if not
    /// `written`, those of later allocations no more.
    pub fn assume_written(&mut self, written: bool) {
        self.written = written;
        if written {
            self.live.iter_mut().for_each(|a| a.written.insert(0, a.bytes()));
        }
    }

    /// Frees the allocation that begins at `addr`; `false` if there is none.
    pub fn free(&mut self, addr: u64) -> bool {
        let Ok(i) = self.live.binary_search_by_key(&addr, |a| a.base) else { return false };
        let gone = self.live.remove(i);
        self.used -= gone.bytes();
        self.freed.push((gone.base, gone.bytes()));
        true
    }

    /// Writes `bytes` at `addr`.
    ///
    /// # Errors
    /// Out of bounds.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), Fault> {
        let len = bytes.len() as u64;
        let Some((i, at)) = self.host_range(addr, len, "writes")? else { return Ok(()) };
        let a = &mut self.live[i];
        a.data[at as usize..(at + len) as usize].copy_from_slice(bytes);
        a.written.insert(at, len);
        Ok(())
    }

    /// Reads `bytes.len()` bytes at `addr`.
    ///
    /// # Errors
    /// Out of bounds, or bytes that nobody wrote.
    pub fn read(&self, addr: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let len = bytes.len() as u64;
        let Some((i, at)) = self.host_range(addr, len, "reads")? else { return Ok(()) };
        let a = &self.live[i];
        if let Some(missing) = a.written.first_missing(at, len) {
            return Err(Fault::new(Kind::Unwritten, format!("a host copy {}", unwritten(a, at, len, missing))));
        }
        bytes.copy_from_slice(&a.data[at as usize..(at + len) as usize]);
        Ok(())
    }

    /// Sets `len` bytes at `addr` to `byte`.
    ///
    /// # Errors
    /// Out of bounds.
    pub fn fill(&mut self, addr: u64, byte: u8, len: u64) -> Result<(), Fault> {
        let Some((i, at)) = self.host_range(addr, len, "sets")? else { return Ok(()) };
        let a = &mut self.live[i];
        a.data[at as usize..(at + len) as usize].fill(byte);
        a.written.insert(at, len);
        Ok(())
    }

    /// Copies `len` bytes from `src` to `dst`, together with the record of which of them were written: copying bytes that
    /// nobody wrote is allowed, and the destination's bytes are then unwritten too.
    ///
    /// # Errors
    /// Out of bounds.
    pub fn copy(&mut self, dst: u64, src: u64, len: u64) -> Result<(), Fault> {
        let Some((i, from)) = self.host_range(src, len, "reads")? else { return Ok(()) };
        let Some((j, to)) = self.host_range(dst, len, "writes")? else { return Ok(()) };
        let a = &self.live[i];
        let bytes = a.data[from as usize..(from + len) as usize].to_vec();
        let missing: Vec<u64> = match a.written.first_missing(from, len) {
            None => Vec::new(),
            Some(first) => (first..from + len).filter(|&k| a.written.first_missing(k, 1).is_some()).collect(),
        };
        let b = &mut self.live[j];
        b.data[to as usize..(to + len) as usize].copy_from_slice(&bytes);
        b.written.insert(to, len);
        for k in missing {
            b.written.remove(k - from + to, 1);
        }
        Ok(())
    }

    /// The limit, in bytes.
    pub fn total(&self) -> u64 {
        self.limit
    }

    /// Bytes in live allocations.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Begins the record of a launch.
    pub(crate) fn begin_launch(&mut self) -> u32 {
        self.epoch += 1;
        self.epoch
    }

    /// The allocation that holds all of `addr..addr + len`, and the offset in it.
    #[inline(always)]
    pub(crate) fn find(&mut self, addr: u64, len: u64) -> Option<(&mut Allocation, u64)> {
        let holds = |a: &Allocation| addr >= a.base && addr - a.base + len <= a.bytes();
        if !self.live.get(self.recent).is_some_and(holds) {
            self.recent = self.live.partition_point(|a| a.base <= addr).checked_sub(1)?;
            if !holds(&self.live[self.recent]) {
                return None;
            }
        }
        let a = &mut self.live[self.recent];
        let at = addr - a.base;
        Some((a, at))
    }

    /// Index and offset of a host access; `None` if it is empty.
    fn host_range(&self, addr: u64, len: u64, verb: &str) -> Result<Option<(usize, u64)>, Fault> {
        if len == 0 {
            return Ok(None);
        }
        let found = self.live.partition_point(|a| a.base <= addr).checked_sub(1).map(|i| (i, addr - self.live[i].base));
        match found {
            Some((i, at)) if at.checked_add(len).is_some_and(|end| end <= self.live[i].bytes()) => Ok(Some((i, at))),
            _ => Err(Fault::new(
                Kind::OutOfBounds,
                format!("a host copy {verb} {len} bytes at {addr:#x}: {}", self.nearest(addr)),
            )),
        }
    }

    /// A clause that says where `addr` lies.
    pub(crate) fn nearest(&self, addr: u64) -> String {
        if let Some((base, bytes)) = self.freed.iter().find(|(base, bytes)| addr >= *base && addr - base < *bytes) {
            return format!("byte {} of an allocation of {bytes} bytes at {base:#x} that was freed", addr - base);
        }
        let distance = |a: &Allocation| {
            if addr < a.base { a.base - addr } else { addr - a.base.max(addr.min(a.base + a.bytes())) }
        };
        match self.live.iter().min_by_key(|a| distance(a)) {
            None => "nothing is allocated".into(),
            Some(a) if addr < a.base => {
                format!("{} bytes before the nearest allocation, {} bytes at {:#x}", a.base - addr, a.bytes(), a.base)
            }
            Some(a) if addr - a.base < a.bytes() => {
                format!("byte {} of an allocation of only {} bytes at {:#x}", addr - a.base, a.bytes(), a.base)
            }
            Some(a) => {
                let past = addr - a.base - a.bytes();
                format!("{past} bytes past the end of the nearest allocation, {} bytes at {:#x}", a.bytes(), a.base)
            }
        }
    }
}

/// A clause about a read of unwritten bytes.
pub(crate) fn unwritten(a: &Allocation, at: u64, len: u64, missing: u64) -> String {
    format!(
        "reads {len} bytes at byte {at} of an allocation of {} bytes at {:#x}, but nobody has written byte {missing} of it",
        a.bytes(),
        a.base
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_writes_are_exact() {
        let mut m = Memory::new(1 << 20);
        let a = m.alloc(300).unwrap();
        m.write(a + 3, &[7; 70]).unwrap();
        let mut out = [0; 70];
        m.read(a + 3, &mut out).unwrap();
        assert_eq!(out, [7; 70]);
        for (at, len) in [(2, 2), (72, 2), (0, 300)] {
            assert_eq!(m.read(a + at, &mut vec![0; len]).unwrap_err().kind, Kind::Unwritten, "{at} {len}");
        }
        m.fill(a, 1, 300).unwrap();
        m.read(a, &mut [0; 300]).unwrap();
    }

    #[test]
    fn bounds_and_use_after_free() {
        let mut m = Memory::new(1000);
        let a = m.alloc(100).unwrap();
        assert_eq!(a % 256, 0);
        assert!(m.alloc(901).is_none());
        let fault = m.write(a + 97, &[0; 4]).unwrap_err();
        assert_eq!(fault.kind, Kind::OutOfBounds);
        assert!(fault.message.contains("byte 97 of an allocation of only 100 bytes"), "{fault}");
        assert!(m.write(a + 101, &[0]).unwrap_err().message.contains("1 bytes past the end"));
        // Neighbours are apart: what runs over the end of one does not reach the next.
        let [left, right] = [256, 256].map(|n| m.alloc(n).unwrap());
        assert!(right > left + 256);
        assert_eq!(m.write(left + 256, &[0]).unwrap_err().kind, Kind::OutOfBounds);
        assert!(m.free(left) && m.free(right));
        assert!(m.free(a) && !m.free(a));
        assert!(m.write(a, &[0]).unwrap_err().message.contains("was freed"));
        assert!(m.alloc(1000).unwrap() > a);
        assert_eq!((m.total(), m.used()), (1000, 1000));
    }

    #[test]
    fn a_launch_counts_distinct_bytes() {
        let mut m = Memory::new(1 << 20);
        let base = m.alloc(10_000).unwrap();
        for _ in 0..2 {
            let epoch = m.begin_launch();
            let (a, at) = m.find(base + 4090, 16).unwrap();
            assert_eq!(a.note_store(epoch, at, 16), 16);
            assert_eq!(a.note_store(epoch, at + 8, 16), 8);
            assert_eq!(a.note_read(epoch, at - 8, 16), 8);
            assert_eq!(a.note_read(epoch, at - 8, 16), 0);
            assert!(a.stored_in(epoch, at + 20, 8) && !a.stored_in(epoch, at - 8, 8));
        }
    }
}
