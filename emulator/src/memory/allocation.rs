//! One allocation: its bytes, which of them were written, and which of them the present launch has touched.

use super::bits::Bits;

/// Bytes of the pages by which the record of a launch is cleared.
const PAGE: u64 = 4096;

/// One allocation.
pub struct Allocation {
    /// Device address of its first byte.
    pub base: u64,
    /// Its contents.
    pub data: Vec<u8>,
    /// Bytes that somebody wrote since it was allocated.
    pub written: Bits,
    /// Bytes whose first access in the present launch was a read, and bytes that it stored; valid in pages of its epoch.
    read: Bits,
    stored: Bits,
    epochs: Vec<u32>,
}

impl Allocation {
    /// A fresh allocation of `bytes`, all of them unwritten.
    pub fn new(base: u64, bytes: u64) -> Self {
        Allocation {
            base,
            data: vec![0; bytes as usize],
            written: Bits::new(bytes),
            read: Bits::new(bytes),
            stored: Bits::new(bytes),
            epochs: vec![0; bytes.div_ceil(PAGE) as usize],
        }
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.data.len() as u64
    }

    /// Clears the record of pages that the launch `epoch` meets for the first time.
    #[inline(always)]
    fn enter(&mut self, epoch: u32, at: u64, len: u64) {
        for page in at / PAGE..=(at + len - 1) / PAGE {
            if self.epochs[page as usize] != epoch {
                self.epochs[page as usize] = epoch;
                let from = page * PAGE;
                let n = PAGE.min(self.bytes() - from);
                self.read.remove(from, n);
                self.stored.remove(from, n);
            }
        }
    }

    /// Notes that a launch reads a range; returns how many of its bytes the launch had not touched before.
    #[inline(always)]
    pub fn note_read(&mut self, epoch: u32, at: u64, len: u64) -> u64 {
        self.enter(epoch, at, len);
        let new = self.read.count_missing_from_both(&self.stored, at, len);
        if new != 0 {
            self.read.insert(at, len);
        }
        new
    }

    /// Notes that a launch stores a range; returns how many of its bytes the launch had not stored before.
    #[inline(always)]
    pub fn note_store(&mut self, epoch: u32, at: u64, len: u64) -> u64 {
        self.enter(epoch, at, len);
        self.written.insert(at, len);
        self.stored.insert_counting(at, len)
    }

    /// Whether the launch has stored any byte of a range.
    #[inline(always)]
    pub fn stored_in(&self, epoch: u32, at: u64, len: u64) -> bool {
        (at / PAGE..=(at + len - 1) / PAGE).any(|page| {
            let (from, to) = (at.max(page * PAGE), (at + len).min((page + 1) * PAGE));
            self.epochs[page as usize] == epoch && self.stored.any(from, to - from)
        })
    }
}
