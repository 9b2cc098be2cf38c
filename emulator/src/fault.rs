//! What a check reports: the kind of fault, where it happened, and a sentence that explains it.

use std::fmt;

/// The kinds of faults that the machine detects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An address outside every allocation, the block's shared memory or the thread's local memory.
    OutOfBounds,
    /// A read of bytes that nobody wrote.
    Unwritten,
    /// An address that is not a multiple of the width of the access.
    Misaligned,
    /// Two threads touch the same shared bytes, at least one of them writes, and nothing orders them.
    Race,
    /// A barrier or a warp-wide instruction that not all the threads it waits for can reach.
    DivergentBarrier,
    /// The destination of `cp.async` was touched before the copying thread waited for its group.
    AsyncCopy,
    /// No warp can go on.
    Deadlock,
    /// The launch used up its instruction budget, or spins without making progress.
    Runaway,
    /// Of a sampled launch: which memory it accesses depends on what it writes to global memory, so a slice of it does not tell.
    Unsliced,
    /// The kernel executed `trap`.
    Trap,
    /// The launch itself is impossible: no such kernel, a block that is too large, parameters of the wrong size.
    Launch,
}

/// Where in a launch a fault happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the kernel.
    pub kernel: String,
    /// `blockIdx` x, y, z.
    pub block: [u32; 3],
    /// Warp of the block.
    pub warp: u32,
    /// Lane of the warp.
    pub lane: u32,
    /// `file:line` of the CUDA source where the PTX carries it (`--generate-line-info`), otherwise `PTX line n`.
    pub source: String,
}

/// A fault: the launch (or host copy) that met it stopped there, and memory holds what had been written until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong.
    pub kind: Kind,
    /// The sentence that explains it, with addresses and sizes.
    pub message: String,
    /// Where; `None` for a host copy.
    pub place: Option<Place>,
}

impl Fault {
    /// A fault without a place.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Fault { kind, message: message.into(), place: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.place {
            None => write!(f, "{}", self.message),
            Some(p) => {
                let [x, y, z] = p.block;
                let (kernel, warp, lane, source) = (&p.kernel, p.warp, p.lane, &p.source);
                write!(f, "{kernel}, block ({x}, {y}, {z}), warp {warp}, lane {lane}, {source}: {}", self.message)
            }
        }
    }
}

impl std::error::Error for Fault {}
