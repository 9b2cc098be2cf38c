//! A block that is resident.

use super::barrier::Barrier;
use super::shared::Shared;
use super::warp::Warp;

/// A resident block.
pub struct Block {
    /// `blockIdx`.
    pub id: [u32; 3],
    /// Warps.
    pub warps: Vec<Warp>,
    /// Shared memory.
    pub shared: Shared,
    /// Barriers.
    pub barriers: [Barrier; 16],
}
