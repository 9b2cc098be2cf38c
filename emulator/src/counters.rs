//! What a kernel's launches cost, in the terms of a profiler.

/// Counts of one kernel, summed over its launches. A driver keeps one per kernel name.
///
/// Bytes are those that lanes ask for; a *request* is one warp-wide global access; a *sector* is an aligned piece of 32
/// bytes, the unit in which a GPU moves global memory. `sectors / ideal_sectors` is 1 where accesses are coalesced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Launches.
    pub launches: u64,
    /// Blocks of their grids.
    pub blocks: u64,
    /// Instructions, counted once a warp.
    pub warp_instructions: u64,
    /// Instructions, counted once for every active lane.
    pub lane_instructions: u64,
    /// Bytes that lanes load from global memory.
    pub global_load_bytes: u64,
    /// Bytes that lanes store to global memory.
    pub global_store_bytes: u64,
    /// Warp-wide global accesses.
    pub global_requests: u64,
    /// Sectors that these requests touch.
    pub global_sectors: u64,
    /// Sectors that the same requests would touch if their distinct bytes were contiguous and aligned.
    pub ideal_sectors: u64,
    /// Warp-wide shared accesses.
    pub shared_accesses: u64,
    /// Passes that bank conflicts add to the shared accesses.
    pub bank_conflicts: u64,
    /// Branches at which the active lanes of a warp part.
    pub divergent_branches: u64,
    /// Tensor-core instructions (`mma.sync`).
    pub mma: u64,
    /// Arrivals of warps at block barriers.
    pub barriers: u64,
    /// Atomic operations, counted once for every active lane.
    pub atomics: u64,
    /// Distinct bytes whose first access in a launch is a read, summed over launches: what DRAM must deliver at least.
    pub minimal_read_bytes: u64,
    /// Distinct bytes that a launch writes, summed over launches: what DRAM must take at least.
    pub minimal_written_bytes: u64,
    /// Bytes that the second-level cache fetches from memory for these launches: 0 without a model of it (`memory::Cache`).
    pub memory_read_bytes: u64,
    /// Bytes that it has to write back for them.
    pub memory_written_bytes: u64,
}

impl Counters {
    /// What `blocks` blocks cost, if `of` of them cost this: launches and blocks stay.
    pub fn scale(&mut self, blocks: u64, of: u64) {
        // Every field is named once, so that one that is added here is not forgotten: the compiler asks for it.
        let Counters {
            launches: _,
            blocks: _,
            warp_instructions,
            lane_instructions,
            global_load_bytes,
            global_store_bytes,
            global_requests,
            global_sectors,
            ideal_sectors,
            shared_accesses,
            bank_conflicts,
            divergent_branches,
            mma,
            barriers,
            atomics,
            minimal_read_bytes,
            minimal_written_bytes,
            memory_read_bytes,
            memory_written_bytes,
        } = self;
        let counts = [
            warp_instructions,
            lane_instructions,
            global_load_bytes,
            global_store_bytes,
            global_requests,
            global_sectors,
            ideal_sectors,
            shared_accesses,
            bank_conflicts,
            divergent_branches,
            mma,
            barriers,
            atomics,
            minimal_read_bytes,
            minimal_written_bytes,
            memory_read_bytes,
            memory_written_bytes,
        ];
        counts.into_iter().for_each(|count| *count = (u128::from(*count) * u128::from(blocks) / u128::from(of)) as u64);
    }

    /// Takes over what `other` says of global memory.
    pub fn take_memory(&mut self, other: &Counters) {
        *self = Counters {
            launches: self.launches,
            blocks: self.blocks,
            warp_instructions: self.warp_instructions,
            lane_instructions: self.lane_instructions,
            shared_accesses: self.shared_accesses,
            bank_conflicts: self.bank_conflicts,
            divergent_branches: self.divergent_branches,
            mma: self.mma,
            barriers: self.barriers,
            ..*other
        };
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Counters) {
        self.launches += other.launches;
        self.blocks += other.blocks;
        self.warp_instructions += other.warp_instructions;
        self.lane_instructions += other.lane_instructions;
        self.global_load_bytes += other.global_load_bytes;
        self.global_store_bytes += other.global_store_bytes;
        self.global_requests += other.global_requests;
        self.global_sectors += other.global_sectors;
        self.ideal_sectors += other.ideal_sectors;
        self.shared_accesses += other.shared_accesses;
        self.bank_conflicts += other.bank_conflicts;
        self.divergent_branches += other.divergent_branches;
        self.mma += other.mma;
        self.barriers += other.barriers;
        self.atomics += other.atomics;
        self.minimal_read_bytes += other.minimal_read_bytes;
        self.minimal_written_bytes += other.minimal_written_bytes;
        self.memory_read_bytes += other.memory_read_bytes;
        self.memory_written_bytes += other.memory_written_bytes;
    }
}
