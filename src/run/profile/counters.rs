//! What kernels did, as the emulated driver counts it, and what they would do with another batch.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::base::{Error, Result};

/// Counts of one kernel in one update: see `emulator/src/counters.rs`. They are not whole where they are extrapolated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct Counters {
    /// Launches.
    pub launches: f64,
    /// Blocks of their grids.
    pub blocks: f64,
    /// Instructions, counted once a warp.
    pub warp_instructions: f64,
    /// Instructions, counted once for every active lane.
    pub lane_instructions: f64,
    /// Bytes that lanes load from global memory.
    pub global_load_bytes: f64,
    /// Bytes that lanes store to global memory.
    pub global_store_bytes: f64,
    /// Warp-wide global accesses.
    pub global_requests: f64,
    /// Sectors of 32 bytes that these requests touch.
    pub global_sectors: f64,
    /// Sectors that they would touch if their distinct bytes were contiguous and aligned.
    pub ideal_sectors: f64,
    /// Warp-wide shared accesses.
    pub shared_accesses: f64,
    /// Passes that bank conflicts add to them.
    pub bank_conflicts: f64,
    /// Branches at which the active lanes of a warp part.
    pub divergent_branches: f64,
    /// Tensor-core instructions.
    pub mma: f64,
    /// Distinct bytes whose first access in a launch is a read.
    pub minimal_read_bytes: f64,
    /// Distinct bytes that a launch writes.
    pub minimal_written_bytes: f64,
}

/// Counts by the name of the kernel.
pub type Counts = BTreeMap<String, Counters>;

/// Reads the JSON of [`Emulator::counters`](crate::device::cuda::Emulator::counters).
///
/// # Errors
/// The emulated driver is of another version than this program.
pub fn parse(json: &str) -> Result<Counts> {
    serde_json::from_str(json).map_err(|error| {
        Error::new(format!(
            "the emulated driver's counters cannot be read: {error}. Build it from this checkout (make emulator)."
        ))
    })
}

impl Counters {
    /// Bytes that move between memory and multiprocessors: whole sectors, however many of their bytes are asked for.
    pub fn moved_bytes(&self) -> f64 {
        32.0 * self.global_sectors
    }

    /// Distinct bytes of each launch, read or written.
    pub fn distinct_bytes(&self) -> f64 {
        self.minimal_read_bytes + self.minimal_written_bytes
    }

    /// Each count by `f` of this one's and the other's.
    fn zip(&self, other: &Counters, f: impl Fn(f64, f64) -> f64) -> Counters {
        macro_rules! each {
            ($($field:ident)*) => { Counters { $($field: f(self.$field, other.$field)),* } };
        }
        each!(
            launches blocks warp_instructions lane_instructions global_load_bytes global_store_bytes global_requests
            global_sectors ideal_sectors shared_accesses bank_conflicts divergent_branches mma minimal_read_bytes
            minimal_written_bytes
        )
    }

    /// Sums.
    pub fn add(&self, other: &Counters) -> Counters {
        self.zip(other, |a, b| a + b)
    }
}

/// What batches of two sizes say about a third: every count as a line through its two points.
pub fn extrapolate(few: (usize, &Counts), more: (usize, &Counts), batch: usize) -> Counts {
    let along = (batch - few.0) as f64 / (more.0 - few.0) as f64;
    let none = Counters::default();
    let names = few.1.keys().chain(more.1.keys());
    let line = |name: &String| {
        let [few, more] = [few.1, more.1].map(|counts| counts.get(name).unwrap_or(&none));
        few.zip(more, |few, more| (few + along * (more - few)).max(0.0))
    };
    names.map(|name| (name.clone(), line(name))).collect()
}

/// Rows of one tile of a matrix product.
const TILE: usize = 64;

/// Two batches of up to `most` rows from which the number of tiles of the largest product, over `batch` times `length` rows, extrapolates best;
/// of equal ones the smallest. `None` if there are no two.
pub fn batches(batch: usize, length: usize, most: usize) -> Option<(usize, usize)> {
    let tiles = |batch: usize| (batch * length).div_ceil(TILE) as f64;
    let miss = |few: usize, more: usize| {
        let slope = (tiles(more) - tiles(few)) / (more - few) as f64;
        (tiles(few) + slope * (batch - few) as f64 - tiles(batch)).abs()
    };
    let pairs = (2..=most).flat_map(|more| (1..more).map(move |few| (few, more)));
    pairs.min_by(|a, b| miss(a.0, a.1).total_cmp(&miss(b.0, b.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_extrapolate_where_they_can() {
        // 32 rows a batch: two of them are a tile.
        assert_eq!(batches(32, 32, 6), Some((2, 4)));
        // 50 rows a batch, 40 tiles: 1 and 5 say 37.75, every other pair up to 5 is further off.
        assert_eq!(batches(50, 50, 5), Some((1, 5)));
        assert_eq!(batches(50, 50, 2), Some((1, 2)));
        assert_eq!(batches(50, 50, 1), None);
    }

    #[test]
    fn a_count_is_a_constant_and_a_share_of_the_batch() {
        let at = |batch: f64| -> Counts {
            let counters = Counters { launches: 7.0, lane_instructions: 100.0 + 3.0 * batch, ..Counters::default() };
            BTreeMap::from([("k".to_string(), counters)])
        };
        assert_eq!(extrapolate((1, &at(1.0)), (5, &at(5.0)), 50), at(50.0));
    }
}
