//! What kernels did, as the emulated driver counts it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::base::{Error, Result};

/// Counts of one kernel in one update: see `emulator/src/counters.rs`.
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
    /// Bytes that the second-level cache fetches from memory.
    pub memory_read_bytes: f64,
    /// Bytes that it writes back.
    pub memory_written_bytes: f64,
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
    /// Bytes that move between the second-level cache and multiprocessors: whole sectors, however many of their bytes are asked for.
    pub fn moved_bytes(&self) -> f64 {
        32.0 * self.global_sectors
    }

    /// Bytes that move between memory and the second-level cache, by the emulated driver's model of it.
    pub fn memory_bytes(&self) -> f64 {
        self.memory_read_bytes + self.memory_written_bytes
    }

    /// Distinct bytes of each launch, read or written.
    pub fn distinct_bytes(&self) -> f64 {
        self.minimal_read_bytes + self.minimal_written_bytes
    }

    /// Sums.
    pub fn add(&self, other: &Counters) -> Counters {
        macro_rules! each {
            ($($field:ident)*) => { Counters { $($field: self.$field + other.$field),* } };
        }
        each!(
            launches blocks warp_instructions lane_instructions global_load_bytes global_store_bytes global_requests
            global_sectors ideal_sectors shared_accesses bank_conflicts divergent_branches mma minimal_read_bytes
            minimal_written_bytes memory_read_bytes memory_written_bytes
        )
    }
}
