//! A model of the second-level cache, between the multiprocessors and memory.
//!
//! Lines of 128 bytes, each with four sectors of 32 bytes that are fetched one by one; 16 lines to a set, of which the one that was not
//! used for the longest time gives way. A hash of its address says to which set a line belongs. Stores fetch nothing; a written sector goes
//! to memory once, when its line gives way, and is counted when it is written. There is no first-level cache, and blocks run in the order of
//! their numbers, few at a time, where a GPU runs hundreds side by side.

/// Bytes of a sector.
const SECTOR: u64 = 32;
/// Bytes of a line.
const LINE: u64 = 128;
/// Lines of a set.
const WAYS: usize = 16;

/// The cache.
pub struct Cache {
    /// For each set its lines, the latest used first: the number of the line, then a bit for each of its sectors that was written and not yet
    /// taken to memory, and a bit for each that is there. 0 is no line.
    lines: Vec<[u64; WAYS]>,
}

/// Sectors that pass between the cache and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sectors fetched.
    pub read: u64,
    /// Sectors that will be written back.
    pub written: u64,
}

impl Cache {
    /// An empty cache of `bytes`, rounded up to whole sets.
    pub fn new(bytes: u64) -> Self {
        Cache { lines: vec![[0; WAYS]; bytes.div_ceil(LINE * WAYS as u64).max(1) as usize] }
    }

    /// Accesses a sector that holds the byte at `addr`.
    pub fn sector(&mut self, addr: u64, store: bool) -> Traffic {
        self.line(addr / LINE, 1 << (addr % LINE / SECTOR), store)
    }

    /// Accesses sectors of a line, a bit each.
    pub fn line(&mut self, line: u64, sectors: u64, store: bool) -> Traffic {
        // The high bits of a product with an odd constant depend on all bits of the line: Fibonacci hashing.
        let hash = line.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let set = (hash * self.lines.len() as u64) >> 32;
        let set = &mut self.lines[set as usize];
        let found = set.iter().position(|way| way >> 8 == line).unwrap_or(WAYS - 1);
        let way = set[found];
        set.copy_within(..found, 1);
        let (there, dirty) = if way >> 8 == line { (way & 0xf, way >> 4 & 0xf) } else { (0, 0) };
        let (read, written) = if store { (0, sectors & !dirty) } else { (sectors & !there, 0) };
        set[0] = line << 8 | (dirty | written) << 4 | there | sectors;
        Traffic { read: read.count_ones().into(), written: written.count_ones().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(cache: &mut Cache, sectors: u64, store: bool) -> Traffic {
        (0..sectors).fold(Traffic::default(), |sum, i| {
            let t = cache.sector(0x7000_0000_0000 + i * SECTOR, store);
            Traffic { read: sum.read + t.read, written: sum.written + t.written }
        })
    }

    #[test]
    fn what_fits_is_fetched_once() {
        let mut cache = Cache::new(1 << 20);
        let half = (1 << 19) / SECTOR;
        assert_eq!(pass(&mut cache, half, false), Traffic { read: half, written: 0 });
        // A hash does not fill all sets alike.
        assert!(pass(&mut cache, half, false).read < half / 50);
        assert_eq!(pass(&mut cache, half, true), Traffic { read: 0, written: half });
        assert_eq!(pass(&mut cache, 100, true), Traffic::default(), "written already");
    }

    #[test]
    fn what_does_not_fit_is_fetched_again() {
        let mut cache = Cache::new(1 << 20);
        let twice = (1 << 21) / SECTOR;
        pass(&mut cache, twice, false);
        // The least recently used line is always the one that comes next.
        assert!(pass(&mut cache, twice, false).read > twice * 9 / 10);
        let first = pass(&mut cache, twice, true).written;
        assert_eq!(first, twice);
        assert!(pass(&mut cache, twice, true).written > twice * 9 / 10, "written back, and written again");
    }

    #[test]
    fn a_store_brings_its_sector_and_no_other() {
        let mut cache = Cache::new(1 << 20);
        assert_eq!(cache.sector(4096, true), Traffic { read: 0, written: 1 });
        assert_eq!(cache.sector(4100, false), Traffic::default());
        assert_eq!(cache.sector(4128, false), Traffic { read: 1, written: 0 });
    }
}
