//! Is CUDA the same function? Every op, forward and backward, over the odd shapes of its gradient check: on the CPU in f64, and by its kernels,
//! compiled by the real NVRTC and run through cudarc on the emulated driver, which checks bounds, unwritten memory and races.
#![cfg(feature = "cuda")]

mod batches;
mod commands;
mod compiling;
mod faults;
mod functions;
mod launches;
mod products;
mod reading;
mod rollouts;
mod training;

#[path = "../rig/mod.rs"]
mod rig;

use std::sync::Arc;

use dreamer_fast::device::cuda::kernels::Kernels;
use dreamer_fast::device::cuda::{Compiler, Context, Stream};

/// The emulated device with all kernels.
struct Rig {
    kernels: Arc<Kernels>,
    context: Context,
    // Dropped last: the context is destroyed before the next test makes one.
    _turn: rig::Turn,
}

impl Rig {
    /// `None` where the test is skipped.
    fn new() -> Option<Rig> {
        let (context, compiler, turn) = rig::emulated()?;
        let stream = context.stream().unwrap();
        let kernels = Kernels::load(&cached(compiler), &stream).unwrap_or_else(|error| panic!("{error}"));
        Some(Rig { kernels: Arc::new(kernels), context, _turn: turn })
    }

    fn stream(&self) -> &Stream {
        self.kernels.stream()
    }
}

/// NVRTC with a cache that all tests share; `None` where the test is skipped.
fn compiler() -> Option<Compiler> {
    rig::compiler().map(cached)
}

fn cached(compiler: Compiler) -> Compiler {
    compiler.with_cache(Some(rig::target().join("kernels")))
}
