//! Device memory: allocations at addresses that are never reused, with a record of which bytes were written.

use crate::fault::{Fault, Kind};
use std::collections::BTreeMap;

/// The lowest device address; page-like, far from null and from the windows of shared and local memory.
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
    live: BTreeMap<u64, Vec<u8>>,
}

impl Memory {
    /// An empty memory that gives out `limit_bytes` at most.
    pub fn new(limit_bytes: u64) -> Self {
        Memory { limit: limit_bytes, used: 0, next: FIRST, live: BTreeMap::new() }
    }

    /// The device address of a fresh allocation of `bytes` (aligned to 256), or `None` if the limit would be passed.
    /// Its bytes count as unwritten. Addresses are not reused, so that a use after free is found.
    pub fn alloc(&mut self, bytes: u64) -> Option<u64> {
        if bytes == 0 || self.used.checked_add(bytes)? > self.limit {
            return None;
        }
        let at = self.next;
        self.next += (bytes + GUARD).next_multiple_of(ALIGN);
        self.used += bytes;
        self.live.insert(at, vec![0; bytes as usize]);
        Some(at)
    }

    /// Frees the allocation that begins at `addr`; `false` if there is none.
    pub fn free(&mut self, addr: u64) -> bool {
        let Some(data) = self.live.remove(&addr) else { return false };
        self.used -= data.len() as u64;
        true
    }

    /// Writes `bytes` at `addr`.
    ///
    /// # Errors
    /// Out of bounds.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), Fault> {
        let _ = (addr, bytes);
        Err(Fault::new(Kind::OutOfBounds, "skeleton"))
    }

    /// Reads `bytes.len()` bytes at `addr`.
    ///
    /// # Errors
    /// Out of bounds, or bytes that nobody wrote.
    pub fn read(&self, addr: u64, bytes: &mut [u8]) -> Result<(), Fault> {
        let _ = (addr, bytes);
        Err(Fault::new(Kind::OutOfBounds, "skeleton"))
    }

    /// Sets `len` bytes at `addr` to `byte`.
    ///
    /// # Errors
    /// Out of bounds.
    pub fn fill(&mut self, addr: u64, byte: u8, len: u64) -> Result<(), Fault> {
        let _ = (addr, byte, len);
        Err(Fault::new(Kind::OutOfBounds, "skeleton"))
    }

    /// Copies `len` bytes from `src` to `dst`, together with the record of which of them were written: copying bytes that
    /// nobody wrote is allowed, and the destination's bytes are then unwritten too.
    ///
    /// # Errors
    /// Out of bounds.
    pub fn copy(&mut self, dst: u64, src: u64, len: u64) -> Result<(), Fault> {
        let _ = (dst, src, len);
        Err(Fault::new(Kind::OutOfBounds, "skeleton"))
    }

    /// The limit, in bytes.
    pub fn total(&self) -> u64 {
        self.limit
    }

    /// Bytes in live allocations.
    pub fn used(&self) -> u64 {
        self.used
    }
}
