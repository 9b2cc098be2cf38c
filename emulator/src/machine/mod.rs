//! Runs a kernel: warps of 32 lanes, in an order that a seed decides.
//!
//! `schedule` picks warps, `execute` executes one instruction of a warp; `integer`, `carry`, `float`, `moves`, `convert` and `matrix`
//! compute, `access`, `atomics`, `shared` and `async_copy` touch memory, `warp_wide` and `barrier` synchronise.
//!
//! # What the machine promises, and what it asks
//!
//! - Memory is sequentially consistent: a missing fence is not found.
//! - Lanes of a warp that part run one group after the other up to the branch's immediate postdominator. A lane that waits for
//!   another lane of its own warp in divergent code waits for ever ([`crate::fault::Kind::Runaway`]).
//! - `bar.sync` without a number of threads takes every thread of the block at the same instruction; a thread that has exited
//!   never comes. Hardware is laxer, CUDA's rule for barriers in conditional code is not.
//! - All lanes that a member mask names must reach a `.sync` instruction together, or have exited. A shuffle reads only lanes
//!   that take part in it: elsewhere CUDA leaves the value undefined.
//! - Lanes of a warp are not ordered by running in step: what one writes to shared memory another may read after a
//!   `bar.warp.sync`, another `.sync` instruction or a barrier.
//! - The bytes of a `cp.async` are in shared memory when the copying thread has waited for its group, not before.

mod access;
mod async_copy;
mod atomics;
mod barrier;
mod block;
mod carry;
mod convert;
mod execute;
mod float;
mod integer;
mod matrix;
mod moves;
mod schedule;
mod shared;
mod simd;
mod warp;
mod warp_wide;

pub use schedule::launch;

/// Where shared memory lies in generic addresses.
pub(crate) const SHARED_WINDOW: u64 = 0x1000_0000_0000;
/// Where local memory lies in generic addresses.
pub(crate) const LOCAL_WINDOW: u64 = 0x2000_0000_0000;
/// Bytes of each of these windows.
pub(crate) const WINDOW: u64 = 1 << 32;

/// Multiprocessors of the emulated device. Together with the limits below it decides how many blocks are resident at once; a
/// kernel whose blocks wait for each other must not launch more.
pub const MULTIPROCESSORS: u32 = 132;
/// Most threads of a block.
pub const MAX_THREADS_PER_BLOCK: u32 = 1024;
/// Most threads resident on one multiprocessor.
pub const MAX_THREADS_PER_MULTIPROCESSOR: u32 = 2048;
/// Most blocks resident on one multiprocessor.
pub const MAX_BLOCKS_PER_MULTIPROCESSOR: u32 = 32;
/// Shared memory of one multiprocessor, in bytes.
pub const SHARED_PER_MULTIPROCESSOR: u32 = 233_472;
/// Most shared memory of one block (static and dynamic together), in bytes.
pub const MAX_SHARED_PER_BLOCK: u32 = 232_448;
/// Warp instructions after which a launch counts as a runaway, unless [`Launch::budget`] says otherwise.
pub const BUDGET: u64 = 20_000_000_000;

/// One launch of a kernel. Construct it with `..Default::default()`.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Dynamic shared memory of a block, in bytes.
    pub shared_bytes: u32,
    /// The parameters' bytes, laid out as [`crate::ptx::Kernel::params`] says.
    pub params: Vec<u8>,
    /// Seed of the order in which blocks and warps run; 0 is ascending. A correct kernel gives the same result for every seed.
    pub order: u64,
    /// Most blocks that run, spread evenly over the grid, whose counts are scaled to all of it; 0 stands for all blocks.
    pub sample: u32,
    /// Most warp instructions of the launch; 0 stands for [`BUDGET`].
    pub budget: u64,
}

/// How many blocks of this many threads and bytes of shared memory (static and dynamic) one multiprocessor holds.
pub fn blocks_per_multiprocessor(threads: u32, shared_bytes: u32) -> u32 {
    // Hardware reserves 1 KiB of shared memory for every resident block.
    let by_shared = SHARED_PER_MULTIPROCESSOR / (shared_bytes + 1024);
    let by_threads = MAX_THREADS_PER_MULTIPROCESSOR / threads.next_multiple_of(32).max(32);
    by_shared.min(by_threads).min(MAX_BLOCKS_PER_MULTIPROCESSOR)
}
