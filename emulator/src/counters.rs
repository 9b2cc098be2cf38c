//! What a kernel's launches cost, in the terms of a profiler.

/// The struct of all counters, and lists of them, so that what is done to each of them is said once.
macro_rules! counters {
    ($(#[$of_all:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)* }) => {
        $(#[$of_all])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl $name {
            /// All counts with their names.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field)),*].into_iter()
            }

            fn each_mut(&mut self) -> impl Iterator<Item = &mut u64> {
                [$(&mut self.$field),*].into_iter()
            }
        }
    };
}

counters! {
    /// Counts of one kernel, summed over its launches. A driver keeps one per kernel name.
    ///
    /// Bytes are those that lanes ask for; a *request* is one warp-wide global access; a *sector* is an aligned piece of 32
    /// bytes, the unit in which a GPU moves global memory. `sectors / ideal_sectors` is 1 where accesses are coalesced.
    Counters {
        /// Launches.
        launches,
        /// Blocks of their grids.
        blocks,
        /// Instructions, counted once a warp.
        warp_instructions,
        /// Instructions, counted once for every active lane.
        lane_instructions,
        /// Bytes that lanes load from global memory.
        global_load_bytes,
        /// Bytes that lanes store to global memory.
        global_store_bytes,
        /// Warp-wide global accesses.
        global_requests,
        /// Sectors that these requests touch.
        global_sectors,
        /// Sectors that the same requests would touch if their distinct bytes were contiguous and aligned.
        ideal_sectors,
        /// Warp-wide shared accesses.
        shared_accesses,
        /// Passes that bank conflicts add to the shared accesses.
        bank_conflicts,
        /// Branches at which the active lanes of a warp part.
        divergent_branches,
        /// Tensor-core instructions (`mma.sync`).
        mma,
        /// Arrivals of warps at block barriers.
        barriers,
        /// Atomic operations, counted once for every active lane.
        atomics,
        /// Distinct bytes whose first access in a launch is a read, summed over launches: what DRAM must deliver at least.
        minimal_read_bytes,
        /// Distinct bytes that a launch writes, summed over launches: what DRAM must take at least.
        minimal_written_bytes,
        /// Bytes that the second-level cache fetches from memory for these launches: 0 without a model of it (`memory::Cache`).
        memory_read_bytes,
        /// Bytes that it has to write back for them.
        memory_written_bytes,
    }
}

impl Counters {
    /// What `blocks` blocks cost, if `of` of them cost this: launches and blocks stay.
    pub fn scale(&mut self, blocks: u64, of: u64) {
        let grid = (self.launches, self.blocks);
        self.each_mut().for_each(|count| *count = (u128::from(*count) * u128::from(blocks) / u128::from(of)) as u64);
        (self.launches, self.blocks) = grid;
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
        self.each_mut().zip(other.named()).for_each(|(count, (_, more))| *count += more);
    }
}
